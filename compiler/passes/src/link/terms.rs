//! Terms: from a frame's function to the linked one, and renamings within it.

use super::frame::{Bound, FrameId, Renaming, rename_index};
use super::{LinkError, Linker};
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::typing::read_dtype;
use sawmill_ir::graph::{Axis, Elem, Op, Stmt, Tensor, TensorKind, Term, TermId};
use sawmill_ir::index::{AxisId, Index, TensorId};
use std::collections::BTreeSet;

impl<'m> Linker<'m> {
    /// A term of the linked function; equal terms are one.
    pub(super) fn add(&mut self, op: Op, args: Vec<TermId>, dtype: DType) -> TermId {
        let key = (op, args);
        let same = self.known.get(&key).into_iter().flatten().find(|id| self.out.terms[**id].dtype == dtype);
        if let Some(id) = same {
            return *id;
        }
        let mut free: BTreeSet<AxisId> = key.1.iter().flat_map(|arg| &self.free[arg_position(*arg)]).copied().collect();
        for axis in key.0.binds() {
            free.remove(axis);
        }
        free.extend(op_axes(&key.0));
        let (op, args) = key.clone();
        let id = self.out.terms.push(Term { op, args, dtype });
        self.free.push(free);
        self.known.entry(key).or_default().push(id);
        id
    }
    /// The free axes of a term of the linked function, in order.
    pub(super) fn free_axes(&self, term: TermId) -> &BTreeSet<AxisId> {
        &self.free[arg_position(term)]
    }
    /// `term` cast to `dtype`, if it is not that already.
    pub(super) fn cast(&mut self, term: TermId, dtype: DType) -> TermId {
        if self.out.terms[term].dtype == dtype { term } else { self.add(Op::Cast(dtype), vec![term], dtype) }
    }
    /// A new axis like `axis` of the linked function.
    pub(super) fn fresh_axis(&mut self, axis: AxisId, renaming: &Renaming) -> AxisId {
        let Axis { name, extent } = self.out.axes[axis].clone();
        self.out.axes.push(Axis { name, extent: rename_index(&extent, renaming) })
    }

    /// Defines a tensor that holds `term`, over its free axes; also gives the subscripts that read it where `term` stands.
    pub(super) fn define(&mut self, name: &str, term: TermId) -> (TensorId, Vec<Index>) {
        let free: Vec<AxisId> =
            self.free_axes(term).iter().copied().filter(|axis| !self.loops.contains(axis)).collect();
        let dtype = self.out.terms[term].dtype;
        let id = self.define_over(name, &free, term, Elem::Type(dtype), false);
        (id, free.into_iter().map(Index::axis).collect())
    }
    /// Defines a tensor over `axes`, each replaced by one of the definition's own.
    pub(super) fn define_over(
        &mut self,
        name: &str,
        axes: &[AxisId],
        term: TermId,
        elem: Elem,
        rounded: bool,
    ) -> TensorId {
        let mut renaming = Renaming::new();
        let mut own = Vec::new();
        for axis in axes {
            if self.loops.contains(axis) {
                own.push(*axis);
                continue;
            }
            let fresh = self.fresh_axis(*axis, &renaming);
            renaming.insert(*axis, Index::axis(fresh));
            own.push(fresh);
        }
        let value = self.rename_term(term, &renaming);
        let shape = own.iter().map(|axis| self.out.axes[*axis].extent.clone()).collect();
        let kind = TensorKind::Def { axes: own, value, rounded };
        let id = self.out.tensors.push(Tensor { name: name.to_owned(), elem, shape, kind });
        self.push_stmt(Stmt::Define(id));
        id
    }
    /// Appends a statement to the innermost block.
    pub(super) fn push_stmt(&mut self, stmt: Stmt) {
        self.blocks.last_mut().expect("a block is open while statements are linked").stmts.push(stmt);
    }

