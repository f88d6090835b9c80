//! One GPU: its context, a stream for our work, memory.
//!
//! In: a number. Out: [`Gpu`], which every thread may use. All work of a [`Gpu`] goes to one stream, in the order it was given;
//! copies to and from the host wait for it. Memory is freed in the same order, so nothing is freed under a running kernel.

use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};

use crate::driver::{Missing, probe};
use crate::error::{GpuError, text};

/// What a GPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its compute capability: major, minor.
    pub capability: (u32, u32),
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// Its streaming multiprocessors.
    pub multiprocessors: u32,
    /// Shared memory that one CTA can ask for, in bytes.
    pub shared_bytes: u32,
}

/// A GPU with a stream of its own.
pub struct Gpu {
    pub(crate) context: Arc<CudaContext>,
    pub(crate) stream: Arc<CudaStream>,
    facts: Facts,
}

/// Memory of a GPU, freed after the work that was given before.
pub struct Memory {
    slice: CudaSlice<u8>,
    address: u64,
}

impl Memory {
    /// The address of the first byte, aligned to 256.
    pub fn address(&self) -> u64 {
        self.address
    }
    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.slice.len() as u64
    }
}

impl Gpu {
    /// GPU number `ordinal` of those that the driver shows.
    ///
    /// # Errors
    /// What is missing on this machine.
    pub fn open(ordinal: usize) -> Result<Self, Missing> {
        let driver = probe()?;
        if ordinal >= driver.gpus {
            return Err(Missing::Ordinal { asked: ordinal, gpus: driver.gpus });
        }
        let broken = |error| Missing::Broken(text(error));
        let context = CudaContext::new(ordinal).map_err(broken)?;
        // SAFETY: all work of this crate on the context goes to one stream and is ordered by it, so that no event has to be
        // kept for each piece of memory.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(broken)?;
        let facts = facts(&context).map_err(broken)?;
        Ok(Self { context, stream, facts })
    }
    /// What it is.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Memory of `bytes` bytes (at least one), uninitialised.
    ///
    /// # Errors
    /// There is not enough; the GPU stays usable.
    pub fn allocate(&self, bytes: u64) -> Result<Memory, GpuError> {
        let length = usize::try_from(bytes.max(1)).map_err(|_| GpuError::OutOfMemory { bytes })?;
        self.enter()?;
        // SAFETY: bytes have no invalid values; who reads them before writing reads garbage, as the doc says.
        let slice = unsafe { self.stream.alloc::<u8>(length) }.map_err(|error| GpuError::of(error, bytes))?;
        let (address, _) = slice.device_ptr(&self.stream);
        Ok(Memory { address, slice })
    }
    /// Copies `from` to the start of `to` and waits.
    ///
    /// # Errors
    /// `to` is shorter; what the driver reports.
    pub fn upload(&self, from: &[u8], to: &mut Memory) -> Result<(), GpuError> {
        if from.len() > to.slice.len() {
            return Err(GpuError::Driver(format!("{} bytes do not fit into {}", from.len(), to.slice.len())));
        }
        if from.is_empty() {
            return Ok(());
        }
        self.enter()?;
        self.stream.memcpy_htod(from, &mut to.slice)?;
        self.synchronize()
    }
    /// Copies the start of `from` to `to` after the work given before, and waits.
    ///
    /// # Errors
    /// `from` is shorter; what the driver reports, failures of earlier work included.
    pub fn download(&self, from: &Memory, to: &mut [u8]) -> Result<(), GpuError> {
        let Some(part) = from.slice.try_slice(..to.len()) else {
            return Err(GpuError::Driver(format!("{} bytes are more than {}", to.len(), from.slice.len())));
        };
        if to.is_empty() {
            return Ok(());
        }
        self.enter()?;
        self.stream.memcpy_dtoh(&part, to)?;
        self.synchronize()
    }
    /// Copies bytes at an address to `to` after the work given before, and waits.
    ///
    /// # Errors
    /// What the driver reports, failures of earlier work included.
    ///
    /// # Safety
    /// The bytes are in live memory of this GPU.
    pub unsafe fn read(&self, address: u64, to: &mut [u8]) -> Result<(), GpuError> {
        self.enter()?;
        // SAFETY: passed on to the caller; `to` outlives the wait.
        unsafe { result::memcpy_dtoh_async(to, address, self.stream.cu_stream()) }?;
        self.synchronize()
    }
    /// Copies bytes from one address to another after the work given before.
    ///
    /// # Errors
    /// What the driver reports.
    ///
    /// # Safety
    /// Both are in live memory of this GPU, which lives until the work is done, and share no byte.
    pub unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), GpuError> {
        if bytes == 0 {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: passed on to the caller.
        Ok(unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) }?)
    }
    /// Waits for all work given before.
    ///
    /// # Errors
    /// A kernel failed.
    pub fn synchronize(&self) -> Result<(), GpuError> {
        Ok(self.stream.synchronize()?)
    }
    /// Makes the context this thread's.
    pub(crate) fn enter(&self) -> Result<(), GpuError> {
        Ok(self.context.bind_to_thread()?)
    }
}

fn facts(context: &CudaContext) -> Result<Facts, cudarc::driver::DriverError> {
    let attribute = |attribute| context.attribute(attribute).map(i32::unsigned_abs);
    let (major, minor) = context.compute_capability()?;
    Ok(Facts {
        name: context.name()?,
        capability: (major.unsigned_abs(), minor.unsigned_abs()),
        memory_bytes: context.total_mem()? as u64,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
    })
}
