//! Makes machine code callable: the only place of this crate with `unsafe`.
//!
//! In: [`Code`]. Out: [`JitCode`], which owns the pages. Invariant: a page is writable or executable, never both.

use std::fmt;

use memmap2::{Mmap, MmapMut};

use crate::code::Code;

/// Why code could not be placed in memory; what the system said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JitError(pub String);

impl fmt::Display for JitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot map memory for machine code: {}", self.0)
    }
}

impl std::error::Error for JitError {}

/// Code of one kernel in executable memory.
pub struct JitCode {
    pages: Mmap,
    scratch_bytes: u64,
}

impl JitCode {
    /// Copies the code to pages of its own.
    ///
    /// # Errors
    /// The system gives no memory or forbids executing it; or there is no code.
    pub fn new(code: &Code) -> Result<JitCode, JitError> {
        if code.bytes.is_empty() {
            return Err(JitError("the code is empty".to_owned()));
        }
        let failed = |error: std::io::Error| JitError(error.to_string());
        let mut pages = MmapMut::map_anon(code.bytes.len()).map_err(failed)?;
        pages.copy_from_slice(&code.bytes);
        let pages = pages.make_exec().map_err(failed)?;
        Ok(JitCode { pages, scratch_bytes: code.scratch_bytes })
    }

    /// Bytes of scratch that a call needs, 64-byte aligned.
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch_bytes
    }

    /// Runs grid blocks `first..end`.
    ///
    /// # Safety
    /// The code came from a code generator for a processor with no more features than this one. `args` has
    /// every word that the kernel reads; the addresses among them are valid for what it reads and writes, and nobody else
    /// writes there meanwhile. `scratch` points to [`JitCode::scratch_bytes`] bytes, aligned to 64, of this call's own.
    pub unsafe fn call(&self, args: &[u64], first: u64, end: u64, scratch: *mut u8) {
        type Entry = unsafe extern "C" fn(*const u64, u64, u64, *mut u8);
        // SAFETY: the pages hold compiled code whose entry is at their start and has this signature (see `Code`); they
        // are executable, and live as long as `self`.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(self.pages.as_ptr()) };
        // SAFETY: passed on to the caller by the contract of this function.
        unsafe { entry(args.as_ptr(), first, end, scratch) }
    }
}
