//! Integer expressions over sizes and positions, kept in normal form.
//!
//! An [`Index`] is a polynomial with integer coefficients over atoms: dims, axes, integer scalars, and quotients,
//! remainders, `min`, `max`, `bit_length` and data-dependent reads of such polynomials. Terms are sorted and flattened, so
//! two expressions that the ring laws make equal are equal as values. What needs a range to be proved (a quotient that
//! divides, a remainder that vanishes) is rewritten by [`Index::div`] and [`Index::rem`] where divisibility is syntactic, and
//! by `graph::ranges` where bounds are needed. Division and remainder are Euclidean; `x / 0` is 0 and `x % 0` is `x`.

mod print;

pub use print::Naming;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

crate::entity!(
    /// A named size of a function.
    pub struct DimId("n")
);
crate::entity!(
    /// A named index: bound by a definition, a reduction or a loop. It runs over `0..extent`.
    pub struct AxisId("a")
);
crate::entity!(
    /// A tensor of a function: argument, definition or carry.
    pub struct TensorId("t")
);

/// What a polynomial is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// A size.
    Dim(DimId),
    /// A position along an axis.
    Axis(AxisId),
    /// An integer parameter of the closure whose body this stands in, by position.
    Param(u32),
    /// Euclidean quotient.
    Div(Box<Index>, Box<Index>),
    /// Euclidean remainder.
    Rem(Box<Index>, Box<Index>),
    /// The smaller.
    Min(Box<Index>, Box<Index>),
    /// The larger.
    Max(Box<Index>, Box<Index>),
    /// Bits needed to write the value.
    BitLength(Box<Index>),
    /// An element of an integer tensor. Rank 0 is a scalar argument.
    Read(TensorId, Vec<Index>),
}

/// A product of atoms, sorted; empty is 1.
type Monomial = Vec<Atom>;

/// An integer expression in normal form: a sum of monomials with non-zero coefficients.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index {
    terms: BTreeMap<Monomial, i64>,
}

