//! sawmill: write the equations of an LLM architecture, get its kernels.
//!
//! A program is written in the macro `arch!`, which checks it and embeds it as graph-IR text with a typed wrapper for each
//! function. The first call of a function compiles it for the device its arguments live on; later calls, and later
//! processes, find the compiled form in a cache.
//!
//! - [`Tensor`], [`Typed`], [`TypedView`], [`Cache`]: what a function takes and returns.
//! - [`Device`]: where it runs, with its own threads.
//! - [`Closure`]: masks and score modifiers written in Rust, by `closure!`.
//! - [`Error`]: what can go wrong with a call; nothing panics.

#[cfg(feature = "cranelift")]
pub mod testing;

mod error;

mod element;
mod layout;
mod storage;
mod tensor;

mod arg;
mod cache;
mod closure;
mod file_bytes;
mod memory;

mod device;
mod pool;

#[cfg(feature = "ahead")]
mod ahead;
mod bind;
mod call;
mod compiled;
mod explain;
mod function;

mod disk;

#[cfg(feature = "ahead")]
pub use ahead::{BuildTarget, Built, BuiltCode, BuiltKernel, BuiltLibrary, Generator};
pub use arg::{Arg, Determines, FieldDef, List, Record, Source, Value, kind};
pub use cache::{Cache, CacheDef, CacheField, CacheType};
pub use call::Call;
pub use closure::{Capture, Closure, IntoClosure};
pub use compiled::Compiled;
pub use device::{Device, Engine};
pub use element::{AnyBits, Element, PackedType, Plain, RuntimeElem};
pub use error::Error;
pub use explain::{Explanation, Specialisation, Stage};
pub use file_bytes::FileBytes;
pub use function::{Format, Function, Options};
pub use half::{bf16, f16};
#[cfg(feature = "cranelift")]
pub use sawmill_cranelift::MultiplyAdds;
#[cfg(feature = "ahead")]
pub use sawmill_cranelift::interface;
#[cfg(feature = "cuda")]
pub use sawmill_cuda as cuda;
pub use sawmill_ir as ir;
#[cfg(feature = "llvm")]
pub use sawmill_llvm::Level;
pub use tensor::{Tensor, Typed, TypedView, View};

#[cfg(feature = "macros")]
pub use sawmill_macros::{arch, closure};

/// What a program that uses `arch!` needs.
pub mod prelude {
    pub use crate::{Cache, CacheType, Closure, Device, Error, Tensor, Typed, TypedView, bf16, f16};
    #[cfg(feature = "macros")]
    pub use crate::{arch, closure};
}
