//! Arithmetic of the language on single values: floats in f64, integers in i64 wrapped to their width.
//!
//! In: values of one element. Out: values. Rounding to a storage type is to nearest even; 8- and 4-bit floats saturate.
//! Division and remainder of integers are Euclidean. NaN propagates through `min` and `max`.

use crate::dtype::{DType, Kind};
use crate::elem::{ElemOp, ReduceOp};
use crate::index::{div_euclid, rem_euclid};

/// A binary float format: explicit mantissa bits, exponent of the smallest normal number, largest finite value, and whether
/// values beyond become infinite.
struct FloatFormat {
    mantissa: i32,
    min_exponent: i32,
    largest: f64,
    infinite: bool,
}

fn float_format(dtype: DType) -> Option<FloatFormat> {
    let (mantissa, min_exponent, largest, infinite) = match dtype {
        DType::F16 => (10, -14, 65504.0, true),
        DType::BF16 => (7, -126, 3.389_531_389_251_535_5e38, true),
        DType::F8E4M3 => (3, -6, 448.0, false),
        DType::F8E5M2 => (2, -14, 57344.0, false),
        DType::F4E2M1 => (1, 0, 6.0, false),
        DType::F8E8M0 => (0, -127, 1.701_411_834_604_692_3e38, false),
        _ => return None,
    };
    Some(FloatFormat { mantissa, min_exponent, largest, infinite })
}

/// `value` rounded to the float type `dtype`, to nearest even.
pub fn round_float(dtype: DType, value: f64) -> f64 {
    let Some(format) = float_format(dtype) else {
        return if dtype == DType::F32 { f64::from(value as f32) } else { value };
    };
    if value.is_nan() {
        return value;
    }
    if dtype == DType::F8E8M0 && value < 5.877_471_754_111_438e-39 {
        return 5.877_471_754_111_438e-39;
    }
    if value == 0.0 {
        return value;
    }
    // An infinity of a type whose steps are as large as its numbers has no step.
    if value.is_infinite() && !format.infinite {
        return format.largest.copysign(value);
    }
    let exponent = exponent_of(value).max(format.min_exponent);
    let step = power_of_two(exponent - format.mantissa);
    let rounded = (value / step).round_ties_even() * step;
    if rounded.abs() > format.largest {
        let beyond = if format.infinite { f64::INFINITY } else { format.largest };
        return beyond.copysign(value);
    }
    rounded
}

/// The exponent of a finite or infinite non-zero value: `2^e <= |value| < 2^(e + 1)` for normal ones.
fn exponent_of(value: f64) -> i32 {
    let biased = i32::try_from(value.to_bits() >> 52 & 0x7ff).unwrap_or(0);
    biased - 1023
}

fn power_of_two(exponent: i32) -> f64 {
    2.0_f64.powi(exponent)
}

/// `value` wrapped to the width of the integer type `dtype`.
pub(super) fn wrap_int(dtype: DType, value: i64) -> i64 {
    let unused = 64 - dtype.bits().min(64);
    if dtype.kind() == Kind::Unsigned {
        ((value.cast_unsigned() << unused) >> unused).cast_signed()
    } else {
        (value << unused) >> unused
    }
}

/// `value` saturated to the range of the integer type `dtype`.
pub(super) fn saturate_int(dtype: DType, value: i64) -> i64 {
    let (low, high) = dtype.int_bounds().unwrap_or((i64::MIN, i64::MAX));
    value.clamp(low, high)
}

/// Float to integer: truncates and saturates; NaN is 0.
pub(super) fn float_to_int(dtype: DType, value: f64) -> i64 {
    saturate_int(dtype, value as i64)
}

