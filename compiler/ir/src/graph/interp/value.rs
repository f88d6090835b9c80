//! Dense tensors of the interpreter.
//!
//! In: numbers, or bytes of a storage type. Out: [`Value`], row-major. Narrow inputs stay narrow in memory and widen when they
//! are read. An element is present, absent, or broken: read out of range where nothing excludes it, which only counts once
//! an output needs it.

use super::number::round_float;
use crate::dtype::DType;
use crate::graph::Field;

/// An element is there.
pub(super) const PRESENT: u8 = 1;
/// An element is absent.
pub(super) const ABSENT: u8 = 0;
/// An element was read out of range, and nothing excluded it.
pub(super) const BROKEN: u8 = 2;

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Floats.
    F64(Vec<f64>),
    /// Floats that are exact in binary32.
    F32(Vec<f32>),
    /// Bits of binary16.
    F16(Vec<u16>),
    /// Bits of bfloat16.
    BF16(Vec<u16>),
    /// Integers.
    I64(Vec<i64>),
    /// Integers that fit 32 bits.
    I32(Vec<i32>),
    /// Integers that fit a signed byte.
    I8(Vec<i8>),
    /// Integers that fit an unsigned byte.
    U8(Vec<u8>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl Data {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F16(v) | Self::BF16(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Element `at` as a float; truth values are 0 or 1.
    pub fn float(&self, at: usize) -> f64 {
        match self {
            Self::F64(v) => v[at],
            Self::F32(v) => f64::from(v[at]),
            Self::F16(v) => half::f16::from_bits(v[at]).to_f64(),
            Self::BF16(v) => half::bf16::from_bits(v[at]).to_f64(),
            other => other.int(at) as f64,
        }
    }
    /// Element `at` as an integer; floats truncate, truth values are 0 or 1.
    pub fn int(&self, at: usize) -> i64 {
        match self {
            Self::I64(v) => v[at],
            Self::I32(v) => i64::from(v[at]),
            Self::I8(v) => i64::from(v[at]),
            Self::U8(v) => i64::from(v[at]),
            Self::Bool(v) => i64::from(v[at]),
            other => other.float(at) as i64,
        }
    }
}

/// A tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What an element is stored as.
    pub dtype: DType,
    /// Sizes.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Data,
    /// The state of each element, if not all are present.
    pub(super) state: Option<Vec<u8>>,
}

impl Value {
    /// A tensor of given elements.
    ///
    /// # Errors
    /// If there are not as many as the shape says.
    pub fn new(dtype: DType, shape: Vec<usize>, data: Data) -> Result<Self, String> {
        let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        if count != Some(data.len()) {
            return Err(format!("{} elements for the shape {shape:?}", data.len()));
        }
        Ok(Self { dtype, shape, data, state: None })
    }
    /// A float tensor; the elements are rounded to `dtype`.
    ///
    /// # Errors
    /// If there are not as many as the shape says.
    pub fn floats(dtype: DType, shape: Vec<usize>, data: &[f64]) -> Result<Self, String> {
        // The one small type that has infinities keeps them: arithmetic saturates, data need not.
        let kept = |x: f64| x.is_infinite() && dtype == DType::F8E5M2;
        let rounded = data.iter().map(|x| if kept(*x) { *x } else { round_float(dtype, *x) });
        Self::new(dtype, shape, Data::F64(rounded.collect()))
    }
    /// An integer tensor.
    ///
    /// # Errors
    /// If there are not as many elements as the shape says.
    pub fn ints(dtype: DType, shape: Vec<usize>, data: &[i64]) -> Result<Self, String> {
        Self::new(dtype, shape, Data::I64(data.to_vec()))
    }
    /// A tensor in its storage form: row-major, little-endian; 4-bit elements two to a byte, the even one low.
    ///
    /// # Errors
    /// If there are not as many bytes as the shape says, or the type is complex.
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, bytes: &[u8]) -> Result<Self, String> {
        let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).ok_or("the shape overflows")?;
        let needed = count.checked_mul(dtype.bits() as usize).ok_or("the shape overflows")?.div_ceil(8);
        if needed != bytes.len() {
            return Err(format!("{} bytes for {dtype} of shape {shape:?}, which needs {needed}", bytes.len()));
        }
        Self::new(dtype, shape, decode(dtype, count, bytes)?)
    }
    /// A field of a packed tensor whose records follow each other in `bytes`; `shape` is the field's.
    ///
    /// # Errors
    /// If the bytes end before the last record, or the field is no plain type.
    pub fn from_records(dtype: DType, shape: Vec<usize>, field: &Field, bytes: &[u8]) -> Result<Self, String> {
        let split = field.record_dim as usize + 1;
        let records: usize = shape.get(..split).ok_or("a field lacks its record dimension")?.iter().product();
        let each: usize = shape[split..].iter().product();
        let (size, record) = ((each * dtype.bits() as usize).div_ceil(8), field.record as usize);
        let start = field.offset as usize;
        if records.checked_mul(record) != Some(bytes.len()) || start + size > record {
            return Err(format!("{} bytes for {records} records of {record}", bytes.len()));
        }
        let packed: Vec<u8> =
            bytes.chunks_exact(record.max(1)).flat_map(|r| &r[start..start + size]).copied().collect();
        if !(each * dtype.bits() as usize).is_multiple_of(8) {
            return Err("a record's field ends inside of a byte".to_owned());
        }
        Self::from_bytes(dtype, shape, &packed)
    }
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.data.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
    /// Whether element `at` (row-major) is present.
    pub fn is_present(&self, at: usize) -> bool {
        self.state.as_ref().is_none_or(|s| s[at] == PRESENT)
    }
    /// All elements as floats.
    pub fn to_floats(&self) -> Vec<f64> {
        (0..self.len()).map(|i| self.data.float(i)).collect()
    }
    /// All elements as integers.
    pub fn to_ints(&self) -> Vec<i64> {
        (0..self.len()).map(|i| self.data.int(i)).collect()
    }
    /// The same elements rounded to `dtype`, a float type.
    pub(super) fn rounded(&self, dtype: DType) -> Self {
        if dtype == self.dtype && !matches!(self.data, Data::F64(_)) {
            return self.clone();
        }
        let floats = self.to_floats().into_iter().map(|x| round_float(dtype, x)).collect();
        Self { dtype, shape: self.shape.clone(), data: Data::F64(floats), state: self.state.clone() }
    }
}

