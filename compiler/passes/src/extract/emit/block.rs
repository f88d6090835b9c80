//! Statements of one block: which tensors are defined, in which order.

use super::Emitter;
use super::kernel::Kernel;
use crate::egraph::{Axes, AxisSet, Head};
use crate::extract::Dag;
use sawmill_ir::backend::CompileError;
use sawmill_ir::graph::{Axis, Elem, Function, Stmt, Tensor, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use std::collections::BTreeMap;

/// A definition of the source that is stored.
#[derive(Clone, Debug)]
pub(crate) struct PlannedRoot {
    /// The definition.
    pub(crate) tensor: TensorId,
    /// Its term.
    pub(crate) node: usize,
    /// Its axes, canonical.
    pub(crate) axes: Vec<AxisId>,
}

/// The chosen terms of a block.
pub(crate) struct BlockPlan<'p> {
    /// The terms.
    pub(crate) dag: &'p Dag,
    /// Their axes.
    pub(crate) axes: &'p Axes,
    /// What must be stored.
    pub(crate) roots: Vec<PlannedRoot>,
    /// Axes of the loops around: the function's, and the canonical ones.
    pub(crate) outer: BTreeMap<AxisId, AxisId>,
    /// Names and orders of axes for terms that are stored.
    pub(crate) named: BTreeMap<usize, (String, Vec<AxisId>)>,
    /// Whether passes over the same axes at one level become one fold.
    pub(crate) merged: bool,
}

/// Where axes of terms go in the function that is written.
pub(super) type Env = BTreeMap<AxisId, Index>;

/// A stored term: its tensor and the axes of its dimensions.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) tensor: TensorId,
    pub(super) axes: Vec<AxisId>,
}

/// Writes one block.
pub(crate) struct BlockEmitter<'e, 'a> {
    pub(super) emitter: &'e mut Emitter<'a>,
    source: &'a Function,
    pub(super) plan: BlockPlan<'e>,
    pub(super) keys: Vec<u64>,
    done: BTreeMap<usize, Stored>,
    body: Vec<Stmt>,
}

