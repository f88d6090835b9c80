//! NVIDIA GPUs through the driver alone: no toolkit, nothing linked.
//!
//! In: PTX text and the words of a launch. Out: machine code that the driver made of the text, memory of a GPU, launches on it.
//! The driver's library is looked for when a GPU is first asked for; where there is none, [`Missing`] says what is missing and
//! how to get it, and nothing else of this crate has been touched.
//!
//! Invariants: no call reaches the driver before [`driver::probe`] has found it. `unsafe` is where the driver's functions are
//! called, each with its reason. A kernel that spills is remarked on, never silent.

mod backend;
pub mod driver;
mod error;
mod function;
mod gpu;
mod graph;
mod jit;
mod machine;
mod pool;
mod remote;
mod staging;
mod unread;

pub use backend::Cuda;
pub use driver::{Driver, Missing};
pub use error::GpuError;
pub use function::{Function, Launch};
pub use gpu::{Facts, Gpu};
pub use jit::{Assembled, assemble};
pub use pool::Memory;
