//! The [`Backend`] of a GPU: kernels become PTX, PTX becomes machine code by the GPU's own driver.
//!
//! In: verified modules. Out: an [`Artifact`] with one entry per kernel: a mark, a digest of the kernel's text, what a launch must
//! give, the PTX, the cubin. The cubin is for this driver and this kind of GPU, which [`Cuda::level`] names, so that a cache of
//! artifacts holds no others. What the driver's assembler had to spill is a remark.

use std::sync::Arc;

use sawmill_ir::backend::{Artifact, Backend, CompileError, Executable};
use sawmill_ir::target::Target;
use sawmill_ir::tile::text::print_kernel;
use sawmill_ir::tile::{Kernel, Module};
use sawmill_launch::{Program, digest};
use sawmill_ptx::backend::{Compiled, Ptx};
use sawmill_ptx::inst::Sm;

use crate::driver::{Driver, Missing, probe};
use crate::error::GpuError;
use crate::function::Function;
use crate::gpu::{Facts, Gpu};
use crate::jit::assemble;
use crate::machine::{Kernels, Loaded};

/// First bytes of a kernel in an artifact; changes with its layout.
const MAGIC: &[u8; 8] = b"sawmgp01";

/// A GPU of this machine.
pub struct Cuda {
    gpu: Arc<Gpu>,
    driver: Driver,
    ptx: Ptx,
}

/// A kernel as an artifact holds it.
struct Stored {
    threads: u32,
    dynamic_bytes: u32,
    name: String,
    ptx: String,
    cubin: Vec<u8>,
}

impl Cuda {
    /// GPU number `ordinal`.
    ///
    /// # Errors
    /// What is missing on this machine.
    pub fn open(ordinal: usize) -> Result<Self, Missing> {
        let driver = probe()?;
        let gpu = Gpu::open(ordinal)?;
        let sm = architecture(gpu.facts())?;
        let version = sm.version();
        driver.takes((version.0.into(), version.1.into()))?;
        Ok(Self { gpu: Arc::new(gpu), driver, ptx: Ptx::new(sm) })
    }
    /// What the GPU is.
    pub fn facts(&self) -> &Facts {
        self.gpu.facts()
    }

    fn kernel(&self, kernel: &Kernel, compiled: &Compiled, artifact: &mut Artifact) -> Result<(), CompileError> {
        let ptx = compiled.module.to_string();
        let bug = |message: String, text: &str| CompileError::Bug { message, text: text.to_owned() };
        let assembled = assemble(&self.gpu, &ptx).map_err(|error| match error {
            GpuError::Refused { .. } => bug(error.to_string(), &ptx),
            error => unsupported(error),
        })?;
        let function = Function::load(&self.gpu, &assembled.cubin, compiled.name()).map_err(unsupported)?;
        if function.spilled_bytes() > 0 {
            let (name, bytes) = (&kernel.name, function.spilled_bytes());
            artifact.remarks.push(format!("kernel `{name}` spills {bytes} bytes of each thread to memory"));
        }
        let threads = compiled.module.entries.first().map_or(0, |entry| entry.thread_count());
        let stored = Stored {
            threads,
            dynamic_bytes: compiled.dynamic_bytes,
            name: compiled.name().to_owned(),
            ptx,
            cubin: assembled.cubin,
        };
        artifact.kernels.push(stored.to_bytes(kernel));
        Ok(())
    }
    fn loaded(&self, stored: &Stored) -> Result<Loaded, GpuError> {
        let function = Function::load(&self.gpu, &stored.cubin, &stored.name)?;
        if stored.dynamic_bytes > 0 {
            function.allow_shared(stored.dynamic_bytes)?;
        }
        Ok(Loaded { function, threads: stored.threads, dynamic_bytes: stored.dynamic_bytes })
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
        let (cuda, point) = self.driver.cuda;
        format!("{} on compute capability {major}.{minor}, driver for CUDA {cuda}.{point}", self.ptx.level())
    }
    fn compile(&self, module: &Module) -> Result<Artifact, CompileError> {
        let mut artifact = Artifact::default();
        for (kernel, compiled) in module.kernels.iter().zip(self.ptx.kernels(module)?) {
            self.kernel(kernel, &compiled, &mut artifact)?;
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
            kernels.push(self.loaded(&stored).map_err(unsupported)?);
        }
        Ok(Box::new(Program::new(module.clone(), Kernels::new(Arc::clone(&self.gpu), kernels))))
    }
    fn explain(&self, module: &Module) -> Result<Vec<(String, String)>, CompileError> {
        self.ptx.explain(module)
    }
}

impl Stored {
    fn to_bytes(&self, kernel: &Kernel) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &digest(&print_kernel(kernel)).to_le_bytes()].concat();
        for number in [self.threads, self.dynamic_bytes] {
            bytes.extend(number.to_le_bytes());
        }
        for part in [self.name.as_bytes(), self.ptx.as_bytes(), &self.cubin] {
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
        let (name, ptx, cubin) = (part()?, part()?, part()?);
        let text = |bytes| String::from_utf8(bytes).ok();
        Some(Self { threads, dynamic_bytes, name: text(name)?, ptx: text(ptx)?, cubin })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}
