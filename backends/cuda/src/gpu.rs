//! One GPU: its context, a stream for our work, memory.
//!
//! In: a number. Out: [`Gpu`], which every thread may use. All work of a [`Gpu`] goes to one stream, in the order it was given;
//! what is read from it is read after that work. Memory is given back in the same order, so nothing is freed under a running
//! kernel. Who wants two streams of one GPU opens it twice; memory belongs to the one that it came from.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUevent_flags};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result};

use crate::driver::{Driver, Missing, probe};
use crate::error::{GpuError, text};
use crate::pool::{Memory, Pool};
use crate::staging::Staging;

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
    pool: Arc<Pool>,
    staging: Staging,
    /// What the driver said when the GPU was lost.
    lost: OnceLock<String>,
    profile: Mutex<Option<Vec<Timed>>>,
    driver: Driver,
    facts: Facts,
}

/// A launch whose time is taken.
pub(crate) struct Timed {
    pub(crate) kernel: String,
    pub(crate) begin: CudaEvent,
    pub(crate) end: CudaEvent,
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
        // SAFETY: no memory of this crate is used on two streams, so that no event has to be kept for each piece of it.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(broken)?;
        let facts = facts(&context).map_err(broken)?;
        let pool = Pool::new(Arc::clone(&context), Arc::clone(&stream));
        let (staging, lost, profile) = (Staging::new(), OnceLock::new(), Mutex::new(None));
        Ok(Self { context, stream, pool, staging, lost, profile, driver, facts })
    }
    /// What it is.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
    /// The driver that shows it.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Memory of `bytes` bytes (at least one), uninitialised.
    ///
    /// # Errors
    /// There is not enough; the GPU stays usable.
    pub fn allocate(&self, bytes: u64) -> Result<Memory, GpuError> {
        self.enter()?;
        self.pool.take(bytes).map_err(|error| self.noted(error, bytes))
    }
    /// Copies `from` to the start of `to`, after the work given before. `from` is read before it returns.
    ///
    /// # Errors
    /// `to` is shorter; what the driver reports.
    pub fn upload(&self, from: &[u8], to: &mut Memory) -> Result<(), GpuError> {
        self.upload_at(from, to, 0)
    }
    /// The same to byte `at` and on.
    ///
    /// # Errors
    /// As [`Gpu::upload`].
    pub fn upload_at(&self, from: &[u8], to: &mut Memory, at: u64) -> Result<(), GpuError> {
        let address = part(to, at, from.len())?;
        self.enter()?;
        // SAFETY: the bytes lie in `to`, which gives them back after this copy at the earliest.
        unsafe { self.staging.upload(&self.stream, from, address) }.map_err(|error| self.noted(error, 0))
    }
    /// Copies the start of `from` to `to` after the work given before, and waits.
    ///
    /// # Errors
    /// `from` is shorter; what the driver reports, failures of earlier work included.
    pub fn download(&self, from: &Memory, to: &mut [u8]) -> Result<(), GpuError> {
        self.download_at(from, 0, to)
    }
    /// The same from byte `at` on.
    ///
    /// # Errors
    /// As [`Gpu::download`].
    pub fn download_at(&self, from: &Memory, at: u64, to: &mut [u8]) -> Result<(), GpuError> {
        let address = part(from, at, to.len())?;
        // SAFETY: the bytes lie in `from`.
        unsafe { self.read(address, to) }
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
        // SAFETY: passed on to the caller.
        unsafe { self.staging.download(&self.stream, address, to) }.map_err(|error| self.noted(error, 0))
    }
    /// Copies bytes from one address to another after the work given before.
    ///
    /// # Errors
    /// What the driver reports.
    ///
    /// # Safety
    /// Both are in memory of this GPU that is given back after the work is given, and share no byte.
    pub unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), GpuError> {
        if bytes == 0 {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: passed on to the caller.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) }
            .map_err(|error| self.noted(error, 0))
    }
    /// Waits for all work given before.
    ///
    /// # Errors
    /// A kernel failed.
    pub fn synchronize(&self) -> Result<(), GpuError> {
        self.enter()?;
        self.stream.synchronize().map_err(|error| self.noted(error, 0))
    }
    /// Seconds, by the GPU's clock, from the work given before to the end of what `work` gives; waits for it.
    ///
    /// # Errors
    /// A kernel failed.
    pub fn seconds(&self, work: impl FnOnce()) -> Result<f64, GpuError> {
        let begin = self.event()?;
        work();
        let end = self.event()?;
        self.synchronize()?;
        self.between(&begin, &end)
    }
    /// Bytes of memory that a copy of `bytes` bytes to other memory of this GPU moves in a second, read and written, at the best of
    /// `times` copies.
    ///
    /// # Errors
    /// There is no room for both.
    pub fn copy_rate(&self, bytes: u64, times: usize) -> Result<f64, GpuError> {
        let (from, to) = (self.allocate(bytes)?, self.allocate(bytes)?);
        let length = usize::try_from(bytes).map_err(|_| GpuError::OutOfMemory { bytes })?;
        let mut best = f64::INFINITY;
        for _ in 0..times {
            let mut outcome = Ok(());
            // SAFETY: both blocks have so many bytes and outlive the wait in `seconds`.
            let seconds = self.seconds(|| outcome = unsafe { self.copy(to.address(), from.address(), length) })?;
            outcome?;
            best = best.min(seconds);
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for reading")]
        let moved = 2.0 * bytes as f64;
        Ok(moved / best)
    }

    /// Calls `work` and gives the launches that it made with their times; other threads' are among them.
    pub(crate) fn profiled(&self, work: impl FnOnce()) -> Vec<Timed> {
        *self.profile.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        work();
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
    /// Whether launches are timed one by one.
    pub(crate) fn is_profiled(&self) -> bool {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
    /// Takes the time of what `launch` gives, if launches are timed.
    pub(crate) fn timed(&self, kernel: &str, launch: impl FnOnce() -> Result<(), GpuError>) -> Result<(), GpuError> {
        if !self.is_profiled() {
            return launch();
        }
        let begin = self.event()?;
        launch()?;
        let end = self.event()?;
        if let Some(launches) = &mut *self.profile.lock().unwrap_or_else(PoisonError::into_inner) {
            launches.push(Timed { kernel: kernel.to_owned(), begin, end });
        }
        Ok(())
    }
    /// Seconds from one event to another; both have come.
    pub(crate) fn between(&self, begin: &CudaEvent, end: &CudaEvent) -> Result<f64, GpuError> {
        begin.elapsed_ms(end).map(|milliseconds| f64::from(milliseconds) / 1e3).map_err(|error| self.noted(error, 0))
    }
    /// An event behind the work given before.
    fn event(&self) -> Result<CudaEvent, GpuError> {
        self.enter()?;
        let event = self.context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        let event = event.map_err(|error| self.noted(error, 0))?;
        event.record(&self.stream).map_err(|error| self.noted(error, 0))?;
        Ok(event)
    }
    /// Makes the context this thread's.
    pub(crate) fn enter(&self) -> Result<(), GpuError> {
        if let Some(what) = self.lost.get() {
            return Err(GpuError::Lost(what.clone()));
        }
        self.context.bind_to_thread().map_err(|error| self.noted(error, 0))
    }
    /// What the driver's answer means, remembered if the GPU is lost. `bytes` is what an allocation asked for.
    pub(crate) fn noted(&self, error: DriverError, bytes: u64) -> GpuError {
        let error = GpuError::of(error, bytes);
        if let GpuError::Lost(what) = &error {
            // Who lost it first says why.
            let _ = self.lost.set(what.clone());
        }
        error
    }
}

/// The address of byte `at` of memory that has `count` bytes from there on.
fn part(memory: &Memory, at: u64, count: usize) -> Result<u64, GpuError> {
    let end = at.checked_add(count as u64).filter(|end| *end <= memory.bytes());
    let refused =
        || GpuError::Driver(format!("{count} bytes from byte {at} on leave the {} of the memory", memory.bytes()));
    end.ok_or_else(refused).map(|_| memory.address() + at)
}

fn facts(context: &CudaContext) -> Result<Facts, DriverError> {
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
