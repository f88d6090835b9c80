//! Rewrite rules, as data in named families.
//!
//! A rule takes a node of a class and returns pairs (term that was matched, equal term), both named exactly: a rule that looks
//! into an operand's class builds the term with the operand it saw. Bound axes never occur free in what moves under or out
//! of a binder; every rule checks that by sets of free axes, and the e-graph's facts check it once more.

mod algebra;
mod nothing;
mod repair;

use algebra::{ELIMINATE, EXP, FLATTEN, MASK, MERGE, ORDER, PULL_IN};
use repair::REPAIR;

use crate::egraph::{Graph, Node};
use egg::Id;

/// How far the two sides of a rule agree when numbers are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// Bit by bit.
    Exact,
    /// As real numbers; sums and products are rounded in another order.
    Reassociating,
    /// As real numbers, but a rounded result may differ by more than an order of summation explains.
    Approximate,
}

/// What a rule returns: (matched term, equal term).
pub(crate) type Found = Vec<(Id, Id)>;

/// A rewrite rule.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    /// Its name, in explanations.
    pub(crate) name: &'static str,
    /// How far both sides agree.
    pub(crate) contract: Contract,
    /// The equation, for the reader.
    pub(crate) equation: &'static str,
    /// Whether explanations show it only on request.
    pub(crate) quiet: bool,
    /// Applies it to a node of a class.
    pub(crate) apply: fn(&mut Graph, Id, &Node) -> Found,
}

/// Rules on sums and products: which factor stands where.
pub(crate) const ALGEBRA: &[Rule] = &[FLATTEN, ELIMINATE, ORDER, MERGE, PULL_IN, MASK, EXP];

/// Rules that form streaming folds.
pub(crate) const FOLDS: &[Rule] = &[FLATTEN, ELIMINATE, MASK, REPAIR];

/// Every rule.
pub(crate) const ALL: &[Rule] = &[FLATTEN, ELIMINATE, ORDER, MERGE, PULL_IN, MASK, EXP, REPAIR];

/// The rule called `name`.
pub(crate) fn rule(name: &str) -> Option<&'static Rule> {
    ALL.iter().find(|r| r.name == name)
}
