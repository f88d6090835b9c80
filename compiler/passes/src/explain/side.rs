//! Both sides of a step as functions.
//!
//! In: two terms of a derivation. Out: two functions with the same arguments: those of the program, and one for each tensor
//! that the block reads but does not get (carries, caches, definitions of other blocks) and for each running value of a
//! fold that stands around the subterm.

use super::Context;
use super::proof::Terms;
use crate::egraph::{AxisSet, Fact, Head, Node, ReadAt};
use crate::extract::{BlockPlan, Dag, Emitter, PlannedRoot};
use egg::{Id, RecExpr};
use rustc_hash::FxHashMap;
use sawmill_ir::backend::CompileError;
use sawmill_ir::dtype::Kind;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::{Const, Elem, Function, Input, Op, Param, Tensor, TensorKind, Term, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Both sides, each with the arguments that either needs.
pub(super) fn sides(
    context: &Context,
    terms: &Terms,
    before: usize,
    after: usize,
) -> Result<[Function; 2], CompileError> {
    let mut writer = Writer {
        terms,
        facts: Dag::of_expr(&terms.nodes().to_vec().into(), AxisSet::EMPTY).facts(),
        function: context.function.clone(),
        axes: &context.axes,
        running: BTreeMap::new(),
        free: AxisSet::EMPTY,
    };
    let sides = [writer.expr(before), writer.expr(after)];
    writer.arguments(&sides);
    let dags = sides.map(|s| Dag::of_expr(&s, AxisSet::EMPTY));
    for dag in &dags {
        writer.free = dag.roots.iter().fold(writer.free, |free, r| free.union(dag.fact(*r).free));
    }
    let [before, after] = dags;
    Ok([writer.write(&before)?, writer.write(&after)?])
}

struct Writer<'a> {
    terms: &'a Terms,
    facts: Vec<Fact>,
    function: Function,
    axes: &'a crate::egraph::Axes,
    /// Running values: the argument for each.
    running: BTreeMap<usize, TensorId>,
    free: AxisSet,
}

