//! Products of bf16 numbers, two at a time.
//!
//! In: a contraction whose lanes run along a summed axis and both of whose factors are bf16 numbers: as they lie in memory, one of them
//! perhaps rounded where it is read. Out: the bits of the factors, so that one operation sums the products of neighbours in f32. Where the machine has
//! no such instruction a code generator takes the pairs apart, which costs less than spreading each factor over twice the
//! registers. Invariant: lanes beyond the end of the axis are 0 in both factors.

use super::Lower;
use super::contract::{Kind, Sum};
use super::layout::{Place, Point, Stride};
use crate::vir::{Elem, Type, Val};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{AxisId, Op, Value};

/// Lanes that make a pair of vectors of two.
const LEAST_LANES: u8 = 4;

impl Lower<'_> {
    /// Lets a contraction sum products of pairs, if its factors are such numbers. A row then has half the accumulators, so that a block
    /// takes twice the rows.
    pub(super) fn pair_up(&mut self, sum: &mut Sum<'_>) {
        let Kind::Product { a, b, .. } = sum.kind else { return };
        let Some(lane) = sum.over.last().filter(|axis| axis.lanes >= LEAST_LANES) else { return };
        let axis = lane.axis;
        let in_memory = self.is_bf16_memory(a, axis) || self.is_bf16_memory(b, axis);
        let both = self.holds_bf16(a, axis) && self.holds_bf16(b, axis);
        if sum.factored.is_some() || sum.dtype != DType::F32 || !both || !in_memory {
            return;
        }
        sum.pairs = true;
        if let Some((_, rows)) = &mut sum.rows
            && *rows > 1
        {
            *rows *= 2;
        }
    }

    /// Whether a value's elements along `axis` are bf16 numbers side by side in memory.
    fn is_bf16_memory(&self, value: Value, axis: AxisId) -> bool {
        match self.place(value) {
            Some(Place::Alias(other)) => self.is_bf16_memory(*other, axis),
            Some(Place::View(view)) => {
                let along = (axis, Stride::Const(2));
                view.dtype == DType::BF16 && view.strides.contains(&along)
            }
            _ => false,
        }
    }
    /// The same, or whether they are rounded to bf16 where they are read.
    fn holds_bf16(&self, value: Value, axis: AxisId) -> bool {
        let rounded = || self.plan.def(value).is_some_and(|inst| inst.op == Op::Round(DType::BF16));
        match self.place(value) {
            Some(Place::Fused) => self.axes(value).contains(&axis) && rounded(),
            _ => self.is_bf16_memory(value, axis),
        }
    }

    /// `acc` and the products at a point.
    pub(super) fn pair_product(&mut self, (a, b): (Value, Value), point: &Point, acc: Val) -> Val {
        let (a, b) = (self.pair_bits(a, point), self.pair_bits(b, point));
        self.b.dot_bf16(a, b, acc)
    }

    /// The bits of a factor at a point, 0 beyond the end of the axis.
    fn pair_bits(&mut self, value: Value, point: &Point) -> Val {
        match self.place(value).cloned() {
            Some(Place::Alias(other)) => self.pair_bits(other, point),
            Some(Place::View(view)) => self.read_raw(&view, Elem::I16, &point.restrict(self.axes(value))),
            _ => {
                // The value is in f32 and has no bits below those of bf16.
                let rounded = self.eval(value, point);
                let lanes = self.b.ty(rounded).lanes;
                let bits = self.b.bitcast(rounded, Type::vector(Elem::I32, lanes));
                let by = self.b.int(Type::vector(Elem::I32, lanes), 16);
                let upper = self.b.ushr(bits, by);
                let bits = self.b.narrow(upper, Elem::I16);
                let end = point.lanes_of(self.axes(value)).map(|(_, pos)| pos).filter(|pos| pos.count < pos.lanes);
                match end {
                    Some(pos) => {
                        let valid = self.valid_lanes(lanes, pos.count);
                        let zero = self.b.int(Type::vector(Elem::I16, lanes), 0);
                        self.b.select(valid, bits, zero)
                    }
                    None => bits,
                }
            }
        }
    }
}
