//! How tensors lie in memory: codes of small types, strides, sizes. Rows of elements that share bytes are whole bytes.
//!
//! In: an element type, a shape, a value. Out: bytes.

use sawmill_ir::dtype::DType;
use sawmill_ir::graph::interp::Value;

/// The bits of a value that the type has exactly.
pub(super) fn code(dtype: DType, value: f64) -> Result<u8, String> {
    let codes = 0..=if dtype == DType::F4E2M1 { 15 } else { 255_u8 };
    let is_it = |code: &u8| {
        let one = Value::from_bytes(dtype, vec![1], &[*code]).expect("one element").to_floats()[0];
        one.to_bits() == value.to_bits() || one.is_nan() && value.is_nan()
    };
    codes.into_iter().find(is_it).ok_or_else(|| format!("{dtype} has no {value}"))
}

/// The bytes of a dense tensor, in a pattern that shows elements that were never written.
pub(super) fn unwritten(dtype: DType, shape: &[usize]) -> Vec<u8> {
    let whole = strides(dtype, shape);
    let size = match (shape, whole.as_slice()) {
        ([], _) | (_, []) => dtype.bits().div_ceil(8) as usize,
        ([last], _) if dtype.bits() < 8 => last.div_ceil(2),
        ([first, ..], [stride, ..]) => shape.iter().product::<usize>().min(1) * *first * *stride as usize,
    };
    vec![0x5a; size]
}

/// Byte distances of a dense row-major tensor; of four-bit elements, those of the last axis are distances of pairs.
pub(super) fn strides(dtype: DType, shape: &[usize]) -> Vec<i64> {
    let mut distance = i64::from(dtype.bits().div_ceil(8));
    let mut strides = Vec::new();
    for (at, size) in shape.iter().rev().enumerate() {
        strides.push(distance);
        let size = if at == 0 && dtype.bits() < 8 { size.div_ceil(2) } else { *size };
        distance *= size.max(1) as i64;
    }
    strides.reverse();
    strides
}
