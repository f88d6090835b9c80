//! The language of arch!: parse, check, lower to graph IR.
#![forbid(unsafe_code)]
