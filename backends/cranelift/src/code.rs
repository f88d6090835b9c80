//! From one VIR function to machine code.
//!
//! In: a verified function and the processor to compile for. Out: [`Code`], or on request the CLIF or the assembly text.
//! Invariant: the code refers to nothing outside of itself; a function that would need it is refused as a compiler bug.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir;
use cranelift_codegen::isa::{self, Builder as IsaBuilder, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CompiledCode, Context};
use sawmill_ir::backend::CompileError;
use sawmill_launch::Code;
use sawmill_simd::vir;

use crate::emit;

/// The system that objects are for.
pub(crate) const OBJECT_TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Features without which Cranelift calls a library for vector operations.
const REQUIRED: [&str; 5] = ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt"];

/// What each level of the x86-64 psABI adds, as far as Cranelift knows it; the second level is [`REQUIRED`].
const LEVELS: [(&str, &[&str]); 2] = [
    ("x86-64-v3", &["has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2", "has_lzcnt"]),
    ("x86-64-v4", &["has_avx512f", "has_avx512dq", "has_avx512vl"]),
];

/// Compiles VIR functions for one kind of processor.
pub struct Compiler {
    isa: OwnedTargetIsa,
    fma: bool,
}

impl Compiler {
    /// For the processor that this runs on, with all that it offers.
    ///
    /// # Errors
    /// A processor that Cranelift does not know.
    pub fn host() -> Result<Compiler, CompileError> {
        let builder = cranelift_native::builder().map_err(|why| CompileError::Unsupported(why.to_owned()))?;
        Compiler::with(builder)
    }

    /// For any processor of the host's architecture that can run kernels at all: on x86-64 the second level of its ABI
    /// (SSE4.2), without fused multiply-add.
    ///
    /// # Errors
    /// An architecture that Cranelift does not know.
    pub fn baseline() -> Result<Compiler, CompileError> {
        let unsupported = |why: &str| CompileError::Unsupported(why.to_owned());
        let mut builder = cranelift_native::builder_with_options(false).map_err(unsupported)?;
        if is_x86(builder.triple()) {
            for feature in REQUIRED {
                builder.enable(feature).map_err(|why| bug(why.to_string(), String::new()))?;
            }
        }
        Compiler::with(builder)
    }

    /// For any x86-64 processor of a level of the psABI, `x86-64-v3` or `x86-64-v4`, wherever this runs. Vectors have 128 bits on both.
    ///
    /// # Errors
    /// A name that is no level; a build of Cranelift without x86-64.
    pub fn for_level(level: &str) -> Result<Compiler, CompileError> {
        let position = LEVELS.iter().position(|(name, _)| *name == level);
        let position = position.ok_or_else(|| CompileError::Unsupported(format!("`{level}` is no level of x86-64")))?;
        let missing = |_| CompileError::Unsupported("this build has no code generator for x86-64".to_owned());
        let mut builder = isa::lookup_by_name(OBJECT_TRIPLE).map_err(missing)?;
        let features = LEVELS[..=position].iter().flat_map(|(_, features)| features.iter());
        for feature in REQUIRED.iter().chain(features) {
            builder.enable(feature).map_err(|why| bug(why.to_string(), String::new()))?;
        }
        Compiler::with(builder)
    }

    fn with(builder: IsaBuilder) -> Result<Compiler, CompileError> {
        let mut flags = settings::builder();
        let chosen = [("opt_level", "none"), ("enable_probestack", "false"), ("enable_verifier", "true")];
        for (name, value) in chosen {
            flags.set(name, value).map_err(|why| bug(why.to_string(), String::new()))?;
        }
        let isa = builder.finish(settings::Flags::new(flags)).map_err(|why| bug(why.to_string(), String::new()))?;
        let flag = |name: &str| isa.isa_flags().iter().any(|flag| flag.name == name && flag.as_bool() == Some(true));
        let x86 = is_x86(isa.triple());
        if let Some(missing) = REQUIRED.iter().find(|feature| x86 && !flag(feature)) {
            return Err(CompileError::Unsupported(format!("the processor lacks {missing}")));
        }
        let fma = !x86 || flag("has_fma");
        Ok(Compiler { isa, fma })
    }

    /// Whether `fma` is one instruction, rounded once; otherwise it is a product and a sum.
    pub fn has_fma(&self) -> bool {
        self.fma
    }

    /// Architecture and features, to key a cache by.
    pub fn cpu_level(&self) -> String {
        let flags = self.isa.isa_flags();
        let on = flags.iter().filter(|flag| flag.as_bool() == Some(true)).map(|flag| flag.name);
        let names: Vec<&str> = on.collect();
        format!("{} {}", self.isa.triple(), names.join(" "))
    }

    /// Compiles a function.
    ///
    /// # Errors
    /// A function that breaks the rules of VIR or that Cranelift refuses, with its text.
    pub fn compile(&self, func: &vir::Function) -> Result<Code, CompileError> {
        let compiled = self.machine_code(func, false)?;
        if !compiled.buffer.relocs().is_empty() {
            return Err(bug("the code refers to a symbol outside".to_owned(), func.to_string()));
        }
        Ok(Code { bytes: compiled.code_buffer().to_vec(), scratch_bytes: func.scratch_bytes })
    }

    /// Cranelift's own IR of a function, before its optimiser.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn clif_text(&self, func: &vir::Function) -> Result<String, CompileError> {
        Ok(self.clif(func)?.display().to_string())
    }

    /// The machine instructions of a function, with labels for blocks.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn assembly_text(&self, func: &vir::Function) -> Result<String, CompileError> {
        Ok(self.machine_code(func, true)?.vcode.unwrap_or_default())
    }

    fn clif(&self, func: &vir::Function) -> Result<ir::Function, CompileError> {
        vir::verify(func).map_err(|error| bug(error.to_string(), func.to_string()))?;
        Ok(emit::emit(func, self.isa.as_ref(), self.fma))
    }

    fn machine_code(&self, func: &vir::Function, text: bool) -> Result<CompiledCode, CompileError> {
        let mut context = Context::for_function(self.clif(func)?);
        context.set_disasm(text);
        let compiled = context.compile(self.isa.as_ref(), &mut ControlPlane::default());
        compiled.map_err(|error| bug(format!("Cranelift: {:?}", error.inner), func.to_string()))?;
        context.take_compiled_code().ok_or_else(|| bug("Cranelift gave no code".to_owned(), func.to_string()))
    }
}

fn is_x86(triple: &target_lexicon::Triple) -> bool {
    triple.architecture == target_lexicon::Architecture::X86_64
}

fn bug(message: String, text: String) -> CompileError {
    CompileError::Bug { message, text }
}
