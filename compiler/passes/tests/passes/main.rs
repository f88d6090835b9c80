//! Tests of the passes.

mod plans;
