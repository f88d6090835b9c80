//! From chosen terms back to a function, in plan form.
//!
//! In: the chosen terms of each block, in order. Out: a linked function in which every definition is stored. Inside of a
//! definition, reductions over the same axes at the same level become one [`Op::Fold`]; a lone one without repair stays a
//! [`Op::Reduce`]. Axes are fresh for every binder. Statements come in the order of first need, so a definition follows what
//! it reads.

mod block;
mod kernel;

pub(crate) use block::{BlockPlan, PlannedRoot};

use crate::normalise::Terms;
use block::BlockEmitter;
use sawmill_ir::backend::CompileError;
use sawmill_ir::graph::{Axis, Function, Op, Stmt, Tensor, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use std::collections::{BTreeMap, BTreeSet};

/// Writes the function.
pub(crate) struct Emitter<'a> {
    source: &'a Function,
    out: Function,
    terms: Terms,
    /// Tensors of the source that are there already.
    tensors: BTreeMap<TensorId, TensorId>,
    /// Axes of the loops around.
    loops: BTreeMap<AxisId, AxisId>,
    names: BTreeSet<String>,
}

impl<'a> Emitter<'a> {
    /// A function with the signature of `source` and no body.
    pub(crate) fn new(source: &'a Function) -> Result<Self, CompileError> {
        let out = Function {
            name: source.name.clone(),
            dims: source.dims.clone(),
            requires: source.requires.clone(),
            params: source.params.clone(),
            ..Function::default()
        };
        let names = source.tensors.values().map(|t| t.name.clone()).collect();
        let mut emitter =
            Self { source, out, terms: Terms::default(), tensors: BTreeMap::new(), loops: BTreeMap::new(), names };
        emitter.out.params.clear();
        for param in &source.params {
            let sawmill_ir::graph::Param::Tensor(tensor) = param else {
                return Err(emitter.bug("a linked function has a closure".to_owned()));
            };
            emitter.input(*tensor)?;
        }
        Ok(emitter)
    }
    fn input(&mut self, tensor: TensorId) -> Result<(), CompileError> {
        let mut copy = self.source.tensors[tensor].clone();
        if let TensorKind::Input(input) = &mut copy.kind
            && let Some(default) = input.default
        {
            input.default = Some(self.copy(default)?);
        }
        if let TensorKind::Input(input) = &mut copy.kind
            && let Some((low, high)) = &input.promise
        {
            input.promise = Some((self.outer(low), self.outer(high)));
        }
        copy.shape = copy.shape.iter().map(|s| self.outer(s)).collect();
        let new = self.out.tensors.push(copy);
        self.out.params.push(sawmill_ir::graph::Param::Tensor(new));
        self.tensors.insert(tensor, new);
        Ok(())
    }
    /// A closed term of the source.
    fn copy(&mut self, term: TermId) -> Result<TermId, CompileError> {
        let term = self.source.terms[term].clone();
        let args = term.args.iter().map(|a| self.copy(*a)).collect::<Result<_, _>>()?;
        let op = match term.op {
            Op::Index(index) => Op::Index(self.outer(&index)),
            Op::Read { tensor, subs, guarded } => {
                let subs = subs.iter().map(|s| self.outer(s)).collect();
                let Some(tensor) = self.tensors.get(&tensor).copied() else {
                    return Err(self.bug("a default reads a later argument".to_owned()));
                };
                Op::Read { tensor, subs, guarded }
            }
            other => other,
        };
        Ok(self.terms.add(op, args, term.dtype))
    }
    /// An expression of the source over loop axes and known tensors.
    fn outer(&self, index: &Index) -> Index {
        index.substitute(&mut |atom| match atom {
            Atom::Axis(axis) => self.loops.get(axis).map(|a| Index::axis(*a)),
            Atom::Read(tensor, subs) => self.tensors.get(tensor).map(|t| Index::atom(Atom::Read(*t, subs.clone()))),
            _ => None,
        })
    }

    /// The statements of one block.
    pub(crate) fn block<'e>(&'e mut self, plan: BlockPlan<'e>) -> BlockEmitter<'e, 'a> {
        let source = self.source;
        BlockEmitter::new(self, source, plan)
    }
    /// Opens a loop: its axis and the carries inside.
    pub(crate) fn open(&mut self, steps: &sawmill_ir::graph::Loop) -> Result<sawmill_ir::graph::Loop, CompileError> {
        let axis = &self.source.axes[steps.index];
        let axis = Axis { name: axis.name.clone(), extent: self.outer(&axis.extent) };
        let index = self.out.axes.push(axis);
        self.loops.insert(steps.index, index);
        let mut carries = Vec::new();
        for carry in &steps.carries {
            let init = self.known(carry.init)?;
            let inside = self.same(carry.inside);
            carries.push(sawmill_ir::graph::Carry { init, inside, next: inside, result: inside });
        }
        Ok(sawmill_ir::graph::Loop { index, rev: steps.rev, carries, body: Vec::new() })
    }
    /// Closes a loop: what its carries become.
    pub(crate) fn close(
        &mut self,
        steps: &sawmill_ir::graph::Loop,
        mut new: sawmill_ir::graph::Loop,
        body: Vec<Stmt>,
    ) -> Result<Stmt, CompileError> {
        for (carry, source) in new.carries.iter_mut().zip(&steps.carries) {
            carry.next = self.known(source.next)?;
            carry.result = self.same(source.result);
        }
        self.loops.remove(&steps.index);
        new.body = body;
        Ok(Stmt::Loop(new))
    }
    /// A carry, as it is in the source.
    fn same(&mut self, tensor: TensorId) -> TensorId {
        let old = &self.source.tensors[tensor];
        let shape = old.shape.iter().map(|s| self.outer(s)).collect();
        let copy = Tensor { name: old.name.clone(), elem: old.elem.clone(), shape, kind: old.kind.clone() };
        let new = self.out.tensors.push(copy);
        self.tensors.insert(tensor, new);
        new
    }
    fn known(&self, tensor: TensorId) -> Result<TensorId, CompileError> {
        let known = self.tensors.get(&tensor).copied();
        known.ok_or_else(|| self.bug(format!("{tensor} is needed but was not planned")))
    }
    /// The function with `body`.
    pub(crate) fn finish(mut self, body: Vec<Stmt>) -> Result<Function, CompileError> {
        let outputs = self.source.outputs.iter().map(|o| self.known(*o)).collect::<Result<_, _>>()?;
        self.out.outputs = outputs;
        self.out.body = body;
        self.out.terms = self.terms.finish();
        Ok(self.out)
    }
    /// A name like `hint` that no tensor has.
    fn name(&mut self, hint: &str) -> String {
        let mut count = 1;
        let mut name = format!("{hint}.{count}");
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{hint}.{count}");
        }
        name
    }
    fn bug(&self, message: String) -> CompileError {
        CompileError::Bug { message, text: sawmill_ir::graph::text::print_function(self.source) }
    }
}
