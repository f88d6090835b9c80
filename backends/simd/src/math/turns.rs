//! Angles as quarter turns: which quarter, and the rest of at most an eighth of a turn.
//!
//! In: f64 of any lanes. Out: the number of quarter turns and what is left, in one or two parts. Magnitudes below [`NEAR`]: multiples of
//! pi/2 in parts of 33 bits are subtracted exactly (Cody and Waite 1980), with fused multiply-add or without. Beyond it, where every
//! bit of pi counts: a window of 192 bits of 2/pi, chosen by the exponent, times the fraction, as an integer (Payne and Hanek 1983). That
//! side of the branch is taken if some lane needs it. Infinity and NaN give anything.

use super::{any, number};
use crate::vir::{Builder, Elem, Type, Val};

/// Magnitude below which the number of quarter turns times 33 bits of pi/2 is exact.
const NEAR: f64 = 1_048_576.0;

/// pi/2 in parts of 33 bits and the rest.
const HALF_PI: [f64; 4] = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32];

/// pi/2 after its first part of 33 bits.
const AFTER_FIRST: f64 = 6.077100506506192e-11;

/// pi/2 in two parts of 53 bits.
const HALF_PI_PAIR: [f64; 2] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17];

/// 1.5 * 2^52: a sum with it rounds to integers.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// 64 zero bits, then the bits of 2/pi after the binary point.
const TWO_OVER_PI: [u64; 20] = [
    0x0000_0000_0000_0000,
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
];

/// An angle less whole quarter turns.
pub(super) struct Rest {
    /// The angle that is left, at most an eighth of a turn and the rounding of the quotient.
    pub(super) high: Val,
    /// What `high` was rounded by.
    pub(super) low: Val,
    /// The number of quarter turns modulo 4, in the low two bits of an i64.
    pub(super) turns: Val,
}

/// The rest of an angle that came as an f32: its low part is 0.
pub(super) fn of_single(b: &mut Builder, x: Val) -> Rest {
    reduce(b, x, f32::MAX_EXP, near_single)
}

/// The rest of an angle.
pub(super) fn of_double(b: &mut Builder, x: Val) -> Rest {
    reduce(b, x, f64::MAX_EXP, near_double)
}

/// `greatest` is one more than the exponent of any finite operand.
fn reduce(b: &mut Builder, x: Val, greatest: i32, near: fn(&mut Builder, Val) -> [Val; 3]) -> Rest {
    let magnitude = b.abs(x);
    let limit = number(b, x, NEAR);
    let is_near = b.lt(magnitude, limit);
    let is_far = b.not(is_near);
    let some = any(b, is_far);
    let close = near(b, x);
    let parts = b.if_else(
        some,
        |b| {
            let beyond = far(b, x, greatest);
            let chosen = beyond.into_iter().zip(close).map(|(beyond, close)| b.select(is_far, beyond, close));
            chosen.collect()
        },
        |_| close.to_vec(),
    );
    Rest { high: parts[0], low: parts[1], turns: parts[2] }
}

/// The nearest number of quarter turns, and that as an integer in the low bits of an i64.
fn quarters(b: &mut Builder, x: Val) -> (Val, Val) {
    let [per_turn, magic] = [std::f64::consts::FRAC_2_PI, MAGIC].map(|value| number(b, x, value));
    let shifted = b.fma(x, per_turn, magic);
    let n = b.sub(shifted, magic);
    let bits = b.ty(x).with_elem(Elem::I64);
    (n, b.bitcast(shifted, bits))
}

fn less_multiple(b: &mut Builder, x: Val, n: Val, part: f64) -> Val {
    let part = number(b, x, -part);
    b.fma(n, part, x)
}

fn near_single(b: &mut Builder, x: Val) -> [Val; 3] {
    let (n, turns) = quarters(b, x);
    let r = less_multiple(b, x, n, HALF_PI[0]);
    let r = less_multiple(b, r, n, AFTER_FIRST);
    [r, number(b, x, 0.0), turns]
}

