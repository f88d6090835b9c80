//! Elements of 4 bits in memory: two share a byte.
//!
//! In: an access to a memory of them. Out: read, each in a byte of its own; written, in pairs, as tile IR has it: along one axis, from an
//! even position. What the bits mean is [`crate::small`]'s.

use super::Lower;
use super::memory::{AccessAt, Coordinate};
use super::nest::{Axis, lanes_within};
use crate::vir::{Address, Elem, Type, Val};
use sawmill_ir::tile::AxisId;

impl Lower<'_> {
    /// Four-bit elements of a memory, each in a byte of its own: two lie in a byte, the even one low. Lanes that may not be read
    /// are any number; the second result says which may.
    pub(super) fn nibbles(&mut self, mut access: AccessAt) -> (Val, Val) {
        let vector = access.coordinates.iter().any(|c| !matches!(c, Coordinate::Scalar(_)));
        let at = self.positions_of_bytes(&mut access);
        let odd = self.constant_like(at, 1);
        let odd = self.b.and(at, odd);
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

    /// The loop over a row of pairs: in vectors of at least one.
    pub(super) fn row_of_pairs(&self, axis: AxisId, wanted: u8) -> Vec<Axis> {
        vec![Axis { axis, lanes: lanes_within(self.extent(axis), wanted.max(2)) }]
    }

    /// Writes codes of four bits, each in a byte of its own, two to a byte. What shares a byte with the last element of a row is 0.
    pub(super) fn store_pairs(&mut self, mut access: AccessAt, codes: Val) {
        self.positions_of_bytes(&mut access);
        let (offsets, valid) = self.scattered(&access);
        let [low, high] = [0, 1].map(|first| self.every_other(codes, first));
        let exists = self.every_other(valid, 1);
        let nothing = self.constant_like(high, 0);
        let high = self.b.select(exists, high, nothing);
        let four = self.constant_like(high, 4);
        let high = self.b.shl(high, four);
        let byte = self.b.or(low, high);
        let [offsets, valid] = [offsets, valid].map(|value| self.every_other(value, 0));
        let pointer = access.words.pointer;
        if self.b.ty(byte).lanes > 1 {
            self.b.scatter(byte, Address::indexed(pointer, offsets, 1), Some(valid));
        } else {
            self.b.if_then(valid, |b| b.store(byte, Address::indexed(pointer, offsets, 1)));
        }
    }

    /// The even lanes, or the odd ones: a scalar of two.
    fn every_other(&mut self, value: Val, first: u8) -> Val {
        match self.b.ty(value).lanes {
            2 => self.b.extract(value, first),
            lanes => {
                let lanes: Vec<u8> = (first..lanes).step_by(2).collect();
                self.b.shuffle(value, value, &lanes)
            }
        }
    }

    /// Lets an access mean bytes along the last dimension; gives the positions of elements, which stay inside by the access's mask.
    fn positions_of_bytes(&mut self, access: &mut AccessAt) -> Val {
        let lanes = access.lanes;
        let Some(last) = access.coordinates.len().checked_sub(1) else {
            self.defect("a scalar of four bits".to_owned());
            return self.b.i64(0);
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
        at
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
