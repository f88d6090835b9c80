//! The ranges of indices, found from bare uses.
//!
//! A bare use of `i` is a subscript that is exactly `i`, on an axis of known size, anywhere in the binder's body. All sizes
//! must be equal. In `a or b` an index counts only if each of its uses there is bare.

use super::elab::Elab;
use super::scope::Binding;
use crate::ast::{Argument, Expr, ExprKind, Index as BoundIndex, Subscript};
use crate::errors::{Diagnostic, Loc, Problem};
use sawmill_ir::index::Index;

impl Elab<'_> {
    /// The size of the range of an index without a stated range, from its uses in `bodies`.
    pub(crate) fn inferred(&mut self, index: &BoundIndex, bodies: &[&Expr]) -> Option<Index> {
        let mut found = Vec::new();
        for body in bodies {
            self.bare_uses(&index.name.text, body, &mut found);
        }
        let Some((first, place)) = found.first().cloned() else {
            if bodies.iter().any(|body| self.mentions_poison(body) || self.reads_unknown(&index.name.text, body)) {
                return None;
            }
            let letter = index.name.text.to_uppercase();
            let is_dim = matches!(self.scope.get(&letter).map(|e| &e.binding), Some(Binding::Dim(_)));
            let dim = if is_dim { letter } else { "N".into() };
            self.errors.report(index.name.loc(), Problem::OpenRange { index: index.name.text.clone(), dim });
            return None;
        };
        for (other, there) in &found[1..] {
            if !self.same_size(&first, other) {
                let (one, other) = (self.show(&first), self.show(other));
                let problem = Problem::SizesDisagree { index: index.name.text.clone(), one, other: other.clone() };
                let note = format!("`{}` is `{other}` here", index.name.text);
                self.errors.push(Diagnostic::new(place, problem).with_note(*there, note));
                return None;
            }
        }
        Some(first)
    }

    /// A name that is left of an error occurs: what it would have told is unknown.
    pub(crate) fn mentions_poison(&self, expr: &Expr) -> bool {
        if let ExprKind::Name(name) = &expr.kind {
            return self.scope.get(&name.text).is_some_and(|entry| matches!(entry.binding, Binding::Poison));
        }
        let mut found = false;
        for_each_part(expr, &mut |part| found |= self.mentions_poison(part), "");
        found
    }

    /// The index is a subscript of what has no sizes, or a call without sizes occurs: a mistake of its own, and what it would have told is
    /// unknown.
    fn reads_unknown(&self, name: &str, expr: &Expr) -> bool {
        let mut found = match &expr.kind {
            ExprKind::Read(base, subs) => {
                let bare = subs.iter().any(|sub| matches!(sub, Subscript::At(e) if is_name(e, name)));
                bare && self.base_shape(base).is_none()
            }
            ExprKind::Call(..) => self.base_shape(expr).is_none(),
            ExprKind::Member(call, _) if matches!(call.kind, ExprKind::Call(..)) => {
                return self.base_shape(expr).is_none();
            }
            _ => false,
        };
        for_each_part(expr, &mut |part| found |= self.reads_unknown(name, part), name);
        found
    }

    fn bare_uses(&self, name: &str, expr: &Expr, found: &mut Vec<(Index, Loc)>) {
        match &expr.kind {
            ExprKind::Read(base, subs) => {
                let shape = self.base_shape(base).unwrap_or_default();
                for (at, sub) in subs.iter().enumerate() {
                    match sub {
                        Subscript::At(e) if is_name(e, name) => {
                            found.extend(shape.get(at).map(|size| (size.clone(), e.loc)));
                        }
                        Subscript::At(e) => self.bare_uses(name, e, found),
                        Subscript::All(_) | Subscript::Part(..) => {}
                    }
                }
                self.bare_uses(name, base, found);
            }
            ExprKind::Or(a, b) => {
                let (mut all, mut bare) = (0, 0);
                count(name, a, &mut all, &mut bare);
                count(name, b, &mut all, &mut bare);
                if all == bare {
                    self.bare_uses(name, a, found);
                    self.bare_uses(name, b, found);
                }
            }
            ExprKind::Bracketed { indices, .. }
                if indices.iter().any(|i| i.name.text == name) && !is_row_operator(expr) => {}
            _ => for_each_part(expr, &mut |part| self.bare_uses(name, part, found), name),
        }
    }
}

/// `softmax[j](..)` keeps its index, it doesn't bind it.
fn is_row_operator(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Bracketed { op, .. } if op.text == "softmax" || op.text == "rank" || op.text.contains("cum"))
}

fn is_name(expr: &Expr, name: &str) -> bool {
    matches!(&expr.kind, ExprKind::Name(n) if n.text == name)
}

/// How often a name occurs, and how often as a bare subscript.
fn count(name: &str, expr: &Expr, all: &mut usize, bare: &mut usize) {
    if is_name(expr, name) {
        *all += 1;
    }
    if let ExprKind::Read(_, subs) = &expr.kind {
        *bare += subs.iter().filter(|sub| matches!(sub, Subscript::At(e) if is_name(e, name))).count();
    }
    for_each_part(expr, &mut |part| count(name, part, all, bare), name);
}

/// Whether a name occurs.
pub(crate) fn mentions(expr: &Expr, name: &str) -> bool {
    let (mut all, mut bare) = (0, 0);
    count(name, expr, &mut all, &mut bare);
    all > 0
}

/// Calls `visit` with the direct parts of an expression; bodies of closures that give `name` another meaning are left out.
pub(crate) fn for_each_part(expr: &Expr, visit: &mut dyn FnMut(&Expr), name: &str) {
    match &expr.kind {
        ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Inf
        | ExprKind::Pi
        | ExprKind::Bool(_)
        | ExprKind::Name(_)
        | ExprKind::Capture(_) => {}
        ExprKind::Binary(_, _, a, b) | ExprKind::Or(a, b) | ExprKind::Grad(_, a, b) => {
            visit(a);
            visit(b);
        }
        ExprKind::Unary(_, e) | ExprKind::Cast(e, _) | ExprKind::Member(e, _) => visit(e),
        ExprKind::Where { value, cond, other } => {
            visit(value);
            visit(cond);
            other.iter().for_each(|e| visit(e));
        }
        ExprKind::If { cond, then, other } => [cond, then, other].into_iter().for_each(|e| visit(e)),
        ExprKind::Read(base, subs) => {
            visit(base);
            for sub in subs {
                match sub {
                    Subscript::At(e) => visit(e),
                    Subscript::Part(lo, hi, _) => lo.iter().chain(hi).for_each(&mut *visit),
                    Subscript::All(_) => {}
                }
            }
        }
        ExprKind::List(parts) => parts.iter().for_each(visit),
        ExprKind::Bracketed { indices, options, body, .. } => {
            for range in indices.iter().filter_map(|index| index.range.as_ref()) {
                visit(&range.lo);
                visit(&range.hi);
            }
            options.iter().for_each(&mut *visit);
            visit(body);
        }
        ExprKind::Call(_, args) => {
            for arg in args {
                match &arg.value {
                    Argument::Expr(e) => visit(e),
                    Argument::Closure(c) if c.params.iter().flatten().any(|p| p.text == name) => {}
                    Argument::Closure(c) => visit(&c.body),
                }
            }
        }
    }
}
