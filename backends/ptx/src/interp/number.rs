//! What instructions of one lane compute, on the bits of registers.
//!
//! In: an instruction's operation and words, and the bits of its operands. Out: the bits of its result, or nothing where PTX leaves
//! it open (an integer divided by zero). Approximations give the f64 function, rounded to f32. Source: the PTX ISA, section 9.7.

use super::convert::convert;
use super::float::{BF16, F16, Format, Rounding, add_to_odd};
use crate::inst::{Op, Word};

/// An instruction, as far as its meaning goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) op: Op,
    pub(crate) words: &'a [Word],
    /// The first type.
    pub(crate) t: Word,
    /// The second type, or the first.
    pub(crate) s: Word,
}

impl Shape<'_> {
    pub(crate) fn has(&self, word: Word) -> bool {
        self.words.contains(&word)
    }
}

/// Bits below `width`.
pub(crate) fn low(bits: u64, width: u32) -> u64 {
    if width >= 64 { bits } else { bits & ((1 << width) - 1) }
}

/// The value of an integer type.
pub(crate) fn integer(bits: u64, ty: Word) -> i128 {
    let width = ty.bits();
    if ty.is_signed() {
        i128::from((bits << (64 - width)).cast_signed() >> (64 - width))
    } else {
        low(bits, width).into()
    }
}

/// The bits of an integer, without those that do not fit.
pub(crate) fn bits_of(value: i128) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low bits are what is wanted")]
    let bits = value as u64;
    bits
}

/// The result of an instruction without memory or other lanes, or `None` where it has none.
pub(crate) fn evaluate(shape: &Shape<'_>, x: [u64; 4]) -> Option<u64> {
    match shape.op {
        Op::Mov | Op::AddressOf | Op::Cvta => Some(x[0]),
        Op::Cvt => Some(convert(shape, x)),
        Op::Setp => Some(compare(shape, x[0], x[1]).into()),
        _ => arithmetic(shape, x),
    }
}

fn arithmetic(shape: &Shape<'_>, x: [u64; 4]) -> Option<u64> {
    match shape.t {
        Word::F32 => Some(single(shape, x.map(|bits| f32::from_bits(bits as u32)))),
        Word::F64 => Some(double(shape, x.map(f64::from_bits))),
        Word::F16 => Some(small(shape.op, shape.has(Word::Nan), F16, x)),
        Word::Bf16 => Some(small(shape.op, shape.has(Word::Nan), BF16, x)),
        Word::F16x2 => Some(both(shape, F16, x)),
        Word::Bf16x2 => Some(both(shape, BF16, x)),
        _ => whole(shape, x),
    }
}

fn both(shape: &Shape<'_>, format: Format, x: [u64; 4]) -> u64 {
    let nan = shape.has(Word::Nan);
    small(shape.op, nan, format, x.map(|bits| bits & 0xffff))
        | small(shape.op, nan, format, x.map(|bits| bits >> 16 & 0xffff)) << 16
}

/// 16-bit floats. Sums and products are exact in f64, or rounded so that rounding again does no harm.
fn small(op: Op, nan: bool, format: Format, x: [u64; 4]) -> u64 {
    const SIGN: u64 = 0x8000;
    let [a, b, c] = [0, 1, 2].map(|n| format.decode(x[n]));
    let value = match op {
        Op::Neg => return x[0] ^ SIGN,
        Op::Abs => return x[0] & !SIGN,
        Op::Add => add_to_odd(a, b),
        Op::Sub => add_to_odd(a, -b),
        Op::Mul => a * b,
        Op::Fma => add_to_odd(a * b, c),
        Op::Min => extreme(a, b, nan, true),
        Op::Max => extreme(a, b, nan, false),
        other => unreachable!("{other} has no 16-bit floats"),
    };
    format.encode(value, Rounding::Nearest, false)
}

/// The smaller or larger; of two zeros the negative one is smaller.
fn extreme(a: f64, b: f64, nan: bool, smaller: bool) -> f64 {
    if a.is_nan() || b.is_nan() {
        return match (nan, a.is_nan()) {
            (true, _) => f64::NAN,
            (false, true) => b,
            (false, false) => a,
        };
    }
    let a_first = a.total_cmp(&b).is_le();
    if a_first == smaller { a } else { b }
}

fn flush(value: f32, ftz: bool) -> f32 {
    if ftz && value.is_subnormal() { 0_f32.copysign(value) } else { value }
}

/// An f64 function rounded to f32.
fn narrowed(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "it rounds to nearest")]
    let narrow = value as f32;
    narrow
}

