//! Counted loops that carry tensors.

use super::elab::{Elab, Facts};
use super::formula::Formula;
use super::items::computes_in;
use super::read::Base;
use super::scope::{Binding, Role};
use super::stmt::Target;
use crate::ast::{Bind, Carry, Expr, ExprKind, Index as BoundIndex, Loop, Name, Stmt, Subscript};
use crate::errors::Problem;
use sawmill_ir::graph::{Carry as IrCarry, Elem, Loop as IrLoop, Stmt as IrStmt, Tensor, TensorKind};
use sawmill_ir::index::{AxisId, Index, TensorId};
use std::collections::BTreeMap;

/// A carry on its way through a loop.
struct Carried {
    name: Name,
    init: TensorId,
    inside: TensorId,
    /// What the body starts from: `inside`, or that after a reset.
    start: TensorId,
    /// Declared by this loop, not by one around it.
    own: bool,
}

impl Elab<'_> {
    /// `for l in 0..L carry x = x0 { .. }`, `scan t in 0..T carry s[i] = s0[i] { .. }`
    pub(crate) fn looped(&mut self, stmt: &Loop) {
        let range = self.stated(&stmt.range);
        let mut carried = Vec::new();
        for carry in &stmt.carries {
            carried.extend(self.initial(carry, stmt));
        }
        let Some((lo, extent)) = range.filter(|_| carried.len() == stmt.carries.len()) else {
            self.give_up(stmt);
            return;
        };
        carried.extend(self.outer_carries(stmt));
        let (mark, facts) = (self.scope.mark(), self.facts.len());
        let axis = self.bind_index_checked(&stmt.index, lo, extent).axis;
        for carry in carried.iter().filter(|carry| carry.own) {
            self.scope.add(&carry.name, Role::Carry, Binding::Tensor(carry.inside));
        }
        for carry in carried.iter().filter(|carry| !carry.own) {
            self.rebind(&carry.name, Binding::Tensor(carry.inside));
        }
        let outer = std::mem::take(&mut self.body);
        self.loops.push(axis);
        if let Some(condition) = &stmt.reset {
            self.resets(stmt, condition, &mut carried);
        }
        self.block(&stmt.body);
        self.loops.pop();
        let body = std::mem::replace(&mut self.body, outer);
        let next: Vec<Option<TensorId>> = carried.iter().map(|carry| self.next(carry)).collect();
        let collected = self.collected_since(mark, axis);
        self.scope.leave(mark);
        collected.into_iter().for_each(|entry| self.scope.keep(entry));
        self.facts.truncate(facts);
        self.entries_forgotten(axis);
        self.finish((axis, stmt.reversed), &carried, &next, body);
    }

    /// `reset where c`: the loop's own carries start a step in which `c` holds from their initial values. `c` may use the loop's index
    /// and those of each carry.
    fn resets(&mut self, stmt: &Loop, condition: &Expr, carried: &mut [Carried]) {
        let own = carried.iter_mut().filter(|carry| carry.own);
        for (carry, declared) in own.zip(&stmt.carries) {
            let Tensor { elem, shape, .. } = self.function.tensors[carry.inside].clone();
            let span = carry.name.span;
            // No name of the program can be one of these.
            let named = |text: String| Name { text, span };
            let indices = match &declared.place.indices {
                Some(indices) => indices.iter().map(|index| index.name.clone()).collect::<Vec<_>>(),
                None => (0..shape.len()).map(|n| named(format!("a{n}'"))).collect(),
            };
            let initial = named(format!("{}'initial", carry.name.text));
            let read = |name: &Name| {
                let at = |kind| Expr { loc: condition.loc, kind };
                let base = at(ExprKind::Name(name.clone()));
                let subs = indices.iter().map(|index| Subscript::At(at(ExprKind::Name(index.clone()))));
                if indices.is_empty() { base } else { at(ExprKind::Read(Box::new(base), subs.collect())) }
            };
            let (then, other) = (Box::new(read(&initial)), Box::new(read(&carry.name)));
            let cond = Box::new(condition.clone());
            let value = Expr { loc: condition.loc, kind: ExprKind::If { cond, then, other } };
            let axes: Vec<BoundIndex> =
                indices.iter().map(|name| BoundIndex { name: name.clone(), range: None }).collect();
            let mark = self.scope.mark();
            self.scope.add(&initial, Role::Let, Binding::Tensor(carry.init));
            let start = self.elements(&carry.name.text, &Target::Known(elem, shape), &axes, &value, &[]);
            self.scope.leave(mark);
            if let Some(Binding::Tensor(start)) = start {
                carry.start = start;
                self.rebind(&carry.name, Binding::Tensor(start));
            }
        }
    }

    fn bind_index_checked(&mut self, index: &Name, lo: Index, extent: Index) -> super::reduce::Bound {
        if let Some(entry) = self.scope.get(&index.text) {
            let by = entry.role.text().to_string();
            let help = "an index has a name of its own".to_string();
            self.errors.report(index.loc(), Problem::Taken { name: index.text.clone(), by, help });
        }
        self.bind_axis(index, lo, extent)
    }

    fn rebind(&mut self, name: &Name, binding: Binding) {
        if let Some(entry) = self.scope.get_mut(&name.text) {
            entry.binding = binding;
        }
    }

    /// The value of a carry before the first step, and the tensor that stands for it inside.
    fn initial(&mut self, carry: &Carry, stmt: &Loop) -> Option<Carried> {
        let name = &carry.place.name;
        if let Some(entry) = self.scope.get(&name.text)
            && entry.role != Role::Output
        {
            let (by, help) = (entry.role.text().to_string(), "choose another name for the carry".to_string());
            self.errors.report(name.loc(), Problem::Taken { name: name.text.clone(), by, help });
            return None;
        }
        let ty = match &carry.ty {
            Some(ty) => Some(self.element(ty)?),
            None => None,
        };
        let init = self.initial_tensor(carry, ty, stmt)?;
        let tensor = &self.function.tensors[init];
        let (elem, shape) = (tensor.elem.clone(), tensor.shape.clone());
        Some(self.carried(name, init, elem, shape, true))
    }

    fn carried(&mut self, name: &Name, init: TensorId, elem: Elem, shape: Vec<Index>, own: bool) -> Carried {
        let inside =
            self.function.tensors.push(Tensor { name: name.text.clone(), elem, shape, kind: TensorKind::Carry });
        self.tensors.insert(inside, present());
        Carried { name: name.clone(), init, inside, start: inside, own }
    }

    fn initial_tensor(&mut self, carry: &Carry, ty: Option<Elem>, stmt: &Loop) -> Option<TensorId> {
        let name = &carry.place.name.text;
        let output = self.outputs.iter().find(|output| output.name == *name);
        let output = output.map(|output| (output.elem.clone(), output.shape.clone()));
        if carry.place.indices.is_none()
            && let Some(Base::Tensor { id, lead }) = self.base_of(&carry.init)
            && lead.is_empty()
        {
            let tensor = &self.function.tensors[id];
            let elem = Elem::Type(computes_in(&self.function, &tensor.elem));
            let plain = self.tensors.get(&id).is_none_or(|facts| facts.presence == Formula::True);
            let open = vec![None; tensor.shape.len()];
            if !self.own_step(id, &open, carry.init.loc) {
                return None;
            }
            let tensor = &self.function.tensors[id];
            if plain && *ty.as_ref().unwrap_or(&elem) == tensor.elem {
                return Some(id);
            }
        }
        let indices: Vec<BoundIndex> = carry.place.indices.clone().unwrap_or_default();
        let place = &carry.place.name;
        let (indices, init) = self.opened(place, indices, carry.place.indices.is_some(), &carry.init)?;
        let uses = if indices.is_empty() { Vec::new() } else { self.carry_uses(stmt, carry) };
        // The axes of an output of the same name are the carry's, and what it computes in, whatever it is stored as.
        let target = match output {
            Some((elem, shape)) if shape.len() == indices.len() => {
                let computes = Elem::Type(computes_in(&self.function, &elem));
                Target::Known(ty.unwrap_or(computes), shape)
            }
            _ => Target::Let(ty),
        };
        match self.elements(name, &target, &indices, &init, &uses.iter().collect::<Vec<_>>())? {
            Binding::Tensor(id) => Some(id),
            Binding::Exact(index) => Some(self.scalar(name, &index)),
            _ => None,
        }
    }

    /// A weak integer as a tensor of rank 0.
    fn scalar(&mut self, name: &str, index: &Index) -> TensorId {
        let value = self.exact(index, sawmill_ir::dtype::DType::I64);
        let kind = TensorKind::Def { axes: Vec::new(), value, rounded: false };
        let elem = Elem::Type(sawmill_ir::dtype::DType::I64);
        let id = self.define(Tensor { name: name.to_string(), elem, shape: Vec::new(), kind });
        self.tensors.insert(id, present());
        id
    }

    /// Carries of loops around this one that its body assigns are carried through it.
    fn outer_carries(&mut self, stmt: &Loop) -> Vec<Carried> {
        let mut names: BTreeMap<String, Name> = BTreeMap::new();
        assigned_names(&stmt.body, &mut names);
        for carry in &stmt.carries {
            names.remove(&carry.place.name.text);
        }
        let mut outer = Vec::new();
        for name in names.into_values() {
            let Some(entry) = self.scope.get(&name.text).filter(|entry| entry.role == Role::Carry) else { continue };
            let Binding::Tensor(init) = entry.binding else { continue };
            let tensor = &self.function.tensors[init];
            let (elem, shape) = (tensor.elem.clone(), tensor.shape.clone());
            outer.push(self.carried(&name, init, elem, shape, false));
        }
        outer
    }

    /// The value of a carry at the end of a step.
    fn next(&mut self, carry: &Carried) -> Option<TensorId> {
        match self.scope.get(&carry.name.text).map(|entry| &entry.binding) {
            Some(Binding::Tensor(id)) if *id != carry.start => Some(*id),
            Some(Binding::Tensor(_)) => {
                let problem = Problem::CarryUnassigned { carry: carry.name.text.clone() };
                self.errors.report(carry.name.loc(), problem);
                None
            }
            _ => None,
        }
    }

    /// Closes a loop: carries get their final values.
    fn finish(
        &mut self,
        (index, rev): (AxisId, bool),
        carried: &[Carried],
        next: &[Option<TensorId>],
        body: Vec<IrStmt>,
    ) {
        let mut carries = Vec::new();
        let mut results = Vec::new();
        for (carry, next) in carried.iter().zip(next) {
            let Some(next) = next else {
                self.after(carry, Binding::Poison);
                continue;
            };
            let Tensor { name, elem, shape, .. } = self.function.tensors[carry.inside].clone();
            let result = self.function.tensors.push(Tensor { name, elem, shape, kind: TensorKind::Final });
            self.tensors.insert(result, present());
            carries.push(IrCarry { init: carry.init, inside: carry.inside, next: *next, result });
            results.push((carry, result));
        }
        self.body.push(IrStmt::Loop(IrLoop { index, rev, carries, body }));
        for (carry, result) in results {
            self.after(carry, Binding::Tensor(result));
        }
    }

    /// After the loop a carry's name is its final value; an output of that name gets it.
    fn after(&mut self, carry: &Carried, binding: Binding) {
        if !carry.own {
            self.rebind(&carry.name, binding);
            return;
        }
        let output = self.outputs.iter().find(|output| output.name == carry.name.text).cloned();
        let (Some(output), Binding::Tensor(id)) = (output, &binding) else {
            self.scope.add(&carry.name, Role::Let, binding);
            return;
        };
        let axes: Vec<AxisId> = output.shape.iter().map(|size| self.axis("a", size.clone())).collect();
        let subs: Vec<Index> = axes.iter().map(|axis| Index::axis(*axis)).collect();
        let mut value = self.element_at(*id, &subs, subs.len(), carry.name.loc());
        value.loc = carry.name.loc();
        let term = self.written(&value, &output.elem, &output.name);
        let rounded = !matches!(&output.elem, Elem::Type(dtype) if dtype.is_compute());
        let kind = TensorKind::Def { axes, value: term, rounded };
        let copy = self.define(Tensor { name: output.name.clone(), elem: output.elem, shape: output.shape, kind });
        self.tensors.insert(copy, present());
        self.assigned_outputs.insert(output.name, (Some(copy), carry.name.span));
        self.rebind(&carry.name, Binding::Tensor(copy));
    }

    /// A loop that is not checked: what it defines fits everywhere.
    fn give_up(&mut self, stmt: &Loop) {
        for carry in &stmt.carries {
            let output = self.outputs.iter().any(|output| output.name == carry.place.name.text);
            self.poison_bind(&Bind::Place(carry.place.clone()), output);
        }
        self.give_up_body(&stmt.body);
    }

    fn give_up_body(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::Let { bind, .. } => self.poison_bind(bind, false),
                Stmt::Assign { bind, .. } => self.poison_bind(bind, true),
                Stmt::Loop(inner) => self.give_up(inner),
                Stmt::Push(_) => {}
            }
        }
    }
}

fn present() -> Facts {
    Facts { presence: Formula::True, axes: Vec::new(), exact: None, bounds: None }
}

fn assigned_names(body: &[Stmt], names: &mut BTreeMap<String, Name>) {
    for stmt in body {
        match stmt {
            Stmt::Assign { bind, .. } => bound_names(bind, names),
            Stmt::Loop(inner) => assigned_names(&inner.body, names),
            Stmt::Let { .. } | Stmt::Push(_) => {}
        }
    }
}

fn bound_names(bind: &Bind, names: &mut BTreeMap<String, Name>) {
    match bind {
        Bind::Ignore(_) => {}
        Bind::Place(place) => {
            names.entry(place.name.text.clone()).or_insert_with(|| place.name.clone());
        }
        Bind::Tuple { parts, .. } => parts.iter().for_each(|part| bound_names(part, names)),
    }
}
