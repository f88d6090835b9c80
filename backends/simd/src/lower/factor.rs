//! Scales of blocks, moved out of the sums over the blocks.
//!
//! In: a sum of products along the lanes one of whose operands is `q * d`, where `d` is the same for all steps of the inner
//! summed axes. Out: `d * sum(x * q)` for each step of the outer ones: a product for each block of elements instead of one for
//! each element. This holds up to rounding, which is free in a sum of products.

use super::Lower;
use super::contract::{Kind, Sum};
use super::layout::{Place, Point};
use super::nest::Axis;
use crate::vir::Val;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::tile::{AxisId, Op, Value};

/// How a product is taken apart.
#[derive(Clone, Copy)]
pub(super) struct Factored {
    /// The other operand, and what is left of the scaled one.
    x: Value,
    rest: Value,
    scale: Value,
    /// How many of the summed axes are summed before scaling.
    pub(super) inner: usize,
}

impl Lower<'_> {
    /// Takes a product apart where that saves operations.
    pub(super) fn factored(&self, sum: &Sum<'_>) -> Option<Factored> {
        let Kind::Product { a, b, .. } = sum.kind else { return None };
        let lane = sum.over.last().filter(|axis| axis.lanes > self.lanes)?;
        let one_row = sum.rows.is_none_or(|(_, rows)| rows == 1);
        let whole = self.extent(lane.axis) % i64::from(lane.lanes) == 0;
        if !one_row || !whole || sum.vectors.is_some() || !sum.dtype.is_float() || sum.dtype.bits() != 32 {
            return None;
        }
        let (x, (rest, scale)) =
            [(a, b), (b, a)].into_iter().find_map(|(x, scaled)| Some((x, self.scaled_parts(scaled, lane.axis)?)))?;
        let outer = sum.over.iter().rposition(|axis| self.axes(scale).contains(&axis.axis))? + 1;
        let inner = &sum.over[outer..];
        // A step adds the lanes of a vector up, which takes as many operations as scaling it.
        let steps: i64 = inner.iter().map(|axis| self.extent(axis.axis) / i64::from(axis.lanes)).product();
        (steps > 1).then_some(Factored { x, rest, scale, inner: inner.len() })
    }

    /// `rest` and `scale` of a value `rest * scale` that is computed where it is read.
    fn scaled_parts(&self, value: Value, lane: AxisId) -> Option<(Value, Value)> {
        let inst = self.plan.def(value).filter(|_| matches!(self.place(value), Some(Place::Fused)))?;
        let (Op::Elem(ElemOp::Mul), [p, q]) = (&inst.op, inst.args.as_slice()) else { return None };
        match [*p, *q].map(|v| self.axes(v).contains(&lane)) {
            [true, false] => Some((*p, *q)),
            [false, true] => Some((*q, *p)),
            _ => None,
        }
    }

    /// The sum before the first step.
    pub(super) fn factored_start(&mut self, sum: &Sum<'_>) -> Vec<Val> {
        vec![self.identity(ReduceOp::Sum, sum.dtype, self.lanes)]
    }

    /// Adds the block of elements over the inner axes.
    pub(super) fn factored_step(
        &mut self,
        (sum, factored): (&Sum<'_>, Factored),
        inner: &[Axis],
        block: &[Point],
        summed: &Point,
        accs: &[Val],
    ) -> Vec<Val> {
        let products = sum.of(Kind::Product { a: factored.x, b: factored.rest, acc: None });
        let zero = self.identity(ReduceOp::Sum, sum.dtype, sum.width());
        let total = self.sum_loops(&products, inner, block, summed, vec![zero])[0];
        let total = self.few_lanes(total);
        let point = summed.iter().fold(block[0].clone(), |point, (axis, pos)| point.with(axis, pos));
        let scale = self.eval_lanes(factored.scale, &point, self.lanes);
        vec![self.b.fma(scale, total, accs[0])]
    }

    /// The lanes of a vector added up to those of a register.
    fn few_lanes(&mut self, mut value: Val) -> Val {
        while self.b.ty(value).lanes > self.lanes {
            let half = self.b.ty(value).lanes / 2;
            let low: Vec<u8> = (0..half).collect();
            let high: Vec<u8> = (half..2 * half).collect();
            let (low, high) = (self.b.shuffle(value, value, &low), self.b.shuffle(value, value, &high));
            value = self.b.add(low, high);
        }
        value
    }
}
