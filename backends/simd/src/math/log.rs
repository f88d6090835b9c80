//! The logarithms, and the soft maximum with 0.
//!
//! In: f32 or f64 of any lanes. Out: the same type. x = 2^e m with m in [sqrt(1/2), sqrt(2)), f = m - 1;
//! log(x) = e ln 2 + log(1 + f), with ln 2 in two parts of which the first times e is exact. f32: a polynomial in f;
//! f64: the series in s = f / (2 + f) (as in Sun's fdlibm).

use super::{bits_type, number, polynomial};
use crate::math::exp::exp;
use crate::vir::{Builder, Elem, Type, Val};

/// Numbers of one float format.
struct Format {
    fraction: i64,
    /// Least normal number, and a power of two that makes the rest normal.
    least_normal: f64,
    lift: f64,
    /// Exponent of the lift.
    lift_exponent: f64,
    /// Bits of sqrt(1/2).
    root_half: i64,
    ln_2: [f64; 2],
}

const F32: Format = Format {
    fraction: 23,
    least_normal: f32::MIN_POSITIVE as f64,
    lift: 8_388_608.0,
    lift_exponent: 23.0,
    root_half: 0x3f35_04f3,
    ln_2: [0.693_359_375, -0.000_212_194_440_054_690_57],
};

const F64: Format = Format {
    fraction: 52,
    least_normal: f64::MIN_POSITIVE,
    lift: 4_503_599_627_370_496.0,
    lift_exponent: 52.0,
    root_half: 0x3fe6_a09e_667f_3bcd,
    ln_2: [0.693_147_180_369_123_8, 1.908_214_929_270_588e-10],
};

/// (log(1 + f) - f + f^2 / 2) / f^3.
const LOG_F32: [f64; 9] = [
    0.33333312605269544,
    -0.2500000960164159,
    0.20002118627506985,
    -0.16667995779906308,
    0.14219552537238567,
    -0.12405589600164546,
    0.11888162885428051,
    -0.11675650702071909,
    0.06746637556252617,
];

/// The series of log((1 + s) / (1 - s)) / s - 2 in s^2, without its factor s^2.
const LOG_F64: [f64; 11] = twice_reciprocals(3.0);

/// What follows 2 / 3 in the same series, to more places.
const LOG_PAIR: [f64; 12] = twice_reciprocals(5.0);

/// 2 over `first` and the odd numbers that follow.
const fn twice_reciprocals<const N: usize>(first: f64) -> [f64; N] {
    let mut quotients = [0.0; N];
    let mut at = 0;
    while at < N {
        quotients[at] = 2.0 / (first + 2.0 * at as f64);
        at += 1;
    }
    quotients
}

/// 2 / 3 in two parts.
const TWO_THIRDS: [f64; 2] = [2.0 / 3.0, 3.700743415417188e-17];

/// e, f and log(1 + f) - f of a positive finite number.
struct Parts {
    e: Val,
    f: Val,
    rest: Val,
}

fn format(ty: Type) -> &'static Format {
    if ty.elem == Elem::F32 { &F32 } else { &F64 }
}

fn split(b: &mut Builder, x: Val) -> Parts {
    let (e, f) = exponent_and_fraction(b, x);
    let rest = if b.ty(x).elem == Elem::F32 { rest_f32(b, f) } else { rest_f64(b, f) };
    Parts { e, f, rest }
}

/// e and f of a positive finite number.
fn exponent_and_fraction(b: &mut Builder, x: Val) -> (Val, Val) {
    let ty = b.ty(x);
    let format = format(ty);
    let bits = bits_type(ty);
    let [least, lift, lifted_by, zero, one] =
        [format.least_normal, format.lift, format.lift_exponent, 0.0, 1.0].map(|value| number(b, x, value));
    let is_small = b.lt(x, least);
    let lifted = b.mul(x, lift);
    let x = b.select(is_small, lifted, x);
    let correction = b.select(is_small, lifted_by, zero);
    let x_bits = b.bitcast(x, bits);
    let root_half = b.int(bits, format.root_half);
    let above = b.sub(x_bits, root_half);
    let count = b.int(bits, format.fraction);
    let exponent = b.shr(above, count);
    let shifted = b.shl(exponent, count);
    let m_bits = b.sub(x_bits, shifted);
    let m = b.bitcast(m_bits, ty);
    let f = b.sub(m, one);
    let e = b.sint_to_float(exponent, ty.elem);
    (b.sub(e, correction), f)
}

