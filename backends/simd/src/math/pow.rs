//! Powers.
//!
//! In: two f32 or f64 of any lanes. Out: the same type. x^y = 2^(y log2 x) needs the logarithm to more bits than the power has: of f32 it
//! is computed in f64, of f64 in pairs of f64 (Dekker 1971).

use super::number;
use crate::math::exp::{exp, exp2};
use crate::math::log::{log_pair, log2};
use crate::vir::{Builder, Elem, Val};

/// |x| to the power y of f32.
fn of_singles(b: &mut Builder, magnitude: Val, y: Val) -> Val {
    let wide = b.float_cast(magnitude, Elem::F64);
    let wide_y = b.float_cast(y, Elem::F64);
    let log = log2(b, wide);
    let product = b.mul(wide_y, log);
    let power = exp2(b, product);
    b.float_cast(power, Elem::F32)
}

/// |x| to the power y of f64.
fn of_doubles(b: &mut Builder, magnitude: Val, y: Val) -> Val {
    let (log, low) = log_pair(b, magnitude);
    let product = b.mul(y, log);
    let opposite = b.neg(product);
    let lost = b.fma(y, log, opposite);
    let lost = b.fma(y, low, lost);
    let power = exp(b, product);
    // exp(p + lost) = exp(p) (1 + lost); where p is not finite there is nothing to make good.
    let corrected = b.fma(power, lost, power);
    let size = b.abs(product);
    let infinity = number(b, product, f64::INFINITY);
    let (is_finite, is_power) = (b.lt(size, infinity), b.lt(power, infinity));
    let is_exact = b.and(is_finite, is_power);
    b.select(is_exact, corrected, power)
}

/// x to the power y, with the special cases of IEEE 754 `pow`.
pub fn pow(b: &mut Builder, x: Val, y: Val) -> Val {
    let magnitude = b.abs(x);
    let of = if b.ty(x).elem == Elem::F32 { of_singles } else { of_doubles };
    let value = of(b, magnitude, y);
    let value = sign_of_power(b, x, y, value);
    // 1^y and x^0 are 1, whatever the other is; (-1)^infinity is.
    let [zero, one, infinity] = [0.0, 1.0, f64::INFINITY].map(|value| number(b, x, value));
    let y_magnitude = b.abs(y);
    let is_infinite = b.eq(y_magnitude, infinity);
    let is_unit = b.eq(magnitude, one);
    let both = b.and(is_unit, is_infinite);
    let is_one = b.eq(x, one);
    let is_zeroth = b.eq(y, zero);
    let is_one = b.or(is_one, is_zeroth);
    let is_one = b.or(is_one, both);
    b.select(is_one, one, value)
}

/// The sign of x for odd y; NaN for negative x and a y that is no integer.
fn sign_of_power(b: &mut Builder, x: Val, y: Val, value: Val) -> Val {
    let [zero, one, half, infinity, nan] = [0.0, 1.0, 0.5, f64::INFINITY, f64::NAN].map(|value| number(b, x, value));
    let unit = super::with_sign(b, one, x);
    let y_half = b.mul(y, half);
    let y_half_whole = b.trunc(y_half);
    let is_not_even = b.ne(y_half, y_half_whole);
    let y_whole = b.trunc(y);
    let is_whole = b.eq(y, y_whole);
    let is_odd = b.and(is_not_even, is_whole);
    let opposite = b.neg(value);
    let is_left = b.lt(unit, zero);
    let flips = b.and(is_left, is_odd);
    let value = b.select(flips, opposite, value);
    let magnitude = b.abs(x);
    let is_finite = b.lt(magnitude, infinity);
    let is_negative = b.lt(x, zero);
    let is_fraction = b.not(is_whole);
    let fails = b.and(is_negative, is_fraction);
    let fails = b.and(fails, is_finite);
    b.select(fails, nan, value)
}