impl<'e, 'a> BlockEmitter<'e, 'a> {
    pub(super) fn new(emitter: &'e mut Emitter<'a>, source: &'a Function, plan: BlockPlan<'e>) -> Self {
        let keys = plan.dag.keys(plan.axes);
        Self { emitter, source, plan, keys, done: BTreeMap::new(), body: Vec::new() }
    }
    /// The statements so far, taken.
    pub(crate) fn finish(self) -> Vec<Stmt> {
        self.body
    }
    /// Appends a statement of another block, a loop.
    pub(crate) fn push(&mut self, stmt: Stmt) {
        self.body.push(stmt);
    }
    /// The function's emitter, for a loop inside of this block.
    pub(crate) fn emitter(&mut self) -> &mut Emitter<'a> {
        self.emitter
    }
    /// Defines `tensor`, and first what it needs.
    pub(crate) fn define(&mut self, tensor: TensorId) -> Result<(), CompileError> {
        if self.emitter.tensors.contains_key(&tensor) {
            return Ok(());
        }
        let Some(root) = self.plan.roots.iter().find(|r| r.tensor == tensor).cloned() else { return Ok(()) };
        let old = self.source.tensors[tensor].clone();
        match old.kind {
            TensorKind::Def { rounded, .. } => {
                let (node, elem) = self.stored_as(root.node, &old.elem);
                let rounded = rounded || (node != root.node && !self.source.outputs.contains(&tensor));
                let (axes, value) = self.value(root.node, node, &root.axes)?;
                let kind = TensorKind::Def { axes, value, rounded };
                let new = self.add(old.name, elem, kind);
                self.emitter.tensors.insert(tensor, new);
                if self.serves(&root) {
                    self.done.entry(root.node).or_insert(Stored { tensor: new, axes: root.axes });
                }
            }
            TensorKind::Append { base, at, dim, .. } => {
                self.define(base)?;
                let base = self.emitter.known(base)?;
                let at = at.iter().map(|s| self.emitter.outer(s)).collect();
                let (node, _) = self.stored_as(root.node, &old.elem);
                let (axes, value) = self.value(root.node, node, &root.axes)?;
                let shape = old.shape.iter().map(|s| self.emitter.outer(s)).collect();
                let kind = TensorKind::Append { base, at, dim, axes, value };
                let new = self.emitter.out.tensors.push(Tensor { name: old.name, elem: old.elem, shape, kind });
                self.body.push(Stmt::Define(new));
                self.emitter.tensors.insert(tensor, new);
            }
            _ => return Err(self.emitter.bug(format!("{tensor} is planned but is no definition"))),
        }
        Ok(())
    }
    /// The term that is stored for `node` in a tensor of type `elem`: storing rounds, so a last rounding is left out.
    fn stored_as(&self, node: usize, elem: &Elem) -> (usize, Elem) {
        match self.plan.dag.head(node) {
            Head::Round(to) if Elem::Type(*to) == *elem => (self.plan.dag.arg(node, 0), elem.clone()),
            _ => (node, elem.clone()),
        }
    }
    /// The tensor of a term that is stored, defined now if it wasn't.
    pub(super) fn stored(&mut self, node: usize) -> Result<Stored, CompileError> {
        if let Some(done) = self.done.get(&node) {
            return Ok(done.clone());
        }
        if let Some(root) = self.def_root(node) {
            self.define(root)?;
            if let Some(done) = self.done.get(&node) {
                return Ok(done.clone());
            }
        }
        let free = self.plan.dag.fact(node).free;
        let (hint, order) = match self.plan.named.get(&node) {
            Some((name, axes)) if AxisSet::of(axes) == free => (name.clone(), axes.clone()),
            named => (named.map_or_else(|| "temp".to_owned(), |(name, _)| name.clone()), self.order(free)),
        };
        let dtype = self.plan.dag.fact(node).dtype;
        let elem = match self.plan.dag.head(node) {
            // Elements that share bytes cannot be written by themselves.
            Head::Round(to) if to.bits() >= 8 => Elem::Type(*to),
            _ => Elem::Type(dtype),
        };
        let (value_node, elem) = self.stored_as(node, &elem);
        let (axes, value) = self.value(node, value_node, &order)?;
        let name = self.emitter.name(&hint);
        let new = self.add(name, elem, TensorKind::Def { axes, value, rounded: value_node != node });
        let stored = Stored { tensor: new, axes: order };
        self.done.insert(node, stored.clone());
        Ok(stored)
    }
    /// A definition of the source that stores exactly this term, for others to read.
    fn def_root(&self, node: usize) -> Option<TensorId> {
        self.plan.roots.iter().find(|r| r.node == node && self.serves(r)).map(|r| r.tensor)
    }
    /// Whether a definition can be read wherever its term is needed: one that repeats its term over axes that the term does not
    /// depend on cannot, for there is no position along them.
    fn serves(&self, root: &PlannedRoot) -> bool {
        let is_def = matches!(self.source.tensors[root.tensor].kind, TensorKind::Def { .. });
        is_def && AxisSet::of(&root.axes).is_subset(self.plan.dag.fact(root.node).free)
    }
    /// Whether a term has a tensor.
    pub(super) fn is_stored(&self, node: usize) -> bool {
        self.plan.dag.stored[node] || self.def_root(node).is_some()
    }
    /// Axes by extent and rank, for a tensor without an order of its own.
    fn order(&self, axes: AxisSet) -> Vec<AxisId> {
        axes.iter().collect()
    }
    fn add(&mut self, name: String, elem: Elem, kind: TensorKind) -> TensorId {
        let shape = match &kind {
            TensorKind::Def { axes, .. } => axes.iter().map(|a| self.emitter.out.axes[*a].extent.clone()).collect(),
            _ => Vec::new(),
        };
        let new = self.emitter.out.tensors.push(Tensor { name, elem, shape, kind });
        self.body.push(Stmt::Define(new));
        new
    }
    /// Fresh axes in the given order, and the term over them. `kernel` is the stored term, `node` what is written for it.
    fn value(&mut self, kernel: usize, node: usize, order: &[AxisId]) -> Result<(Vec<AxisId>, TermId), CompileError> {
        let mut env = self.outer_env();
        let fresh = self.bind(order, &mut env)?;
        let value = Kernel::new(self, kernel, env).value(node)?;
        Ok((fresh, value))
    }
    fn outer_env(&self) -> Env {
        let outer = self.plan.outer.iter();
        outer.filter_map(|(from, to)| self.emitter.loops.get(from).map(|new| (*to, Index::axis(*new)))).collect()
    }
    /// Fresh axes for canonical ones.
    pub(super) fn bind(&mut self, order: &[AxisId], env: &mut Env) -> Result<Vec<AxisId>, CompileError> {
        let mut fresh = Vec::with_capacity(order.len());
        for axis in order {
            if let Some(of_loop) = self.loop_axis(*axis) {
                fresh.push(of_loop);
                continue;
            }
            let old = self.plan.axes.get(*axis).clone();
            let extent = self.index(&old.extent, env)?;
            let new = self.emitter.out.axes.push(Axis { name: old.name, extent });
            env.insert(*axis, Index::axis(new));
            fresh.push(new);
        }
        Ok(fresh)
    }
    /// The axis of a loop around in the function that is written.
    fn loop_axis(&self, canonical: AxisId) -> Option<AxisId> {
        let (of_source, _) = self.plan.outer.iter().find(|(_, axis)| **axis == canonical)?;
        self.emitter.loops.get(of_source).copied()
    }
    /// An expression over canonical axes, in the function that is written; what it reads is defined first.
    pub(super) fn index(&mut self, index: &Index, env: &Env) -> Result<Index, CompileError> {
        let mut reads = Vec::new();
        index.for_each_atom(&mut |atom| {
            if let Atom::Read(tensor, _) = atom {
                reads.push(*tensor);
            }
        });
        for tensor in reads {
            self.tensor(tensor)?;
        }
        let tensors = &self.emitter.tensors;
        Ok(index.substitute(&mut |atom| match atom {
            Atom::Axis(axis) => env.get(axis).cloned(),
            Atom::Read(tensor, subs) => tensors.get(tensor).map(|t| Index::atom(Atom::Read(*t, subs.clone()))),
            _ => None,
        }))
    }
    /// A tensor of the source, defined first if it is one of this block.
    pub(super) fn tensor(&mut self, tensor: TensorId) -> Result<TensorId, CompileError> {
        self.define(tensor)?;
        self.emitter.known(tensor)
    }
}
