//! Where calls run: an engine with its own threads and its own memory of compiled functions.

use crate::Error;
use crate::compiled::Compiled;
use crate::pool::Pool;
use rustc_hash::FxHashMap;
use sawmill_ir::backend::{Backend, KernelTime, Remote, Workers};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// A device. Cloning shares it.
#[derive(Clone)]
pub struct Device {
    pub(crate) inner: Arc<Inner>,
}

/// What executes a device's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The graph interpreter, in f64: the meaning of the language, slowly.
    Interpreter,
    /// The processor, through Cranelift.
    Cranelift,
    /// The processor, through LLVM, if the feature `llvm` is on.
    Llvm,
    /// An NVIDIA GPU, if the feature `cuda` is on.
    Cuda,
}

impl Engine {
    /// Whether it compiles; if not, it interprets.
    pub fn compiles(self) -> bool {
        self != Self::Interpreter
    }
    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpreter => "interpreter",
            Self::Cranelift => "cranelift",
            Self::Llvm => "llvm",
            Self::Cuda => "cuda",
        }
    }
}

/// A compiled function, made at most once however many threads ask.
pub(crate) type Entry = Arc<OnceLock<Result<Arc<Compiled>, Error>>>;

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) backend: Option<Box<dyn Backend>>,
    pub(crate) pool: Pool,
    /// Where compiled functions are kept between processes; `None` keeps none.
    pub(crate) cache_dir: Option<PathBuf>,
    compiled: Mutex<FxHashMap<String, Entry>>,
}

