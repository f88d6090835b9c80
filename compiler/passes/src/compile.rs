//! The pipeline: from a linked function to verified tiles.
//!
//! In: a linked function, options, the target. Out: a tile module, verified; each form on the way is verified too and shown to
//! an observer. A form that breaks a rule is a compiler bug that names the pass and carries the text.

use crate::{lower, normalise, optimise};
use sawmill_ir::backend::CompileError;
use sawmill_ir::graph::Function;
use sawmill_ir::graph::text::print_function;
use sawmill_ir::graph::verify::verify_linked;
use sawmill_ir::target::Target;
use sawmill_ir::tile::{self, text::print};

/// What a compilation may do. Nothing can be chosen yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {}

/// Compiles `linked` for `target`.
///
/// # Errors
/// What is not compiled yet, or a broken rule of the compiler.
pub fn compile(linked: &Function, options: &Options, target: &Target) -> Result<tile::Module, CompileError> {
    compile_observed(linked, options, target, &mut |_, _| {})
}

/// The same; `observe` gets the name of each pass and the text of what it gave.
///
/// # Errors
/// As [`compile`].
pub fn compile_observed(
    linked: &Function,
    _options: &Options,
    target: &Target,
    observe: &mut dyn FnMut(&str, &str),
) -> Result<tile::Module, CompileError> {
    let linked = &checked("link", linked.clone(), observe)?;
    let normal = &checked("normalise", normalise(linked)?, observe)?;
    let plan = &checked("optimise", optimise(normal, target)?, observe)?;
    let tiles = lower(plan, target)?;
    observe("lower", &print(&tiles));
    Ok(tiles)
}

/// `function`, if it keeps the rules of linked functions.
fn checked(pass: &str, function: Function, observe: &mut dyn FnMut(&str, &str)) -> Result<Function, CompileError> {
    verify_linked(&function).map_err(|errors| CompileError::Bug {
        message: format!("after `{pass}`: {}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        text: print_function(&function),
    })?;
    observe(pass, &print_function(&function));
    Ok(function)
}
