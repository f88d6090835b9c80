//! Tests of the passes.

mod lowering;
mod plans;
