//! The optional CPU backend: vector loops to machine code through LLVM.
//!
//! In: VIR functions (`sawmill_simd::vir`), the same that the default backend compiles, made for wider registers. Out:
//! position-independent machine code without relocations, which `sawmill_launch` keeps and runs. The feature `llvm` brings in
//! LLVM itself; without it this crate is empty, so that a workspace with it builds where LLVM is missing.
//!
//! [`Compiler`] is the code generator, [`Llvm`] makes backends of it, [`Level`] says for which processors.
//!
//! Invariant: no `unsafe` here. LLVM IR is handed over as text, so that its own parser and verifier check it.
#![forbid(unsafe_code)]

#[cfg(feature = "llvm")]
mod backend;
#[cfg(feature = "llvm")]
mod code;
#[cfg(feature = "llvm")]
mod emit;
#[cfg(feature = "llvm")]
mod level;
#[cfg(feature = "llvm")]
mod link;

#[cfg(feature = "llvm")]
pub use backend::Llvm;
#[cfg(feature = "llvm")]
pub use code::Compiler;
#[cfg(feature = "llvm")]
pub use level::{Level, VARIABLE};