fn decode(dtype: DType, count: usize, bytes: &[u8]) -> Result<Data, String> {
    let most = count.checked_mul(size_of::<i64>()).ok_or("the shape overflows")?;
    // One allocation that is tried stands for those below, none of which is larger.
    Vec::<u8>::new().try_reserve_exact(most).map_err(|_| format!("there are no {most} bytes for it"))?;
    fn each<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
        let fixed = |chunk: &[u8]| chunk.try_into().expect("chunks of the array's size");
        bytes.chunks_exact(N).map(|chunk| read(fixed(chunk))).collect()
    }
    let nibble = |i: usize| bytes[i / 2] >> (4 * (i % 2)) & 15;
    Ok(match dtype {
        DType::F64 => Data::F64(each(bytes, f64::from_le_bytes)),
        DType::F32 => Data::F32(each(bytes, f32::from_le_bytes)),
        DType::F16 => Data::F16(each(bytes, u16::from_le_bytes)),
        DType::BF16 => Data::BF16(each(bytes, u16::from_le_bytes)),
        DType::I64 => Data::I64(each(bytes, i64::from_le_bytes)),
        DType::I32 => Data::I32(each(bytes, i32::from_le_bytes)),
        DType::U32 => Data::I64(each(bytes, u32::from_le_bytes).into_iter().map(i64::from).collect()),
        DType::I16 => Data::I32(each(bytes, i16::from_le_bytes).into_iter().map(i32::from).collect()),
        DType::U16 => Data::I32(each(bytes, u16::from_le_bytes).into_iter().map(i32::from).collect()),
        DType::I8 => Data::I8(bytes.iter().map(|b| b.cast_signed()).collect()),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::Bool => Data::Bool(bytes.iter().map(|b| *b != 0).collect()),
        DType::U4 => Data::U8((0..count).map(nibble).collect()),
        DType::I4 => Data::I8((0..count).map(|i| (nibble(i) << 4).cast_signed() >> 4).collect()),
        DType::F8E4M3 => Data::F32(bytes.iter().map(|b| small_float(*b, 4, 3, 7)).collect()),
        DType::F8E5M2 => Data::F32(bytes.iter().map(|b| small_float(*b, 5, 2, 15)).collect()),
        DType::F8E8M0 => Data::F64(bytes.iter().map(|b| power(*b)).collect()),
        DType::F4E2M1 => Data::F32((0..count).map(|i| small_float(nibble(i), 2, 1, 1)).collect()),
        DType::C32 => return Err("complex tensors are not built yet".to_owned()),
    })
}

