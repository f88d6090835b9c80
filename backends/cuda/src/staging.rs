//! Copies between this process and a GPU by way of pinned memory, so that neither waits for the other more than it must.
//!
//! In: bytes of the process, addresses of the GPU. Out: copies on the GPU's stream. Bytes to the GPU are taken before a call returns;
//! bytes from it are there when a call returns. Pinned memory is made when it is first needed and used in turns.
//!
//! Invariant: a part of pinned memory is written only after the copy that read it last is done, which its event tells.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result};

/// Up to so many bytes go by the small parts, of which there are many, so that a caller can be far ahead of the GPU.
const SMALL: usize = 4 << 10;
const SMALL_PARTS: usize = 64;
const LARGE: usize = 4 << 20;
const LARGE_PARTS: usize = 3;

/// Pinned memory for the copies of one stream.
pub(crate) struct Staging {
    small: Mutex<Option<Ring>>,
    large: Mutex<Option<Ring>>,
}

/// Pinned memory in parts of one size.
struct Ring {
    context: Arc<CudaContext>,
    memory: *mut u8,
    part: usize,
    /// Of the last copy of each part.
    events: Vec<CudaEvent>,
    next: usize,
}

// SAFETY: the memory is the ring's own and is reached through `&mut Ring` alone.
unsafe impl Send for Ring {}

impl Ring {
    fn new(context: &Arc<CudaContext>, part: usize, count: usize) -> Result<Ring, DriverError> {
        let events = (0..count).map(|_| context.new_event(None)).collect::<Result<Vec<_>, _>>()?;
        // SAFETY: asks for memory, which is freed once, when the ring is dropped.
        let memory = unsafe { result::malloc_host(part * count, 0) }?;
        Ok(Ring { context: Arc::clone(context), memory: memory.cast(), part, events, next: 0 })
    }
    /// The next part, once its last copy is done.
    fn turn(&mut self) -> Result<usize, DriverError> {
        let turn = self.next;
        self.next = (turn + 1) % self.events.len();
        self.events[turn].synchronize()?;
        Ok(turn)
    }
    fn bytes(&mut self, turn: usize, count: usize) -> &mut [u8] {
        debug_assert!(count <= self.part);
        // SAFETY: part `turn` lies in the ring's memory, which nobody else has; the driver gives memory that may be read.
        unsafe { std::slice::from_raw_parts_mut(self.memory.add(turn * self.part), count) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Errors here have nobody to be told: a GPU that failed told whoever waited.
        let _ = self.context.bind_to_thread();
        for event in &self.events {
            let _ = event.synchronize();
        }
        // SAFETY: the memory came from `malloc_host`, and all copies of it are done.
        let _ = unsafe { result::free_host(self.memory.cast()) };
    }
}

impl Staging {
    pub(crate) fn new() -> Staging {
        Staging { small: Mutex::new(None), large: Mutex::new(None) }
    }
    fn ring(&self, bytes: usize) -> (MutexGuard<'_, Option<Ring>>, usize, usize) {
        let (ring, part, count) = match bytes {
            0..=SMALL => (&self.small, SMALL, SMALL_PARTS),
            _ => (&self.large, LARGE, LARGE_PARTS),
        };
        (ring.lock().unwrap_or_else(PoisonError::into_inner), part, count)
    }
    /// Copies `from` to an address, after the work given to `stream` before. The context is this thread's.
    ///
    /// # Safety
    /// As many bytes lie there in memory of the GPU that lives until the copy is done.
    pub(crate) unsafe fn upload(&self, stream: &Arc<CudaStream>, from: &[u8], to: u64) -> Result<(), DriverError> {
        let (mut ring, part, count) = self.ring(from.len());
        let ring = made(&mut ring, stream.context(), part, count)?;
        let mut address = to;
        for chunk in from.chunks(part) {
            let turn = ring.turn()?;
            let pinned = ring.bytes(turn, chunk.len());
            pinned.copy_from_slice(chunk);
            // SAFETY: the target is the caller's to vouch for; the part is not written before its event has come.
            unsafe { result::memcpy_htod_async(address, pinned, stream.cu_stream()) }?;
            ring.events[turn].record(stream)?;
            address += chunk.len() as u64;
        }
        Ok(())
    }
    /// Copies bytes at an address to `to`, after the work given to `stream` before, and waits. The context is this thread's.
    ///
    /// # Safety
    /// As many bytes lie there in live memory of the GPU.
    pub(crate) unsafe fn download(
        &self,
        stream: &Arc<CudaStream>,
        from: u64,
        to: &mut [u8],
    ) -> Result<(), DriverError> {
        let (mut ring, part, count) = self.ring(to.len());
        let ring = made(&mut ring, stream.context(), part, count)?;
        let mut address = from;
        let mut under_way: VecDeque<(usize, &mut [u8])> = VecDeque::new();
        for chunk in to.chunks_mut(part) {
            if under_way.len() == count {
                arrived(ring, &mut under_way)?;
            }
            let turn = ring.turn()?;
            let pinned = ring.bytes(turn, chunk.len());
            // SAFETY: the source is the caller's to vouch for; the part is not used before its event has come.
            unsafe { result::memcpy_dtoh_async(pinned, address, stream.cu_stream()) }?;
            ring.events[turn].record(stream)?;
            address += chunk.len() as u64;
            under_way.push_back((turn, chunk));
        }
        while !under_way.is_empty() {
            arrived(ring, &mut under_way)?;
        }
        Ok(())
    }
}

/// Waits for the oldest copy and takes it out of its part.
fn arrived(ring: &mut Ring, under_way: &mut VecDeque<(usize, &mut [u8])>) -> Result<(), DriverError> {
    if let Some((turn, chunk)) = under_way.pop_front() {
        ring.events[turn].synchronize()?;
        chunk.copy_from_slice(ring.bytes(turn, chunk.len()));
    }
    Ok(())
}

fn made<'r>(
    ring: &'r mut Option<Ring>,
    context: &Arc<CudaContext>,
    part: usize,
    count: usize,
) -> Result<&'r mut Ring, DriverError> {
    if ring.is_none() {
        *ring = Some(Ring::new(context, part, count)?);
    }
    Ok(ring.as_mut().expect("made just now"))
}
