//! The pipeline: from a linked function to verified tiles.
//!
//! In: a linked function, options, the target. Out: a tile module, verified; each form on the way is verified too. A form
//! that breaks a rule is a compiler bug that names the pass and carries the text, which is printed only then.

use crate::{lower, normalise, optimise};
use sawmill_ir::backend::CompileError;
use sawmill_ir::graph::Function;
use sawmill_ir::graph::text::print_function;
use sawmill_ir::graph::verify::verify_linked;
use sawmill_ir::target::Target;
use sawmill_ir::tile;

/// What a compilation may do. Nothing can be chosen yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {}

/// Compiles `linked` for `target`.
///
/// # Errors
/// What is not compiled yet, or a broken rule of the compiler.
pub fn compile(linked: &Function, _options: &Options, target: &Target) -> Result<tile::Module, CompileError> {
    checked("link", linked)?;
    let normal = normalise(linked)?;
    checked("normalise", &normal)?;
    let plan = optimise(&normal, target)?;
    checked("optimise", &plan)?;
    lower(&plan, target)
}

/// An error if `function` breaks the rules of linked functions after `pass`.
fn checked(pass: &str, function: &Function) -> Result<(), CompileError> {
    verify_linked(function).map_err(|errors| CompileError::Bug {
        message: format!("after `{pass}`: {}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        text: print_function(function),
    })
}
