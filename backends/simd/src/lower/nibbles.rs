//! Elements of 4 bits in memory: two share a byte.
//!
//! In: an access to a memory of them. Out: each in a byte of its own. What the bits mean is [`crate::small`]'s.

use super::Lower;
use super::memory::{AccessAt, Coordinate};
use crate::vir::{Address, Elem, Type, Val};

impl Lower<'_> {
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
}
