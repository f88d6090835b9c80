//! Statements: equations, whole or element by element.

use super::elab::{Elab, Facts};
use super::formula::Formula;
use super::infer::mentions;
use super::read::Base;
use super::reduce::Bound;
use super::scope::{Binding, Record, Role, similar};
use super::value::{Ty, Value};
use crate::ast::{BinaryOp, Bind, Expr, ExprKind, Index as BoundIndex, Name, Place, Stmt, Subscript};
use crate::errors::{Diagnostic, Loc, Problem};
use proc_macro2::Span;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{Elem, Stmt as IrStmt, Tensor, TensorKind};
use sawmill_ir::index::{AxisId, Index, TensorId};

/// What an equation defines.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A `let`, stored as the type given.
    Let(Option<Elem>),
    /// An output, or a carry: the element type and the sizes are known, and every element must be present.
    Known(Elem, Vec<Index>),
}

impl Elab<'_> {
    /// Checks the statements of a block.
    pub(crate) fn block(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.statement += 1;
            match stmt {
                Stmt::Let { bind, ty, value } => self.equation(bind, &[], ty.as_ref(), value, false),
                Stmt::Assign { bind, value } => self.equation(bind, &[], None, value, true),
                Stmt::Loop(stmt) => self.looped(stmt),
                Stmt::Push(push) => self.push(push),
            }
            self.statement_over();
        }
    }

    fn equation(&mut self, bind: &Bind, shared: &[BoundIndex], ty: Option<&Name>, value: &Expr, assign: bool) {
        match bind {
            Bind::Ignore(span) => self.ignored(*span, value),
            Bind::Place(place) => self.place(place, shared, ty, value, assign),
            Bind::Tuple { parts, shared: more, loc } => {
                let shared: Vec<BoundIndex> = more.iter().flatten().chain(shared).cloned().collect();
                let Some(outputs) = self.outputs_of(value, parts.len(), *loc) else {
                    parts.iter().for_each(|part| self.poison_bind(part, assign));
                    return;
                };
                for (part, output) in parts.iter().zip(outputs) {
                    let output = Name { text: output, span: loc.start };
                    let kind = ExprKind::Member(Box::new(value.clone()), output);
                    self.equation(part, &shared, ty, &Expr { loc: value.loc, kind }, assign);
                }
            }
        }
    }

    /// What is ignored is checked, and what it appends to caches is appended.
    fn ignored(&mut self, span: Span, value: &Expr) {
        let name = Name { text: "_".into(), span };
        if let Some((indices, value)) = self.opened(&name, Vec::new(), false, value) {
            self.elements("ignored", &Target::Let(None), &indices, &value, &[]);
        }
    }

    /// The names of the outputs of the call on the right of a tuple.
    fn outputs_of(&mut self, value: &Expr, parts: usize, loc: Loc) -> Option<Vec<String>> {
        if let ExprKind::Call(name, _) = &value.kind
            && let Some(callee) = self.items.functions.get(&name.text)
        {
            if callee.outputs.len() != parts {
                let problem =
                    Problem::OutputCount { function: name.text.clone(), wanted: callee.outputs.len(), found: parts };
                self.errors.report(loc, problem);
                return None;
            }
            return Some(callee.outputs.iter().map(|output| output.name.clone()).collect());
        }
        let known = self.errors.list().len();
        if matches!(value.kind, ExprKind::Call(..) | ExprKind::Bracketed { .. }) {
            self.value(value);
        }
        if self.errors.list().len() == known {
            self.errors.report(value.loc, Problem::NotSeveral);
        }
        None
    }

    /// Gives the names on a left side a meaning that fits everywhere.
    pub(crate) fn poison_bind(&mut self, bind: &Bind, assign: bool) {
        match bind {
            Bind::Ignore(_) => {}
            Bind::Place(place) => self.poison_name(&place.name, assign),
            Bind::Tuple { parts, .. } => parts.iter().for_each(|part| self.poison_bind(part, assign)),
        }
    }

    fn poison_name(&mut self, name: &Name, assign: bool) {
        if !assign {
            self.scope.add(name, Role::Let, Binding::Poison);
            return;
        }
        if self.outputs.iter().any(|output| output.name == name.text) {
            self.assigned_outputs.entry(name.text.clone()).or_insert((None, name.span));
        }
        if let Some(entry) = self.scope.get_mut(&name.text) {
            entry.binding = Binding::Poison;
        }
    }

    /// One equation: `name[indices] = value`.
    fn place(&mut self, place: &Place, shared: &[BoundIndex], ty: Option<&Name>, value: &Expr, assign: bool) {
        let written = place.indices.is_some() || !shared.is_empty();
        let indices: Vec<BoundIndex> = place.indices.iter().flatten().chain(shared).cloned().collect();
        let target = if assign { self.assigned_target(&place.name) } else { self.let_target(&place.name, ty) };
        let Some(target) = target else {
            self.poison_name(&place.name, assign);
            return;
        };
        if !written
            && matches!(target, Target::Let(None))
            && (self.alias(&place.name, value) || self.bundle(&place.name, value))
        {
            return;
        }
        let Some((indices, value)) = self.opened(&place.name, indices, written, value) else {
            self.poison_name(&place.name, assign);
            return;
        };
        if self.collects(&place.name, &indices, assign).is_none() {
            self.poison_name(&place.name, assign);
            return;
        }
        if let Target::Known(_, shape) = &target
            && shape.len() != indices.len()
        {
            let problem = Problem::Rank { name: place.name.text.clone(), wanted: shape.len(), found: indices.len() };
            self.errors.report(place.name.loc(), problem);
            self.poison_name(&place.name, assign);
            return;
        }
        let binding = self.elements(&place.name.text, &target, &indices, &value, &[]);
        match (assign, binding) {
            (_, None) => self.poison_name(&place.name, assign),
            (false, Some(binding)) => self.scope.add(&place.name, Role::Let, binding),
            (true, Some(binding)) => self.assign(&place.name, binding),
        }
    }

    fn assign(&mut self, name: &Name, binding: Binding) {
        let is_output = self.scope.get(&name.text).is_some_and(|entry| entry.role == Role::Output);
        if let (true, Binding::Tensor(id)) = (is_output, &binding) {
            self.assigned_outputs.insert(name.text.clone(), (Some(*id), name.span));
        }
        if let Some(entry) = self.scope.get_mut(&name.text) {
            entry.binding = binding;
        }
    }

    fn let_target(&mut self, name: &Name, ty: Option<&Name>) -> Option<Target> {
        if let Some(entry) = self.scope.get(&name.text)
            && entry.role != Role::Let
        {
            let (by, first) = (entry.role.text().to_string(), Loc::at(entry.span));
            let help = if matches!(entry.role, Role::Output | Role::Carry) {
                format!("assign it without `let`: `{}[..] = e;`", name.text)
            } else {
                "choose another name".into()
            };
            let problem = Problem::Taken { name: name.text.clone(), by, help };
            self.errors.push(Diagnostic::new(name.loc(), problem).with_note(first, "the first one"));
            return None;
        }
        match ty {
            Some(ty) => self.element(ty).map(|elem| Target::Let(Some(elem))),
            None => Some(Target::Let(None)),
        }
    }

    fn assigned_target(&mut self, name: &Name) -> Option<Target> {
        let Some(entry) = self.scope.get(&name.text) else {
            let close = similar(&name.text, self.outputs.iter().map(|o| o.name.as_str()));
            let help = if close.is_empty() { format!("define it: `let {}[..] = e;`", name.text) } else { close };
            self.errors.report(name.loc(), Problem::Unknown { what: "output".into(), name: name.text.clone(), help });
            return None;
        };
        match (entry.role, &entry.binding) {
            (_, Binding::Poison) => None,
            (Role::Output, _) => self.output_target(name),
            (Role::Carry, Binding::Tensor(id)) => {
                let tensor = &self.function.tensors[*id];
                Some(Target::Known(tensor.elem.clone(), tensor.shape.clone()))
            }
            (role, _) => {
                let problem = Problem::NotAssignable { name: name.text.clone(), is: role.text().into() };
                self.errors.report(name.loc(), problem);
                None
            }
        }
    }

    fn output_target(&mut self, name: &Name) -> Option<Target> {
        if let Some((_, first)) = self.assigned_outputs.get(&name.text) {
            let first = Loc::at(*first);
            let problem = Problem::AssignedTwice { output: name.text.clone() };
            self.errors.push(Diagnostic::new(name.loc(), problem).with_note(first, "the first assignment"));
            return None;
        }
        let output = self.outputs.iter().find(|output| output.name == name.text)?;
        Some(Target::Known(output.elem.clone(), output.shape.clone()))
    }

    /// `let y = x;` for a whole tensor, struct or cache is another name for it.
    fn alias(&mut self, name: &Name, value: &Expr) -> bool {
        let binding = match self.base_of(value) {
            Some(Base::Record(record)) => Binding::Record(record),
            Some(Base::Tensor { id, lead }) if lead.is_empty() && !self.function.tensors[id].shape.is_empty() => {
                Binding::Tensor(id)
            }
            _ => return false,
        };
        self.entries_in_range(value);
        self.scope.add(name, Role::Let, binding);
        true
    }

    /// `let a = f(..);` for several outputs: `a.o`, `a.lse`.
    fn bundle(&mut self, name: &Name, value: &Expr) -> bool {
        let ExprKind::Call(callee, _) = &value.kind else { return false };
        let Some(callee) = self.items.functions.get(&callee.text).filter(|callee| callee.outputs.len() > 1) else {
            return false;
        };
        // No name of a tensor or record can be this one.
        let prefix = format!("{}'{}", name.text, self.function.tensors.len());
        let mut complete = true;
        for output in &callee.outputs {
            let output = Name { text: output.name.clone(), span: name.span };
            let kind = ExprKind::Member(Box::new(value.clone()), output.clone());
            let member = Expr { loc: value.loc, kind };
            let opened = self.opened(&output, Vec::new(), false, &member);
            let text = format!("{}.{}", name.text, output.text);
            let binding = opened.and_then(|(indices, e)| self.elements(&text, &Target::Let(None), &indices, &e, &[]));
            match binding {
                Some(Binding::Tensor(id)) => drop(self.fields.insert(format!("{prefix}.{}", output.text), id)),
                _ => complete = false,
            }
        }
        let record = Record { prefix, ty: callee.heading.name.clone(), at: Vec::new(), lens: Vec::new() };
        self.scope.add(name, Role::Let, if complete { Binding::Record(record) } else { Binding::Poison });
        true
    }

    /// Names the axes that the right side leaves open: indices of the left that are not free on the right, in order.
    pub(crate) fn opened(
        &mut self,
        name: &Name,
        mut indices: Vec<BoundIndex>,
        written: bool,
        value: &Expr,
    ) -> Option<(Vec<BoundIndex>, Expr)> {
        let open = self.open_shape(value).unwrap_or_default();
        if open.is_empty() {
            return Some((indices, value.clone()));
        }
        if !written {
            let fresh = |n: usize| BoundIndex { name: Name { text: format!("a{n}'"), span: name.span }, range: None };
            indices = (0..open.len()).map(fresh).collect();
        }
        let fresh: Vec<Name> = indices.iter().map(|i| i.name.clone()).filter(|i| !mentions(value, &i.text)).collect();
        if fresh.len() != open.len() {
            let problem = Problem::Rank { name: "the right side".into(), wanted: open.len(), found: fresh.len() };
            self.errors.report(value.loc, problem);
            return None;
        }
        Some((indices, with_axes(value, &fresh)))
    }

    /// Defines a tensor element by element. `more` holds further expressions whose uses tell the ranges of indices.
    pub(crate) fn elements(
        &mut self,
        name: &str,
        target: &Target,
        indices: &[BoundIndex],
        value: &Expr,
        more: &[&Expr],
    ) -> Option<Binding> {
        let (mark, facts) = (self.scope.mark(), self.facts.len());
        let mut bodies = vec![value];
        bodies.extend(more);
        let sizes = match target {
            Target::Known(_, shape) => Some(shape),
            Target::Let(_) => None,
        };
        let mut bound = Vec::new();
        for (at, index) in indices.iter().enumerate() {
            let size = sizes.and_then(|sizes| sizes.get(at));
            let of_loop = self.bound_by_loop(index);
            let one = if of_loop.is_some() { of_loop } else { self.bind_index(index, size, &bodies) };
            bound.push(one.filter(|b| self.starts_at_zero(index, b, size)));
        }
        let value = self.value(value);
        let axes: Vec<AxisId> = bound.iter().flatten().map(|b| b.axis).collect();
        if matches!(target, Target::Known(..)) || self.is_collected(&axes) {
            self.present(&value, &format!("`{name}`"));
        }
        if matches!(target, Target::Known(..)) {
            self.output_keeps_promise(name, &value);
        }
        self.scope.leave(mark);
        let bound: Option<Vec<Bound>> = bound.into_iter().collect();
        let binding = bound.filter(|_| !value.is_poison()).map(|bound| self.stored(name, target, &bound, &value));
        self.facts.truncate(facts);
        binding
    }

    /// The left side of an equation runs over whole axes from 0.
    fn starts_at_zero(&mut self, index: &BoundIndex, bound: &Bound, size: Option<&Index>) -> bool {
        let whole = size.is_none_or(|size| self.same_size(size, &bound.extent));
        if bound.lo.as_int() == Some(0) && whole {
            return true;
        }
        let found = format!("{}..", self.show(&bound.lo));
        let help =
            "the left side covers every element, from 0 to the size of the axis; write a shifted read on the right"
                .to_string();
        self.errors.report(index.name.loc(), Problem::Expected { what: "the whole axis".into(), found, help });
        false
    }

    fn stored(&mut self, name: &str, target: &Target, bound: &[Bound], value: &Value) -> Binding {
        if let (Target::Let(None), true, Ty::Weak, Some(index)) = (target, bound.is_empty(), value.ty, &value.index)
            && value.presence == Formula::True
        {
            return Binding::Exact(index.clone());
        }
        let (elem, typed) = match target {
            Target::Let(None) => (Elem::Type(self.own_type(value)), false),
            Target::Let(Some(elem)) => (elem.clone(), true),
            Target::Known(elem, _) => (elem.clone(), true),
        };
        let rounded = typed && !matches!(&elem, Elem::Type(dtype) if dtype.is_compute());
        let term = self.written(value, &elem, name);
        let axes: Vec<AxisId> = bound.iter().map(|b| b.axis).collect();
        let shape = bound.iter().map(|b| b.extent.clone()).collect();
        let facts = Facts {
            presence: if self.is_collected(&axes) { Formula::True } else { value.presence.clone() },
            axes: axes.clone(),
            // What is collected outlives the tensors of the step that its value may read.
            exact: value.index.clone().filter(|_| value.presence == Formula::True && !self.is_collected(&axes)),
            bounds: self.promise_of(name, target).or_else(|| self.derived_bounds(term)),
        };
        let kind = TensorKind::Def { axes, value: term, rounded };
        let id = self.define(Tensor { name: name.to_string(), elem, shape, kind });
        self.tensors.insert(id, facts);
        Binding::Tensor(id)
    }

    /// Adds a defined tensor to the function and to the block.
    pub(crate) fn define(&mut self, tensor: Tensor) -> TensorId {
        let id = self.function.tensors.push(tensor);
        self.body.push(IrStmt::Define(id));
        id
    }

    fn own_type(&self, value: &Value) -> DType {
        match value.ty {
            Ty::Of(dtype) => dtype,
            Ty::Weak | Ty::Poison => DType::I64,
        }
    }

    /// Computes an integer that is no polynomial into a tensor over the indices it depends on, and reads that.
    pub(crate) fn hoisted(&mut self, expr: &Expr) -> Option<Index> {
        let mut free: Vec<(String, Span, AxisId, Index)> = Vec::new();
        for (name, span, at) in self.indices_in(expr) {
            let axes = at.axes();
            if let Some(axis) = axes.iter().next()
                && !self.loops.contains(axis)
            {
                let lo = at.sub(&Index::axis(*axis));
                free.push((name, span, *axis, lo));
            }
        }
        let (mark, facts) = (self.scope.mark(), self.facts.len());
        let before = std::mem::replace(&mut self.guarded, false);
        let mut bound = Vec::new();
        for (text, span, axis, lo) in &free {
            let extent = self.function.axes[*axis].extent.clone();
            bound.push(self.bind_axis(&Name { text: text.clone(), span: *span }, lo.clone(), extent));
        }
        let value = self.value(expr);
        self.scope.leave(mark);
        self.guarded = before;
        let binding =
            if value.is_poison() { None } else { Some(self.stored("position", &Target::Let(None), &bound, &value)) };
        self.facts.truncate(facts);
        let Some(Binding::Tensor(id)) = binding else { return None };
        self.exact_read(id, free.iter().map(|(_, _, axis, _)| Index::axis(*axis)).collect())
    }

    /// The indices in scope that an expression mentions, each once.
    fn indices_in(&self, expr: &Expr) -> Vec<(String, Span, Index)> {
        let mut found: Vec<(String, Span, Index)> = Vec::new();
        for name in self.scope.names() {
            let entry = self.scope.get(name).expect("invariant: a name in scope has an entry");
            if let (Role::Index, Binding::Exact(at)) = (entry.role, &entry.binding)
                && mentions(expr, name)
                && found.iter().all(|(known, _, _)| known != name)
            {
                found.push((name.to_string(), entry.span, at.clone()));
            }
        }
        found
    }
}

