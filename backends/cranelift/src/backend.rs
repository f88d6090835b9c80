//! The [`Backend`] of this crate: a module's kernels to machine code, and back from a cache.
//!
//! In: verified modules. Out: an [`Artifact`] with one entry per kernel: a mark, a digest of the kernel's text, its [`Code`].
//! Kernels are independent and are compiled on as many threads as the target has cores; the result does not depend on it.
//! Invariant: an entry is loaded only for a kernel whose text has the same digest. Whether the bytes are those that were
//! written is the cache's to check.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sawmill_ir::backend::{Artifact, Backend, CompileError, Executable};
use sawmill_ir::target::Target;
use sawmill_ir::tile::text::print_kernel;
use sawmill_ir::tile::{Kernel, Module};
use sawmill_simd::lower::{LowerError, Lowered, lower};

use crate::code::{Code, Compiler};
use crate::jit::JitCode;
use crate::launch::{LoadedKernel, Program};

/// First bytes of a kernel in an artifact; changes with its layout.
const MAGIC: &[u8; 8] = b"sawmkn01";

/// Compiles for the processor it runs on.
pub struct Cranelift {
    compiler: Compiler,
    target: Target,
}

impl Cranelift {
    /// For this processor, with `cores` workers.
    ///
    /// # Errors
    /// A processor that Cranelift does not know, or that lacks what vector code needs.
    pub fn host(cores: u32) -> Result<Cranelift, CompileError> {
        let compiler = Compiler::host()?;
        let target = Target::cpu128(cores, compiler.has_fma());
        Ok(Cranelift { compiler, target })
    }

    /// For any processor of this architecture, with `cores` workers: the same code on every machine, for snapshots.
    ///
    /// # Errors
    /// An architecture that Cranelift does not know.
    pub fn baseline(cores: u32) -> Result<Cranelift, CompileError> {
        let compiler = Compiler::baseline()?;
        let target = Target::cpu128(cores, compiler.has_fma());
        Ok(Cranelift { compiler, target })
    }

    fn kernel(&self, kernel: &Kernel) -> Result<(Vec<u8>, Vec<String>), CompileError> {
        let lowered = self.lower(kernel)?;
        let code = self.compiler.compile(&lowered.function)?;
        let stored = [MAGIC.as_slice(), &digest(kernel).to_le_bytes(), &code.to_bytes()].concat();
        Ok((stored, lowered.remarks.iter().map(ToString::to_string).collect()))
    }

    fn lower(&self, kernel: &Kernel) -> Result<Lowered, CompileError> {
        lower(kernel, &self.target).map_err(|error| match error {
            LowerError::Unsupported(what) => CompileError::Unsupported(what),
            LowerError::Bug(message) => CompileError::Bug { message, text: print_kernel(kernel) },
        })
    }
}

impl Backend for Cranelift {
    fn name(&self) -> &'static str {
        "cranelift"
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn level(&self) -> String {
        self.compiler.cpu_level()
    }

    fn compile(&self, module: &Module) -> Result<Artifact, CompileError> {
        let results = in_parallel(self.target.cores as usize, &module.kernels, |kernel| self.kernel(kernel));
        let mut artifact = Artifact::default();
        for result in results {
            let (code, remarks) = result?;
            artifact.kernels.push(code);
            artifact.remarks.extend(remarks);
        }
        Ok(artifact)
    }

    fn load(&self, module: &Module, artifact: &Artifact) -> Result<Box<dyn Executable>, CompileError> {
        let stale = |what: &str| CompileError::Unsupported(format!("the stored code of `{}` {what}", module.name));
        if artifact.kernels.len() != module.kernels.len() {
            return Err(stale("has another number of kernels"));
        }
        let mut kernels = Vec::new();
        for (kernel, stored) in module.kernels.iter().zip(&artifact.kernels) {
            let rest = stored.strip_prefix(MAGIC.as_slice()).ok_or_else(|| stale("is in another format"))?;
            let (known, rest) = rest.split_first_chunk().ok_or_else(|| stale("is cut off"))?;
            if u64::from_le_bytes(*known) != digest(kernel) {
                return Err(stale("is of another kernel"));
            }
            let code = Code::from_bytes(rest).ok_or_else(|| stale("is cut off"))?;
            let code = JitCode::new(&code).map_err(|error| CompileError::Unsupported(error.to_string()))?;
            kernels.push(LoadedKernel::new(kernel, code));
        }
        Ok(Box::new(Program::new(module.clone(), kernels)))
    }

    fn explain(&self, module: &Module) -> Result<Vec<(String, String)>, CompileError> {
        let mut texts = Vec::new();
        for kernel in &module.kernels {
            let lowered = self.lower(kernel)?;
            texts.push((format!("{}: vector loops", kernel.name), lowered.function.to_string()));
            texts.push((format!("{}: CLIF", kernel.name), self.compiler.clif_text(&lowered.function)?));
            texts.push((format!("{}: assembly", kernel.name), self.compiler.assembly_text(&lowered.function)?));
        }
        Ok(texts)
    }
}

/// FNV-1a (Fowler, Noll, Vo) of the kernel's text.
fn digest(kernel: &Kernel) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    print_kernel(kernel).as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// `work` on every item, on up to `threads` threads; results in the order of items.
fn in_parallel<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
                {
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
