//! Folds that are alike: the components of one, under other axis names, are the first components of another.
//!
//! In: a function and two definitions. Out: which axes of the second are which of the first, and which fold serves which. Two
//! walks in parallel: the first binds axes where both sides read one tensor or bind an axis at one place, the second checks
//! that everything is equal under these names. A definition that needs only such a fold runs in the kernel of the other one.

use sawmill_ir::graph::{Function, Op, TermId};
use sawmill_ir::index::{Atom, AxisId, Index};
use std::collections::{BTreeMap, BTreeSet};

/// What a definition shares with one before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    /// Axes of the first definition by axes of the second.
    pub(crate) axes: BTreeMap<AxisId, AxisId>,
    /// The fold that serves a fold of the second.
    pub(crate) folds: BTreeMap<TermId, TermId>,
}

/// What `second` shares with `first`: every fold of `second` is served by one of `first`, and there is one.
pub(crate) fn shared(function: &Function, first: TermId, second: TermId) -> Option<Shared> {
    let of_first = outer_folds(function, first);
    let of_second = outer_folds(function, second);
    let mut shared = Shared::default();
    for fold in &of_second {
        let (serves, axes) = of_first.iter().find_map(|f| Some((*f, alike(function, *f, *fold, &shared.axes)?)))?;
        shared.axes = axes;
        shared.folds.insert(*fold, serves);
    }
    (!of_second.is_empty()).then_some(shared)
}

/// The folds of a term that are in no other reduction.
fn outer_folds(function: &Function, term: TermId) -> Vec<TermId> {
    let (mut open, mut seen, mut folds) = (vec![term], BTreeSet::new(), BTreeSet::new());
    while let Some(id) = open.pop() {
        let term = &function.terms[id];
        match term.op {
            _ if !seen.insert(id) => {}
            Op::Fold { .. } => {
                folds.insert(id);
            }
            Op::Reduce { .. } => {}
            _ => open.extend(&term.args),
        }
    }
    folds.into_iter().collect()
}

/// The axes of `b` as axes of `a`, if the components of fold `b` are the first ones of fold `a`.
fn alike(
    function: &Function,
    a: TermId,
    b: TermId,
    known: &BTreeMap<AxisId, AxisId>,
) -> Option<BTreeMap<AxisId, AxisId>> {
    let (first, second) = (&function.terms[a], &function.terms[b]);
    let (Op::Fold { axes: over_a, components: all }, Op::Fold { axes: over_b, components: some }) =
        (&first.op, &second.op)
    else {
        return None;
    };
    if over_a.len() != over_b.len() || all.get(..some.len()) != Some(some.as_slice()) {
        return None;
    }
    let repairs = |components: &[sawmill_ir::graph::Component]| {
        components.iter().filter(|c| c.repair != sawmill_ir::graph::Repair::None).count()
    };
    let split = |args: &'_ [TermId], count: usize| args.split_at_checked(count).map(|(e, r)| (e.to_vec(), r.to_vec()));
    let (elements_a, repairs_a) = split(&first.args, all.len())?;
    let (elements_b, repairs_b) = split(&second.args, some.len())?;
    let count = repairs(some);
    let pairs: Vec<(TermId, TermId)> =
        elements_a.into_iter().zip(elements_b).chain(repairs_a.into_iter().take(count).zip(repairs_b)).collect();
    let mut names = Names { function, axes: known.clone(), done: BTreeSet::new() };
    names.bind_all(over_a, over_b)?;
    pairs.iter().try_for_each(|(a, b)| names.bind_terms(*a, *b))?;
    names.done.clear();
    pairs.iter().try_for_each(|(a, b)| names.equal(*a, *b))?;
    Some(names.axes)
}

struct Names<'a> {
    function: &'a Function,
    axes: BTreeMap<AxisId, AxisId>,
    done: BTreeSet<(TermId, TermId)>,
}

