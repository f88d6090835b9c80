//! The joint between the compiler and its code generators.
//!
//! A [`Backend`] takes a whole plan (kernels, temporaries, conditions on run-time sizes), not a kernel, and gives an
//! [`Artifact`]: bytes that a disk cache can keep. [`Backend::load`] makes an artifact callable. Running one never compiles.

use crate::dtype::DType;
pub use crate::per_axis::PerAxis;
use crate::target::Target;
use crate::tile;
use std::fmt;

/// A code generator for one kind of machine.
pub trait Backend: Send + Sync {
    /// Its name, as in `--engine`.
    fn name(&self) -> &'static str;
    /// The machine it generates for.
    fn target(&self) -> &Target;
    /// What generated code needs of the machine it runs on (architecture, features): part of every cache key.
    fn level(&self) -> String;
    /// Compiles a verified module. Errors are compiler bugs or refusals with a reason, never panics.
    fn compile(&self, module: &tile::Module) -> Result<Artifact, CompileError>;
    /// Makes an artifact of this backend callable.
    fn load(&self, module: &tile::Module, artifact: &Artifact) -> Result<Box<dyn Executable>, CompileError>;
    /// The generated code of every kernel, to read: (title, text) in the order of generation.
    fn explain(&self, module: &tile::Module) -> Result<Vec<(String, String)>, CompileError>;
    /// The machine that its kernels run on, if it has memory of its own; `None` where kernels reach this process's.
    fn remote(&self) -> Option<&dyn Remote> {
        None
    }
}

/// A machine with memory of its own. It does what it is given in order while this process goes on; a failure is reported by a
/// later call that waits.
pub trait Remote: Send + Sync {
    /// `bytes` bytes for `what`, uninitialised.
    ///
    /// # Errors
    /// There are not so many; the machine stays usable.
    fn allocate(&self, bytes: u64, what: &str) -> Result<Box<dyn Block>, RunError>;
    /// Waits for all that was given before.
    ///
    /// # Errors
    /// Something of it failed.
    fn synchronize(&self) -> Result<(), RunError>;
    /// Seconds, by the machine's clock, that it took for what `work` gave it.
    ///
    /// # Errors
    /// Something of it failed.
    fn seconds(&self, work: &mut dyn FnMut()) -> Result<f64, RunError>;
    /// What each kernel that `work` started took, in order of first start. Meanwhile launches are not put together.
    ///
    /// # Errors
    /// Something of it failed.
    fn profile(&self, work: &mut dyn FnMut()) -> Result<Vec<KernelTime>, RunError>;
}

/// Memory of a [`Remote`] machine, given back when dropped, after all work given before.
pub trait Block: Send + Sync {
    /// The address of the first byte, aligned to 256, for kernels.
    fn address(&self) -> u64;
    /// How many bytes there are.
    fn bytes(&self) -> u64;
    /// Writes bytes from byte `at` on, after the work given before. The bytes are taken before it returns.
    ///
    /// # Errors
    /// They do not fit; the machine failed.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), RunError>;
    /// Reads bytes from byte `at` on, after the work given before, and waits.
    ///
    /// # Errors
    /// There are fewer; the machine failed.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RunError>;
}

/// What the launches of a kernel took.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel's name.
    pub kernel: String,
    /// How often it was launched.
    pub launches: usize,
    /// Seconds of all launches together.
    pub seconds: f64,
}

/// Compiled kernels as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artifact {
    /// Code that only this backend understands, in the order of the module's kernels.
    pub kernels: Vec<Vec<u8>>,
    /// Fast lowerings that were refused, with the reason.
    pub remarks: Vec<String>,
}

/// Code that can be run.
pub trait Executable: Send + Sync {
    /// Runs the plan on `call`. On an error outputs are unspecified but memory is not corrupted.
    fn run(&self, call: &mut Call<'_>) -> Result<(), RunError>;
    /// What makes the code as it is loaded slower than it should be, for people: spilled registers.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The arguments of a run.
pub struct Call<'a> {
    /// Values of the module's dims, in order; those of plan loops are ignored.
    pub dims: &'a [i64],
    /// One entry for each buffer of the module that is not a temporary, in order of the module's buffers; temporaries are
    /// empty.
    pub buffers: &'a [Vec<Slot>],
    /// Runs `work(worker, begin, end)` over pieces of `0..count`.
    pub workers: &'a dyn Workers,
}

/// Memory of an argument: a strided view.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Address of the first element. The caller keeps it alive, and exclusively its own if written, for the run.
    pub address: *mut u8,
    /// Element type.
    pub dtype: DType,
    /// Sizes.
    pub shape: PerAxis,
    /// Distance in bytes between neighbours along each dimension.
    pub strides: PerAxis,
    /// Whether the address is one of the backend's [`Remote`] machine, not of this process.
    pub remote: bool,
}

/// Threads that blocks are spread over.
pub trait Workers: Sync {
    /// How many.
    fn count(&self) -> usize;
    /// Calls `work(worker, item)` once for every item in `0..items`, in order of start, and waits. A panic in `work` is caught
    /// and returned as an error.
    fn run(&self, items: usize, work: &(dyn Fn(usize, usize) + Sync)) -> Result<(), RunError>;
}

/// Why a module could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// The compiler broke its own rules.
    Bug {
        /// Which rule, where.
        message: String,
        /// The text of the IR that shows it.
        text: String,
    },
    /// The target can't do it.
    Unsupported(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bug { message, .. } => write!(f, "compiler bug: {message}"),
            Self::Unsupported(what) => write!(f, "not supported by this engine: {what}"),
        }
    }
}

impl std::error::Error for CompileError {}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// A temporary or an output could not be allocated.
    OutOfMemory {
        /// What it was for.
        what: String,
        /// Its size.
        bytes: u128,
    },
    /// A worker panicked.
    Worker(String),
    /// The device failed: what it reports.
    Device(String),
    /// The run broke a rule of its module.
    Bug(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { what, bytes } => {
                write!(f, "cannot allocate {bytes} bytes for {what}")
            }
            Self::Worker(message) => write!(f, "a worker panicked: {message}"),
            Self::Device(message) => f.write_str(message),
            Self::Bug(message) => write!(f, "compiler bug while running: {message}"),
        }
    }
}

impl std::error::Error for RunError {}