impl Device {
    /// The graph interpreter. It is never chosen on its own: it must be asked for.
    pub fn interpreter() -> Result<Self, Error> {
        Self::new(Engine::Interpreter, None, 1, None)
    }
    /// The processor, with a thread for each core and the user's cache folder.
    #[cfg(feature = "cranelift")]
    pub fn cpu() -> Result<Self, Error> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self::cpu_with(threads, default_cache_dir())
    }
    /// The processor, with `threads` workers (at least 1) and a folder for compiled functions, or none.
    #[cfg(feature = "cranelift")]
    pub fn cpu_with(threads: usize, cache_dir: Option<PathBuf>) -> Result<Self, Error> {
        let backend = sawmill_cranelift::Cranelift::host(u32::try_from(threads.max(1)).unwrap_or(u32::MAX))
            .map_err(|e| Error::Environment(e.to_string()))?;
        Self::new(Engine::Cranelift, Some(Box::new(backend)), threads, cache_dir)
    }
    /// Any processor of this architecture, with code that uses no more than all of them have: slower, and the same on every
    /// machine, so that snapshots of code can be compared. Nothing is kept on disk.
    #[cfg(feature = "cranelift")]
    pub fn cpu_baseline(threads: usize) -> Result<Self, Error> {
        let cores = u32::try_from(threads.max(1)).unwrap_or(u32::MAX);
        let backend = sawmill_cranelift::Cranelift::baseline(cores).map_err(|e| Error::Environment(e.to_string()))?;
        Self::new(Engine::Cranelift, Some(Box::new(backend)), threads, None)
    }
    /// The processor through LLVM, with a thread for each core and the user's cache folder.
    #[cfg(feature = "llvm")]
    pub fn llvm() -> Result<Self, Error> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self::llvm_with(threads, default_cache_dir())
    }
    /// The processor through LLVM, with `threads` workers (at least 1) and a folder for compiled functions, or none. Code uses all
    /// that the processor offers, or less: the environment variable `SAWMILL_CPU_LEVEL` may name a lower level.
    #[cfg(feature = "llvm")]
    pub fn llvm_with(threads: usize, cache_dir: Option<PathBuf>) -> Result<Self, Error> {
        let level = sawmill_llvm::Level::chosen().map_err(|e| Error::Environment(e.to_string()))?;
        Self::llvm_at(level, threads, cache_dir)
    }
    /// The same at a level of this processor.
    #[cfg(feature = "llvm")]
    pub fn llvm_at(level: sawmill_llvm::Level, threads: usize, cache_dir: Option<PathBuf>) -> Result<Self, Error> {
        let cores = u32::try_from(threads.max(1)).unwrap_or(u32::MAX);
        let backend = sawmill_llvm::Llvm::at(level, cores).map_err(|e| Error::Environment(e.to_string()))?;
        Self::new(Engine::Llvm, Some(Box::new(backend)), threads, cache_dir)
    }
    /// GPU number `ordinal` of those that the NVIDIA driver shows, with the user's cache folder. Tensors that were moved there
    /// ([`crate::Tensor::to`]) are used where they are, and calls on them give outputs there; of tensors in the process's memory a call
    /// makes copies, and copies its outputs back. Work is done in the order of calls, while the process goes on. A device made anew for
    /// the same GPU has an order (a stream) of its own, and memory of its own.
    ///
    /// # Errors
    /// An environment error that says what is missing: the driver, a GPU of this number, a driver new enough.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: usize) -> Result<Self, Error> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self::cuda_with(ordinal, threads, default_cache_dir())
    }
    /// The same with a number of threads on the host and a folder for compiled functions, or none.
    ///
    /// # Errors
    /// As [`Device::cuda`].
    #[cfg(feature = "cuda")]
    pub fn cuda_with(ordinal: usize, threads: usize, cache_dir: Option<PathBuf>) -> Result<Self, Error> {
        let backend = sawmill_cuda::Cuda::open(ordinal).map_err(|e| Error::Environment(e.to_string()))?;
        Self::new(Engine::Cuda, Some(Box::new(backend)), threads, cache_dir)
    }
    /// The best device that is compiled in and works.
    pub fn best() -> Result<Self, Error> {
        #[cfg(feature = "cranelift")]
        return Self::cpu();
        #[cfg(all(feature = "llvm", not(feature = "cranelift")))]
        return Self::llvm();
        #[cfg(not(any(feature = "cranelift", feature = "llvm")))]
        Err(Error::Environment("no engine is compiled in: enable the feature `cranelift` of `sawmill`".into()))
    }
    /// A loop of multiply-adds that measures what the device's engine can do at best; `None` for the interpreter.
    ///
    /// # Errors
    /// An environment error if there is no code for this processor.
    #[cfg(feature = "cranelift")]
    pub fn multiply_adds(&self) -> Result<Option<crate::MultiplyAdds>, Error> {
        let made = match self.engine() {
            Engine::Interpreter => return Ok(None),
            #[cfg(feature = "llvm")]
            Engine::Llvm => sawmill_llvm::Llvm::multiply_adds(),
            _ => sawmill_cranelift::Cranelift::multiply_adds(),
        };
        made.map(Some).map_err(|e| Error::Environment(e.to_string()))
    }
    /// The device calls run on whose arguments are bound to none: [`Device::best`], made once.
    pub(crate) fn shared() -> Result<Self, Error> {
        static SHARED: OnceLock<Mutex<Option<Device>>> = OnceLock::new();
        let slot = SHARED.get_or_init(|| Mutex::new(None));
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = &*slot {
            return Ok(device.clone());
        }
        let device = Self::best()?;
        *slot = Some(device.clone());
        Ok(device)
    }
    pub(crate) fn new(
        engine: Engine,
        backend: Option<Box<dyn Backend>>,
        threads: usize,
        cache_dir: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let pool =
            Pool::new(threads).map_err(|e| Error::Environment(format!("cannot start {threads} threads: {e}")))?;
        Ok(Self { inner: Arc::new(Inner { engine, backend, pool, cache_dir, compiled: Mutex::default() }) })
    }
    /// What executes the calls.
    pub fn engine(&self) -> Engine {
        self.inner.engine
    }
    /// What code for it may use, in the words of its engine; nothing for the interpreter.
    pub fn level(&self) -> Option<String> {
        self.inner.backend.as_ref().map(|backend| backend.level())
    }
    /// The device's threads, for work of the caller's own between calls. A panic in it is an error of that work alone.
    pub fn workers(&self) -> &dyn Workers {
        &self.inner.pool
    }
    /// Waits for the calls before, where they go on while the process does.
    ///
    /// # Errors
    /// [`Error::Device`] if one of them failed.
    pub fn synchronize(&self) -> Result<(), Error> {
        self.remote().map_or(Ok(()), |remote| remote.synchronize().map_err(failed))
    }
    /// Seconds that the device takes for the calls of `work`, by its own clock where it has one.
    ///
    /// # Errors
    /// The error of `work`; [`Error::Device`].
    pub fn seconds(&self, work: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
        let mut work = Some(work);
        let mut outcome = Ok(());
        let mut once = || outcome = work.take().map_or(Ok(()), |work| work());
        let seconds = match self.remote() {
            Some(remote) => remote.seconds(&mut once).map_err(failed),
            None => {
                let start = Instant::now();
                once();
                Ok(start.elapsed().as_secs_f64())
            }
        };
        outcome?;
        seconds
    }
    /// What each kernel of the calls of `work` takes, in order of first launch; nothing on devices that do not tell.
    ///
    /// # Errors
    /// The error of `work`; [`Error::Device`].
    pub fn profile(&self, work: impl FnOnce() -> Result<(), Error>) -> Result<Vec<KernelTime>, Error> {
        let Some(remote) = self.remote() else { return work().map(|()| Vec::new()) };
        let mut work = Some(work);
        let mut outcome = Ok(());
        let times = remote.profile(&mut || outcome = work.take().map_or(Ok(()), |work| work())).map_err(failed);
        outcome?;
        times
    }
    /// The device's memory, if it has its own.
    pub(crate) fn remote(&self) -> Option<&dyn Remote> {
        self.inner.backend.as_ref().and_then(|backend| backend.remote())
    }
    /// Number of workers.
    pub fn threads(&self) -> usize {
        self.inner.pool.count()
    }
    /// The entry of `key`, new or known.
    pub(crate) fn entry(&self, key: &str) -> Entry {
        let mut compiled = self.inner.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(compiled.entry(key.to_owned()).or_default())
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}
impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} threads", self.inner.engine.name(), self.threads())
    }
}

/// A failure between calls.
fn failed(error: sawmill_ir::backend::RunError) -> Error {
    Error::run("the calls before", error)
}

/// The user's cache folder for compiled functions: `SAWMILL_CACHE_DIR`, else `XDG_CACHE_HOME`, else `~/.cache`. An empty
/// `SAWMILL_CACHE_DIR` means none.
#[cfg(any(feature = "cranelift", feature = "cuda", feature = "llvm"))]
fn default_cache_dir() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    if let Some(dir) = var("SAWMILL_CACHE_DIR") {
        return (!dir.as_os_str().is_empty()).then_some(dir);
    }
    let base =
        var("XDG_CACHE_HOME").filter(|p| p.is_absolute()).or_else(|| var("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("sawmill").join("kernels"))
}