    /// A term of the linked function with axes replaced; binders get axes of their own.
    pub(super) fn rename_term(&mut self, term: TermId, renaming: &Renaming) -> TermId {
        self.rename_memo(term, renaming, &mut FxHashMap::default())
    }
    fn rename_memo(&mut self, id: TermId, renaming: &Renaming, memo: &mut FxHashMap<TermId, TermId>) -> TermId {
        if !self.free_axes(id).iter().any(|axis| renaming.contains_key(axis)) {
            return id;
        }
        if let Some(done) = memo.get(&id) {
            return *done;
        }
        let term = self.out.terms[id].clone();
        let mut inner = renaming.clone();
        for axis in term.op.binds() {
            let fresh = self.fresh_axis(*axis, renaming);
            inner.insert(*axis, Index::axis(fresh));
        }
        let done = if term.op.binds().is_empty() {
            let args = term.args.iter().map(|arg| self.rename_memo(*arg, renaming, memo)).collect();
            self.add(rename_op(&term.op, renaming), args, term.dtype)
        } else {
            let mut below = FxHashMap::default();
            let args = term.args.iter().map(|arg| self.rename_memo(*arg, &inner, &mut below)).collect();
            self.add(rename_op(&term.op, &inner), args, term.dtype)
        };
        memo.insert(id, done);
        done
    }

