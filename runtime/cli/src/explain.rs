//! `sawmill explain NAME`: what the compiler makes of a function, from the equation to the code.
//!
//! In: a function of the zoo. Out: the linked function, the rewrites, the plan, the tiles, the generated code, on stdout; how
//! long each stage took, on stderr, so that stdout is the same in every run.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use sawmill::{Device, Explanation, Function, PackedType, RuntimeElem, Specialisation, ir::dtype::DType};
use sawmill_zoo::formats;

#[cfg(feature = "cuda")]
use crate::args::EngineName;
use crate::{
    args::ExplainArgs,
    check::{
        adversarial::find,
        sizes::{choose, specialisation as specialise},
    },
    engine::{device, failure},
    error::Failure,
    terminal::say,
};

/// Const dims that nobody states.
const USUAL_SIZE: i64 = 64;
/// Sizes tried where requirements tie const dims together.
const ATTEMPTS: usize = 64;

/// Runs the command and returns its exit code.
///
/// # Errors
/// [`Failure`] of any kind.
pub fn command(args: &ExplainArgs) -> Result<u8, Failure> {
    let function = find(&args.name)?;
    let given = specialisation(function, &args.dims, &args.types)?;
    let explanation = match args.target {
        Some(target) => function.explain_for(target, &given, args.all),
        None => function.explain(&opened(args)?, &given, args.all),
    };
    let explanation = explanation.map_err(failure)?;
    let title = title(function, &given);
    match print(&mut io::stdout().lock(), &title, &explanation, args.no_code) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::environment(format!("cannot write the output: {error}")));
        }
        _ => {}
    }
    for stage in &explanation.stages {
        say(format_args!("{}: {:.1} ms", stage.name, 1e3 * stage.time.as_secs_f64()));
    }
    Ok(0)
}

/// The device of the engine asked for. Code for a GPU can be shown where there is none, but not by its engine.
fn opened(args: &ExplainArgs) -> Result<Device, Failure> {
    let opened = device(args.engine, args.threads);
    #[cfg(feature = "cuda")]
    if args.engine == EngineName::Cuda {
        return opened
            .map_err(|failure| failure.help("`--target sm_80` or `--target sm_90` shows the code without a GPU"));
    }
    opened
}

/// Values of all const dims and type parameters, stated or usual.
pub(crate) fn specialisation(
    function: &'static Function,
    stated: &[(String, i64)],
    stated_types: &[(String, String)],
) -> Result<Specialisation, Failure> {
    let graph = function.graph().map_err(failure)?;
    let stated: BTreeMap<String, i64> = stated.iter().cloned().collect();
    if let Some(name) = stated.keys().find(|name| !graph.dims.values().any(|dim| dim.name == **name)) {
        return Err(Failure::user(format!("{} has no dim `{name}`", function.name)));
    }
    let mut attempt = 0;
    let sizes = choose(graph, &stated, ATTEMPTS, |_| {
        // First all dims alike; then, where that breaks a requirement, smaller ones from some dim on.
        attempt += 1;
        USUAL_SIZE >> ((attempt - 1) / graph.dims.len().max(1) % 4)
    });
    let sizes = sizes.ok_or_else(|| {
        Failure::user(format!("no sizes were found that satisfy the requirements of {}", function.name))
            .help("state const dims with --dim NAME=SIZE")
    })?;
    let types: BTreeMap<String, RuntimeElem> =
        stated_types.iter().map(|(name, elem)| Ok((name.clone(), element(elem)?))).collect::<Result<_, Failure>>()?;
    if let Some(name) = types.keys().find(|name| !graph.type_params.iter().any(|param| param.name == **name)) {
        return Err(Failure::user(format!("{} has no type parameter `{name}`", function.name)));
    }
    Ok(specialise(graph, &sizes, &types))
}

/// The element type called `name`: a plain type, or a format of the zoo.
fn element(name: &str) -> Result<RuntimeElem, Failure> {
    if let Some(dtype) = DType::from_text(name) {
        return Ok(RuntimeElem::Type(dtype));
    }
    let format = formats::FORMATS.iter().find(|format| format.name == name).ok_or_else(|| {
        let names: Vec<&str> = formats::FORMATS.iter().map(|format| format.name).collect();
        Failure::user(format!("`{name}` is no element type"))
            .help(format!("it is a type such as f32 or bf16, or a format: {}", names.join(", ")))
    })?;
    PackedType::new(format).map(RuntimeElem::Packed).map_err(failure)
}

fn title(function: &Function, given: &Specialisation) -> String {
    let dims = given.dims.iter().map(|(name, size)| format!("{name} = {size}"));
    let types = given.types.iter().map(|(name, elem)| format!("{name} = {elem}"));
    let choices: Vec<String> = dims.chain(types).collect();
    format!("{}\nwith {}", function.signature, choices.join(", "))
}

fn print(output: &mut dyn Write, title: &str, explanation: &Explanation, no_code: bool) -> io::Result<()> {
    writeln!(output, "# {title}\n\n## Linked\n\n{}", explanation.linked)?;
    writeln!(output, "## Stages\n")?;
    for stage in &explanation.stages {
        writeln!(
            output,
            "{}: {} after {} rounds, {} nodes in {} classes",
            stage.name, stage.stop, stage.rounds, stage.nodes, stage.classes
        )?;
    }
    writeln!(output, "\n## Rewrites\n")?;
    for derivation in &explanation.derivations {
        writeln!(output, "{derivation}")?;
    }
    writeln!(output, "## Plan\n\n{}\n## Tiles\n\n{}", explanation.plan, explanation.tiles)?;
    if !no_code {
        for (name, text) in &explanation.code {
            writeln!(output, "## Code: {name}\n\n{text}")?;
        }
    }
    Ok(())
}
