//! Where a loop over a summed axis runs, and where its tiles need no mask.
//!
//! In: the conditions under which elements take part, as terms; the axis, its tile. Out: phases of the loop, and whether
//! bounds and conditions must be applied never, in edge phases, or always. A condition is solved by intervals: comparisons
//! that are linear in the axis give, over the tile's other axes, the positions where some and where all elements pass;
//! conjunctions intersect, disjunctions join. What cannot be solved holds nowhere for certain and everywhere perhaps.

use super::emit::Emit;
use super::space::Symbol;
use super::{Lowered, Stop};
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::{Const, Op, TermId};
use sawmill_ir::index::{Atom, AxisId, Index};
use sawmill_ir::tile::{Phase, Value};

/// When something must be applied to a loop's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Never.
    Never,
    /// In every step.
    Always,
    /// In steps whose edge flag, this scalar, is set.
    Edge(Value),
}

/// How a loop runs.
pub(super) struct Phases {
    pub(super) phases: Vec<Phase>,
    /// Whether a step may pass the end of the axis.
    pub(super) partial: bool,
    /// Whether only data tells where the conditions hold, so that every step is an edge.
    pub(super) by_data: bool,
}

impl Phases {
    /// When what edge phases need must be applied, given the loop's edge flag.
    pub(super) fn guard(&self, flag: Value) -> Guard {
        match (self.phases.iter().any(|p| p.edge), self.phases.iter().any(|p| !p.edge)) {
            (false, _) => Guard::Never,
            (true, false) => Guard::Always,
            (true, true) => Guard::Edge(flag),
        }
    }
}

/// Positions from `lo` below `hi`; `None` is no bound.
#[derive(Clone, Debug, Default, PartialEq)]
struct Range {
    lo: Option<Index>,
    hi: Option<Index>,
}

impl Range {
    fn intersect(&self, other: &Self) -> Self {
        Self { lo: join(&self.lo, &other.lo, Index::larger), hi: join(&self.hi, &other.hi, Index::smaller) }
    }
    fn hull(&self, other: &Self) -> Self {
        let both = |a: &Option<Index>, b: &Option<Index>, f: fn(&Index, &Index) -> Index| match (a, b) {
            (Some(a), Some(b)) => Some(f(a, b)),
            _ => None,
        };
        Self { lo: both(&self.lo, &other.lo, Index::smaller), hi: both(&self.hi, &other.hi, Index::larger) }
    }
    /// A range inside of the union: both, if they share an end, else the first.
    fn inner_union(&self, other: &Self) -> Self {
        if self.lo == other.lo || self.hi == other.hi { self.hull(other) } else { self.clone() }
    }
}

fn join(a: &Option<Index>, b: &Option<Index>, f: impl Fn(&Index, &Index) -> Index) -> Option<Index> {
    match (a, b) {
        (Some(a), Some(b)) => Some(f(a, b)),
        (a, b) => a.clone().or_else(|| b.clone()),
    }
}

/// Where a condition may hold and where it surely does, if anywhere is known.
#[derive(Clone, Debug, PartialEq)]
struct Solved {
    some: Range,
    all: Option<Range>,
}

