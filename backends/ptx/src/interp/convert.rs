//! `cvt`: between integers, floats and packed floats.
//!
//! Source of the rules: the PTX ISA, section 9.7.9. An integer result is clamped to its type where the source is a float, taken
//! without its high bits where it is an integer, unless the instruction saturates.

use super::float::{BF16, E4M3, E5M2, Exact, F16, F32, F64, Format, Rounding};
use super::number::{Shape, bits_of, integer, low};
use crate::inst::Word;

fn rounding(shape: &Shape<'_>) -> Rounding {
    let named = shape.words.iter().find_map(|word| match word {
        Word::Rz | Word::Rzi => Some(Rounding::Zero),
        Word::Rm | Word::Rmi => Some(Rounding::Down),
        Word::Rp | Word::Rpi => Some(Rounding::Up),
        Word::Rna => Some(Rounding::NearestAway),
        _ => None,
    });
    named.unwrap_or(Rounding::Nearest)
}

fn format(ty: Word) -> Option<Format> {
    match ty {
        Word::F64 => Some(F64),
        Word::F32 => Some(F32),
        Word::F16 | Word::F16x2 => Some(F16),
        Word::Bf16 | Word::Bf16x2 => Some(BF16),
        Word::E4m3x2 => Some(E4M3),
        Word::E5m2x2 => Some(E5M2),
        _ => None,
    }
}

/// The bits of the result, in the width of its type.
pub(crate) fn convert(shape: &Shape<'_>, x: [u64; 4]) -> u64 {
    let (to, from) = (shape.t, shape.s);
    if to == Word::Tf32 {
        return tensor_float(x[0]);
    }
    match (format(to), format(from)) {
        (None, None) => clamp_or_wrap(shape, integer(x[0], from)),
        (None, Some(source)) => to_integer(source.decode(low(x[0], from.bits())), rounding(shape), to, from),
        (Some(target), None) => target.round(Exact::of_int(integer(x[0], from)), rounding(shape), false),
        (Some(target), Some(source)) if packed(to) || packed(from) => pair(shape, target, source, x),
        (Some(target), Some(source)) => {
            let value = source.decode(low(x[0], from.bits()));
            let integral = [Word::Rni, Word::Rzi, Word::Rmi, Word::Rpi].iter().any(|word| shape.has(*word));
            let value = if integral { to_integral(value, rounding(shape)) } else { value };
            target.encode(value, rounding(shape), false)
        }
    }
}

fn packed(ty: Word) -> bool {
    matches!(ty, Word::F16x2 | Word::Bf16x2 | Word::E4m3x2 | Word::E5m2x2)
}

/// Two values to the halves of a register: two operands, the upper first, or the halves of one.
fn pair(shape: &Shape<'_>, target: Format, source: Format, x: [u64; 4]) -> u64 {
    let half = shape.s.bits() / 2;
    let [high, lower] = if packed(shape.s) { [x[0] >> half, low(x[0], half)] } else { [x[0], x[1]] };
    let one = |bits: u64| {
        let value = source.decode(bits);
        let value = if shape.has(Word::Relu) && value <= 0.0 { 0.0 } else { value };
        target.encode(value, rounding(shape), shape.has(Word::Satfinite))
    };
    one(high) << (shape.t.bits() / 2) | one(lower)
}

fn tensor_float(bits: u64) -> u64 {
    const DROPPED: u64 = 0x1fff;
    if f32::from_bits(low(bits, 32) as u32).is_nan() {
        0x7fff_ffff
    } else {
        low(bits + (DROPPED / 2 + 1), 32) & !DROPPED
    }
}

fn to_integral(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
        Rounding::Nearest | Rounding::NearestAway => value.round_ties_even(),
    }
}

fn bounds(ty: Word) -> (i128, i128) {
    let width = ty.bits();
    if ty.is_signed() { (-(1 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) }
}

fn to_integer(value: f64, rounding: Rounding, to: Word, from: Word) -> u64 {
    if value.is_nan() {
        let wide = from == Word::F64 || to.bits() == 64;
        return if wide { 1 << (to.bits() - 1) } else { 0 };
    }
    let (least, most) = bounds(to);
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and so does what follows")]
    let whole = to_integral(value, rounding) as i128;
    low(bits_of(whole.clamp(least, most)), to.bits())
}

fn clamp_or_wrap(shape: &Shape<'_>, value: i128) -> u64 {
    let (least, most) = bounds(shape.t);
    let value = if shape.has(Word::Sat) { value.clamp(least, most) } else { value };
    low(bits_of(value), shape.t.bits())
}