fn near_double(b: &mut Builder, x: Val) -> [Val; 3] {
    let (n, turns) = quarters(b, x);
    let first = less_multiple(b, x, n, HALF_PI[0]);
    let [second, third] = [1, 2].map(|part| {
        let part = number(b, x, HALF_PI[part]);
        b.mul(n, part)
    });
    let (r, lost) = difference(b, first, second);
    let (r, more) = difference(b, r, third);
    let lost = b.add(lost, more);
    let lost = less_multiple(b, lost, n, HALF_PI[3]);
    let (high, low) = renormalised(b, r, lost);
    [high, low, turns]
}

/// a - b and what it was rounded by (Knuth's exact difference).
fn difference(b: &mut Builder, left: Val, right: Val) -> (Val, Val) {
    let value = b.sub(left, right);
    let of_right = b.sub(left, value);
    let of_left = b.add(value, of_right);
    let lost_right = b.sub(of_right, right);
    let lost_left = b.sub(left, of_left);
    (value, b.add(lost_left, lost_right))
}

/// A sum whose second term is the smaller one, and what it was rounded by (Dekker).
fn renormalised(b: &mut Builder, large: Val, small: Val) -> (Val, Val) {
    let value = b.add(large, small);
    let kept = b.sub(value, large);
    (value, b.sub(small, kept))
}

/// Integer operations on lanes, with constants for right operands.
struct Words<'b> {
    b: &'b mut Builder,
    ty: Type,
}

impl Words<'_> {
    fn int(&mut self, value: i64) -> Val {
        self.b.int(self.ty, value)
    }
    fn and(&mut self, a: Val, mask: i64) -> Val {
        let mask = self.int(mask);
        self.b.and(a, mask)
    }
    fn up(&mut self, a: Val, by: i64) -> Val {
        let by = self.int(by);
        self.b.shl(a, by)
    }
    fn down(&mut self, a: Val, by: i64) -> Val {
        let by = self.int(by);
        self.b.ushr(a, by)
    }
    /// The low and the high half.
    fn halves(&mut self, a: Val) -> [Val; 2] {
        [self.and(a, 0xffff_ffff), self.down(a, 32)]
    }

    /// The 192 bits of the table from bit `at` on, in limbs of 32, the lowest first.
    fn window(&mut self, at: Val, greatest: i64) -> Vec<Val> {
        let word = self.down(at, 6);
        let most = greatest / 64;
        let count = usize::try_from(most + 4).map_or(TWO_OVER_PI.len(), |count| count.min(TWO_OVER_PI.len()));
        let mut words: Vec<Val> = TWO_OVER_PI[..count].iter().map(|word| self.int(word.cast_signed())).collect();
        // Moves the table by the bits of the word's number, the greatest first.
        let zero = self.int(0);
        for step in [16_usize, 8, 4, 2, 1].into_iter().skip_while(|step| i64::try_from(*step).is_ok_and(|s| s > most)) {
            let bit = self.and(word, step as i64);
            let moves = self.b.ne(bit, zero);
            let moved = |words: &[Val], place: usize| words.get(place + step).copied();
            words = (0..words.len().min(step + 3))
                .map(|place| match moved(&words, place) {
                    Some(other) => self.b.select(moves, other, words[place]),
                    None => words[place],
                })
                .collect();
        }
        let inside = self.and(at, 63);
        let most = self.int(63);
        let opposite = self.b.sub(most, inside);
        let mut limbs = Vec::new();
        for pair in words.windows(2).take(3) {
            let upper = self.b.shl(pair[0], inside);
            let lower = self.down(pair[1], 1);
            let lower = self.b.ushr(lower, opposite);
            let whole = self.b.or(upper, lower);
            let [low, high] = self.halves(whole);
            limbs.extend([high, low]);
        }
        limbs.reverse();
        limbs
    }

    /// The product of limbs and a number below 2^53, modulo the limbs' range.
    fn product(&mut self, limbs: &[Val], factor: Val) -> Vec<Val> {
        let [low, high] = self.halves(factor);
        let mut carry = self.int(0);
        let mut before = None;
        let mut product = Vec::new();
        for limb in limbs {
            let of_low = self.b.mul(low, *limb);
            let sum = self.b.add(of_low, carry);
            let [mut digit, mut over] = self.halves(sum);
            if let Some(before) = before {
                let of_high = self.b.mul(high, before);
                let sum = self.b.add(of_high, digit);
                let [low, high] = self.halves(sum);
                digit = low;
                over = self.b.add(over, high);
            }
            product.push(digit);
            carry = over;
            before = Some(*limb);
        }
        product
    }

    /// The nearest number of quarter turns, and what is left of them in four parts, from a fraction of four turns.
    fn fraction(&mut self, limbs: &[Val]) -> (Val, [Val; 4]) {
        let upper = self.up(limbs[5], 32);
        let upper = self.b.or(upper, limbs[4]);
        let lower = self.up(limbs[3], 32);
        let lower = self.b.or(lower, limbs[2]);
        let half = self.int(1 << 61);
        let turns = self.b.add(upper, half);
        let turns = self.down(turns, 62);
        // What is left has a sign.
        let (rest, spill) = (self.up(upper, 2), self.down(lower, 62));
        let rest = self.b.or(rest, spill);
        let lower = self.up(lower, 2);
        let places = self.int(32);
        let first = self.b.shr(rest, places);
        let [second, _] = self.halves(rest);
        let [fourth, third] = self.halves(lower);
        let parts = [(first, -32), (second, -64), (third, -96), (fourth, -128)];
        (turns, parts.map(|(limb, exponent)| self.float(limb, exponent)))
    }

    fn float(&mut self, integer: Val, exponent: i32) -> Val {
        let float = self.b.sint_to_float(integer, Elem::F64);
        let scale = number(self.b, float, 2.0_f64.powi(exponent));
        self.b.mul(float, scale)
    }
}

