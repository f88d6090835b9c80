//! Chooses the order in which a definition's axes are looped over.
//!
//! In: a definition. Out: its loops and its block, such that what is invariant is recomputed least. The cost of an order is a
//! count of element operations: a term is recomputed when an axis it depends on moves, or an axis outside of that one. Orders
//! never change a value.

use crate::elem::{ElemOp, ReduceOp, Typing};
use crate::entity::Entity;
use crate::graph::{Function, Op, TermId};
use crate::index::{Atom, AxisId, Index};
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;

/// The most elements of a block of a definition.
const BLOCK: i64 = 2048;
/// An extent that is not known before it runs.
const UNKNOWN: i64 = 64;
/// What evaluating a node costs beside its elements.
const OVERHEAD: f64 = 40.0;

/// The extent of an axis, as far as dims tell.
pub(super) fn estimate(function: &Function, dims: &[i64], axis: AxisId) -> i64 {
    let value = function.axes[axis].extent.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => dims.get(dim.index()).copied(),
        _ => None,
    });
    value.unwrap_or(UNKNOWN)
}

/// How many reads under `body` move to the next element with `axis`.
pub(super) fn contiguous_reads(function: &Function, body: TermId, axis: AxisId) -> usize {
    let mut count = 0;
    walk(function, body, &mut |id| {
        if let Op::Read { subs, .. } = &function.terms[id].op
            && let Some((last, others)) = subs.split_last()
        {
            let moves = last.linear_in(axis).is_some_and(|(by, _)| by == 1) || divides(last, axis);
            count += usize::from(moves && others.iter().all(|s| s.as_axis() != Some(axis)));
        }
    });
    count
}

/// Whether a subscript is a quotient or remainder of an expression in `axis`.
fn divides(sub: &Index, axis: AxisId) -> bool {
    matches!(sub.as_atom(), Some(Atom::Div(..) | Atom::Rem(..))) && sub.axes().contains(&axis)
}

/// Visits every term under `root` once.
fn walk(function: &Function, root: TermId, visit: &mut dyn FnMut(TermId)) {
    let mut seen = FxHashSet::default();
    let mut work = vec![root];
    while let Some(id) = work.pop() {
        if seen.insert(id) {
            visit(id);
            work.extend(&function.terms[id].args);
        }
    }
}

/// Free axes of every term of a function, in order.
pub(super) fn free_axes(function: &Function) -> Vec<BTreeSet<AxisId>> {
    let mut all: Vec<BTreeSet<AxisId>> = Vec::with_capacity(function.terms.len());
    for term in function.terms.values() {
        let mut free: BTreeSet<AxisId> = term.args.iter().flat_map(|a| all[a.index()].iter().copied()).collect();
        match &term.op {
            Op::Index(index) => free.extend(index.axes()),
            Op::Read { subs, .. } => free.extend(subs.iter().flat_map(Index::axes)),
            Op::Softmax { axes } => free.extend(axes),
            Op::Running { axis, .. } => drop(free.insert(*axis)),
            Op::Reduce { segment: Some((_, at)), .. } => free.extend(at.axes()),
            _ => {}
        }
        for axis in term.op.binds() {
            free.remove(axis);
            free.extend(function.axes[*axis].extent.axes());
        }
        all.push(free);
    }
    all
}

/// Loops and block of a definition over `axes`.
pub(super) fn choose(
    function: &Function,
    dims: &[i64],
    free: &[BTreeSet<AxisId>],
    axes: &[AxisId],
    value: TermId,
) -> (Vec<AxisId>, Vec<AxisId>) {
    let shape = Shape::of(function, value);
    if let Some(row) = &shape.row
        && row.iter().all(|a| axes.contains(a))
    {
        let rest: Vec<AxisId> = axes.iter().filter(|a| !row.contains(a)).copied().collect();
        return (rest, row.clone());
    }
    let costs = Costs { function, dims, free };
    let orders = if shape.reduces { orders(axes) } else { vec![axes.to_vec()] };
    let split = |order: &[AxisId]| split(&costs, order, shape.folds);
    let mut best: Option<(f64, Vec<AxisId>)> = None;
    for order in orders {
        let (loops, block) = split(&order);
        let cost = costs.of(value, &loops, &block, &mut FxHashSet::default());
        // A later order must win clearly: the written order writes its result in sequence.
        if best.as_ref().is_none_or(|(least, _)| cost < least * 0.95) {
            best = Some((cost, order));
        }
    }
    split(&best.map(|(_, order)| order).unwrap_or_default())
}

/// What stands outside of reductions in a term.
struct Shape {
    row: Option<Vec<AxisId>>,
    folds: bool,
    reduces: bool,
}

