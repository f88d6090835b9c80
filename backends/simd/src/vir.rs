//! VIR, the explicit vector-loop language of the CPU backends.
//!
//! In: a kernel lowered from tiles, through [`Builder`] or as text ([`parse`]). Out: a verified [`Function`] that an
//! emitter turns into machine code, or that [`interpret`] runs. One function is one kernel; its ABI is
//! `unsafe extern "C" fn(args: *const u64, first: u64, end: u64, scratch: *mut u8)`: `args` are words (pointers,
//! sizes, strides, the bits of scalars), `first..end` are the grid blocks that this call runs (the loop over blocks is in
//! the function) and `scratch` is an arena of [`Function::scratch_bytes`] bytes, 64-byte aligned, owned by the thread.
//!
//! Invariants: values are in SSA form and live in an arena; control flow is structured (`for`, `if`), there are no jumps;
//! vectors have 2 to 64 lanes whatever the hardware has, and the emitter splits them into registers. Reductions and
//! every floating-point operation have one stated order, so that the interpreter and the emitted code agree bit for bit
//! (the payload of a NaN excepted).

mod build;
mod func;
mod interp;
mod memory;
mod ops;
mod parse;
mod print;
mod rules;
mod scalar;
mod tidy;
mod types;
mod verify;

pub use build::{Address, Builder};
pub use func::{Block, BlockId, Function, Inst, InstId, Val};
pub use interp::{Options, interpret};
pub use memory::Memory;
pub use ops::{Group, Op, Rule};
pub use parse::parse;
pub use scalar::{bf16_from_f32, f16_from_f32, f32_from_bf16, f32_from_f16};
pub use tidy::tidy;
pub use types::{Class, Elem, Type};
pub use verify::verify;
