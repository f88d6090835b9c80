//! The levels of x86-64 that code is generated for.
//!
//! In: the processor, or a name. Out: a [`Level`], and what it offers as a [`Target`]. The levels are those of the x86-64
//! psABI: whole sets of features that compilers and distributions agree on.

use std::env;
use std::fmt;

use sawmill_ir::backend::CompileError;
use sawmill_ir::target::Target;

/// The variable that names the highest level to use.
pub const VARIABLE: &str = "SAWMILL_CPU_LEVEL";

/// A set of features, each level with all of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// AVX2 and fused multiply-add: sixteen registers of 256 bits.
    V3,
    /// AVX-512: thirty-two registers of 512 bits, masks for every lane width.
    V4,
}

impl Level {
    /// All levels, the lowest first.
    pub const ALL: [Level; 2] = [Level::V3, Level::V4];

    /// The highest level of this processor; `None` below the first.
    pub fn detected() -> Option<Level> {
        Level::ALL.into_iter().rfind(|level| level.is_available())
    }

    /// The level to generate code for: this processor's highest, or the lower one that `SAWMILL_CPU_LEVEL` names.
    ///
    /// # Errors
    /// A processor below every level, a name that is none, a level above the processor's.
    pub fn chosen() -> Result<Level, CompileError> {
        let known = Level::ALL.map(Level::cpu).join(" or ");
        let refused = |what: String| CompileError::Unsupported(what);
        let detected = Level::detected()
            .ok_or_else(|| refused(format!("the processor offers none of the levels {known} (AVX2 is the least)")))?;
        let Some(name) = env::var_os(VARIABLE).filter(|name| !name.is_empty()) else { return Ok(detected) };
        let name = name.to_string_lossy();
        let asked = Level::ALL.into_iter().find(|level| level.cpu() == name);
        let asked = asked.ok_or_else(|| refused(format!("{VARIABLE} is `{name}`; it may be {known}")))?;
        if asked > detected {
            return Err(refused(format!("{VARIABLE} asks for {asked}, but this processor is {detected}")));
        }
        Ok(asked)
    }

    /// Whether this processor sums products of bf16 numbers by an instruction of its own, AVX512-BF16, which no level has; no, if
    /// `SAWMILL_CPU_LEVEL` asks for a level: that is asked for so that code has what the level has.
    pub fn has_bf16_dots() -> bool {
        let asked = env::var_os(VARIABLE).is_some_and(|name| !name.is_empty());
        !asked && Level::detected() == Some(Level::V4) && detects_bf16_dots()
    }

    /// The level's name, which LLVM knows as a processor.
    pub fn cpu(self) -> &'static str {
        match self {
            Level::V3 => "x86-64-v3",
            Level::V4 => "x86-64-v4",
        }
    }

    /// Bits of a vector register.
    pub fn vector_bits(self) -> u32 {
        match self {
            Level::V3 => 256,
            Level::V4 => 512,
        }
    }

    /// Whether lanes of bytes and 16-bit words can be read and written under a mask.
    pub fn has_byte_masks(self) -> bool {
        self == Level::V4
    }

    /// What plans and vector loops are made for.
    pub fn target(self, cores: u32) -> Target {
        match self {
            Level::V3 => Target::cpu256(cores),
            Level::V4 => Target::cpu512(cores),
        }
    }

    /// Whether this processor, and the system that runs it, has every feature of the level.
    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        let second = std::is_x86_feature_detected!("sse4.2") && std::is_x86_feature_detected!("popcnt");
        let third = second
            && std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("bmi1")
            && std::is_x86_feature_detected!("bmi2")
            && std::is_x86_feature_detected!("f16c")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("lzcnt")
            && std::is_x86_feature_detected!("movbe");
        let fourth = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512cd")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512vl");
        match self {
            Level::V3 => third,
            Level::V4 => third && fourth,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        false
    }
}

#[cfg(target_arch = "x86_64")]
fn detects_bf16_dots() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn detects_bf16_dots() -> bool {
    false
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cpu())
    }
}
