//! From one VIR function to machine code.
//!
//! In: a verified function and the level of processor to compile for. Out: [`Code`], or on request the LLVM IR or the assembly text.
//! Invariant: the code refers to nothing outside of itself; a function that would need it is refused as a compiler bug.

use std::sync::Once;

use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{
    CodeModel, FileType, InitializationConfig, RelocMode, Target, TargetMachine, TargetMachineOptions, TargetTriple,
};
use sawmill_ir::backend::CompileError;
use sawmill_launch::{Code, CodeGenerator};
use sawmill_simd::vir::{self, Function};

use crate::emit::{ENTRY, Processor, emit};
use crate::level::Level;
use crate::link::link;

/// The system whose object files are linked here, whatever the host's is.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// LLVM's passes. The loops are to stay as they are, and there is one function: of the usual passes, those that vectorise, unroll
/// or look at calls would find nothing and take most of the time.
const PASSES: &str = "function(early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,loop-mssa(loop-rotate,licm),gvn,\
                      instcombine<no-verify-fixpoint>,adce,simplifycfg)";

/// Compiles VIR functions for one level of processor.
#[derive(Clone, Debug)]
pub struct Compiler {
    processor: Processor,
}

impl Compiler {
    /// For this processor, at the level that [`Level::chosen`] gives, and with sums of bf16 products if it has them and no level is asked for.
    ///
    /// # Errors
    /// As [`Level::chosen`].
    pub fn host() -> Result<Compiler, CompileError> {
        let mut compiler = Compiler::at(Level::chosen()?)?;
        compiler.processor.bf16_dots = Level::has_bf16_dots();
        Ok(compiler)
    }

    /// For a level that this processor has, tuned for this processor.
    ///
    /// # Errors
    /// A level that this processor lacks.
    pub fn at(level: Level) -> Result<Compiler, CompileError> {
        if Level::detected().is_none_or(|detected| level > detected) {
            return Err(CompileError::Unsupported(format!("the processor is below {level}")));
        }
        let tuning = TargetMachine::get_host_cpu_name().to_string();
        Ok(Compiler { processor: Processor { level, bf16_dots: false, tuning } })
    }

    /// For any processor of a level, tuned for none in particular, wherever this runs.
    pub fn for_level(level: Level) -> Compiler {
        Compiler { processor: Processor { level, bf16_dots: false, tuning: level.cpu().to_owned() } }
    }

    /// The level that it compiles for.
    pub fn cpu_level(&self) -> Level {
        self.processor.level
    }

    /// Whether products of bf16 numbers are summed by the processor's own instruction.
    pub fn has_bf16_dots(&self) -> bool {
        self.processor.bf16_dots
    }

    /// LLVM IR of a function as it is given to LLVM.
    ///
    /// # Errors
    /// A function that breaks the rules of VIR, with its text.
    pub fn ir_text(&self, function: &Function) -> Result<String, CompileError> {
        vir::verify(function).map_err(|error| bug(error.to_string(), function.to_string()))?;
        Ok(emit(function, &self.processor))
    }

    /// The machine instructions of a function, with its constants.
    ///
    /// # Errors
    /// As [`CodeGenerator::compile`].
    pub fn assembly_text(&self, function: &Function) -> Result<String, CompileError> {
        let written = self.written(function, FileType::Assembly)?;
        Ok(String::from_utf8_lossy(&written).into_owned())
    }

    fn machine(&self) -> Result<TargetMachine, String> {
        static INITIALIZED: Once = Once::new();
        INITIALIZED.call_once(|| Target::initialize_x86(&InitializationConfig::default()));
        let triple = TargetTriple::create(TRIPLE);
        let target = Target::from_triple(&triple).map_err(|error| error.to_string())?;
        let options = TargetMachineOptions::new()
            .set_cpu(self.processor.level.cpu())
            .set_level(OptimizationLevel::Default)
            .set_reloc_mode(RelocMode::PIC)
            .set_code_model(CodeModel::Small);
        target.create_target_machine_from_options(&triple, options).ok_or_else(|| "no target machine".to_owned())
    }

