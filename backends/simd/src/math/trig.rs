//! Sine, cosine, tangent and the angle of a point.
//!
//! In: f32 or f64 of any lanes. Out: the same type. The argument less quarter turns is [`super::turns`]'s; a polynomial from there on. The
//! arc tangent of f64 is reduced once more, by an eighth of a turn. Greatest errors in f64 are in the table of [`crate::math`].

use super::turns::{Rest, of_double, of_single};
use super::{number, polynomial, with_sign};
use crate::vir::{Builder, Elem, Val};

/// (sin(r) - r) / r^3 in r^2.
const SIN: [f64; 3] = [-0.1666665487335786, 0.008332173540391377, -0.00019516655590065513];

/// The same series for f64.
const SIN_F64: [f64; 8] = [
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5_040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 1_307_674_368_000.0,
    1.0 / 355_687_428_096_000.0,
];

/// (cos(r) - 1 + r^2 / 2) / r^4 in r^2.
const COS: [f64; 3] = [0.041666646747889245, -0.001388736145284247, 2.4437730185153505e-05];

/// The same series for f64.
const COS_F64: [f64; 7] = [
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40_320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 20_922_789_888_000.0,
];

/// (atan(t) - t) / t^3 in t^2.
const ATAN: [f64; 9] = [
    -0.33333299090837115,
    0.19998548331601576,
    -0.14264242093032622,
    0.10952187552423284,
    -0.08403454708189319,
    0.057957658410540715,
    -0.031177902825173177,
    0.010914633085993124,
    -0.0017936272152430167,
];

/// The same for f64 and t up to tan(pi/8).
const ATAN_F64: [f64; 12] = [
    -0.3333333333333333,
    0.19999999999999815,
    -0.14285714285662468,
    0.11111111105394118,
    -0.0909090876456831,
    0.07692296674565413,
    -0.06666429941458123,
    0.05878983816187854,
    -0.052308361893353,
    0.04553245773546429,
    -0.03461097800636004,
    0.016328447249635537,
];

/// tan(pi/8).
const EIGHTH: f64 = 0.414_213_562_373_095_03;

/// The sine and cosine of the reduced argument, and the number of quarter turns (an integer as wide as the float).
struct Quarter {
    sin: Val,
    cos: Val,
    turns: Val,
}

fn reduce(b: &mut Builder, x: Val) -> Quarter {
    if b.ty(x).elem == Elem::F64 {
        let rest = of_double(b, x);
        return pair_f64(b, &rest);
    }
    let wide = b.float_cast(x, Elem::F64);
    let rest = of_single(b, wide);
    let turns = b.narrow(rest.turns, Elem::I32);
    let r = b.float_cast(rest.high, Elem::F32);
    let square = b.mul(r, r);
    let cube = b.mul(square, r);
    let p = polynomial(b, square, &SIN);
    let sin = b.fma(p, cube, r);
    let [one, minus_half] = [1.0, -0.5].map(|value| number(b, x, value));
    let p = polynomial(b, square, &COS);
    let p = b.fma(p, square, minus_half);
    let cos = b.fma(p, square, one);
    Quarter { sin, cos, turns }
}

/// Sine and cosine of an angle in two parts.
fn pair_f64(b: &mut Builder, rest: &Rest) -> Quarter {
    let Rest { high: r, low, turns } = *rest;
    let [one, half] = [1.0, 0.5].map(|value| number(b, r, value));
    let square = b.mul(r, r);
    let cube = b.mul(square, r);
    let half_square = b.mul(square, half);
    // The derivatives take the low part: cos(r) for the sine, -sin(r) for the cosine.
    let near_cos = b.sub(one, half_square);
    let tail = b.mul(low, near_cos);
    let p = polynomial(b, square, &SIN_F64);
    let tail = b.fma(p, cube, tail);
    let sin = b.add(r, tail);
    let lost = b.sub(one, near_cos);
    let lost = b.sub(lost, half_square);
    let opposite = b.neg(r);
    let tail = b.fma(opposite, low, lost);
    let p = polynomial(b, square, &COS_F64);
    let fourth = b.mul(square, square);
    let tail = b.fma(p, fourth, tail);
    let cos = b.add(near_cos, tail);
    Quarter { sin, cos, turns }
}

