//! Loops over tiles of which only data tells what a mask admits.
//!
//! Documents, padding, hashed buckets: there are no phases to solve for. A step asks first whether the mask may admit anything
//! of its tile, and whether it admits everything; without anything it is skipped, with everything it runs unmasked. The question
//! is answered by intervals: of what the loop does not change, the least and the greatest element are taken once, before the
//! loop, and comparisons look at these alone. "Perhaps" errs towards yes and "surely" towards no. What the tile reads in either
//! case is read before the two cases part.

use super::Lowered;
use super::emit::Emit;
use super::fold::{Body, Step};
use super::phase::Guard;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Op, TermId};
use sawmill_ir::index::AxisId;
use sawmill_ir::tile::Value;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The masks of a loop over an axis, and bounds of the parts of them that it does not change.
pub(super) struct Spans {
    axis: AxisId,
    masks: BTreeSet<TermId>,
    /// Least and greatest element.
    still: BTreeMap<TermId, Bounds>,
}

/// Two values between which elements lie; of truths, whether all and whether any are true.
#[derive(Clone, Copy)]
struct Bounds {
    least: Value,
    greatest: Value,
}

impl<'a> Emit<'a> {
    /// What is known of the masks before a loop over `axis`; `None` if a component has no mask.
    pub(super) fn spans(&mut self, axis: AxisId, conditions: &[Option<TermId>]) -> Lowered<Option<Spans>> {
        let Some(masks) = conditions.iter().copied().collect::<Option<BTreeSet<TermId>>>() else { return Ok(None) };
        let mut still = BTreeMap::new();
        for mask in &masks {
            self.bound_still(*mask, axis, &mut still)?;
        }
        Ok(Some(Spans { axis, masks, still }))
    }

    fn bound_still(&mut self, id: TermId, axis: AxisId, still: &mut BTreeMap<TermId, Bounds>) -> Lowered<()> {
        let fact = self.program.facts.get(id);
        let term = &self.program.function.terms[id];
        let placed = fact.axes.iter().all(|a| *a != axis && self.space.get(*a).is_some());
        if placed && fact.state.is_empty() && !term.dtype.is_float() {
            if let Entry::Vacant(open) = still.entry(id) {
                let value = self.term(id)?;
                open.insert(self.bounds(value)?);
            }
            return Ok(());
        }
        match &term.op {
            Op::Elem(op) if is_connective(*op) || self.orders(*op, &term.args) => {
                term.args.iter().try_for_each(|arg| self.bound_still(*arg, axis, still))
            }
            _ => Ok(()),
        }
    }
    /// The least and the greatest element of a tile.
    fn bounds(&mut self, value: Value) -> Lowered<Bounds> {
        let (least, greatest) = match self.dtype(value).is_int() {
            true => (ReduceOp::Min, ReduceOp::Max),
            false => (ReduceOp::All, ReduceOp::Any),
        };
        let least = self.over_all(least, value)?;
        Ok(Bounds { least, greatest: self.over_all(greatest, value)? })
    }
    /// One value for a whole tile.
    fn over_all(&mut self, op: ReduceOp, tile: Value) -> Lowered<Value> {
        let axes = self.b.type_of(tile).axes.clone();
        if axes.is_empty() { Ok(tile) } else { Ok(self.b.reduce(op, tile, axes)?) }
    }

    /// A step of a loop whose components all are masked by data: `body`, unless the masks admit nothing of the tile. `terms` is
    /// what the components are made of.
    pub(super) fn admitted(
        &mut self,
        step: &Step,
        spans: &Spans,
        terms: &[TermId],
        carries: &[Value],
        body: Body<'_, 'a>,
    ) -> Lowered<Vec<Value>> {
        // Bounds of the mask are no use to what computes the mask itself.
        let mut open = Step { masked: Some(Guard::Never), ..step.clone() };
        let mut ends = open.bounds.iter_mut().filter(|(axis, guard)| *axis == spans.axis && *guard != Guard::Never);
        let end = ends.next().map(|(axis, guard)| {
            *guard = Guard::Never;
            *axis
        });
        let (some, every) = self.scoped(|e| {
            let (mut some, mut every) = (Vec::new(), Vec::new());
            let inside = end.map(|axis| e.before_end(axis)).transpose()?;
            for mask in &spans.masks {
                let truth = e.perhaps_and_surely(*mask, &spans.still)?;
                some.push(e.over_all(ReduceOp::Any, truth.greatest)?);
                let least = match inside {
                    Some(inside) => e.elem(ElemOp::And, &[truth.least, inside])?,
                    None => truth.least,
                };
                every.push(e.over_all(ReduceOp::All, least)?);
            }
            Ok((e.joined(ElemOp::Or, &some)?, e.joined(ElemOp::And, &every)?))
        })?;
        let work = self.region(|e| {
            let mut seen = spans.masks.clone();
            terms.iter().try_for_each(|term| e.read_ahead(*term, &mut seen))?;
            let full = e.region(|e| body(e, &open, carries))?;
            let edge = e.region(|e| body(e, step, carries))?;
            Ok(e.b.choose(every, full, edge)?)
        })?;
        let idle = self.region(|_| Ok(carries.to_vec()))?;
        Ok(self.b.choose(some, work, idle)?)
    }
    fn joined(&mut self, op: ElemOp, truths: &[Value]) -> Lowered<Value> {
        match truths {
            [one] => Ok(*one),
            truths => self.elem(op, truths),
        }
    }

