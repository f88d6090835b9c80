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
//!
//! ```
//! use sawmill_simd::vir::{Memory, Options, interpret, parse};
//!
//! let text = "kernel double scratch 0 {
//!   params %0: i64, %1: i64, %2: i64, %3: i64
//!   %4: i64 = load %0 [1, 0]
//!   for %1, %2 [1] {
//!     params %5: i64
//!     %6: f32x4 = load %4, %5 [16, 0]
//!     %7: f32x4 = add %6, %6
//!     store %7, %4, %5 [16, 0]
//!   }
//! }
//! ";
//! let kernel = parse(text).expect("well formed");
//! assert_eq!(kernel.to_string(), text);
//! let mut memory = Memory::default();
//! let buffer = memory.alloc([1.5f32; 8].iter().flat_map(|x| x.to_le_bytes()).collect());
//! interpret(&kernel, &mut memory, &[buffer], (1, 2), Options::default()).expect("in bounds");
//! assert_eq!(memory.read(buffer + 12, 4), Some(u64::from(1.5f32.to_bits())));
//! assert_eq!(memory.read(buffer + 16, 4), Some(u64::from(3f32.to_bits())));
//! ```

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

#[cfg(test)]
mod tests;

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
