//! Checks the structural rules of graph IR.
//!
//! In: a module as lowered ([`verify`]), or one linked function ([`verify_linked`]). Out: every broken rule, with the entity
//! that breaks it. What it establishes, later passes rely on: operands come before users; types follow the tables; an axis is
//! bound in one place and used in its scope; reads have one subscript per dimension; a statement reads only what is defined
//! before it; carries, appends and folds are well formed; a linked function has no call, closure, format or type parameter.
//! Presence and ranges need proofs and are not checked here. Signatures and statements are here, terms in `terms`.

mod terms;
#[cfg(test)]
mod tests;

use super::typing::read_dtype;
use super::{
    Carry, DimKind, Elem, Format, Function, Input, Loop, Module, Param, Require, Stmt, Tensor, TensorKind, TermId,
};
use crate::dtype::{DType, Kind};
use crate::entity::Entity;
use crate::error::VerifyError;
use crate::index::{Atom, AxisId, Index, TensorId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use terms::TermFacts;

/// Checks a module as lowered.
///
/// # Errors
/// Every broken rule.
pub fn verify(module: &Module) -> Result<(), Vec<VerifyError>> {
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    for function in &module.functions {
        if !names.insert(&function.name) {
            errors.push(error(function, "fn", format!("`{}` is defined twice", function.name)));
        }
        errors.extend(Verifier::check(function, Form::Lowered));
    }
    let mut names = BTreeSet::new();
    for format in &module.formats {
        if !names.insert(&format.name) {
            errors.push(error(&format.value, "format", format!("`{}` is defined twice", format.name)));
        }
        errors.extend(Verifier::check(&format.value, Form::Lowered));
        errors.extend(check_format(format).err().map(|message| error(&format.value, "format", message)));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Checks a linked function, before or after optimisation.
///
/// # Errors
/// Every broken rule.
pub fn verify_linked(function: &Function) -> Result<(), Vec<VerifyError>> {
    let errors = Verifier::check(function, Form::Linked);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn error(function: &Function, entity: impl Display, message: impl Into<String>) -> VerifyError {
    VerifyError { function: function.name.clone(), entity: entity.to_string(), message: message.into() }
}

/// A format has one dim, fields over it, and one output over one axis of that size.
fn check_format(format: &Format) -> Result<(), String> {
    let value = &format.value;
    if format.record_values == 0 {
        return Err("a record holds at least one value".to_owned());
    }
    if value.dims.len() != 1 || !value.closures.is_empty() || !value.type_params.is_empty() {
        return Err("a format has one dim, and neither closures nor type parameters".to_owned());
    }
    let row = Index::dim(crate::index::DimId::new(0));
    match value.outputs.as_slice() {
        [output] if value.tensors[*output].shape == [row] => {}
        _ => return Err("a format has one output over its dim".to_owned()),
    }
    let records = Index::dim(crate::index::DimId::new(0)).div(&Index::int(i64::from(format.record_values)));
    for tensor in value.tensors.values() {
        let field = matches!(tensor.kind, TensorKind::Input(_));
        if field && !tensor.shape.is_empty() && tensor.shape[0] != records {
            return Err(format!("the first axis of the field `{}` does not count records", tensor.name));
        }
        if field && (tensor.shape.is_empty() || !matches!(tensor.elem, Elem::Type(_))) {
            return Err(format!("the field `{}` needs a plain type and an axis", tensor.name));
        }
    }
    Ok(())
}

/// Which rules hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Lowered,
    Linked,
}

struct Verifier<'a> {
    function: &'a Function,
    form: Form,
    errors: Vec<VerifyError>,
    facts: Vec<TermFacts>,
    /// Tensors that may be read at this place of the body.
    readable: BTreeSet<TensorId>,
    /// Axes of the loops around, outermost first.
    loops: Vec<AxisId>,
    /// Where each axis is bound.
    bound: BTreeMap<AxisId, String>,
    defined: BTreeSet<TensorId>,
}

impl<'a> Verifier<'a> {
    fn check(function: &'a Function, form: Form) -> Vec<VerifyError> {
        let mut verifier = Self {
            function,
            form,
            errors: Vec::new(),
            facts: Vec::new(),
            readable: BTreeSet::new(),
            loops: Vec::new(),
            bound: BTreeMap::new(),
            defined: BTreeSet::new(),
        };
        verifier.facts = terms::facts(&mut verifier);
        // Everything below follows term and tensor ids: with a dangling one there is nothing to follow.
        if verifier.errors.is_empty() && verifier.ids_exist() {
            verifier.signature();
            verifier.stmts(&function.body);
            verifier.outputs();
        }
        verifier.errors
    }
    fn fail(&mut self, entity: impl Display, message: impl Into<String>) {
        self.errors.push(error(self.function, entity, message));
    }
    fn require(&mut self, holds: bool, entity: impl Display, message: impl FnOnce() -> String) {
        if !holds {
            self.fail(entity, message());
        }
    }
    /// Entities of tensors, statements and outputs are in their arenas.
    fn ids_exist(&mut self) -> bool {
        let function = self.function;
        for (id, tensor) in function.tensors.iter() {
            let (axes, terms, tensors): (&[AxisId], Option<TermId>, Option<TensorId>) = match &tensor.kind {
                TensorKind::Input(input) => (&[], input.default, None),
                TensorKind::Def { axes, value, .. } => (axes, Some(*value), None),
                TensorKind::Append { base, axes, value, .. } => (axes, Some(*value), Some(*base)),
                TensorKind::Carry | TensorKind::Final => (&[], None, None),
            };
            let known = axes.iter().all(|a| function.axes.get(*a).is_some())
                && terms.is_none_or(|t| function.terms.get(t).is_some())
                && tensors.is_none_or(|t| function.tensors.get(t).is_some());
            self.require(known, id, || "it names an entity that the function does not have".to_owned());
        }
        let mut tensors = function.outputs.clone();
        let mut axes = Vec::new();
        collect_ids(&function.body, &mut tensors, &mut axes);
        tensors.extend(function.params.iter().filter_map(|p| if let Param::Tensor(t) = p { Some(*t) } else { None }));
        for tensor in tensors {
            self.require(function.tensors.get(tensor).is_some(), tensor, || "there is no such tensor".to_owned());
        }
        for axis in axes {
            self.require(function.axes.get(axis).is_some(), axis, || "there is no such axis".to_owned());
        }
        self.errors.is_empty()
    }

    fn signature(&mut self) {
        let function = self.function;
        for (id, dim) in function.dims.iter() {
            let positive = !matches!(dim.kind, DimKind::Const(Some(value)) if value < 0);
            self.require(positive, id, || format!("the size `{}` is negative", dim.name));
        }
        if self.form == Form::Linked {
            self.require(function.type_params.is_empty(), "fn", || {
                "a linked function has no type parameters".to_owned()
            });
            self.require(function.closures.is_empty(), "fn", || "a linked function has no closures".to_owned());
        }
        self.params();
        for require in &function.requires {
            let sides = match require {
                Require::Equal(a, b) => vec![a, b],
                Require::NonNegative(a) => vec![a],
            };
            sides.into_iter().for_each(|side| self.index("where", side, &BTreeSet::new(), true));
        }
        for (id, closure) in function.closures.iter() {
            let Some(default) = &closure.default else { continue };
            let facts = &self.facts[default.body.index()];
            let fits = facts.params.iter().all(|(at, dtype)| {
                closure.params.get(*at as usize).is_some_and(|p| dtype.is_none_or(|d| d == p.widened()))
            });
            let named = default.params.len() == closure.params.len() && default.outer == 0;
            let result = function.terms[default.body].dtype == closure.result.widened();
            let closed = facts.axes.is_empty();
            self.require(named && fits, id, || "the default's parameters are not the closure's".to_owned());
            self.require(result, id, || format!("the default does not give {}", closure.result));
            self.require(closed, id, || "the default reads an axis".to_owned());
            self.reads_are_readable(id, default.body);
        }
    }
    fn params(&mut self) {
        let function = self.function;
        let mut names = BTreeSet::new();
        let mut closures = BTreeSet::new();
        for param in &function.params {
            match param {
                Param::Tensor(id) => {
                    let tensor = &function.tensors[*id];
                    match &tensor.kind {
                        TensorKind::Input(input) => self.input(*id, tensor, input),
                        _ => self.fail(id, "a parameter is not an argument"),
                    }
                    let once = self.readable.insert(*id);
                    self.require(once, id, || "an argument occurs twice".to_owned());
                    let fresh = names.insert(&tensor.name);
                    self.require(fresh, id, || format!("two arguments are called `{}`", tensor.name));
                }
                Param::Closure(id) => {
                    let once = function.closures.get(*id).is_some() && closures.insert(*id);
                    self.require(once, id, || "an unknown closure, or one that occurs twice".to_owned());
                }
            }
        }
        let missing = |(id, tensor): (TensorId, &Tensor)| {
            (matches!(tensor.kind, TensorKind::Input(_)) && !self.readable.contains(&id)).then_some(id)
        };
        let missing: Vec<TensorId> = function.tensors.iter().filter_map(missing).collect();
        missing.into_iter().for_each(|id| self.fail(id, "an argument is not in the signature"));
        self.require(closures.len() == function.closures.len(), "fn", || {
            "a closure is not in the signature".to_owned()
        });
    }
    fn input(&mut self, id: TensorId, tensor: &Tensor, input: &Input) {
        self.elem(id, &tensor.elem);
        let none = BTreeSet::new();
        tensor.shape.iter().for_each(|size| self.index(id, size, &none, true));
        let rank = tensor.shape.len();
        let first = input.lists;
        self.require(first as usize <= rank, id, || "a list has a length".to_owned());
        let grows = input.grows.is_none_or(|dim| dim >= first && (dim as usize) < rank);
        self.require(grows, id, || "it grows along a dimension that it does not have".to_owned());
        if let Some((low, high)) = &input.promise {
            let int = !matches!(&tensor.elem, Elem::Type(t) if !t.is_int());
            self.require(int, id, || "only integers are promised a range".to_owned());
            self.index(id, low, &none, true);
            self.index(id, high, &none, true);
        }
        if let Some(default) = input.default {
            let dtype = self.function.terms[default].dtype;
            let fits = same_kind(dtype, read_dtype(self.function, &tensor.elem));
            self.require(fits, id, || format!("the default is of type {dtype}"));
            let closed = self.facts[default.index()].axes.is_empty() && self.facts[default.index()].params.is_empty();
            self.require(closed, id, || "the default reads an axis".to_owned());
            self.reads_are_readable(id, default);
        }
        if let Some(field) = &input.field {
            let inside = (field.record_dim as usize) < rank && field.offset < field.record;
            self.require(inside, id, || "the field lies outside of its record".to_owned());
        }
    }
    fn elem(&mut self, entity: impl Display, elem: &Elem) {
        let fits = match elem {
            Elem::Type(_) => true,
            Elem::Param(at) => self.form == Form::Lowered && (*at as usize) < self.function.type_params.len(),
            Elem::Format(_) => self.form == Form::Lowered,
        };
        self.require(fits, entity, || format!("an element type {elem:?} is not known here"));
    }
    /// Axes are in `scope`, tensors readable (if `reads`), ranks right.
    fn index(&mut self, entity: impl Display + Copy, index: &Index, scope: &BTreeSet<AxisId>, reads: bool) {
        let mut broken = Vec::new();
        index.for_each_atom(&mut |atom| match atom {
            Atom::Axis(axis) if !scope.contains(axis) => broken.push(format!("{axis} is not in scope")),
            Atom::Dim(dim) if self.function.dims.get(*dim).is_none() => broken.push(format!("there is no dim {dim}")),
            Atom::Read(tensor, _) if reads && !self.readable.contains(tensor) => {
                broken.push(format!("{tensor} is not defined before"));
            }
            Atom::Param(_) => broken.push("a parameter of a closure stands outside of one".to_owned()),
            _ => {}
        });
        broken.extend(terms::index_ranks(self.function, index));
        broken.into_iter().for_each(|message| self.fail(entity, message));
    }
    /// What `term` reads, at any depth, is defined before.
    fn reads_are_readable(&mut self, entity: impl Display + Copy, term: TermId) {
        let missing: Vec<TensorId> = self.facts[term.index()].reads.difference(&self.readable).copied().collect();
        missing.into_iter().for_each(|t| self.fail(entity, format!("it reads {t}, which is not defined before")));
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Define(id) => self.define(*id),
                Stmt::Loop(steps) => self.steps(steps),
            }
        }
    }
    fn define(&mut self, id: TensorId) {
        let tensor = &self.function.tensors[id];
        let once = self.defined.insert(id);
        self.require(once, id, || format!("`{}` is defined twice", tensor.name));
        match &tensor.kind {
            TensorKind::Def { axes, value, rounded } => {
                self.value(id, axes, *value);
                self.def_elem(id, tensor, *value, *rounded);
                let extents: Vec<&Index> = axes.iter().map(|a| &self.function.axes[*a].extent).collect();
                let same = extents.into_iter().eq(&tensor.shape);
                self.require(same, id, || "its shape is not the extents of its axes".to_owned());
            }
            TensorKind::Append { .. } => self.append(id, tensor),
            _ => self.fail(id, "only definitions and appends stand in a body"),
        }
        self.readable.insert(id);
    }
    fn value(&mut self, id: TensorId, axes: &[AxisId], value: TermId) {
        let mut scope: BTreeSet<AxisId> = self.loops.iter().copied().collect();
        for axis in axes {
            let extent = self.function.axes[*axis].extent.clone();
            self.index(id, &extent, &scope, true);
            if !self.loops.contains(axis) {
                self.bind(*axis, id);
            }
            scope.insert(*axis);
        }
        let distinct = axes.iter().collect::<BTreeSet<_>>().len() == axes.len();
        self.require(distinct, id, || "an axis occurs twice".to_owned());
        let facts = &self.facts[value.index()];
        let open: Vec<AxisId> = facts.axes.difference(&scope).copied().collect();
        let (in_fold, in_closure) = (facts.running.is_empty(), facts.params.is_empty());
        open.into_iter().for_each(|a| self.fail(id, format!("{a} is free in its value")));
        self.require(in_fold, id, || "`new` or `old` outside of a fold".to_owned());
        self.require(in_closure, id, || "a parameter of a closure stands outside of one".to_owned());
        self.reads_are_readable(id, value);
        self.bind_inside(value);
    }
    /// Notes the axes that terms under `value` bind, each term once.
    fn bind_inside(&mut self, value: TermId) {
        let mut work = vec![value];
        let mut seen = BTreeSet::new();
        while let Some(id) = work.pop() {
            if !seen.insert(id) {
                continue;
            }
            let term = &self.function.terms[id];
            term.op.binds().iter().for_each(|axis| self.bind(*axis, id));
            work.extend(&term.args);
            term.op.for_each_closure(&mut |closure| work.push(closure.body));
        }
    }
    fn bind(&mut self, axis: AxisId, by: impl Display) {
        let by = by.to_string();
        match self.bound.insert(axis, by.clone()) {
            Some(before) if before != by => self.fail(axis, format!("it is bound by {before} and by {by}")),
            _ => {}
        }
    }
    fn def_elem(&mut self, id: TensorId, tensor: &Tensor, value: TermId, rounded: bool) {
        self.elem(id, &tensor.elem);
        let dtype = self.function.terms[value].dtype;
        let stored = rounded || self.function.outputs.contains(&id);
        match &tensor.elem {
            Elem::Type(elem) => {
                let fits = if stored { same_kind(dtype, elem.widened()) } else { *elem == dtype };
                self.require(fits, id, || format!("a value of type {dtype} in {elem}"));
            }
            Elem::Param(_) => {
                let fits = stored && same_kind(dtype, read_dtype(self.function, &tensor.elem));
                self.require(fits, id, || format!("a value of type {dtype} in an element type parameter"));
            }
            Elem::Format(name) => self.fail(id, format!("a definition is not packed as `{name}`")),
        }
    }
    fn append(&mut self, id: TensorId, tensor: &Tensor) {
        let TensorKind::Append { base, at, dim, axes, value } = &tensor.kind else { return };
        let function = self.function;
        self.value(id, axes, *value);
        let scope: BTreeSet<AxisId> = self.loops.iter().copied().collect();
        at.iter().for_each(|sub| self.index(id, sub, &scope, true));
        self.require(self.readable.contains(base), id, || format!("it appends to {base}, which is not defined before"));
        let base = &function.tensors[*base];
        let (lists, grows) = match &base.kind {
            TensorKind::Input(input) => (input.lists, input.grows.map(|d| d.saturating_sub(input.lists))),
            TensorKind::Append { dim, .. } => (0, Some(*dim)),
            _ => (0, None),
        };
        self.require(grows == Some(*dim), id, || format!("`{}` does not grow along dimension {dim}", base.name));
        self.require(at.len() == lists as usize, id, || {
            "an element of a list is one index, a lone cache none".to_owned()
        });
        self.require(tensor.elem == base.elem, id, || "the element type is not the cache's".to_owned());
        let dtype = function.terms[*value].dtype;
        let fits = same_kind(dtype, read_dtype(function, &base.elem));
        self.require(fits, id, || format!("a value of type {dtype} is appended"));
        let slab: Vec<Index> = axes.iter().map(|a| function.axes[*a].extent.clone()).collect();
        let mut grown = base.shape.get(at.len()..).unwrap_or_default().to_vec();
        let same_rank = slab.len() == grown.len() && (*dim as usize) < grown.len();
        self.require(same_rank, id, || "the slab's rank is not the cache's".to_owned());
        if same_rank {
            let others = (0..slab.len()).all(|d| d == *dim as usize || slab[d] == grown[d]);
            self.require(others, id, || "the slab's other sizes are not the cache's".to_owned());
            grown[*dim as usize] = grown[*dim as usize].add(&slab[*dim as usize]);
            self.require(grown == tensor.shape, id, || "its shape is not that of the longer cache".to_owned());
        }
    }
    fn steps(&mut self, steps: &Loop) {
        let extent = self.function.axes[steps.index].extent.clone();
        let scope: BTreeSet<AxisId> = self.loops.iter().copied().collect();
        self.index(steps.index, &extent, &scope, true);
        self.bind(steps.index, "a loop");
        let before = self.readable.clone();
        for carry in &steps.carries {
            self.require(before.contains(&carry.init), carry.init, || {
                "the initial value is not defined before".to_owned()
            });
            self.carry(carry);
            self.readable.insert(carry.inside);
        }
        self.loops.push(steps.index);
        self.stmts(&steps.body);
        self.loops.pop();
        for carry in &steps.carries {
            let defined = self.readable.contains(&carry.next);
            self.require(defined, carry.next, || "the next value is not defined in the loop".to_owned());
        }
        let function = self.function;
        let collected = |id: &TensorId| match &function.tensors[*id].kind {
            TensorKind::Def { axes, .. } => axes.contains(&steps.index),
            _ => false,
        };
        self.readable.retain(|id| before.contains(id) || collected(id));
        self.readable.extend(steps.carries.iter().map(|c| c.result));
    }
    fn carry(&mut self, carry: &Carry) {
        let tensor = |id: TensorId| &self.function.tensors[id];
        let (init, inside, next, result) =
            (tensor(carry.init), tensor(carry.inside), tensor(carry.next), tensor(carry.result));
        let kinds = inside.kind == TensorKind::Carry && result.kind == TensorKind::Final;
        let shapes = inside.shape == init.shape && next.shape == init.shape && result.shape == init.shape;
        let dtype = |t: &Tensor| read_dtype(self.function, &t.elem);
        let types = same_kind(dtype(init), dtype(inside))
            && same_kind(dtype(next), dtype(inside))
            && result.elem == inside.elem;
        let once = self.defined.insert(carry.inside) && self.defined.insert(carry.result);
        self.require(kinds, carry.inside, || "a carry is neither what its loop carries nor what it leaves".to_owned());
        self.require(shapes, carry.inside, || "a carry changes its shape".to_owned());
        self.require(types, carry.inside, || "a carry changes its element type".to_owned());
        self.require(once, carry.inside, || "a carry belongs to two loops".to_owned());
        self.elem(carry.inside, &inside.elem);
    }
    fn outputs(&mut self) {
        let function = self.function;
        let mut names = BTreeSet::new();
        for id in &function.outputs {
            let tensor = &function.tensors[*id];
            self.require(names.insert(&tensor.name), id, || format!("two outputs are called `{}`", tensor.name));
            let defined = matches!(tensor.kind, TensorKind::Def { .. });
            self.require(defined, id, || "an output is a definition".to_owned());
            self.require(self.readable.contains(id), id, || "an output is not defined at the end".to_owned());
        }
        for (id, tensor) in function.tensors.iter() {
            let placed = self.defined.contains(&id) || matches!(tensor.kind, TensorKind::Input(_));
            self.require(placed, id, || format!("`{}` occurs in no statement", tensor.name));
        }
    }
}

fn same_kind(a: DType, b: DType) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::Signed | Kind::Unsigned, Kind::Signed | Kind::Unsigned) => true,
        (a, b) => a == b,
    }
}

/// The tensors and axes that statements name.
fn collect_ids(stmts: &[Stmt], tensors: &mut Vec<TensorId>, axes: &mut Vec<AxisId>) {
    for stmt in stmts {
        match stmt {
            Stmt::Define(id) => tensors.push(*id),
            Stmt::Loop(steps) => {
                axes.push(steps.index);
                for carry in &steps.carries {
                    tensors.extend([carry.init, carry.inside, carry.next, carry.result]);
                }
                collect_ids(&steps.body, tensors, axes);
            }
        }
    }
}
