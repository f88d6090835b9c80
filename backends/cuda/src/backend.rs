//! The [`Backend`] of a GPU: kernels become PTX, PTX becomes machine code by the GPU's own driver.
//!
//! In: verified modules. Out: an [`Artifact`] with one entry per kernel: a mark, a digest of the kernel's text, what a launch must
//! give, the PTX, the cubin. The cubin is for this driver and this kind of GPU, which [`Cuda::level`] names, so that a cache of
//! artifacts holds no others. What the driver's assembler had to spill is a remark.

use std::sync::{Arc, Mutex, PoisonError};

use sawmill_ir::backend::{Artifact, Backend, CompileError, Executable, Remote};
use sawmill_ir::target::Target;
use sawmill_ir::tile::text::print_kernel;
use sawmill_ir::tile::{Kernel, Module};
use sawmill_launch::{Program, digest, in_parallel};
use sawmill_ptx::backend::{Compiled, Ptx};
use sawmill_ptx::inst::Sm;

use crate::driver::Missing;
use crate::error::GpuError;
use crate::function::Function;
use crate::gpu::{Facts, Gpu};
use crate::jit::assemble;
use crate::machine::{Kernels, Loaded, memories};
use crate::unread::unread;

/// First bytes of a kernel in an artifact; changes with its layout.
const MAGIC: &[u8; 8] = b"sawmgp02";

/// A GPU of this machine.
pub struct Cuda {
    pub(crate) gpu: Arc<Gpu>,
    ptx: Ptx,
    /// What compiling has loaded to see what was spilled, until it is loaded to be run.
    fresh: Mutex<Vec<Fresh>>,
}

/// A function that is loaded and not yet used.
struct Fresh {
    cubin: Vec<u8>,
    function: Function,
}

/// Kernels that were compiled but not asked for are kept up to this number.
const MOST_FRESH: usize = 256;

/// A kernel as an artifact holds it.
struct Stored {
    threads: u32,
    dynamic_bytes: u32,
    name: String,
    ptx: String,
    cubin: Vec<u8>,
    /// Parameters that the kernel does not look at.
    unread: Vec<u32>,
}

impl Cuda {
    /// GPU number `ordinal`.
    ///
    /// # Errors
    /// What is missing on this machine.
    pub fn open(ordinal: usize) -> Result<Self, Missing> {
        let gpu = Gpu::open(ordinal)?;
        let sm = architecture(gpu.facts())?;
        let version = sm.version();
        gpu.driver().takes((version.0.into(), version.1.into()))?;
        Ok(Self { gpu: Arc::new(gpu), ptx: Ptx::new(sm), fresh: Mutex::default() })
    }
    /// What the GPU is.
    pub fn facts(&self) -> &Facts {
        self.gpu.facts()
    }

    /// A kernel as it is stored, and what is to be said of it. It stays loaded, since running it is what comes next.
    fn kernel(&self, kernel: &Kernel, compiled: &Compiled) -> Result<(Vec<u8>, Option<String>), CompileError> {
        let ptx = compiled.module.to_string();
        let bug = |message: String, text: &str| CompileError::Bug { message, text: text.to_owned() };
        let assembled = assemble(&self.gpu, &ptx).map_err(|error| match error {
            GpuError::Refused { .. } => bug(error.to_string(), &ptx),
            error => unsupported(error),
        })?;
        let function = Function::load(&self.gpu, &assembled.cubin, compiled.name()).map_err(unsupported)?;
        let spilled = function.spilled_bytes();
        let remark =
            (spilled > 0).then(|| format!("kernel `{}` spills {spilled} bytes of each thread to memory", kernel.name));
        self.keep(Fresh { cubin: assembled.cubin.clone(), function });
        let entry = compiled.module.entries.first();
        let stored = Stored {
            threads: entry.map_or(0, |entry| entry.thread_count()),
            unread: entry.map_or_else(Vec::new, unread),
            dynamic_bytes: compiled.dynamic_bytes,
            name: compiled.name().to_owned(),
            ptx,
            cubin: assembled.cubin,
        };
        Ok((stored.to_bytes(kernel), remark))
    }
    fn keep(&self, fresh: Fresh) {
        let mut kept = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MOST_FRESH {
            kept.remove(0);
        }
        kept.push(fresh);
    }
    fn fresh(&self, cubin: &[u8]) -> Option<Function> {
        let mut kept = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|fresh| fresh.cubin == cubin)?;
        Some(kept.remove(at).function)
    }
    fn loaded(&self, kernel: &Kernel, stored: &Stored) -> Result<Loaded, GpuError> {
        let function = match self.fresh(&stored.cubin) {
            Some(function) => function,
            None => Function::load(&self.gpu, &stored.cubin, &stored.name)?,
        };
        if stored.dynamic_bytes > 0 {
            function.allow_shared(stored.dynamic_bytes)?;
        }
        let memories = memories(kernel);
        // Addresses stay: what waits for what is told by them.
        let address = |word: &usize| memories.iter().any(|memory| memory.word == *word);
        let unread = stored.unread.iter().map(|word| *word as usize).filter(|word| !address(word)).collect();
        Ok(Loaded {
            name: kernel.name.clone(),
            function,
            threads: stored.threads,
            dynamic_bytes: stored.dynamic_bytes,
            memories,
            unread,
        })
    }
}

