//! Tile IR to vector loops, shared by the CPU backends.
#![forbid(unsafe_code)]

pub mod math;
pub mod vir;