impl Solved {
    fn everywhere() -> Self {
        Self { some: Range::default(), all: Some(Range::default()) }
    }
    fn unknown() -> Self {
        Self { some: Range::default(), all: None }
    }
    fn and(&self, other: &Self) -> Self {
        let all = match (&self.all, &other.all) {
            (Some(a), Some(b)) => Some(a.intersect(b)),
            _ => None,
        };
        Self { some: self.some.intersect(&other.some), all }
    }
    fn or(&self, other: &Self) -> Self {
        let all = match (&self.all, &other.all) {
            (Some(a), Some(b)) => Some(a.inner_union(b)),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Self { some: self.some.hull(&other.some), all }
    }
    /// What several folded components need: a step runs if some component needs it, and is full if it is for all of them.
    fn together(&self, other: &Self) -> Self {
        Self { some: self.some.hull(&other.some), ..self.and(other) }
    }
}

impl Emit<'_> {
    /// The phases of a loop over `axis` in tiles of `step` units of `unit` positions each, whose counter is ahead of the axis by
    /// `start`. `conditions` has one entry for each component.
    pub(super) fn phases(
        &mut self,
        axis: AxisId,
        (step, unit): (i64, i64),
        start: &Index,
        conditions: &[Option<TermId>],
    ) -> Lowered<Phases> {
        let extent = self.symbolic(&self.extent(axis))?;
        let tile = step * unit;
        let partial = extent.rem(&Index::int(tile)).as_int() != Some(0);
        let solved = self.solve_all(axis, conditions)?;
        let by_data = solved.all.is_none() && conditions.iter().flatten().any(|c| self.reads_data(*c));
        let solved = if unit > 1 && conditions.iter().any(Option::is_some) { Solved::unknown() } else { solved };
        let units = |positions: &Index| positions.div(&Index::int(unit));
        let end = units(&extent.add(&Index::int(unit - 1)));
        let down = |x: &Index| x.div(&Index::int(step)).scale(step);
        let up = |x: &Index| down(&x.add(&Index::int(step - 1)));
        let zero = Index::int(0);
        let (first, last) = match &solved.some {
            Range { lo: None, hi: None } => (zero.clone(), end.clone()),
            some => {
                let lo = some.lo.as_ref().map_or(zero.clone(), |lo| down(&lo.larger(&zero)));
                (lo, some.hi.as_ref().map_or(end.clone(), |hi| hi.smaller(&end)))
            }
        };
        let whole_tiles = units(&extent.div(&Index::int(tile)).scale(tile));
        let mut spans: Vec<(Index, Index, bool)> = Vec::new();
        match solved.all {
            None => spans.push((first, last, true)),
            Some(Range { lo: None, hi: None }) => {
                spans.push((first, whole_tiles.clone(), false));
                if partial {
                    spans.push((whole_tiles, last, true));
                }
            }
            Some(Range { lo, hi }) => {
                let starts = match &lo {
                    None => first.clone(),
                    Some(lo) => up(&lo.larger(&first)).smaller(&up(&last).larger(&first)),
                };
                let ends =
                    hi.as_ref().map_or(whole_tiles.clone(), |hi| down(&hi.smaller(&whole_tiles))).larger(&starts);
                if lo.is_some() {
                    spans.push((first, starts.smaller(&last), true));
                }
                spans.push((starts, ends.clone(), false));
                if hi.is_some() || partial {
                    spans.push((ends, last, true));
                }
            }
        }
        let mut phases = Vec::new();
        for (lo, hi, edge) in spans {
            let [lo, hi] = [lo, hi].map(|end| end.add(start));
            phases.push(Phase { lo: self.index_value(&lo)?, hi: self.index_value(&hi)?, edge });
        }
        Ok(Phases { phases, partial, by_data })
    }

    fn solve_all(&mut self, axis: AxisId, conditions: &[Option<TermId>]) -> Lowered<Solved> {
        let free = self.space.symbol(Symbol::Free);
        let Some(symbol) = free.as_axis() else { return Err(Stop::Bug("a symbol is an axis".to_owned())) };
        let before = self.space.place(axis, free, false);
        let each = |c: &Option<TermId>| c.map_or_else(Solved::everywhere, |c| self.solve(c, symbol));
        let solved = conditions.iter().map(each).reduce(|a, b| a.together(&b));
        self.space.restore(axis, before);
        Ok(solved.unwrap_or_else(Solved::everywhere))
    }

    /// Whether a condition looks at elements of tensors.
    fn reads_data(&self, id: TermId) -> bool {
        let term = &self.program.function.terms[id];
        let found = matches!(&term.op, Op::Index(index) if index.reads_tensors());
        found || matches!(term.op, Op::Read { .. }) || term.args.iter().any(|arg| self.reads_data(*arg))
    }

