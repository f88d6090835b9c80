//! From graph IR to tile IR: linking, e-graph optimisation, scheduling, lowering.
#![forbid(unsafe_code)]