    /// Loads what a term reads, as far as axes are placed; `seen` are terms to leave alone.
    fn read_ahead(&mut self, id: TermId, seen: &mut BTreeSet<TermId>) -> Lowered<()> {
        if !seen.insert(id) {
            return Ok(());
        }
        let term = &self.program.function.terms[id];
        match term.op {
            Op::Read { .. } if self.program.facts.get(id).axes.iter().all(|a| self.space.get(*a).is_some()) => {
                self.term(id).map(|_| ())
            }
            _ => term.args.iter().try_for_each(|arg| self.read_ahead(*arg, seen)),
        }
    }

    /// A truth value of the tile: `greatest` is false only where it is false, `least` is true only where it is true.
    fn perhaps_and_surely(&mut self, id: TermId, still: &BTreeMap<TermId, Bounds>) -> Lowered<Bounds> {
        if let Some(bounds) = still.get(&id) {
            return Ok(*bounds);
        }
        let term = &self.program.function.terms[id];
        let Op::Elem(op) = term.op else { return self.exactly(id) };
        if !is_connective(op) && !self.orders(op, &term.args) {
            return self.exactly(id);
        }
        let args: Lowered<Vec<Bounds>> = term.args.iter().map(|arg| self.perhaps_and_surely(*arg, still)).collect();
        match (op, args?.as_slice()) {
            (ElemOp::Not, [a]) => {
                let [least, greatest] = [a.greatest, a.least].map(|x| self.elem(ElemOp::Not, &[x]));
                Ok(Bounds { least: least?, greatest: greatest? })
            }
            (ElemOp::Lt | ElemOp::Le, [a, b]) => self.ordered(op, *a, *b),
            (ElemOp::Gt, [a, b]) => self.ordered(ElemOp::Lt, *b, *a),
            (ElemOp::Ge, [a, b]) => self.ordered(ElemOp::Le, *b, *a),
            (ElemOp::Eq, [a, b]) => {
                let [up, down] = [(a, b), (b, a)].map(|(x, y)| self.ordered(ElemOp::Le, *x, *y));
                self.both(ElemOp::And, &[up?, down?])
            }
            (op, args) => self.both(op, args),
        }
    }
    /// Whether an operation compares integers by their order.
    fn orders(&self, op: ElemOp, args: &[TermId]) -> bool {
        let comparison = matches!(op, ElemOp::Lt | ElemOp::Le | ElemOp::Gt | ElemOp::Ge | ElemOp::Eq);
        comparison && args.iter().all(|arg| self.program.function.terms[*arg].dtype.is_int())
    }
    fn exactly(&mut self, id: TermId) -> Lowered<Bounds> {
        let value = self.term(id)?;
        Ok(Bounds { least: value, greatest: value })
    }
    /// Whether a comparison of two intervals holds for some of their elements, and for all.
    fn ordered(&mut self, op: ElemOp, a: Bounds, b: Bounds) -> Lowered<Bounds> {
        let greatest = self.elem(op, &[a.least, b.greatest])?;
        Ok(Bounds { least: self.elem(op, &[a.greatest, b.least])?, greatest })
    }
    fn both(&mut self, op: ElemOp, args: &[Bounds]) -> Lowered<Bounds> {
        let [least, greatest]: [Vec<Value>; 2] =
            [args.iter().map(|a| a.least).collect(), args.iter().map(|a| a.greatest).collect()];
        Ok(Bounds { least: self.elem(op, &least)?, greatest: self.elem(op, &greatest)? })
    }
}

/// Whether an operation on truths never falls as they rise, or is `not`.
fn is_connective(op: ElemOp) -> bool {
    matches!(op, ElemOp::And | ElemOp::Or | ElemOp::Not)
}
