//! The [`Backend`] of every code generator for the processor: a module's kernels to machine code, and back from a cache.
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
use sawmill_simd::vir::Function;

use crate::code::Code;
use crate::cpu::Processor;
use crate::jit::JitCode;
use crate::program::Program;

/// First bytes of a kernel in an artifact; changes with its layout.
const MAGIC: &[u8; 8] = b"sawmkn01";

/// Turns vector loops into machine code for one kind of processor, which this one is or includes.
pub trait CodeGenerator: Send + Sync {
    /// Its name, as in `--engine`.
    fn name(&self) -> &'static str;
    /// What the code needs of the machine it runs on, and what it was made by as far as the sources of this project do not
    /// say: part of every cache key.
    fn level(&self) -> String;
    /// Compiles a function.
    ///
    /// # Errors
    /// A function that breaks the rules of VIR or that the code generator refuses, with its text.
    fn compile(&self, function: &Function) -> Result<Code, CompileError>;
    /// What the code generator makes of a function, to read: (title, text), the machine's instructions last.
    ///
    /// # Errors
    /// As [`CodeGenerator::compile`].
    fn texts(&self, function: &Function) -> Result<Vec<(String, String)>, CompileError>;
}

/// A backend for the processor it runs on.
pub struct Cpu<G> {
    generator: G,
    target: Target,
}

impl<G: CodeGenerator> Cpu<G> {
    /// Lowers for `target` and generates code by `generator`, which emits what that target has.
    pub fn new(generator: G, target: Target) -> Cpu<G> {
        Cpu { generator, target }
    }

    /// The code of every kernel of a verified module, in order.
    ///
    /// # Errors
    /// As [`Backend::compile`].
    pub fn codes(&self, module: &Module) -> Result<Vec<Code>, CompileError> {
        let code = |kernel: &Kernel| self.generator.compile(&self.lower(kernel)?.function);
        in_parallel(threads(), &module.kernels, code).into_iter().collect()
    }

    fn kernel(&self, kernel: &Kernel) -> Result<(Vec<u8>, Vec<String>), CompileError> {
        let lowered = self.lower(kernel)?;
        let code = self.generator.compile(&lowered.function)?;
        let stored = [MAGIC.as_slice(), &digest(&print_kernel(kernel)).to_le_bytes(), &code.to_bytes()].concat();
        Ok((stored, lowered.remarks.iter().map(ToString::to_string).collect()))
    }

    fn lower(&self, kernel: &Kernel) -> Result<Lowered, CompileError> {
        lower(kernel, &self.target).map_err(|error| match error {
            LowerError::Unsupported(what) => CompileError::Unsupported(what),
            LowerError::Bug(message) => CompileError::Bug { message, text: print_kernel(kernel) },
        })
    }
}

impl<G: CodeGenerator> Backend for Cpu<G> {
    fn name(&self) -> &'static str {
        self.generator.name()
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn level(&self) -> String {
        self.generator.level()
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
            if u64::from_le_bytes(*known) != digest(&print_kernel(kernel)) {
                return Err(stale("is of another kernel"));
            }
            let code = Code::from_bytes(rest).ok_or_else(|| stale("is cut off"))?;
            let code = JitCode::new(&code).map_err(|error| CompileError::Unsupported(error.to_string()))?;
            kernels.push(code);
        }
        Ok(Box::new(Program::new(module.clone(), Processor::new(kernels))))
    }

    fn explain(&self, module: &Module) -> Result<Vec<(String, String)>, CompileError> {
        let mut texts = Vec::new();
        for kernel in &module.kernels {
            let lowered = self.lower(kernel)?;
            texts.push((format!("{}: vector loops", kernel.name), lowered.function.to_string()));
            let generated = self.generator.texts(&lowered.function)?;
            texts.extend(generated.into_iter().map(|(title, text)| (format!("{}: {title}", kernel.name), text)));
        }
        Ok(texts)
    }
}

/// Threads that compile for a machine that need not be this one.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// FNV-1a (Fowler, Noll, Vo) of a kernel's text.
pub fn digest(text: &str) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// `work` on every item, on up to `threads` threads; results in the order of items.
pub fn in_parallel<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
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
