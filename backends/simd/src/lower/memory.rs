//! Accesses at points: coordinates, tests, guarded loads.
//!
//! In: the subscripts of a load or store and a point. Out: the address and whether it may be accessed; for a load the element,
//! or the pad where it may not. A vector is read whole if its lanes are inside of the memory and next to each other, which is
//! tested in place; otherwise lane by lane.

use super::layout::{Point, Pos};
use super::plan::{inst_axes, pad_bits};
use super::scalar::MemoryWords;
use super::{Lower, storage};
use crate::vir::{Address, Elem, Type, Val};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{Inst, MemId, Op, Pad, Subscript, Value};

/// A coordinate of an access at a point.
#[derive(Clone, Copy)]
pub(super) enum Coordinate {
    /// One for all lanes.
    Scalar(Val),
    /// Consecutive from a first one.
    Ramp(Val),
    /// One per lane (i64).
    Lanes(Val),
}

/// An access at a point: everything needed to test it and to address it.
pub(super) struct AccessAt {
    pub(super) words: MemoryWords,
    pub(super) coordinates: Vec<Coordinate>,
    pub(super) lanes: u8,
    pub(super) count: u8,
    /// The user's mask, a scalar or one per lane.
    pub(super) mask: Option<Val>,
}

impl Lower<'_> {
    /// Where an access goes at a point.
    pub(super) fn access(
        &mut self,
        mem: MemId,
        subs: &[Subscript],
        args: &[Value],
        masked: bool,
        point: &Point,
    ) -> AccessAt {
        let words = self.memory_words(mem);
        let lane = point.iter().find(|(_, pos)| pos.lanes > 1);
        let coordinates =
            subs.iter().zip(args).map(|(sub, arg)| self.coordinate_of(sub, *arg, point)).collect::<Vec<_>>();
        let mask = masked.then(|| args[subs.len()]).map(|mask| self.eval(mask, point));
        let (lanes, count) = lane.map_or((1, 1), |(_, pos)| (pos.lanes, pos.count));
        AccessAt { words, coordinates, lanes, count, mask }
    }

    fn coordinate_of(&mut self, sub: &Subscript, arg: Value, point: &Point) -> Coordinate {
        let Subscript::Affine(terms) = sub else {
            let tile = self.eval(arg, point);
            let wide = self.as_i64(tile, self.dtype(arg));
            return if self.b.ty(wide).lanes > 1 { Coordinate::Lanes(wide) } else { Coordinate::Scalar(wide) };
        };
        let mut first = self.eval(arg, &Point::default());
        let mut ramp = 0;
        let mut lanes = 1;
        for (axis, coefficient) in terms {
            let Some(pos) = point.get(*axis) else {
                self.defect(format!("axis {axis} of an access is not bound"));
                continue;
            };
            let at = self.position(Pos { lanes: 1, count: 1, ..pos });
            let factor = self.b.i64(*coefficient);
            let step = if *coefficient == 1 { at } else { self.b.mul(at, factor) };
            first = self.b.add(first, step);
            if pos.lanes > 1 {
                ramp += coefficient;
                lanes = pos.lanes;
            }
        }
        match ramp {
            0 => Coordinate::Scalar(first),
            1 => Coordinate::Ramp(first),
            step => Coordinate::Lanes(self.along_lanes(first, lanes, step)),
        }
    }
    fn as_i64(&mut self, value: Val, dtype: DType) -> Val {
        match dtype {
            DType::I64 => value,
            DType::U32 => self.b.zext(value, Elem::I64),
            _ => self.b.sext(value, Elem::I64),
        }
    }

    /// Reads at a point and gives the pad where that is outside; the bits in memory if `raw`, else widened.
    pub(super) fn guarded_load(&mut self, inst: &Inst, point: &Point, raw: bool) -> Val {
        let Op::Load { mem, subs, pad, masked } = &inst.op else {
            self.defect("a guarded load of what is no load".to_owned());
            return self.b.i64(0);
        };
        let axes = inst_axes(self.kernel, inst);
        let point = point.restrict(&axes);
        let access = self.access(*mem, subs, &inst.args, *masked, &point);
        let dtype = self.kernel.memory[*mem].dtype;
        let scalar = access.coordinates.iter().all(|c| matches!(c, Coordinate::Scalar(_)));
        let pad = self.pad_value(*pad, dtype, raw);
        if dtype.bits() < 8 {
            let (bits, valid) = self.nibbles(access);
            let value = if raw { bits } else { self.widen_storage(bits, dtype) };
            let pad = self.widen(pad, self.b.ty(value).lanes);
            return self.b.select(valid, value, pad);
        }
        if scalar {
            return self.guarded_scalar(&access, dtype, pad, raw);
        }
        let elem = storage(dtype).unwrap_or(Elem::I8);
        let ty = Type::vector(elem, access.lanes);
        let padded = |s: &mut Self, value: Val, valid: Option<Val>| {
            let wide = if raw { value } else { s.widen_storage(value, dtype) };
            match valid {
                Some(valid) => {
                    let pad = s.widen(pad, access.lanes);
                    s.b.select(valid, wide, pad)
                }
                None => wide,
            }
        };
        let Some((inside, address)) = self.contiguous(&access, elem) else {
            let (offsets, valid) = self.scattered(&access);
            let value = self.b.gather(elem, Address::indexed(access.words.pointer, offsets, 1), Some(valid));
            return padded(self, value, Some(valid));
        };
        self.b.begin_if(inside);
        self.open_scope();
        let value = if access.count < access.lanes {
            let count = self.b.i64(i64::from(access.count));
            self.b.load_part(ty, address, count)
        } else {
            self.b.load(ty, address)
        };
        let mask = access.mask;
        let quick = padded(self, value, mask);
        self.close_scope();
        self.b.begin_else(&[quick]);
        self.open_scope();
        // Where a scalar coordinate is outside, every lane is.
        let (outer, _) = self.scalar_address(&access);
        if let Some(outer) = outer {
            self.b.begin_if(outer);
        }
        self.open_scope();
        let (offsets, valid) = self.scattered(&access);
        let value = self.b.gather(elem, Address::indexed(access.words.pointer, offsets, 1), Some(valid));
        let mut slow = padded(self, value, Some(valid));
        self.close_scope();
        if outer.is_some() {
            self.b.begin_else(&[slow]);
            self.open_scope();
            let outside = self.widen(pad, access.lanes);
            self.close_scope();
            slow = self.b.end_if(&[outside])[0];
        }
        self.close_scope();
        self.b.end_if(&[slow])[0]
    }

    fn guarded_scalar(&mut self, access: &AccessAt, dtype: DType, pad: Val, raw: bool) -> Val {
        let elem = storage(dtype).unwrap_or(Elem::I8);
        let (mut valid, address) = self.scalar_address(access);
        let scalar_mask = access.mask.filter(|m| self.b.ty(*m).lanes == 1);
        if let Some(mask) = scalar_mask {
            valid = Some(valid.map_or(mask, |v| self.b.and(v, mask)));
        }
        let address = match valid {
            Some(valid) => {
                let spare = self.spare();
                self.b.select(valid, address, spare)
            }
            None => address,
        };
        let bits = self.b.load(Type::scalar(elem), Address::new(address));
        let mut value = if raw { bits } else { self.widen_storage(bits, dtype) };
        if let Some(valid) = valid {
            value = self.b.select(valid, value, pad);
        }
        match access.mask {
            Some(mask) if self.b.ty(mask).lanes > 1 => {
                let lanes = self.b.ty(mask).lanes;
                let (value, pad) = (self.widen(value, lanes), self.widen(pad, lanes));
                self.b.select(mask, value, pad)
            }
            _ => value,
        }
    }
    /// Whether all scalar coordinates are inside, and the address they give.
    pub(super) fn scalar_address(&mut self, access: &AccessAt) -> (Option<Val>, Val) {
        let mut valid: Option<Val> = None;
        let mut address = access.words.pointer;
        for (dimension, coordinate) in access.coordinates.iter().enumerate() {
            let Coordinate::Scalar(at) = *coordinate else { continue };
            let inside = self.b.ult(at, access.words.extents[dimension]);
            valid = Some(valid.map_or(inside, |v| self.b.and(v, inside)));
            let offset = self.b.mul(at, access.words.strides[dimension]);
            address = self.b.add(address, offset);
        }
        (valid, address)
    }
    /// If one coordinate alone runs along the lanes, by one: whether the lanes are inside and next to each other in memory, and
    /// the address of the first.
    pub(super) fn contiguous(&mut self, access: &AccessAt, elem: Elem) -> Option<(Val, Address)> {
        let mut ramp = None;
        for (dimension, coordinate) in access.coordinates.iter().enumerate() {
            match coordinate {
                Coordinate::Scalar(_) => {}
                Coordinate::Ramp(first) if ramp.is_none() => ramp = Some((dimension, *first)),
                _ => return None,
            }
        }
        let (dimension, first) = ramp?;
        let (valid, address) = self.scalar_address(access);
        let zero = self.b.i64(0);
        let last = self.b.i64(i64::from(access.count) - 1);
        let last = self.b.add(first, last);
        let from = self.b.ge(first, zero);
        let to = self.b.lt(last, access.words.extents[dimension]);
        let mut inside = self.b.and(from, to);
        let stride = access.words.strides[dimension];
        let bytes = self.b.i64(i64::from(elem.bytes()));
        let packed = self.b.eq(stride, bytes);
        inside = self.b.and(inside, packed);
        if let Some(valid) = valid {
            inside = self.b.and(inside, valid);
        }
        Some((inside, Address::indexed(address, first, elem.bytes())))
    }
    /// Byte offsets from the memory's start, and which lanes may be accessed.
    pub(super) fn scattered(&mut self, access: &AccessAt) -> (Val, Val) {
        let lanes = access.lanes;
        let mut valid = self.valid_lanes(lanes, access.count);
        let mut offsets: Option<Val> = None;
        for (dimension, coordinate) in access.coordinates.iter().enumerate() {
            let at = match *coordinate {
                Coordinate::Scalar(at) => self.widen(at, lanes),
                Coordinate::Ramp(first) => self.along_lanes(first, lanes, 1),
                Coordinate::Lanes(at) => at,
            };
            let (extent, stride) = (access.words.extents[dimension], access.words.strides[dimension]);
            let (extent, stride) = (self.widen(extent, lanes), self.widen(stride, lanes));
            let inside = self.b.ult(at, extent);
            valid = self.b.and(valid, inside);
            let bytes = self.b.mul(at, stride);
            offsets = Some(offsets.map_or(bytes, |o| self.b.add(o, bytes)));
        }
        if let Some(mask) = access.mask {
            let mask = self.widen(mask, lanes);
            valid = self.b.and(valid, mask);
        }
        let offsets = match offsets {
            Some(offsets) => offsets,
            None => self.b.int(Type::vector(Elem::I64, lanes), 0),
        };
        (offsets, valid)
    }
    fn pad_value(&mut self, pad: Pad, dtype: DType, raw: bool) -> Val {
        let elem = storage(dtype).unwrap_or(Elem::I8);
        if raw {
            let bits = pad_bits(pad, dtype).unwrap_or(0);
            return self.b.constant(Type::scalar(elem), bits);
        }
        let wide = self.elem(dtype.widened());
        match pad {
            Pad::Undef => self.b.int(Type::scalar(wide), 0),
            Pad::Value(value) => self.constant(value, wide),
        }
    }
}
