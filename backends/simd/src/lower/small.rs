//! Floats of 8 and 4 bits and integers of 4: from and to the computing type, by integer operations on whole vectors.
//!
//! In: bits as they lie in memory, or values. Out: values, or bits. Reading is exact. Writing rounds to nearest even; floats saturate, NaN
//! stays NaN where the type has one. A number of a small float is a half-precision number with fewer bits, times a power of
//! two: reading moves the bits in place and multiplies. Formats: OCP 8-bit floating point, OCP microscaling.

use super::Lower;
use super::memory::{AccessAt, Coordinate};
use crate::vir::{Address, Elem, Type, Val};
use sawmill_ir::dtype::DType;

/// A small float with a sign: bits of the mantissa, bias of the exponent, largest finite value.
struct Small {
    mantissa: i64,
    bias: i64,
    largest: f64,
}

fn small(dtype: DType) -> Option<Small> {
    match dtype {
        DType::F8E4M3 => Some(Small { mantissa: 3, bias: 7, largest: 448.0 }),
        DType::F8E5M2 => Some(Small { mantissa: 2, bias: 15, largest: 57344.0 }),
        DType::F4E2M1 => Some(Small { mantissa: 1, bias: 1, largest: 6.0 }),
        _ => None,
    }
}

impl Lower<'_> {
    /// The value of an 8-bit element, or of a 4-bit one in the low bits of its own byte; `None` for other types.
    pub(super) fn widen_small(&mut self, raw: Val, dtype: DType) -> Option<Val> {
        Some(match dtype {
            DType::F8E8M0 => self.power_of_two(raw),
            DType::F8E5M2 => {
                let bits = self.b.zext(raw, Elem::I32);
                let bits = self.shifted_left(bits, 8);
                let half = self.b.narrow(bits, Elem::I16);
                self.b.from_f16(half, Elem::F32)
            }
            DType::F8E4M3 => {
                let value = self.as_half(raw, 3, 4);
                let wide = self.b.zext(raw, Elem::I32);
                let seven = self.masked(wide, 0x7f);
                let nan = self.constant_like(seven, 0x7f);
                let is_nan = self.b.eq(seven, nan);
                let nan = self.b.float(self.b.ty(value), f64::NAN);
                self.b.select(is_nan, nan, value)
            }
            DType::F4E2M1 => self.as_half(raw, 1, 2),
            DType::U4 => self.b.zext(raw, Elem::I32),
            DType::I4 => {
                let wide = self.b.zext(raw, Elem::I32);
                let up = self.shifted_left(wide, 28);
                let by = self.constant_like(up, 28);
                self.b.shr(up, by)
            }
            _ => return None,
        })
    }

    /// The bits of a value in an 8-bit type, or of a 4-bit one in the low bits of a byte; `None` for other types.
    pub(super) fn stored_small(&mut self, value: Val, dtype: DType) -> Option<Val> {
        if let Some(format) = small(dtype) {
            return Some(self.small_bits(value, &format, dtype));
        }
        Some(match dtype {
            DType::F8E8M0 => self.exponent_bits(value),
            DType::U4 | DType::I4 => {
                let low = self.masked(value, 15);
                self.b.narrow(low, Elem::I8)
            }
            _ => return None,
        })
    }

    /// The bits moved to where a half has them, as a half, times what the biases differ by.
    fn as_half(&mut self, raw: Val, mantissa: i64, exponent: i64) -> Val {
        let bits = self.b.zext(raw, Elem::I32);
        let size = self.masked(bits, (1 << (mantissa + exponent)) - 1);
        let size = self.shifted_left(size, 10 - mantissa);
        let sign = self.masked(bits, 1 << (mantissa + exponent));
        let sign = self.shifted_left(sign, 15 - mantissa - exponent);
        let half = self.b.or(size, sign);
        let half = self.b.narrow(half, Elem::I16);
        let value = self.b.from_f16(half, Elem::F32);
        let bias = (1_i64 << (exponent - 1)) - 1;
        let scale = self.b.float(self.b.ty(value), 2.0_f64.powi(i32::try_from(15 - bias).unwrap_or(0)));
        self.b.mul(value, scale)
    }

    /// 2 to the power of the byte less 127; all ones are NaN.
    fn power_of_two(&mut self, raw: Val) -> Val {
        let bits = self.b.zext(raw, Elem::I32);
        let normal = self.shifted_left(bits, 23);
        let zero = self.constant_like(bits, 0);
        let least = self.b.eq(bits, zero);
        let subnormal = self.constant_like(bits, 0x0040_0000);
        let power = self.b.select(least, subnormal, normal);
        let top = self.constant_like(bits, 255);
        let nan = self.constant_like(bits, i64::from(f32::NAN.to_bits()));
        let is_nan = self.b.eq(bits, top);
        let power = self.b.select(is_nan, nan, power);
        self.b.bitcast(power, self.b.ty(power).with_elem(Elem::F32))
    }

    fn small_bits(&mut self, value: Val, format: &Small, dtype: DType) -> Val {
        let Small { mantissa, bias, largest } = *format;
        let ty = self.b.ty(value);
        let ints = ty.with_elem(Elem::I32);
        let bits = self.b.bitcast(value, ints);
        let magnitude = self.masked(bits, 0x7fff_ffff);
        let size = self.b.bitcast(magnitude, ty);
        let largest = self.b.float(ty, largest);
        let size = self.b.min(size, largest);
        // A normal result: adds half of what is cut off, ties to even, and moves the exponent.
        let cut = 23 - mantissa;
        let whole = self.b.bitcast(size, ints);
        let by = self.constant_like(whole, cut);
        let kept = self.b.ushr(whole, by);
        let odd = self.masked(kept, 1);
        let half = self.constant_like(whole, (1 << (cut - 1)) - 1);
        let rounded = self.b.add(whole, half);
        let rounded = self.b.add(rounded, odd);
        let rounded = self.b.ushr(rounded, by);
        let moved = self.constant_like(whole, (127 - bias) << mantissa);
        let normal = self.b.sub(rounded, moved);
        // A subnormal one: adding a power of two rounds to multiples of the smallest number.
        let step = i32::try_from(1 - bias - mantissa).unwrap_or(0);
        let magic = 2.0_f64.powi(step + 23);
        let shift = self.b.float(ty, magic);
        let sum = self.b.add(size, shift);
        let sum = self.b.bitcast(sum, ints);
        let base = self.constant_like(sum, i64::from((magic as f32).to_bits()));
        let subnormal = self.b.sub(sum, base);
        let limit = self.b.float(ty, 2.0_f64.powi(i32::try_from(1 - bias).unwrap_or(0)));
        let is_small = self.b.lt(size, limit);
        let code = self.b.select(is_small, subnormal, normal);
        let place = if dtype == DType::F4E2M1 { 3 } else { 7 };
        let by = self.constant_like(bits, 31 - place);
        let sign = self.b.ushr(bits, by);
        let sign = self.masked(sign, 1 << place);
        let code = self.b.or(code, sign);
        let is_nan = self.b.ne(value, value);
        // Four bits have no NaN: what comes of one is the largest number.
        let nan = self.constant_like(code, if dtype == DType::F4E2M1 { 7 } else { 0x7f });
        let code = self.b.select(is_nan, nan, code);
        self.b.narrow(code, Elem::I8)
    }

    /// The nearest power of two as its exponent: half way goes up, zero and what is negative to the least.
    fn exponent_bits(&mut self, value: Val) -> Val {
        let bits = self.b.bitcast(value, self.b.ty(value).with_elem(Elem::I32));
        let half = self.constant_like(bits, 0x0040_0000);
        let rounded = self.b.add(bits, half);
        let by = self.constant_like(bits, 23);
        let code = self.b.ushr(rounded, by);
        let most = self.constant_like(bits, 254);
        let code = self.b.min(code, most);
        let least = self.constant_like(bits, 0x0060_0000);
        let is_least = self.b.lt(bits, least);
        let zero = self.constant_like(bits, 0);
        let code = self.b.select(is_least, zero, code);
        let is_nan = self.b.ne(value, value);
        let nan = self.constant_like(bits, 255);
        let code = self.b.select(is_nan, nan, code);
        self.b.narrow(code, Elem::I8)
    }

    /// Four-bit elements of a memory, each in a byte of its own: two lie in a byte, the even one low. Lanes that may not be read
    /// are any number; the second result says which may.
    pub(super) fn nibbles(&mut self, mut access: AccessAt) -> (Val, Val) {
        let lanes = access.lanes;
        let vector = access.coordinates.iter().any(|c| !matches!(c, Coordinate::Scalar(_)));
        let Some(last) = access.coordinates.len().checked_sub(1) else {
            self.defect("a scalar of four bits".to_owned());
            return (self.b.i64(0), self.b.i64(0));
        };
        let at = match access.coordinates[last] {
            Coordinate::Ramp(first) => self.along_lanes(first, lanes, 1),
            Coordinate::Scalar(at) | Coordinate::Lanes(at) => at,
        };
        let spread = self.b.ty(at).lanes;
        let extent = self.widen(access.words.extents[last], spread);
        let inside = self.b.ult(at, extent);
        access.mask = Some(match access.mask {
            Some(mask) => {
                let both = self.b.ty(mask).lanes.max(spread);
                let (mask, inside) = (self.widen(mask, both), self.widen(inside, both));
                self.b.and(mask, inside)
            }
            None => inside,
        });
        let one = self.constant_like(at, 1);
        let byte = self.b.shr(at, one);
        let (unit, whole) = (self.b.i64(1), access.words.extents[last]);
        let pairs = self.b.add(whole, unit);
        access.words.extents[last] = self.b.shr(pairs, unit);
        access.coordinates[last] = if spread > 1 { Coordinate::Lanes(byte) } else { Coordinate::Scalar(byte) };
        let odd = self.b.and(at, one);
        let two = self.constant_like(odd, 2);
        let shift = self.b.shl(odd, two);
        let shift = self.b.narrow(shift, Elem::I32);
        let (bytes, valid) = if vector {
            let (offsets, valid) = self.scattered(&access);
            (self.b.gather(Elem::I8, Address::indexed(access.words.pointer, offsets, 1), Some(valid)), valid)
        } else {
            self.one_byte(&access)
        };
        let wide = self.b.zext(bytes, Elem::I32);
        let shift = self.widen(shift, self.b.ty(wide).lanes);
        let low = self.b.ushr(wide, shift);
        let low = self.masked(low, 15);
        (self.b.narrow(low, Elem::I8), valid)
    }

    /// The byte of an access without lanes, and whether it may be read: a scalar, or one truth for each lane of its mask.
    fn one_byte(&mut self, access: &AccessAt) -> (Val, Val) {
        let (valid, address) = self.scalar_address(access);
        let mask = access.mask.expect("invariant: four-bit accesses test their own position");
        let of_mask = self.b.ty(mask).lanes;
        let valid = match valid {
            Some(valid) => {
                let valid = self.widen(valid, of_mask);
                self.b.and(valid, mask)
            }
            None => mask,
        };
        let spare = self.spare();
        let mut safe = Some(valid).filter(|_| of_mask == 1);
        if of_mask > 1 {
            safe = self.scalar_address(access).0;
        }
        let address = safe.map_or(address, |safe| self.b.select(safe, address, spare));
        let byte = self.b.load(Type::scalar(Elem::I8), Address::new(address));
        (self.widen(byte, of_mask), valid)
    }

    fn constant_like(&mut self, value: Val, bits: i64) -> Val {
        let ty = self.b.ty(value);
        self.b.int(ty, bits)
    }
    fn masked(&mut self, value: Val, bits: i64) -> Val {
        let mask = self.constant_like(value, bits);
        self.b.and(value, mask)
    }
    fn shifted_left(&mut self, value: Val, by: i64) -> Val {
        let by = self.constant_like(value, by);
        self.b.shl(value, by)
    }
}
