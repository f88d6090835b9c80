//! Element types: what memory holds, and what computation works in.
//!
//! Narrow types are for storage: a read widens floats under 32 bits to `f32` and integers under 32 bits to `i32`
//! ([`DType::widened`]); writing to an output, a carry or a typed `let` rounds to nearest even.

use std::fmt;

/// Declares the element types once: name, text, bits, kind.
macro_rules! dtypes {
    ($($(#[$doc:meta])* $name:ident $text:literal $bits:literal $kind:ident;)*) => {
        /// The type of one element.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DType { $($(#[$doc])* $name,)* }

        impl DType {
            /// Every element type, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The name in programs and in both IRs' text.
            pub const fn text(self) -> &'static str { match self { $(Self::$name => $text,)* } }
            /// Storage bits of one element.
            pub const fn bits(self) -> u32 { match self { $(Self::$name => $bits,)* } }
            /// What the bits mean.
            pub const fn kind(self) -> Kind { match self { $(Self::$name => Kind::$kind,)* } }
            /// The type called `text`.
            pub fn from_text(text: &str) -> Option<Self> { match text { $($text => Some(Self::$name),)* _ => None } }
        }
    };
}

/// What the bits of an element mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An IEEE-like binary float.
    Float,
    /// A two's complement integer.
    Signed,
    /// An unsigned integer.
    Unsigned,
    /// A truth value, one byte in memory.
    Bool,
    /// A pair of floats.
    Complex,
}

dtypes! {
    /// IEEE binary64.
    F64 "f64" 64 Float;
    /// IEEE binary32.
    F32 "f32" 32 Float;
    /// IEEE binary16.
    F16 "f16" 16 Float;
    /// The upper half of a binary32.
    BF16 "bf16" 16 Float;
    /// OCP 8-bit float, 4 exponent bits.
    F8E4M3 "f8e4m3" 8 Float;
    /// OCP 8-bit float, 5 exponent bits.
    F8E5M2 "f8e5m2" 8 Float;
    /// OCP power-of-two scale.
    F8E8M0 "f8e8m0" 8 Float;
    /// OCP 4-bit float.
    F4E2M1 "f4e2m1" 4 Float;
    /// A pair of `f32`.
    C32 "c32" 64 Complex;
    /// 64-bit signed.
    I64 "i64" 64 Signed;
    /// 32-bit signed.
    I32 "i32" 32 Signed;
    /// 32-bit unsigned.
    U32 "u32" 32 Unsigned;
    /// 16-bit signed.
    I16 "i16" 16 Signed;
    /// 16-bit unsigned.
    U16 "u16" 16 Unsigned;
    /// 8-bit signed.
    I8 "i8" 8 Signed;
    /// 8-bit unsigned.
    U8 "u8" 8 Unsigned;
    /// 4-bit signed, two to a byte, the even element low.
    I4 "i4" 4 Signed;
    /// 4-bit unsigned, two to a byte, the even element low.
    U4 "u4" 4 Unsigned;
    /// Truth value.
    Bool "bool" 8 Bool;
}

impl DType {
    /// The type a read of this type computes in (A10).
    pub const fn widened(self) -> Self {
        match self {
            Self::F16 | Self::BF16 | Self::F8E4M3 | Self::F8E5M2 | Self::F8E8M0 | Self::F4E2M1 => Self::F32,
            Self::I16 | Self::U16 | Self::I8 | Self::U8 | Self::I4 | Self::U4 => Self::I32,
            other => other,
        }
    }
    /// The narrowest type of whole bytes that has every value of this one.
    pub const fn in_bytes(self) -> Self {
        match self {
            Self::U4 => Self::U8,
            Self::I4 => Self::I8,
            Self::F4E2M1 => Self::F16,
            other => other,
        }
    }
    /// Whether arithmetic happens in this type (as opposed to storage only).
    pub fn is_compute(self) -> bool {
        self.widened() == self
    }
    /// Whether this is a float.
    pub fn is_float(self) -> bool {
        self.kind() == Kind::Float
    }
    /// Whether this is an integer of either sign.
    pub fn is_int(self) -> bool {
        matches!(self.kind(), Kind::Signed | Kind::Unsigned)
    }
    /// The least and the greatest value of an integer type.
    pub fn int_bounds(self) -> Option<(i64, i64)> {
        let bits = self.bits();
        match self.kind() {
            Kind::Unsigned if bits < 64 => Some((0, (1_i64 << bits) - 1)),
            Kind::Signed if bits < 64 => Some((-(1_i64 << (bits - 1)), (1_i64 << (bits - 1)) - 1)),
            Kind::Signed => Some((i64::MIN, i64::MAX)),
            _ => None,
        }
    }
    /// The value of one integer in memory, little-endian; `None` if this is no integer of whole bytes or `bytes` are not one element.
    pub fn integer(self, bytes: &[u8]) -> Option<i64> {
        if !self.is_int() || self.bytes().map(|size| size as usize) != Some(bytes.len()) {
            return None;
        }
        let negative = self.kind() == Kind::Signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Some(i64::from_le_bytes(word))
    }
    /// Bytes of one element; `None` for types narrower than a byte.
    pub const fn bytes(self) -> Option<u32> {
        if self.bits() >= 8 { Some(self.bits() / 8) } else { None }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::DType;

    #[test]
    fn integers_are_read_with_their_sign() {
        assert_eq!(DType::I8.integer(&[0xfe]), Some(-2));
        assert_eq!(DType::U8.integer(&[0xfe]), Some(254));
        assert_eq!(DType::I32.integer(&(-70_000_i32).to_le_bytes()), Some(-70_000));
        assert_eq!(DType::U32.integer(&u32::MAX.to_le_bytes()), Some(4_294_967_295));
        assert_eq!(DType::I64.integer(&i64::MIN.to_le_bytes()), Some(i64::MIN));
        assert_eq!(DType::I32.integer(&[1, 2]), None, "not one element");
        assert_eq!(DType::F32.integer(&[0; 4]), None, "no integer");
        assert_eq!(DType::U4.integer(&[1]), None, "half a byte");
    }
}
