//! A GPU as a [`Machine`]: plans run there, on arguments that lie there or are copied there.
//!
//! In: kernels loaded on a GPU, a call. Out: outputs where the call wants them. What lies in the GPU's memory is used where it is; what
//! lies in the process's is copied to the GPU, and back if it was written. A copy holds the bytes from an argument's first element to its
//! last, with its strides, so packed records and strided views need no conversion; small ones travel together. The launches of
//! a run are collected and given to the GPU's one stream in few parts ([`Graphs`]), the first of them while later ones are worked out. A run waits for the GPU only for what the process reads.

use std::sync::{Arc, Mutex, TryLockError};

use sawmill_ir::backend::{Call, RunError, Slot};
use sawmill_ir::tile::{Access, BufferKind, Kernel};
use sawmill_launch::{ArgWords, Machine, Tensor};

use crate::error::GpuError;
use crate::function::{Function, Launch};
use crate::gpu::Gpu;
use crate::graph::{Given, Graphs, Planned};
use crate::pool::Memory;
use crate::remote::failed;

/// CTAs that one launch may have along its first axis.
const MOST_CTAS: u64 = (1 << 31) - 1;
/// Arguments of up to so many bytes travel together.
const SMALL: usize = 256;
/// Bytes of arguments that travel together.
const TOGETHER: usize = 4 << 10;
/// Launches that are collected before the first ones are given to the GPU; then twice as many each time, so that the GPU begins early and
/// is given much at once later.
const FIRST_PART: usize = 16;
/// What the address of an argument on the GPU is a multiple of.
const ALIGN: usize = 64;

/// A kernel on a GPU, and what every launch of it gives.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) function: Function,
    pub(crate) threads: u32,
    pub(crate) dynamic_bytes: u32,
    pub(crate) memories: Vec<Given>,
    /// Words that it does not look at, but for addresses.
    pub(crate) unread: Vec<usize>,
}

/// The kernels of one module on a GPU.
pub(crate) struct Kernels {
    gpu: Arc<Gpu>,
    kernels: Vec<Loaded>,
    graphs: Mutex<Graphs>,
}

/// What a run has copied and is about to give to the GPU.
pub(crate) struct Session {
    copies: Vec<Copy>,
    together: Option<Together>,
    launches: Vec<Planned>,
    words: Vec<u64>,
    /// How many times launches were given to the GPU.
    parts: usize,
}

/// An argument on the GPU.
struct Copy {
    /// Its memory; `None` if it is among those that travel together.
    memory: Option<Memory>,
    address: u64,
    /// Where its bytes lie in this process, exposed, and how many there are.
    home: (usize, usize),
    written: bool,
}

/// Small arguments.
struct Together {
    memory: Memory,
    bytes: Vec<u8>,
    uploaded: bool,
}

/// The memories that launches of a kernel are given.
pub(crate) fn memories(kernel: &Kernel) -> Vec<Given> {
    let words = ArgWords::of(kernel);
    let given = |(id, memory): (_, &sawmill_ir::tile::Memory)| Given {
        word: words.pointer(id) as usize,
        written: memory.access != Access::In,
    };
    kernel.memory.iter().map(given).collect()
}

