//! The default CPU backend: vector loops to machine code through Cranelift.
//!
//! In: VIR functions (`sawmill_simd::vir`). Out: position-independent machine code without relocations ([`Code`]), which
//! a disk cache can keep and [`JitCode`] makes callable.
//!
//! [`Cranelift`] is the backend: it compiles whole modules and runs their plans.
//!
//! Invariants: `unsafe` is in `jit.rs` and where a run calls code or copies an output (`launch.rs`, `storage.rs`).
//! Cranelift lowers 128-bit vectors on x86-64, so a wider vector is a group of registers; the order of VIR is the order of
//! the code (see `emit.rs` for what makes it fast).

mod backend;
mod code;
mod emit;
mod jit;
mod launch;
mod lifetimes;
mod storage;

pub use backend::Cranelift;
pub use code::{Code, Compiler};
pub use jit::{JitCode, JitError};
