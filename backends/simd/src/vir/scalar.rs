//! What each operation does to one lane: the meaning that emitters have to match bit for bit.
//!
//! In: an operation, the element and the bits of the operands. Out: the bits of the result, or `None` if the operation
//! does not work lane by lane. Lanes are held in the low bits of a u64, the rest is 0.
//!
//! f32 sums, products, quotients and roots are computed in f64 and rounded once more: that is exact, since
//! 53 >= 2 * 24 + 2 bits (Figueroa, "When is double rounding innocuous?", 1995). Only `fma` needs its own f32 form.

use super::ops::Op;
use super::types::Elem;

/// The lane's bits as a float; integers are not accepted by the table where this is used.
pub(super) fn to_float(elem: Elem, bits: u64) -> f64 {
    match elem {
        Elem::F32 => f64::from(f32::from_bits(bits as u32)),
        _ => f64::from_bits(bits),
    }
}

/// The bits of a float of this element.
pub(super) fn from_float(elem: Elem, value: f64) -> u64 {
    match elem {
        Elem::F32 => u64::from((value as f32).to_bits()),
        _ => value.to_bits(),
    }
}

/// The bits as a signed integer.
pub(super) fn to_int(elem: Elem, bits: u64) -> i64 {
    let unused = 64 - elem.bits();
    bits.cast_signed() << unused >> unused
}

/// The low bits of an integer.
pub(super) fn from_int(elem: Elem, value: i64) -> u64 {
    if elem == Elem::Bool {
        return u64::from(value & 1 != 0);
    }
    let unused = 64 - elem.bits();
    value.cast_unsigned() << unused >> unused
}

/// One lane of an operation with one operand of `elem`.
pub(super) fn unary(op: Op, elem: Elem, bits: u64) -> Option<u64> {
    if elem.is_float() {
        let a = to_float(elem, bits);
        let value = match op {
            Op::Neg => -a,
            Op::Abs => a.abs(),
            Op::Sqrt => a.sqrt(),
            Op::Floor => a.floor(),
            Op::Ceil => a.ceil(),
            Op::Round => a.round_ties_even(),
            Op::Trunc => a.trunc(),
            _ => return None,
        };
        return Some(from_float(elem, value));
    }
    let a = to_int(elem, bits);
    let value = match op {
        Op::Neg => a.wrapping_neg(),
        Op::Abs => a.wrapping_abs(),
        Op::Not => !a,
        Op::Popcount => i64::from(bits.count_ones()),
        Op::Clz => i64::from(bits.leading_zeros()) - i64::from(64 - elem.bits()),
        _ => return None,
    };
    Some(from_int(elem, value))
}

/// One lane of an operation with two operands of `elem`; comparisons give 0 or 1.
pub(super) fn binary(op: Op, elem: Elem, a: u64, b: u64) -> Option<u64> {
    if elem.is_float() { float_binary(op, elem, a, b) } else { int_binary(op, elem, a, b) }
}

fn float_binary(op: Op, elem: Elem, a_bits: u64, b_bits: u64) -> Option<u64> {
    let (a, b) = (to_float(elem, a_bits), to_float(elem, b_bits));
    let keep_a = |holds: bool| Some(if a.is_nan() || holds { a_bits } else { b_bits });
    let value = match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Min => return keep_a(a < b),
        Op::Max => return keep_a(a > b),
        Op::Eq => return Some(u64::from(a == b)),
        Op::Ne => return Some(u64::from(a != b)),
        Op::Lt => return Some(u64::from(a < b)),
        Op::Le => return Some(u64::from(a <= b)),
        Op::Gt => return Some(u64::from(a > b)),
        Op::Ge => return Some(u64::from(a >= b)),
        _ => return None,
    };
    Some(from_float(elem, value))
}

