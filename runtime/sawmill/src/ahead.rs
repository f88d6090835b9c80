//! Functions compiled ahead of time, for a machine that need not be here.
//!
//! In: a function, values of its const dims and types, a target. Out: [`Built`]: for a GPU the plan and the code of its kernels, which a
//! caller launches without any of the compiler; for a processor a library for C programs, which runs the plan itself. Two builds give
//! the same bytes.

mod header;
mod library;

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::compiled::packed_fields;
use crate::explain::{Explanation, Specialisation, explain};
use crate::function::Function;
use sawmill_cranelift::{CodeGenerator, Cpu, Cranelift};
use sawmill_ir::backend::{Backend, CompileError};
use sawmill_ir::graph::{self, Field};
use sawmill_ir::tile::Module;
#[cfg(feature = "llvm")]
use sawmill_llvm::Llvm;
use sawmill_ptx::backend::Ptx;
use sawmill_ptx::inst::Sm;

pub use library::BuiltLibrary;

/// Cores that plans of libraries are made for: they weigh work that is done twice against work that waits. How many workers run a call is the
/// caller's choice, and the bytes of a library must not depend on the machine that builds it.
const CORES: u32 = 8;

/// What code can be built for without being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildTarget(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Processor(ProcessorLevel, Generator),
    Gpu(Sm),
}

/// What makes a processor's machine code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generator {
    /// Vectors of 128 bits, whatever the level.
    #[cfg_attr(not(feature = "llvm"), default)]
    Cranelift,
    /// Vectors as wide as those of the level.
    #[cfg(feature = "llvm")]
    #[default]
    Llvm,
}

/// A level of the x86-64 psABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessorLevel {
    V3,
    V4,
}

impl ProcessorLevel {
    const ALL: [Self; 2] = [Self::V3, Self::V4];

    fn text(self) -> &'static str {
        match self {
            Self::V3 => "x86-64-v3",
            Self::V4 => "x86-64-v4",
        }
    }

    #[cfg(feature = "llvm")]
    fn level(self) -> sawmill_llvm::Level {
        match self {
            Self::V3 => sawmill_llvm::Level::V3,
            Self::V4 => sawmill_llvm::Level::V4,
        }
    }
}

impl FromStr for BuildTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let processors = ProcessorLevel::ALL.into_iter().map(|level| Kind::Processor(level, Generator::default()));
        let all: Vec<Self> = processors.chain(Sm::ALL.into_iter().map(Kind::Gpu)).map(Self).collect();
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        let at = names.iter().position(|name| name == text);
        at.map(|at| all[at]).ok_or_else(|| format!("it must be one of {}", names.join(", ")))
    }
}

impl fmt::Display for BuildTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Processor(level, _) => f.write_str(level.text()),
            Kind::Gpu(sm) => sm.fmt(f),
        }
    }
}

impl BuildTarget {
    /// The same processor with code by a generator; `None` for a GPU.
    #[must_use]
    pub fn made_by(self, generator: Generator) -> Option<Self> {
        match self.0 {
            Kind::Processor(level, _) => Some(Self(Kind::Processor(level, generator))),
            Kind::Gpu(_) => None,
        }
    }

    /// What makes the code.
    fn backend(self) -> Result<Box<dyn Backend>, CompileError> {
        Ok(match self.0 {
            Kind::Gpu(sm) => Box::new(Ptx::new(sm)),
            #[cfg(feature = "llvm")]
            Kind::Processor(level, Generator::Llvm) => Box::new(Llvm::for_level(level.level(), CORES)),
            Kind::Processor(level, Generator::Cranelift) => Box::new(Cranelift::for_level(level.text(), CORES)?),
        })
    }
}

/// A function compiled ahead of time.
#[derive(Clone, Debug)]
pub struct Built {
    /// The plan: buffers, kernels as tiles, steps. Its dims are those of a call.
    pub module: Module,
    /// Buffers that are a field of a packed argument.
    pub fields: Vec<(String, Field)>,
    /// The code.
    pub code: BuiltCode,
}

