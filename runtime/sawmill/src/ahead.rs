//! Functions compiled ahead of time, for a machine that need not be here.
//!
//! In: a function, values of its const dims and types, a target. Out: [`Built`]: the plan and the code of its kernels, which a caller
//! launches without any of the compiler. Two builds give the same bytes.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::compiled::packed_fields;
use crate::explain::Specialisation;
use crate::function::Function;
use sawmill_ir::backend::Backend as _;
use sawmill_ir::graph::Field;
use sawmill_ir::tile::Module;
use sawmill_ptx::backend::Ptx;
use sawmill_ptx::inst::Sm;

/// What code can be built for without being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildTarget(Sm);

impl FromStr for BuildTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = Sm::ALL.into_iter().map(Sm::text).collect();
        Sm::from_text(text).map(Self).ok_or_else(|| format!("it must be one of {}", names.join(", ")))
    }
}

impl fmt::Display for BuildTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A function compiled ahead of time.
#[derive(Clone, Debug)]
pub struct Built {
    /// The plan: buffers, kernels as tiles, steps. Its dims are those of a call.
    pub module: Module,
    /// Buffers that are a field of a packed argument.
    pub fields: Vec<(String, Field)>,
    /// The code of each kernel of the module, in order.
    pub kernels: Vec<BuiltKernel>,
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
    /// Compiles the function for a target. Closures take their defaults, optional arguments are given.
    ///
    /// # Errors
    /// If a const dim or a type has no value, or one does not fit; what compiling reports.
    pub fn build(&'static self, target: BuildTarget, given: &Specialisation) -> Result<Built, Error> {
        let backend = Ptx::new(target.0);
        let fail = |error| Error::compile(self.name, backend.name(), error);
        let linked = self.linked(given)?;
        let options = sawmill_passes::Options::default();
        let module = sawmill_passes::compile(&linked, &options, backend.target()).map_err(fail)?;
        let kernels = backend.kernels(&module).map_err(fail)?.into_iter().map(|kernel| BuiltKernel {
            entry: kernel.name().to_owned(),
            threads: kernel.module.entries.first().map_or(0, sawmill_ptx::inst::Entry::thread_count),
            dynamic_shared_bytes: kernel.dynamic_bytes,
            text: kernel.module.to_string(),
        });
        Ok(Built { kernels: kernels.collect(), fields: packed_fields(&linked), module })
    }
}
