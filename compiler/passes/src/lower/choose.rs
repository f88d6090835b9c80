//! Reductions that choose an element: the position of an extremum, the first or the last value.
//!
//! Two states stream through the loop: a position and the value found there. Positions are numbers in the order in which the
//! reduction visits its elements, so the result does not depend on how the axes are tiled: at equal values the lower one
//! wins. An element that is NaN gets a position behind all others, so it is chosen only where nothing else is. Of nothing
//! there is no choice; whoever reads the result knows that from its presence, and what is given then is in range.

use super::Lowered;
use super::emit::Emit;
use super::fold::{Folded, Step};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::index::{AxisId, Index};
use sawmill_ir::tile::{self, Value};

/// What is added to the position of a NaN.
const BEHIND: i64 = 1 << 62;

/// How positions combine, and which of two is taken.
fn positions(op: ReduceOp) -> (ReduceOp, ElemOp) {
    match op {
        ReduceOp::Last => (ReduceOp::Max, ElemOp::Gt),
        _ => (ReduceOp::Min, ElemOp::Lt),
    }
}

/// How values combine among which one is chosen, and which of two is better.
fn values(op: ReduceOp, dtype: DType) -> (ReduceOp, ElemOp) {
    match op {
        _ if dtype == DType::Bool => (ReduceOp::Any, ElemOp::Gt),
        ReduceOp::ArgMin => (ReduceOp::Min, ElemOp::Lt),
        _ => (ReduceOp::Max, ElemOp::Gt),
    }
}

/// What was chosen: the position and the value there.
#[derive(Clone, Copy)]
pub(super) struct Chosen {
    pub(super) position: Value,
    pub(super) value: Value,
}

impl Emit<'_> {
    /// Nothing is chosen yet among elements of type `dtype`.
    pub(super) fn none_chosen(&mut self, op: ReduceOp, dtype: DType) -> Lowered<Chosen> {
        let position = self.identity(positions(op).0, DType::I64)?;
        let value = self.identity(values(op, dtype).0, dtype)?;
        Ok(Chosen { position, value })
    }

    /// The choice among the elements of a step, and `old` if there is one.
    pub(super) fn choose_step(
        &mut self,
        step: &Step,
        of: Folded,
        axes: &[AxisId],
        old: Option<Chosen>,
    ) -> Lowered<Chosen> {
        let new = match of.op {
            op if op.gives_position() => self.extremum(step, of, axes)?,
            _ => self.endmost(step, of, axes)?,
        };
        let Some(old) = old else { return Ok(new) };
        let nearer = self.elem(positions(of.op).1, &[new.position, old.position])?;
        let wins = match of.op {
            op if op.gives_position() => {
                let better = values(of.op, self.dtype(new.value)).1;
                let better = self.elem(better, &[new.value, old.value])?;
                let equal = self.elem(ElemOp::Eq, &[new.value, old.value])?;
                let tie = self.elem(ElemOp::And, &[equal, nearer])?;
                self.elem(ElemOp::Or, &[better, tie])?
            }
            _ => nearer,
        };
        Ok(Chosen {
            position: self.elem(ElemOp::Select, &[wins, new.position, old.position])?,
            value: self.elem(ElemOp::Select, &[wins, new.value, old.value])?,
        })
    }

    /// What the reduction gives.
    pub(super) fn chosen(&mut self, of: Folded, chosen: Chosen) -> Lowered<Value> {
        if !of.op.gives_position() {
            return Ok(chosen.value);
        }
        let mut position = chosen.position;
        if self.dtype(chosen.value).is_float() {
            let behind = self.int(BEHIND)?;
            let moved = self.elem(ElemOp::Ge, &[position, behind])?;
            let back = self.elem(ElemOp::Sub, &[position, behind])?;
            position = self.elem(ElemOp::Select, &[moved, back, position])?;
        }
        let none = self.identity(positions(of.op).0, DType::I64)?;
        let nothing = self.elem(ElemOp::Eq, &[chosen.position, none])?;
        let zero = self.int(0)?;
        self.elem(ElemOp::Select, &[nothing, zero, position])
    }

    /// The first largest or smallest element of a step.
    fn extremum(&mut self, step: &Step, of: Folded, axes: &[AxisId]) -> Lowered<Chosen> {
        let x = self.term(of.element)?;
        let dtype = self.dtype(x);
        let none = self.none_chosen(of.op, dtype)?;
        let x = self.excluded(step, x, of.condition, of.op)?;
        let number = if dtype.is_float() { Some(self.elem(ElemOp::Eq, &[x, x])?) } else { None };
        let comparable = match number {
            Some(number) => self.elem(ElemOp::Select, &[number, x, none.value])?,
            None => x,
        };
        let value = self.reduced(values(of.op, dtype).0, comparable, &step.over)?;
        let here = self.index(&visited(self, axes))?;
        let hit = self.elem(ElemOp::Eq, &[x, value])?;
        let other = match number {
            Some(number) => {
                let behind = self.int(BEHIND)?;
                let behind = self.elem(ElemOp::Add, &[here, behind])?;
                self.elem(ElemOp::Select, &[number, none.position, behind])?
            }
            None => none.position,
        };
        let at = self.elem(ElemOp::Select, &[hit, here, other])?;
        let at = self.excluded(step, at, of.condition, positions(of.op).0)?;
        let position = self.reduced(positions(of.op).0, at, &step.over)?;
        Ok(Chosen { position, value })
    }

    /// The first or last element of a step.
    fn endmost(&mut self, step: &Step, of: Folded, axes: &[AxisId]) -> Lowered<Chosen> {
        let x = self.term(of.element)?;
        let dtype = self.dtype(x);
        let none = self.none_chosen(of.op, dtype)?;
        let here = self.index(&visited(self, axes))?;
        let at = self.excluded(step, here, of.condition, positions(of.op).0)?;
        let position = self.reduced(positions(of.op).0, at, &step.over)?;
        let hit = self.elem(ElemOp::Eq, &[at, position])?;
        let value = self.elem(ElemOp::Select, &[hit, x, none.value])?;
        let value = self.reduced(values(of.op, dtype).0, value, &step.over)?;
        Ok(Chosen { position, value })
    }

    /// `x` combined over those of `over` that it has.
    fn reduced(&mut self, op: ReduceOp, x: Value, over: &[tile::AxisId]) -> Lowered<Value> {
        let over = self.own(x, over);
        if over.is_empty() { Ok(x) } else { Ok(self.b.reduce(op, x, over)?) }
    }
}

/// The number of the element that a reduction over `axes` visits, the last axis fastest.
fn visited(emit: &Emit<'_>, axes: &[AxisId]) -> Index {
    axes.iter().fold(Index::default(), |at, axis| at.mul(&emit.extent(*axis)).add(&Index::axis(*axis)))
}
