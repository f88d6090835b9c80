//! The semantics suite: small programs, through the front end, on every engine.
//!
//! In: the cases of `tests/reference/semantics.json`. Out: one failure that lists every case and what went wrong.

use proc_macro2::TokenStream;
use sawmill_ir::graph::{Function, Module, text, verify};
use sawmill_passes::link::{Bindings, link};
use sawmill_syntax::check::{Items, check_file};
use sawmill_syntax::parse::parse_file;
use sawmill_tests::semantics::{Case, cases};
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
    let bindings = Bindings {
        dims: case.dims.iter().map(|(name, size)| (name.clone(), *size)).collect(),
        defaults: arguments.map(|tensor| tensor.name.clone()).filter(|name| !case.inputs.contains_key(name)).collect(),
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