    /// What LLVM makes of a function, as a file in memory.
    fn written(&self, function: &Function, file: FileType) -> Result<Vec<u8>, CompileError> {
        let text = self.ir_text(function)?;
        self.compiled(&text, file).map_err(|what| bug(format!("LLVM: {what}"), function.to_string()))
    }

    /// What LLVM makes of a module's text.
    fn compiled(&self, text: &str, file: FileType) -> Result<Vec<u8>, String> {
        let context = Context::create();
        let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "vector loops");
        let module = context.create_module_from_ir(buffer).map_err(|error| error.to_string())?;
        let machine = self.machine()?;
        module.set_triple(&machine.get_triple());
        module.set_data_layout(&machine.get_target_data().get_data_layout());
        module.verify().map_err(|error| error.to_string())?;
        optimise(&module, &machine)?;
        let written = machine.write_to_memory_buffer(&module, file).map_err(|error| error.to_string())?;
        Ok(written.as_slice().to_vec())
    }
}

fn optimise(module: &Module<'_>, machine: &TargetMachine) -> Result<(), String> {
    module.run_passes(PASSES, machine, PassBuilderOptions::create()).map_err(|error| error.to_string())
}

impl CodeGenerator for Compiler {
    fn name(&self) -> &'static str {
        "llvm"
    }

    fn level(&self) -> String {
        let (major, minor, patch) = inkwell::support::get_llvm_version();
        let Processor { level, bf16_dots, tuning } = &self.processor;
        let more = if *bf16_dots { " with AVX512-BF16" } else { "" };
        format!("{level}{more} tuned for {tuning}, LLVM {major}.{minor}.{patch}")
    }

    fn compile(&self, function: &Function) -> Result<Code, CompileError> {
        let file = self.written(function, FileType::Object)?;
        let bytes = link(&file, ENTRY).map_err(|what| bug(what, function.to_string()))?;
        Ok(Code { bytes, scratch_bytes: function.scratch_bytes })
    }

    fn texts(&self, function: &Function) -> Result<Vec<(String, String)>, CompileError> {
        let ir = self.ir_text(function)?;
        let assembly = self.assembly_text(function)?;
        Ok(vec![("LLVM IR".to_owned(), ir), ("assembly".to_owned(), assembly)])
    }
}

fn bug(message: String, text: String) -> CompileError {
    CompileError::Bug { message, text }
}

#[cfg(test)]
mod tests {
    use super::Compiler;
    use crate::emit::ENTRY;
    use crate::level::Level;
    use crate::link::link;
    use inkwell::targets::FileType;

    fn linked(module: &str) -> Result<Vec<u8>, String> {
        let compiler = Compiler::at(Level::V3).expect("a processor with AVX2");
        link(&compiler.compiled(module, FileType::Object)?, ENTRY)
    }

    #[test]
    fn code_that_needs_what_is_elsewhere_is_refused() {
        let alone = linked("define i64 @kernel(i64 %x) { %y = add i64 %x, 1\n ret i64 %y }");
        assert!(alone.is_ok_and(|bytes| !bytes.is_empty()));
        let calls = linked("declare void @elsewhere()\ndefine void @kernel() { call void @elsewhere()\n ret void }");
        assert_eq!(calls, Err("the code refers to elsewhere".to_owned()));
        let counts = "@count = global i64 7\ndefine void @kernel() { store i64 8, ptr @count\n ret void }";
        assert!(linked(counts).is_err_and(|what| what.contains("variables")));
        let second = linked("define void @other() { ret void }\ndefine void @kernel() { ret void }");
        assert_eq!(second, Err("the function is not at the start of the text".to_owned()));
        assert!(linked("define void @kernel( { }").is_err());
    }

    #[test]
    fn constants_come_with_the_code() {
        let ones = "define <8 x float> @kernel(<8 x float> %x) #0 { %y = fadd <8 x float> %x, \
                    <float 1.0, float 2.0, float 3.0, float 4.0, float 5.0, float 6.0, float 7.0, float 8.0>\n \
                    ret <8 x float> %y }\nattributes #0 = { \"target-cpu\"=\"x86-64-v3\" }";
        let bytes = linked(ones).expect("links");
        let eight = 8.0f32.to_le_bytes();
        assert!(bytes.windows(4).any(|window| window == eight));
    }
}