fn rest_f32(b: &mut Builder, f: Val) -> Val {
    let square = b.mul(f, f);
    let cube = b.mul(square, f);
    let p = polynomial(b, f, &LOG_F32);
    let p = b.mul(p, cube);
    let minus_half = number(b, f, -0.5);
    b.fma(square, minus_half, p)
}

/// log(1 + f) - f = s (f^2 / 2 + R(s^2)) - f^2 / 2.
fn rest_f64(b: &mut Builder, f: Val) -> Val {
    let [two, half] = [2.0, 0.5].map(|value| number(b, f, value));
    let sum = b.add(f, two);
    let s = b.div(f, sum);
    let z = b.mul(s, s);
    let series = polynomial(b, z, &LOG_F64);
    let series = b.mul(series, z);
    let half_f = b.mul(f, half);
    let half_square = b.mul(half_f, f);
    let both = b.add(half_square, series);
    let product = b.mul(s, both);
    b.sub(product, half_square)
}

/// NaN below 0, -infinity at 0, infinity and NaN as they are.
fn settle(b: &mut Builder, x: Val, value: Val) -> Val {
    let [zero, infinity, least, nan] =
        [0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(|value| number(b, x, value));
    let is_finite = b.lt(x, infinity);
    let value = b.select(is_finite, value, x);
    let is_negative = b.lt(x, zero);
    let value = b.select(is_negative, nan, value);
    let is_zero = b.eq(x, zero);
    b.select(is_zero, least, value)
}

/// Natural logarithm of a positive finite number.
fn log_of_positive(b: &mut Builder, x: Val) -> Val {
    let parts = split(b, x);
    let [high, low] = format(b.ty(x)).ln_2.map(|part| number(b, x, part));
    let rest = b.fma(parts.e, low, parts.rest);
    let value = b.add(parts.f, rest);
    b.fma(parts.e, high, value)
}

/// Natural logarithm.
pub fn log(b: &mut Builder, x: Val) -> Val {
    let value = log_of_positive(b, x);
    settle(b, x, value)
}

/// Natural logarithm of an f64 that is not negative, in two parts of together about 65 bits; the first alone where it is not finite.
pub(super) fn log_pair(b: &mut Builder, x: Val) -> (Val, Val) {
    let (e, f) = exponent_and_fraction(b, x);
    let (large, small) = log_of_fraction(b, f);
    let [ln_2, ln_2_low] = F64.ln_2.map(|part| number(b, x, part));
    let whole = b.mul(e, ln_2);
    let small = b.fma(e, ln_2_low, small);
    // Where e is 0 so is `whole`; otherwise it is the larger one.
    let sum = b.add(whole, large);
    let kept = b.sub(sum, whole);
    let lost = b.sub(large, kept);
    let small = b.add(lost, small);
    // The product of e and what ln 2 is cut by is not small enough yet.
    let value = b.add(sum, small);
    let kept = b.sub(value, sum);
    let low = b.sub(small, kept);
    (settle(b, x, value), low)
}

/// log(1 + f) = 2 s + s^3 (2/3 + 2/5 s^2 + ..) for s = f / (2 + f), with the first terms in pairs.
fn log_of_fraction(b: &mut Builder, f: Val) -> (Val, Val) {
    let [two, third, third_low] = [2.0, TWO_THIRDS[0], TWO_THIRDS[1]].map(|value| number(b, f, value));
    let divisor = b.add(two, f);
    let kept = b.sub(divisor, two);
    let divisor_low = b.sub(f, kept);
    let s = b.div(f, divisor);
    let opposite = b.neg(s);
    let rest = b.fma(opposite, divisor, f);
    let rest = b.fma(opposite, divisor_low, rest);
    let s_low = b.div(rest, divisor);
    let (z, z_low) = product(b, s, s);
    let cross = b.mul(s, s_low);
    let z_low = b.fma(cross, two, z_low);
    let series = polynomial(b, z, &LOG_PAIR);
    let series = b.mul(series, z);
    let p = b.add(third, series);
    let kept = b.sub(p, third);
    let p_low = b.sub(series, kept);
    let p_low = b.add(p_low, third_low);
    let (t, t_low) = product(b, z, p);
    let t_low = b.fma(z, p_low, t_low);
    let t_low = b.fma(z_low, p, t_low);
    let (w, w_low) = product(b, s, t);
    let w_low = b.fma(s, t_low, w_low);
    let w_low = b.fma(s_low, t, w_low);
    let double = b.add(s, s);
    let value = b.add(double, w);
    let kept = b.sub(value, double);
    let lost = b.sub(w, kept);
    let lost = b.add(lost, w_low);
    (value, b.fma(s_low, two, lost))
}

/// A product and what it was rounded by.
fn product(b: &mut Builder, x: Val, y: Val) -> (Val, Val) {
    let value = b.mul(x, y);
    let opposite = b.neg(value);
    (value, b.fma(x, y, opposite))
}

/// Logarithm to base 2.
pub fn log2(b: &mut Builder, x: Val) -> Val {
    let parts = split(b, x);
    let log2e = number(b, x, std::f64::consts::LOG2_E);
    let value = b.add(parts.f, parts.rest);
    let value = b.fma(value, log2e, parts.e);
    settle(b, x, value)
}

/// log(1 + x), with small relative error around 0 too: what 1 + x loses comes back as a quotient.
pub fn log1p(b: &mut Builder, x: Val) -> Val {
    let value = log1p_of_finite(b, x);
    let [minus_one, infinity, least, nan] =
        [-1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(|value| number(b, x, value));
    let is_finite = b.lt(x, infinity);
    let value = b.select(is_finite, value, x);
    let is_outside = b.lt(x, minus_one);
    let value = b.select(is_outside, nan, value);
    let is_pole = b.eq(x, minus_one);
    b.select(is_pole, least, value)
}

fn log1p_of_finite(b: &mut Builder, x: Val) -> Val {
    let one = number(b, x, 1.0);
    let u = b.add(one, x);
    let value = log_of_positive(b, u);
    // Of the two terms of u the smaller one has lost bits.
    let is_large = b.gt(x, one);
    let over_one = b.sub(u, one);
    let lost_of_x = b.sub(x, over_one);
    let over_x = b.sub(u, x);
    let lost_of_one = b.sub(one, over_x);
    let lost = b.select(is_large, lost_of_one, lost_of_x);
    let correction = b.div(lost, u);
    let value = b.add(value, correction);
    // Keeps the sign of 0.
    let zero = number(b, x, 0.0);
    let is_zero = b.eq(x, zero);
    b.select(is_zero, x, value)
}

/// log(1 + exp(-|x|)).
fn softplus_rest(b: &mut Builder, x: Val) -> Val {
    let magnitude = b.abs(x);
    let opposite = b.neg(magnitude);
    let e = exp(b, opposite);
    log1p_of_finite(b, e)
}

/// log(1 + exp(x)).
pub fn softplus(b: &mut Builder, x: Val) -> Val {
    let rest = softplus_rest(b, x);
    let zero = number(b, x, 0.0);
    let above = b.max(x, zero);
    b.add(above, rest)
}

/// log(sigmoid(x)).
pub fn logsigmoid(b: &mut Builder, x: Val) -> Val {
    let rest = softplus_rest(b, x);
    let zero = number(b, x, 0.0);
    let below = b.min(x, zero);
    b.sub(below, rest)
}
