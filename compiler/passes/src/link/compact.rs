//! Drops terms, axes and tensors that nothing reaches, and numbers the others in order of first occurrence.
//!
//! In: a linked function. Out: an equal one, as if it had been printed and read again: operands come before users, the axes
//! that something binds before what is under them, tensors in the order of the signature and the body.

use rustc_hash::FxHashMap;
use sawmill_ir::graph::{Axis, Carry, Function, Input, Loop, Op, Param, Require, Stmt, TensorKind, Term, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};

/// `function` without what nothing reaches.
pub(super) fn compact(function: &Function) -> Function {
    let out = Function { name: function.name.clone(), dims: function.dims.clone(), ..Function::default() };
    let mut copy = Copy {
        source: function,
        out,
        axes: FxHashMap::default(),
        tensors: FxHashMap::default(),
        terms: FxHashMap::default(),
    };
    for param in &function.params {
        if let Param::Tensor(id) = param {
            copy.input(*id);
        }
    }
    copy.out.requires = function.requires.iter().map(|r| copy.require(r)).collect();
    copy.out.body = copy.block(&function.body);
    copy.out.outputs = function.outputs.iter().map(|id| copy.tensor(*id)).collect();
    copy.out
}

struct Copy<'a> {
    source: &'a Function,
    out: Function,
    axes: FxHashMap<AxisId, AxisId>,
    tensors: FxHashMap<TensorId, TensorId>,
    terms: FxHashMap<TermId, TermId>,
}

impl Copy<'_> {
    fn input(&mut self, id: TensorId) {
        let source = &self.source.tensors[id];
        let mut tensor = source.clone();
        tensor.shape = self.indices(&source.shape);
        if let TensorKind::Input(input) = &source.kind {
            let promise = input.promise.as_ref().map(|(low, high)| (self.index(low), self.index(high)));
            let default = input.default.map(|term| self.term(term));
            tensor.kind = TensorKind::Input(Input { promise, default, ..input.clone() });
        }
        let new = self.out.tensors.push(tensor);
        self.out.params.push(Param::Tensor(new));
        self.tensors.insert(id, new);
    }
    fn require(&self, require: &Require) -> Require {
        match require {
            Require::Equal(a, b) => Require::Equal(self.index(a), self.index(b)),
            Require::NonNegative(a) => Require::NonNegative(self.index(a)),
        }
    }
    fn block(&mut self, stmts: &[Stmt]) -> Vec<Stmt> {
        let statement = |stmt: &Stmt| match stmt {
            Stmt::Define(id) => Stmt::Define(self.define(*id)),
            Stmt::Loop(steps) => Stmt::Loop(self.steps(steps)),
        };
        stmts.iter().map(statement).collect()
    }
    fn define(&mut self, id: TensorId) -> TensorId {
        let source = &self.source.tensors[id];
        let kind = match &source.kind {
            TensorKind::Def { axes, value, rounded } => {
                let axes = self.bind(axes);
                TensorKind::Def { axes, value: self.term(*value), rounded: *rounded }
            }
            TensorKind::Append { base, at, dim, axes, value } => {
                let (base, at) = (self.tensor(*base), self.indices(at));
                let axes = self.bind(axes);
                TensorKind::Append { base, at, dim: *dim, axes, value: self.term(*value) }
            }
            other => other.clone(),
        };
        self.add(id, kind)
    }
    /// A tensor like `id`.
    fn add(&mut self, id: TensorId, kind: TensorKind) -> TensorId {
        let source = &self.source.tensors[id];
        let mut tensor = source.clone();
        tensor.shape = self.indices(&source.shape);
        tensor.kind = kind;
        let new = self.out.tensors.push(tensor);
        self.tensors.insert(id, new);
        new
    }
    fn steps(&mut self, steps: &Loop) -> Loop {
        let index = self.bind(&[steps.index])[0];
        let mut carries = Vec::new();
        for carry in &steps.carries {
            let init = self.tensor(carry.init);
            let inside = self.add(carry.inside, TensorKind::Carry);
            carries.push(Carry { init, inside, next: inside, result: inside });
        }
        let body = self.block(&steps.body);
        for (carry, source) in carries.iter_mut().zip(&steps.carries) {
            carry.next = self.tensor(source.next);
            carry.result = self.add(source.result, TensorKind::Final);
        }
        Loop { index, rev: steps.rev, carries, body }
    }

    /// The axes that something binds; one that is bound around it already is that one.
    fn bind(&mut self, axes: &[AxisId]) -> Vec<AxisId> {
        let mut bound = Vec::with_capacity(axes.len());
        for axis in axes {
            let known = self.axes.get(axis).copied();
            bound.push(known.unwrap_or_else(|| {
                let source = &self.source.axes[*axis];
                let extent = self.index(&source.extent);
                let new = self.out.axes.push(Axis { name: source.name.clone(), extent });
                self.axes.insert(*axis, new);
                new
            }));
        }
        bound
    }
    fn term(&mut self, id: TermId) -> TermId {
        if let Some(done) = self.terms.get(&id) {
            return *done;
        }
        let Term { op, args, dtype } = &self.source.terms[id];
        let op = match op {
            Op::Index(index) => Op::Index(self.index(index)),
            Op::Read { tensor, subs, guarded } => {
                Op::Read { tensor: self.tensor(*tensor), subs: self.indices(subs), guarded: *guarded }
            }
            Op::Reduce { op, axes, segment } => {
                let axes = self.bind(axes);
                let segment = segment.as_ref().map(|(tensor, at)| (self.tensor(*tensor), self.index(at)));
                Op::Reduce { op: *op, axes, segment }
            }
            Op::Softmax { axes } => Op::Softmax { axes: self.bind(axes) },
            Op::Running { op, axis, rev, exclusive } => {
                Op::Running { op: *op, axis: self.bind(&[*axis])[0], rev: *rev, exclusive: *exclusive }
            }
            Op::Fold { axes, components } => Op::Fold { axes: self.bind(axes), components: components.clone() },
            other => other.clone(),
        };
        let args = args.iter().map(|arg| self.term(*arg)).collect();
        let new = self.out.terms.push(Term { op, args, dtype: *dtype });
        self.terms.insert(id, new);
        new
    }

    /// The tensor that was copied for `id`. A linked body names nothing before it is there; what breaks that rule keeps its
    /// number, for the verifier to find.
    fn tensor(&self, id: TensorId) -> TensorId {
        self.tensors.get(&id).copied().unwrap_or(id)
    }
    fn indices(&self, indices: &[Index]) -> Vec<Index> {
        indices.iter().map(|index| self.index(index)).collect()
    }
    fn index(&self, index: &Index) -> Index {
        index.substitute(&mut |atom| match atom {
            Atom::Axis(axis) => self.axes.get(axis).map(|new| Index::axis(*new)),
            Atom::Read(tensor, subs) => Some(Index::atom(Atom::Read(self.tensor(*tensor), subs.clone()))),
            _ => None,
        })
    }
}
