//! Calls: instances of functions, one for each set of arguments that differ by more than the names of their axes.

use super::frame::{Bound, Frame, FrameId, Renaming, rename_index};
use super::{LinkError, Linker, MAX_CALL_DEPTH};
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::typing::read_dtype;
use sawmill_ir::graph::{Arg, CallResult, Closure, DimKind, Elem, Function, Op, Param, Require, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, DimId, Index, TensorId};
use std::collections::BTreeSet;

/// What tells instances apart: the callee, its arguments and dims over numbered axes, the extents of these axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    function: String,
    args: Vec<(String, KeyArg)>,
    dims: Vec<(String, Index)>,
    extents: Vec<Index>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum KeyArg {
    Slice(Vec<TensorId>, Vec<Option<Index>>),
    Term(TermId),
    Closure(TermId),
}

/// A function whose body is linked in: its outputs, over the axes it is made for each value of.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    frame: FrameId,
    axes: Vec<AxisId>,
}

/// An argument in the linked function.
#[derive(Clone)]
enum Given<'m> {
    Tensor(Bound<'m>),
    Scalar(TermId),
    Closure(FrameId, Closure),
}

impl<'m> Linker<'m> {
    /// The value of a call: an element of a result of an instance.
    pub(super) fn call(&mut self, frame: FrameId, id: TermId) -> Result<TermId, LinkError> {
        let term = &self.frames[frame].function.terms[id];
        let Op::Call { subs, .. } = &term.op else { return Err(self.error("a call is no call")) };
        let bound = self.called(frame, id)?;
        let subs = self.indices(frame, subs)?;
        self.read_bound(&bound, subs, false, term.dtype)
    }