/// The newest architecture that we write for and the GPU runs.
fn architecture(facts: &Facts) -> Result<Sm, Missing> {
    match facts.capability {
        // What is plain sm_90 runs on all that came later.
        capability if capability >= (9, 0) => Ok(Sm::Sm90),
        capability if capability >= (8, 0) => Ok(Sm::Sm80),
        capability => Err(Missing::TooSmall { name: facts.name.clone(), capability }),
    }
}

fn unsupported(error: GpuError) -> CompileError {
    CompileError::Unsupported(error.to_string())
}

impl Backend for Cuda {
    fn name(&self) -> &'static str {
        "cuda"
    }
    fn target(&self) -> &Target {
        self.ptx.target()
    }
    fn level(&self) -> String {
        let (major, minor) = self.gpu.facts().capability;
        let (cuda, point) = self.gpu.driver().cuda;
        format!("{} on compute capability {major}.{minor}, driver for CUDA {cuda}.{point}", self.ptx.level())
    }
    fn compile(&self, module: &Module) -> Result<Artifact, CompileError> {
        let compiled = self.ptx.kernels(module)?;
        let pairs: Vec<(&Kernel, &Compiled)> = module.kernels.iter().zip(&compiled).collect();
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let mut artifact = Artifact::default();
        for result in in_parallel(threads, &pairs, |(kernel, compiled)| self.kernel(kernel, compiled)) {
            let (stored, remark) = result?;
            artifact.kernels.push(stored);
            artifact.remarks.extend(remark);
        }
        Ok(artifact)
    }
    fn load(&self, module: &Module, artifact: &Artifact) -> Result<Box<dyn Executable>, CompileError> {
        let stale = || CompileError::Unsupported(format!("the stored code of `{}` is of another module", module.name));
        if artifact.kernels.len() != module.kernels.len() {
            return Err(stale());
        }
        let mut kernels = Vec::new();
        for (kernel, bytes) in module.kernels.iter().zip(&artifact.kernels) {
            let stored = Stored::from_bytes(kernel, bytes).ok_or_else(stale)?;
            kernels.push(self.loaded(kernel, &stored).map_err(unsupported)?);
        }
        Ok(Box::new(Program::new(module.clone(), Kernels::new(Arc::clone(&self.gpu), kernels))))
    }
    fn explain(&self, module: &Module) -> Result<Vec<(String, String)>, CompileError> {
        self.ptx.explain(module)
    }
    fn remote(&self) -> Option<&dyn Remote> {
        Some(self)
    }
}

impl Stored {
    fn to_bytes(&self, kernel: &Kernel) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &digest(&print_kernel(kernel)).to_le_bytes()].concat();
        for number in [self.threads, self.dynamic_bytes] {
            bytes.extend(number.to_le_bytes());
        }
        let unread: Vec<u8> = self.unread.iter().flat_map(|number| number.to_le_bytes()).collect();
        for part in [self.name.as_bytes(), self.ptx.as_bytes(), &self.cubin, &unread] {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        bytes
    }
    /// `None` if the bytes are of another kernel, in another format or cut off.
    fn from_bytes(kernel: &Kernel, bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC.as_slice())?;
        let known = u64::from_le_bytes(take(&mut rest)?);
        if known != digest(&print_kernel(kernel)) {
            return None;
        }
        let threads = u32::from_le_bytes(take(&mut rest)?);
        let dynamic_bytes = u32::from_le_bytes(take(&mut rest)?);
        let mut part = || -> Option<Vec<u8>> {
            let length = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?;
            let (part, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(part.to_vec())
        };
        let (name, ptx, cubin, unread) = (part()?, part()?, part()?, part()?);
        let unread = unread.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number)).collect();
        let text = |bytes| String::from_utf8(bytes).ok();
        Some(Self { threads, dynamic_bytes, name: text(name)?, ptx: text(ptx)?, cubin, unread })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}
