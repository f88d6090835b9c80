//! Machine code of the CPU backends: keeping it, making it callable, running plans of it.
//!
//! In: a [`CodeGenerator`], which turns one VIR function into position-independent machine code ([`Code`]). Out: [`Cpu`], the
//! backend that compiles whole modules with it, keeps their code, and runs their plans. What differs between code generators
//! is behind that trait; nothing here knows which one it is. Plans are run by [`Program`] on any [`Machine`]: the processor here,
//! a GPU elsewhere.
//!
//! [`interface`] says how a C program calls a function that was compiled ahead of time.
//!
//! [`MultiplyAdds`] measures what the processor can do with such code at best.
//!
//! Invariants: `unsafe` is in `jit.rs` and where code is called or an output copied (`cpu.rs`, `program.rs`, `meter.rs`, `storage.rs`).

mod backend;
mod code;
mod cpu;
pub mod interface;
mod jit;
mod lifetimes;
mod meter;
mod plan;
mod program;
mod storage;

pub use backend::{CodeGenerator, Cpu, digest, in_parallel};
pub use code::Code;
pub use jit::{JitCode, JitError};
pub use meter::MultiplyAdds;
pub use program::{Machine, Program};
pub use sawmill_simd::abi::ArgWords;
pub use storage::Tensor;
