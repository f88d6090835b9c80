//! The exponential family: exp, exp2, expm1, and what is made of them.
//!
//! In: f32 or f64 of any lanes. Out: the same type. With n the integer nearest to x log2(e) and r = x - n ln 2,
//! exp(x) = 2^n exp(r), |r| <= ln(2) / 2; n comes out of the low bits of a sum with 1.5 * 2^(fraction bits), which
//! rounds to integers (the "magic number" of Hacker's Delight and many libraries).

use super::{at_least, at_most, bits_type, number, polynomial, reciprocal, with_sign};
use crate::vir::{Builder, Elem, Val};

/// Numbers of one float format.
struct Format {
    /// Bits of the fraction.
    fraction: i64,
    /// 1.5 * 2^fraction.
    magic: f64,
    /// ln 2 with trailing zeros, so that its product with n is exact, and what is missing.
    ln_2: [f64; 2],
    /// The x between which exp is neither infinite nor below the least normal number.
    range: [f64; 2],
    /// (exp(r) - 1 - r) / r^2, with small error relative to exp(r).
    exp: &'static [f64],
    /// The same with small error relative to exp(r) - 1.
    expm1: &'static [f64],
    /// 2 (2^r - 1) / r.
    exp_2: &'static [f64],
    /// Greatest exponent of a float.
    greatest_exponent: f64,
    /// Below it, expm1 is -1.
    least_expm1: f64,
    /// Above it, tanh is 1.
    greatest_tanh: f64,
}

const F32: Format = Format {
    fraction: 23,
    magic: 12_582_912.0,
    ln_2: [0.693_145_751_953_125, 1.428_606_820_309_417_3e-6],
    range: [88.722_831_726_074_22, -87.336_540_222_167_97],
    exp: &[0.49999993434036816, 0.16666520398913917, 0.04166839014894815, 0.008368745187132952, 0.0013814580411246919],
    expm1: &[
        0.5000000053183339,
        0.1666666690265747,
        0.04166632644621724,
        0.008333219931055888,
        0.0013943252383669012,
        0.00019962195406480853,
    ],
    exp_2: &[
        2.0 * 0.6931472029320606,
        2.0 * 0.2402264790372251,
        2.0 * 0.055503322874848264,
        2.0 * 0.009618438117392505,
        2.0 * 0.0013398951537376927,
        2.0 * 0.00015353292068142677,
    ],
    greatest_exponent: 127.0,
    least_expm1: -18.0,
    greatest_tanh: 10.0,
};

/// 1 / 2!, 1 / 3!, ..
const SERIES_F64: &[f64] = &[
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
];

const F64: Format = Format {
    fraction: 52,
    magic: 6_755_399_441_055_744.0,
    ln_2: [0.693_147_180_369_123_8, 1.908_214_929_270_588e-10],
    range: [709.782_712_893_384, -708.396_418_532_264],
    exp: SERIES_F64,
    expm1: SERIES_F64,
    // Powers of ln 2 over factorials, twice.
    exp_2: &[
        2.0 * std::f64::consts::LN_2,
        2.0 * 0.240_226_506_959_100_7,
        2.0 * 0.055_504_108_664_821_58,
        2.0 * 0.009_618_129_107_628_477,
        2.0 * 0.001_333_355_814_642_844_3,
        2.0 * 0.000_154_035_303_933_816_1,
        2.0 * 1.525_273_380_405_984e-5,
        2.0 * 1.321_548_679_014_431e-6,
        2.0 * 1.017_808_600_923_97e-7,
        2.0 * 7.054_911_620_801_122e-9,
        2.0 * 4.445_538_271_870_811_5e-10,
        2.0 * 2.567_843_599_348_820_4e-11,
        2.0 * 1.369_148_885_390_412_8e-12,
    ],
    greatest_exponent: 1023.0,
    least_expm1: -40.0,
    greatest_tanh: 20.0,
};

fn format(b: &Builder, x: Val) -> &'static Format {
    if b.ty(x).elem == Elem::F32 { &F32 } else { &F64 }
}

/// n and r with x = n ln 2 + r; the first as an exponent, ready to be added to the bits of a float.
fn reduce(b: &mut Builder, x: Val, format: &Format) -> (Val, Val) {
    let [log2e, magic] = [std::f64::consts::LOG2_E, format.magic].map(|value| number(b, x, value));
    let shifted = b.fma(x, log2e, magic);
    let n = b.sub(shifted, magic);
    let [high, low] = format.ln_2.map(|part| number(b, x, -part));
    let r = b.fma(n, high, x);
    let r = b.fma(n, low, r);
    (exponent(b, shifted, format), r)
}

/// The integer in the low bits of a sum with the magic number, moved to the exponent.
fn exponent(b: &mut Builder, shifted: Val, format: &Format) -> Val {
    let bits = bits_type(b.ty(shifted));
    let shifted = b.bitcast(shifted, bits);
    let count = b.int(bits, format.fraction);
    b.shl(shifted, count)
}

/// `x * 2^n` where the result is normal.
fn scale(b: &mut Builder, x: Val, exponent: Val) -> Val {
    let (ty, bits) = (b.ty(x), b.ty(exponent));
    let x = b.bitcast(x, bits);
    let scaled = b.add(x, exponent);
    b.bitcast(scaled, ty)
}