impl Index {
    /// The constant `value`.
    pub fn int(value: i64) -> Self {
        Self::default().plus_term(Vec::new(), value)
    }
    /// One atom.
    pub fn atom(atom: Atom) -> Self {
        Self::default().plus_term(vec![atom], 1)
    }
    /// A size.
    pub fn dim(dim: DimId) -> Self {
        Self::atom(Atom::Dim(dim))
    }
    /// A position along an axis.
    pub fn axis(axis: AxisId) -> Self {
        Self::atom(Atom::Axis(axis))
    }
    /// The monomials and their coefficients, in order.
    pub fn terms(&self) -> impl Iterator<Item = (&[Atom], i64)> {
        self.terms.iter().map(|(m, c)| (m.as_slice(), *c))
    }
    /// The value, if no atom occurs.
    pub fn as_int(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Vec::new()).copied(),
            _ => None,
        }
    }
    /// The atom, if the expression is exactly that.
    pub fn as_atom(&self) -> Option<&Atom> {
        let (monomial, coefficient) = self.terms.iter().next()?;
        let lone = self.terms.len() == 1 && *coefficient == 1 && monomial.len() == 1;
        lone.then(|| &monomial[0])
    }
    /// The axis, if the expression is exactly that.
    pub fn as_axis(&self) -> Option<AxisId> {
        match self.as_atom() {
            Some(Atom::Axis(axis)) => Some(*axis),
            _ => None,
        }
    }

    fn plus_term(mut self, monomial: Monomial, coefficient: i64) -> Self {
        match self.terms.entry(monomial) {
            Entry::Vacant(slot) => {
                if coefficient != 0 {
                    slot.insert(coefficient);
                }
            }
            Entry::Occupied(mut slot) => {
                let sum = slot.get().wrapping_add(coefficient);
                if sum == 0 {
                    slot.remove();
                } else {
                    slot.insert(sum);
                }
            }
        }
        self
    }
    /// How many monomials there are.
    pub fn len(&self) -> usize {
        self.terms.len()
    }
    /// Whether this is 0.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
    /// Sum.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        other.terms.iter().fold(self.clone(), |sum, (m, c)| sum.plus_term(m.clone(), *c))
    }
    /// Difference.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.scale(-1))
    }
    /// Product with a constant.
    #[must_use]
    pub fn scale(&self, by: i64) -> Self {
        let terms = self.terms.iter().map(|(m, c)| (m.clone(), c.wrapping_mul(by))).filter(|(_, c)| *c != 0);
        Self { terms: terms.collect() }
    }
    /// Product.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        let mut product = Self::default();
        for (m, c) in &self.terms {
            for (n, d) in &other.terms {
                let mut monomial: Monomial = m.iter().chain(n).cloned().collect();
                monomial.sort();
                product = product.plus_term(monomial, c.wrapping_mul(*d));
            }
        }
        product
    }
    /// Euclidean quotient; the part of the dividend that `by` divides syntactically leaves the quotient.
    #[must_use]
    pub fn div(&self, by: &Self) -> Self {
        if let (Some(a), Some(b)) = (self.as_int(), by.as_int()) {
            return Self::int(div_euclid(a, b));
        }
        let (quotient, rest) = self.split_multiple(by);
        match (rest.as_int(), by.as_int()) {
            (Some(0), _) => quotient,
            (Some(r), Some(b)) if b > 0 => quotient.add(&Self::int(r.div_euclid(b))),
            _ => quotient.add(&Self::atom(Atom::Div(Box::new(rest), Box::new(by.clone())))),
        }
    }
    /// Euclidean remainder; multiples of `by` drop out of the dividend.
    #[must_use]
    pub fn rem(&self, by: &Self) -> Self {
        if let (Some(a), Some(b)) = (self.as_int(), by.as_int()) {
            return Self::int(rem_euclid(a, b));
        }
        let (_, rest) = self.split_multiple(by);
        match (rest.as_int(), by.as_int()) {
            (Some(0), _) => Self::int(0),
            (Some(r), Some(b)) if b > 0 => Self::int(r.rem_euclid(b)),
            _ => Self::atom(Atom::Rem(Box::new(rest), Box::new(by.clone()))),
        }
    }
    /// Writes `self` as `by * first + second`, taking whole terms only. `by` must be one monomial that is positive wherever
    /// the expression is evaluated (a non-zero divisor); otherwise nothing is taken.
    fn split_multiple(&self, by: &Self) -> (Self, Self) {
        let Some((divisor, scale)) = by.lone_monomial().filter(|(_, c)| *c > 0) else {
            return (Self::default(), self.clone());
        };
        let (mut quotient, mut rest) = (Self::default(), Self::default());
        for (monomial, coefficient) in &self.terms {
            match without(monomial, divisor) {
                Some(left) if coefficient % scale == 0 => quotient = quotient.plus_term(left, coefficient / scale),
                _ => rest = rest.plus_term(monomial.clone(), *coefficient),
            }
        }
        (quotient, rest)
    }
    fn lone_monomial(&self) -> Option<(&Monomial, i64)> {
        let (m, c) = self.terms.iter().next()?;
        (self.terms.len() == 1).then_some((m, *c))
    }
    /// The smaller of two.
    #[must_use]
    pub fn smaller(&self, other: &Self) -> Self {
        self.pick(other, i64::min, Atom::Min)
    }
    /// The larger of two.
    #[must_use]
    pub fn larger(&self, other: &Self) -> Self {
        self.pick(other, i64::max, Atom::Max)
    }
    fn pick(&self, other: &Self, fold: fn(i64, i64) -> i64, atom: fn(Box<Self>, Box<Self>) -> Atom) -> Self {
        if let Some(difference) = self.sub(other).as_int() {
            let first = fold(difference, 0) == difference;
            return if first { self.clone() } else { other.clone() };
        }
        let (a, b) = if self <= other { (self, other) } else { (other, self) };
        Self::atom(atom(Box::new(a.clone()), Box::new(b.clone())))
    }
    /// Bits needed to write the value; 0 for values below 1.
    #[must_use]
    pub fn bit_length(&self) -> Self {
        match self.as_int() {
            Some(value) => Self::int(bit_length(value)),
            None => Self::atom(Atom::BitLength(Box::new(self.clone()))),
        }
    }

    /// Replaces atoms: `with` gives the replacement of a dim, an axis, a parameter or a read whose subscripts are already replaced, or
    /// `None` to keep it.
    #[must_use]
    pub fn substitute(&self, with: &mut dyn FnMut(&Atom) -> Option<Self>) -> Self {
        let mut sum = Self::default();
        for (monomial, coefficient) in &self.terms {
            let mut product = Self::int(*coefficient);
            for atom in monomial {
                product = product.mul(&substitute_atom(atom, with));
            }
            sum = sum.add(&product);
        }
        sum
    }
    /// The value under `lookup`, which gives dims, axes and reads. `None` if `lookup` does not know one, or on overflow.
    pub fn eval(&self, lookup: &mut dyn FnMut(&Atom, &[i64]) -> Option<i64>) -> Option<i64> {
        let mut sum = 0_i64;
        for (monomial, coefficient) in &self.terms {
            let mut product = *coefficient;
            for atom in monomial {
                product = product.checked_mul(eval_atom(atom, lookup)?)?;
            }
            sum = sum.checked_add(product)?;
        }
        Some(sum)
    }
    /// Whether it depends on elements of tensors.
    pub fn reads_tensors(&self) -> bool {
        let mut reads = false;
        self.for_each_atom(&mut |atom| reads |= matches!(atom, Atom::Read(..)));
        reads
    }
    /// Calls `visit` with every atom, the outer before the inner.
    pub fn for_each_atom(&self, visit: &mut dyn FnMut(&Atom)) {
        for atom in self.terms.keys().flatten() {
            visit(atom);
            match atom {
                Atom::Dim(_) | Atom::Axis(_) | Atom::Param(_) => {}
                Atom::Div(a, b) | Atom::Rem(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => {
                    a.for_each_atom(visit);
                    b.for_each_atom(visit);
                }
                Atom::BitLength(a) => a.for_each_atom(visit),
                Atom::Read(_, subs) => subs.iter().for_each(|s| s.for_each_atom(visit)),
            }
        }
    }
    /// The axes that occur, at any depth.
    pub fn axes(&self) -> BTreeSet<AxisId> {
        let mut axes = BTreeSet::new();
        self.for_each_atom(&mut |atom| {
            if let Atom::Axis(axis) = atom {
                axes.insert(*axis);
            }
        });
        axes
    }
    /// If the expression is `coefficient * axis + rest` with `axis` absent from `rest`: both.
    pub fn linear_in(&self, axis: AxisId) -> Option<(i64, Self)> {
        let key = vec![Atom::Axis(axis)];
        let coefficient = self.terms.get(&key).copied().unwrap_or(0);
        let rest = self.clone().plus_term(key, coefficient.wrapping_neg());
        (!rest.axes().contains(&axis)).then_some((coefficient, rest))
    }
}

