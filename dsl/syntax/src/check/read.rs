//! Reads: what a name with members and brackets refers to, and whether its subscripts stay in range.

use super::elab::Elab;
use super::formula::Formula;
use super::items::computes_in;
use super::scope::{Binding, Record, similar};
use super::show;
use super::value::{Ty, Value};
use crate::ast::{Expr, ExprKind, Name, Subscript, Type};
use crate::errors::{Loc, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::Op;
use sawmill_ir::index::{Atom, Index, TensorId};

/// What stands before the last bracket.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    /// A tensor, with positions already fixed (which entry of a list).
    Tensor {
        /// Which tensor.
        id: TensorId,
        /// The fixed leading positions.
        lead: Vec<Index>,
    },
    /// A struct or cache.
    Record(Record),
    /// The length of a cache.
    Length(Index),
}

impl Elab<'_> {
    /// What a name, a member or an entry of a list refers to. Reports nothing.
    pub(crate) fn base_of(&self, expr: &Expr) -> Option<Base> {
        match &expr.kind {
            ExprKind::Name(name) => match &self.scope.get(&name.text)?.binding {
                Binding::Tensor(id) => Some(Base::Tensor { id: *id, lead: Vec::new() }),
                Binding::Record(record) => Some(Base::Record(record.clone())),
                _ => None,
            },
            ExprKind::Capture(number) => {
                let id = self.captures.get(*number as usize)?;
                Some(Base::Tensor { id: *id, lead: Vec::new() })
            }
            ExprKind::Member(inner, name) => match self.base_of(inner)? {
                Base::Record(record) if !record.is_list() => self.member(&record, &name.text),
                _ => None,
            },
            ExprKind::Read(inner, subs) => match (self.base_of(inner)?, subs.as_slice()) {
                (Base::Record(mut record), [Subscript::At(at)]) if record.is_list() => {
                    record.at.push(self.exact_of(at)?);
                    record.lens.remove(0);
                    let tensor = self.fields.get(&record.prefix).filter(|_| !record.is_list());
                    Some(match tensor {
                        Some(id) => Base::Tensor { id: *id, lead: record.at },
                        None => Base::Record(record),
                    })
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn member(&self, record: &Record, name: &str) -> Option<Base> {
        if name == "len" && self.items.caches.contains_key(&record.ty) {
            let longer = self.longer(record).map(|longer| &longer.length);
            return longer.or_else(|| self.lengths.get(&record.prefix)).cloned().map(Base::Length);
        }
        if let Some(id) = self.longer(record).and_then(|longer| longer.fields.get(name)) {
            return Some(Base::Tensor { id: *id, lead: Vec::new() });
        }
        let prefix = format!("{}.{name}", record.prefix);
        let fields = &self.items.structs.get(&record.ty).map(|declared| &declared.fields);
        let declared = fields.and_then(|fields| fields.iter().find(|field| field.name.text == name));
        let (ty, lengths) = declared.map_or((None, 0), |field| {
            let (ty, lengths) = field.ty.innermost();
            (Some(ty), lengths.len())
        });
        if let (Some(id), 0) = (self.fields.get(&prefix), lengths) {
            return Some(Base::Tensor { id: *id, lead: record.at.clone() });
        }
        let ty = match ty? {
            Type::Record { name, .. } => name.text.clone(),
            Type::Tensor { .. } if lengths > 0 => String::new(),
            Type::Tensor { .. } | Type::List { .. } => return None,
        };
        let lens = self.lengths_of(&prefix, record.at.len())?.into_iter().take(lengths).collect();
        Some(Base::Record(Record { prefix, ty, at: record.at.clone(), lens }))
    }

    /// The sizes of the tensors at or in `prefix` behind the first `fixed` ones: those of lists come first.
    fn lengths_of(&self, prefix: &str, fixed: usize) -> Option<Vec<Index>> {
        let inside = format!("{prefix}.");
        let among = || self.fields.range(inside.clone()..).next().filter(|(name, _)| name.starts_with(&inside));
        let id = self.fields.get(prefix).or_else(|| among().map(|(_, id)| id))?;
        Some(self.function.tensors[*id].shape.get(fixed..)?.to_vec())
    }

    /// The sizes of what stands before a bracket. Reports nothing.
    pub(crate) fn base_shape(&self, base: &Expr) -> Option<Vec<Index>> {
        match &base.kind {
            ExprKind::List(parts) => Some(vec![Index::int(i64::try_from(parts.len()).ok()?)]),
            ExprKind::Call(..) => self.output_shape(base, None),
            ExprKind::Member(call, output) if matches!(call.kind, ExprKind::Call(..)) => {
                self.output_shape(call, Some(output))
            }
            _ => match self.base_of(base)? {
                Base::Tensor { id, lead } => Some(self.function.tensors[id].shape[lead.len()..].to_vec()),
                _ => None,
            },
        }
    }

    /// The sizes of the axes that an expression leaves open: none for a number. Reports nothing.
    pub(crate) fn open_shape(&self, expr: &Expr) -> Option<Vec<Index>> {
        let ExprKind::Read(base, subs) = &expr.kind else { return self.base_shape(expr) };
        match self.base_of(expr) {
            Some(Base::Record(_)) => return None,
            Some(Base::Tensor { .. }) => return self.base_shape(expr),
            Some(Base::Length(_)) | None => {}
        }
        let shape = self.base_shape(base)?;
        if shape.len() != subs.len() {
            return None;
        }
        let mut open = Vec::new();
        for (sub, size) in subs.iter().zip(shape) {
            match sub {
                Subscript::At(_) => {}
                Subscript::All(_) => open.push(size),
                Subscript::Part(lo, hi, _) => {
                    let lo = lo.as_ref().map_or(Some(Index::int(0)), |e| self.exact_of(e))?;
                    let hi = hi.as_ref().map_or(Some(size), |e| self.exact_of(e))?;
                    open.push(hi.sub(&lo));
                }
            }
        }
        Some(open)
    }

    /// One element: a name, a member or a read.
    pub(crate) fn element_of(&mut self, expr: &Expr) -> Value {
        self.entries_in_range(expr);
        match self.base_of(expr) {
            Some(Base::Length(length)) => return Value::weak(expr.loc, length),
            Some(Base::Tensor { id, lead }) => return self.whole(expr, id, &lead),
            Some(Base::Record(record)) => {
                let is = if record.is_list() { "a list" } else { "a struct" };
                return self.poison(expr.loc, not_a(&record.prefix, is, "a number", "read one of its fields"));
            }
            None => {}
        }
        match &expr.kind {
            ExprKind::Read(base, subs) => self.bracket(expr, base, subs),
            ExprKind::Member(call, output) if matches!(call.kind, ExprKind::Call(..)) => {
                self.call_element(call, Some(output), &[], expr.loc)
            }
            ExprKind::Name(name) => self.named(name),
            _ => self.no_base(expr),
        }
    }

    fn whole(&mut self, expr: &Expr, id: TensorId, lead: &[Index]) -> Value {
        let rank = self.function.tensors[id].shape.len() - lead.len();
        if rank > 0 {
            return self.poison(expr.loc, Problem::TensorValue { rank });
        }
        self.element_at(id, lead, lead.len(), expr.loc)
    }

    fn named(&mut self, name: &Name) -> Value {
        let loc = name.loc();
        match self.scope.get(&name.text).map(|entry| entry.binding.clone()) {
            Some(Binding::Exact(index)) => Value::weak(loc, index),
            Some(Binding::Dim(dim)) => Value::weak(loc, Index::dim(dim)),
            Some(Binding::Given(number, dtype)) => {
                let term = self.term(Op::ClosureParam(number), Vec::new(), dtype);
                let index = dtype.is_int().then(|| Index::atom(Atom::Param(number)));
                Value { index, ..Value::of(loc, Ty::Of(dtype), term) }
            }
            Some(Binding::Poison) => Value::poison(loc),
            Some(Binding::Open) => {
                let help = "assign the output above this line";
                self.poison(loc, not_a(&name.text, "an output that is not assigned yet", "a value", help))
            }
            Some(Binding::Closure(_)) => {
                let help = format!("apply it: `{}(..)`", name.text);
                self.poison(loc, not_a(&name.text, "a closure", "a value", &help))
            }
            Some(Binding::TypeParam(_) | Binding::Elem(_)) => {
                self.poison(loc, not_a(&name.text, "a type", "a value", ""))
            }
            Some(Binding::Tensor(_) | Binding::Record(_)) => Value::poison(loc),
            None => self.unknown_value(name),
        }
    }

    fn unknown_value(&mut self, name: &Name) -> Value {
        let mut help = similar(&name.text, self.scope.names());
        if help.is_empty() && name.text.chars().count() <= 2 {
            help = format!("an index is bound on the left side or by a reduction: `sum[{}](..)`", name.text);
        }
        self.poison(name.loc(), Problem::Unknown { what: "name".into(), name: name.text.clone(), help })
    }

    fn bracket(&mut self, expr: &Expr, base: &Expr, subs: &[Subscript]) -> Value {
        if let Some(split) = split_conditional(expr, base, subs) {
            return self.value(&split);
        }
        match &base.kind {
            ExprKind::Call(..) => return self.call_element(base, None, subs, expr.loc),
            ExprKind::Member(call, output) if matches!(call.kind, ExprKind::Call(..)) => {
                return self.call_element(call, Some(output), subs, expr.loc);
            }
            ExprKind::List(parts) => return self.literal(parts, subs, expr.loc),
            _ => {}
        }
        match self.base_of(base) {
            Some(Base::Tensor { id, mut lead }) => {
                let fixed = lead.len();
                let (name, rank) =
                    (self.function.tensors[id].name.clone(), self.function.tensors[id].shape.len() - fixed);
                let each = self.row_fields.get(&id).copied();
                let rank = if each.is_some() { 1 } else { rank };
                if subs.len() != rank {
                    return self.poison(expr.loc, Problem::Rank { name, wanted: rank, found: subs.len() });
                }
                match self.subscripts(subs) {
                    Some(at) => lead.extend(at),
                    None => return Value::poison(expr.loc),
                }
                if let (Some(each), [at]) = (each, lead.as_slice()) {
                    let each = Index::int(each);
                    lead = vec![at.div(&each), at.rem(&each)];
                }
                self.element_at(id, &lead, fixed, expr.loc)
            }
            Some(Base::Record(record)) if record.is_list() => {
                let help = "an entry of a list is chosen by one index: `w.layers[l]`";
                self.poison(expr.loc, not_a(&record.prefix, "a list", "a tensor", help))
            }
            Some(Base::Record(record)) => {
                self.poison(expr.loc, not_a(&record.prefix, "a struct", "a tensor", "read one of its fields"))
            }
            Some(Base::Length(_)) => self.poison(expr.loc, not_a("len", "a number", "a tensor", "")),
            None => self.no_base(base),
        }
    }

    /// Reports why there is nothing to read from.
    pub(crate) fn no_base(&mut self, base: &Expr) -> Value {
        match &base.kind {
            ExprKind::Name(name) => {
                let value = self.named(name);
                if value.is_poison() {
                    return value;
                }
                let is = self.scope.get(&name.text).map_or("a value", |entry| entry.role.text());
                self.poison(base.loc, not_a(&name.text, is, "a tensor", "only tensors have subscripts"))
            }
            ExprKind::Member(inner, name) => match self.base_of(inner) {
                Some(Base::Record(record)) if record.is_list() => {
                    let help = format!("choose an entry first: `{}[l].{}`", record.prefix, name.text);
                    let of = format!("the list `{}`", record.prefix);
                    self.poison(name.loc(), Problem::NoMember { of, name: name.text.clone(), help })
                }
                Some(Base::Record(record)) => {
                    let help = similar(&name.text, self.field_names(&record.ty).iter().map(String::as_str));
                    let of = format!("`{}`", record.ty);
                    self.poison(name.loc(), Problem::NoMember { of, name: name.text.clone(), help })
                }
                Some(_) => {
                    let of = "a tensor".to_string();
                    let help = "members belong to structs, caches and calls with several outputs".to_string();
                    self.poison(name.loc(), Problem::NoMember { of, name: name.text.clone(), help })
                }
                None => self.no_base(inner),
            },
            ExprKind::Read(inner, subs) => {
                let subs = self.subscripts(subs);
                match (self.base_of(inner), subs) {
                    (None, _) => self.no_base(inner),
                    (Some(_), None) => Value::poison(base.loc),
                    (Some(_), Some(_)) => {
                        let what = "a second bracket, or an entry chosen by a computed index,".to_string();
                        self.poison(base.loc, Problem::NotBuilt { what })
                    }
                }
            }
            _ => {
                let help = "define it first: `let t[i] = ..;`".to_string();
                let found = "an expression".to_string();
                self.poison(base.loc, Problem::Expected { what: "a tensor before `[`".into(), found, help })
            }
        }
    }

    fn field_names(&self, ty: &str) -> Vec<String> {
        let of_struct = self.items.structs.get(ty).map(|s| &s.fields);
        let fields = of_struct.or_else(|| self.items.caches.get(ty).map(|c| &c.fields));
        fields.into_iter().flatten().map(|field| field.name.text.clone()).collect()
    }

    /// Entries of lists on the way to a tensor are in range.
    pub(crate) fn entries_in_range(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Member(inner, _) => {
                if let Some(Base::Record(record)) = self.base_of(inner) {
                    self.known_entry(&record, expr.loc);
                }
                self.entries_in_range(inner);
            }
            ExprKind::Read(inner, subs) => {
                if let (Some(Base::Record(record)), [Subscript::At(at)]) = (self.base_of(inner), subs.as_slice())
                    && let (Some(len), Some(at)) = (record.lens.first(), self.exact_of(at))
                {
                    self.in_range(&record.prefix, &at, len, expr.loc);
                }
                self.entries_in_range(inner);
            }
            _ => {}
        }
    }

    /// The exact positions of subscripts; what is no polynomial is computed into a tensor of its own.
    pub(crate) fn subscripts(&mut self, subs: &[Subscript]) -> Option<Vec<Index>> {
        let at: Vec<Option<Index>> = subs.iter().map(|sub| self.subscript(sub)).collect();
        at.into_iter().collect()
    }

    fn subscript(&mut self, sub: &Subscript) -> Option<Index> {
        match sub {
            Subscript::At(expr) => self.position(expr),
            Subscript::All(loc) | Subscript::Part(_, _, loc) => {
                self.errors.report(*loc, Problem::SliceValue);
                None
            }
        }
    }

    /// The exact integer of a subscript.
    pub(crate) fn position(&mut self, expr: &Expr) -> Option<Index> {
        let value = self.value(expr);
        if value.is_poison() {
            return None;
        }
        if !value.ty.is_int() {
            self.errors.report(expr.loc, Problem::NotAnInteger { found: value.ty.text() });
            return None;
        }
        if !self.proves(&value.presence) {
            self.errors.report(expr.loc, Problem::MayBeAbsent { what: "a subscript".into() });
            return None;
        }
        match value.index {
            Some(index) => Some(index),
            None if self.in_closure => Some(self.bound_position(&value, expr)),
            None => self.hoisted(expr),
        }
    }

    /// One element at known positions; the first `fixed` of them are checked already.
    pub(crate) fn element_at(&mut self, id: TensorId, subs: &[Index], fixed: usize, loc: Loc) -> Value {
        let tensor = &self.function.tensors[id];
        let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
        let dtype = computes_in(&self.function, &tensor.elem);
        let at: Vec<Option<Index>> = subs.iter().cloned().map(Some).collect();
        if !self.own_step(id, &at, loc) {
            return Value::poison(loc);
        }
        let mut guard = Formula::True;
        for (at, size) in subs.iter().zip(&shape).skip(fixed) {
            let inside = Formula::within(&self.canon(at), &self.canon(size));
            if self.proves(&inside) {
                continue;
            }
            if self.guarded {
                guard = guard.and(inside);
            } else if !self.in_range(&name, at, size, loc) {
                return Value::poison(loc);
            }
        }
        let guarded = guard != Formula::True;
        let presence = guard.and(self.presence_at(id, subs));
        let presence = if self.proves(&presence) { Formula::True } else { presence };
        let term = self.term(Op::Read { tensor: id, subs: subs.to_vec(), guarded }, Vec::new(), dtype);
        let mut value = Value::of(loc, Ty::Of(dtype), term).present(presence);
        if !guarded {
            value.index = self.exact_read(id, subs.to_vec());
        }
        value
    }

    /// Reports a position that may leave `0..size`.
    pub(crate) fn in_range(&mut self, name: &str, at: &Index, size: &Index, loc: Loc) -> bool {
        let low = Formula::le(&Index::int(0), at);
        let high = Formula::lt(at, size);
        let failed = if !self.proves(&low) {
            format!("{} >= 0", self.show(at))
        } else if !self.proves(&high) {
            match &high {
                Formula::False => format!("{} < {}", self.show(at), self.show(size)),
                other => show::formula(&self.function, &self.params_around, other),
            }
        } else {
            return true;
        };
        let (at, size) = (self.show(at), self.show(size));
        self.errors.report(loc, Problem::OutOfRange { tensor: name.to_string(), at, size, failed });
        false
    }

    /// `[a, b, c][i]`
    fn literal(&mut self, parts: &[Expr], subs: &[Subscript], loc: Loc) -> Value {
        if subs.len() != 1 {
            return self.poison(loc, Problem::Rank { name: "[..]".into(), wanted: 1, found: subs.len() });
        }
        let Some(at) = self.subscripts(subs).and_then(|at| at.into_iter().next()) else { return Value::poison(loc) };
        let size = Index::int(i64::try_from(parts.len()).expect("invariant: a literal is short"));
        let values: Vec<Value> = parts.iter().map(|part| self.value(part)).collect();
        if let Some(open) =
            values.iter().find(|v| v.float.is_none() && v.index.as_ref().and_then(Index::as_int).is_none())
        {
            let loc = open.loc;
            return if open.is_poison() { Value::poison(loc) } else { self.poison(loc, Problem::NotConstant) };
        }
        if !self.in_range("[..]", &at, &size, loc) {
            return Value::poison(loc);
        }
        let integers = values.iter().all(|v| v.float.is_none());
        let dtype = if integers { DType::I64 } else { DType::F32 };
        let mut terms: Vec<_> = values.iter().map(|v| self.as_type(v, dtype)).collect();
        let mut chosen = terms.pop().expect("invariant: a literal that is in range has an element");
        let position = self.exact(&at, DType::I64);
        for (number, term) in terms.into_iter().enumerate().rev() {
            let number =
                self.exact(&Index::int(i64::try_from(number).expect("invariant: a literal is short")), DType::I64);
            let here = self.elem(ElemOp::Eq, vec![position, number], DType::Bool);
            chosen = self.elem(ElemOp::Select, vec![here, term, chosen], dtype);
        }
        Value::of(loc, Ty::Of(dtype), chosen)
    }
}

/// `x[if c { a } else { b }]` is `if c { x[a] } else { x[b] }`, so that each branch is proved under its own condition.
fn split_conditional(expr: &Expr, base: &Expr, subs: &[Subscript]) -> Option<Expr> {
    let at = subs.iter().position(|sub| matches!(sub, Subscript::At(Expr { kind: ExprKind::If { .. }, .. })))?;
    let Subscript::At(Expr { kind: ExprKind::If { cond, then, other }, .. }) = &subs[at] else { return None };
    let with = |branch: &Expr| {
        let mut subs = subs.to_vec();
        subs[at] = Subscript::At(branch.clone());
        Box::new(Expr { loc: expr.loc, kind: ExprKind::Read(Box::new(base.clone()), subs) })
    };
    let kind = ExprKind::If { cond: cond.clone(), then: with(then), other: with(other) };
    Some(Expr { loc: expr.loc, kind })
}

fn not_a(name: &str, is: &str, wanted: &str, help: &str) -> Problem {
    Problem::NotA { name: name.into(), is: is.into(), wanted: wanted.into(), help: help.into() }
}
