//! A device whose memory passes for its own: the processor, with blocks of this process's memory that count as another machine's.
//!
//! In: a number of threads. Out: a [`Device`] on which tensors can be resident, and [`Apart`], which tells what its calls took from host
//! memory. What a GPU's calls promise (nothing is copied, outputs stay) can so be tested without one.

use crate::storage::Storage;
use crate::{Device, Engine, Error};
use sawmill_cranelift::Cranelift;
use sawmill_ir::backend::{
    Artifact, Backend, Block, Call, CompileError, Executable, KernelTime, Remote, RunError, Slot,
};
use sawmill_ir::target::Target;
use sawmill_ir::tile::Module;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What the calls of a device did.
#[derive(Clone, Default)]
pub struct Apart {
    host_bytes: Arc<AtomicU64>,
    blocks: Arc<AtomicU64>,
}

impl Apart {
    /// A device with `threads` threads, and what it tells.
    ///
    /// # Errors
    /// An environment error if there is no code for this processor.
    pub fn device(threads: usize) -> Result<(Device, Self), Error> {
        let cores = u32::try_from(threads.max(1)).unwrap_or(u32::MAX);
        let inner = Box::new(Cranelift::host(cores).map_err(|error| Error::Environment(error.to_string()))?);
        let apart = Self::default();
        let backend = Separate { inner, apart: apart.clone() };
        Ok((Device::new(Engine::Cranelift, Some(Box::new(backend)), threads, None)?, apart))
    }
    /// Bytes of arguments and outputs in host memory that calls were given since this was asked last.
    pub fn host_bytes(&self) -> u64 {
        self.host_bytes.swap(0, Ordering::Relaxed)
    }
    /// Blocks of the device's memory that are held.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }
}

struct Separate {
    inner: Box<dyn Backend>,
    apart: Apart,
}

struct Counted {
    inner: Box<dyn Executable>,
    apart: Apart,
}

struct Held {
    storage: Storage,
    apart: Apart,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.apart.blocks.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A pattern that shows elements that were never written.
const UNWRITTEN: u8 = 0x5a;

impl Block for Held {
    fn address(&self) -> u64 {
        self.storage.address().expose_provenance() as u64
    }
    fn bytes(&self) -> u64 {
        self.storage.len() as u64
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), RunError> {
        let range = range(at, bytes.len());
        let part = self.storage.bytes_mut().and_then(|all| all.get_mut(range));
        part.ok_or_else(outside)?.copy_from_slice(bytes);
        Ok(())
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RunError> {
        into.copy_from_slice(self.storage.host_bytes().get(range(at, into.len())).ok_or_else(outside)?);
        Ok(())
    }
}

fn range(at: u64, count: usize) -> std::ops::Range<usize> {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    at..at.saturating_add(count)
}

fn outside() -> RunError {
    RunError::Bug("a copy leaves its block".to_owned())
}

impl Remote for Separate {
    fn allocate(&self, bytes: u64, what: &str) -> Result<Box<dyn Block>, RunError> {
        let refused = || RunError::OutOfMemory { what: what.to_owned(), bytes: bytes.into() };
        let length = usize::try_from(bytes.max(1)).map_err(|_| refused())?;
        let mut storage = Storage::zeroed(length, what).map_err(|_| refused())?;
        if let Some(bytes) = storage.bytes_mut() {
            bytes.fill(UNWRITTEN);
        }
        self.apart.blocks.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Held { storage, apart: self.apart.clone() }))
    }
    fn synchronize(&self) -> Result<(), RunError> {
        Ok(())
    }
    fn seconds(&self, work: &mut dyn FnMut()) -> Result<f64, RunError> {
        let start = Instant::now();
        work();
        Ok(start.elapsed().as_secs_f64())
    }
    fn profile(&self, work: &mut dyn FnMut()) -> Result<Vec<KernelTime>, RunError> {
        work();
        Ok(Vec::new())
    }
}

impl Executable for Counted {
    fn run(&self, call: &mut Call<'_>) -> Result<(), RunError> {
        let slots = call.buffers.iter().flatten().filter(|slot| !slot.remote);
        let size = |slot: &Slot| slot.shape.iter().product::<i64>().unsigned_abs() * u64::from(slot.dtype.bits()) / 8;
        self.apart.host_bytes.fetch_add(slots.map(size).sum(), Ordering::Relaxed);
        let here = |slot: &Slot| Slot { remote: false, ..slot.clone() };
        let buffers: Vec<Vec<Slot>> = call.buffers.iter().map(|slots| slots.iter().map(here).collect()).collect();
        self.inner.run(&mut Call { dims: call.dims, buffers: &buffers, workers: call.workers })
    }
}

impl Backend for Separate {
    fn name(&self) -> &'static str {
        "apart"
    }
    fn target(&self) -> &Target {
        self.inner.target()
    }
    fn level(&self) -> String {
        self.inner.level()
    }
    fn compile(&self, module: &Module) -> Result<Artifact, CompileError> {
        self.inner.compile(module)
    }
    fn load(&self, module: &Module, artifact: &Artifact) -> Result<Box<dyn Executable>, CompileError> {
        Ok(Box::new(Counted { inner: self.inner.load(module, artifact)?, apart: self.apart.clone() }))
    }
    fn explain(&self, module: &Module) -> Result<Vec<(String, String)>, CompileError> {
        self.inner.explain(module)
    }
    fn remote(&self) -> Option<&dyn Remote> {
        Some(self)
    }
}
