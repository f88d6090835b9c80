//! The default CPU backend: vector loops to machine code through Cranelift.
//!
//! In: VIR functions (`sawmill_simd::vir`). Out: position-independent machine code without relocations ([`Code`]), which
//! a disk cache can keep and [`JitCode`] makes callable.
//!
//! [`Cranelift`] is the backend: it compiles whole modules and runs their plans.
//!
//! [`MultiplyAdds`] measures what the processor can do with such code at best.
//!
//! Invariants: `unsafe` is in `jit.rs` and where code is called or an output copied (`launch.rs`, `meter.rs`, `storage.rs`).
//! Cranelift lowers 128-bit vectors on x86-64, so a wider vector is a group of registers; the order of VIR is the order of
//! the code (see `emit.rs` for what makes it fast).

mod backend;
mod code;
mod emit;
mod jit;
mod launch;
mod lifetimes;
mod meter;
mod storage;

pub use backend::Cranelift;
pub use code::{Code, Compiler};
pub use jit::{JitCode, JitError};
pub use meter::MultiplyAdds;
