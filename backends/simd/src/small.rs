//! Floats of 8 and 4 bits and integers of 4: from and to the computing type, by integer operations on whole vectors.
//!
//! In: bits as they lie in memory, or values. Out: values, or bits. Reading is exact. Writing rounds to nearest even; floats saturate, NaN
//! stays NaN where the type has one. A number of a small float is a half-precision number with fewer bits, times a power of
//! two: reading moves the bits in place and multiplies. Formats: OCP 8-bit floating point, OCP microscaling.

use crate::vir::{Builder, Elem, Val};
use sawmill_ir::dtype::DType;

/// A small float with a sign: bits of the mantissa, bias of the exponent, largest finite value.
struct Small {
    mantissa: i64,
    bias: i64,
    largest: f64,
}

fn small(dtype: DType) -> Option<Small> {
    match dtype {
        DType::F8E4M3 => Some(Small { mantissa: 3, bias: 7, largest: 448.0 }),
        DType::F8E5M2 => Some(Small { mantissa: 2, bias: 15, largest: 57344.0 }),
        DType::F4E2M1 => Some(Small { mantissa: 1, bias: 1, largest: 6.0 }),
        _ => None,
    }
}

/// The value of an 8-bit element, or of a 4-bit one in the low bits of its own byte; `None` for other types.
pub fn widen(b: &mut Builder, raw: Val, dtype: DType) -> Option<Val> {
    Some(match dtype {
        DType::F8E8M0 => power_of_two(b, raw),
        DType::F8E5M2 => {
            let bits = b.zext(raw, Elem::I32);
            let bits = shifted_left(b, bits, 8);
            let half = b.narrow(bits, Elem::I16);
            b.from_f16(half, Elem::F32)
        }
        DType::F8E4M3 => {
            let value = as_half(b, raw, 3, 4);
            let wide = b.zext(raw, Elem::I32);
            let seven = masked(b, wide, 0x7f);
            let nan = constant_like(b, seven, 0x7f);
            let is_nan = b.eq(seven, nan);
            let nan = b.float(b.ty(value), f64::NAN);
            b.select(is_nan, nan, value)
        }
        DType::F4E2M1 => as_half(b, raw, 1, 2),
        DType::U4 => b.zext(raw, Elem::I32),
        DType::I4 => {
            let wide = b.zext(raw, Elem::I32);
            let up = shifted_left(b, wide, 28);
            let by = constant_like(b, up, 28);
            b.shr(up, by)
        }
        _ => return None,
    })
}

/// The bits of a value in an 8-bit type, or of a 4-bit one in the low bits of a byte; `None` for other types.
pub fn narrow(b: &mut Builder, value: Val, dtype: DType) -> Option<Val> {
    if let Some(format) = small(dtype) {
        return Some(small_bits(b, value, &format, dtype));
    }
    Some(match dtype {
        DType::F8E8M0 => exponent_bits(b, value),
        DType::U4 | DType::I4 => {
            let low = masked(b, value, 15);
            b.narrow(low, Elem::I8)
        }
        _ => return None,
    })
}

/// The bits moved to where a half has them, as a half, times what the biases differ by.
fn as_half(b: &mut Builder, raw: Val, mantissa: i64, exponent: i64) -> Val {
    let bits = b.zext(raw, Elem::I32);
    let size = masked(b, bits, (1 << (mantissa + exponent)) - 1);
    let size = shifted_left(b, size, 10 - mantissa);
    let sign = masked(b, bits, 1 << (mantissa + exponent));
    let sign = shifted_left(b, sign, 15 - mantissa - exponent);
    let half = b.or(size, sign);
    let half = b.narrow(half, Elem::I16);
    let value = b.from_f16(half, Elem::F32);
    let bias = (1_i64 << (exponent - 1)) - 1;
    let scale = b.float(b.ty(value), 2.0_f64.powi(i32::try_from(15 - bias).unwrap_or(0)));
    b.mul(value, scale)
}

