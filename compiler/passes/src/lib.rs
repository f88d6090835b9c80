//! From graph IR to tile IR: linking, e-graph optimisation, scheduling, lowering.
//!
//! In: a linked function, or a module and the name of one. Out: a verified tile module. The only crate that knows egg. A pass
//! is one file with one public function of the same name.
#![forbid(unsafe_code)]

mod chunks;
mod compile;
mod egraph;
mod explain;
mod extract;
pub mod link;
mod lower;
mod normalise;
mod optimise;
mod rules;
mod schedule;
#[cfg(test)]
mod tests;

pub use compile::{Options, compile};
pub use egraph::{StageReport, StopReason};
pub use explain::{Derivation, Step};
pub use lower::lower;
pub use normalise::normalise;
pub use optimise::{Optimised, optimise, optimise_explained};
pub use rules::Contract;