impl Kernels {
    /// `kernels` are in the order of the module.
    pub(crate) fn new(gpu: Arc<Gpu>, kernels: Vec<Loaded>) -> Kernels {
        Kernels { gpu, kernels, graphs: Mutex::default() }
    }
    /// Where a copy of `bytes` is on the GPU, and its memory unless it travels with others.
    fn copied(&self, session: &mut Session, bytes: &[u8]) -> Result<(Option<Memory>, u64), GpuError> {
        if bytes.len() <= SMALL {
            let together = match &mut session.together {
                Some(together) => together,
                none => none.insert(Together {
                    memory: self.gpu.allocate(TOGETHER as u64)?,
                    bytes: Vec::with_capacity(TOGETHER),
                    uploaded: false,
                }),
            };
            let at = together.bytes.len().next_multiple_of(ALIGN);
            if at + bytes.len() <= TOGETHER {
                together.bytes.resize(at, 0);
                together.bytes.extend_from_slice(bytes);
                return Ok((None, together.memory.address() + at as u64));
            }
        }
        let mut memory = self.gpu.allocate(bytes.len() as u64)?;
        self.gpu.upload(bytes, &mut memory)?;
        let address = memory.address();
        Ok((Some(memory), address))
    }
    /// Gives what was collected to the GPU.
    fn flush(&self, session: &mut Session) -> Result<(), RunError> {
        if let Some(together) = session.together.as_mut().filter(|together| !together.uploaded) {
            self.gpu.upload(&together.bytes, &mut together.memory).map_err(|error| failed(error, "arguments"))?;
            together.uploaded = true;
        }
        let Session { launches, words, .. } = session;
        let outcome = self.give(session.parts, launches, words);
        session.parts += 1;
        launches.clear();
        words.clear();
        outcome.map_err(|error| failed(error, "a launch"))
    }
    fn give(&self, part: usize, launches: &[Planned], words: &[u64]) -> Result<(), GpuError> {
        let graphs = match self.graphs.try_lock() {
            _ if self.gpu.is_profiled() => None,
            Ok(graphs) => Some(graphs),
            Err(TryLockError::Poisoned(graphs)) => Some(graphs.into_inner()),
            // Another thread is giving its run: this one goes launch by launch.
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut graphs) = graphs {
            // SAFETY: the words are those of these kernels and the number of a first block; their memory is given back after the run's
            // end, thus after this work.
            if unsafe { graphs.launch(&self.gpu, &self.kernels, part, (launches, words)) }? {
                return Ok(());
            }
        }
        for planned in launches {
            let Loaded { name, function, threads, dynamic_bytes, .. } = &self.kernels[planned.kernel];
            let launch = Launch { ctas: planned.ctas, threads: *threads, dynamic_bytes: *dynamic_bytes };
            // SAFETY: as above.
            self.gpu.timed(name, || unsafe { function.launch(&self.gpu, launch, planned.words(words)) })?;
        }
        Ok(())
    }
}

impl Machine for Kernels {
    type Memory = Memory;
    type Session<'a> = Session;

    fn warnings(&self) -> Vec<String> {
        let spills = self.kernels.iter().filter(|kernel| kernel.function.spilled_bytes() > 0);
        let warning = |kernel: &Loaded| {
            let bytes = kernel.function.spilled_bytes();
            format!("kernel `{}` keeps {bytes} bytes of each thread's registers in memory", kernel.name)
        };
        spills.map(warning).collect()
    }

