//! From plan form to tile IR.
//!
//! In: a linked function in plan form (every definition of the body is stored) and the target as data. Out: a verified tile
//! module: one kernel per definition, or per run of definitions whose folds are alike; a plan that launches them.
//!
//! Inside a kernel the stored terms are evaluated on tiles, each term once in the outermost place where its axes are placed:
//! what a loop does not change is computed before it. Sums of products become `mma`, other reductions maps and reduces;
//! reductions and folds over long axes are loops in phases, in whose full phases masks and bounds checks vanish (`phase`).
//! Masks are selects on what is combined. Every index map is lowered: affine ones to slices, others to gathers.

mod admitted;
mod alike;
mod choose;
mod contract;
mod emit;
mod facts;
mod fold;
mod index;
mod kernel;
mod masked;
mod phase;
mod plan;
mod recurrence;
mod space;
mod split;
mod steps;
mod term;

pub(crate) use alike::shared;
pub(crate) use contract::stored_format;
pub(crate) use facts::Facts;

use crate::chunks::chunks;
use plan::Planner;
use sawmill_ir::backend::CompileError;
use sawmill_ir::graph::{Function, Module, text};
use sawmill_ir::target::Target;
use sawmill_ir::tile;
use sawmill_ir::tile::builder::BuildError;

/// Lowers `function` (linked, in plan form) to tiles for `target`.
pub fn lower(function: &Function, target: &Target) -> Result<tile::Module, CompileError> {
    let (function, chunked) = &chunks(function, target);
    let module = Planner::new(function, target, chunked).module().map_err(|stop| stop.located(function))?;
    let broken = |e: sawmill_ir::error::VerifyError| CompileError::Bug {
        message: e.to_string(),
        text: tile::text::print(&module),
    };
    tile::verify::verify(&module).map_err(broken)?;
    Ok(module)
}

/// Why lowering stops.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    /// The function or this pass breaks a rule.
    Bug(String),
    /// Nothing lowers this yet.
    Unsupported(String),
}

impl Stop {
    fn located(self, function: &Function) -> CompileError {
        match self {
            Self::Unsupported(what) => CompileError::Unsupported(what),
            Self::Bug(message) => {
                let module = Module { formats: Vec::new(), functions: vec![function.clone()] };
                CompileError::Bug { message: format!("lowering: {message}"), text: text::print(&module) }
            }
        }
    }
}

impl From<BuildError> for Stop {
    fn from(error: BuildError) -> Self {
        Self::Bug(error.to_string())
    }
}

/// What a step of lowering gives.
type Lowered<T> = Result<T, Stop>;
