//! Memory of a GPU, kept for the next one who asks.
//!
//! In: sizes. Out: [`Memory`]. What is dropped goes to a list of its size and is handed out again without a word to the driver: all
//! work of a [`crate::Gpu`] goes to one stream, so what uses the memory next runs after what used it before. When the driver has no more,
//! all lists of all GPUs of the process are emptied, and it is asked again.
//!
//! Invariant: a block is in one list or in one [`Memory`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};

/// Sizes grow by at most this before they are rounded: what the driver maps at once.
const MOST_STEP: u64 = 2 << 20;
/// The smallest block.
const LEAST_STEP: u64 = 512;

/// Every pool of the process.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

/// The memory of one stream of one GPU.
pub(crate) struct Pool {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// Addresses of blocks that nobody holds, by size.
    unused: Mutex<BTreeMap<u64, Vec<u64>>>,
}

/// Memory of a GPU, given back after the work that was given before.
pub struct Memory {
    address: u64,
    bytes: u64,
    /// Of the block, in the pool's sizes.
    size: u64,
    pool: Arc<Pool>,
}

impl Memory {
    /// The address of the first byte, aligned to 256.
    pub fn address(&self) -> u64 {
        self.address
    }
    /// How many bytes were asked for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut unused = self.pool.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.entry(self.size).or_default().push(self.address);
    }
}

impl Pool {
    /// A pool for the work of `stream`.
    pub(crate) fn new(context: Arc<CudaContext>, stream: Arc<CudaStream>) -> Arc<Pool> {
        let pool = Arc::new(Pool { context, stream, unused: Mutex::default() });
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }
    /// `bytes` bytes (at least one), uninitialised; the context is this thread's.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Result<Memory, DriverError> {
        let size = rounded(bytes.max(1));
        let known = self.unused.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&size).and_then(Vec::pop);
        let address = match known {
            Some(address) => address,
            None => self.new_block(size)?,
        };
        Ok(Memory { address, bytes: bytes.max(1), size, pool: Arc::clone(self) })
    }
    fn new_block(&self, size: u64) -> Result<u64, DriverError> {
        let length = usize::try_from(size).map_err(|_| DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY))?;
        // SAFETY: asks for memory; the address is freed once, by `give_back`.
        match unsafe { result::malloc_sync(length) } {
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                give_all_back()?;
                self.context.bind_to_thread()?;
                // SAFETY: as above.
                unsafe { result::malloc_sync(length) }
            }
            other => other,
        }
    }
    /// Returns what nobody holds to the driver, once the work that used it is done.
    fn give_back(&self) -> Result<(), DriverError> {
        let unused = std::mem::take(&mut *self.unused.lock().unwrap_or_else(PoisonError::into_inner));
        if unused.is_empty() {
            return Ok(());
        }
        self.context.bind_to_thread()?;
        self.stream.synchronize()?;
        for address in unused.into_values().flatten() {
            // SAFETY: the block came from the driver and is in no list any more; what used it is done.
            unsafe { result::free_sync(address) }?;
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Every `Memory` holds the pool, so all blocks are in the list. A driver that fails now has nobody to be told.
        let _ = self.give_back();
    }
}

/// Empties the lists of every pool: another's may be what is missing.
fn give_all_back() -> Result<(), DriverError> {
    let pools: Vec<Arc<Pool>> =
        POOLS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
    pools.iter().try_for_each(|pool| pool.give_back())
}

/// The size of the block for so many bytes: at most an eighth more, so that lists are few and are hit again.
fn rounded(bytes: u64) -> u64 {
    let step = bytes.checked_next_power_of_two().map_or(MOST_STEP, |power| (power / 16).clamp(LEAST_STEP, MOST_STEP));
    bytes.div_ceil(step).saturating_mul(step)
}

#[cfg(test)]
mod tests {
    use super::{LEAST_STEP, rounded};

    #[test]
    fn blocks_waste_little_and_sizes_are_few() {
        assert_eq!(rounded(1), LEAST_STEP);
        assert_eq!(rounded(513), 1024);
        for bytes in (9..45).flat_map(|bits| [(1_u64 << bits) - 3, 1 << bits, (1 << bits) + 5, 3 << (bits - 1)]) {
            let size = rounded(bytes);
            assert!(size >= bytes && size - bytes < (bytes / 8).max(LEAST_STEP), "{bytes}: {size}");
            assert_eq!(rounded(size), size, "{bytes}");
        }
        let between: std::collections::BTreeSet<u64> = (1 << 16..1 << 17).map(rounded).collect();
        assert!(between.len() <= 9, "{between:?}");
        assert_eq!(rounded(u64::MAX), u64::MAX);
    }
}
