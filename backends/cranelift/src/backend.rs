//! The backend of this crate: Cranelift as the code generator of [`sawmill_launch`].
//!
//! In: a number of workers. Out: a backend for this processor, or for any of its architecture.

use sawmill_ir::backend::CompileError;
use sawmill_ir::target::Target;
use sawmill_launch::{Code, CodeGenerator, Cpu, MultiplyAdds};
use sawmill_simd::vir::Function;

use crate::code::Compiler;

/// Backends whose code Cranelift generates.
pub enum Cranelift {}

impl Cranelift {
    /// For this processor, with `cores` workers.
    ///
    /// # Errors
    /// A processor that Cranelift does not know, or that lacks what vector code needs.
    pub fn host(cores: u32) -> Result<Cpu<Compiler>, CompileError> {
        Ok(with(Compiler::host()?, cores))
    }

    /// A loop of multiply-adds on this processor, as fast as kernels can be.
    ///
    /// # Errors
    /// As [`Cranelift::host`].
    pub fn multiply_adds() -> Result<MultiplyAdds, CompileError> {
        MultiplyAdds::new(&Compiler::host()?, 4)
    }

    /// For any processor of this architecture, with `cores` workers: the same code on every machine, for snapshots.
    ///
    /// # Errors
    /// An architecture that Cranelift does not know.
    pub fn baseline(cores: u32) -> Result<Cpu<Compiler>, CompileError> {
        Ok(with(Compiler::baseline()?, cores))
    }

    /// For any x86-64 processor of a level of the psABI, with `cores` workers.
    ///
    /// # Errors
    /// As [`Compiler::for_level`].
    pub fn for_level(level: &str, cores: u32) -> Result<Cpu<Compiler>, CompileError> {
        Ok(with(Compiler::for_level(level)?, cores))
    }
}

fn with(compiler: Compiler, cores: u32) -> Cpu<Compiler> {
    let target = Target::cpu128(cores, compiler.has_fma());
    Cpu::new(compiler, target)
}

impl CodeGenerator for Compiler {
    fn name(&self) -> &'static str {
        "cranelift"
    }

    fn level(&self) -> String {
        self.cpu_level()
    }

    fn compile(&self, function: &Function) -> Result<Code, CompileError> {
        Compiler::compile(self, function)
    }

    fn texts(&self, function: &Function) -> Result<Vec<(String, String)>, CompileError> {
        let clif = self.clif_text(function)?;
        let assembly = self.assembly_text(function)?;
        Ok(vec![("CLIF".to_owned(), clif), ("assembly".to_owned(), assembly)])
    }
}
