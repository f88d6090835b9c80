//! From graph IR to tile IR: linking, e-graph optimisation, scheduling, lowering.
//!
//! In: a linked function, or a module and the name of one. Out: a verified tile module. The only crate that knows egg. A pass
//! is one file with one public function of the same name.
#![forbid(unsafe_code)]

pub mod link;
mod normalise;
mod optimise;

pub use normalise::normalise;
pub use optimise::optimise;