    /// A term of a frame's function in the linked one.
    pub(super) fn term(&mut self, frame: FrameId, id: TermId) -> Result<TermId, LinkError> {
        if let Some(done) = self.memo.get(&(frame, id)) {
            return Ok(*done);
        }
        let function = self.frames[frame].function;
        let term = &function.terms[id];
        let linked = match &term.op {
            Op::Index(index) => {
                let index = self.index(frame, index)?;
                self.add(Op::Index(index), Vec::new(), term.dtype)
            }
            Op::Read { tensor, subs, guarded } => {
                let subs = self.indices(frame, subs)?;
                self.read(frame, *tensor, subs, *guarded, term.dtype)?
            }
            Op::Reduce { op, axes, segment } => {
                let segment = segment.clone().map(|(tensor, at)| self.segment(frame, tensor, &at)).transpose()?;
                let axes = self.bind_axes(frame, axes)?;
                let args = self.args(frame, &term.args)?;
                self.add(Op::Reduce { op: *op, axes, segment }, args, term.dtype)
            }
            Op::Fold { axes, components } => {
                let axes = self.bind_axes(frame, axes)?;
                let args = self.args(frame, &term.args)?;
                self.add(Op::Fold { axes, components: components.clone() }, args, term.dtype)
            }
            Op::Softmax { axes } => {
                let axes = axes.iter().map(|axis| self.axis(frame, *axis)).collect::<Result<_, _>>()?;
                let args = self.args(frame, &term.args)?;
                self.add(Op::Softmax { axes }, args, term.dtype)
            }
            Op::Running { op, axis, rev, exclusive } => {
                let axis = self.axis(frame, *axis)?;
                let args = self.args(frame, &term.args)?;
                self.add(Op::Running { op: *op, axis, rev: *rev, exclusive: *exclusive }, args, term.dtype)
            }
            Op::RoundParam(at) => {
                let args = self.args(frame, &term.args)?;
                match self.frames[frame].types.get(*at as usize) {
                    Some(Elem::Type(to)) if to.is_compute() => args[0],
                    Some(Elem::Type(to)) => self.add(Op::Round(*to), args, term.dtype),
                    // A packed format stands for the values of its equation, which are not rounded.
                    Some(Elem::Format(_)) => args[0],
                    _ => return Err(self.error("a type parameter is not bound")),
                }
            }
            Op::Call { .. } => self.call(frame, id)?,
            Op::Apply(closure) => {
                let args = self.args(frame, &term.args)?;
                let known = self.frames[frame].closures.get(closure).cloned();
                let (environment, closure) = known.ok_or_else(|| self.error("a closure is not bound"))?;
                let body = self.apply(environment, &closure, args)?;
                self.cast(body, term.dtype)
            }
            Op::Bind(at) => {
                let value = self.term(frame, term.args[0])?;
                let mut inner = self.frames[frame].clone();
                inner.params.truncate(*at as usize);
                inner.params.push(value);
                let inner = self.frames.push(inner);
                self.term(inner, term.args[1])?
            }
            Op::ClosureParam(at) => {
                let known = self.frames[frame].params.get(*at as usize).copied();
                let value = known.ok_or_else(|| self.error(format!("closure parameter {at} is out of scope")))?;
                self.cast(value, term.dtype)
            }
            op => {
                let args = self.args(frame, &term.args)?;
                self.add(op.clone(), args, term.dtype)
            }
        };
        self.memo.insert((frame, id), linked);
        Ok(linked)
    }
    /// Terms of a frame's function in the linked one.
    pub(super) fn args(&mut self, frame: FrameId, args: &[TermId]) -> Result<Vec<TermId>, LinkError> {
        args.iter().map(|arg| self.term(frame, *arg)).collect()
    }
    /// Gives axes of a frame's function axes of the linked one.
    pub(super) fn bind_axes(&mut self, frame: FrameId, axes: &[AxisId]) -> Result<Vec<AxisId>, LinkError> {
        let mut own = Vec::with_capacity(axes.len());
        for axis in axes {
            let Axis { name, extent } = &self.frames[frame].function.axes[*axis];
            let extent = self.index(frame, extent)?;
            let linked = self.out.axes.push(Axis { name: name.clone(), extent });
            self.frames[frame].axes.insert(*axis, Index::axis(linked));
            own.push(linked);
        }
        Ok(own)
    }
    fn axis(&self, frame: FrameId, axis: AxisId) -> Result<AxisId, LinkError> {
        let known = self.frames[frame].axes.get(&axis).and_then(Index::as_axis);
        known.ok_or_else(|| self.error("a row operator needs an axis, not a position"))
    }
    fn segment(&mut self, frame: FrameId, tensor: TensorId, at: &Index) -> Result<(TensorId, Index), LinkError> {
        let at = self.index(frame, at)?;
        match self.frames[frame].tensors.get(&tensor) {
            Some(Bound::Tensor { id, subs }) if subs.iter().all(Option::is_none) => Ok((*id, at)),
            _ => Err(self.error("the offsets of segments must be a whole tensor")),
        }
    }
    /// The body of a closure on arguments of the linked function.
    pub(super) fn apply(
        &mut self,
        environment: FrameId,
        closure: &sawmill_ir::graph::Closure,
        args: Vec<TermId>,
    ) -> Result<TermId, LinkError> {
        let mut frame = self.frames[environment].clone();
        frame.params.truncate(closure.outer as usize);
        frame.params.extend(args);
        let frame = self.frames.push(frame);
        self.term(frame, closure.body)
    }

