//! Binary floating-point formats, rounded exactly.
//!
//! In: a number as sign, integer and power of two, which every float and every integer is. Out: the bits of the nearest value of a
//! format, by any rounding. All arithmetic is on integers, so nothing is rounded twice.

/// How a value between two of a format is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// To zero.
    Zero,
    /// To minus infinity.
    Down,
    /// To plus infinity.
    Up,
    /// To nearest, ties away from zero.
    NearestAway,
}

/// A format of sign, exponent and fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    exponent: u32,
    fraction: u32,
    /// Whether the largest exponent holds numbers, but for one NaN (OCP E4M3).
    finite: bool,
}

pub(crate) const F64: Format = Format { exponent: 11, fraction: 52, finite: false };
pub(crate) const F32: Format = Format { exponent: 8, fraction: 23, finite: false };
pub(crate) const F16: Format = Format { exponent: 5, fraction: 10, finite: false };
pub(crate) const BF16: Format = Format { exponent: 8, fraction: 7, finite: false };
pub(crate) const E4M3: Format = Format { exponent: 4, fraction: 3, finite: true };
pub(crate) const E5M2: Format = Format { exponent: 5, fraction: 2, finite: false };

/// `(-1)^negative * integer * 2^power`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exact {
    pub(crate) negative: bool,
    pub(crate) integer: u64,
    pub(crate) power: i32,
}

impl Exact {
    /// A finite double.
    pub(crate) fn of_f64(value: f64) -> Self {
        let bits = value.to_bits();
        let exponent = i32::try_from((bits >> 52) & 0x7ff).expect("11 bits");
        let fraction = bits & ((1 << 52) - 1);
        let integer = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        Self { negative: value.is_sign_negative(), integer, power: exponent.max(1) - 1075 }
    }
    /// An integer.
    pub(crate) fn of_int(value: i128) -> Self {
        let integer = u64::try_from(value.unsigned_abs()).expect("integers have at most 64 bits");
        Self { negative: value < 0, integer, power: 0 }
    }
}

impl Format {
    fn width(self) -> u32 {
        1 + self.exponent + self.fraction
    }
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }
    /// The bits of the largest finite value.
    fn largest(self) -> u64 {
        let ones = (1 << (self.exponent + self.fraction)) - 1;
        if self.finite { ones - 1 } else { ones - (1 << self.fraction) }
    }
    /// The NaN that instructions give: all ones but the sign.
    pub(crate) fn nan(self) -> u64 {
        (1 << (self.exponent + self.fraction)) - 1
    }

    /// The value of bits.
    pub(crate) fn decode(self, bits: u64) -> f64 {
        let negative = bits >> (self.width() - 1) & 1 == 1;
        let magnitude = bits & self.nan();
        let sign = if negative { -1.0 } else { 1.0 };
        if magnitude > self.largest() {
            let infinite = !self.finite && magnitude == self.largest() + 1;
            return if infinite { sign * f64::INFINITY } else { f64::NAN };
        }
        let fraction = magnitude & ((1 << self.fraction) - 1);
        let field = i32::try_from(magnitude >> self.fraction).expect("an exponent has few bits");
        let integer = if field == 0 { fraction } else { fraction | 1 << self.fraction };
        let power = field.max(1) - self.bias() - self.fraction.cast_signed();
        // Both factors are exact; two steps, because the least doubles are below the least power of two.
        #[expect(clippy::cast_precision_loss, reason = "at most 53 bits")]
        let integer = integer as f64;
        sign * integer * 2_f64.powi(power / 2) * 2_f64.powi(power - power / 2)
    }

    /// The bits of `value`; `saturate` gives the largest finite value for what is beyond it.
    pub(crate) fn encode(self, value: f64, rounding: Rounding, saturate: bool) -> u64 {
        let sign = u64::from(value.is_sign_negative()) << (self.width() - 1);
        if value.is_nan() {
            self.nan()
        } else if value.is_infinite() {
            sign | if saturate || self.finite { self.largest() } else { self.largest() + 1 }
        } else {
            self.round(Exact::of_f64(value), rounding, saturate)
        }
    }

    /// The bits of an exact number.
    pub(crate) fn round(self, value: Exact, rounding: Rounding, saturate: bool) -> u64 {
        let sign = u64::from(value.negative) << (self.width() - 1);
        if value.integer == 0 {
            return sign;
        }
        let top = 63 - value.integer.leading_zeros().cast_signed() + value.power;
        let least = 1 - self.bias();
        let quantum = top.max(least) - self.fraction.cast_signed();
        let units = round_shift(value, quantum - value.power, rounding);
        // The hidden bit adds one to the exponent field, and so does a carry out of the fraction.
        let field = u64::try_from(top.max(least) - least).expect("not negative");
        let magnitude = (field << self.fraction) + units;
        if magnitude <= self.largest() {
            return sign | magnitude;
        }
        let away = match rounding {
            Rounding::Nearest | Rounding::NearestAway => true,
            Rounding::Zero => false,
            Rounding::Down => value.negative,
            Rounding::Up => !value.negative,
        };
        sign | if saturate || !away { self.largest() } else { self.largest() + 1 }
    }
}

