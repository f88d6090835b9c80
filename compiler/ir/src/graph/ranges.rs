//! Bounds of integer expressions, and what they simplify to.
//!
//! In: a function (sizes, requirements, promised ranges, extents of axes) and further assumptions. Out: proofs that an
//! expression is never negative, constant intervals, and expressions without the quotients and remainders that bounds decide:
//! `(32 * b + c) / 32` is `b` where `0 <= c < 32`.
//!
//! A proof eliminates one atom after the other by the bound that makes the expression least: a position by `0` or its extent
//! less 1, a remainder by its divisor, a quotient `q = e / m` by `m * q <= e <= m * q + m - 1`. A bounded number of steps is
//! tried; "not proved" is never "false". Positions are taken to lie in their axes and values in their promised ranges;
//! arithmetic is taken not to overflow, and symbolic divisors to be positive, as [`Index::div`] does.

use super::{DimKind, Function, Require, TensorKind};
use crate::index::{Atom, AxisId, DimId, Index, TensorId};
use std::collections::{BTreeMap, BTreeSet};

/// Steps of one proof.
const FUEL: u32 = 200;
/// How many assumptions one proof may subtract from its goal in turn.
const ASSUMPTIONS: u32 = 2;

/// What is known of integers.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The least value of each size.
    dims: BTreeMap<DimId, i64>,
    extents: BTreeMap<AxisId, Index>,
    /// Integer tensors with a promised range: low, end.
    promises: BTreeMap<TensorId, (Index, Index)>,
    /// Expressions that are not negative.
    assumed: Vec<Index>,
    /// Sizes that requirements state in others.
    defined: BTreeMap<DimId, Index>,
}

impl Facts {
    /// What a function states: its sizes, requirements, promises and axes.
    pub fn of(function: &Function) -> Self {
        let mut facts = Self::default();
        for (id, dim) in function.dims.iter() {
            facts.dims.insert(id, if matches!(dim.kind, DimKind::Const(_)) { 1 } else { 0 });
        }
        for (id, axis) in function.axes.iter() {
            facts.extents.insert(id, axis.extent.clone());
        }
        for (id, tensor) in function.tensors.iter() {
            if let TensorKind::Input(input) = &tensor.kind
                && let Some(promise) = &input.promise
            {
                facts.promises.insert(id, promise.clone());
            }
        }
        for require in &function.requires {
            match require {
                Require::Equal(a, b) => facts.equate(a, b),
                Require::NonNegative(a) => facts.assume(a.clone()),
            }
        }
        facts
    }
    /// Takes `index >= 0` for granted.
    pub fn assume(&mut self, index: Index) {
        self.assumed.push(index);
    }
    /// A lone size on a side is replaced by the other side from here on; other equations become two inequalities.
    fn equate(&mut self, a: &Index, b: &Index) {
        for (lone, other) in [(a, b), (b, a)] {
            let Some(Atom::Dim(dim)) = lone.as_atom() else { continue };
            let other = self.expand(other);
            if !self.defined.contains_key(dim) && !mentions(&other, *dim) {
                self.defined.insert(*dim, other.clone());
                let least = self.dims.get(dim).copied().unwrap_or(0);
                self.assume(other.sub(&Index::int(least)));
                for value in self.defined.values_mut() {
                    *value = value.substitute(&mut |atom| (*atom == Atom::Dim(*dim)).then(|| other.clone()));
                }
                return;
            }
        }
        self.assume(a.sub(b));
        self.assume(b.sub(a));
    }
    /// Sizes that requirements define, replaced.
    fn expand(&self, index: &Index) -> Index {
        if self.defined.is_empty() {
            return index.clone();
        }
        index.substitute(&mut |atom| match atom {
            Atom::Dim(dim) => self.defined.get(dim).cloned(),
            _ => None,
        })
    }

