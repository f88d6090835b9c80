//! Closures: written out as an argument or a default, passed on, and applied.

use super::elab::Elab;
use super::formula::Formula;
use super::items::Given;
use super::scope::{Binding, Role};
use super::value::{Ty, Value};
use crate::ast::{Arg, Argument, Closure, Expr, ExprKind, Name};
use crate::errors::{Loc, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::{Closure as IrClosure, ClosureId, Elem, Op};
use sawmill_ir::index::{Atom, Index};

impl Elab<'_> {
    /// Checks a closure against what its callee gives it.
    pub(crate) fn closure(
        &mut self,
        closure: &Closure,
        param: &str,
        given: &[Given],
        result: DType,
    ) -> Option<IrClosure> {
        if closure.params.len() != given.len() {
            let wanted = format!("a closure of {} parameters", given.len());
            let problem = Problem::Arguments { name: param.to_string(), wanted, found: closure.params.len() };
            self.errors.report(closure.loc, problem);
            return None;
        }
        let (mark, facts) = (self.scope.mark(), self.facts.len());
        let outer = self.params_around.len();
        for (number, (name, given)) in (outer..).zip(closure.params.iter().zip(given)) {
            if let Some(name) = name {
                self.give(name, number, given);
            }
        }
        let around = std::mem::replace(&mut self.in_closure, true);
        for (name, (_, range)) in closure.params.iter().zip(given) {
            let name = name.as_ref().map_or("_", |name| name.text.as_str()).to_string();
            self.params_around.push((name, range.clone()));
        }
        let before = std::mem::replace(&mut self.guarded, false);
        let positions = self.positions.len();
        let value = self.value(&closure.body);
        self.present(&value, "the result of a closure");
        let body = self.written(&value, &Elem::Type(result), param);
        let body = self.positions_bound(positions, body);
        self.guarded = before;
        self.in_closure = around;
        self.params_around.truncate(outer);
        self.scope.leave(mark);
        self.facts.truncate(facts);
        let name_of = |p: &Option<Name>| p.as_ref().map_or_else(|| "_".to_string(), |name| name.text.clone());
        let outer = u32::try_from(outer).expect("invariant: few parameters");
        Some(IrClosure { params: closure.params.iter().map(name_of).collect(), outer, body })
    }

    /// Puts a closure's parameter in scope.
    fn give(&mut self, name: &Name, number: usize, (dtype, range): &Given) {
        let number = u32::try_from(number).expect("invariant: few parameters");
        if *dtype != DType::I64 {
            self.scope.add(name, Role::Given, Binding::Given(number, *dtype));
            return;
        }
        let at = Index::atom(Atom::Param(number));
        if let Some((lo, hi)) = range {
            self.facts.push(Formula::le(lo, &at).and(Formula::lt(&at, hi)));
        }
        self.scope.add(name, Role::Given, Binding::Exact(at));
    }

    /// A closure parameter of this function passed on by name.
    pub(crate) fn passed_closure(
        &mut self,
        expr: &Expr,
        param: &str,
        given: &[Given],
        result: DType,
    ) -> Option<IrClosure> {
        let own = match &expr.kind {
            ExprKind::Name(name) => match self.scope.get(&name.text).map(|entry| entry.binding.clone()) {
                Some(Binding::Closure(_)) => Some(name.clone()),
                Some(Binding::Poison) => return None,
                _ => None,
            },
            _ => None,
        };
        let Some(own) = own else {
            let problem = Problem::ArgumentSort { name: param.to_string(), wanted: "a closure: `|i, j| ..`".into() };
            self.errors.report(expr.loc, problem);
            return None;
        };
        let names: Vec<Name> = (0..given.len()).map(|n| Name { text: format!("a{n}"), span: own.span }).collect();
        let arg = |name: &Name| {
            let kind = ExprKind::Name(name.clone());
            Arg { name: None, value: Argument::Expr(Expr { loc: expr.loc, kind }) }
        };
        let kind = ExprKind::Call(own, names.iter().map(arg).collect());
        let body = Box::new(Expr { loc: expr.loc, kind });
        let closure = Closure { params: names.into_iter().map(Some).collect(), body, loc: expr.loc };
        self.closure(&closure, param, given, result)
    }

    /// A closure parameter applied.
    pub(crate) fn closure_applied(&mut self, id: ClosureId, name: &Name, args: &[Arg], loc: Loc) -> Value {
        let wanted = self.closures[id.index()].params.len();
        if args.len() != wanted || args.iter().any(|arg| arg.name.is_some()) {
            let wanted = format!("{wanted} values");
            return self.poison(name.loc(), Problem::Arguments { name: name.text.clone(), wanted, found: args.len() });
        }
        let mut values = Vec::new();
        for arg in args {
            match &arg.value {
                Argument::Expr(expr) => values.push(self.value(expr)),
                Argument::Closure(closure) => {
                    let problem = Problem::ArgumentSort { name: name.text.clone(), wanted: "values".into() };
                    self.errors.report(closure.loc, problem);
                    return Value::poison(loc);
                }
            }
        }
        if values.iter().any(Value::is_poison) {
            return Value::poison(loc);
        }
        let given: Vec<Given> = values.iter().map(|value| self.given_of(value)).collect();
        if !self.note_given(id, &given) {
            return self.poison(loc, Problem::ClosureTypes { name: name.text.clone() });
        }
        let terms = values.iter().zip(&given).map(|(value, (dtype, _))| self.as_type(value, *dtype)).collect();
        let result = self.function.closures[id].result;
        let term = self.term(Op::Apply(id), terms, result);
        let presence = values.iter().fold(Formula::True, |f, value| f.and(value.presence.clone()));
        let exact: Option<Vec<Index>> = values.iter().map(|value| value.index.clone()).collect();
        let truth = match exact {
            Some(at) if result == DType::Bool => Some(Formula::Opaque { name: name.text.clone(), at, holds: true }),
            _ => None,
        };
        Value { truth, ..Value::of(loc, Ty::Of(result), term).present(presence) }
    }

    /// What a value tells a closure about itself: exact positions come with their range.
    fn given_of(&self, value: &Value) -> Given {
        match (value.ty, &value.index) {
            (Ty::Weak, Some(index)) => (DType::I64, self.range_of(index)),
            (Ty::Weak | Ty::Poison, _) => (DType::I64, None),
            (Ty::Of(dtype), _) => (dtype, None),
        }
    }

    /// The range of a bare index, over dims.
    fn range_of(&self, index: &Index) -> Option<(Index, Index)> {
        if let Some(Atom::Param(number)) = index.as_atom() {
            return self.params_around.get(*number as usize).and_then(|(_, range)| range.clone());
        }
        let axis = index.as_axis()?;
        let extent = self.function.axes[axis].extent.clone();
        extent.axes().is_empty().then(|| (Index::int(0), extent))
    }

    /// Remembers what a closure is applied to; false if an earlier application had other types.
    fn note_given(&mut self, id: ClosureId, given: &[Given]) -> bool {
        let known = &mut self.closures[id.index()].given;
        let Some(known) = known else {
            *known = Some(given.to_vec());
            return true;
        };
        for ((dtype, range), (other, other_range)) in known.iter_mut().zip(given) {
            if dtype != other {
                return false;
            }
            if range != other_range {
                *range = None;
            }
        }
        true
    }
}
