//! Computed positions in the bodies of closures: integers that are no polynomials, used as subscripts there.
//!
//! Outside of closures such an integer becomes a tensor of its own ([`super::stmt`]). A closure has no statements, so it is bound
//! as one more parameter around the term that needs it: the body of the closure, or of the reduction whose indices it may
//! depend on.

use super::elab::Elab;
use super::value::Value;
use crate::ast::Expr;
use sawmill_ir::graph::{Op, TermId};
use sawmill_ir::index::{Atom, Index};

impl Elab<'_> {
    /// The position that `value` is, as an exact integer that lasts to the end of the body around.
    pub(crate) fn bound_position(&mut self, value: &Value, expr: &Expr) -> Index {
        let term = self.as_own(value);
        if let Some((number, _)) = self.positions.iter().find(|(_, known)| *known == term) {
            return Index::atom(Atom::Param(*number));
        }
        let number = u32::try_from(self.params_around.len()).expect("invariant: few parameters");
        let bounds = self.derived_bounds(term);
        self.params_around.push((crate::print::expr(expr), bounds));
        self.positions.push((number, term));
        Index::atom(Atom::Param(number))
    }

    /// `body` with the positions since `mark` bound around it; they are out of scope afterwards.
    pub(crate) fn positions_bound(&mut self, mark: usize, body: TermId) -> TermId {
        let since = self.positions.split_off(mark);
        let Some((first, _)) = since.first() else { return body };
        self.params_around.truncate(*first as usize);
        let dtype = self.function.terms[body].dtype;
        since.into_iter().rev().fold(body, |body, (number, term)| self.term(Op::Bind(number), vec![term, body], dtype))
    }

    /// Forgets the positions since `mark`: what needed them is left of an error.
    pub(crate) fn positions_forgotten(&mut self, mark: usize) {
        if let Some((first, _)) = self.positions.get(mark) {
            self.params_around.truncate(*first as usize);
            self.positions.truncate(mark);
        }
    }
}
