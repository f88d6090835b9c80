//! Optimisation of a normalised function to plan form.

use sawmill_ir::backend::CompileError;
use sawmill_ir::graph::Function;

/// The plan of `function` (normalised): every definition is stored.
pub fn optimise(function: &Function) -> Result<Function, CompileError> {
    Ok(function.clone())
}
