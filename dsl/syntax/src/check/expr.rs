//! Expressions: each becomes a value with its type, term, presence and facts.

use super::elab::Elab;
use super::exact::{compared, exact_binary};
use super::formula::Formula;
use super::items::computes_in;
use super::value::{Ty, Value};
use crate::ast::{BinaryOp, Expr, ExprKind, Name, UnaryOp};
use crate::errors::{Loc, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::{Const, Elem, Op};

impl Elab<'_> {
    /// Checks a scalar expression.
    pub(crate) fn value(&mut self, expr: &Expr) -> Value {
        let loc = expr.loc;
        match &expr.kind {
            ExprKind::Int(value) => Value::weak(loc, (*value).into()),
            ExprKind::Float(value) => self.number(loc, *value),
            ExprKind::Inf => self.number(loc, f64::INFINITY),
            ExprKind::Pi => self.number(loc, std::f64::consts::PI),
            ExprKind::Bool(value) => {
                let term = self.constant(Const::Bool(*value), DType::Bool);
                let truth = if *value { Formula::True } else { Formula::False };
                Value { truth: Some(truth), ..Value::of(loc, Ty::Of(DType::Bool), term) }
            }
            ExprKind::Name(_) | ExprKind::Member(..) | ExprKind::Read(..) | ExprKind::Capture(_) => {
                self.element_of(expr)
            }
            ExprKind::Binary(BinaryOp::And | BinaryOp::Or, ..) => self.logic(expr),
            ExprKind::Binary(op, span, a, b) => self.binary(*op, Loc::at(*span), a, b, loc),
            ExprKind::Unary(UnaryOp::Neg, e) => self.negated(e, loc),
            ExprKind::Unary(UnaryOp::Not, e) => self.not(e, loc),
            ExprKind::Cast(e, dtype) => self.cast(e, dtype, loc),
            ExprKind::Or(a, b) => self.or_else(a, b, loc),
            ExprKind::Where { value, cond, other } => self.where_(value, cond, other.as_deref(), loc),
            ExprKind::If { cond, then, other } => self.conditional(cond, then, other, loc),
            ExprKind::List(parts) => {
                self.poison(loc, Problem::TensorValue { rank: usize::from(!parts.is_empty()).max(1) })
            }
            ExprKind::Bracketed { op, indices, options, body } => self.bracketed(op, indices, options, body, loc),
            ExprKind::Grad(span, ..) => self.poison(Loc::at(*span), Problem::NotBuilt { what: "`grad`".into() }),
            ExprKind::Call(callee, args) => self.applied(callee, args, loc),
        }
    }

    fn number(&mut self, loc: Loc, value: f64) -> Value {
        let term = self.constant(Const::float(value), DType::F32);
        Value { float: Some(value), ..Value::of(loc, Ty::Of(DType::F32), term) }
    }

    /// What is known where a condition holds.
    pub(crate) fn truth(&mut self, value: &Value) -> Formula {
        match &value.truth {
            Some(truth) => truth.clone(),
            None => self.unknown(),
        }
    }

    /// A condition: reports what is none.
    pub(crate) fn condition(&mut self, expr: &Expr) -> Value {
        let mut value = self.value(expr);
        if !value.ty.is_bool() {
            return self.poison(expr.loc, Problem::NotBool { found: value.ty.text() });
        }
        if value.truth.is_none() {
            value.truth = Some(self.unknown());
        }
        value
    }

    fn logic(&mut self, expr: &Expr) -> Value {
        let ExprKind::Binary(op, _, a, b) = &expr.kind else { return Value::poison(expr.loc) };
        let a = self.condition(a);
        let truth = self.truth(&a);
        let fact = if *op == BinaryOp::And { truth.clone() } else { truth.negated() };
        let b = self.under(fact, |elab| elab.condition(b));
        if a.is_poison() || b.is_poison() {
            return Value::poison(expr.loc);
        }
        let args = vec![self.as_own(&a), self.as_own(&b)];
        let other = self.truth(&b);
        let (op, truth) = match op {
            BinaryOp::And => (ElemOp::And, truth.and(other)),
            _ => (ElemOp::Or, truth.or(other)),
        };
        let term = self.elem(op, args, DType::Bool);
        let presence = a.presence.and(b.presence);
        Value { truth: Some(truth), ..Value::of(expr.loc, Ty::Of(DType::Bool), term).present(presence) }
    }

    /// Both operands, each under what the other's presence says: strict operators read neither where one is absent.
    fn operands(&mut self, a: &Expr, b: &Expr) -> (Value, Value) {
        let beside = self.presence_of(b);
        let a = self.under(beside, |elab| elab.value(a));
        let present = a.presence.clone();
        let b = self.under(present, |elab| elab.value(b));
        (a, b)
    }

    fn binary(&mut self, op: BinaryOp, at: Loc, a: &Expr, b: &Expr, loc: Loc) -> Value {
        let (a, b) = self.operands(a, b);
        if a.is_poison() || b.is_poison() {
            return Value::poison(loc);
        }
        match op {
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                self.compare(op, at, &a, &b, loc)
            }
            _ => self.arithmetic(op, at, &a, &b, loc),
        }
    }

    fn compare(&mut self, op: BinaryOp, at: Loc, a: &Value, b: &Value, loc: Loc) -> Value {
        let elem = match op {
            BinaryOp::Eq => ElemOp::Eq,
            BinaryOp::Ne => ElemOp::Ne,
            BinaryOp::Lt => ElemOp::Lt,
            BinaryOp::Le => ElemOp::Le,
            BinaryOp::Gt => ElemOp::Gt,
            _ => ElemOp::Ge,
        };
        let mut truth = None;
        let exact = a.index.clone().zip(b.index.clone());
        if let Some((x, y)) = &exact {
            truth = compared(op, x, y);
        }
        // Positions and sizes compare exactly, also with data of 32 bits.
        let args = match exact {
            Some((x, y)) if a.ty == Ty::Weak || b.ty == Ty::Weak => {
                vec![self.exact(&x, DType::I64), self.exact(&y, DType::I64)]
            }
            _ => match self.common(a, b, at) {
                Some(dtype) => vec![self.as_type(a, dtype), self.as_type(b, dtype)],
                None => return Value::poison(loc),
            },
        };
        let term = self.elem(elem, args, DType::Bool);
        let presence = a.presence.clone().and(b.presence.clone());
        Value { truth, ..Value::of(loc, Ty::Of(DType::Bool), term).present(presence) }
    }

    fn arithmetic(&mut self, op: BinaryOp, at: Loc, a: &Value, b: &Value, loc: Loc) -> Value {
        if let Some(wrong) = [a, b].into_iter().find(|v| v.ty == Ty::Of(DType::Bool)) {
            return self.poison(wrong.loc, Problem::NotNumber { found: wrong.ty.text() });
        }
        let bits = matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor | BinaryOp::Shl | BinaryOp::Shr);
        if let Some(wrong) = [a, b].into_iter().find(|v| bits && !v.ty.is_int()) {
            let problem =
                Problem::WrongKind { op: op.symbol().into(), wanted: "integers".into(), found: wrong.ty.text() };
            return self.poison(wrong.loc, problem);
        }
        let presence = a.presence.clone().and(b.presence.clone());
        let index = a.index.as_ref().zip(b.index.as_ref()).and_then(|(x, y)| exact_binary(op, x, y));
        let integers = a.ty.is_int() && b.ty.is_int();
        let quotient = integers && (op == BinaryOp::Div || a.quotient || b.quotient);
        if let (Ty::Weak, Ty::Weak, Some(index)) = (a.ty, b.ty, &index) {
            return Value { quotient, ..Value::weak(loc, index.clone()).present(presence) };
        }
        let Some(dtype) = self.common(a, b, at) else { return Value::poison(loc) };
        let args = vec![self.as_type(a, dtype), self.as_type(b, dtype)];
        let term = self.elem(elem_of(op), args, dtype);
        let ty = if a.ty == Ty::Weak && b.ty == Ty::Weak { Ty::Weak } else { Ty::Of(dtype) };
        Value { index, quotient, ..Value::of(loc, ty, term).present(presence) }
    }

    fn negated(&mut self, e: &Expr, loc: Loc) -> Value {
        let value = self.value(e);
        if value.is_poison() {
            return value;
        }
        if value.ty == Ty::Of(DType::Bool) {
            return self.poison(e.loc, Problem::NotNumber { found: value.ty.text() });
        }
        if let Some(number) = value.float {
            return self.number(loc, -number);
        }
        let index = value.index.as_ref().map(|index| index.scale(-1));
        if let (Ty::Weak, Some(index)) = (value.ty, &index) {
            return Value { quotient: value.quotient, ..Value::weak(loc, index.clone()).present(value.presence) };
        }
        let term = self.as_own(&value);
        let dtype = self.function.terms[term].dtype;
        let term = self.elem(ElemOp::Neg, vec![term], dtype);
        Value { index, term: Some(term), loc, ..value }
    }

    fn not(&mut self, e: &Expr, loc: Loc) -> Value {
        let value = self.condition(e);
        if value.is_poison() {
            return value;
        }
        let truth = self.truth(&value).negated();
        let term = self.as_own(&value);
        let term = self.elem(ElemOp::Not, vec![term], DType::Bool);
        Value { truth: Some(truth), ..Value::of(loc, Ty::Of(DType::Bool), term).present(value.presence) }
    }

    fn cast(&mut self, e: &Expr, target: &Name, loc: Loc) -> Value {
        let value = self.value(e);
        if let Some(elem @ Elem::Param(number)) = self.given_type(&target.text) {
            return self.cast_to_param(value, number, computes_in(&self.function, &elem), loc);
        }
        if let Some(Elem::Format(name)) = self.given_type(&target.text) {
            let help = "a format packs whole rows; name a dtype".to_string();
            let (is, wanted) = ("a packed format".to_string(), "a type to convert to".to_string());
            return self.poison(target.loc(), Problem::NotA { name, is, wanted, help });
        }
        let Some(dtype) = self.dtype(target) else { return Value::poison(loc) };
        if value.is_poison() {
            return value;
        }
        if dtype == DType::Bool {
            return self.poison(target.loc(), Problem::NotBool { found: value.ty.text() });
        }
        let wide = dtype.widened();
        let mut term =
            if value.ty == Ty::Of(DType::Bool) { self.indicator(&value, wide) } else { self.as_type(&value, wide) };
        if dtype != wide {
            term = self.term(Op::Round(dtype), vec![term], wide);
        }
        let exact = matches!(dtype, DType::I64 | DType::I32 | DType::U32);
        let index = if exact { value.index.clone() } else { None };
        Value { index, ..Value::of(loc, Ty::Of(wide), term).present(value.presence) }
    }

    /// A value rounded to what a type parameter stands for.
    fn cast_to_param(&mut self, value: Value, number: u32, wide: DType, loc: Loc) -> Value {
        if value.is_poison() {
            return value;
        }
        let term =
            if value.ty == Ty::Of(DType::Bool) { self.indicator(&value, wide) } else { self.as_type(&value, wide) };
        let term = self.term(Op::RoundParam(number), vec![term], wide);
        Value::of(loc, Ty::Of(wide), term).present(value.presence)
    }

    /// 1 where the condition holds, else 0.
    pub(crate) fn indicator(&mut self, value: &Value, dtype: DType) -> sawmill_ir::graph::TermId {
        let cond = self.as_own(value);
        let (one, zero) = (self.exact(&1.into(), dtype), self.exact(&0.into(), dtype));
        self.elem(ElemOp::Select, vec![cond, one, zero], dtype)
    }

    fn or_else(&mut self, a: &Expr, b: &Expr, loc: Loc) -> Value {
        let before = std::mem::replace(&mut self.guarded, true);
        let a = self.value(a);
        self.guarded = before;
        let absent = a.presence.negated();
        let b = self.under(absent, |elab| elab.value(b));
        self.filled(a, b, loc)
    }

    /// `a` where present, else `b`.
    fn filled(&mut self, a: Value, b: Value, loc: Loc) -> Value {
        if a.is_poison() || b.is_poison() {
            return Value::poison(loc);
        }
        let Some(dtype) = self.common(&a, &b, loc) else { return Value::poison(loc) };
        let args = vec![self.as_type(&a, dtype), self.as_type(&b, dtype)];
        let term = self.term(Op::OrElse, args, dtype);
        let ty = if a.ty == Ty::Weak && b.ty == Ty::Weak { Ty::Weak } else { Ty::Of(dtype) };
        let presence = a.presence.or(b.presence);
        let presence = if self.proves(&presence) { Formula::True } else { presence };
        Value { quotient: a.quotient || b.quotient, ..Value::of(loc, ty, term).present(presence) }
    }

    fn where_(&mut self, value: &Expr, cond: &Expr, other: Option<&Expr>, loc: Loc) -> Value {
        let cond = self.condition(cond);
        let truth = self.truth(&cond).and(cond.presence.clone());
        let value = self.under(truth.clone(), |elab| elab.value(value));
        if value.is_poison() || cond.is_poison() {
            if let Some(other) = other {
                self.value(other);
            }
            return Value::poison(loc);
        }
        let own = self.as_own(&value);
        let dtype = self.function.terms[own].dtype;
        let keep = self.as_own(&cond);
        let term = self.term(Op::Where, vec![own, keep], dtype);
        let presence = value.presence.clone().and(truth.clone());
        let partial = Value { loc, term: Some(term), index: None, float: None, truth: None, ..value }.present(presence);
        match other {
            None => partial,
            Some(other) => {
                let other = self.under(truth.negated(), |elab| elab.value(other));
                self.filled(partial, other, loc)
            }
        }
    }

    fn conditional(&mut self, cond: &Expr, then: &Expr, other: &Expr, loc: Loc) -> Value {
        let cond = self.condition(cond);
        let truth = self.truth(&cond);
        let then = self.under(truth.clone(), |elab| elab.value(then));
        let other = self.under(truth.negated(), |elab| elab.value(other));
        if cond.is_poison() || then.is_poison() || other.is_poison() {
            return Value::poison(loc);
        }
        let Some(dtype) = self.common(&then, &other, loc) else { return Value::poison(loc) };
        let args = vec![self.as_own(&cond), self.as_type(&then, dtype), self.as_type(&other, dtype)];
        let term = self.elem(ElemOp::Select, args, dtype);
        let ty = if then.ty == Ty::Weak && other.ty == Ty::Weak { Ty::Weak } else { Ty::Of(dtype) };
        let branches = truth.negated().or(then.presence.clone()).and(truth.clone().or(other.presence.clone()));
        let presence = if self.proves(&branches) { Formula::True } else { branches };
        let both = match (&then.truth, &other.truth) {
            (Some(a), Some(b)) => Some(truth.negated().or(a.clone()).and(truth.or(b.clone()))),
            _ => None,
        };
        let quotient = then.quotient || other.quotient;
        Value { truth: both, quotient, ..Value::of(loc, ty, term).present(presence.and(cond.presence)) }
    }
}

fn elem_of(op: BinaryOp) -> ElemOp {
    match op {
        BinaryOp::Add => ElemOp::Add,
        BinaryOp::Sub => ElemOp::Sub,
        BinaryOp::Mul => ElemOp::Mul,
        BinaryOp::Div => ElemOp::Div,
        BinaryOp::Rem => ElemOp::Rem,
        BinaryOp::BitAnd => ElemOp::BitAnd,
        BinaryOp::BitOr => ElemOp::BitOr,
        BinaryOp::BitXor => ElemOp::BitXor,
        BinaryOp::Shl => ElemOp::Shl,
        _ => ElemOp::Shr,
    }
}