fn power(bits: u8) -> f64 {
    if bits == 255 { f64::NAN } else { 2.0_f64.powi(i32::from(bits) - 127) }
}

/// A float of up to 8 bits: sign, `exponent` bits, `mantissa` bits.
fn small_float(bits: u8, exponent: u32, mantissa: u32, bias: i32) -> f32 {
    let (e, m) = (bits >> mantissa & ((1 << exponent) - 1), bits & ((1 << mantissa) - 1));
    let negative = bits >> (exponent + mantissa) & 1 == 1;
    let top = (1_u8 << exponent) - 1;
    let fraction = f32::from(m) / 2.0_f32.powi(mantissa.cast_signed());
    let size = match (exponent, e, m) {
        (4, e, 7) if e == top => f32::NAN,
        (5, e, 0) if e == top => f32::INFINITY,
        (5, e, _) if e == top => f32::NAN,
        (_, 0, _) => fraction * 2.0_f32.powi(1 - bias),
        (_, e, _) => (1.0 + fraction) * 2.0_f32.powi(i32::from(e) - bias),
    };
    if negative { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::{Data, Value};
    use crate::dtype::DType;
    use crate::graph::Field;

    #[test]
    fn bytes_decode() {
        let value =
            |dtype, count, bytes: &[u8]| Value::from_bytes(dtype, vec![count], bytes).expect("decodes").to_floats();
        assert_eq!(value(DType::U4, 2, &[0x21]), [1.0, 2.0]);
        assert_eq!(value(DType::I4, 2, &[0xf1]), [1.0, -1.0]);
        assert_eq!(value(DType::F8E4M3, 3, &[0x38, 0x7e, 0x01]), [1.0, 448.0, 2.0_f64.powi(-9)]);
        assert_eq!(value(DType::F8E5M2, 2, &[0x3c, 0xfb]), [1.0, -57344.0]);
        assert_eq!(value(DType::F4E2M1, 2, &[0x17]), [6.0, 0.5]);
        assert_eq!(value(DType::BF16, 1, &[0x80, 0x3f]), [1.0]);
        assert!(Value::from_bytes(DType::F32, vec![2], &[0; 7]).is_err());
    }

    #[test]
    fn records_are_taken_apart() {
        let field = Field { of: "w".to_owned(), format: "q".to_owned(), offset: 1, record: 3, record_dim: 0 };
        let value = Value::from_records(DType::U8, vec![2, 2], &field, &[9, 1, 2, 9, 3, 4]).expect("decodes");
        assert_eq!(value.data, Data::U8(vec![1, 2, 3, 4]));
        assert!(Value::from_records(DType::U8, vec![3, 2], &field, &[9, 1, 2, 9, 3, 4]).is_err());
    }
}