fn single(shape: &Shape<'_>, x: [f32; 4]) -> u64 {
    let ftz = shape.has(Word::Ftz);
    let [a, b, c, _] = x.map(|value| flush(value, ftz));
    let wide = f64::from(a);
    let value = match shape.op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Fma => a.mul_add(b, c),
        Op::Div => a / b,
        Op::Min | Op::Max => narrowed(extreme(a.into(), b.into(), shape.has(Word::Nan), matches!(shape.op, Op::Min))),
        Op::Neg => return u64::from((-a).to_bits()),
        Op::Abs => return u64::from(a.abs().to_bits()),
        Op::Copysign => return u64::from(b.copysign(a).to_bits()),
        Op::Sqrt => a.sqrt(),
        Op::Rsqrt => narrowed(1.0 / wide.sqrt()),
        Op::Rcp => 1.0 / a,
        Op::Exp2 => narrowed(wide.exp2()),
        Op::Log2 => narrowed(wide.log2()),
        Op::Sin => narrowed(wide.sin()),
        Op::Cos => narrowed(wide.cos()),
        Op::Tanh => narrowed(wide.tanh()),
        other => unreachable!("{other} has no f32"),
    };
    if value.is_nan() { 0x7fff_ffff } else { u64::from(flush(value, ftz).to_bits()) }
}

fn double(shape: &Shape<'_>, [a, b, c, _]: [f64; 4]) -> u64 {
    let value = match shape.op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Fma => a.mul_add(b, c),
        Op::Div => a / b,
        Op::Min => extreme(a, b, false, true),
        Op::Max => extreme(a, b, false, false),
        Op::Neg => -a,
        Op::Abs => a.abs(),
        Op::Copysign => b.copysign(a),
        Op::Sqrt => a.sqrt(),
        Op::Rsqrt => 1.0 / a.sqrt(),
        Op::Rcp => 1.0 / a,
        other => unreachable!("{other} has no f64"),
    };
    value.to_bits()
}

fn whole(shape: &Shape<'_>, x: [u64; 4]) -> Option<u64> {
    let ty = shape.t;
    let width = ty.bits();
    let [a, b] = [integer(x[0], ty), integer(x[1], ty)];
    let value = match shape.op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => product(shape, a, b),
        Op::Mad if shape.has(Word::Wide) => a * b + integer(x[2], ty.widened()),
        Op::Mad => product(shape, a, b).wrapping_add(integer(x[2], ty)),
        Op::Div => a.checked_div(b)?,
        Op::Rem => a.checked_rem(b)?,
        Op::Min => a.min(b),
        Op::Max => a.max(b),
        Op::Neg => -a,
        Op::Abs => a.abs(),
        Op::Dp4a => dot(shape, x),
        // Positions and lengths have eight bits; what more of them means is open.
        Op::Bfe if (x[1] | x[2]) > 0xff => return None,
        Op::Bfi if (x[2] | x[3]) > 0xff => return None,
        _ => return Some(bitwise(shape, x)),
    };
    let result = if shape.has(Word::Wide) { width * 2 } else { width };
    Some(low(bits_of(value), result))
}

fn product(shape: &Shape<'_>, a: i128, b: i128) -> i128 {
    // Two 64-bit factors have a product of 128 bits: unsigned, it needs all of them.
    let product = a.wrapping_mul(b);
    if !shape.has(Word::Hi) {
        return product;
    }
    let width = shape.t.bits();
    if shape.t.is_signed() { product >> width } else { (product.cast_unsigned() >> width).cast_signed() }
}

fn dot(shape: &Shape<'_>, x: [u64; 4]) -> i128 {
    let byte = |bits: u64, n: u32, ty: Word| integer(bits >> (8 * n), if ty.is_signed() { Word::S8 } else { Word::U8 });
    let sum: i128 = (0..4).map(|n| byte(x[0], n, shape.t) * byte(x[1], n, shape.s)).sum();
    sum + integer(x[2], Word::S32)
}

fn bitwise(shape: &Shape<'_>, x: [u64; 4]) -> u64 {
    let width = shape.t.bits();
    let [a, b, c, d] = x;
    let bits = match shape.op {
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => a ^ b,
        Op::Not => !a,
        Op::Lop3 => lookup(a, b, c, d),
        Op::Shl => {
            if low(b, 32) >= width.into() {
                0
            } else {
                a << b
            }
        }
        Op::Shr => bits_of(integer(a, shape.t) >> low(b, 32).min(u64::from(width))),
        Op::Shf => funnel(shape, a, b, c),
        Op::Prmt => permute(a, b, c),
        Op::Bfe => extract(shape.t, a, b, c),
        Op::Bfi => insert(a, b, c, d, width.into()),
        Op::Popc => low(a, width).count_ones().into(),
        Op::Clz => u64::from(low(a, width).leading_zeros()) - u64::from(64 - width),
        Op::Brev => a.reverse_bits() >> (64 - width),
        other => unreachable!("{other} is not bitwise"),
    };
    low(bits, width)
}

