//! Remainders, exactly.
//!
//! In: two f32 or f64 of any lanes. Out: the same type. The remainder of floats is that of integers: with x = m 2^a and y = n 2^b for
//! a >= b it is (m 2^(a - b) mod n) 2^b, ten bits of the power at a time (long division). f32 with a small quotient, which is nearly
//! always, take one division in f64 instead.

use super::{any, number, with_sign};
use crate::vir::{Builder, Elem, Type, Val};

/// Quotients below this times 24 bits are exact in f64.
const SMALL: f64 = 536_870_912.0;

/// Bits of a step: with the 53 of a remainder fewer than 64.
const STEP: i64 = 10;

const FRACTION: i64 = (1 << 52) - 1;

/// The remainder of x / y with the sign of x.
pub fn rem(b: &mut Builder, x: Val, y: Val) -> Val {
    let single = b.ty(x).elem == Elem::F32;
    let (a, c) = (b.abs(x), b.abs(y));
    let value = if single {
        let (a, c) = (b.float_cast(a, Elem::F64), b.float_cast(c, Elem::F64));
        let rest = of_single(b, a, c);
        b.float_cast(rest, Elem::F32)
    } else {
        long(b, a, c)
    };
    let value = with_sign(b, value, x);
    // An infinite divisor leaves a finite x as it is; nothing is left of infinity, nor by zero.
    let [zero, infinity, nan] = [0.0, f64::INFINITY, f64::NAN].map(|value| number(b, x, value));
    let keeps = b.eq(c, infinity);
    let value = b.select(keeps, x, value);
    let (is_finite, is_nonzero) = (b.lt(a, infinity), b.gt(c, zero));
    let is_known = b.and(is_finite, is_nonzero);
    b.select(is_known, value, nan)
}

/// The remainder of f32 that are not negative, as f64.
fn of_single(b: &mut Builder, a: Val, c: Val) -> Val {
    let quotient = b.div(a, c);
    let whole = b.trunc(quotient);
    let opposite = b.neg(whole);
    let rest = b.fma(opposite, c, a);
    // The rounded quotient may be one too large.
    let [zero, small] = [0.0, SMALL].map(|value| number(b, rest, value));
    let is_negative = b.lt(rest, zero);
    let raised = b.add(rest, c);
    let rest = b.select(is_negative, raised, rest);
    let is_large = b.ge(quotient, small);
    let some = any(b, is_large);
    let chosen = b.if_else(
        some,
        |b| {
            let exact = long(b, a, c);
            vec![b.select(is_large, exact, rest)]
        },
        |_| vec![rest],
    );
    chosen[0]
}

/// The fraction of a float as an integer, and the exponent field that goes with it: at least 1.
fn split(b: &mut Builder, float: Val) -> (Val, Val) {
    let bits_type = b.ty(float).with_elem(Elem::I64);
    let bits = b.bitcast(float, bits_type);
    let [fraction, width, one, leading] = [FRACTION, 52, 1, FRACTION + 1].map(|value| b.int(bits_type, value));
    let field = b.ushr(bits, width);
    let fraction = b.and(bits, fraction);
    let whole = b.or(fraction, leading);
    let is_normal = b.ge(field, one);
    (b.select(is_normal, whole, fraction), b.max(field, one))
}

/// The remainder of f64 that are not negative; anything if one is not finite, or the divisor is 0.
fn long(b: &mut Builder, a: Val, c: Val) -> Val {
    let ((m, high), (n, low)) = (split(b, a), split(b, c));
    let ty = b.ty(m);
    let [zero, one, step] = [0, 1, STEP].map(|value| b.int(ty, value));
    let n = b.max(n, one);
    let apart = b.sub(high, low);
    let shift = b.max(apart, zero);
    let start = b.rem(m, n);
    let most = if ty == Type::I64 { shift } else { b.reduce_max(shift) };
    let origin = b.i64(0);
    let turned = b.for_loop(origin, most, STEP, &[start, shift], |b, _, carried| {
        let by = b.min(carried[1], step);
        let moved = b.shl(carried[0], by);
        vec![b.rem(moved, n), b.sub(carried[1], by)]
    });
    let rest = assembled(b, turned[0], low);
    let is_less = b.lt(a, c);
    b.select(is_less, a, rest)
}

/// The float of a fraction and an exponent field, exactly.
fn assembled(b: &mut Builder, fraction: Val, field: Val) -> Val {
    let ty = b.ty(fraction);
    let float = ty.with_elem(Elem::F64);
    let [mask, width, zero] = [FRACTION, 52, 0].map(|value| b.int(ty, value));
    let unit = b.shl(field, width);
    let below = b.and(fraction, mask);
    let bits = b.or(unit, below);
    let leading = b.ushr(fraction, width);
    let is_whole = b.ne(leading, zero);
    let (value, unit) = (b.bitcast(bits, float), b.bitcast(unit, float));
    // Without a leading one that place has to go again.
    let less = b.sub(value, unit);
    b.select(is_whole, value, less)
}
