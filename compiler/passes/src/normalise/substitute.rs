//! Terms with positions replaced.
//!
//! In: a term and what its free axes become. Out: the term at those positions. Binders whose body changes get axes of their
//! own, so an axis stays bound in one place and nothing is captured.

use super::Normaliser;
use rustc_hash::FxHashMap;
use sawmill_ir::graph::{Axis, Op, TermId};
use sawmill_ir::index::{Atom, AxisId, Index};
use std::collections::BTreeMap;

/// What axes become.
pub(super) type Positions = BTreeMap<AxisId, Index>;

/// `index` at other positions.
fn at_positions(index: &Index, positions: &Positions) -> Index {
    index.substitute(&mut |atom| match atom {
        Atom::Axis(axis) => positions.get(axis).cloned(),
        _ => None,
    })
}

impl Normaliser<'_> {
    /// `term` at other positions.
    pub(super) fn substitute(&mut self, term: TermId, positions: &Positions) -> TermId {
        if positions.iter().all(|(axis, index)| index.as_axis() == Some(*axis)) {
            return term;
        }
        self.substitute_memo(term, positions, &mut FxHashMap::default())
    }

    fn substitute_memo(&mut self, id: TermId, positions: &Positions, memo: &mut FxHashMap<TermId, TermId>) -> TermId {
        if let Some(done) = memo.get(&id) {
            return *done;
        }
        let term = self.terms.get(id).clone();
        let done = match bound_axes(&term.op) {
            [] => {
                let args: Vec<TermId> = term.args.iter().map(|a| self.substitute_memo(*a, positions, memo)).collect();
                match term.op {
                    Op::Elem(op) => self.terms.elem(op, args),
                    op => self.terms.add(op_at(op, positions), args, term.dtype),
                }
            }
            bound => {
                let (inner, fresh) = self.refresh(bound, positions);
                let mut below = FxHashMap::default();
                let args: Vec<TermId> =
                    term.args.iter().map(|a| self.substitute_memo(*a, &inner, &mut below)).collect();
                if args == term.args { id } else { self.terms.add(rebind(term.op.clone(), fresh), args, term.dtype) }
            }
        };
        memo.insert(id, done);
        done
    }

    /// New axes like `bound`, and `positions` with the old ones sent there.
    pub(super) fn refresh(&mut self, bound: &[AxisId], positions: &Positions) -> (Positions, Vec<AxisId>) {
        let mut inner = positions.clone();
        let mut fresh = Vec::with_capacity(bound.len());
        for axis in bound {
            let old = &self.out.axes[*axis];
            let extent = at_positions(&old.extent, positions);
            let axis_new = self.out.axes.push(Axis { name: old.name.clone(), extent });
            inner.insert(*axis, Index::axis(axis_new));
            fresh.push(axis_new);
        }
        (inner, fresh)
    }
}

/// The axes an operation binds.
fn bound_axes(op: &Op) -> &[AxisId] {
    match op {
        Op::Reduce { axes, .. } | Op::Fold { axes, .. } => axes,
        _ => &[],
    }
}

fn rebind(op: Op, fresh: Vec<AxisId>) -> Op {
    match op {
        Op::Reduce { op, segment, .. } => Op::Reduce { op, axes: fresh, segment },
        Op::Fold { components, .. } => Op::Fold { axes: fresh, components },
        other => other,
    }
}

fn op_at(op: Op, positions: &Positions) -> Op {
    match op {
        Op::Index(index) => Op::Index(at_positions(&index, positions)),
        Op::Read { tensor, subs, guarded } => {
            let subs = subs.iter().map(|s| at_positions(s, positions)).collect();
            Op::Read { tensor, subs, guarded }
        }
        other => other,
    }
}