impl From<i64> for Index {
    fn from(value: i64) -> Self {
        Self::int(value)
    }
}

/// Removes the atoms of `divisor` from `monomial`, if all are there.
fn without(monomial: &Monomial, divisor: &Monomial) -> Option<Monomial> {
    let mut left = monomial.clone();
    for atom in divisor {
        let at = left.iter().position(|a| a == atom)?;
        left.remove(at);
    }
    Some(left)
}

fn substitute_atom(atom: &Atom, with: &mut dyn FnMut(&Atom) -> Option<Index>) -> Index {
    match atom {
        Atom::Dim(_) | Atom::Axis(_) | Atom::Param(_) => with(atom).unwrap_or_else(|| Index::atom(atom.clone())),
        Atom::Div(a, b) => a.substitute(with).div(&b.substitute(with)),
        Atom::Rem(a, b) => a.substitute(with).rem(&b.substitute(with)),
        Atom::Min(a, b) => a.substitute(with).smaller(&b.substitute(with)),
        Atom::Max(a, b) => a.substitute(with).larger(&b.substitute(with)),
        Atom::BitLength(a) => a.substitute(with).bit_length(),
        Atom::Read(tensor, subs) => {
            let read = Atom::Read(*tensor, subs.iter().map(|s| s.substitute(with)).collect());
            with(&read).unwrap_or_else(|| Index::atom(read))
        }
    }
}

fn eval_atom(atom: &Atom, lookup: &mut dyn FnMut(&Atom, &[i64]) -> Option<i64>) -> Option<i64> {
    Some(match atom {
        Atom::Dim(_) | Atom::Axis(_) | Atom::Param(_) => lookup(atom, &[])?,
        Atom::Div(a, b) => div_euclid(a.eval(lookup)?, b.eval(lookup)?),
        Atom::Rem(a, b) => rem_euclid(a.eval(lookup)?, b.eval(lookup)?),
        Atom::Min(a, b) => a.eval(lookup)?.min(b.eval(lookup)?),
        Atom::Max(a, b) => a.eval(lookup)?.max(b.eval(lookup)?),
        Atom::BitLength(a) => bit_length(a.eval(lookup)?),
        Atom::Read(_, subs) => {
            let at: Option<Vec<i64>> = subs.iter().map(|s| s.eval(lookup)).collect();
            lookup(atom, &at?)?
        }
    })
}

/// Euclidean quotient, 0 for a zero divisor; wraps like the language's integers.
pub fn div_euclid(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div_euclid(b) }
}

/// Euclidean remainder, `a` for a zero divisor.
pub fn rem_euclid(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { a.wrapping_rem_euclid(b) }
}

/// Bits needed to write `value`; 0 for values below 1.
pub fn bit_length(value: i64) -> i64 {
    if value < 1 { 0 } else { i64::from(64 - value.leading_zeros()) }
}