    /// Whether `index` is never negative, as far as can be shown.
    pub fn is_nonnegative(&self, index: &Index) -> bool {
        let mut assumed: Vec<Index> = self.assumed.iter().map(|known| self.expand(known)).collect();
        // The expression is evaluated only where the axes it mentions have a position.
        let extents = index.axes().into_iter().filter_map(|axis| self.extents.get(&axis));
        assumed.extend(extents.map(|extent| self.expand(extent).sub(&Index::int(1))));
        let goal = self.expand(index);
        // Few assumptions first: each proof has its own steps, so that a wide search does not starve a short one.
        let mut proof = Proof { facts: self, assumed, fuel: 0 };
        (0..=ASSUMPTIONS).any(|assumptions| {
            proof.fuel = FUEL;
            proof.holds(&goal, assumptions)
        })
    }
    /// Whether `a < b`, as far as can be shown.
    pub fn is_below(&self, a: &Index, b: &Index) -> bool {
        self.is_nonnegative(&b.sub(a).sub(&Index::int(1)))
    }
    /// Constant bounds of `index`, both inclusive, as far as they can be shown.
    pub fn interval(&self, index: &Index) -> (Option<i64>, Option<i64>) {
        let index = self.expand(index);
        (self.least(&index), self.least(&index.scale(-1)).and_then(i64::checked_neg))
    }
    fn least(&self, index: &Index) -> Option<i64> {
        let mut sum = 0_i64;
        for (atoms, factor) in index.terms() {
            let (mut low, mut high) = (Some(factor), Some(factor));
            for atom in atoms {
                (low, high) = product((low, high), self.atom_interval(atom));
            }
            sum = sum.checked_add(low?)?;
        }
        Some(sum)
    }
    fn atom_interval(&self, atom: &Atom) -> (Option<i64>, Option<i64>) {
        let last = |end: &Index| self.interval(end).1.map(|end| end.saturating_sub(1));
        match atom {
            Atom::Dim(dim) => (self.dims.get(dim).copied(), None),
            Atom::Axis(axis) => (Some(0), self.extents.get(axis).and_then(last)),
            Atom::Param(_) => (None, None),
            Atom::Read(tensor, _) => match self.promises.get(tensor) {
                Some((low, end)) => (self.interval(low).0, last(end)),
                None => (None, None),
            },
            Atom::BitLength(_) => (Some(0), Some(64)),
            Atom::Div(a, b) => match (self.interval(a), b.as_int()) {
                ((low, high), Some(by)) if by > 0 => (low.map(|v| v.div_euclid(by)), high.map(|v| v.div_euclid(by))),
                ((Some(low), high), None) if low >= 0 && self.interval(b).0.is_some_and(|b| b >= 0) => (Some(0), high),
                _ => (None, None),
            },
            Atom::Rem(a, b) => match b.as_int() {
                Some(by) if by > 0 => (Some(0), Some(by - 1)),
                _ if self.interval(a).0.is_some_and(|low| low >= 0) => (Some(0), self.interval(a).1),
                _ => (None, None),
            },
            Atom::Min(a, b) => {
                let ((a, c), (b, d)) = (self.interval(a), self.interval(b));
                (a.zip(b).map(|(a, b)| a.min(b)), least_known(c, d))
            }
            Atom::Max(a, b) => {
                let ((a, c), (b, d)) = (self.interval(a), self.interval(b));
                (a.into_iter().chain(b).max(), c.zip(d).map(|(c, d)| c.max(d)))
            }
        }
    }