/// Bit by bit the entry `4 a + 2 b + c` of the truth table.
fn lookup(a: u64, b: u64, c: u64, table: u64) -> u64 {
    (0..8).filter(|entry| table >> entry & 1 == 1).fold(0, |bits, entry| {
        let pick = |value: u64, bit: u64| if entry >> bit & 1 == 1 { value } else { !value };
        bits | (pick(a, 2) & pick(b, 1) & pick(c, 0))
    })
}

fn funnel(shape: &Shape<'_>, a: u64, b: u64, amount: u64) -> u64 {
    let n = if shape.has(Word::Wrap) { amount & 31 } else { low(amount, 32).min(32) };
    let joined = low(b, 32) << 32 | low(a, 32);
    if shape.has(Word::L) { (joined << n) >> 32 } else { joined >> n }
}

fn permute(a: u64, b: u64, selector: u64) -> u64 {
    let bytes = low(b, 32) << 32 | low(a, 32);
    (0..4).fold(0, |result, n| {
        let choice = selector >> (4 * n) & 0xf;
        let byte = bytes >> (8 * (choice & 7)) & 0xff;
        let byte = if choice & 8 == 0 { byte } else { (byte >> 7) * 0xff };
        result | byte << (8 * n)
    })
}

fn extract(ty: Word, a: u64, start: u64, length: u64) -> u64 {
    let top = u64::from(ty.bits()) - 1;
    if length == 0 {
        return 0;
    }
    let sign = if ty.is_signed() { a >> (start + length - 1).min(top) & 1 } else { 0 };
    (0..=top).fold(0, |bits, n| {
        let inside = n < length && start + n <= top;
        bits | (if inside { a >> (start + n) & 1 } else { sign }) << n
    })
}

fn insert(from: u64, into: u64, start: u64, length: u64, width: u64) -> u64 {
    (start..(start + length).min(width)).fold(into, |bits, n| (bits & !(1 << n)) | (from >> (n - start) & 1) << n)
}

fn compare(shape: &Shape<'_>, a: u64, b: u64) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let float = |a: f64, b: f64| a.partial_cmp(&b);
    let order = match shape.t {
        Word::F16 => float(F16.decode(a), F16.decode(b)),
        Word::F32 => float(f32::from_bits(a as u32).into(), f32::from_bits(b as u32).into()),
        Word::F64 => float(f64::from_bits(a), f64::from_bits(b)),
        ty => Some(integer(a, ty).cmp(&integer(b, ty))),
    };
    let is = |word: Word| shape.has(word);
    let unordered = is(Word::Equ) || is(Word::Neu) || is(Word::Ltu) || is(Word::Leu) || is(Word::Gtu) || is(Word::Geu);
    match order {
        None => unordered || is(Word::IsNan),
        Some(_) if is(Word::Num) => true,
        Some(_) if is(Word::IsNan) => false,
        Some(Less) => is(Word::Lt) || is(Word::Le) || is(Word::Ltu) || is(Word::Leu) || is(Word::Ne) || is(Word::Neu),
        Some(Greater) => {
            is(Word::Gt) || is(Word::Ge) || is(Word::Gtu) || is(Word::Geu) || is(Word::Ne) || is(Word::Neu)
        }
        Some(Equal) => is(Word::Eq) || is(Word::Le) || is(Word::Ge) || is(Word::Equ) || is(Word::Leu) || is(Word::Geu),
    }
}

/// What an atomic operation leaves in memory.
pub(crate) fn combine(shape: &Shape<'_>, old: u64, operand: u64, other: u64) -> u64 {
    let ty = shape.t;
    let of = |op| Shape { op, words: &[], ..*shape };
    let bits = if shape.has(Word::Add) {
        arithmetic(&of(Op::Add), [old, operand, 0, 0]).expect("sums have values")
    } else if shape.has(Word::Min) {
        bits_of(integer(old, ty).min(integer(operand, ty)))
    } else if shape.has(Word::Max) {
        bits_of(integer(old, ty).max(integer(operand, ty)))
    } else if shape.has(Word::And) {
        old & operand
    } else if shape.has(Word::Or) {
        old | operand
    } else if shape.has(Word::Xor) {
        old ^ operand
    } else if shape.has(Word::Exch) {
        operand
    } else if old == operand {
        other
    } else {
        old
    };
    low(bits, ty.bits())
}