impl Names<'_> {
    fn bind(&mut self, a: AxisId, b: AxisId) -> Option<()> {
        let same = *self.axes.entry(b).or_insert(a) == a;
        let once = self.axes.iter().filter(|(_, to)| **to == a).count() == 1;
        let extents = self.function.axes[a].extent == self.function.axes[b].extent;
        (same && once && extents).then_some(())
    }
    fn bind_all(&mut self, a: &[AxisId], b: &[AxisId]) -> Option<()> {
        if a.len() != b.len() {
            return None;
        }
        a.iter().zip(b).try_for_each(|(a, b)| self.bind(*a, *b))
    }
    /// Binds the axes of positions that are sums, those that have no name yet in their order; whether the sums are equal then, is
    /// seen later.
    fn bind_open(&mut self, a: &Index, b: &Index) -> Option<()> {
        let open_a: Vec<AxisId> = a.axes().into_iter().filter(|x| !self.axes.values().any(|to| to == x)).collect();
        let open_b: Vec<AxisId> = b.axes().into_iter().filter(|y| !self.axes.contains_key(y)).collect();
        self.bind_all(&open_a, &open_b)
    }
    fn bind_terms(&mut self, a: TermId, b: TermId) -> Option<()> {
        if !self.done.insert((a, b)) {
            return Some(());
        }
        let (x, y) = (&self.function.terms[a], &self.function.terms[b]);
        match (&x.op, &y.op) {
            (Op::Read { tensor: t, subs: xs, .. }, Op::Read { tensor: u, subs: ys, .. }) if t == u => {
                for (x, y) in xs.iter().zip(ys) {
                    match (x.as_axis(), y.as_axis()) {
                        (Some(x), Some(y)) => self.bind(x, y)?,
                        _ => self.bind_open(x, y)?,
                    }
                }
            }
            (Op::Reduce { axes: xs, .. }, Op::Reduce { axes: ys, .. })
            | (Op::Fold { axes: xs, .. }, Op::Fold { axes: ys, .. }) => self.bind_all(xs, ys)?,
            _ => {}
        }
        if x.args.len() != y.args.len() {
            return None;
        }
        x.args.iter().zip(&y.args).try_for_each(|(x, y)| self.bind_terms(*x, *y))
    }

    fn renamed(&self, index: &Index) -> Index {
        index.substitute(&mut |atom| match atom {
            Atom::Axis(axis) => self.axes.get(axis).map(|a| Index::axis(*a)),
            _ => None,
        })
    }
    fn equal(&mut self, a: TermId, b: TermId) -> Option<()> {
        if !self.done.insert((a, b)) {
            return Some(());
        }
        let (x, y) = (&self.function.terms[a], &self.function.terms[b]);
        let axes = |list: &[AxisId]| list.iter().map(|a| self.axes.get(a).copied().unwrap_or(*a)).collect::<Vec<_>>();
        let op = match &y.op {
            Op::Index(index) => Op::Index(self.renamed(index)),
            Op::Read { tensor, subs, guarded } => {
                Op::Read { tensor: *tensor, subs: subs.iter().map(|s| self.renamed(s)).collect(), guarded: *guarded }
            }
            Op::Reduce { op, axes: over, segment: None } => Op::Reduce { op: *op, axes: axes(over), segment: None },
            Op::Fold { axes: over, components } => Op::Fold { axes: axes(over), components: components.clone() },
            Op::Const(_)
            | Op::Elem(_)
            | Op::Cast(_)
            | Op::Round(_)
            | Op::Where
            | Op::Proj(_)
            | Op::New(_)
            | Op::Old(_) => y.op.clone(),
            _ => return None,
        };
        if x.op != op || x.dtype != y.dtype || x.args.len() != y.args.len() {
            return None;
        }
        x.args.iter().zip(&y.args).try_for_each(|(x, y)| self.equal(*x, *y))
    }
}
