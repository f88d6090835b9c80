//! PTX text to the GPU's machine code, by the driver's own assembler.
//!
//! In: PTX text. Out: a cubin, bytes that can be kept for this driver and this GPU, and what the assembler said. The driver keeps
//! a cache of its own; when it answers from there, its log is empty, so nothing is concluded from an empty log: spills are asked
//! of the loaded function ([`crate::Function::load`]).

use std::ffi::{c_uint, c_void};
use std::ptr;

use cudarc::driver::sys::{self, CUjit_option as Choice, CUjitInputType, CUlinkState};

use crate::error::GpuError;
use crate::gpu::Gpu;

/// Room for what the assembler says.
const LOG_BYTES: usize = 16 << 10;

/// Machine code of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// A cubin.
    pub cubin: Vec<u8>,
    /// What the assembler said; empty where the driver's cache answered.
    pub log: String,
}

/// A linker of the driver, destroyed when dropped.
struct Linker {
    state: CUlinkState,
    info: Box<[u8; LOG_BYTES]>,
    errors: Box<[u8; LOG_BYTES]>,
}

impl Linker {
    fn new() -> Result<Self, GpuError> {
        let mut info = Box::new([0_u8; LOG_BYTES]);
        let mut errors = Box::new([0_u8; LOG_BYTES]);
        let mut choices = [
            Choice::CU_JIT_INFO_LOG_BUFFER,
            Choice::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
            Choice::CU_JIT_ERROR_LOG_BUFFER,
            Choice::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
            Choice::CU_JIT_LOG_VERBOSE,
        ];
        let size = ptr::without_provenance_mut::<c_void>(LOG_BYTES);
        let yes = ptr::without_provenance_mut::<c_void>(1);
        let mut values = [info.as_mut_ptr().cast(), size, errors.as_mut_ptr().cast(), size, yes];
        let mut state = ptr::null_mut();
        let count = choices.len() as c_uint;
        // SAFETY: as many options as values; the logs live as long as the linker (both are boxed and dropped after it), the
        // numbers among the values are passed in place of pointers, as the driver asks.
        unsafe { sys::cuLinkCreate_v2(count, choices.as_mut_ptr(), values.as_mut_ptr(), &raw mut state) }.result()?;
        Ok(Self { state, info, errors })
    }
    fn link(&mut self, text: &str) -> Result<Vec<u8>, GpuError> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        let kind = CUjitInputType::CU_JIT_INPUT_PTX;
        let (data, none) = (bytes.as_mut_ptr().cast(), ptr::null_mut());
        // SAFETY: the text ends in a zero and lives through the call, which copies what it needs; there are no options.
        let added = unsafe {
            sys::cuLinkAddData_v2(self.state, kind, data, bytes.len(), c"module".as_ptr(), 0, none, ptr::null_mut())
        };
        added.result().map_err(|_| self.refused())?;
        let (mut cubin, mut size) = (ptr::null_mut(), 0);
        // SAFETY: writes a pointer and a size to live places.
        let linked = unsafe { sys::cuLinkComplete(self.state, &raw mut cubin, &raw mut size) };
        linked.result().map_err(|_| self.refused())?;
        // SAFETY: the driver gives `size` bytes that stay until the linker is destroyed; they are copied here.
        Ok(unsafe { std::slice::from_raw_parts(cubin.cast::<u8>(), size) }.to_vec())
    }
    fn refused(&self) -> GpuError {
        let log = format!("{}{}", written(&*self.errors), written(&*self.info));
        GpuError::Refused { log: if log.is_empty() { "without a word".to_owned() } else { log } }
    }
}

impl Drop for Linker {
    fn drop(&mut self) {
        // SAFETY: the state came from `cuLinkCreate` and is destroyed once. An error here has nobody to be told.
        let _ = unsafe { sys::cuLinkDestroy(self.state) };
    }
}

/// What a log holds before its first zero.
fn written(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).trim().to_owned()
}

/// Machine code for `gpu` of PTX text.
///
/// # Errors
/// The driver refuses the text ([`GpuError::Refused`], with its log).
pub fn assemble(gpu: &Gpu, text: &str) -> Result<Assembled, GpuError> {
    gpu.enter()?;
    let mut linker = Linker::new()?;
    let cubin = linker.link(text)?;
    Ok(Assembled { cubin, log: written(&*linker.info) })
}
