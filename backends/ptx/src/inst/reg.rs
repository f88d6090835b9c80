//! Virtual registers and special registers.
//!
//! A [`Reg`] is one `u32` that holds its class and its number in that class, so that a register prints, and is checked,
//! without the entry it belongs to. Entries count registers by class.

use super::word::Word;
use std::fmt;

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident $word:ident $prefix:literal,)*) => {
        /// What a virtual register holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class { $($(#[$doc])* $name,)* }

        impl Class {
            /// Every class, in the order in which declarations are printed.
            pub const ALL: [Self; 6] = [$(Self::$name,)*];
            /// The type that registers of this class are declared with.
            pub const fn word(self) -> Word { match self { $(Self::$name => Word::$word,)* } }
            /// The text of a register of this class, before its number.
            pub const fn prefix(self) -> &'static str { match self { $(Self::$name => $prefix,)* } }
        }
    };
}

classes! {
    /// A truth value.
    Pred Pred "%p",
    /// 16 bits: an integer, `f16`, `bf16` or two 8-bit floats.
    B16 B16 "%h",
    /// 32 bits: an integer, a shared address, or two 16-bit values.
    B32 B32 "%r",
    /// 64 bits: an integer or a global address.
    B64 B64 "%rd",
    /// IEEE binary32.
    F32 F32 "%f",
    /// IEEE binary64.
    F64 F64 "%fd",
}

const NUMBER_BITS: u32 = 28;

/// A virtual register. There are as many as a program wants; `ptxas` assigns hardware registers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u32);

impl Reg {
    /// Register `number` of `class`.
    ///
    /// # Panics
    /// If `number` is 2^28 or more.
    pub fn new(class: Class, number: u32) -> Self {
        assert!(number < 1 << NUMBER_BITS, "an entry has fewer than 2^28 registers of a class");
        Self((class as u32) << NUMBER_BITS | number)
    }

    /// What it holds.
    pub const fn class(self) -> Class {
        Class::ALL[(self.0 >> NUMBER_BITS) as usize]
    }

    /// Its number in its class.
    pub const fn number(self) -> u32 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.class().prefix(), self.number())
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! specials {
    ($($name:ident $text:literal $word:ident,)*) => {
        /// A register that the hardware fills. `Tid` is the thread in its CTA, `Ctaid` the CTA in the grid, `Ntid` and
        /// `Nctaid` are the sizes of both.
        #[expect(missing_docs, reason = "the table gives each register's text")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Special { $($name,)* }

        impl Special {
            /// Every special register.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// Its text.
            pub const fn text(self) -> &'static str { match self { $(Self::$name => $text,)* } }
            /// The type it is read as.
            pub const fn word(self) -> Word { match self { $(Self::$name => Word::$word,)* } }
        }
    };
}

specials! {
    TidX "%tid.x" U32, TidY "%tid.y" U32, TidZ "%tid.z" U32,
    NtidX "%ntid.x" U32, NtidY "%ntid.y" U32, NtidZ "%ntid.z" U32,
    CtaidX "%ctaid.x" U32, CtaidY "%ctaid.y" U32, CtaidZ "%ctaid.z" U32,
    NctaidX "%nctaid.x" U32, NctaidY "%nctaid.y" U32, NctaidZ "%nctaid.z" U32,
    LaneId "%laneid" U32, LaneMaskLt "%lanemask_lt" U32, DynamicShared "%dynamic_smem_size" U32, Clock "%clock64" U64,
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
