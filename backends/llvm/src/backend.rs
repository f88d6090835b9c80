//! The backend of this crate: LLVM as the code generator of [`sawmill_launch`].
//!
//! In: a number of workers, a level. Out: a backend for this processor.

use sawmill_ir::backend::CompileError;
use sawmill_launch::{Cpu, MultiplyAdds};

use crate::code::Compiler;
use crate::level::Level;

/// Backends whose code LLVM generates.
pub enum Llvm {}

impl Llvm {
    /// For this processor, with `cores` workers, at the level that [`Level::chosen`] gives.
    ///
    /// # Errors
    /// As [`Level::chosen`].
    pub fn host(cores: u32) -> Result<Cpu<Compiler>, CompileError> {
        Ok(with(Compiler::host()?, cores))
    }

    /// A loop of multiply-adds at the level that [`Level::chosen`] gives, as fast as kernels can be.
    ///
    /// # Errors
    /// As [`Level::chosen`].
    pub fn multiply_adds() -> Result<MultiplyAdds, CompileError> {
        let compiler = Compiler::host()?;
        let lanes = u8::try_from(compiler.cpu_level().target(1).lanes(32)).unwrap_or(u8::MAX);
        MultiplyAdds::new(&compiler, lanes)
    }

    /// At a level of this processor.
    ///
    /// # Errors
    /// A level that this processor lacks.
    pub fn at(level: Level, cores: u32) -> Result<Cpu<Compiler>, CompileError> {
        Ok(with(Compiler::at(level)?, cores))
    }

    /// For any processor of a level, with `cores` workers: its code need not run here.
    pub fn for_level(level: Level, cores: u32) -> Cpu<Compiler> {
        with(Compiler::for_level(level), cores)
    }
}

fn with(compiler: Compiler, cores: u32) -> Cpu<Compiler> {
    let target = compiler.cpu_level().target(cores);
    Cpu::new(compiler, target)
}
