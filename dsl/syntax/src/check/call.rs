//! Calls: arguments to parameters, the callee's dims from the sizes of what it is given, slices, closures.

use super::bind::Assigned;
use super::elab::{Elab, any_position};
use super::formula::Formula;
use super::items::{Callable, ParameterKind, computes_in};
use super::read::Base;
use super::scope::{Binding, Record};
use super::show;
use super::value::{Ty, Value};
use crate::ast::{Arg, Argument, Expr, ExprKind, Name, Subscript};
use crate::errors::{Loc, Problem};
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::graph::{Arg as IrArg, CallResult, Op, Require, TensorKind, TermId};
use sawmill_ir::index::{Atom, DimId, Index, TensorId};
use std::collections::BTreeMap;

/// What a call is made of, as it is built up.
#[derive(Clone, Default)]
pub(crate) struct Built {
    pub(crate) args: Vec<(String, IrArg)>,
    pub(crate) operands: Vec<TermId>,
}

/// A slice: a tensor and which of its positions are fixed.
type Slice = (TensorId, Vec<Option<Index>>);

impl Elab<'_> {
    /// `name(args)` where a number is needed: a closure parameter, a function with one scalar output, or a builtin.
    pub(crate) fn applied(&mut self, callee: &Name, args: &[Arg], loc: Loc) -> Value {
        match self.scope.get(&callee.text).map(|entry| entry.binding.clone()) {
            Some(Binding::Closure(id)) => return self.closure_applied(id, callee, args, loc),
            Some(Binding::Poison) => return Value::poison(loc),
            _ => {}
        }
        if self.items.functions.contains_key(&callee.text) {
            let call = Expr { loc, kind: ExprKind::Call(callee.clone(), args.to_vec()) };
            return self.call_element(&call, None, &[], loc);
        }
        self.builtin(callee, args, loc)
    }

    /// One element of an output of a call.
    pub(crate) fn call_element(&mut self, call: &Expr, output: Option<&Name>, subs: &[Subscript], loc: Loc) -> Value {
        let ExprKind::Call(name, args) = &call.kind else { return Value::poison(loc) };
        let Some(callee) = self.items.functions.get(&name.text) else {
            let value = self.applied(name, args, loc);
            if value.is_poison() {
                return value;
            }
            let problem = Problem::Rank { name: name.text.clone(), wanted: 0, found: subs.len() };
            return self.poison(loc, problem);
        };
        let number = self.output_number(callee, name, output);
        let assigned = match self.assigned(callee, name, args) {
            Ok(assigned) => assigned,
            Err(d) => {
                self.errors.push(*d);
                return Value::poison(loc);
            }
        };
        let (Some(number), Some(dims)) = (number, self.bound_dims(callee, name, &assigned)) else {
            self.subscripts(subs);
            return Value::poison(loc);
        };
        let shape: Vec<Index> = callee.outputs[number].shape.iter().map(|size| at_dims(size, &dims)).collect();
        let what = format!("{}(..)", name.text);
        if shape.len() != subs.len() {
            let problem = if subs.is_empty() {
                Problem::TensorValue { rank: shape.len() }
            } else {
                Problem::Rank { name: what, wanted: shape.len(), found: subs.len() }
            };
            return self.poison(loc, problem);
        }
        let Some(at) = self.subscripts(subs) else { return Value::poison(loc) };
        let inside = at.iter().zip(&shape).fold(true, |ok, (at, size)| self.in_range(&what, at, size, loc) && ok);
        let before = self.pending.len();
        let Some(built) = self.arguments(callee, &assigned, &dims) else { return Value::poison(loc) };
        self.requirements_follow(callee, name, &dims);
        if !inside {
            return Value::poison(loc);
        }
        let dtype = callee.computes_in(&callee.outputs[number].elem);
        let named: Vec<(String, Index)> =
            dims.iter().map(|(dim, size)| (callee.heading.dims[*dim].name.clone(), size.clone())).collect();
        self.pending_built(before, &name.text, &built, &named);
        let output = CallResult::Output(u32::try_from(number).expect("invariant: few outputs"));
        let op = Op::Call { function: name.text.clone(), output, subs: at, args: built.args, dims: named };
        let term = self.term(op, built.operands, dtype);
        Value::of(loc, Ty::Of(dtype), term)
    }

    fn output_number(&mut self, callee: &Callable, name: &Name, output: Option<&Name>) -> Option<usize> {
        let names = || callee.outputs.iter().map(|o| o.name.as_str());
        match output {
            None if callee.outputs.len() == 1 => Some(0),
            None => {
                let outputs = names().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
                self.errors.report(name.loc(), Problem::SeveralOutputs { function: name.text.clone(), outputs });
                None
            }
            Some(output) => {
                let number = callee.outputs.iter().position(|o| o.name == output.text);
                if number.is_none() {
                    let help = super::scope::similar(&output.text, names());
                    let of = format!("`{}`", name.text);
                    self.errors.report(output.loc(), Problem::NoMember { of, name: output.text.clone(), help });
                }
                number
            }
        }
    }

    fn arguments(
        &mut self,
        callee: &Callable,
        assigned: &Assigned<'_>,
        dims: &BTreeMap<DimId, Index>,
    ) -> Option<Built> {
        let mut built = Built::default();
        let mut complete = true;
        for (param, arg) in callee.params.iter().zip(&assigned.params) {
            let Some(arg) = arg else { continue };
            let done = match (&param.kind, arg) {
                (ParameterKind::Closure(id), arg) => {
                    self.closure_argument(callee, *id, &param.name, arg, dims, &mut built)
                }
                (ParameterKind::Tensor(id), Argument::Expr(expr)) => {
                    self.tensor_argument(callee, *id, &param.name, expr, dims, &mut built)
                }
                (ParameterKind::Record { fields, .. }, Argument::Expr(expr)) => {
                    self.record_argument(callee, (&param.name, fields), expr, dims, &mut built)
                }
                (_, Argument::Closure(closure)) => {
                    let problem = Problem::ArgumentSort { name: param.name.clone(), wanted: "a value".into() };
                    self.errors.report(closure.loc, problem);
                    None
                }
            };
            complete &= done.is_some();
        }
        complete.then_some(built)
    }

    fn tensor_argument(
        &mut self,
        callee: &Callable,
        id: TensorId,
        param: &str,
        expr: &Expr,
        dims: &BTreeMap<DimId, Index>,
        built: &mut Built,
    ) -> Option<()> {
        let tensor = &callee.heading.tensors[id];
        let wanted = computes_in(&callee.heading, &tensor.elem);
        let promise = match &tensor.kind {
            TensorKind::Input(input) => input.promise.as_ref().map(|(lo, hi)| (at_dims(lo, dims), at_dims(hi, dims))),
            _ => None,
        };
        if tensor.shape.is_empty() {
            let value = self.value(expr);
            if value.is_poison() {
                return None;
            }
            self.present(&value, &format!("the argument `{param}`"));
            if let Some(range) = &promise {
                self.keeps_promise(param, value.index.as_ref(), range, expr.loc);
            }
            self.accepts(param, wanted, value.ty, expr.loc)?;
            let term = self.as_type(&value, wanted);
            let operand = u32::try_from(built.operands.len()).expect("invariant: few operands");
            built.operands.push(term);
            built.args.push((param.to_string(), IrArg::Scalar(operand)));
            return Some(());
        }
        let (given, at) = self.slice(param, expr)?;
        if !self.own_step(given, &at, expr.loc) {
            return None;
        }
        let has = computes_in(&self.function, &self.function.tensors[given].elem);
        self.accepts(param, wanted, Ty::Of(has), expr.loc)?;
        self.slice_present(given, &at, param, expr.loc);
        if let Some(range) = &promise {
            let mut open = 0;
            let subs = at
                .iter()
                .map(|sub| {
                    sub.clone().unwrap_or_else(|| {
                        open += 1;
                        Index::axis(any_position(open))
                    })
                })
                .collect();
            let element = Index::atom(Atom::Read(given, subs));
            self.keeps_promise(param, Some(&element), range, expr.loc);
        }
        built.args.push((param.to_string(), IrArg::Slice(given, at)));
        Some(())
    }

    /// A parameter takes its own kind and narrower types of it.
    fn accepts(&mut self, param: &str, wanted: DType, found: Ty, loc: Loc) -> Option<()> {
        let fits = match found {
            Ty::Poison => true,
            Ty::Weak => wanted.kind() != Kind::Bool,
            Ty::Of(found) => {
                found == wanted
                    || found.is_float() && wanted == DType::F64
                    || found == DType::I32 && wanted == DType::I64
            }
        };
        if !fits {
            let target = format!("{param}: {wanted}");
            self.errors.report(loc, Problem::AcrossKinds { target, found: found.text() });
        }
        fits.then_some(())
    }

    /// Reports a value that may be absent.
    pub(crate) fn present(&mut self, value: &Value, what: &str) {
        if !value.is_poison() && !self.proves(&value.presence) {
            self.errors.report(value.loc, Problem::MayBeAbsent { what: what.to_string() });
        }
    }

    fn slice_present(&mut self, given: TensorId, at: &[Option<Index>], param: &str, loc: Loc) {
        let shape = self.function.tensors[given].shape.clone();
        let mut inside = Formula::True;
        let mut subs = Vec::new();
        for (number, (sub, size)) in at.iter().zip(&shape).enumerate() {
            match sub {
                Some(sub) => subs.push(sub.clone()),
                None => {
                    let position = Index::axis(any_position(number));
                    inside = inside.and(Formula::within(&position, size));
                    subs.push(position);
                }
            }
        }
        let presence = self.presence_at(given, &subs);
        if !self.under(inside, |elab| elab.proves(&presence)) {
            let what = format!("a tensor passed whole (`{param}`)");
            self.errors.report(loc, Problem::MayBeAbsent { what });
        }
    }

    /// A name, or a name with some positions fixed.
    fn slice(&mut self, param: &str, expr: &Expr) -> Option<Slice> {
        self.entries_in_range(expr);
        let (base, subs) = match (&expr.kind, self.base_of(expr)) {
            (_, Some(_)) => (expr, None),
            (ExprKind::Read(base, subs), None) => (&**base, Some(subs)),
            _ => (expr, None),
        };
        let Some(Base::Tensor { id, lead }) = self.base_of(base) else {
            if matches!(base.kind, ExprKind::Name(_) | ExprKind::Member(..)) {
                self.no_base(base);
            } else {
                self.errors.report(expr.loc, Problem::NotASlice { name: param.to_string() });
            }
            return None;
        };
        let shape = self.function.tensors[id].shape.clone();
        let mut at: Vec<Option<Index>> = lead.iter().cloned().map(Some).collect();
        let rest = &shape[lead.len()..];
        let Some(subs) = subs else {
            at.extend(rest.iter().map(|_| None));
            return Some((id, at));
        };
        if subs.len() != rest.len() {
            let name = self.function.tensors[id].name.clone();
            self.errors.report(expr.loc, Problem::Rank { name, wanted: rest.len(), found: subs.len() });
            return None;
        }
        if subs.iter().any(|sub| matches!(sub, Subscript::Part(..))) {
            return self.partial_slice(param, base, subs, rest, expr.loc);
        }
        let name = self.function.tensors[id].name.clone();
        for (sub, size) in subs.iter().zip(rest) {
            match sub {
                Subscript::At(e) => {
                    let position = self.position(e)?;
                    if !self.in_range(&name, &position, size, expr.loc) {
                        return None;
                    }
                    at.push(Some(position));
                }
                Subscript::All(_) | Subscript::Part(..) => at.push(None),
            }
        }
        Some((id, at))
    }

    fn record_argument(
        &mut self,
        callee: &Callable,
        (param, fields): (&str, &[(String, TensorId)]),
        expr: &Expr,
        dims: &BTreeMap<DimId, Index>,
        built: &mut Built,
    ) -> Option<()> {
        self.entries_in_range(expr);
        let Some(Base::Record(record)) = self.base_of(expr) else { return None };
        let is_cache = self.items.caches.contains_key(&record.ty);
        let pushes = is_cache && callee.pushes.contains_key(param);
        if pushes && !self.appends(&record, self.statement, expr.loc) {
            return None;
        }
        if is_cache && !pushes && !self.known_entry(&record, expr.loc) {
            return None;
        }
        if pushes {
            self.pending_call(callee, (param, fields), record.clone(), dims);
        }
        for (suffix, _) in fields {
            let (id, at) = self.field_slice(&record, suffix)?;
            built.args.push((dotted(param, suffix), IrArg::Slice(id, at)));
        }
        Some(())
    }

    /// A tensor of a record, with the entry of the list fixed.
    pub(crate) fn field_slice(&self, record: &Record, suffix: &str) -> Option<Slice> {
        if let Some(id) = self.longer(record).and_then(|longer| longer.fields.get(suffix)) {
            return Some((*id, vec![None; self.function.tensors[*id].shape.len()]));
        }
        let id = *self.fields.get(&dotted(&record.prefix, suffix))?;
        let rank = self.function.tensors[id].shape.len();
        let mut at: Vec<Option<Index>> = record.at.iter().cloned().map(Some).collect();
        at.resize(rank, None);
        Some((id, at))
    }

    fn closure_argument(
        &mut self,
        callee: &Callable,
        id: sawmill_ir::graph::ClosureId,
        param: &str,
        arg: &Argument,
        dims: &BTreeMap<DimId, Index>,
        built: &mut Built,
    ) -> Option<()> {
        let wanted = &callee.heading.closures[id];
        let number = sawmill_ir::entity::Entity::index(id);
        let ranges =
            |range: &Option<(Index, Index)>| range.as_ref().map(|(lo, hi)| (at_dims(lo, dims), at_dims(hi, dims)));
        let given: Vec<_> = callee.given[number].iter().map(|(dtype, range)| (*dtype, ranges(range))).collect();
        let closure = match arg {
            Argument::Closure(closure) => self.closure(closure, param, &given, wanted.result)?,
            Argument::Expr(expr) => self.passed_closure(expr, param, &given, wanted.result)?,
        };
        built.args.push((param.to_string(), IrArg::Closure(closure)));
        Some(())
    }

    fn requirements_follow(&mut self, callee: &Callable, name: &Name, dims: &BTreeMap<DimId, Index>) {
        for require in &callee.heading.requires {
            let (formula, text) = match require {
                Require::Equal(a, b) => {
                    let shown = format!("{} == {}", show::index(&callee.heading, a), show::index(&callee.heading, b));
                    (Formula::eq(&self.canon(&at_dims(a, dims)), &self.canon(&at_dims(b, dims))), shown)
                }
                Require::NonNegative(p) => {
                    let shown = show::formula(&callee.heading, &[], &Formula::NonNegative(p.clone()));
                    (Formula::le(&0.into(), &self.canon(&at_dims(p, dims))), shown)
                }
            };
            if !self.proves(&formula) {
                let problem = Problem::Requirement { function: name.text.clone(), requirement: text };
                self.errors.report(name.loc(), problem);
            }
        }
    }
}

/// The name of a tensor in what is called `prefix`; a tensor of a list has no name behind it.
pub(crate) fn dotted(prefix: &str, suffix: &str) -> String {
    if suffix.is_empty() { prefix.to_string() } else { format!("{prefix}.{suffix}") }
}

/// A size of the callee in terms of the caller.
pub(crate) fn at_dims(size: &Index, dims: &BTreeMap<DimId, Index>) -> Index {
    size.substitute(&mut |atom| match atom {
        Atom::Dim(dim) => dims.get(dim).cloned(),
        _ => None,
    })
}