    /// An element of a tensor of a frame.
    pub(super) fn read(
        &mut self,
        frame: FrameId,
        tensor: TensorId,
        subs: Vec<Index>,
        guarded: bool,
        dtype: DType,
    ) -> Result<TermId, LinkError> {
        let function = self.frames[frame].function;
        let bound = self.frames[frame].tensors.get(&tensor).cloned();
        let name = || function.tensors[tensor].name.clone();
        let bound = bound.ok_or_else(|| self.error(format!("`{}` of `{}` is not bound", name(), function.name)))?;
        if let Bound::Fill(value) = bound {
            let value = self.cast(value, dtype);
            let shape = self.indices(frame, &function.tensors[tensor].shape)?;
            return Ok(if guarded { self.inside(value, &subs, &shape) } else { value });
        }
        self.read_bound(&bound, subs, guarded, dtype)
    }
    /// An element of what a name is bound to.
    pub(super) fn read_bound(
        &mut self,
        bound: &Bound<'m>,
        subs: Vec<Index>,
        guarded: bool,
        dtype: DType,
    ) -> Result<TermId, LinkError> {
        let open: Vec<Option<Index>> = subs.into_iter().map(Some).collect();
        match bound.slice(&open) {
            Bound::Fill(value) => Ok(self.cast(value, dtype)),
            Bound::Tensor { id, subs } => {
                let subs: Vec<Index> = subs.into_iter().flatten().collect();
                if subs.len() != self.out.tensors[id].shape.len() {
                    return Err(self.error(format!("`{}` is read at a wrong rank", self.out.tensors[id].name)));
                }
                let own = read_dtype(&self.out, &self.out.tensors[id].elem);
                let read = self.add(Op::Read { tensor: id, subs, guarded }, Vec::new(), own);
                Ok(self.cast(read, dtype))
            }
            Bound::Packed { format, fields, shape, subs } => {
                let subs: Vec<Index> = subs.into_iter().flatten().collect();
                let value = self.unpack(format, &fields, &shape, &subs)?;
                let value = self.cast(value, dtype);
                Ok(if guarded { self.inside(value, &subs, &shape) } else { value })
            }
        }
    }
    /// `value` where every subscript is in range, else absent.
    fn inside(&mut self, value: TermId, subs: &[Index], shape: &[Index]) -> TermId {
        let mut value = value;
        for (sub, size) in subs.iter().zip(shape) {
            let at = self.add(Op::Index(sub.clone()), Vec::new(), DType::I64);
            let zero = self.add(Op::Index(Index::int(0)), Vec::new(), DType::I64);
            let size = self.add(Op::Index(size.clone()), Vec::new(), DType::I64);
            let above = self.add(Op::Elem(ElemOp::Ge), vec![at, zero], DType::Bool);
            let below = self.add(Op::Elem(ElemOp::Lt), vec![at, size], DType::Bool);
            let both = self.add(Op::Elem(ElemOp::And), vec![above, below], DType::Bool);
            let dtype = self.out.terms[value].dtype;
            value = self.add(Op::Where, vec![value, both], dtype);
        }
        value
    }
}

fn arg_position(term: TermId) -> usize {
    sawmill_ir::entity::Entity::index(term)
}

/// The axes that an operation itself mentions.
fn op_axes(op: &Op) -> BTreeSet<AxisId> {
    match op {
        Op::Index(index) => index.axes(),
        Op::Read { subs, .. } => subs.iter().flat_map(Index::axes).collect(),
        Op::Reduce { segment: Some((_, at)), .. } => at.axes(),
        Op::Softmax { axes } => axes.iter().copied().collect(),
        Op::Running { axis, .. } => BTreeSet::from([*axis]),
        _ => BTreeSet::new(),
    }
}

/// The operation with axes replaced; axes of binders and row operators are replaced by axes.
fn rename_op(op: &Op, renaming: &Renaming) -> Op {
    let axis = |axis: &AxisId| renaming.get(axis).and_then(Index::as_axis).unwrap_or(*axis);
    match op {
        Op::Index(index) => Op::Index(rename_index(index, renaming)),
        Op::Read { tensor, subs, guarded } => {
            let subs = subs.iter().map(|sub| rename_index(sub, renaming)).collect();
            Op::Read { tensor: *tensor, subs, guarded: *guarded }
        }
        Op::Reduce { op, axes, segment } => {
            let segment = segment.as_ref().map(|(tensor, at)| (*tensor, rename_index(at, renaming)));
            Op::Reduce { op: *op, axes: axes.iter().map(axis).collect(), segment }
        }
        Op::Fold { axes, components } => {
            Op::Fold { axes: axes.iter().map(axis).collect(), components: components.clone() }
        }
        Op::Softmax { axes } => Op::Softmax { axes: axes.iter().map(axis).collect() },
        Op::Running { op, axis: along, rev, exclusive } => {
            Op::Running { op: *op, axis: axis(along), rev: *rev, exclusive: *exclusive }
        }
        other => other.clone(),
    }
}
