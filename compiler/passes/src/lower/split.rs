//! The quotients by which index maps look at an axis: `k / 32`, `k % 16`, `(k % 32) / 16` split k in units of 32 and 16.
//!
//! In: a function. Out: for each axis a chain of divisors, each dividing the one before; the axis is then tiled as one tile
//! axis per link, and every such subscript is affine. Units shorter than a vector are left out: cutting an axis so small would
//! cost every other access its vectors, so what looks at single pairs is gathered.

use sawmill_ir::graph::{Function, Op};
use sawmill_ir::index::{Atom, AxisId, Index};
use std::collections::{BTreeMap, BTreeSet};

/// The chain of divisors of each axis that has one, the largest first; none is less than `least`.
pub(crate) fn chains(function: &Function, least: i64) -> BTreeMap<AxisId, Vec<i64>> {
    let mut divisors: BTreeMap<AxisId, BTreeSet<i64>> = BTreeMap::new();
    for term in function.terms.values() {
        // Only memory gains from a cut; positions that are computed with are as cheap whole.
        if let Op::Read { subs, .. } = &term.op {
            subs.iter().for_each(|s| collect(s, &mut divisors));
        }
    }
    divisors.into_iter().map(|(axis, all)| (axis, chain(&all, least))).filter(|(_, c)| !c.is_empty()).collect()
}

fn collect(index: &Index, divisors: &mut BTreeMap<AxisId, BTreeSet<i64>>) {
    index.for_each_atom(&mut |atom| {
        let (Atom::Div(a, b) | Atom::Rem(a, b)) = atom else { return };
        let Some(by) = b.as_int().filter(|b| *b > 1) else { return };
        if let Some(axis) = split_axis(a, by) {
            divisors.entry(axis).or_default().insert(by);
        }
    });
}

/// The axis that a quotient of `index` by `by` splits: the only one whose coefficient is no multiple of `by`, with
/// coefficient 1, alone or inside a remainder by a multiple of `by`.
fn split_axis(index: &Index, by: i64) -> Option<AxisId> {
    let mut rest = index.terms().filter(|(_, c)| c % by != 0);
    let (Some((monomial, 1)), None) = (rest.next(), rest.next()) else { return None };
    match monomial {
        [Atom::Axis(axis)] => Some(*axis),
        [Atom::Rem(a, b)] => b.as_int().filter(|b| *b > 0 && b % by == 0).and_then(|_| split_axis(a, by)),
        _ => None,
    }
}

/// The largest divisor and, below it, every one that divides the last one taken.
fn chain(all: &BTreeSet<i64>, least: i64) -> Vec<i64> {
    let mut chain: Vec<i64> = Vec::new();
    for by in all.iter().rev().take_while(|by| **by >= least) {
        if chain.last().is_none_or(|last| last % by == 0) {
            chain.push(*by);
        }
    }
    chain
}
