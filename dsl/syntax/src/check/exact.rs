//! The exact integer that an expression is, silently: for sizes, for the search of ranges, for conditions.

use super::elab::Elab;
use super::formula::Formula;
use super::read::Base;
use super::scope::Binding;
use crate::ast::{Argument, BinaryOp, Expr, ExprKind, Subscript, UnaryOp};
use sawmill_ir::graph::Elem;
use sawmill_ir::index::{Atom, Index, TensorId};

impl Elab<'_> {
    /// The polynomial over positions, sizes and integer reads that `expr` is, if it is one. Reports nothing.
    pub(crate) fn exact_of(&self, expr: &Expr) -> Option<Index> {
        match &expr.kind {
            ExprKind::Int(value) => Some(Index::int(*value)),
            ExprKind::Unary(UnaryOp::Neg, e) => Some(self.exact_of(e)?.scale(-1)),
            ExprKind::Binary(op, _, a, b) => exact_binary(*op, &self.exact_of(a)?, &self.exact_of(b)?),
            ExprKind::Cast(e, dtype) => match dtype.text.as_str() {
                "i32" | "i64" | "u32" => self.exact_of(e),
                _ => None,
            },
            ExprKind::Call(callee, args) => {
                let args: Option<Vec<Index>> = args
                    .iter()
                    .map(|arg| match &arg.value {
                        Argument::Expr(e) => self.exact_of(e),
                        Argument::Closure(_) => None,
                    })
                    .collect();
                exact_call(&callee.text, &args?)
            }
            ExprKind::Name(name) => match &self.scope.get(&name.text)?.binding {
                Binding::Dim(dim) => Some(Index::dim(*dim)),
                Binding::Exact(index) => Some(index.clone()),
                Binding::Tensor(id) => self.exact_read(*id, Vec::new()),
                _ => None,
            },
            ExprKind::Member(..) | ExprKind::Read(..) | ExprKind::Capture(_) => self.exact_element(expr),
            _ => None,
        }
    }

    fn exact_element(&self, expr: &Expr) -> Option<Index> {
        match self.base_of(expr)? {
            Base::Length(length) => return Some(length),
            Base::Tensor { id, lead } => return self.exact_read(id, lead),
            Base::Record(_) => {}
        }
        let ExprKind::Read(inner, subs) = &expr.kind else { return None };
        let Base::Tensor { id, lead } = self.base_of(inner)? else { return None };
        let mut at = lead;
        for sub in subs {
            let Subscript::At(e) = sub else { return None };
            at.push(self.exact_of(e)?);
        }
        self.exact_read(id, at)
    }

    /// A read of an integer tensor whose elements are all present.
    pub(crate) fn exact_read(&self, id: TensorId, subs: Vec<Index>) -> Option<Index> {
        let tensor = &self.function.tensors[id];
        let integer = matches!(&tensor.elem, Elem::Type(dtype) if dtype.is_int());
        let present = self.tensors.get(&id).is_none_or(|facts| facts.presence == Formula::True);
        let whole = subs.len() == tensor.shape.len();
        (integer && present && whole).then(|| Index::atom(Atom::Read(id, subs)))
    }

    /// What holds where the condition `expr` holds, as far as it compares exact integers. Reports nothing.
    pub(crate) fn truth_of(&self, expr: &Expr) -> Formula {
        match &expr.kind {
            ExprKind::Binary(BinaryOp::And, _, a, b) => self.truth_of(a).and(self.truth_of(b)),
            ExprKind::Binary(op, _, a, b) => match (self.exact_of(a), self.exact_of(b)) {
                (Some(a), Some(b)) => compared(*op, &a, &b).unwrap_or(Formula::True),
                _ => Formula::True,
            },
            _ => Formula::True,
        }
    }

    /// Where an operand is present, as far as that can be told without checking it: facts for its neighbours.
    pub(crate) fn presence_of(&self, expr: &Expr) -> Formula {
        match &expr.kind {
            ExprKind::Where { value, cond, other: None } => self.presence_of(value).and(self.truth_of(cond)),
            ExprKind::Binary(op, _, a, b) if !matches!(op, BinaryOp::And | BinaryOp::Or) => {
                self.presence_of(a).and(self.presence_of(b))
            }
            ExprKind::Unary(_, e) | ExprKind::Cast(e, _) => self.presence_of(e),
            ExprKind::Bracketed { op, body, .. } if op.text == "softmax" => self.presence_of(body),
            ExprKind::Name(_) | ExprKind::Read(..) => self.element_presence(expr).unwrap_or(Formula::True),
            _ => Formula::True,
        }
    }

    fn element_presence(&self, expr: &Expr) -> Option<Formula> {
        let (base, subs) = match &expr.kind {
            ExprKind::Read(base, subs) => (&**base, subs.as_slice()),
            _ => (expr, [].as_slice()),
        };
        let Base::Tensor { id, mut lead } = self.base_of(base)? else { return None };
        for sub in subs {
            let Subscript::At(e) = sub else { return None };
            lead.push(self.exact_of(e)?);
        }
        (lead.len() == self.function.tensors[id].shape.len()).then(|| self.presence_at(id, &lead))
    }
}

/// An arithmetic operator on exact integers.
pub(crate) fn exact_binary(op: BinaryOp, a: &Index, b: &Index) -> Option<Index> {
    match op {
        BinaryOp::Add => Some(a.add(b)),
        BinaryOp::Sub => Some(a.sub(b)),
        BinaryOp::Mul => Some(a.mul(b)),
        BinaryOp::Div => Some(a.div(b)),
        BinaryOp::Rem => Some(a.rem(b)),
        _ => None,
    }
}

/// A function on exact integers.
pub(crate) fn exact_call(name: &str, args: &[Index]) -> Option<Index> {
    match (name, args) {
        ("min", [a, b]) => Some(a.smaller(b)),
        ("max", [a, b]) => Some(a.larger(b)),
        ("abs", [a]) => Some(a.larger(&a.scale(-1))),
        ("relu", [a]) => Some(a.larger(&Index::int(0))),
        ("clamp", [a, lo, hi]) => Some(a.larger(lo).smaller(hi)),
        ("bit_length", [a]) => Some(a.bit_length()),
        _ => None,
    }
}

/// What a comparison of exact integers says.
pub(crate) fn compared(op: BinaryOp, a: &Index, b: &Index) -> Option<Formula> {
    match op {
        BinaryOp::Eq => Some(Formula::eq(a, b)),
        BinaryOp::Ne => Some(Formula::eq(a, b).negated()),
        BinaryOp::Lt => Some(Formula::lt(a, b)),
        BinaryOp::Le => Some(Formula::le(a, b)),
        BinaryOp::Gt => Some(Formula::lt(b, a)),
        BinaryOp::Ge => Some(Formula::le(b, a)),
        _ => None,
    }
}