    fn solve(&self, id: TermId, axis: AxisId) -> Solved {
        let term = &self.program.function.terms[id];
        match &term.op {
            Op::Const(Const::Bool(true)) => Solved::everywhere(),
            Op::Elem(ElemOp::And) => term
                .args
                .iter()
                .map(|a| self.solve(*a, axis))
                .reduce(|a, b| a.and(&b))
                .unwrap_or_else(Solved::everywhere),
            Op::Elem(ElemOp::Or) => {
                term.args.iter().map(|a| self.solve(*a, axis)).reduce(|a, b| a.or(&b)).unwrap_or_else(Solved::unknown)
            }
            Op::Elem(ElemOp::Not) => self.solve_not(term.args[0], axis),
            Op::Elem(op) => self.compare(*op, &term.args, axis),
            _ => Solved::unknown(),
        }
    }
    fn solve_not(&self, id: TermId, axis: AxisId) -> Solved {
        let term = &self.program.function.terms[id];
        let opposite = match &term.op {
            Op::Elem(ElemOp::Lt) => ElemOp::Ge,
            Op::Elem(ElemOp::Le) => ElemOp::Gt,
            Op::Elem(ElemOp::Gt) => ElemOp::Le,
            Op::Elem(ElemOp::Ge) => ElemOp::Lt,
            Op::Elem(ElemOp::Not) => return self.solve(term.args[0], axis),
            _ => return Solved::unknown(),
        };
        self.compare(opposite, &term.args, axis)
    }
    fn compare(&self, op: ElemOp, args: &[TermId], axis: AxisId) -> Solved {
        let [a, b] = args else { return Solved::unknown() };
        let (Some(a), Some(b)) = (self.as_index(*a), self.as_index(*b)) else { return Solved::unknown() };
        let one = Index::int(1);
        match op {
            ElemOp::Le => self.natural(&b.sub(&a), axis),
            ElemOp::Lt => self.natural(&b.sub(&a).sub(&one), axis),
            ElemOp::Ge => self.natural(&a.sub(&b), axis),
            ElemOp::Gt => self.natural(&a.sub(&b).sub(&one), axis),
            ElemOp::Eq => self.natural(&a.sub(&b), axis).and(&self.natural(&b.sub(&a), axis)),
            _ => Solved::unknown(),
        }
    }
    /// Where `difference` is 0 or more.
    fn natural(&self, difference: &Index, axis: AxisId) -> Solved {
        let solve = || {
            let (coefficient, rest) =
                undivided(difference, axis).unwrap_or_else(|| difference.clone()).linear_in(axis)?;
            let (least, greatest) = self.space.extremes(&rest)?;
            let one = Index::int(1);
            match coefficient {
                1 => Some(Solved {
                    some: Range { lo: Some(greatest.scale(-1)), hi: None },
                    all: Some(Range { lo: Some(least.scale(-1)), hi: None }),
                }),
                -1 => Some(Solved {
                    some: Range { lo: None, hi: Some(greatest.add(&one)) },
                    all: Some(Range { lo: None, hi: Some(least.add(&one)) }),
                }),
                _ => None,
            }
        };
        solve().unwrap_or_else(Solved::unknown)
    }
    /// An integer term as an index over symbols.
    fn as_index(&self, id: TermId) -> Option<Index> {
        let term = &self.program.function.terms[id];
        match &term.op {
            Op::Index(index) => self.space.over_symbols(index),
            Op::Const(Const::Int(value)) => Some(Index::int(*value)),
            Op::Read { tensor, subs, guarded: false } if term.dtype.is_int() => {
                let subs = subs.iter().map(|s| self.space.over_symbols(s)).collect::<Option<Vec<_>>>()?;
                Some(Index::atom(Atom::Read(*tensor, subs)))
            }
            Op::Cast(to) if to.is_int() && self.program.function.terms[term.args[0]].dtype.is_int() => {
                self.as_index(term.args[0])
            }
            Op::Elem(ElemOp::Add) => {
                term.args.iter().try_fold(Index::default(), |sum, a| Some(sum.add(&self.as_index(*a)?)))
            }
            Op::Elem(ElemOp::Sub) => Some(self.as_index(term.args[0])?.sub(&self.as_index(term.args[1])?)),
            _ => None,
        }
    }
}

/// A difference that is 0 or more where `difference` is, without the quotient that `axis` stands in: a / c >= b where
/// a >= b * c, and a / c <= b where a < (b + 1) * c.
fn undivided(difference: &Index, axis: AxisId) -> Option<Index> {
    let quotient = difference.terms().find_map(|(monomial, coefficient)| match monomial {
        [Atom::Div(a, b)] if a.axes().contains(&axis) => Some((a, b, coefficient)),
        _ => None,
    });
    let (a, b, coefficient) = quotient?;
    let by = b.as_int().filter(|b| *b > 0)?;
    let rest = difference.sub(&Index::atom(Atom::Div(a.clone(), b.clone())).scale(coefficient));
    match coefficient {
        1 => Some(a.add(&rest.scale(by))),
        -1 => Some(rest.scale(by).add(&Index::int(by - 1)).sub(a)),
        _ => None,
    }
}