/// The expression with its open axes read at `names`.
fn with_axes(expr: &Expr, names: &[Name]) -> Expr {
    let at = |name: &Name| Expr { loc: expr.loc, kind: ExprKind::Name(name.clone()) };
    let kind = match &expr.kind {
        ExprKind::Read(base, subs) if subs.iter().any(|sub| !matches!(sub, Subscript::At(_))) => {
            let mut names = names.iter();
            let closed = |sub: &Subscript| match sub {
                Subscript::At(e) => Subscript::At(e.clone()),
                Subscript::All(_) | Subscript::Part(None, ..) => {
                    Subscript::At(at(names.next().expect("invariant: one name per open axis")))
                }
                Subscript::Part(Some(lo), _, _) => {
                    let index = at(names.next().expect("invariant: one name per open axis"));
                    let kind = ExprKind::Binary(BinaryOp::Add, expr.loc.start, Box::new(lo.clone()), Box::new(index));
                    Subscript::At(Expr { loc: expr.loc, kind })
                }
            };
            ExprKind::Read(base.clone(), subs.iter().map(closed).collect())
        }
        _ => ExprKind::Read(Box::new(expr.clone()), names.iter().map(|n| Subscript::At(at(n))).collect()),
    };
    Expr { loc: expr.loc, kind }
}