    /// `index` without what bounds decide. Equal to `index` wherever positions lie in their axes.
    #[must_use]
    pub fn simplify(&self, index: &Index) -> Index {
        let mut sum = Index::int(0);
        for (atoms, factor) in index.terms() {
            let product = atoms.iter().fold(Index::int(factor), |product, atom| product.mul(&self.simplify_atom(atom)));
            sum = sum.add(&product);
        }
        sum
    }
    fn simplify_atom(&self, atom: &Atom) -> Index {
        match atom {
            Atom::Dim(_) | Atom::Axis(_) | Atom::Param(_) => Index::atom(atom.clone()),
            Atom::Div(a, b) => self.quotient(&self.simplify(a), &self.simplify(b)).0,
            Atom::Rem(a, b) => self.quotient(&self.simplify(a), &self.simplify(b)).1,
            Atom::Min(a, b) => self.smaller(&self.simplify(a), &self.simplify(b), false),
            Atom::Max(a, b) => self.smaller(&self.simplify(a), &self.simplify(b), true),
            Atom::BitLength(a) => self.simplify(a).bit_length(),
            Atom::Read(tensor, subs) => {
                Index::atom(Atom::Read(*tensor, subs.iter().map(|s| self.simplify(s)).collect()))
            }
        }
    }
    fn smaller(&self, a: &Index, b: &Index, larger: bool) -> Index {
        match (self.is_nonnegative(&b.sub(a)), self.is_nonnegative(&a.sub(b))) {
            (true, _) => {
                if larger {
                    b.clone()
                } else {
                    a.clone()
                }
            }
            (_, true) => {
                if larger {
                    a.clone()
                } else {
                    b.clone()
                }
            }
            _ => {
                if larger {
                    a.larger(b)
                } else {
                    a.smaller(b)
                }
            }
        }
    }
    /// Quotient and remainder of `a` by `b`.
    fn quotient(&self, a: &Index, b: &Index) -> (Index, Index) {
        let rest = a.rem(b);
        let whole = a.div(b);
        // What is left of the dividend once multiples of the divisor are out.
        let Some(Atom::Rem(left, _)) = rest.as_atom() else { return (whole, rest) };
        let taken = whole.sub(&Index::atom(Atom::Div(left.clone(), Box::new(b.clone()))));
        if self.is_nonnegative(left) && self.is_below(left, b) {
            return (taken, (**left).clone());
        }
        match b.as_int().and_then(|by| self.coarser(left, by)) {
            Some((quotient, remainder)) => (taken.add(&quotient), remainder),
            None => (whole, rest),
        }
    }
    /// `(unit * u + v) / by` is `u / (by / unit)` where `unit` divides `by` and `0 <= v < unit`.
    fn coarser(&self, left: &Index, by: i64) -> Option<(Index, Index)> {
        let units: BTreeSet<i64> = left.terms().map(|(_, factor)| gcd(factor, by)).filter(|g| *g > 1).collect();
        for unit in units.into_iter().rev() {
            let (mut coarse, mut fine) = (Index::int(0), Index::int(0));
            for (atoms, factor) in left.terms() {
                let whole = factor % unit == 0;
                let term = atoms.iter().fold(Index::int(1), |product, atom| product.mul(&Index::atom(atom.clone())));
                if whole {
                    coarse = coarse.add(&term.scale(factor / unit));
                } else {
                    fine = fine.add(&term.scale(factor));
                }
            }
            let inside = self.is_nonnegative(&fine) && self.is_below(&fine, &Index::int(unit));
            if inside && (!fine.is_empty() || unit < by) {
                let (quotient, remainder) = self.quotient(&coarse, &Index::int(by / unit));
                return Some((quotient, remainder.scale(unit).add(&fine)));
            }
        }
        None
    }
}

fn mentions(index: &Index, dim: DimId) -> bool {
    let mut found = false;
    index.for_each_atom(&mut |atom| found |= *atom == Atom::Dim(dim));
    found
}

fn least_known(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

/// The product of two intervals; an unknown bound stays unknown unless the sign decides.
fn product(a: (Option<i64>, Option<i64>), b: (Option<i64>, Option<i64>)) -> (Option<i64>, Option<i64>) {
    let corner = |x: Option<i64>, y: Option<i64>| x.zip(y).and_then(|(x, y)| x.checked_mul(y));
    let corners = [corner(a.0, b.0), corner(a.0, b.1), corner(a.1, b.0), corner(a.1, b.1)];
    if let [Some(p), Some(q), Some(r), Some(s)] = corners {
        return (Some(p.min(q).min(r).min(s)), Some(p.max(q).max(r).max(s)));
    }
    let nonnegative = |x: (Option<i64>, Option<i64>)| x.0.is_some_and(|low| low >= 0);
    let nonpositive = |x: (Option<i64>, Option<i64>)| x.1.is_some_and(|high| high <= 0);
    if nonnegative(a) && nonnegative(b) {
        return (corner(a.0, b.0), None);
    }
    if nonpositive(a) && nonnegative(b) {
        return (None, corner(a.1, b.0));
    }
    if nonnegative(a) && nonpositive(b) {
        return (None, corner(a.0, b.1));
    }
    (None, None)
}

struct Proof<'a> {
    facts: &'a Facts,
    /// Expressions that are not negative where the goal is evaluated.
    assumed: Vec<Index>,
    fuel: u32,
}