fn int_binary(op: Op, elem: Elem, a_bits: u64, b_bits: u64) -> Option<u64> {
    let (a, b) = (to_int(elem, a_bits), to_int(elem, b_bits));
    let count = (b_bits % u64::from(elem.bits())) as u32;
    let value = match op {
        Op::Add => a.wrapping_add(b),
        Op::Sub => a.wrapping_sub(b),
        Op::Mul => a.wrapping_mul(b),
        Op::Div if b == 0 => 0,
        Op::Div => a.wrapping_div_euclid(b),
        Op::Rem if b == 0 => a,
        Op::Rem => a.wrapping_rem_euclid(b),
        Op::Min => a.min(b),
        Op::Max => a.max(b),
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => a ^ b,
        Op::Shl => a.wrapping_shl(count),
        Op::Shr => a >> count,
        Op::Ushr => return Some(a_bits >> count),
        Op::Eq => i64::from(a == b),
        Op::Ne => i64::from(a != b),
        Op::Lt => i64::from(a < b),
        Op::Le => i64::from(a <= b),
        Op::Gt => i64::from(a > b),
        Op::Ge => i64::from(a >= b),
        Op::Ult => i64::from(a_bits < b_bits),
        Op::Ule => i64::from(a_bits <= b_bits),
        _ => return None,
    };
    Some(from_int(elem, value))
}

/// One lane of `fma`, rounded once or twice.
pub(super) fn fma(elem: Elem, [a, b, c]: [u64; 3], fused: bool) -> u64 {
    let float = |bits| to_float(elem, bits);
    match elem {
        _ if !fused => {
            let product = to_float(elem, from_float(elem, float(a) * float(b)));
            from_float(elem, product + float(c))
        }
        Elem::F32 => u64::from((float(a) as f32).mul_add(float(b) as f32, float(c) as f32).to_bits()),
        _ => from_float(elem, float(a).mul_add(float(b), float(c))),
    }
}

/// One lane of a conversion.
pub(super) fn convert(op: Op, from: Elem, to: Elem, bits: u64) -> Option<u64> {
    let signed = to_int(from, bits);
    Some(match op {
        Op::Sext | Op::Narrow => from_int(to, signed),
        Op::Zext => bits,
        // Through f64 an i64 would be rounded twice on its way to f32.
        Op::SintToFloat if to == Elem::F32 => u64::from((signed as f32).to_bits()),
        Op::SintToFloat => (signed as f64).to_bits(),
        Op::UintToFloat if to == Elem::F32 => u64::from((bits as f32).to_bits()),
        Op::UintToFloat => (bits as f64).to_bits(),
        Op::FloatToSint => match (to_float(from, bits), to) {
            (value, Elem::I32) => from_int(to, i64::from(value as i32)),
            (value, _) => from_int(to, value as i64),
        },
        Op::FloatToUint => match (to_float(from, bits), to) {
            (value, Elem::I32) => u64::from(value as u32),
            (value, _) => value as u64,
        },
        Op::FloatCast => from_float(to, to_float(from, bits)),
        Op::FromF16 => u64::from(f32_from_f16(bits as u16).to_bits()),
        Op::ToF16 => u64::from(f16_from_f32(f32::from_bits(bits as u32))),
        Op::FromBf16 => u64::from(f32_from_bf16(bits as u16).to_bits()),
        Op::ToBf16 => u64::from(bf16_from_f32(f32::from_bits(bits as u32))),
        Op::FromBool => bits,
        Op::MaskBits => from_int(to, -signed),
        _ => return None,
    })
}

/// The f32 of the bits of an f16.
pub fn f32_from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // As an f32 the bits are 2^112 times too small, in the subnormal range as well; only the top exponent is special.
    let scaled = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
    let top = if magnitude >= 0x7c00 << 13 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled | top | sign)
}

/// The bits of the f16 nearest to an f32, ties to even; NaN gives `0x7e00` with its sign.
pub fn f16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let rounded = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x4780_0000 {
        0x7c00
    } else if magnitude < 0x3880_0000 {
        // Below the least normal f16: adding 1/2 rounds the value to the f16 grid in the low bits of the sum.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()
    } else {
        (magnitude - 0x3800_0000 + 0xfff + (magnitude >> 13 & 1)) >> 13
    };
    sign | rounded as u16
}

/// The f32 of the bits of a bf16.
pub fn f32_from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bits of the bf16 nearest to an f32, ties to even; NaN gives `0x7fc0` with its sign.
pub fn bf16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16 & 0x8000) as u16 | 0x7fc0;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}
