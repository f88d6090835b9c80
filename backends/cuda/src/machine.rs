//! A GPU as a [`Machine`]: arguments are copied to it, plans run there, outputs are copied back.
//!
//! In: kernels loaded on a GPU, a call with arguments in the process's memory. Out: the outputs in the process's memory. An argument
//! travels as the bytes from its first element to its last, with its strides, so packed records and strided views need no
//! conversion. All work goes to the GPU's one stream; the run ends by waiting for it.

use std::sync::Arc;

use sawmill_ir::backend::{Call, RunError, Slot};
use sawmill_ir::tile::BufferKind;
use sawmill_launch::{Machine, Tensor};

use crate::error::GpuError;
use crate::function::{Function, Launch};
use crate::gpu::{Gpu, Memory};

/// CTAs that one launch may have along its first axis.
const MOST_CTAS: u64 = (1 << 31) - 1;

/// A kernel on a GPU, and what every launch of it gives.
pub(crate) struct Loaded {
    pub(crate) function: Function,
    pub(crate) threads: u32,
    pub(crate) dynamic_bytes: u32,
}

/// The kernels of one module on a GPU.
pub(crate) struct Kernels {
    gpu: Arc<Gpu>,
    kernels: Vec<Loaded>,
}

/// The copies of a run's arguments.
pub(crate) struct Session {
    copies: Vec<Copy>,
}

/// An argument on the GPU.
struct Copy {
    memory: Memory,
    /// Where its bytes lie in this process, exposed, and how many there are.
    home: (usize, usize),
    written: bool,
}

impl Kernels {
    /// `kernels` are in the order of the module.
    pub(crate) fn new(gpu: Arc<Gpu>, kernels: Vec<Loaded>) -> Kernels {
        Kernels { gpu, kernels }
    }
}

impl Machine for Kernels {
    type Memory = Memory;
    type Session<'a> = Session;

    fn begin<'a>(&'a self, _: &'a Call<'a>) -> Result<Session, RunError> {
        Ok(Session { copies: Vec::new() })
    }
    fn argument(
        &self,
        session: &mut Session,
        slot: &Slot,
        tensor: Tensor,
        kind: &BufferKind,
    ) -> Result<Tensor, RunError> {
        let (below, bytes) =
            extent(&tensor).ok_or_else(|| failed(GpuError::OutOfMemory { bytes: u64::MAX }, "an argument"))?;
        let first = slot.address.wrapping_byte_sub(below);
        let mut memory = self.gpu.allocate(bytes as u64).map_err(|error| failed(error, "an argument"))?;
        if bytes > 0 {
            // SAFETY: the caller vouches for the memory of all elements for the run; they lie in one allocation, from the first
            // byte to the last, which nobody writes meanwhile.
            let held = unsafe { std::slice::from_raw_parts(first.cast_const(), bytes) };
            self.gpu.upload(held, &mut memory).map_err(|error| failed(error, "an argument"))?;
        }
        let address = usize::try_from(memory.address()).map_err(|_| RunError::Bug("an address of a GPU".to_owned()))?;
        let written = !matches!(kind, BufferKind::Input { .. });
        session.copies.push(Copy { memory, home: (first.expose_provenance(), bytes), written });
        Ok(Tensor { address: address + below, ..tensor })
    }
    fn allocate(&self, bytes: u128, what: &str) -> Result<Memory, RunError> {
        let refused = |bytes| RunError::OutOfMemory { what: what.to_owned(), bytes };
        let bytes = u64::try_from(bytes).map_err(|_| refused(bytes))?;
        self.gpu.allocate(bytes).map_err(|error| failed(error, what))
    }
    fn place(memory: &mut Memory) -> (usize, u128) {
        (usize::try_from(memory.address()).unwrap_or(usize::MAX), u128::from(memory.bytes()))
    }
    unsafe fn integer(&self, _: &mut Session, tensor: &Tensor) -> Result<Option<i64>, RunError> {
        let Some(bytes) = tensor.dtype.bytes().filter(|_| tensor.shape.is_empty()) else { return Ok(None) };
        let mut held = [0_u8; 8];
        let held = &mut held[..bytes as usize];
        // SAFETY: by the contract the element is in memory of this run, whose writers were launched before on the same stream.
        unsafe { self.gpu.read(tensor.address as u64, held) }.map_err(|error| failed(error, "a size"))?;
        Ok(tensor.dtype.integer(held))
    }
    unsafe fn copy(&self, _: &mut Session, to: &Tensor, from: &Tensor) -> Result<(), RunError> {
        let dense = to.strides == from.strides;
        let Some((0, bytes)) = extent(to).filter(|_| dense) else {
            return Err(RunError::Bug("copies between tensors of other strides on a GPU".to_owned()));
        };
        // SAFETY: both have this shape and these strides, so these bytes; they are in memory of this run by the contract.
        unsafe { self.gpu.copy(to.address as u64, from.address as u64, bytes) }
            .map_err(|error| failed(error, "an output"))
    }
    unsafe fn launch(&self, _: &mut Session, kernel: usize, words: &[u64], blocks: u64) -> Result<(), RunError> {
        let Loaded { function, threads, dynamic_bytes } = &self.kernels[kernel];
        let mut words = words.to_vec();
        let mut first = 0;
        while first < blocks {
            let part = (blocks - first).min(MOST_CTAS);
            let ctas = u32::try_from(part).unwrap_or(u32::MAX);
            words.push(first);
            let launch = Launch { ctas, threads: *threads, dynamic_bytes: *dynamic_bytes };
            // SAFETY: the words are those of this kernel by the contract, and the number of the first block; their memory lives
            // until the run has ended, which waits for the stream.
            unsafe { function.launch(&self.gpu, launch, &words) }.map_err(|error| failed(error, "a launch"))?;
            words.pop();
            first += part;
        }
        Ok(())
    }
    fn end(&self, session: Session) -> Result<(), RunError> {
        self.gpu.synchronize().map_err(|error| failed(error, "the run"))?;
        for copy in session.copies.iter().filter(|copy| copy.written && copy.home.1 > 0) {
            let home = std::ptr::with_exposed_provenance_mut::<u8>(copy.home.0);
            // SAFETY: these are the bytes that were copied from, which are the call's own to write.
            let home = unsafe { std::slice::from_raw_parts_mut(home, copy.home.1) };
            self.gpu.download(&copy.memory, home).map_err(|error| failed(error, "an output"))?;
        }
        Ok(())
    }
}