/// The integer without its lowest `shift` bits, rounded; a negative shift adds zeros.
fn round_shift(value: Exact, shift: i32, rounding: Rounding) -> u64 {
    if shift <= 0 {
        return value.integer << -shift;
    }
    let shift = shift.min(65).unsigned_abs();
    let wide = u128::from(value.integer);
    let (floor, rest, half) = (wide >> shift, wide & ((1 << shift) - 1), 1_u128 << (shift - 1));
    let up = match rounding {
        Rounding::Nearest => rest > half || (rest == half && floor & 1 == 1),
        Rounding::NearestAway => rest >= half,
        Rounding::Zero => false,
        Rounding::Down => rest > 0 && value.negative,
        Rounding::Up => rest > 0 && !value.negative,
    };
    u64::try_from(floor).expect("it was one before") + u64::from(up)
}

/// `a + b` with the last bit set if it is not exact: rounding the result again is as rounding the sum once.
pub(crate) fn add_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let part = sum - a;
    let error = (a - (sum - part)) + (b - part);
    if error == 0.0 || !sum.is_finite() || sum.to_bits() & 1 == 1 {
        return sum;
    }
    // The exact sum lies beside an even double; its odd neighbour on that side stands for it.
    let toward_zero = (error > 0.0) != (sum > 0.0);
    f64::from_bits(if toward_zero { sum.to_bits() - 1 } else { sum.to_bits() + 1 })
}

#[cfg(test)]
mod tests {
    use super::{BF16, E4M3, E5M2, Exact, F16, F32, F64, Format, Rounding, add_to_odd};

    #[test]
    fn halves_agree_with_the_crate_half() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (half::f16::from_bits(bits), half::bf16::from_bits(bits));
            if half.is_nan() {
                assert!(F16.decode(bits.into()).is_nan());
            } else {
                assert_eq!(F16.decode(bits.into()), half.to_f64());
            }
            if !brain.is_nan() {
                assert_eq!(BF16.decode(bits.into()), brain.to_f64());
            }
            let value = f32::from_bits(u32::from(bits).wrapping_mul(0x9e37_79b9));
            if !value.is_nan() {
                let rounded = |format: Format| format.encode(value.into(), Rounding::Nearest, false);
                assert_eq!(rounded(F16), u64::from(half::f16::from_f32(value).to_bits()), "{value:e}");
                assert_eq!(rounded(BF16), u64::from(half::bf16::from_f32(value).to_bits()), "{value:e}");
                assert_eq!(rounded(F32), u64::from(value.to_bits()));
                assert_eq!(rounded(F64), f64::from(value).to_bits());
            }
        }
    }

    #[test]
    fn eight_bit_floats_have_the_limits_of_the_standard() {
        // OCP 8-bit floating point specification, revision 1.0, table 2.
        assert_eq!(E4M3.decode(0x7e), 448.0);
        assert_eq!(E4M3.decode(0x08), 2_f64.powi(-6));
        assert_eq!(E4M3.decode(0x01), 2_f64.powi(-9));
        assert!(E4M3.decode(0x7f).is_nan());
        assert_eq!(E5M2.decode(0x7b), 57344.0);
        assert_eq!(E5M2.decode(0x01), 2_f64.powi(-16));
        assert_eq!(E5M2.decode(0xfc), f64::NEG_INFINITY);
        assert_eq!(E4M3.encode(1e9, Rounding::Nearest, true), 0x7e);
        assert_eq!(E5M2.encode(f64::NEG_INFINITY, Rounding::Nearest, true), 0xfb);
    }

    #[test]
    fn every_value_is_its_own_rounding() {
        for (format, width) in [(E4M3, 8), (E5M2, 8), (F16, 16)] {
            for bits in 0..1_u64 << width {
                let value = format.decode(bits);
                if value.is_finite() {
                    for rounding in [Rounding::Nearest, Rounding::Zero, Rounding::Down, Rounding::Up] {
                        assert_eq!(format.encode(value, rounding, true), bits);
                    }
                }
            }
        }
    }

    #[test]
    fn directions_are_as_named() {
        let third = 1.0 / 3.0;
        let by = |value, rounding| F32.decode(F32.encode(value, rounding, false));
        assert!(by(third, Rounding::Down) < third && third < by(third, Rounding::Up));
        assert!(by(-third, Rounding::Down) < -third && -third < by(-third, Rounding::Up));
        assert_eq!(by(1e300, Rounding::Zero), f64::from(f32::MAX));
        assert_eq!(by(1e300, Rounding::Up), f64::INFINITY);
        let odd = Exact::of_int(i128::from(u64::MAX));
        assert_eq!(F32.round(odd, Rounding::Zero, false), u64::from(18_446_742_974_197_923_840_f32.to_bits()));
    }

    #[test]
    fn a_sum_to_odd_rounds_as_the_exact_sum() {
        // Just above half between two bf16 values: rounded to double first, the excess would be lost.
        let sum = add_to_odd(1.0 + 2_f64.powi(-8), 2_f64.powi(-80));
        assert_eq!(BF16.encode(sum, Rounding::Nearest, false), 0x3f81);
        let below = add_to_odd(1.0 + 3.0 * 2_f64.powi(-8), -(2_f64.powi(-80)));
        assert_eq!(BF16.encode(below, Rounding::Nearest, false), 0x3f81);
    }
}
