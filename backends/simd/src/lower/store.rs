//! Stores, and tiles that are kept in the arena.
//!
//! In: a `store`, or a value to keep. Out: a nest that evaluates the value and writes it. A vector is stored whole if the
//! lanes are inside of the memory and next to each other, which is tested in the nest; otherwise lane by lane.

use super::layout::{Buffer, Place, Point};
use super::memory::{AccessAt, Coordinate};
use super::plan::{inst_axes, op_cost, unit_axis};
use super::{Lower, Refusal, storage};
use crate::vir::{Address, Elem, Val};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{AxisId, Inst, Op, Value};

impl Lower<'_> {
    /// Computes a value once and keeps it.
    pub(super) fn keep(&mut self, value: Value) {
        let buffer = self.buffer_of(value);
        self.keep_at(value, &buffer, &Point::default());
        self.set_place(value, Place::Buffer(buffer));
    }
    /// Computes a value over the axes of a buffer, at `point` along others.
    pub(super) fn keep_at(&mut self, value: Value, buffer: &Buffer, point: &Point) {
        let axes: Vec<AxisId> = buffer.strides.iter().map(|(a, _)| *a).collect();
        let loops = self.loops(&axes, self.lanes_wanted(&[value]).max(self.lanes_to_overlap(value)));
        let roots = self.plan.def(value).map_or(Vec::new(), |inst| inst.args.clone());
        self.nest(&loops, point, &roots, &mut |s, point| {
            let result = s.compute(value, point);
            s.write_buffer(buffer, point, result);
        });
    }

    /// Copies a value to a buffer, over the buffer's axes.
    pub(super) fn copy(&mut self, value: Value, to: &Buffer) {
        self.copy_at(value, to, &Point::default());
    }
    /// The same at `point` along axes that the buffer lacks.
    pub(super) fn copy_at(&mut self, value: Value, to: &Buffer, point: &Point) {
        let axes: Vec<AxisId> = to.strides.iter().map(|(a, _)| *a).collect();
        let loops = self.loops(&axes, self.lanes_wanted(&[value]));
        self.nest(&loops, point, &[value], &mut |s, point| {
            let result = s.eval(value, point);
            s.write_buffer(to, point, result);
        });
    }

    /// Writes a scalar or vector at a point of a tile.
    pub(super) fn write_buffer(&mut self, buffer: &Buffer, point: &Point, value: Val) {
        let axes: Vec<AxisId> = buffer.strides.iter().map(|(a, _)| *a).collect();
        let at = self.buffer_address(buffer, point);
        match point.lanes_of(&axes) {
            None => self.b.store(value, at),
            Some((axis, pos)) => {
                let value = self.widen(value, pos.lanes);
                let stride = buffer.strides.iter().find(|(a, _)| *a == axis).map_or(0, |(_, s)| *s);
                if stride == i64::from(buffer.elem.bytes()) {
                    return self.b.store(value, at);
                }
                for lane in 0..pos.count {
                    let scalar = self.b.extract(value, lane);
                    let step = i32::try_from(stride * i64::from(lane)).unwrap_or(i32::MAX);
                    self.b.store(scalar, at.offset(step));
                }
            }
        }
    }

    /// Lanes that let the chains of an elementary function run side by side: each step of one waits for the one before it.
    fn lanes_to_overlap(&self, value: Value) -> u8 {
        const LONG: f64 = 8.0;
        let long = self.plan.def(value).is_some_and(|inst| op_cost(self.kernel, inst) >= LONG);
        if long && self.dtype(value).bits() == 32 { self.most_lanes() } else { 1 }
    }

    /// Lanes that suit the narrowest storage that values are read from: a whole register of it, if that is contiguous.
    pub(super) fn lanes_wanted(&self, values: &[Value]) -> u8 {
        let bits = values.iter().map(|v| self.narrowest(*v)).min().unwrap_or(32);
        let wide = values.iter().any(|v| self.dtype(*v).bits() == 64);
        match bits {
            8 => self.most_lanes(),
            _ if wide => self.lanes,
            _ => 2 * self.lanes,
        }
    }
    fn narrowest(&self, value: Value) -> u32 {
        let Some(inst) = self.plan.def(value) else { return 32 };
        match &inst.op {
            Op::Load { mem, .. } if !self.is_buffer(value) => self.kernel.memory[*mem].dtype.bits().max(8),
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) | Op::Rename(_) | Op::Slice(_)
                if !self.is_buffer(value) =>
            {
                inst.args.iter().map(|v| self.narrowest(*v)).min().unwrap_or(32)
            }
            _ => 32,
        }
    }
    fn is_buffer(&self, value: Value) -> bool {
        matches!(self.place(value), Some(Place::Buffer(_) | Place::Scalar(_)))
    }

    /// Emits a store.
    pub(super) fn store(&mut self, inst: &Inst) {
        let Op::Store { mem, .. } = &inst.op else { return };
        let axes = inst_axes(self.kernel, inst);
        let dtype = self.kernel.memory[*mem].dtype;
        let lane = self.plan.lane(self.kernel, &axes);
        let unit = unit_axis(self.kernel, inst);
        if let (true, Some(lane)) = (lane != unit, lane) {
            let place = format!("store to `{}`", self.kernel.memory[*mem].name);
            self.remark(place, Refusal::Strided { lane: self.kernel.axes[lane].name.clone() });
        }
        let wanted = self.lanes_wanted(&inst.args[..1]);
        let loops = match axes.as_slice() {
            [axis] if dtype.bits() < 8 => self.row_of_pairs(*axis, wanted),
            _ => self.loops(&axes, wanted),
        };
        self.nest(&loops, &Point::default(), &inst.args[..1], &mut |s, point| {
            s.store_at(inst, dtype, point);
        });
    }

    fn store_at(&mut self, inst: &Inst, dtype: DType, point: &Point) {
        let Op::Store { mem, subs, masked } = &inst.op else { return };
        let lanes = point.iter().map(|(_, pos)| pos.lanes).max().unwrap_or(1);
        let value = self.eval_lanes(inst.args[0], point, lanes);
        let value = self.stored(value, dtype);
        let access = self.access(*mem, subs, &inst.args[1..], *masked, point);
        if dtype.bits() < 8 && access.lanes > 1 {
            return self.store_pairs(access, value);
        }
        if access.lanes == 1 {
            return self.store_scalar(&access, value);
        }
        let elem = storage(dtype).unwrap_or(Elem::I8);
        let whole = if access.mask.is_none() { self.contiguous(&access, elem) } else { None };
        let Some((inside, address)) = whole else {
            return self.store_lanes(&access, value);
        };
        self.b.begin_if(inside);
        self.open_scope();
        if access.count < access.lanes {
            let count = self.b.i64(i64::from(access.count));
            self.b.store_part(value, address, count);
        } else {
            self.b.store(value, address);
        }
        self.close_scope();
        self.b.begin_else(&[]);
        self.open_scope();
        self.store_lanes(&access, value);
        self.close_scope();
        self.b.end_if(&[]);
    }
    fn store_scalar(&mut self, access: &AccessAt, value: Val) {
        let (mut valid, address) = self.scalar_address(access);
        if let Some(mask) = access.mask {
            valid = Some(valid.map_or(mask, |v| self.b.and(v, mask)));
        }
        match valid {
            Some(valid) => self.b.if_then(valid, |b| b.store(value, Address::new(address))),
            None => self.b.store(value, Address::new(address)),
        }
    }
    fn store_lanes(&mut self, access: &AccessAt, value: Val) {
        debug_assert!(access.coordinates.iter().any(|c| !matches!(c, Coordinate::Scalar(_))));
        let (offsets, valid) = self.scattered(access);
        self.b.scatter(value, Address::indexed(access.words.pointer, offsets, 1), Some(valid));
    }
}
