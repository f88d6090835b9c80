//! What the tests of code generators run on.
//!
//! These files are shared: each code generator's crate has a test binary that includes them and says, in a module `subjects`
//! of its own, what they run on.

use sawmill_ir::target::Target;
use sawmill_launch::{CodeGenerator, JitCode};
use sawmill_simd::vir::Function;

/// A code generator under test.
pub(crate) struct Subject {
    pub(crate) generator: Box<dyn CodeGenerator>,
    /// What tiles are lowered for.
    pub(crate) target: Target,
}

impl Subject {
    /// The code of a function, ready to run.
    pub(crate) fn compile(&self, function: &Function) -> JitCode {
        let code = self.generator.compile(function).unwrap_or_else(|e| panic!("{}: {e}\n{function}", self.name()));
        JitCode::new(&code).expect("memory for code")
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.generator.name(), self.target.name)
    }
}