/// An elementwise operation of one float.
pub(super) fn float_unary(op: ElemOp, x: f64) -> f64 {
    match op {
        ElemOp::Neg => -x,
        ElemOp::Abs => x.abs(),
        ElemOp::Sign => sign(x),
        ElemOp::Exp => x.exp(),
        ElemOp::Exp2 => x.exp2(),
        ElemOp::Expm1 => x.exp_m1(),
        ElemOp::Log => x.ln(),
        ElemOp::Log2 => x.log2(),
        ElemOp::Log1p => x.ln_1p(),
        ElemOp::Sqrt => x.sqrt(),
        ElemOp::Rsqrt => 1.0 / x.sqrt(),
        ElemOp::Recip => 1.0 / x,
        ElemOp::Tanh => x.tanh(),
        ElemOp::Sigmoid => sigmoid(x),
        ElemOp::LogSigmoid => -softplus(-x),
        ElemOp::Silu => x * sigmoid(x),
        ElemOp::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        ElemOp::Relu => maximum(x, 0.0),
        ElemOp::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp_m1()
            }
        }
        ElemOp::Softplus => softplus(x),
        ElemOp::Sin => x.sin(),
        ElemOp::Cos => x.cos(),
        ElemOp::Tan => x.tan(),
        ElemOp::Erf => erf(x),
        ElemOp::Floor => x.floor(),
        ElemOp::Round => x.round_ties_even(),
        ElemOp::Fract => x - x.floor(),
        _ => f64::NAN,
    }
}

