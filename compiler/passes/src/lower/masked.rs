//! Masked sums of products whose second factor may hold anything where the mask excludes it.
//!
//! In an `mma` a masked element is 0 times what stands opposite, and 0 * inf is NaN; but an excluded element must not count,
//! whatever it is (padding of a cache, rows of another document). So where a mask applies, the tile of the unmasked factor is
//! tested: if all of it is finite, the `mma` is right; else the sum is taken position by position with a select on each
//! product. Full phases, in which no mask applies, are not tested.

use super::Lowered;
use super::emit::Emit;
use super::fold::Step;
use super::phase::Guard;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Const, TermId};
use sawmill_ir::tile::{self, Phase, Type, Value};

impl<'a> Emit<'a> {
    /// The sum of `x * y` over the step's axes where `condition` holds, added to `acc`; `x` is 0 where it does not hold.
    pub(super) fn masked_sum(
        &mut self,
        step: &Step,
        (x, y): (Value, Value),
        condition: TermId,
        acc: Option<Value>,
    ) -> Lowered<Value> {
        match step.masked.unwrap_or(Guard::Always) {
            Guard::Never => self.mma(x, y, step, acc),
            Guard::Always => self.tested_sum(step, (x, y), condition, acc),
            Guard::Edge(flag) => {
                let edge = self.region(|e| Ok(vec![e.tested_sum(step, (x, y), condition, acc)?]))?;
                let full = self.region(|e| Ok(vec![e.mma(x, y, step, acc)?]))?;
                Ok(self.b.choose(flag, edge, full)?[0])
            }
        }
    }

    fn tested_sum(
        &mut self,
        step: &Step,
        (x, y): (Value, Value),
        condition: TermId,
        acc: Option<Value>,
    ) -> Lowered<Value> {
        let dtype = self.dtype(y);
        let infinity = self.constant(Const::float(f64::INFINITY), dtype)?;
        let size = self.elem(ElemOp::Abs, &[y])?;
        let finite = self.elem(ElemOp::Lt, &[size, infinity])?;
        let axes = self.b.type_of(finite).axes.clone();
        let finite = if axes.is_empty() { finite } else { self.b.reduce(ReduceOp::All, finite, axes)? };
        let at_once = self.region(|e| Ok(vec![e.mma(x, y, step, acc)?]))?;
        let result = at_once.yields.first().map(|v| self.b.type_of(*v).clone());
        let result = result.unwrap_or_else(|| Type::scalar(dtype));
        let one_by_one = self.region(|e| {
            let inside = e.term(condition)?;
            let start = match acc {
                Some(acc) => acc,
                None => e.constant(Const::float(0.0), dtype)?,
            };
            Ok(vec![e.sum_one_by_one(&step.over, [x, y, inside], start, &result)?])
        })?;
        Ok(self.b.choose(finite, at_once, one_by_one)?[0])
    }

    /// The sum over `over` of select(inside, x * y, 0), added to `start`, of type `result`.
    fn sum_one_by_one(
        &mut self,
        over: &[tile::AxisId],
        operands: [Value; 3],
        start: Value,
        result: &Type,
    ) -> Lowered<Value> {
        let Some((axis, inner)) = over.split_first() else {
            let [x, y, inside] = operands;
            let zero = self.constant(Const::float(0.0), result.dtype)?;
            let product = self.elem(ElemOp::Mul, &[x, y])?;
            let product = self.elem(ElemOp::Select, &[inside, product, zero])?;
            return self.elem(ElemOp::Add, &[start, product]);
        };
        let (lo, hi) = (self.int(0)?, self.int(i64::from(self.b.extent(*axis)))?);
        let head = self.b.open_loop(vec![result.clone()]);
        let body = self.scoped(|e| {
            let mut slices = operands;
            for operand in &mut slices {
                if e.b.type_of(*operand).axes.contains(axis) {
                    *operand = e.b.slice(*operand, *axis, head.position)?;
                }
            }
            Ok(vec![e.sum_one_by_one(inner, slices, head.carries[0], result)?])
        });
        let sums = self.b.close_loop(head, 1, vec![Phase { lo, hi, edge: false }], &[start], body)?;
        Ok(sums[0])
    }
}
