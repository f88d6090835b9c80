//! Metadata values of a GGUF file.
//!
//! In: a cursor at a value. Out: [`Value`], which borrows strings and number arrays from the file.
//! Invariant: arrays of numbers are kept as bytes, so an array costs no memory beyond the file.

use super::{GgufError, cursor::Cursor};

/// Nested arrays are legal and nobody uses them; deeper ones than this are refused.
const MAX_NESTING: u32 = 4;

/// Types of scalar values by their number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScalarType {
    Unsigned(usize),
    Signed(usize),
    Float(usize),
    Bool,
}

impl ScalarType {
    fn of(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::Unsigned(1),
            1 => Self::Signed(1),
            2 => Self::Unsigned(2),
            3 => Self::Signed(2),
            4 => Self::Unsigned(4),
            5 => Self::Signed(4),
            6 => Self::Float(4),
            7 => Self::Bool,
            10 => Self::Unsigned(8),
            11 => Self::Signed(8),
            12 => Self::Float(8),
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) | Self::Float(bytes) => bytes,
            Self::Bool => 1,
        }
    }

    /// The value in `raw`, which has this type's length.
    fn read<'a>(self, raw: &[u8]) -> Value<'a> {
        let mut wide = [0; 8];
        wide[..raw.len()].copy_from_slice(raw);
        let unsigned = u64::from_le_bytes(wide);
        match self {
            Self::Unsigned(_) => Value::Unsigned(unsigned),
            Self::Signed(bytes) => {
                let unused = 64 - 8 * bytes as u32;
                Value::Signed((unsigned << unused) as i64 >> unused)
            }
            Self::Float(4) => Value::Float(f64::from(f32::from_bits(unsigned as u32))),
            Self::Float(_) => Value::Float(f64::from_bits(unsigned)),
            Self::Bool => Value::Bool(unsigned != 0),
        }
    }
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float of either width.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    Text(&'a str),
    /// An array of strings.
    Texts(Vec<&'a str>),
    /// An array of numbers or booleans.
    Scalars(Scalars<'a>),
    /// An array of arrays; its contents were checked and are not kept.
    Nested,
}

/// An array of numbers or booleans, decoded when it is walked.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalars<'a> {
    element: ScalarType,
    bytes: &'a [u8],
}

impl<'a> Scalars<'a> {
    /// The elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value<'a>> + '_ {
        self.bytes.chunks_exact(self.element.bytes()).map(|raw| self.element.read(raw))
    }
}

impl Value<'_> {
    /// An integer of either sign that fits.
    pub fn as_u32(&self) -> Option<u32> {
        match *self {
            Self::Unsigned(value) => value.try_into().ok(),
            Self::Signed(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// A float, or an integer read as one.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Float(value) => Some(value),
            Self::Unsigned(value) => Some(value as f64),
            Self::Signed(value) => Some(value as f64),
            _ => None,
        }
    }
}

/// Reads a value of the type numbered `id`.
pub(super) fn read<'a>(cursor: &mut Cursor<'a>, id: u32) -> Result<Value<'a>, GgufError> {
    if let Some(scalar) = ScalarType::of(id) {
        return Ok(scalar.read(cursor.take(scalar.bytes() as u64, "metadata value")?));
    }
    match id {
        TEXT => Ok(Value::Text(cursor.text("metadata string")?)),
        ARRAY => array(cursor, 0),
        _ => Err(GgufError::ValueType { at: cursor.at(), id }),
    }
}

fn array<'a>(cursor: &mut Cursor<'a>, depth: u32) -> Result<Value<'a>, GgufError> {
    if depth == MAX_NESTING {
        return Err(GgufError::Nested(cursor.at()));
    }
    let at = cursor.at();
    let element = cursor.u32("element type of a metadata array")?;
    let claimed = cursor.u64("length of a metadata array")?;
    if let Some(scalar) = ScalarType::of(element) {
        let count = cursor.count(claimed, scalar.bytes() as u64, "array elements")?;
        let bytes = cursor.take((count * scalar.bytes()) as u64, "metadata array")?;
        return Ok(Value::Scalars(Scalars { element: scalar, bytes }));
    }
    match element {
        TEXT => {
            let count = cursor.count(claimed, 8, "strings of an array")?;
            Ok(Value::Texts((0..count).map(|_| cursor.text("string of an array")).collect::<Result<_, _>>()?))
        }
        ARRAY => {
            let count = cursor.count(claimed, 12, "arrays of an array")?;
            (0..count).try_for_each(|_| array(cursor, depth + 1).map(drop))?;
            Ok(Value::Nested)
        }
        _ => Err(GgufError::ValueType { at, id: element }),
    }
}
