//! Groups: consecutive positions of an axis that share a factor.
//!
//! In: the sums of products of a kernel. Out: an axis `h` that one factor reads through `h / G` alone and another one by itself, and
//! `G`: the heads of queries on one head of keys. A tile of the positions of one group reads the shared factor once.

use super::{Structure, Work};
use sawmill_ir::graph::{Function, Op, TermId};
use sawmill_ir::index::{Atom, AxisId, Index};
use std::collections::BTreeMap;

impl Structure {
    /// Free axes that one factor of a sum has through a quotient alone, which several positions share, and another one by itself;
    /// with the divisor. At most one axis.
    pub(super) fn groups(&self, work: &Work<'_>, small: Option<AxisId>) -> BTreeMap<AxisId, Index> {
        let free = work.axes.iter().filter(|a| Some(**a) != small);
        let shared = free.filter_map(|axis| {
            let uses = |term: &TermId| uses(work.function, *term, *axis);
            let sites = self.sites.iter().filter(|site| site.format.is_some());
            let sites = sites.map(|site| site.terms.iter().map(uses).collect::<Vec<_>>());
            let by = sites.clone().flatten().find_map(|u| match u {
                Uses::Through(by) => Some(by),
                _ => None,
            })?;
            // Every sum has a factor that a group shares, and some factor has the axis itself.
            let all = sites.clone().all(|of| of.contains(&Uses::Through(by.clone())));
            let own = sites.clone().flatten().any(|u| u == Uses::Itself);
            (all && own).then_some((*axis, by))
        });
        shared.take(1).collect()
    }
}

/// How a term depends on an axis.
#[derive(Clone, Debug, PartialEq)]
enum Uses {
    Not,
    /// Through its quotient by this alone.
    Through(Index),
    Itself,
}

impl Uses {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Not, one) | (one, Self::Not) => one,
            (one, other) if one == other => one,
            _ => Self::Itself,
        }
    }
}

/// How the value of `term` depends on `axis`.
fn uses(function: &Function, term: TermId, axis: AxisId) -> Uses {
    let term = &function.terms[term];
    let own = match &term.op {
        Op::Read { subs, .. } => subs.iter().map(|sub| uses_in(sub, axis)).fold(Uses::Not, Uses::and),
        Op::Index(index) => uses_in(index, axis),
        _ => Uses::Not,
    };
    term.args.iter().map(|arg| uses(function, *arg, axis)).fold(own, Uses::and)
}

fn uses_in(index: &Index, axis: AxisId) -> Uses {
    let mut found = Uses::Not;
    for (monomial, _) in index.terms() {
        for atom in monomial {
            let one = match atom {
                Atom::Axis(at) if *at == axis => Uses::Itself,
                Atom::Div(a, by) if a.as_axis() == Some(axis) && matches!(by.as_atom(), Some(Atom::Dim(_))) => {
                    Uses::Through((**by).clone())
                }
                _ if Index::atom(atom.clone()).axes().contains(&axis) => Uses::Itself,
                _ => Uses::Not,
            };
            found = found.and(one);
        }
    }
    found
}
