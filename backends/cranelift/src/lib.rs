//! The default CPU backend: vector loops to machine code through Cranelift.
//!
//! In: VIR functions (`sawmill_simd::vir`). Out: position-independent machine code without relocations ([`Code`]), which
//! a disk cache can keep and [`JitCode`] makes callable.
//!
//! [`Compiler`] is the code generator, [`Cranelift`] makes backends of it.
//!
//! Invariants: no `unsafe` here. Cranelift lowers 128-bit vectors on x86-64, so a
//! wider vector is a group of registers; the order of VIR is the order of the code (see `emit.rs` for what makes it fast).
#![forbid(unsafe_code)]

mod backend;
mod code;
mod emit;

pub use backend::Cranelift;
pub use code::Compiler;
pub use sawmill_launch::{Code, JitCode, JitError, MultiplyAdds};
