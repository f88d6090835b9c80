//! The semantics suite: small programs, through the front end, on every engine.
//!
//! In: the cases of `tests/reference/semantics.json`. Out: one failure that lists every case and what went wrong.

use crate::engines::{Dense, Elements, Engine, Tensors};
use proc_macro2::TokenStream;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{Elem, Function, Module, text, verify};
use sawmill_passes::link::{Bindings, link};
use sawmill_syntax::check::{Items, check_file};
use sawmill_syntax::parse::parse_file;
use sawmill_tests::semantics::{Case, Tensor, cases, float_difference};
use std::str::FromStr;

/// The program as graph IR, as lowered.
fn lowered(case: &Case) -> Result<Module, String> {
    let tokens = TokenStream::from_str(&case.program).map_err(|error| error.to_string())?;
    let (file, mistakes) = parse_file(tokens);
    let (block, more) = check_file(&file, Items::default());
    let all = mistakes.list().iter().chain(more.list());
    let messages: Vec<String> = all.map(|mistake| mistake.problem.message()).collect();
    if !messages.is_empty() {
        return Err(messages.join("; "));
    }
    let formats = block.items.formats.into_values().collect();
    Ok(Module { formats, functions: block.functions.into_values().collect() })
}

/// The function `f`, linked for the case's sizes. Arguments that the case leaves out take their default.
pub(crate) fn linked(case: &Case) -> Result<Function, String> {
    let module = lowered(case)?;
    verify::verify(&module).map_err(|errors| format!("does not verify: {}", errors[0]))?;
    let function = module.function("f").ok_or("there is no function `f`")?;
    let tensors = function.tensors.values();
    let arguments = tensors.filter(|tensor| matches!(tensor.kind, sawmill_ir::graph::TensorKind::Input(_)));
    let is_const = |name: &String| {
        function.dims.values().any(|dim| dim.name == *name && matches!(dim.kind, sawmill_ir::graph::DimKind::Const(_)))
    };
    // A packed argument is given by its fields.
    let is_given = |name: &String| {
        let prefix = format!("{name}.");
        case.inputs.keys().any(|input| input == name || input.starts_with(&prefix))
    };
    let bindings = Bindings {
        dims: case.dims.iter().filter(|(name, _)| is_const(name)).map(|(name, size)| (name.clone(), *size)).collect(),
        types: case.types.iter().map(|(name, dtype)| (name.clone(), Elem::Type(dtype_of(dtype)))).collect(),
        defaults: arguments.map(|tensor| tensor.name.clone()).filter(|name| !is_given(name)).collect(),
        ..Bindings::default()
    };
    let function = link(&[module], "f", &bindings).map_err(|error| error.to_string())?;
    verify::verify_linked(&function).map_err(|errors| format!("linked, it does not verify: {}", errors[0]))?;
    Ok(function)
}

/// Runs every case and reports all that fail.
fn each(check: impl Fn(&Case) -> Result<(), String>) {
    let cases = cases();
    assert!(cases.len() > 100, "the cases were not found");
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case).err().map(|what| format!("{}: {what}\n    {}", case.name, case.program)))
        .collect();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn programs_lower_and_their_text_round_trips() {
    each(|case| {
        let function = linked(case)?;
        let printed = text::print_function(&function);
        let again = text::parse_function(&printed).map_err(|error| format!("{error}\n{printed}"))?;
        if text::print_function(&again) == printed { Ok(()) } else { Err("the print does not round-trip".into()) }
    });
}

fn dtype_of(text: &str) -> DType {
    DType::from_text(text).expect("an element type")
}

pub(crate) fn dense(tensor: &Tensor) -> Dense {
    let data =
        if tensor.is_float() { Elements::Floats(tensor.floats.clone()) } else { Elements::Ints(tensor.ints.clone()) };
    Dense { dtype: dtype_of(&tensor.dtype), shape: tensor.shape.clone(), data }
}

/// What differs from the expectation.
fn difference(expected: &Tensor, found: &Dense, tolerance: f64) -> Option<String> {
    if found.shape != expected.shape || found.dtype.text() != expected.dtype {
        return Some(format!("is {}{:?} instead of {}{:?}", found.dtype, found.shape, expected.dtype, expected.shape));
    }
    match &found.data {
        Elements::Floats(floats) => float_difference(&expected.floats, floats, tolerance),
        Elements::Ints(ints) => {
            let at = expected.ints.iter().zip(ints).position(|(wanted, got)| wanted != got)?;
            Some(format!("element {at} is {} instead of {}", ints[at], expected.ints[at]))
        }
    }
}

fn run(case: &Case, engine: Engine) -> Result<(), String> {
    let inputs: Tensors = case.inputs.iter().map(|(name, tensor)| (name.clone(), dense(tensor))).collect();
    let outputs = engine.run(&linked(case)?, &case.dims, &inputs)?;
    for (name, expected) in &case.outputs {
        let found = outputs.get(name).ok_or_else(|| format!("there is no output `{name}`"))?;
        if let Some(what) = difference(expected, found, case.tolerance) {
            return Err(format!("`{name}`: {what}"));
        }
    }
    Ok(())
}

/// Runs every case. A refusal, too, is a failure: the language has no form that some engine lacks.
fn suite(engine: Engine) {
    each(|case| run(case, engine));
}

#[test]
fn meaning() {
    suite(Engine::Meaning);
}

#[test]
fn normal_form() {
    suite(Engine::Normal);
}

#[test]
fn plan() {
    suite(Engine::Plan);
}

#[test]
fn tiles() {
    suite(Engine::Tiles);
}

#[test]
fn cranelift() {
    suite(Engine::Cranelift);
}

#[cfg(feature = "llvm")]
#[test]
fn llvm_at_every_level() {
    for level in crate::engines::levels() {
        suite(Engine::Llvm(level));
    }
}

#[test]
fn ptx() {
    suite(Engine::Ptx);
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn cuda() {
    suite(Engine::Cuda);
}
