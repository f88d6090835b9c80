//! Sine, cosine, tangent and the angle of a point, in f32.
//!
//! In: f32 of any lanes. Out: the same type. The argument is reduced to [-pi/4, pi/4] in f64, with pi/2 in three parts
//! (Cody and Waite 1980), which is exact enough up to [`GREATEST`]; beyond it the result is NaN.

use super::{number, polynomial, with_sign};
use crate::vir::{Builder, Elem, Val};

/// Greatest magnitude whose sine is computed.
const GREATEST: f64 = 1e15;

/// pi/2 in three parts.
const HALF_PI: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];

/// 1.5 * 2^52: a sum with it rounds to integers.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// (sin(r) - r) / r^3 in r^2.
const SIN: [f64; 3] = [-0.1666665487335786, 0.008332173540391377, -0.00019516655590065513];

/// (cos(r) - 1 + r^2 / 2) / r^4 in r^2.
const COS: [f64; 3] = [0.041666646747889245, -0.001388736145284247, 2.4437730185153505e-05];

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

/// The sine and cosine of the reduced argument, and the number of quarter turns (i32).
struct Quarter {
    sin: Val,
    cos: Val,
    turns: Val,
}

fn reduce(b: &mut Builder, x: Val) -> Quarter {
    let wide = b.float_cast(x, Elem::F64);
    let [per_turn, magic] = [std::f64::consts::FRAC_2_PI, MAGIC].map(|value| number(b, wide, value));
    let shifted = b.fma(wide, per_turn, magic);
    let n = b.sub(shifted, magic);
    let mut r = wide;
    for part in HALF_PI {
        let part = number(b, wide, -part);
        r = b.fma(n, part, r);
    }
    let bits = b.ty(wide).with_elem(Elem::I64);
    let turns = b.bitcast(shifted, bits);
    let turns = b.narrow(turns, Elem::I32);
    let r = b.float_cast(r, Elem::F32);
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

/// The sine of a reduced argument plus `quarters` quarter turns; NaN where `x` was too large.
fn sine(b: &mut Builder, x: Val, parts: &Quarter, quarters: i64) -> Val {
    let ty = b.ty(parts.turns);
    let [quarters, one, two, thirty, zero] = [quarters, 1, 2, 30, 0].map(|value| b.int(ty, value));
    let turns = b.add(parts.turns, quarters);
    let odd = b.and(turns, one);
    let is_odd = b.ne(odd, zero);
    let value = b.select(is_odd, parts.cos, parts.sin);
    let half_turn = b.and(turns, two);
    let sign = b.shl(half_turn, thirty);
    let bits = b.bitcast(value, ty);
    let bits = b.xor(bits, sign);
    let float = b.ty(x);
    let value = b.bitcast(bits, float);
    let magnitude = b.abs(x);
    let [greatest, nan] = [GREATEST, f64::NAN].map(|value| number(b, x, value));
    let is_known = b.lt(magnitude, greatest);
    b.select(is_known, value, nan)
}

/// Sine of f32.
pub fn sin(b: &mut Builder, x: Val) -> Val {
    let parts = reduce(b, x);
    let value = sine(b, x, &parts, 0);
    // The reduction loses the sign of 0.
    let zero = number(b, x, 0.0);
    let is_zero = b.eq(x, zero);
    b.select(is_zero, x, value)
}

/// Cosine of f32.
pub fn cos(b: &mut Builder, x: Val) -> Val {
    let parts = reduce(b, x);
    sine(b, x, &parts, 1)
}

/// Tangent of f32.
pub fn tan(b: &mut Builder, x: Val) -> Val {
    let parts = reduce(b, x);
    let (sin, cos) = (sine(b, x, &parts, 0), sine(b, x, &parts, 1));
    let value = b.div(sin, cos);
    let zero = number(b, x, 0.0);
    let is_zero = b.eq(x, zero);
    b.select(is_zero, x, value)
}

/// The angle of the point (x, y) of f32, in (-pi, pi].
pub fn atan2(b: &mut Builder, y: Val, x: Val) -> Val {
    let (a, c) = (b.abs(y), b.abs(x));
    let (low, high) = (b.min(a, c), b.max(a, c));
    let [zero, one, infinity, quarter, half] =
        [0.0, 1.0, f64::INFINITY, std::f64::consts::FRAC_PI_2, std::f64::consts::PI].map(|value| number(b, x, value));
    let ratio = b.div(low, high);
    let is_origin = b.eq(high, zero);
    let ratio = b.select(is_origin, zero, ratio);
    let is_corner = b.eq(low, infinity);
    let ratio = b.select(is_corner, one, ratio);
    let square = b.mul(ratio, ratio);
    let p = polynomial(b, square, &ATAN);
    let p = b.mul(p, square);
    let angle = b.fma(p, ratio, ratio);
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
