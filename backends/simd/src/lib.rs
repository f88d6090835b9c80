//! Tile IR to vector loops, shared by the CPU backends.
//!
//! In: tile kernels ([`sawmill_ir::tile`]). Out: VIR functions ([`vir`]), lowered by [`lower`], whose arguments stand where
//! [`abi`] says. An emitter turns them into machine code; the interpreter of VIR runs them as they are.
#![forbid(unsafe_code)]

pub mod abi;
pub mod lower;
pub mod math;
pub mod small;
pub mod vir;
