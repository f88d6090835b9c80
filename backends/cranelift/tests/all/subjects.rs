//! What the shared tests of code generators run on here.

use crate::subject::Subject;
use sawmill_cranelift::{Compiler, Cranelift};
use sawmill_ir::backend::Backend;
use sawmill_ir::target::Target;

fn subject(compiler: Compiler) -> Subject {
    let target = Target::cpu128(1, compiler.has_fma());
    Subject { generator: Box::new(compiler), target }
}

/// This processor.
pub(crate) fn subjects() -> Vec<Subject> {
    vec![subject(Compiler::host().expect("a known processor"))]
}

/// Others, for tests of single operations.
pub(crate) fn lesser() -> Vec<Subject> {
    vec![subject(Compiler::baseline().expect("a known architecture"))]
}

/// Backends that run plans.
pub(crate) fn backends(cores: u32) -> Vec<Box<dyn Backend>> {
    vec![Box::new(Cranelift::host(cores).expect("this processor"))]
}
