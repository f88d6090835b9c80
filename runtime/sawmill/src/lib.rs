//! Write the equations of an LLM architecture; get its kernels.

mod file_bytes;

pub use file_bytes::FileBytes;