/// The exponent n and exp(r) - 1 of exp(x) = 2^n exp(r), for x in the range where that is finite and normal. The second is
/// NaN if x is, but the bits of n then are anything: a product with 2^n keeps the NaN, a sum of bits does not.
fn exp_rest(b: &mut Builder, x: Val) -> (Val, Val) {
    let format = format(b, x);
    let (exponent, r) = reduce(b, x, format);
    let q = polynomial(b, r, format.exp);
    let square = b.mul(r, r);
    (exponent, b.fma(q, square, r))
}

/// 1 + `factor` exp(x) for a power of two `factor` of either sign, and x from the least of exp to where n reaches the
/// greatest exponent of a float.
pub(super) fn one_plus_exp(b: &mut Builder, x: Val, factor: f64) -> Val {
    let (exponent, rest) = exp_rest(b, x);
    let [one, factor] = [1.0, factor].map(|value| number(b, x, value));
    let p = b.add(rest, one);
    let power = scale(b, factor, exponent);
    b.fma(p, power, one)
}

fn clamp(b: &mut Builder, x: Val, range: [f64; 2]) -> Val {
    let x = at_most(b, x, range[0]);
    at_least(b, x, range[1])
}

/// `twice * 2^(n - 1)`, which overflows by itself at n = 128 and is 0 at n = -126 (in f32), where the factor has no exponent.
fn half_scaled(b: &mut Builder, twice: Val, exponent: Val) -> Val {
    let half = number(b, twice, 0.5);
    let power = scale(b, half, exponent);
    b.mul(twice, power)
}

/// e to the x; 0 where that is below twice the least normal number.
pub fn exp(b: &mut Builder, x: Val) -> Val {
    let format = format(b, x);
    let inside = clamp(b, x, [format.range[0] + 0.25, format.range[1]]);
    let (exponent, rest) = exp_rest(b, inside);
    let two = number(b, x, 2.0);
    let twice = b.fma(rest, two, two);
    half_scaled(b, twice, exponent)
}

/// 2 to the x; 0 where that is below twice the least normal number.
pub fn exp2(b: &mut Builder, x: Val) -> Val {
    let format = format(b, x);
    let [magic, two] = [format.magic, 2.0].map(|value| number(b, x, value));
    let inside = clamp(b, x, [format.greatest_exponent + 1.25, 1.0 - format.greatest_exponent]);
    let shifted = b.add(inside, magic);
    let n = b.sub(shifted, magic);
    let r = b.sub(inside, n);
    let q = polynomial(b, r, format.exp_2);
    let twice = b.fma(q, r, two);
    let exponent = exponent(b, shifted, format);
    half_scaled(b, twice, exponent)
}

/// e to the x, less 1, with small relative error around 0 too.
pub fn expm1(b: &mut Builder, x: Val) -> Val {
    let value = expm1_but_signs(b, x);
    // The sums inside lose the sign of 0, and the last bit of the least numbers.
    let magnitude = b.abs(x);
    let tiny = number(b, x, f64::from(f32::MIN_POSITIVE));
    let is_tiny = b.lt(magnitude, tiny);
    b.select(is_tiny, x, value)
}

/// expm1, but for subnormal numbers and the sign of 0.
fn expm1_but_signs(b: &mut Builder, x: Val) -> Val {
    let format = format(b, x);
    // A little more than the range of exp: the sum at the end overflows by itself.
    let inside = clamp(b, x, [format.range[0] + 0.25, format.least_expm1]);
    let (exponent, r) = reduce(b, inside, format);
    let q = polynomial(b, r, format.expm1);
    let square = b.mul(r, r);
    let p = b.fma(q, square, r);
    // Half of 2^n (p + 1) - 1, so that 2^128 is not needed.
    let half = number(b, x, 0.5);
    let power = scale(b, half, exponent);
    let offset = b.sub(power, half);
    let halved = b.fma(power, p, offset);
    b.add(halved, halved)
}

/// Hyperbolic tangent, from expm1 of 2 |x|.
pub fn tanh(b: &mut Builder, x: Val) -> Val {
    let greatest = format(b, x).greatest_tanh;
    let magnitude = b.abs(x);
    let magnitude = at_most(b, magnitude, greatest);
    let double = b.add(magnitude, magnitude);
    let e = expm1_but_signs(b, double);
    let two = number(b, x, 2.0);
    let sum = b.add(e, two);
    let value = b.div(e, sum);
    with_sign(b, value, x)
}

/// 1 + exp(-x), or a number nearly as large as floats go where that is larger.
fn one_plus_exp_of_opposite(b: &mut Builder, x: Val) -> Val {
    let [greatest, least] = format(b, x).range;
    let opposite = b.neg(x);
    let inside = clamp(b, opposite, [greatest - 0.5, least]);
    one_plus_exp(b, inside, 1.0)
}

/// 1 / (1 + exp(-x)).
pub fn sigmoid(b: &mut Builder, x: Val) -> Val {
    let sum = one_plus_exp_of_opposite(b, x);
    reciprocal(b, sum)
}

/// x / (1 + exp(-x)).
pub fn silu(b: &mut Builder, x: Val) -> Val {
    let greatest = format(b, x).range[0];
    let sum = one_plus_exp_of_opposite(b, x);
    let value = b.div(x, sum);
    let [least, zero] = [0.5 - greatest, 0.0].map(|value| number(b, x, value));
    let vanishing = b.mul(x, zero);
    let vanishes = b.lt(x, least);
    b.select(vanishes, vanishing, value)
}

/// x above 0, else exp(x) - 1.
pub fn elu(b: &mut Builder, x: Val) -> Val {
    let zero = number(b, x, 0.0);
    let below = expm1(b, x);
    let is_above = b.gt(x, zero);
    b.select(is_above, x, below)
}
