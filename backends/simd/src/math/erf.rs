//! The error function and the Gaussian linear unit.
//!
//! In: f32 or f64 of any lanes. Out: the same type. |x| < 0.92: an odd polynomial. Above, of f32: 1 - exp(-Q(|x|)), where Q approximates
//! -log(erfc) (the split that Juffa's public erff uses as well); of f64: 1 - exp(-x^2) R(u), where R approximates exp(x^2) erfc(x) in
//! u = (x - 2) / (x + 2) (Shepherd and Laframboise 1981).

use super::{at_most, number, polynomial, with_sign};
use crate::math::exp::{exp, one_plus_exp};
use crate::vir::{Builder, Elem, Val};

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

/// (erf(a) / a - 1) in a^2, for f64.
const SMALL_F64: [f64; 13] = [
    0.1283791670955126,
    -0.37612638903183754,
    0.11283791670955085,
    -0.02686617064512035,
    0.005223977625294412,
    -0.0008548327011523009,
    0.0001205533236333134,
    -1.492562884396609e-05,
    1.646160103837376e-06,
    -1.635740588848958e-07,
    1.471290639997216e-08,
    -1.1601530335591816e-09,
    6.387989646382477e-11,
];

/// exp(a^2) erfc(a) in (a - 2) / (a + 2).
const LARGE_F64: [f64; 17] = [
    0.25539567631050575,
    -0.42718584741395854,
    0.24165819424246868,
    -0.07897858101569456,
    0.0037328924040285873,
    0.0069974617365003485,
    -0.0008471432348011624,
    -0.000981976943653602,
    4.355516222849499e-05,
    0.00017435992848938657,
    2.7532141370202078e-05,
    -2.7571246880714562e-05,
    -1.4024653477494483e-05,
    1.3772740381765733e-06,
    4.041031659341516e-06,
    1.0692434107621782e-06,
    -9.882070779309655e-07,
];

/// Where the two forms meet.
const SPLIT: f64 = 0.92;
/// From here on the error function of f32 rounds to 1, and that of f64.
const GREATEST: [f64; 2] = [4.0, 6.0];

/// Error function.
pub fn erf(b: &mut Builder, x: Val) -> Val {
    let is_double = b.ty(x).elem == Elem::F64;
    let magnitude = b.abs(x);
    let a = at_most(b, magnitude, GREATEST[usize::from(is_double)]);
    let square = b.mul(a, a);
    let small = if is_double { polynomial(b, square, &SMALL_F64) } else { polynomial(b, square, &SMALL) };
    let small = b.fma(small, a, a);
    let large = if is_double { large_f64(b, a, square) } else { large_f32(b, a) };
    let split = number(b, x, SPLIT);
    let is_small = b.lt(a, split);
    let value = b.select(is_small, small, large);
    with_sign(b, value, x)
}

fn large_f32(b: &mut Builder, a: Val) -> Val {
    let q = polynomial(b, a, &LARGE);
    let q = b.neg(q);
    one_plus_exp(b, q, -1.0)
}

fn large_f64(b: &mut Builder, a: Val, square: Val) -> Val {
    let [one, two] = [1.0, 2.0].map(|value| number(b, a, value));
    let (above, below) = (b.sub(a, two), b.add(a, two));
    let u = b.div(above, below);
    let r = polynomial(b, u, &LARGE_F64);
    let opposite = b.neg(square);
    let e = exp(b, opposite);
    let r = b.neg(r);
    b.fma(e, r, one)
}

/// x (1 + erf(x / sqrt(2))) / 2.
pub fn gelu(b: &mut Builder, x: Val) -> Val {
    let [scale, half] = [std::f64::consts::FRAC_1_SQRT_2, 0.5].map(|value| number(b, x, value));
    let scaled = b.mul(x, scale);
    let e = erf(b, scaled);
    let halved = b.mul(x, half);
    b.fma(halved, e, halved)
}
