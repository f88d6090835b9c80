//! Element types of tensors as Rust types.
//!
//! A typed tensor carries its element type as a parameter, so that a dtype mistake is a Rust type error; an untyped one
//! knows a [`RuntimeElem`], which the call checks.

use crate::{Error, Format};
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::text;
use std::fmt;

/// The element type of a tensor at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeElem {
    /// A plain type.
    Type(DType),
    /// A packed format.
    Packed(PackedType),
}

/// A packed format: rows of records.
#[derive(Clone, Copy, Debug)]
pub struct PackedType {
    format: &'static Format,
    record_values: u32,
    record_bytes: u32,
}

impl PackedType {
    /// The element type of tensors stored in `format`.
    pub fn new(format: &'static Format) -> Result<Self, Error> {
        let broken = |message: String| Error::bug(format.name, message, format.program);
        let module = text::parse(format.program).map_err(|e| broken(e.to_string()))?;
        let graph = module.format(format.name).ok_or_else(|| broken("the program does not hold the format".into()))?;
        let record_bytes = graph.record_bytes().map_err(broken)?;
        Ok(Self { format, record_values: graph.record_values, record_bytes })
    }
    /// The format.
    pub fn format(self) -> &'static Format {
        self.format
    }
    /// Values in a record; the last dimension is a multiple.
    pub fn record_values(self) -> u32 {
        self.record_values
    }
    /// Bytes of a record.
    pub fn record_bytes(self) -> u32 {
        self.record_bytes
    }
}

impl PartialEq for PackedType {
    fn eq(&self, other: &Self) -> bool {
        self.format.name == other.format.name && self.format.program == other.format.program
    }
}
impl Eq for PackedType {}

impl fmt::Display for RuntimeElem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(dtype) => write!(f, "{dtype}"),
            Self::Packed(packed) => f.write_str(packed.format.name),
        }
    }
}

impl RuntimeElem {
    /// Bytes between neighbours along the last dimension, and values they hold: two elements of four bits lie in a byte.
    pub(crate) fn unit(self) -> Option<(usize, usize)> {
        match self {
            Self::Type(dtype) if dtype.bits() < 8 => Some((1, 8 / dtype.bits() as usize)),
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

/// An [`Element`] whose values Rust can hold: what slices are made to tensors, and tensors to vectors.
///
/// # Safety
/// A value must be `size_of::<Self>()` bytes without padding, and every bit pattern of as many bytes a value of `Stored`.
pub unsafe trait Plain: Element + Copy + Default {
    /// What may lie in memory.
    type Stored: Copy;
    /// The value of what lies in memory.
    fn from_stored(stored: Self::Stored) -> Self;
}

/// A [`Plain`] type any bit pattern of which is a value, so that memory can be seen as a slice of it.
pub trait AnyBits: Plain<Stored = Self> {}

macro_rules! elements {
    ($($rust:ty => $dtype:ident;)*) => {$(
        impl Element for $rust {
            const ELEM: RuntimeElem = RuntimeElem::Type(DType::$dtype);
        }
        // SAFETY: a number type without padding or niches; every bit pattern is a value.
        unsafe impl Plain for $rust {
            type Stored = Self;
            fn from_stored(stored: Self) -> Self {
                stored
            }
        }
        impl AnyBits for $rust {}
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
// SAFETY: a truth value is one byte without padding, and any byte is a `u8`: a tensor made of bytes may hold others than 0 and 1.
unsafe impl Plain for bool {
    type Stored = u8;
    fn from_stored(stored: u8) -> Self {
        stored != 0
    }
}
