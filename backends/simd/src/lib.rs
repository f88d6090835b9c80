//! Tile IR to vector loops, shared by the CPU backends.

pub mod vir;