/// The sine of a reduced argument plus `quarters` quarter turns; NaN where `x` is not finite.
fn sine(b: &mut Builder, x: Val, parts: &Quarter, quarters: i64) -> Val {
    let ty = b.ty(parts.turns);
    let to_sign = i64::from(ty.elem.bits()) - 2;
    let [quarters, one, two, to_sign, zero] = [quarters, 1, 2, to_sign, 0].map(|value| b.int(ty, value));
    let turns = b.add(parts.turns, quarters);
    let odd = b.and(turns, one);
    let is_odd = b.ne(odd, zero);
    let value = b.select(is_odd, parts.cos, parts.sin);
    let half_turn = b.and(turns, two);
    let sign = b.shl(half_turn, to_sign);
    let bits = b.bitcast(value, ty);
    let bits = b.xor(bits, sign);
    let float = b.ty(x);
    let value = b.bitcast(bits, float);
    let magnitude = b.abs(x);
    let [infinity, nan] = [f64::INFINITY, f64::NAN].map(|value| number(b, x, value));
    let is_finite = b.lt(magnitude, infinity);
    b.select(is_finite, value, nan)
}

/// Sine.
pub fn sin(b: &mut Builder, x: Val) -> Val {
    let parts = reduce(b, x);
    let value = sine(b, x, &parts, 0);
    // The reduction loses the sign of 0.
    let zero = number(b, x, 0.0);
    let is_zero = b.eq(x, zero);
    b.select(is_zero, x, value)
}

/// Cosine.
pub fn cos(b: &mut Builder, x: Val) -> Val {
    let parts = reduce(b, x);
    sine(b, x, &parts, 1)
}

/// Tangent.
pub fn tan(b: &mut Builder, x: Val) -> Val {
    let parts = reduce(b, x);
    let (sin, cos) = (sine(b, x, &parts, 0), sine(b, x, &parts, 1));
    let value = b.div(sin, cos);
    let zero = number(b, x, 0.0);
    let is_zero = b.eq(x, zero);
    b.select(is_zero, x, value)
}

/// The arc tangent of low / high, both not negative and low the lesser; 0 of two zeros, an eighth of a turn of two infinities.
fn arc(b: &mut Builder, low: Val, high: Val) -> Val {
    let [zero, one, infinity] = [0.0, 1.0, f64::INFINITY].map(|value| number(b, low, value));
    let is_double = b.ty(low).elem == Elem::F64;
    let is_corner = b.eq(low, infinity);
    let (mut above, mut below) = (low, high);
    let mut start = None;
    if is_double {
        // Beyond pi/8: pi/4 and the arc tangent of (low - high) / (low + high), halved so that the sum is finite.
        let [eighth, half, quarter] = [EIGHTH, 0.5, std::f64::consts::FRAC_PI_4].map(|value| number(b, low, value));
        let border = b.mul(high, eighth);
        let is_beyond = b.gt(low, border);
        let is_beyond = b.or(is_beyond, is_corner);
        let (low_half, high_half) = (b.mul(low, half), b.mul(high, half));
        let (difference, sum) = (b.sub(low_half, high_half), b.add(low_half, high_half));
        above = b.select(is_beyond, difference, low);
        below = b.select(is_beyond, sum, high);
        start = Some(b.select(is_beyond, quarter, zero));
    }
    let ratio = b.div(above, below);
    let is_origin = b.eq(high, zero);
    let ratio = b.select(is_origin, zero, ratio);
    let ratio = b.select(is_corner, if is_double { zero } else { one }, ratio);
    let square = b.mul(ratio, ratio);
    let p = if is_double { polynomial(b, square, &ATAN_F64) } else { polynomial(b, square, &ATAN) };
    let p = b.mul(p, square);
    let angle = b.fma(p, ratio, ratio);
    start.map_or(angle, |start| b.add(start, angle))
}

/// The angle of the point (x, y), in (-pi, pi].
pub fn atan2(b: &mut Builder, y: Val, x: Val) -> Val {
    let (a, c) = (b.abs(y), b.abs(x));
    let (low, high) = (b.min(a, c), b.max(a, c));
    let [zero, one, quarter, half] =
        [0.0, 1.0, std::f64::consts::FRAC_PI_2, std::f64::consts::PI].map(|value| number(b, x, value));
    let angle = arc(b, low, high);
    let is_steep = b.gt(a, c);
    let complement = b.sub(quarter, angle);
    let angle = b.select(is_steep, complement, angle);
    // The sign of x counts even at 0.
    let unit = with_sign(b, one, x);
    let is_left = b.lt(unit, zero);
    let supplement = b.sub(half, angle);
    let angle = b.select(is_left, supplement, angle);
    with_sign(b, angle, y)
}
