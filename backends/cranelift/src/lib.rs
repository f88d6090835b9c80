//! The default CPU backend: vector loops to machine code through Cranelift.
//!
//! In: VIR functions (`sawmill_simd::vir`). Out: position-independent machine code without relocations ([`Code`]), which
//! a disk cache can keep and [`JitCode`] makes callable.
//!
//! [`Compiler`] is the code generator, [`Cranelift`] makes backends of it. With the feature `library`, `Library` makes object files that C
//! programs link.
//!
//! Invariants: no `unsafe` here. Cranelift lowers 128-bit vectors on x86-64, so a
//! wider vector is a group of registers; the order of VIR is the order of the code (see `emit.rs` for what makes it fast).
#![forbid(unsafe_code)]

mod backend;
mod code;
mod emit;
#[cfg(feature = "library")]
mod library;

pub use backend::Cranelift;
pub use code::Compiler;
#[cfg(feature = "library")]
pub use library::Library;
pub use sawmill_launch::{Code, CodeGenerator, Cpu, JitCode, JitError, MultiplyAdds, interface};
