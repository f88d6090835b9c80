//! The backend: a plan's kernels as PTX.
//!
//! In: a tile module. Out: an artifact with one PTX module for each kernel, behind a line that says what its launch must give;
//! [`Compiled`] is the same as data. There is nothing here that could run one: loading is refused with a reason.

use crate::inst::{Entry, Module, Op, Sm, verify};
use crate::lower::{Limits, Lowered, Refusal, lower, threads};
use sawmill_ir::backend::{Artifact, Backend, CompileError, Executable};
use sawmill_ir::target::Target;
use sawmill_ir::tile::{self, text};

/// Entries that need more registers than this take what they need, although fewer CTAs then run at once. The assembler would rather
/// keep a few of them in memory; below, it finds room for more CTAs without that.
const MANY_REGISTERS: u32 = 112;
/// From here on, too, the assembler keeps a few registers in memory where that makes room for one more CTA, unless it is told for
/// how many there has to be room.
const SOME_REGISTERS: u32 = 60;
/// Registers that an entry may have beyond those of live values: for addresses, for values that are computed early.
const WORKING_REGISTERS: u32 = 64;
/// Registers of a multiprocessor.
const REGISTERS: u32 = 1 << 16;
/// What a thread gets of them where shared memory has room for so few CTAs that all may have as many. Left alone, the assembler
/// keeps registers in memory to have room for one more CTA; with the full 255 it moves so much ahead that it runs out of them.
const MOST_REGISTERS: u32 = 240;

/// Generates PTX.
#[derive(Clone, Debug)]
pub struct Ptx {
    sm: Sm,
    target: Target,
}

/// The PTX of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// A module of one entry.
    pub module: Module,
    /// Bytes of shared memory that the launch gives.
    pub dynamic_bytes: u32,
}

impl Ptx {
    /// For `sm`, with the numbers that schedules for it start from.
    pub fn new(sm: Sm) -> Self {
        let (name, cores) = match sm {
            Sm::Sm80 => ("sm_80", 108),
            Sm::Sm90 => ("sm_90", 132),
        };
        Self { sm, target: Target::gpu(name, cores, sm.shared_bytes()) }
    }

    /// The PTX of every kernel, verified.
    ///
    /// # Errors
    /// A refusal with its reason, or a compiler bug with the kernel's text.
    pub fn kernels(&self, module: &tile::Module) -> Result<Vec<Compiled>, CompileError> {
        let kernels = (0..module.kernels.len()).map(|number| self.kernel(module, number));
        kernels.collect()
    }

    fn kernel(&self, module: &tile::Module, number: usize) -> Result<Compiled, CompileError> {
        let kernel = &module.kernels[number];
        let bug = |message: String| CompileError::Bug { message, text: text::print_kernel(kernel) };
        let limits = Limits { threads: threads(kernel, self.target.threads), shared_bytes: self.target.shared_bytes };
        let Lowered { mut entry, dynamic_bytes } =
            lower(kernel, &entry_name(&kernel.name, number), limits).map_err(|refusal| match refusal {
                Refusal::Unsupported(what) => CompileError::Unsupported(what),
                Refusal::Bug(message) => bug(message),
            })?;
        // The tiles of matrix products are chosen to fill the registers.
        let has_matrices = entry.blocks.values().flat_map(|block| &block.insts).any(|inst| inst.op == Op::Mma);
        entry.residents = if has_matrices { None } else { residents(&entry) };
        let fit = self.target.shared_bytes / dynamic_bytes.max(1);
        let scarce = has_matrices && fit <= REGISTERS / (limits.threads * MOST_REGISTERS);
        entry.most_registers = scarce.then_some(MOST_REGISTERS);
        let mut ptx = Module::new(self.sm);
        ptx.entries.push(entry);
        verify(&ptx).map_err(|error| bug(error.to_string()))?;
        Ok(Compiled { module: ptx, dynamic_bytes })
    }
}

/// For how many CTAs of an entry without matrices a multiprocessor has to have room, so that no register is kept in memory.
fn residents(entry: &Entry) -> Option<u32> {
    let needed = entry.pressure();
    match needed {
        0..SOME_REGISTERS => None,
        SOME_REGISTERS..=MANY_REGISTERS => {
            Some((REGISTERS / ((needed + WORKING_REGISTERS) * entry.thread_count())).max(1))
        }
        _ => Some(1),
    }
}

/// Letters, digits and `_`, unique by the kernel's number.
fn entry_name(name: &str, number: usize) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("k{number}_{plain}")
}

impl Compiled {
    /// The entry's name.
    pub fn name(&self) -> &str {
        self.module.entries.first().map_or("", |entry| &entry.name)
    }
    /// The text, behind a comment that says how to launch it.
    pub fn text(&self) -> String {
        let threads = self.module.entries.first().map_or(0, crate::inst::Entry::thread_count);
        format!("// entry {} threads {threads} dynamic_shared {}\n{}", self.name(), self.dynamic_bytes, self.module)
    }
}

impl Backend for Ptx {
    fn name(&self) -> &'static str {
        "ptx"
    }
    fn target(&self) -> &Target {
        &self.target
    }
    fn level(&self) -> String {
        self.sm.text().to_owned()
    }
    fn compile(&self, module: &tile::Module) -> Result<Artifact, CompileError> {
        let kernels = self.kernels(module)?;
        Ok(Artifact { kernels: kernels.iter().map(|k| k.text().into_bytes()).collect(), remarks: Vec::new() })
    }
    fn load(&self, _module: &tile::Module, _artifact: &Artifact) -> Result<Box<dyn Executable>, CompileError> {
        Err(CompileError::Unsupported("running PTX needs a driver, which this backend does not open".to_owned()))
    }
    fn explain(&self, module: &tile::Module) -> Result<Vec<(String, String)>, CompileError> {
        let names = module.kernels.iter().map(|kernel| kernel.name.clone());
        Ok(names.zip(self.kernels(module)?.iter().map(Compiled::text)).collect())
    }
}