impl Proof<'_> {
    /// Whether `goal >= 0` can be shown, subtracting up to `assumptions` assumptions from it.
    fn holds(&mut self, goal: &Index, assumptions: u32) -> bool {
        if self.fuel == 0 {
            return false;
        }
        self.fuel -= 1;
        if self.facts.least(goal).is_some_and(|least| least >= 0) {
            return true;
        }
        if self.eliminate(goal, assumptions) {
            return true;
        }
        if assumptions == 0 {
            return false;
        }
        let useful: Vec<Index> = self.assumed.iter().filter(|known| shares_atom(goal, known)).cloned().collect();
        useful.iter().any(|known| self.holds(&goal.sub(known), assumptions - 1))
    }
    /// Replaces an atom that stands linearly by the bound that makes the goal least.
    fn eliminate(&mut self, goal: &Index, assumptions: u32) -> bool {
        let mut atoms: BTreeSet<&Atom> = BTreeSet::new();
        goal.terms().for_each(|(product, _)| atoms.extend(product));
        for atom in atoms.into_iter().rev() {
            if let Some((factor, rest)) = linear(goal, atom)
                && self.bounded(atom, &factor, &rest, assumptions)
            {
                return true;
            }
        }
        false
    }
    /// Whether `factor * atom + rest >= 0` follows from the bounds of `atom`.
    fn bounded(&mut self, atom: &Atom, factor: &Index, rest: &Index, assumptions: u32) -> bool {
        let sign = |proof: &mut Self, factor: &Index| proof.holds(factor, 0);
        let (rises, falls) = (sign(self, factor), sign(self, &factor.scale(-1)));
        if !rises && !falls {
            return false;
        }
        let one = Index::int(1);
        let at = |value: &Index| factor.mul(value).add(rest);
        match atom {
            Atom::Axis(axis) => match self.facts.extents.get(axis) {
                _ if rises => self.holds(rest, assumptions),
                Some(extent) => self.holds(&at(&self.facts.expand(extent).sub(&one)), assumptions),
                None => false,
            },
            Atom::Read(tensor, _) => match self.facts.promises.get(tensor) {
                Some((low, _)) if rises => self.holds(&at(&self.facts.expand(low)), assumptions),
                Some((_, end)) => self.holds(&at(&self.facts.expand(end).sub(&one)), assumptions),
                None => false,
            },
            Atom::Div(a, by) => {
                if !self.holds(&by.sub(&one), 1) {
                    return false;
                }
                // by * q is at most a, and at least a - by + 1. The goal is an integer: it suffices that by times it exceeds -by.
                let bound = if rises { a.sub(by).add(&one) } else { (**a).clone() };
                let zero = rises && self.holds(a, 1) && self.holds(rest, assumptions);
                zero || self.holds(&rest.mul(by).add(&factor.mul(&bound)).add(by).sub(&one), assumptions)
            }
            Atom::Rem(_, by) => {
                self.holds(&by.sub(&one), 1)
                    && if rises { self.holds(rest, assumptions) } else { self.holds(&at(&by.sub(&one)), assumptions) }
            }
            Atom::Min(a, b) | Atom::Max(a, b) => {
                // Only the sides that the value can take, or is bounded by.
                let both = matches!(atom, Atom::Min(..)) == rises;
                let first = self.holds(&at(a), assumptions);
                if both { first && self.holds(&at(b), assumptions) } else { first || self.holds(&at(b), assumptions) }
            }
            Atom::Dim(dim) => match self.facts.dims.get(dim) {
                Some(least) if rises => self.holds(&at(&Index::int(*least)), assumptions),
                _ => false,
            },
            Atom::BitLength(_) => rises && self.holds(rest, assumptions),
            Atom::Param(_) => false,
        }
    }
}

fn shares_atom(a: &Index, b: &Index) -> bool {
    a.terms().any(|(product, _)| product.iter().any(|atom| b.terms().any(|(other, _)| other.contains(atom))))
}

/// `index` as `factor * atom + rest`, if `atom` stands in no product twice and not inside of another atom.
fn linear(index: &Index, atom: &Atom) -> Option<(Index, Index)> {
    let (mut factor, mut rest) = (Index::int(0), Index::int(0));
    for (product, by) in index.terms() {
        let times = product.iter().filter(|a| *a == atom).count();
        let others = product.iter().filter(|a| *a != atom);
        let term = others.fold(Index::int(by), |term, other| term.mul(&Index::atom(other.clone())));
        match times {
            0 => rest = rest.add(&term),
            1 => factor = factor.add(&term),
            _ => return None,
        }
    }
    let hidden = |part: &Index| {
        let mut found = false;
        part.for_each_atom(&mut |a| found |= a == atom);
        found
    };
    (!hidden(&factor) && !hidden(&rest)).then_some((factor, rest))
}

#[cfg(test)]
mod tests;
