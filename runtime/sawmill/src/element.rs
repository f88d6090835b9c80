//! Element types of tensors as Rust types.
//!
//! A typed tensor carries its element type as a parameter, so that a dtype mistake is a Rust type error; an untyped one
//! knows a [`RuntimeElem`], which the call checks.

use sawmill_ir::dtype::DType;
use std::fmt;

/// The element type of a tensor at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeElem {
    /// A plain type.
    Type(DType),
    /// A packed format.
    Packed(PackedType),
}

/// A packed format: rows of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedType {
    /// The name of the format in the language.
    pub name: &'static str,
    /// Values in a record; the last dimension is a multiple.
    pub record_values: u32,
    /// Bytes of a record.
    pub record_bytes: u32,
}

impl fmt::Display for RuntimeElem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(dtype) => write!(f, "{dtype}"),
            Self::Packed(packed) => f.write_str(packed.name),
        }
    }
}

impl RuntimeElem {
    /// Bytes between neighbours along the last dimension, and values they hold. `None` for types below a byte.
    pub(crate) fn unit(self) -> Option<(usize, usize)> {
        match self {
            Self::Type(dtype) => dtype.bytes().map(|bytes| (bytes as usize, 1)),
            Self::Packed(p) => Some((p.record_bytes as usize, p.record_values as usize)),
        }
    }
}

/// A Rust type for the elements of a tensor.
pub trait Element: Send + Sync + 'static {
    /// The element type.
    const ELEM: RuntimeElem;
}

/// An [`Element`] that is stored as the Rust type itself.
///
/// # Safety
/// Every bit pattern of `size_of::<Self>()` bytes must be a value of the type.
pub unsafe trait Plain: Element + Copy + Default {}

macro_rules! elements {
    ($($rust:ty => $dtype:ident;)*) => {$(
        impl Element for $rust {
            const ELEM: RuntimeElem = RuntimeElem::Type(DType::$dtype);
        }
        // SAFETY: a number type without padding or niches; every bit pattern is a value.
        unsafe impl Plain for $rust {}
    )*};
}

elements! {
    f64 => F64;
    f32 => F32;
    half::f16 => F16;
    half::bf16 => BF16;
    i64 => I64;
    i32 => I32;
    u32 => U32;
    i16 => I16;
    u16 => U16;
    i8 => I8;
    u8 => U8;
}

impl Element for bool {
    const ELEM: RuntimeElem = RuntimeElem::Type(DType::Bool);
}
