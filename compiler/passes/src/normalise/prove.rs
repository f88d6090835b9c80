//! What conditions on positions imply.
//!
//! In: an integer expression, facts known to be 0 or more. Out: whether it is 0 or more wherever the facts hold. Complete for
//! nothing, wrong never: an expression is bounded from below by its axes' extents and, less one fact, must be a sum of
//! products of naturals.

use super::Normaliser;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::{Op, TermId};
use sawmill_ir::index::{Atom, AxisId, Index};

impl Normaliser<'_> {
    /// What is left of the condition `present` where `c` is `holds`; `None` is always true.
    pub(super) fn needed(&mut self, present: TermId, c: TermId, holds: bool) -> Option<TermId> {
        let mut facts = Vec::new();
        self.facts(c, holds, &mut facts);
        let mut left = None;
        for part in self.parts(present) {
            let proved =
                (holds && part == c) || self.comparison(part, true).is_some_and(|e| self.is_nonnegative(&e, &facts));
            if !proved {
                left = self.terms.both(left, Some(part));
            }
        }
        left
    }
    fn parts(&self, condition: TermId) -> Vec<TermId> {
        let term = self.terms.get(condition);
        if term.op == Op::Elem(ElemOp::And) { term.args.clone() } else { vec![condition] }
    }
    /// Expressions that are 0 or more where `c` is `holds`.
    fn facts(&self, c: TermId, holds: bool, found: &mut Vec<Index>) {
        let term = self.terms.get(c);
        match term.op {
            Op::Elem(ElemOp::And) if holds => term.args.iter().for_each(|a| self.facts(*a, true, found)),
            Op::Elem(ElemOp::Or) if !holds => term.args.iter().for_each(|a| self.facts(*a, false, found)),
            Op::Elem(ElemOp::Not) => self.facts(term.args[0], !holds, found),
            _ => found.extend(self.comparison(c, holds)),
        }
    }
    /// The expression that is 0 or more where a comparison of positions is `holds`.
    fn comparison(&self, c: TermId, holds: bool) -> Option<Index> {
        let term = self.terms.get(c);
        let Op::Elem(op) = term.op else { return None };
        let [a, b] = term.args.as_slice() else { return None };
        let (Op::Index(a), Op::Index(b)) = (&self.terms.get(*a).op, &self.terms.get(*b).op) else { return None };
        let one = Index::int(1);
        let (less, more) = (b.sub(a), a.sub(b));
        Some(match (op, holds) {
            (ElemOp::Lt, true) | (ElemOp::Ge, false) => less.sub(&one),
            (ElemOp::Le, true) | (ElemOp::Gt, false) => less,
            (ElemOp::Gt, true) | (ElemOp::Le, false) => more.sub(&one),
            (ElemOp::Ge, true) | (ElemOp::Lt, false) => more,
            _ => return None,
        })
    }
    /// Whether `index` is 0 or more where all of `facts` are.
    pub(super) fn is_nonnegative(&self, index: &Index, facts: &[Index]) -> bool {
        let extent = |axis: AxisId| self.out.axes[axis].extent.clone();
        let bounded = |i: &Index| is_natural(&least(i, &extent));
        bounded(index) || facts.iter().any(|f| bounded(&index.sub(f)))
    }
}

/// A lower bound: axes that count down are at the ends of their `extent`s.
pub(crate) fn least(index: &Index, extent: &dyn Fn(AxisId) -> Index) -> Index {
    index.terms().fold(Index::int(0), |sum, (monomial, coefficient)| {
        let axis = match monomial {
            [Atom::Axis(axis)] if coefficient < 0 => Some(*axis),
            _ => None,
        };
        let term = match axis {
            Some(axis) => extent(axis).sub(&Index::int(1)),
            None => monomial.iter().fold(Index::int(1), |p, a| p.mul(&Index::atom(a.clone()))),
        };
        sum.add(&term.scale(coefficient))
    })
}

/// Whether an expression is a sum of products of naturals.
pub(crate) fn is_natural(index: &Index) -> bool {
    index.terms().all(|(monomial, coefficient)| coefficient > 0 && monomial.iter().all(natural_atom))
}

fn natural_atom(atom: &Atom) -> bool {
    match atom {
        Atom::Dim(_) | Atom::Axis(_) | Atom::BitLength(_) => true,
        Atom::Div(a, b) | Atom::Rem(a, b) | Atom::Min(a, b) => is_natural(a) && is_natural(b),
        Atom::Max(a, b) => is_natural(a) || is_natural(b),
        Atom::Param(_) | Atom::Read(..) => false,
    }
}
