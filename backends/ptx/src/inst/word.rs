//! Words: the parts of a mnemonic after its first.
//!
//! A mnemonic is a name and a list of words, `ld` `.global` `.v4` `.f32`. Types are words, too. Source of the spelling: the
//! PTX ISA, version 9.0.

use super::reg::Class;
use std::fmt;

macro_rules! words {
    ($($name:ident $text:literal,)*) => {
        /// One suffix of a mnemonic, without its dot.
        #[expect(missing_docs, reason = "the table gives each word's text")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Word { $($name,)* }

        impl Word {
            /// Every word, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The word as the mnemonic has it.
            pub const fn text(self) -> &'static str { match self { $(Self::$name => $text,)* } }
        }
    };
}

words! {
    // Types.
    Pred "pred", B8 "b8", B16 "b16", B32 "b32", B64 "b64",
    U8 "u8", U16 "u16", U32 "u32", U64 "u64", S8 "s8", S16 "s16", S32 "s32", S64 "s64",
    F16 "f16", F16x2 "f16x2", Bf16 "bf16", Bf16x2 "bf16x2", F32 "f32", F64 "f64", Tf32 "tf32",
    E4m3x2 "e4m3x2", E5m2x2 "e5m2x2",
    // Rounding and arithmetic.
    Rn "rn", Rz "rz", Rm "rm", Rp "rp", Rna "rna", Rni "rni", Rzi "rzi", Rmi "rmi", Rpi "rpi",
    Ftz "ftz", Sat "sat", Satfinite "satfinite", Relu "relu", Approx "approx", Full "full", Nan "NaN",
    Lo "lo", Hi "hi", Wide "wide", L "l", R "r", Wrap "wrap", Clamp "clamp",
    // Comparisons; `u` stands for unordered: true if an operand is NaN.
    Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge",
    Equ "equ", Neu "neu", Ltu "ltu", Leu "leu", Gtu "gtu", Geu "geu", Num "num", IsNan "nan",
    // Spaces, vectors, caches.
    Param "param", Global "global", Shared "shared", Local "local",
    V2 "v2", V4 "v4", Nc "nc", Ca "ca", Cg "cg", Cs "cs", Lu "lu", Cv "cv", Wb "wb", Wt "wt",
    EvictFirst "L1::evict_first", EvictLast "L1::evict_last", NoAllocate "L1::no_allocate", L2Fetch "L2::128B",
    // Ordering.
    Relaxed "relaxed", Acquire "acquire", Release "release", AcqRel "acq_rel", Sc "sc", Cta "cta", Gpu "gpu", Sys "sys",
    Volatile "volatile",
    // Control, warps.
    Uni "uni", Sync "sync", Arrive "arrive", Warp "warp", Aligned "aligned", Idx "idx", Up "up", Down "down", Bfly "bfly",
    All "all", Any "any", Ballot "ballot",
    // Combining operations of atomics and warps.
    Add "add", Min "min", Max "max", And "and", Or "or", Xor "xor", Exch "exch", Cas "cas", Inc "inc", Noftz "noftz",
    // Matrices.
    M8n8 "m8n8", X1 "x1", X2 "x2", X4 "x4", Trans "trans",
    M16n8k16 "m16n8k16", M16n8k8 "m16n8k8", M16n8k4 "m16n8k4", M16n8k32 "m16n8k32", M8n8k4 "m8n8k4", Row "row", Col "col",
    // Asynchronous copies, address spaces.
    Async "async", CommitGroup "commit_group", WaitGroup "wait_group", WaitAll "wait_all", To "to",
}

impl Word {
    /// Whether the word is a type.
    pub const fn is_type(self) -> bool {
        self.bits() > 0
    }

    /// Bits of a value of this type, 1 for predicates, 0 for words that are no types.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Pred => 1,
            Self::B8 | Self::U8 | Self::S8 => 8,
            Self::B16 | Self::U16 | Self::S16 | Self::F16 | Self::Bf16 | Self::E4m3x2 | Self::E5m2x2 => 16,
            Self::B32 | Self::U32 | Self::S32 | Self::F16x2 | Self::Bf16x2 | Self::F32 | Self::Tf32 => 32,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 64,
            _ => 0,
        }
    }

    /// Whether the type is a signed integer.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }

    /// Whether the type is an integer of either sign, or untyped bits.
    pub const fn is_integral(self) -> bool {
        matches!(self, Self::B8 | Self::B16 | Self::B32 | Self::B64 | Self::U8 | Self::U16 | Self::U32 | Self::U64)
            || self.is_signed()
    }

    /// The type of twice the width, for products and their sums.
    pub const fn widened(self) -> Self {
        match self {
            Self::U16 => Self::U32,
            Self::S16 => Self::S32,
            Self::U32 => Self::U64,
            Self::S32 => Self::S64,
            other => other,
        }
    }

    /// Classes of registers that hold a value of this type, the usual one first. `loose` is the rule of loads, stores and
    /// conversions: the register may be wider than the type, which then is extended by its sign.
    pub const fn classes(self, loose: bool) -> &'static [Class] {
        use Class::{B16, B32, B64, F32, F64, Pred};
        match self {
            Self::Pred => &[Pred],
            Self::B8 | Self::U8 | Self::S8 if loose => &[B32, B16, B64],
            Self::U16 | Self::S16 if loose => &[B32, B16, B64],
            Self::B16 | Self::U16 | Self::S16 | Self::F16 | Self::Bf16 | Self::E4m3x2 | Self::E5m2x2 => &[B16],
            Self::U32 | Self::S32 if loose => &[B32, B64],
            Self::B32 => &[B32, F32],
            Self::U32 | Self::S32 | Self::F16x2 | Self::Bf16x2 | Self::Tf32 => &[B32],
            Self::F32 => &[F32],
            Self::B64 => &[B64, F64],
            Self::U64 | Self::S64 => &[B64],
            Self::F64 => &[F64],
            _ => &[],
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
