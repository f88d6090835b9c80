//! Reductions and row operators.

use super::elab::Elab;
use super::formula::Formula;
use super::scope::{Binding, Role};
use super::value::{Ty, Value};
use crate::ast::{Expr, Index as BoundIndex, Name};
use crate::errors::{Diagnostic, Loc, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ReduceOp;
use sawmill_ir::graph::{Op, TermId};
use sawmill_ir::index::{AxisId, Index};

/// Operators along a row that are not built yet.
const LATER: [&str; 10] =
    ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "rank", "topk", "argsort", "quantize", "scatter"];

/// An index that was bound: its axis and the first position.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// The axis.
    pub(crate) axis: AxisId,
    /// What is added to the axis.
    pub(crate) lo: Index,
    /// How many positions.
    pub(crate) extent: Index,
}

impl Elab<'_> {
    /// `op[indices; options](body)`
    pub(crate) fn bracketed(
        &mut self,
        op: &Name,
        indices: &[BoundIndex],
        options: &[Expr],
        body: &Expr,
        loc: Loc,
    ) -> Value {
        if LATER.contains(&op.text.as_str()) {
            return self.poison(op.loc(), Problem::NotBuilt { what: format!("`{}`", op.text) });
        }
        if let Some(option) = options.first() {
            return self.poison(option.loc, Problem::NotBuilt { what: format!("an option of `{}`", op.text) });
        }
        if op.text == "softmax" {
            return self.softmax(op, indices, body, loc);
        }
        let Some(reduce) = ReduceOp::from_text(&op.text) else {
            let known = ReduceOp::ALL.iter().map(|r| r.text()).chain(["softmax"]);
            let help = super::scope::similar(&op.text, known);
            return self.poison(op.loc(), Problem::Unknown { what: "reduction".into(), name: op.text.clone(), help });
        };
        let (mark, facts) = (self.scope.mark(), self.facts.len());
        let bound: Vec<Option<Bound>> = indices.iter().map(|index| self.bind_index(index, None, &[body])).collect();
        let positions = self.positions.len();
        let value = self.value(body);
        self.scope.leave(mark);
        self.facts.truncate(facts);
        let reduced = match bound.into_iter().collect::<Option<Vec<Bound>>>() {
            Some(bound) if !value.is_poison() => self.reduced(reduce, op, &bound, (&value, positions), loc),
            _ => Value::poison(loc),
        };
        self.positions_forgotten(positions);
        reduced
    }

    /// The reduction of `value`, in which positions have been computed since a mark.
    fn reduced(
        &mut self,
        reduce: ReduceOp,
        op: &Name,
        bound: &[Bound],
        (value, positions): (&Value, usize),
        loc: Loc,
    ) -> Value {
        let axes: Vec<AxisId> = bound.iter().map(|b| b.axis).collect();
        let Some((term, dtype)) = self.reducible(reduce, op, value) else { return Value::poison(loc) };
        let term = self.positions_bound(positions, term);
        let positional = matches!(reduce, ReduceOp::ArgMax | ReduceOp::ArgMin);
        let result = if positional { DType::I64 } else { dtype };
        if positional && axes.len() != 1 {
            return self.poison(op.loc(), Problem::NotBuilt { what: format!("`{}` over several axes", op.text) });
        }
        let mut reduced = self.term(Op::Reduce { op: reduce, axes, segment: None }, vec![term], result);
        if positional && bound[0].lo.as_int() != Some(0) {
            let first = self.exact(&bound[0].lo, DType::I64);
            reduced = self.elem(sawmill_ir::elem::ElemOp::Add, vec![reduced, first], DType::I64);
        }
        let mut presence = Formula::True;
        if positional || matches!(reduce, ReduceOp::First | ReduceOp::Last) {
            let some = bound.iter().fold(Formula::True, |f, b| f.and(Formula::le(&1.into(), &self.canon(&b.extent))));
            if value.presence != Formula::True || !self.proves(&some) {
                presence = self.unknown();
            }
        }
        Value::of(loc, Ty::Of(result), reduced).present(presence)
    }

    /// The operand of a reduction in the type it reduces in.
    fn reducible(&mut self, reduce: ReduceOp, op: &Name, value: &Value) -> Option<(TermId, DType)> {
        match reduce {
            ReduceOp::Any | ReduceOp::All => {
                if !value.ty.is_bool() {
                    self.errors.report(value.loc, Problem::NotBool { found: value.ty.text() });
                    return None;
                }
                Some((self.as_own(value), DType::Bool))
            }
            ReduceOp::Mean | ReduceOp::LogSumExp => self.as_float(value, &op.text),
            ReduceOp::Sum if value.ty == Ty::Of(DType::Bool) => Some((self.indicator(value, DType::I32), DType::I32)),
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min | ReduceOp::ArgMax | ReduceOp::ArgMin => {
                if value.ty == Ty::Of(DType::Bool) {
                    self.errors.report(value.loc, Problem::NotNumber { found: value.ty.text() });
                    return None;
                }
                let term = self.as_own(value);
                Some((term, self.function.terms[term].dtype))
            }
            ReduceOp::First | ReduceOp::Last => {
                let term = self.as_own(value);
                Some((term, self.function.terms[term].dtype))
            }
        }
    }

    fn softmax(&mut self, op: &Name, indices: &[BoundIndex], body: &Expr, loc: Loc) -> Value {
        let mut axes = Vec::new();
        for index in indices {
            let bound = self.scope.get(&index.name.text).filter(|entry| entry.role == Role::Index);
            let axis = match bound.map(|entry| &entry.binding) {
                Some(Binding::Exact(at)) if index.range.is_none() => lone_axis(at),
                Some(Binding::Poison) => return Value::poison(loc),
                _ => None,
            };
            match axis {
                Some(axis) => axes.push(axis),
                None => {
                    let problem = Problem::RowIndex { op: op.text.clone(), index: index.name.text.clone() };
                    return self.poison(index.name.loc(), problem);
                }
            }
        }
        let value = self.value(body);
        if value.is_poison() {
            return value;
        }
        let Some((term, dtype)) = self.as_float(&value, "softmax") else { return Value::poison(loc) };
        let term = self.term(Op::Softmax { axes }, vec![term], dtype);
        Value::of(loc, Ty::Of(dtype), term).present(value.presence)
    }

    /// Binds an index: `size` where it is given, else the stated range, else what its uses say.
    pub(crate) fn bind_index(&mut self, index: &BoundIndex, size: Option<&Index>, bodies: &[&Expr]) -> Option<Bound> {
        self.index_name_is_free(&index.name);
        let range = match (&index.range, size) {
            (Some(range), _) => self.stated(range),
            (None, Some(size)) => Some((Index::int(0), size.clone())),
            (None, None) => self.inferred(index, bodies).map(|size| (Index::int(0), size)),
        };
        let Some((lo, extent)) = range else {
            self.scope.add(&index.name, Role::Index, Binding::Poison);
            return None;
        };
        Some(self.bind_axis(&index.name, lo, extent))
    }

    /// The first position and the number of positions of a stated range.
    pub(crate) fn stated(&mut self, range: &crate::ast::Range) -> Option<(Index, Index)> {
        let (lo, hi) = (self.size(&range.lo)?, self.size(&range.hi)?);
        let extent = hi.sub(&lo);
        // An empty range has no positions, never fewer.
        let extent =
            if self.proves(&Formula::le(&0.into(), &self.canon(&extent))) { extent } else { extent.larger(&0.into()) };
        Some((lo, extent))
    }

    /// Gives an index an axis of its own and says what is known of it.
    pub(crate) fn bind_axis(&mut self, name: &Name, lo: Index, extent: Index) -> Bound {
        let axis = self.axis(&name.text, extent.clone());
        let at = Index::axis(axis);
        self.facts.push(Formula::NonNegative(at.clone()));
        self.facts.push(Formula::lt(&at, &extent));
        self.scope.add(name, Role::Index, Binding::Exact(lo.add(&at)));
        Bound { axis, lo, extent }
    }

    fn index_name_is_free(&mut self, name: &Name) {
        let Some(entry) = self.scope.get(&name.text) else { return };
        let first = Loc::at(entry.span);
        let problem = match entry.role {
            Role::Index => Problem::BoundTwice { index: name.text.clone() },
            Role::Given => return,
            role => {
                let help = "an index has a name of its own".to_string();
                Problem::Taken { name: name.text.clone(), by: role.text().into(), help }
            }
        };
        self.errors.push(Diagnostic::new(name.loc(), problem).with_note(first, "the first one"));
    }
}

/// The axis of an index, whatever is added to it.
fn lone_axis(at: &Index) -> Option<AxisId> {
    let axes = at.axes();
    let axis = axes.iter().next().copied().filter(|_| axes.len() == 1)?;
    at.linear_in(axis).filter(|(coefficient, _)| *coefficient == 1).map(|_| axis)
}