    fn begin<'a>(&'a self, _: &'a Call<'a>) -> Result<Session, RunError> {
        Ok(Session { copies: Vec::new(), together: None, launches: Vec::new(), words: Vec::new(), parts: 0 })
    }
    fn argument(
        &self,
        session: &mut Session,
        slot: &Slot,
        tensor: Tensor,
        kind: &BufferKind,
    ) -> Result<Tensor, RunError> {
        if slot.remote {
            return Ok(tensor);
        }
        let (below, bytes) =
            extent(&tensor).ok_or_else(|| failed(GpuError::OutOfMemory { bytes: u64::MAX }, "an argument"))?;
        let first = slot.address.wrapping_byte_sub(below);
        let held = if bytes == 0 {
            &[]
        } else {
            // SAFETY: the caller vouches for the memory of all elements for the run; they lie in one allocation, from the first
            // byte to the last, which nobody writes meanwhile.
            unsafe { std::slice::from_raw_parts(first.cast_const(), bytes) }
        };
        let (memory, address) = self.copied(session, held).map_err(|error| failed(error, "an argument"))?;
        let written = !matches!(kind, BufferKind::Input { .. });
        session.copies.push(Copy { memory, address, home: (first.expose_provenance(), bytes), written });
        let address = usize::try_from(address).map_err(|_| RunError::Bug("an address of a GPU".to_owned()))?;
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
    unsafe fn integer(&self, session: &mut Session, tensor: &Tensor) -> Result<Option<i64>, RunError> {
        let Some(bytes) = tensor.dtype.bytes().filter(|_| tensor.shape.is_empty()) else { return Ok(None) };
        self.flush(session)?;
        let mut held = [0_u8; 8];
        let held = &mut held[..bytes as usize];
        // SAFETY: by the contract the element is in memory of this run, whose writers were launched before on the same stream.
        unsafe { self.gpu.read(tensor.address as u64, held) }.map_err(|error| failed(error, "a size"))?;
        Ok(tensor.dtype.integer(held))
    }
    unsafe fn copy(&self, session: &mut Session, to: &Tensor, from: &Tensor) -> Result<(), RunError> {
        let dense = to.strides == from.strides;
        let Some((0, bytes)) = extent(to).filter(|_| dense) else {
            return Err(RunError::Bug("copies between tensors of other strides on a GPU".to_owned()));
        };
        self.flush(session)?;
        // SAFETY: both have this shape and these strides, so these bytes; they are in memory of this run by the contract.
        unsafe { self.gpu.copy(to.address as u64, from.address as u64, bytes) }
            .map_err(|error| failed(error, "an output"))
    }
    unsafe fn launch(&self, session: &mut Session, kernel: usize, words: &[u64], blocks: u64) -> Result<(), RunError> {
        let mut block = 0;
        while block < blocks {
            let part = (blocks - block).min(MOST_CTAS);
            let ctas = u32::try_from(part).unwrap_or(u32::MAX);
            let (first, count) = (session.words.len(), words.len() + 1);
            session.words.extend_from_slice(words);
            session.words.push(block);
            for word in &self.kernels[kernel].unread {
                if let Some(word) = session.words.get_mut(first + word) {
                    *word = 0;
                }
            }
            session.launches.push(Planned { kernel, ctas, first, count });
            block += part;
        }
        if session.launches.len() >= FIRST_PART << session.parts.min(8) {
            self.flush(session)?;
        }
        Ok(())
    }
    fn end(&self, mut session: Session) -> Result<(), RunError> {
        self.flush(&mut session)?;
        for copy in session.copies.iter().filter(|copy| copy.written && copy.home.1 > 0) {
            let home = std::ptr::with_exposed_provenance_mut::<u8>(copy.home.0);
            // SAFETY: these are the bytes that were copied from, which are the call's own to write.
            let home = unsafe { std::slice::from_raw_parts_mut(home, copy.home.1) };
            debug_assert!(copy.memory.as_ref().is_none_or(|memory| memory.address() == copy.address));
            // SAFETY: the copy has as many bytes, in memory that the session holds.
            unsafe { self.gpu.read(copy.address, home) }.map_err(|error| failed(error, "an output"))?;
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
    for (at, (size, stride)) in tensor.shape.iter().zip(tensor.strides.iter()).enumerate() {
        // Elements of four bits lie in pairs along the last axis.
        let steps = if at == last && tensor.dtype.bits() < 8 { (size - 1) / 2 } else { size - 1 };
        let distance = steps.checked_mul(*stride)?;
        below = below.checked_sub(distance.min(0))?;
        above = above.checked_add(distance.max(0))?;
    }
    Some((usize::try_from(below).ok()?, usize::try_from(below.checked_add(above)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::extent;
    use sawmill_ir::dtype::DType;
    use sawmill_launch::Tensor;

    fn of(dtype: DType, shape: &[i64], strides: &[i64]) -> Option<(usize, usize)> {
        extent(&Tensor { address: 0, dtype, shape: shape.into(), strides: strides.into() })
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
