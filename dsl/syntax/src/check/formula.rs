//! Conditions on positions and sizes, in the form that proofs need.
//!
//! A [`Formula`] is what a `where`, an `if`, a requirement or the range of an index says: linear facts `p >= 0` over the
//! atoms of [`Index`], joined by and/or. What is no comparison of integers is kept as an opaque condition, equal only to
//! itself.

use sawmill_ir::index::{Atom, Index};

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Formula {
    /// Always.
    True,
    /// Never.
    False,
    /// The value is not negative.
    NonNegative(Index),
    /// A condition known by name and coordinates only, or its negation.
    Opaque {
        /// Which condition.
        name: String,
        /// Its coordinates.
        at: Vec<Index>,
        /// Whether it holds.
        holds: bool,
    },
    /// All of them.
    And(Vec<Formula>),
    /// One of them.
    Or(Vec<Formula>),
}

impl Formula {
    /// `a <= b`
    pub(crate) fn le(a: &Index, b: &Index) -> Formula {
        let difference = b.sub(a);
        match difference.as_int() {
            Some(value) if value >= 0 => Formula::True,
            Some(_) => Formula::False,
            None => Formula::NonNegative(difference),
        }
    }

    /// `a < b`
    pub(crate) fn lt(a: &Index, b: &Index) -> Formula {
        Formula::le(&a.add(&Index::int(1)), b)
    }

    /// `a == b`
    pub(crate) fn eq(a: &Index, b: &Index) -> Formula {
        Formula::le(a, b).and(Formula::le(b, a))
    }

    /// `0 <= at < size`
    pub(crate) fn within(at: &Index, size: &Index) -> Formula {
        Formula::le(&Index::int(0), at).and(Formula::lt(at, size))
    }

    /// Both.
    pub(crate) fn and(self, other: Formula) -> Formula {
        match (self, other) {
            (Formula::True, f) | (f, Formula::True) => f,
            (Formula::False, _) | (_, Formula::False) => Formula::False,
            (Formula::And(mut a), Formula::And(b)) => {
                a.extend(b);
                Formula::And(a)
            }
            (Formula::And(mut a), b) => {
                a.push(b);
                Formula::And(a)
            }
            (a, Formula::And(mut b)) => {
                b.insert(0, a);
                Formula::And(b)
            }
            (a, b) if a == b => a,
            (a, b) => Formula::And(vec![a, b]),
        }
    }

    /// At least one.
    pub(crate) fn or(self, other: Formula) -> Formula {
        match (self, other) {
            (Formula::False, f) | (f, Formula::False) => f,
            (Formula::True, _) | (_, Formula::True) => Formula::True,
            (Formula::Or(mut a), b) => {
                a.push(b);
                Formula::Or(a)
            }
            (a, b) if a == b => a,
            (a, b) => Formula::Or(vec![a, b]),
        }
    }

    /// The opposite.
    pub(crate) fn negated(&self) -> Formula {
        match self {
            Formula::True => Formula::False,
            Formula::False => Formula::True,
            Formula::NonNegative(p) => Formula::le(p, &Index::int(-1)),
            Formula::Opaque { name, at, holds } => {
                Formula::Opaque { name: name.clone(), at: at.clone(), holds: !holds }
            }
            Formula::And(parts) => parts.iter().fold(Formula::False, |f, part| f.or(part.negated())),
            Formula::Or(parts) => parts.iter().fold(Formula::True, |f, part| f.and(part.negated())),
        }
    }

    /// The condition with atoms replaced.
    pub(crate) fn substitute(&self, with: &mut dyn FnMut(&Atom) -> Option<Index>) -> Formula {
        match self {
            Formula::True => Formula::True,
            Formula::False => Formula::False,
            Formula::NonNegative(p) => Formula::le(&Index::int(0), &p.substitute(with)),
            Formula::Opaque { name, at, holds } => Formula::Opaque {
                name: name.clone(),
                at: at.iter().map(|index| index.substitute(with)).collect(),
                holds: *holds,
            },
            Formula::And(parts) => parts.iter().fold(Formula::True, |f, part| f.and(part.substitute(with))),
            Formula::Or(parts) => parts.iter().fold(Formula::False, |f, part| f.or(part.substitute(with))),
        }
    }
}
