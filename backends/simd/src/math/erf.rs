//! The error function and the Gaussian linear unit, in f32.
//!
//! In: f32 of any lanes. Out: the same type. |x| < 0.92: an odd polynomial; above: 1 - exp(-Q(|x|)), where Q approximates
//! -log(erfc) (the split that Juffa's public erff uses as well).

use super::{at_most, number, polynomial, with_sign};
use crate::math::exp::one_plus_exp;
use crate::vir::{Builder, Val};

/// (erf(a) / a - 1) in a^2.
const SMALL: [f64; 7] = [
    0.12837916657985662,
    -0.3761263318837907,
    0.1128368718660203,
    -0.026858941367293353,
    0.005199906303090609,
    -0.0008130008604902416,
    8.316758837474603e-05,
];

/// -log(erfc(a)).
const LARGE: [f64; 8] = [
    -0.0001746865541409979,
    1.1295149408495253,
    0.6333468849770573,
    0.10828011323613775,
    -0.025119442942446963,
    0.004171068975733476,
    -0.0004344638485692042,
    2.1095156948443164e-05,
];

/// Where the two forms meet.
const SPLIT: f64 = 0.92;
/// From here on the error function rounds to 1.
const GREATEST: f64 = 4.0;

/// Error function of f32.
pub fn erf(b: &mut Builder, x: Val) -> Val {
    let magnitude = b.abs(x);
    let a = at_most(b, magnitude, GREATEST);
    let square = b.mul(a, a);
    let small = polynomial(b, square, &SMALL);
    let small = b.fma(small, a, a);
    let q = polynomial(b, a, &LARGE);
    let q = b.neg(q);
    let large = one_plus_exp(b, q, -1.0);
    let split = number(b, x, SPLIT);
    let is_small = b.lt(a, split);
    let value = b.select(is_small, small, large);
    with_sign(b, value, x)
}

/// x (1 + erf(x / sqrt(2))) / 2 of f32.
pub fn gelu(b: &mut Builder, x: Val) -> Val {
    let [scale, half] = [std::f64::consts::FRAC_1_SQRT_2, 0.5].map(|value| number(b, x, value));
    let scaled = b.mul(x, scale);
    let e = erf(b, scaled);
    let halved = b.mul(x, half);
    b.fma(halved, e, halved)
}
