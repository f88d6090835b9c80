//! Evaluates values at points.
//!
//! In: a value and the point. Out: a scalar, or a vector if the value depends on the axis in lanes. What was computed at the
//! same positions in an open block is used again, so unrolled bodies share operands.

use super::layout::{Buffer, Place, Point, Stride, View};
use super::{Lower, SPARE};
use crate::small;
use crate::vir::{Address, Elem, Type, Val};
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::entity::Entity;
use sawmill_ir::tile::{AxisId, Inst, Op, Value};

impl Lower<'_> {
    /// The value at `point`, which binds all of its axes.
    pub(super) fn eval(&mut self, value: Value, point: &Point) -> Val {
        let place = match self.place(value) {
            Some(Place::Scalar(scalar)) => return *scalar,
            Some(Place::Alias(other)) => {
                let other = *other;
                return self.eval(other, point);
            }
            Some(place) => place.clone(),
            None => {
                self.defect(format!("{value} is read before it is computed"));
                Place::Fused
            }
        };
        let key = (value, point.restrict(self.axes(value)));
        if let Some(known) = self.scopes.iter().rev().find_map(|scope| scope.get(&key)) {
            return *known;
        }
        let result = match place {
            Place::Buffer(buffer) => self.read_buffer(&buffer, &key.1),
            Place::View(view) => self.read_view(&view, &key.1),
            _ => self.compute(value, &key.1),
        };
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(key, result);
        }
        result
    }

    /// The value at `point`, in as many lanes as the point has.
    pub(super) fn eval_lanes(&mut self, value: Value, point: &Point, lanes: u8) -> Val {
        let result = self.eval(value, point);
        self.widen(result, lanes)
    }
    /// A scalar in every one of `lanes`.
    pub(super) fn widen(&mut self, value: Val, lanes: u8) -> Val {
        if lanes == 1 || self.b.ty(value).lanes > 1 {
            return value;
        }
        if let Some(known) = self.splats.iter().rev().find_map(|s| s.get(&(value, lanes))) {
            return *known;
        }
        let vector = self.b.splat(value, lanes);
        if let Some(scope) = self.splats.last_mut() {
            scope.insert((value, lanes), vector);
        }
        vector
    }

    /// Reads a scalar although it was read before, if it is in memory as it is computed with.
    pub(super) fn read_afresh(&mut self, value: Value, point: &Point) -> Option<Val> {
        let at = point.restrict(self.axes(value));
        match self.place(value)?.clone() {
            Place::Alias(other) => self.read_afresh(other, point),
            Place::Buffer(buffer) => Some(self.read_buffer(&buffer, &at)),
            Place::View(view) if view.dtype.is_compute() => Some(self.read_view(&view, &at)),
            _ => None,
        }
    }

    /// Computes now what `value` needs and `point` already determines.
    pub(super) fn hoist(&mut self, value: Value, point: &Point) {
        match self.place(value) {
            Some(Place::Alias(other)) => {
                let other = *other;
                self.hoist(other, point);
            }
            Some(Place::Scalar(_) | Place::Pending) | None => {}
            Some(_) if point.binds(self.axes(value)) => {
                self.eval(value, point);
            }
            Some(Place::Fused) => {
                let Some(inst) = self.plan.def(value) else { return };
                match &inst.op {
                    Op::Rename(_) | Op::Slice(_) | Op::Load { .. } | Op::Coord(_) => {}
                    _ => inst.args.iter().for_each(|arg| self.hoist(*arg, point)),
                }
            }
            Some(_) => {}
        }
    }

    /// Computes a value from its operands.
    pub(super) fn compute(&mut self, value: Value, point: &Point) -> Val {
        let Some(inst) = self.plan.def(value) else {
            self.defect(format!("{value} is a parameter without a place"));
            return self.b.i64(0);
        };
        let lanes = point.lanes_of(self.axes(value)).map_or(1, |(_, pos)| pos.lanes);
        match &inst.op {
            Op::Coord(axis) => self.coordinate(inst.args[0], *axis, point),
            Op::Elem(op) => self.elementwise(*op, inst, point, lanes),
            Op::Fma => {
                let args: Vec<Val> = inst.args.iter().map(|v| self.eval_lanes(*v, point, lanes)).collect();
                self.b.fma(args[0], args[1], args[2])
            }
            Op::Cast(to) => self.cast(inst.args[0], *to, point),
            Op::Round(to) => {
                let x = self.eval(inst.args[0], point);
                let from = self.dtype(inst.args[0]);
                self.round_through(x, from, *to)
            }
            Op::Rename(pairs) => {
                let renamed = point.renamed(pairs);
                self.eval(inst.args[0], &renamed)
            }
            Op::Slice(axis) => {
                let position = self.sliced_position(inst, *axis);
                self.eval(inst.args[0], &point.with(*axis, position))
            }
            Op::Load { .. } => self.guarded_load(inst, point, false),
            _ => {
                self.defect(format!("{value} cannot be computed at a point"));
                self.b.i64(0)
            }
        }
    }

    /// The position of a slice, held inside the axis so that no read leaves its tile.
    fn sliced_position(&mut self, inst: &Inst, axis: AxisId) -> super::layout::Pos {
        use super::layout::Pos;
        let last = self.extent(axis) - 1;
        if let Some(known) = self.known.get(&inst.args[1]) {
            return Pos::fixed((*known).clamp(0, last));
        }
        let at = self.eval(inst.args[1], &Point::default());
        let (zero, last) = (self.b.i64(0), self.b.i64(last));
        let low = self.b.max(at, zero);
        let inside = self.b.min(low, last);
        Pos::at(inside)
    }

    fn coordinate(&mut self, base: Value, axis: AxisId, point: &Point) -> Val {
        let base = self.eval(base, &Point::default());
        let Some(pos) = point.get(axis) else {
            self.defect(format!("axis {axis} is not bound"));
            return base;
        };
        let at = self.position(pos);
        let first = self.b.add(base, at);
        self.along_lanes(first, pos.lanes, 1)
    }
    /// The first position as a scalar.
    pub(super) fn position(&mut self, pos: super::layout::Pos) -> Val {
        match (pos.base, pos.offset) {
            (None, offset) => self.b.i64(offset),
            (Some(base), 0) => base,
            (Some(base), offset) => {
                let offset = self.b.i64(offset);
                self.b.add(base, offset)
            }
        }
    }
    /// first, first + step, .. in `lanes` (i64).
    pub(super) fn along_lanes(&mut self, first: Val, lanes: u8, step: i64) -> Val {
        if lanes == 1 {
            return first;
        }
        let ty = Type::vector(Elem::I64, lanes);
        let mut ramp = self.b.iota(ty);
        if step != 1 {
            let step = self.b.int(ty, step);
            ramp = self.b.mul(ramp, step);
        }
        let first = self.widen(first, lanes);
        self.b.add(first, ramp)
    }

    /// Whether each lane is inside the axis' extent.
    pub(super) fn valid_lanes(&mut self, lanes: u8, count: u8) -> Val {
        let ty = Type::vector(Elem::I32, lanes);
        let lane = self.b.iota(ty);
        let count = self.b.int(ty, i64::from(count));
        self.b.lt(lane, count)
    }

    pub(super) fn read_buffer(&mut self, buffer: &Buffer, point: &Point) -> Val {
        let at = self.buffer_address(buffer, point);
        let bytes = i64::from(buffer.elem.bytes());
        match point.iter().find(|(_, pos)| pos.lanes > 1) {
            None => self.b.load(Type::scalar(buffer.elem), at),
            Some((axis, pos)) => {
                let stride = buffer.strides.iter().find(|(a, _)| *a == axis).map_or(0, |(_, s)| *s);
                if stride == bytes {
                    self.b.load(Type::vector(buffer.elem, pos.lanes), at)
                } else {
                    self.read_strided(buffer.elem, at, stride, pos.lanes, pos.count)
                }
            }
        }
    }
    /// Lanes that are `stride` bytes apart; those from `count` on repeat the last, so that nothing outside is read.
    fn read_strided(&mut self, elem: Elem, at: Address, stride: i64, lanes: u8, count: u8) -> Val {
        let first = self.b.load(Type::scalar(elem), at);
        let mut vector = self.b.splat(first, lanes);
        for lane in 1..count {
            let step = i32::try_from(stride * i64::from(lane)).unwrap_or(i32::MAX);
            let scalar = self.b.load(Type::scalar(elem), at.offset(step));
            vector = self.b.insert(vector, scalar, lane);
        }
        vector
    }
    /// The address of the first lane of a tile's element.
    pub(super) fn buffer_address(&mut self, buffer: &Buffer, point: &Point) -> Address {
        let strides: Vec<(AxisId, Stride)> = buffer.strides.iter().map(|(a, s)| (*a, Stride::Const(*s))).collect();
        let base = self.b.scratch();
        let disp = i64::try_from(buffer.offset).unwrap_or(i64::MAX);
        self.address(base, disp, &strides, point)
    }

    fn read_view(&mut self, view: &View, point: &Point) -> Val {
        let Some(elem) = super::storage(view.dtype) else {
            self.defect(format!("reads {}", view.dtype));
            return self.b.i64(0);
        };
        let raw = self.read_raw(view, elem, point);
        self.widen_storage(raw, view.dtype)
    }
    /// The lanes of a view of bytes without a sign, not widened.
    pub(super) fn raw_bytes(&mut self, value: Value, point: &Point) -> Option<Val> {
        let Some(Place::View(view)) = self.place(value) else { return None };
        let view = view.clone();
        let point = point.restrict(self.axes(value));
        let vector = view.dtype == DType::U8 && point.iter().any(|(_, pos)| pos.lanes > 1);
        vector.then(|| self.read_raw(&view, Elem::I8, &point))
    }
    /// The bits in memory.
    pub(super) fn read_raw(&mut self, view: &View, elem: Elem, point: &Point) -> Val {
        let at = self.address(view.pointer, 0, &view.strides, point);
        match point.iter().find(|(_, pos)| pos.lanes > 1) {
            None => self.b.load(Type::scalar(elem), at),
            Some((axis, pos)) => {
                let ty = Type::vector(elem, pos.lanes);
                let stride = view.strides.iter().find(|(a, _)| *a == axis).map(|(_, s)| *s);
                match stride {
                    Some(Stride::Const(s)) if s == i64::from(elem.bytes()) && pos.count == pos.lanes => {
                        self.b.load(ty, at)
                    }
                    Some(Stride::Const(s)) if s == i64::from(elem.bytes()) => {
                        let count = self.b.i64(i64::from(pos.count));
                        self.b.load_part(ty, at, count)
                    }
                    Some(Stride::Const(s)) => self.read_strided(elem, at, s, pos.lanes, pos.count),
                    Some(Stride::Dynamic(step)) => self.read_stepped(ty, at, step, pos.count),
                    None => {
                        self.defect(format!("axis {axis} of a view has no stride"));
                        self.b.load(ty, at)
                    }
                }
            }
        }
    }
    /// Lanes a run-time distance apart.
    fn read_stepped(&mut self, ty: Type, at: Address, step: Val, count: u8) -> Val {
        let first = self.b.load(ty.with_lanes(1), at);
        let mut vector = self.b.splat(first, ty.lanes);
        let mut base = at.base;
        for lane in 1..count {
            base = self.b.add(base, step);
            let scalar = self.b.load(ty.with_lanes(1), Address { base, ..at });
            vector = self.b.insert(vector, scalar, lane);
        }
        vector
    }

    /// Takes the greatest power of two that an addressing mode scales by out of `offset`; gives the rest. A block of rows a
    /// run-time distance apart then needs a pointer for every other few of them: 0, 1, 2 and 4 share one, and so do 3 and 5.
    fn by_scale(&mut self, step: Val, offset: i64, stepped: &mut Option<(Val, u32)>) -> i64 {
        let Some(scale) = [8_u8, 4, 2, 1].into_iter().find(|scale| i64::from(*scale) <= offset) else { return offset };
        *stepped = Some((step, u32::from(scale)));
        offset - i64::from(scale)
    }
    /// The address `step * scale` bytes further, which takes the place of an index.
    fn with_index(&mut self, at: Address, step: Val, scale: u32) -> Address {
        let mut base = at.base;
        if let Some(index) = at.index {
            let unit = self.b.i64(i64::from(at.scale));
            let bytes = self.b.mul(index, unit);
            base = self.b.add(base, bytes);
        }
        Address { base, index: Some(step), scale, ..at }
    }

    /// `base + disp` and the strides times the positions. Outer positions are added first, so that sums that an inner loop
    /// does not change can leave it; the last constant stride that an addressing mode can scale is left to it.
    pub(super) fn address(&mut self, base: Val, disp: i64, strides: &[(AxisId, Stride)], point: &Point) -> Address {
        let terms: Vec<_> = point
            .iter()
            .filter_map(|(axis, pos)| strides.iter().find(|(a, _)| *a == axis).map(|(_, stride)| (pos, *stride)))
            .collect();
        let scaled = terms.iter().rposition(|(pos, stride)| {
            pos.base.is_some() && matches!(stride, Stride::Const(s) if [1, 2, 4, 8].contains(s))
        });
        let mut at = Address::new(base);
        let mut disp = disp;
        let mut stepped = None;
        for (position, (pos, stride)) in terms.iter().enumerate() {
            match *stride {
                Stride::Const(step) => {
                    disp += step * pos.offset;
                    match pos.base {
                        Some(index) if Some(position) == scaled => {
                            at.index = Some(index);
                            at.scale = u32::try_from(step).unwrap_or(1);
                        }
                        Some(index) => {
                            let step = self.b.i64(step);
                            let bytes = self.b.mul(index, step);
                            at.base = self.b.add(at.base, bytes);
                        }
                        None => {}
                    }
                }
                Stride::Dynamic(step) => {
                    if let Some(index) = pos.base {
                        let bytes = self.b.mul(index, step);
                        at.base = self.b.add(at.base, bytes);
                    }
                    let whole =
                        if stepped.is_none() { self.by_scale(step, pos.offset, &mut stepped) } else { pos.offset };
                    if whole != 0 {
                        let offset = self.b.i64(whole);
                        let bytes = self.b.mul(step, offset);
                        at.base = self.b.add(at.base, bytes);
                    }
                }
            }
        }
        if let Some((step, scale)) = stepped {
            at = self.with_index(at, step, scale);
        }
        match i32::try_from(disp) {
            Ok(disp) => at.offset(disp),
            Err(_) => {
                let disp = self.b.i64(disp);
                at.base = self.b.add(at.base, disp);
                at
            }
        }
    }
    /// An address of the arena that may be read whenever memory may not.
    pub(super) fn spare(&mut self) -> Val {
        const { assert!(SPARE >= 64) };
        self.b.scratch()
    }

    /// From the bits in memory to the computing type.
    pub(super) fn widen_storage(&mut self, raw: Val, dtype: DType) -> Val {
        if let Some(value) = small::widen(&mut self.b, raw, dtype) {
            return value;
        }
        match (dtype, dtype.kind()) {
            (DType::F16, _) => self.b.from_f16(raw, Elem::F32),
            (DType::BF16, _) => self.b.from_bf16(raw, Elem::F32),
            (_, Kind::Signed) if dtype.bits() < 32 => self.b.sext(raw, Elem::I32),
            (_, Kind::Unsigned) if dtype.bits() < 32 => self.b.zext(raw, Elem::I32),
            _ => raw,
        }
    }
    /// From the computing type to the bits in memory: floats round to nearest even, integers keep their low bits.
    pub(super) fn stored(&mut self, value: Val, dtype: DType) -> Val {
        if let Some(bits) = small::narrow(&mut self.b, value, dtype) {
            return bits;
        }
        match (dtype, dtype.kind()) {
            (DType::F16, _) => self.b.to_f16(value, Elem::I16),
            (DType::BF16, _) => self.b.to_bf16(value, Elem::I16),
            (_, Kind::Signed | Kind::Unsigned) if dtype.bits() < 32 => {
                let elem = super::storage(dtype).unwrap_or(Elem::I8);
                self.b.narrow(value, elem)
            }
            _ => value,
        }
    }
    /// A place for the results of an instruction that is computed where it is read.
    pub(super) fn leave_fused(&mut self, inst: &Inst) {
        for value in &inst.results {
            self.places[value.index()] = Some(Place::Fused);
        }
    }
}