/// Code for one kind of machine.
#[derive(Clone, Debug)]
pub enum BuiltCode {
    /// The code of each kernel of the module, in order; the plan is the caller's to follow.
    Ptx(Vec<BuiltKernel>),
    /// A library that follows the plan.
    Library(Box<BuiltLibrary>),
}

/// The code of a kernel, and what its launch must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltKernel {
    /// The entry's name, unique in the function. Its parameters are 64-bit words: for each memory parameter of the kernel its address,
    /// its sizes, its strides in bytes; then the kernel's dims; then the number of the first block.
    pub entry: String,
    /// Threads of a CTA; a CTA runs one block.
    pub threads: u32,
    /// Bytes of shared memory that a launch gives.
    pub dynamic_shared_bytes: u32,
    /// PTX.
    pub text: String,
}

impl Function {
    /// Compiles the function for a target, under a name in C. Closures take their defaults, optional arguments are given.
    ///
    /// # Errors
    /// If a const dim or a type has no value, or one does not fit; if the name is no name in C; what compiling reports.
    pub fn build(&'static self, target: BuildTarget, given: &Specialisation, name: &str) -> Result<Built, Error> {
        let linked = self.linked(given)?;
        let (module, code) = match target.0 {
            Kind::Gpu(sm) => self.kernels(sm, &linked)?,
            #[cfg(feature = "llvm")]
            Kind::Processor(level, Generator::Llvm) => {
                self.library(&Llvm::for_level(level.level(), CORES), level, given, &linked, name)?
            }
            Kind::Processor(level, Generator::Cranelift) => {
                let cpu = Cranelift::for_level(level.text(), CORES);
                let cpu = cpu.map_err(|error| Error::compile(self.name, level.text(), error))?;
                self.library(&cpu, level, given, &linked, name)?
            }
        };
        Ok(Built { code, fields: packed_fields(&linked), module })
    }

    /// What the compiler makes of the function for a target that need not be here, and how.
    ///
    /// # Errors
    /// As [`Function::explain`].
    pub fn explain_for(
        &'static self,
        target: BuildTarget,
        given: &Specialisation,
        all: bool,
    ) -> Result<Explanation, Error> {
        let backend = target.backend().map_err(|error| Error::compile(self.name, &target.to_string(), error))?;
        explain(self, &*backend, given, all)
    }

    fn kernels(&'static self, sm: Sm, linked: &graph::Function) -> Result<(Module, BuiltCode), Error> {
        let backend = Ptx::new(sm);
        let module = self.plan(linked, &backend)?;
        let fail = |error| Error::compile(self.name, backend.name(), error);
        let kernels = backend.kernels(&module).map_err(fail)?.into_iter().map(|kernel| BuiltKernel {
            entry: kernel.name().to_owned(),
            threads: kernel.module.entries.first().map_or(0, sawmill_ptx::inst::Entry::thread_count),
            dynamic_shared_bytes: kernel.dynamic_bytes,
            text: kernel.module.to_string(),
        });
        let kernels = kernels.collect();
        Ok((module, BuiltCode::Ptx(kernels)))
    }

    fn library<G: CodeGenerator>(
        &'static self,
        cpu: &Cpu<G>,
        level: ProcessorLevel,
        given: &Specialisation,
        linked: &graph::Function,
        name: &str,
    ) -> Result<(Module, BuiltCode), Error> {
        if !is_c_name(name) {
            return Err(Error::argument(self.name, "name", format!("`{name}` is no name in C")));
        }
        let module = self.plan(linked, cpu)?;
        let fail = |error| Error::compile(self.name, cpu.name(), error);
        let kernels = cpu.codes(&module).map_err(fail)?;
        let about =
            library::About { function: self, given, target: level.text(), generator: cpu.name(), level: cpu.level() };
        let library = library::make(&about, linked, &module, &kernels, name).map_err(fail)?;
        Ok((module, BuiltCode::Library(Box::new(library))))
    }

    fn plan(&'static self, linked: &graph::Function, backend: &dyn Backend) -> Result<Module, Error> {
        let options = sawmill_passes::Options::default();
        let module = sawmill_passes::compile(linked, &options, backend.target());
        module.map_err(|error| Error::compile(self.name, backend.name(), error))
    }
}

/// Whether a name can be part of one in C.
fn is_c_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