/// How many bytes a tensor has below its first element, and in all from the first byte to the last. `None` if they can't be counted.
fn extent(tensor: &Tensor) -> Option<(usize, usize)> {
    if tensor.shape.contains(&0) {
        return Some((0, 0));
    }
    let (mut below, mut above) = (0_i64, i64::from(tensor.dtype.bits().div_ceil(8)));
    let last = tensor.shape.len().wrapping_sub(1);
    for (at, (size, stride)) in tensor.shape.iter().zip(&tensor.strides).enumerate() {
        // Elements of four bits lie in pairs along the last axis.
        let steps = if at == last && tensor.dtype.bits() < 8 { (size - 1) / 2 } else { size - 1 };
        let distance = steps.checked_mul(*stride)?;
        below = below.checked_sub(distance.min(0))?;
        above = above.checked_add(distance.max(0))?;
    }
    Some((usize::try_from(below).ok()?, usize::try_from(below.checked_add(above)?).ok()?))
}

/// What a failure on the GPU is to a run.
fn failed(error: GpuError, what: &str) -> RunError {
    match error {
        GpuError::OutOfMemory { bytes } => {
            RunError::OutOfMemory { what: format!("{what} on the GPU"), bytes: bytes.into() }
        }
        error => RunError::Device(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::extent;
    use sawmill_ir::dtype::DType;
    use sawmill_launch::Tensor;

    fn of(dtype: DType, shape: &[i64], strides: &[i64]) -> Option<(usize, usize)> {
        extent(&Tensor { address: 0, dtype, shape: shape.to_vec(), strides: strides.to_vec() })
    }

    #[test]
    fn extents_reach_from_the_first_byte_to_the_last() {
        assert_eq!(of(DType::F32, &[], &[]), Some((0, 4)));
        assert_eq!(of(DType::F32, &[2, 3], &[12, 4]), Some((0, 24)));
        assert_eq!(of(DType::F32, &[2, 3], &[100, 4]), Some((0, 112)));
        assert_eq!(of(DType::F16, &[4], &[-2]), Some((6, 8)));
        assert_eq!(of(DType::F16, &[0, 7], &[14, 2]), Some((0, 0)));
        assert_eq!(of(DType::F32, &[9], &[0]), Some((0, 4)));
        assert_eq!(of(DType::U4, &[32], &[1]), Some((0, 16)));
        assert_eq!(of(DType::F32, &[i64::MAX, i64::MAX], &[i64::MAX, 4]), None);
    }
}