/// 2 to the power of the byte less 127; all ones are NaN.
fn power_of_two(b: &mut Builder, raw: Val) -> Val {
    let bits = b.zext(raw, Elem::I32);
    let normal = shifted_left(b, bits, 23);
    let zero = constant_like(b, bits, 0);
    let least = b.eq(bits, zero);
    let subnormal = constant_like(b, bits, 0x0040_0000);
    let power = b.select(least, subnormal, normal);
    let top = constant_like(b, bits, 255);
    let nan = constant_like(b, bits, i64::from(f32::NAN.to_bits()));
    let is_nan = b.eq(bits, top);
    let power = b.select(is_nan, nan, power);
    b.bitcast(power, b.ty(power).with_elem(Elem::F32))
}

fn small_bits(b: &mut Builder, value: Val, format: &Small, dtype: DType) -> Val {
    let Small { mantissa, bias, largest } = *format;
    let ty = b.ty(value);
    let ints = ty.with_elem(Elem::I32);
    let bits = b.bitcast(value, ints);
    let magnitude = masked(b, bits, 0x7fff_ffff);
    let size = b.bitcast(magnitude, ty);
    let largest = b.float(ty, largest);
    let size = b.min(size, largest);
    // A normal result: adds half of what is cut off, ties to even, and moves the exponent.
    let cut = 23 - mantissa;
    let whole = b.bitcast(size, ints);
    let by = constant_like(b, whole, cut);
    let kept = b.ushr(whole, by);
    let odd = masked(b, kept, 1);
    let half = constant_like(b, whole, (1 << (cut - 1)) - 1);
    let rounded = b.add(whole, half);
    let rounded = b.add(rounded, odd);
    let rounded = b.ushr(rounded, by);
    let moved = constant_like(b, whole, (127 - bias) << mantissa);
    let normal = b.sub(rounded, moved);
    // A subnormal one: adding a power of two rounds to multiples of the smallest number.
    let step = i32::try_from(1 - bias - mantissa).unwrap_or(0);
    let magic = 2.0_f64.powi(step + 23);
    let shift = b.float(ty, magic);
    let sum = b.add(size, shift);
    let sum = b.bitcast(sum, ints);
    let base = constant_like(b, sum, i64::from((magic as f32).to_bits()));
    let subnormal = b.sub(sum, base);
    let limit = b.float(ty, 2.0_f64.powi(i32::try_from(1 - bias).unwrap_or(0)));
    let is_small = b.lt(size, limit);
    let code = b.select(is_small, subnormal, normal);
    let place = if dtype == DType::F4E2M1 { 3 } else { 7 };
    let by = constant_like(b, bits, 31 - place);
    let sign = b.ushr(bits, by);
    let sign = masked(b, sign, 1 << place);
    let code = b.or(code, sign);
    let is_nan = b.ne(value, value);
    // Four bits have no NaN: what comes of one is the largest number.
    let nan = constant_like(b, code, if dtype == DType::F4E2M1 { 7 } else { 0x7f });
    let code = b.select(is_nan, nan, code);
    b.narrow(code, Elem::I8)
}

/// The nearest power of two as its exponent: half way goes up, zero and what is negative to the least.
fn exponent_bits(b: &mut Builder, value: Val) -> Val {
    let bits = b.bitcast(value, b.ty(value).with_elem(Elem::I32));
    let half = constant_like(b, bits, 0x0040_0000);
    let rounded = b.add(bits, half);
    let by = constant_like(b, bits, 23);
    let code = b.ushr(rounded, by);
    let most = constant_like(b, bits, 254);
    let code = b.min(code, most);
    let least = constant_like(b, bits, 0x0060_0000);
    let is_least = b.lt(bits, least);
    let zero = constant_like(b, bits, 0);
    let code = b.select(is_least, zero, code);
    let is_nan = b.ne(value, value);
    let nan = constant_like(b, bits, 255);
    let code = b.select(is_nan, nan, code);
    b.narrow(code, Elem::I8)
}

fn constant_like(b: &mut Builder, value: Val, bits: i64) -> Val {
    let ty = b.ty(value);
    b.int(ty, bits)
}
fn masked(b: &mut Builder, value: Val, bits: i64) -> Val {
    let mask = constant_like(b, value, bits);
    b.and(value, mask)
}
fn shifted_left(b: &mut Builder, value: Val, by: i64) -> Val {
    let by = constant_like(b, value, by);
    b.shl(value, by)
}