impl Shape {
    fn of(function: &Function, value: TermId) -> Self {
        let mut shape = Self { row: None, folds: false, reduces: false };
        let mut work = vec![value];
        let mut seen = FxHashSet::default();
        while let Some(id) = work.pop() {
            if !seen.insert(id) {
                continue;
            }
            match &function.terms[id].op {
                Op::Softmax { axes } => shape.row = Some(axes.clone()),
                Op::Running { axis, .. } => shape.row = Some(vec![*axis]),
                Op::Fold { .. } => (shape.folds, shape.reduces) = (true, true),
                Op::Reduce { .. } => shape.reduces = true,
                _ => work.extend(&function.terms[id].args),
            }
        }
        shape
    }
}

/// Orders to try: all of few axes, else each axis moved to an end.
fn orders(axes: &[AxisId]) -> Vec<Vec<AxisId>> {
    if axes.len() <= 4 {
        return permutations(axes);
    }
    let mut orders = vec![axes.to_vec()];
    for at in 0..axes.len() {
        let mut rest = axes.to_vec();
        let axis = rest.remove(at);
        orders.push(std::iter::once(axis).chain(rest.iter().copied()).collect());
        rest.push(axis);
        orders.push(rest);
    }
    orders
}

fn permutations(axes: &[AxisId]) -> Vec<Vec<AxisId>> {
    if axes.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..axes.len() {
        let mut rest = axes.to_vec();
        let first = rest.remove(at);
        all.extend(permutations(&rest).into_iter().map(|tail| std::iter::once(first).chain(tail).collect::<Vec<_>>()));
    }
    all
}

/// The innermost axes of an order that make a block; one axis if `lone`.
fn split(costs: &Costs<'_>, order: &[AxisId], lone: bool) -> (Vec<AxisId>, Vec<AxisId>) {
    let mut size = 1_i64;
    let mut from = order.len();
    while from > 0 {
        size = size.saturating_mul(estimate(costs.function, costs.dims, order[from - 1]).max(1));
        if from < order.len() && (size > BLOCK || lone) {
            break;
        }
        from -= 1;
    }
    (order[..from].to_vec(), order[from..].to_vec())
}

struct Costs<'a> {
    function: &'a Function,
    dims: &'a [i64],
    free: &'a [BTreeSet<AxisId>],
}

impl Costs<'_> {
    /// The cost of evaluating `id` within `loops`, in blocks over `block`.
    fn of(&self, id: TermId, loops: &[AxisId], block: &[AxisId], seen: &mut FxHashSet<TermId>) -> f64 {
        if !seen.insert(id) {
            return 0.0;
        }
        let term = &self.function.terms[id];
        let free = &self.free[id.index()];
        let last = loops.iter().rposition(|a| free.contains(a)).map_or(0, |at| at + 1);
        let times = self.size(&loops[..last], |_| true);
        let elements = self.size(block, |a| free.contains(a));
        let around: Vec<AxisId> = loops.iter().chain(block).copied().collect();
        let mut operands =
            |loops: &[AxisId], block: &[AxisId]| term.args.iter().map(|a| self.of(*a, loops, block, seen)).sum::<f64>();
        let (each, below) = match &term.op {
            Op::Reduce { axes, op, .. } => {
                let each = if *op == ReduceOp::Sum { 0.5 } else { 2.0 };
                (OVERHEAD + each * self.size(axes, |_| true), operands(&around, axes))
            }
            Op::Fold { axes, .. } => {
                let within: Vec<AxisId> = loops.iter().chain(axes).copied().collect();
                (OVERHEAD * self.size(axes, |_| true), operands(&within, block))
            }
            Op::Softmax { axes } => (10.0, operands(&around, axes)),
            Op::Elem(op) if op.typing() == Typing::Float || *op == ElemOp::Rem => (10.0, operands(loops, block)),
            Op::Read { subs, .. } => (self.read(subs, loops, block), 0.0),
            _ => (1.0, operands(loops, block)),
        };
        times * (OVERHEAD + elements * each) + below
    }
    fn read(&self, subs: &[Index], loops: &[AxisId], block: &[AxisId]) -> f64 {
        let Some(inner) = block.last() else { return 1.0 };
        // Sums whose results are neighbours are computed side by side.
        let beside = |axis: &AxisId| subs.last().is_some_and(|sub| sub.linear_in(*axis).is_some_and(|(by, _)| by == 1));
        if loops.last().is_some_and(beside) {
            return 0.5;
        }
        let last = subs.last().and_then(|s| s.linear_in(*inner)).map(|(by, _)| by);
        let elsewhere = subs.iter().rev().skip(1).any(|s| s.axes().contains(inner));
        if elsewhere || last.is_none() { 3.0 } else { 0.5 }
    }
    fn size(&self, axes: &[AxisId], counts: impl Fn(&AxisId) -> bool) -> f64 {
        let sizes = axes.iter().filter(|a| counts(a)).map(|a| estimate(self.function, self.dims, *a).max(1) as f64);
        sizes.product()
    }
}
