//! PTX programs for NVIDIA GPUs, and the lowering of tile IR to them.
//!
//! In: tile kernels ([`sawmill_ir::tile`]). Out: PTX modules as data ([`inst`]), which print to text for `ptxas` or a driver, and
//! which [`interp`] runs on the CPU. Nothing here needs CUDA; two runs give the same bytes.
#![forbid(unsafe_code)]

pub mod backend;
pub mod inst;
pub mod interp;
pub mod launch;
pub mod layout;
pub mod lower;
