//! A GPU's memory and clock, as the runtime asks for them.

use std::sync::Arc;

use sawmill_ir::backend::{Block, KernelTime, Remote, RunError};

use crate::backend::Cuda;
use crate::error::GpuError;
use crate::gpu::Gpu;
use crate::pool::Memory;

/// Memory that knows its GPU.
struct Held {
    gpu: Arc<Gpu>,
    memory: Memory,
}

impl Block for Held {
    fn address(&self) -> u64 {
        self.memory.address()
    }
    fn bytes(&self) -> u64 {
        self.memory.bytes()
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), RunError> {
        self.gpu.upload_at(bytes, &mut self.memory, at).map_err(|error| failed(error, "a copy"))
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RunError> {
        self.gpu.download_at(&self.memory, at, into).map_err(|error| failed(error, "a copy"))
    }
}

impl Remote for Cuda {
    fn allocate(&self, bytes: u64, what: &str) -> Result<Box<dyn Block>, RunError> {
        let memory = self.gpu.allocate(bytes).map_err(|error| failed(error, what))?;
        Ok(Box::new(Held { gpu: Arc::clone(&self.gpu), memory }))
    }
    fn synchronize(&self) -> Result<(), RunError> {
        self.gpu.synchronize().map_err(|error| failed(error, "the work before"))
    }
    fn seconds(&self, work: &mut dyn FnMut()) -> Result<f64, RunError> {
        self.gpu.seconds(work).map_err(|error| failed(error, "the work before"))
    }
    fn profile(&self, work: &mut dyn FnMut()) -> Result<Vec<KernelTime>, RunError> {
        let launches = self.gpu.profiled(work);
        self.synchronize()?;
        let mut times: Vec<KernelTime> = Vec::new();
        for launch in &launches {
            let seconds =
                self.gpu.between(&launch.begin, &launch.end).map_err(|error| failed(error, "the work before"))?;
            match times.iter_mut().find(|time| time.kernel == launch.kernel) {
                Some(time) => {
                    time.launches += 1;
                    time.seconds += seconds;
                }
                None => times.push(KernelTime { kernel: launch.kernel.clone(), launches: 1, seconds }),
            }
        }
        Ok(times)
    }
}

/// What a failure on the GPU is to a run.
pub(crate) fn failed(error: GpuError, what: &str) -> RunError {
    match error {
        GpuError::OutOfMemory { bytes } => {
            RunError::OutOfMemory { what: format!("{what} on the GPU"), bytes: bytes.into() }
        }
        error => RunError::Device(error.to_string()),
    }
}