impl Writer<'_> {
    /// The term with running values of folds around it as reads.
    fn expr(&mut self, root: usize) -> RecExpr<Node> {
        let mut expr = RecExpr::default();
        let mut done = FxHashMap::default();
        self.copy(root, &BTreeSet::new(), &mut expr, &mut done);
        expr
    }
    fn copy(
        &mut self,
        at: usize,
        folds: &BTreeSet<AxisSet>,
        expr: &mut RecExpr<Node>,
        done: &mut FxHashMap<(usize, BTreeSet<AxisSet>), Id>,
    ) -> Id {
        let running = self.facts[at].running;
        let folds: &BTreeSet<AxisSet> = &folds.iter().copied().filter(|f| f.is_subset(running)).collect();
        let key = (at, folds.clone());
        if let Some(id) = done.get(&key) {
            return *id;
        }
        let node = &self.terms.nodes()[at];
        let node = match &node.head {
            Head::Running { axes, .. } if !folds.contains(&axes.set()) => self.argument(at),
            Head::Fold { axes } => {
                let mut inner = folds.clone();
                inner.insert(axes.set());
                let args = node.args.iter().map(|a| self.copy(usize::from(*a), &inner, expr, done)).collect();
                Node::new(node.head.clone(), args)
            }
            Head::Proj => {
                let fold = usize::from(node.args[0]);
                let mut inner = folds.clone();
                if let Head::Fold { axes } = &self.terms.nodes()[fold].head {
                    inner.insert(axes.set());
                }
                let fold = self.copy(fold, folds, expr, done);
                let component = self.copy(usize::from(node.args[1]), &inner, expr, done);
                Node::new(Head::Proj, vec![fold, component])
            }
            head => {
                let args = node.args.iter().map(|a| self.copy(usize::from(*a), folds, expr, done)).collect();
                Node::new(head.clone(), args)
            }
        };
        let id = expr.add(node);
        done.insert(key, id);
        id
    }
    /// A read of the argument that stands for a running value.
    fn argument(&mut self, at: usize) -> Node {
        let (free, dtype) = (self.facts[at].free, self.facts[at].dtype);
        let axes: Vec<AxisId> = free.iter().collect();
        let tensor = match self.running.get(&at) {
            Some(tensor) => *tensor,
            None => {
                let name = format!("running.{}", self.running.len());
                let shape = axes.iter().map(|a| self.axes.get(*a).extent.clone()).collect();
                let tensor = Tensor { name, elem: Elem::Type(dtype), shape, kind: TensorKind::Carry };
                let tensor = self.function.tensors.push(tensor);
                self.running.insert(at, tensor);
                tensor
            }
        };
        let subs = axes.into_iter().map(Index::axis).collect();
        Node::new(Head::Read(Arc::new(ReadAt { tensor, subs, guarded: false, needs: Vec::new(), dtype })), Vec::new())
    }
    /// Tensors that are read but are no arguments become arguments.
    fn arguments(&mut self, sides: &[RecExpr<Node>; 2]) {
        let mut read = BTreeSet::new();
        for node in sides.iter().flat_map(|s| s.as_ref()) {
            let mut note = |index: &Index| {
                index.for_each_atom(&mut |atom| {
                    if let Atom::Read(tensor, _) = atom {
                        read.insert(*tensor);
                    }
                });
            };
            match &node.head {
                Head::Index(index) => note(index),
                Head::View { map, .. } => map.iter().for_each(|(_, index)| note(index)),
                Head::Read(at) => {
                    at.subs.iter().for_each(note);
                    read.insert(at.tensor);
                }
                _ => {}
            }
        }
        for tensor in read {
            let old = &mut self.function.tensors[tensor];
            if !matches!(old.kind, TensorKind::Input(_)) {
                old.kind = TensorKind::Input(Input::default());
                old.name = format!("{}.{}", old.name, tensor.index());
                self.function.params.push(Param::Tensor(tensor));
            }
        }
    }
    fn write(&mut self, dag: &Dag) -> Result<Function, CompileError> {
        let Some(root) = dag.roots.first().copied() else {
            return Err(CompileError::Bug { message: "a step without terms".to_owned(), text: String::new() });
        };
        let mut source = self.function.clone();
        let elem = Elem::Type(dag.fact(root).dtype);
        let kind = TensorKind::Def { axes: Vec::new(), value: TermId::new(0), rounded: false };
        let tensor = source.tensors.push(Tensor { name: "term".to_owned(), elem, shape: Vec::new(), kind });
        source.outputs = vec![tensor];
        let roots = vec![PlannedRoot { tensor, node: root, axes: self.free.iter().collect() }];
        let mut emitter = Emitter::new(&source)?;
        let plan =
            BlockPlan { dag, axes: self.axes, roots, outer: BTreeMap::new(), named: BTreeMap::new(), merged: false };
        let mut block = emitter.block(plan);
        block.define(tensor)?;
        let body = block.finish();
        Ok(filled(emitter.finish(body)?))
    }
}

/// The function with 0 where its output would be absent: where a guarded read leaves its range.
fn filled(mut function: Function) -> Function {
    let guarded = function.terms.values().any(|t| matches!(t.op, Op::Read { guarded: true, .. }));
    let Some(output) = function.outputs.first().copied().filter(|_| guarded) else { return function };
    let TensorKind::Def { value, .. } = &function.tensors[output].kind else { return function };
    let (value, dtype) = (*value, function.terms[*value].dtype);
    let zero = match dtype.kind() {
        Kind::Float => Const::float(0.0),
        Kind::Bool => Const::Bool(false),
        _ => Const::Int(0),
    };
    let zero = function.terms.push(Term { op: Op::Const(zero), args: Vec::new(), dtype });
    let value_or_zero = function.terms.push(Term { op: Op::OrElse, args: vec![value, zero], dtype });
    if let TensorKind::Def { value, .. } = &mut function.tensors[output].kind {
        *value = value_or_zero;
    }
    function
}
