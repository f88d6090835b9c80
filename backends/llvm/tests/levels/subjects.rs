//! What the shared tests of code generators run on here: every level that this processor has.

use crate::subject::Subject;
use sawmill_ir::backend::Backend;
use sawmill_llvm::{Compiler, Level, Llvm};

fn levels() -> impl Iterator<Item = Level> {
    let detected = Level::detected().expect("a processor with AVX2");
    Level::ALL.into_iter().filter(move |level| *level <= detected)
}

/// All levels.
pub(crate) fn subjects() -> Vec<Subject> {
    let subject = |level: Level| Subject {
        generator: Box::new(Compiler::at(level).expect("a level of this processor")),
        target: level.target(1),
    };
    levels().map(subject).collect()
}

/// There are no others.
pub(crate) fn lesser() -> Vec<Subject> {
    Vec::new()
}

/// Backends that run plans.
pub(crate) fn backends(cores: u32) -> Vec<Box<dyn Backend>> {
    let backend = |level| Box::new(Llvm::at(level, cores).expect("a level of this processor")) as Box<dyn Backend>;
    levels().map(backend).collect()
}