fn sign(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { 1.0_f64.copysign(x) }
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

fn softplus(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
}

/// Larger of two; NaN propagates.
pub(super) fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Smaller of two; NaN propagates.
pub(super) fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// The error function: a series of positive terms near 0, a continued fraction of the complement beyond
/// (Abramowitz and Stegun 7.1.6, 7.1.14).
fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size.is_nan() {
        return x;
    }
    let value = if size > 6.0 {
        1.0
    } else if size < 3.0 {
        let (mut term, mut sum, mut odd) = (size, size, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= 2.0 * size * size / odd;
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-size * size).exp() * sum
    } else {
        let tail = (1..=60).rev().fold(size, |below, k| size + f64::from(k) * 0.5 / below);
        1.0 - (-size * size).exp() / (tail * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

/// An elementwise operation of two floats that gives a float.
pub(super) fn float_binary(op: ElemOp, a: f64, b: f64) -> f64 {
    match op {
        ElemOp::Add => a + b,
        ElemOp::Mul => a * b,
        ElemOp::Sub => a - b,
        ElemOp::Div => a / b,
        ElemOp::Rem => a % b,
        ElemOp::Min => minimum(a, b),
        ElemOp::Max => maximum(a, b),
        ElemOp::Pow => a.powf(b),
        ElemOp::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

/// An elementwise operation of one integer of type `dtype`.
pub(super) fn int_unary(op: ElemOp, dtype: DType, x: i64) -> i64 {
    let bits = wrap_int(dtype, x).cast_unsigned() << (64 - dtype.bits());
    match op {
        ElemOp::Neg => wrap_int(dtype, x.wrapping_neg()),
        ElemOp::Abs => wrap_int(dtype, x.wrapping_abs()),
        ElemOp::Sign => x.signum(),
        ElemOp::Relu => x.max(0),
        ElemOp::Popcount => i64::from(bits.count_ones()),
        ElemOp::BitLength => crate::index::bit_length(x),
        _ => 0,
    }
}

/// An elementwise operation of two integers of type `dtype` that gives an integer.
pub(super) fn int_binary(op: ElemOp, dtype: DType, a: i64, b: i64) -> i64 {
    let width = i64::from(dtype.bits());
    let value = match op {
        ElemOp::Add => a.wrapping_add(b),
        ElemOp::Mul => a.wrapping_mul(b),
        ElemOp::Sub => a.wrapping_sub(b),
        ElemOp::Div => div_euclid(a, b),
        ElemOp::Rem => rem_euclid(a, b),
        ElemOp::Min => a.min(b),
        ElemOp::Max => a.max(b),
        ElemOp::BitAnd => a & b,
        ElemOp::BitOr => a | b,
        ElemOp::BitXor => a ^ b,
        ElemOp::Shl if (0..width).contains(&b) => a << b,
        ElemOp::Shr if (0..width).contains(&b) => a >> b,
        ElemOp::Shr if a < 0 => -1,
        _ => 0,
    };
    wrap_int(dtype, value)
}

/// Whether a comparison holds, given how its operands are ordered (`None` if one is NaN).
pub(super) fn compare(op: ElemOp, order: Option<std::cmp::Ordering>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match op {
        ElemOp::Eq => order == Some(Equal),
        ElemOp::Ne => order != Some(Equal),
        ElemOp::Lt => order == Some(Less),
        ElemOp::Le => matches!(order, Some(Less | Equal)),
        ElemOp::Gt => order == Some(Greater),
        ElemOp::Ge => matches!(order, Some(Greater | Equal)),
        _ => false,
    }
}

/// The value of a float reduction of nothing.
pub(super) fn float_identity(op: ReduceOp) -> f64 {
    match op {
        ReduceOp::Prod => 1.0,
        ReduceOp::Max | ReduceOp::LogSumExp => f64::NEG_INFINITY,
        ReduceOp::Min => f64::INFINITY,
        _ => 0.0,
    }
}

/// The value of an integer reduction of nothing, in the type `dtype`.
pub(super) fn int_identity(op: ReduceOp, dtype: DType) -> i64 {
    match op {
        ReduceOp::Prod => 1,
        ReduceOp::Max => saturate_int(dtype, i64::MIN),
        ReduceOp::Min => saturate_int(dtype, i64::MAX),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{erf, float_to_int, int_binary, int_unary, round_float, wrap_int};
    use crate::dtype::DType;
    use crate::elem::ElemOp;

    #[test]
    fn rounding_agrees_with_an_independent_conversion() {
        let mut bits = 1_u32;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(bits);
            if value.is_nan() {
                continue;
            }
            let (x, half) = (f64::from(value), half::f16::from_f32(value).to_f64());
            assert_eq!(round_float(DType::F16, x), half, "{value}");
            assert_eq!(round_float(DType::BF16, x), half::bf16::from_f32(value).to_f64(), "{value}");
        }
    }

    #[test]
    fn small_floats_round_to_even_and_saturate() {
        let cases = [(2.5, 2.0), (3.5, 4.0), (0.25, 0.0), (0.75, 1.0), (5.0, 4.0), (7.0, 6.0), (-100.0, -6.0)];
        cases.into_iter().for_each(|(x, y)| assert_eq!(round_float(DType::F4E2M1, x), y, "{x}"));
        assert_eq!(round_float(DType::F8E4M3, 1e9), 448.0);
        assert_eq!(round_float(DType::F8E4M3, 17.0), 16.0);
        assert_eq!(round_float(DType::F8E4M3, 19.0), 20.0);
        assert_eq!(round_float(DType::F8E5M2, f64::INFINITY), 57344.0);
        assert_eq!(round_float(DType::F8E8M0, 3.1), 4.0);
        assert_eq!(round_float(DType::F8E8M0, f64::INFINITY), 2.0_f64.powi(127));
        assert_eq!(round_float(DType::F8E5M2, f64::NEG_INFINITY), -57344.0);
        // 1 + 2^-11 + 2^-40 lies above the tie: a conversion through f32 would miss it.
        assert_eq!(round_float(DType::F16, 1.0 + 2.0_f64.powi(-11) + 2.0_f64.powi(-40)), 1.0 + 2.0_f64.powi(-10));
    }

    #[test]
    fn erf_has_its_published_values() {
        let table = [
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
        ];
        for (x, y) in table {
            assert!((erf(x) - y).abs() < 1e-15 && (erf(-x) + y).abs() < 1e-15, "{x}: {}", erf(x));
        }
    }

    #[test]
    fn integers_wrap_and_divide_as_the_language_says() {
        assert_eq!(int_binary(ElemOp::Add, DType::I32, i64::from(i32::MAX), 1), i64::from(i32::MIN));
        assert_eq!(int_binary(ElemOp::Div, DType::I32, -1, 4), -1);
        assert_eq!(int_binary(ElemOp::Rem, DType::I32, -1, 4), 3);
        assert_eq!(int_binary(ElemOp::Div, DType::I64, 7, 0), 0);
        assert_eq!(int_binary(ElemOp::Rem, DType::I64, 7, 0), 7);
        assert_eq!(int_binary(ElemOp::Shr, DType::I32, -8, 1), -4);
        assert_eq!(int_binary(ElemOp::Sub, DType::U32, 0, 1), i64::from(u32::MAX));
        assert_eq!(int_unary(ElemOp::Popcount, DType::I32, -1), 32);
        assert_eq!(wrap_int(DType::U8, 257), 1);
        assert_eq!(float_to_int(DType::I32, f64::NAN), 0);
        assert_eq!(float_to_int(DType::I32, 1e20), i64::from(i32::MAX));
        assert_eq!(float_to_int(DType::U32, -3.5), 0);
    }
}
