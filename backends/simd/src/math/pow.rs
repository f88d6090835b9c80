//! Powers and remainders of f32, computed in f64.
//!
//! In: two f32 of any lanes. Out: the same type. x^y = 2^(y log2 x) needs the logarithm to more bits than f32 has.

use super::number;
use crate::math::exp::exp2;
use crate::math::log::log2;
use crate::vir::{Builder, Elem, Val};

/// x to the power y of f32, with the special cases of IEEE 754 `pow`.
pub fn pow(b: &mut Builder, x: Val, y: Val) -> Val {
    let magnitude = b.abs(x);
    let wide = b.float_cast(magnitude, Elem::F64);
    let wide_y = b.float_cast(y, Elem::F64);
    let log = log2(b, wide);
    let product = b.mul(wide_y, log);
    let power = exp2(b, product);
    let value = b.float_cast(power, Elem::F32);
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

/// The remainder of x / y with the sign of x, exact for quotients below 2^52.
pub fn rem(b: &mut Builder, x: Val, y: Val) -> Val {
    let (a, c) = (b.abs(x), b.abs(y));
    let (a, c) = (b.float_cast(a, Elem::F64), b.float_cast(c, Elem::F64));
    let quotient = b.div(a, c);
    let whole = b.trunc(quotient);
    let opposite = b.neg(whole);
    let rest = b.fma(opposite, c, a);
    // The rounded quotient may be one too large.
    let zero = number(b, rest, 0.0);
    let is_negative = b.lt(rest, zero);
    let raised = b.add(rest, c);
    let rest = b.select(is_negative, raised, rest);
    let rest = b.float_cast(rest, Elem::F32);
    let value = super::with_sign(b, rest, x);
    // An infinite divisor leaves a finite x as it is.
    let infinity = number(b, x, f64::INFINITY);
    let (x_magnitude, y_magnitude) = (b.abs(x), b.abs(y));
    let is_infinite = b.eq(y_magnitude, infinity);
    let is_finite = b.lt(x_magnitude, infinity);
    let keeps = b.and(is_infinite, is_finite);
    b.select(keeps, x, value)
}