    /// What a call gives as a whole.
    pub(super) fn called(&mut self, frame: FrameId, id: TermId) -> Result<Bound<'m>, LinkError> {
        let term = &self.frames[frame].function.terms[id];
        let Op::Call { function, output, args, dims, .. } = &term.op else {
            return Err(self.error("a call is no call"));
        };
        let callee = self.find(function)?;
        let mut given = Vec::with_capacity(args.len());
        for (name, arg) in args {
            given.push((name.clone(), self.argument(frame, arg, &term.args)?));
        }
        let mut sizes = Vec::with_capacity(dims.len());
        for (name, size) in dims {
            sizes.push((name.clone(), self.index(frame, size)?));
        }
        let axes = self.free_of(&given, &sizes);
        let key = self.key(callee, &given, &sizes, &axes)?;
        let known = self.blocks.iter().rev().find_map(|block| block.instances.get(&key)).cloned();
        let instance = match known {
            Some(instance) => instance,
            None => {
                let instance = self.instance(frame, callee, given, sizes, &axes)?;
                let block = self.blocks.last_mut().expect("a block is open while terms are linked");
                block.instances.insert(key, instance.clone());
                instance
            }
        };
        let bound = match output {
            CallResult::Output(number) => {
                let out = callee.outputs.get(*number as usize);
                out.and_then(|out| self.frames[instance.frame].tensors.get(out).cloned())
            }
            CallResult::After(name) => self.appended(instance.frame, name),
        };
        let bound = bound.ok_or_else(|| self.error(format!("`{}` has no result {output:?}", callee.name)))?;
        let back: Renaming = instance.axes.iter().copied().zip(axes.into_iter().map(Index::axis)).collect();
        Ok(self.rename_bound(&bound, &back))
    }

    /// The argument called `name` of an instance after everything that was appended to it.
    fn appended(&self, frame: FrameId, name: &str) -> Option<Bound<'m>> {
        let frame = &self.frames[frame];
        let (param, _) = frame.function.tensors.iter().find(|(_, tensor)| tensor.name == name)?;
        let Bound::Tensor { id: given, subs } = frame.tensors.get(&param)? else { return None };
        let fixed: Vec<Index> = subs.iter().flatten().cloned().collect();
        let (id, tensor) = self.out.tensors.iter().rev().find(|(_, tensor)| match &tensor.kind {
            TensorKind::Append { base, at, .. } => base == given && *at == fixed,
            _ => false,
        })?;
        Some(Bound::Tensor { id, subs: vec![None; tensor.shape.len()] })
    }

    fn argument(&mut self, frame: FrameId, arg: &Arg, operands: &[TermId]) -> Result<Given<'m>, LinkError> {
        Ok(match arg {
            Arg::Slice(tensor, subs) => {
                let bound = self.frames[frame].tensors.get(tensor).cloned();
                let bound = bound.ok_or_else(|| self.error(format!("a call takes {tensor}, which is not bound")))?;
                let mut linked = Vec::with_capacity(subs.len());
                for sub in subs {
                    linked.push(sub.as_ref().map(|sub| self.index(frame, sub)).transpose()?);
                }
                Given::Tensor(bound.slice(&linked))
            }
            Arg::Scalar(at) => {
                let operand = operands.get(*at as usize).copied();
                let operand = operand.ok_or_else(|| self.error(format!("a call has no operand {at}")))?;
                Given::Scalar(self.term(frame, operand)?)
            }
            Arg::Closure(closure) => Given::Closure(frame, closure.clone()),
        })
    }

    /// The axes a call is made for each value of, in order of first use.
    fn free_of(&self, given: &[(String, Given<'m>)], sizes: &[(String, Index)]) -> Vec<AxisId> {
        let mut axes = Vec::new();
        let mut add = |found: BTreeSet<AxisId>| {
            for axis in found {
                if !axes.contains(&axis) && !self.loops.contains(&axis) {
                    axes.push(axis);
                }
            }
        };
        for (_, given) in given {
            match given {
                Given::Tensor(bound) => add(self.bound_axes(bound)),
                Given::Scalar(term) => add(self.free_axes(*term).clone()),
                Given::Closure(frame, closure) => {
                    let mut found = BTreeSet::new();
                    self.closure_axes(*frame, closure.outer, closure.body, &mut BTreeSet::new(), &mut found);
                    add(found);
                }
            }
        }
        sizes.iter().for_each(|(_, size)| add(size.axes()));
        axes
    }
    fn bound_axes(&self, bound: &Bound<'m>) -> BTreeSet<AxisId> {
        match bound {
            Bound::Fill(term) => self.free_axes(*term).clone(),
            bound => bound.subs().iter().flatten().flat_map(Index::axes).collect(),
        }
    }
    /// The axes of the linked function that a closure's body depends on. `own` are axes of the body's function that the body
    /// binds itself; of the parameters, the first `outer` are those of closures around.
    fn closure_axes(
        &self,
        frame: FrameId,
        outer: u32,
        body: TermId,
        own: &mut BTreeSet<AxisId>,
        found: &mut BTreeSet<AxisId>,
    ) {
        let names = &self.frames[frame];
        let term = &names.function.terms[body];
        own.extend(term.op.binds());
        let param = |at: u32| names.params.get(at as usize).filter(|_| at < outer).map(|p| self.free_axes(*p).clone());
        let mut indices: Vec<&Index> = Vec::new();
        match &term.op {
            Op::Index(index) => indices.push(index),
            Op::Read { tensor, subs, .. } => {
                indices.extend(subs);
                found.extend(names.tensors.get(tensor).map(|bound| self.bound_axes(bound)).unwrap_or_default());
            }
            Op::Apply(closure) => {
                if let Some((environment, closure)) = names.closures.get(closure) {
                    self.closure_axes(*environment, closure.outer, closure.body, &mut BTreeSet::new(), found);
                }
            }
            Op::ClosureParam(at) => found.extend(param(*at).unwrap_or_default()),
            Op::Call { subs, args, dims, .. } => {
                indices.extend(subs);
                indices.extend(dims.iter().map(|(_, size)| size));
                for (_, arg) in args {
                    match arg {
                        Arg::Slice(tensor, subs) => {
                            indices.extend(subs.iter().flatten());
                            let bound = names.tensors.get(tensor).map(|bound| self.bound_axes(bound));
                            found.extend(bound.unwrap_or_default());
                        }
                        Arg::Closure(inner) => self.closure_axes(frame, outer, inner.body, own, found),
                        Arg::Scalar(_) => {}
                    }
                }
            }
            _ => {}
        }
        for index in indices {
            index.for_each_atom(&mut |atom| match atom {
                Atom::Axis(axis) if !own.contains(axis) => {
                    found.extend(names.axes.get(axis).map(Index::axes).unwrap_or_default());
                }
                Atom::Param(at) => found.extend(param(*at).unwrap_or_default()),
                Atom::Read(tensor, _) => {
                    found.extend(names.tensors.get(tensor).map(|bound| self.bound_axes(bound)).unwrap_or_default());
                }
                _ => {}
            });
        }
        for arg in &term.args {
            self.closure_axes(frame, outer, *arg, own, found);
        }
    }

    /// The call over numbered axes.
    fn key(
        &mut self,
        callee: &Function,
        given: &[(String, Given<'m>)],
        sizes: &[(String, Index)],
        axes: &[AxisId],
    ) -> Result<Key, LinkError> {
        // Numbers from the far end of the id space: no axis of the function is called that.
        let number = |at: usize| AxisId::new(u32::MAX as usize - at);
        let numbers: Renaming = axes.iter().enumerate().map(|(at, axis)| (*axis, Index::axis(number(at)))).collect();
        let mut args = Vec::with_capacity(given.len());
        for (name, given) in given {
            let arg = match given {
                Given::Tensor(bound) => match self.rename_bound(bound, &numbers) {
                    Bound::Fill(term) => KeyArg::Term(term),
                    Bound::Tensor { id, subs } => KeyArg::Slice(vec![id], subs),
                    Bound::Packed { fields, subs, .. } => KeyArg::Slice(fields, subs),
                },
                Given::Scalar(term) => KeyArg::Term(self.rename_term(*term, &numbers)),
                Given::Closure(frame, closure) => {
                    let param = callee.closures.values().find(|param| param.name == *name);
                    let types = param.map(|param| param.params.clone()).unwrap_or_default();
                    let mut params = Vec::with_capacity(types.len());
                    for (at, dtype) in (closure.outer..).zip(types) {
                        // Far from the parameters of closures around this one.
                        params.push(self.placeholder(u32::MAX - at, dtype));
                    }
                    let body = self.apply(*frame, closure, params)?;
                    KeyArg::Closure(self.rename_term(body, &numbers))
                }
            };
            args.push((name.clone(), arg));
        }
        let dims = sizes.iter().map(|(name, size)| (name.clone(), rename_index(size, &numbers))).collect();
        let extents = axes.iter().map(|axis| rename_index(&self.out.axes[*axis].extent, &numbers)).collect();
        Ok(Key { function: callee.name.clone(), args, dims, extents })
    }

    /// Links the body of `callee` for these arguments.
    fn instance(
        &mut self,
        caller: FrameId,
        callee: &'m Function,
        given: Vec<(String, Given<'m>)>,
        sizes: Vec<(String, Index)>,
        axes: &[AxisId],
    ) -> Result<Instance, LinkError> {
        self.depth += 1;
        if self.depth > MAX_CALL_DEPTH {
            return Err(self.error(format!("`{}` calls itself, or calls nest too deep", callee.name)));
        }
        let mut renaming = Renaming::new();
        let mut own = Vec::with_capacity(axes.len());
        for axis in axes {
            let fresh = self.fresh_axis(*axis, &renaming);
            renaming.insert(*axis, Index::axis(fresh));
            own.push(fresh);
        }
        let mut frame = Frame::new(callee);
        frame.lead = own.clone();
        frame.depth = self.frames[caller].depth + 1;
        for (name, size) in sizes {
            if let Some((id, _)) = callee.dims.iter().find(|(_, dim)| dim.name == name) {
                frame.dims[id.index()] = Some(rename_index(&size, &renaming));
            }
        }
        frame.types = callee.type_params.iter().map(|_| Elem::Type(DType::F32)).collect();
        for (name, given) in given {
            self.bind_argument(&mut frame, &name, given, &renaming)?;
        }
        self.solve_dims(&mut frame)?;
        let frame = self.frames.push(frame);
        self.bind_defaults(frame)?;
        self.body(frame, &callee.body)?;
        self.depth -= 1;
        Ok(Instance { frame, axes: own })
    }

    fn bind_argument(
        &mut self,
        frame: &mut Frame<'m>,
        name: &str,
        given: Given<'m>,
        renaming: &Renaming,
    ) -> Result<(), LinkError> {
        let callee = frame.function;
        let param = callee.params.iter().find(|param| match param {
            Param::Tensor(id) => callee.tensors[*id].name == name,
            Param::Closure(id) => callee.closures[*id].name == name,
        });
        match (param, given) {
            (Some(Param::Closure(id)), Given::Closure(environment, closure)) => {
                let environment = self.rename_frame(environment, renaming);
                frame.closures.insert(*id, (environment, closure));
            }
            (Some(Param::Tensor(id)), Given::Scalar(term)) => {
                let term = self.rename_term(term, renaming);
                let dtype = read_dtype(callee, &callee.tensors[*id].elem);
                let term = self.cast(term, dtype);
                frame.tensors.insert(*id, Bound::Fill(term));
            }
            (Some(Param::Tensor(id)), Given::Tensor(bound)) => {
                let bound = self.rename_bound(&bound, renaming);
                self.unify(frame, *id, &bound)?;
                frame.tensors.insert(*id, bound);
            }
            _ => return Err(self.error(format!("`{}` has no parameter `{name}` of this kind", callee.name))),
        }
        Ok(())
    }
    /// Dims and types of the callee that an argument determines.
    fn unify(&mut self, frame: &mut Frame<'m>, id: TensorId, bound: &Bound<'m>) -> Result<(), LinkError> {
        let param = &frame.function.tensors[id];
        let (elem, shape) = match bound {
            Bound::Fill(_) => return Ok(()),
            Bound::Tensor { id, .. } => (self.out.tensors[*id].elem.clone(), self.out.tensors[*id].shape.clone()),
            Bound::Packed { format, shape, .. } => (Elem::Format(format.name.clone()), shape.clone()),
        };
        if let Elem::Param(at) = param.elem {
            frame.types[at as usize] = elem;
        }
        let open: Vec<Index> =
            shape.into_iter().zip(bound.subs()).filter(|(_, sub)| sub.is_none()).map(|(size, _)| size).collect();
        if open.len() != param.shape.len() {
            let message = format!("`{}` of `{}` is given a wrong rank", param.name, frame.function.name);
            return Err(self.error(message));
        }
        for (expected, actual) in param.shape.iter().zip(open) {
            if let Some(Atom::Dim(dim)) = expected.as_atom() {
                frame.dims[dim.index()].get_or_insert(actual);
            }
        }
        Ok(())
    }
    /// Dims that requirements determine, then defaults.
    fn solve_dims(&mut self, frame: &mut Frame<'m>) -> Result<(), LinkError> {
        let callee = frame.function;
        let mut progress = true;
        while progress {
            progress = false;
            for require in &callee.requires {
                if let Require::Equal(a, b) = require
                    && let Some((dim, size)) = solve(&a.sub(b), &frame.dims)
                {
                    frame.dims[dim.index()] = Some(size);
                    progress = true;
                }
            }
            let default = |(id, dim): (DimId, &sawmill_ir::graph::Dim)| match dim.kind {
                DimKind::Const(Some(value)) if frame.dims[id.index()].is_none() => Some((id, value)),
                _ => None,
            };
            if !progress && let Some((id, value)) = callee.dims.iter().find_map(default) {
                frame.dims[id.index()] = Some(Index::int(value));
                progress = true;
            }
        }
        Ok(())
    }
    fn bind_defaults(&mut self, frame: FrameId) -> Result<(), LinkError> {
        let callee = self.frames[frame].function;
        for param in &callee.params {
            match param {
                Param::Tensor(id) if !self.frames[frame].tensors.contains_key(id) => {
                    let tensor = &callee.tensors[*id];
                    let default = match &tensor.kind {
                        TensorKind::Input(input) => input.default,
                        _ => None,
                    };
                    let missing = || self.error(format!("`{}` of `{}` is not given", tensor.name, callee.name));
                    let value = self.term(frame, default.ok_or_else(missing)?)?;
                    self.frames[frame].tensors.insert(*id, Bound::Fill(value));
                }
                Param::Closure(id) if !self.frames[frame].closures.contains_key(id) => {
                    let closure = &callee.closures[*id];
                    let missing = || self.error(format!("`{}` of `{}` is not given", closure.name, callee.name));
                    let default = closure.default.clone().ok_or_else(missing)?;
                    self.frames[frame].closures.insert(*id, (frame, default));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The one unknown dim of `zero = 0` and its value, if it occurs linearly: `c * dim + r = 0` gives `-r / c`.
fn solve(zero: &Index, dims: &[Option<Index>]) -> Option<(DimId, Index)> {
    let mut unknown = BTreeSet::new();
    zero.for_each_atom(&mut |atom| {
        if let Atom::Dim(dim) = atom
            && dims[dim.index()].is_none()
        {
            unknown.insert(*dim);
        }
    });
    let dim = *unknown.first().filter(|_| unknown.len() == 1)?;
    let known = |index: &Index, value: Index| {
        index.substitute(&mut |atom| match atom {
            Atom::Dim(d) if *d == dim => Some(value.clone()),
            Atom::Dim(d) => dims[d.index()].clone(),
            _ => None,
        })
    };
    let rest = known(zero, Index::int(0));
    let slope = known(zero, Index::int(1)).sub(&rest);
    let linear = known(zero, Index::int(2)).sub(&rest) == slope.scale(2);
    // Only a slope whose sign is known term by term can be divided by.
    let (slope, rest) =
        if slope.terms().all(|(_, c)| c < 0) { (slope.scale(-1), rest) } else { (slope, rest.scale(-1)) };
    let positive = slope.as_int() != Some(0) && slope.terms().all(|(_, c)| c > 0);
    (linear && positive).then(|| (dim, rest.div(&slope)))
}