/// With x = m 2^e, the fraction m of 53 bits: bits of 2/pi worth 4 or more times 2^-e give whole turns; from the next on, the product's
/// two leading bits are quarter turns.
fn far(b: &mut Builder, x: Val, greatest: i32) -> [Val; 3] {
    const FRACTION: i64 = (1 << 52) - 1;
    let ty = b.ty(x).with_elem(Elem::I64);
    let magnitude = b.abs(x);
    let bits = b.bitcast(magnitude, ty);
    let mut w = Words { b, ty };
    let biased = w.down(bits, 52);
    let fraction = w.and(bits, FRACTION);
    let leading = w.int(FRACTION + 1);
    let m = w.b.or(fraction, leading);
    // e = biased - 1075; the first bit that counts is number e - 2 after the point, behind 64 zeros.
    let behind = w.int(1075 - 62);
    let at = w.b.sub(biased, behind);
    let limbs = w.window(at, i64::from(greatest) - 1 - 52 + 62);
    let product = w.product(&limbs, m);
    let (turns, parts) = w.fraction(&product);
    let (r, lost) = radians(b, parts);
    let zero = number(b, x, 0.0);
    let is_negative = b.lt(x, zero);
    [r, lost, turns].map(|value| {
        let opposite = b.neg(value);
        b.select(is_negative, opposite, value)
    })
}

/// Quarter turns in four parts, each much smaller than the one before, as an angle in two.
fn radians(b: &mut Builder, [first, second, third, fourth]: [Val; 4]) -> (Val, Val) {
    let (sum, lost) = renormalised(b, first, second);
    let small = b.add(third, fourth);
    let small = b.add(small, lost);
    let (high, low) = renormalised(b, sum, small);
    let [pi, pi_low] = HALF_PI_PAIR.map(|part| number(b, high, part));
    let r = b.mul(high, pi);
    let opposite = b.neg(r);
    let lost = b.fma(high, pi, opposite);
    let lost = b.fma(high, pi_low, lost);
    (r, b.fma(low, pi, lost))
}
