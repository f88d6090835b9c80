//! The plan: buffers of tensors, kernels in order, loops with carries, choices by size.
//!
//! Arguments come first, in the order of the signature, then outputs, then temporaries. A cache that something is appended to
//! is one buffer updated in place, as long as after the call. A carry is two temporaries that swap at the end of each step.

mod cut;
mod recurring;

use super::alike::{Shared, shared};
use super::emit::{Program, Stored};
use super::index::{is_size, storage};
use super::kernel::{Made, copy, kernel};
use super::recurrence::Layout;
use super::{Facts, Lowered, Stop, split};
use crate::chunks::Chunked;
use crate::schedule::{Role, Schedule, Work, schedule};
use sawmill_ir::graph::{Carry, Function, Loop, Op, Param, Stmt, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, DimId, Index, TensorId};
use sawmill_ir::target::Target;
use sawmill_ir::tile::{self, Buffer, BufferId, BufferKind, Launch, Step};
use std::collections::{BTreeMap, BTreeSet};

/// Chunks of a fold that are merged at once.
const FEW_CHUNKS: i64 = 32;

/// Definitions that one kernel computes.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) tensors: Vec<TensorId>,
    pub(super) schedule: Schedule,
    /// What those after the first share with it.
    pub(super) shared: Shared,
}

/// The plan under construction.
pub(super) struct Planner<'a> {
    target: &'a Target,
    program: Program<'a>,
    /// Definitions whose buffer a carry takes over.
    outputs: BTreeSet<TensorId>,
    /// Definitions that may be computed in chunks.
    chunked: &'a BTreeMap<TensorId, Chunked>,
    /// Tiles of axes of chunks.
    limits: BTreeMap<AxisId, i64>,
    /// Loops whose steps one kernel runs, by their axis.
    recurrences: BTreeMap<AxisId, Layout>,
    /// Definitions that only start a carry of such a loop, or only copy what it leaves: its kernel computes them.
    inlined: BTreeSet<TensorId>,
    /// Axes that are one tile.
    whole: BTreeSet<AxisId>,
}

impl<'a> Planner<'a> {
    /// A planner for `function`.
    pub(super) fn new(function: &'a Function, target: &'a Target, chunked: &'a BTreeMap<TensorId, Chunked>) -> Self {
        let mut module = tile::Module { name: function.name.clone(), ..tile::Module::default() };
        for dim in function.dims.values() {
            let name = unused(&dim.name, |n| module.dims.values().any(|d| d == n));
            module.dims.push(name);
        }
        let program = Program {
            function,
            facts: Facts::of(function),
            matrix: &target.matrix,
            chains: split::chains(function, i64::from(target.lanes(32))),
            starts: chunked.values().flat_map(|c| c.starts.iter().cloned()).collect(),
            loop_positions: BTreeMap::new(),
            stored: BTreeMap::new(),
            module,
        };
        let apart = chunked.values().flat_map(|c| &c.apart).map(|axis| (*axis, 1));
        let few = chunked.values().filter_map(|c| c.few).map(|axis| (axis, FEW_CHUNKS));
        let limits = apart.chain(few).collect();
        let outputs = function.outputs.iter().copied().collect();
        let recurrences = recurring::recurrences(function, target);
        let (inlined, whole) = (BTreeSet::new(), BTreeSet::new());
        Self { target, program, outputs, chunked, limits, recurrences, inlined, whole }
    }

    /// The whole module.
    pub(super) fn module(mut self) -> Lowered<tile::Module> {
        let function = self.program.function;
        self.arguments()?;
        let mut packed = Vec::new();
        for output in &function.outputs {
            let tensor = &function.tensors[*output];
            if matches!(tensor.kind, TensorKind::Append { .. }) {
                continue;
            }
            let dtype = storage(function, *output)?;
            if dtype.in_bytes() == dtype {
                self.own(*output, BufferKind::Output)?;
            } else {
                let buffer = self.buffer(&tensor.name, dtype, tensor.shape.clone(), BufferKind::Output)?;
                packed.push((*output, buffer));
            }
        }
        // Elements that share bytes cannot be written by themselves: they are computed in a wider type, then packed in rows.
        for (output, _) in &packed {
            self.own(*output, BufferKind::Temp)?;
        }
        self.carried(&function.body)?;
        let mut plan = self.block(&function.body)?;
        for (output, buffer) in packed {
            plan.push(self.copy(output, buffer)?);
        }
        self.program.module.plan = plan;
        Ok(self.program.module)
    }

    fn arguments(&mut self) -> Lowered<()> {
        let function = self.program.function;
        let grown = self.grown();
        for param in &function.params {
            let Param::Tensor(id) = param else { return Err(Stop::Bug("a closure in a linked function".to_owned())) };
            let tensor = &function.tensors[*id];
            let TensorKind::Input(input) = &tensor.kind else { continue };
            let mut shape = tensor.shape[input.lists as usize..].to_vec();
            let list = input.lists > 0;
            let kind = match grown.get(id) {
                Some(after) => {
                    shape.clone_from(after);
                    BufferKind::InOut { list }
                }
                None => BufferKind::Input { list },
            };
            let buffer = self.buffer(&tensor.name, storage(function, *id)?, shape, kind)?;
            self.program.stored.insert(*id, Stored { buffer, lists: input.lists as usize, at: None });
        }
        Ok(())
    }

    /// The shape that each argument has after everything is appended to it, without a list's dimension.
    fn grown(&self) -> BTreeMap<TensorId, Vec<Index>> {
        let function = self.program.function;
        let mut root: BTreeMap<TensorId, TensorId> = BTreeMap::new();
        let mut grown = BTreeMap::new();
        for (id, tensor) in function.tensors.iter() {
            if let TensorKind::Append { base, .. } = &tensor.kind {
                let of = root.get(base).copied().unwrap_or(*base);
                root.insert(id, of);
                grown.insert(of, tensor.shape.clone());
            }
        }
        grown
    }

    fn buffer(
        &mut self,
        name: &str,
        dtype: sawmill_ir::dtype::DType,
        shape: Vec<Index>,
        kind: BufferKind,
    ) -> Lowered<BufferId> {
        if let Some(size) = shape.iter().find(|s| !is_size(s)) {
            return Err(Stop::Unsupported(format!("`{name}` has a size that only data decides: {size:?}")));
        }
        let name = unused(name, |n| self.program.module.buffers.values().any(|b| b.name == n));
        Ok(self.program.module.buffers.push(Buffer { name, dtype, shape, kind }))
    }

    /// A buffer of the call's own for a tensor, unless it has one.
    fn own(&mut self, id: TensorId, kind: BufferKind) -> Lowered<BufferId> {
        if let Some(stored) = self.program.stored.get(&id) {
            return Ok(stored.buffer);
        }
        let tensor = &self.program.function.tensors[id];
        let dtype = storage(self.program.function, id)?.in_bytes();
        let buffer = self.buffer(&tensor.name, dtype, tensor.shape.clone(), kind)?;
        self.program.stored.insert(id, Stored { buffer, lists: 0, at: None });
        Ok(buffer)
    }

    fn block(&mut self, body: &[Stmt]) -> Lowered<Vec<Step>> {
        let elsewhere = |stmt: &&Stmt| !matches!(stmt, Stmt::Define(id) if self.inlined.contains(id));
        let body: Vec<Stmt> = body.iter().filter(elsewhere).cloned().collect();
        let mut steps = Vec::new();
        let mut at = 0;
        while at < body.len() {
            match &body[at] {
                Stmt::Loop(inner) => {
                    steps.extend(self.repeat(inner)?);
                    at += 1;
                }
                Stmt::Define(first) => {
                    let group = self.group(&body[at..], *first);
                    at += group.tensors.len();
                    steps.extend(self.compute(&group)?);
                }
            }
        }
        Ok(steps)
    }

    /// The definitions at the start of `body` that one kernel computes: the first, and those after it whose folds it has.
    fn group(&self, body: &[Stmt], first: TensorId) -> Group {
        let mut group = Group { tensors: vec![first], schedule: self.schedule(first, None), shared: Shared::default() };
        for stmt in &body[1..] {
            let Stmt::Define(next) = stmt else { break };
            let Some(shared) = self.joins(&group, *next) else { break };
            group.tensors.push(*next);
            group.shared.axes.extend(shared.axes);
            group.shared.folds.extend(shared.folds);
        }
        group
    }

    /// What `next` shares with the first definition of `group`, if it can be computed in its kernel: it reads none of the
    /// group, all its axes are the kernel's, and axes that it lacks are not spread over blocks.
    fn joins(&self, group: &Group, next: TensorId) -> Option<Shared> {
        let function = self.program.function;
        let (_, value) = self.value_of(group.tensors[0])?;
        let (axes, term) = self.value_of(next)?;
        let shared = shared(function, value, term)?;
        let own: Vec<AxisId> = axes.iter().map(|a| shared.axes.get(a).copied()).collect::<Option<_>>()?;
        let fits = |(axis, role): &(AxisId, Role)| match role {
            _ if own.contains(axis) => true,
            Role::Tile(tile) => function.axes[*axis].extent.as_int().is_some_and(|e| e <= *tile),
            Role::Row(_) => true,
            Role::Scalar | Role::Walk(_) | Role::Group(_) => false,
        };
        let known = own.iter().all(|a| group.schedule.free.iter().any(|(axis, _)| axis == a));
        (known && group.schedule.free.iter().all(fits) && !self.reads_any(next, &group.tensors)).then_some(shared)
    }

    fn value_of(&self, id: TensorId) -> Option<(&'a [AxisId], TermId)> {
        match &self.program.function.tensors[id].kind {
            TensorKind::Def { axes, value, .. } | TensorKind::Append { axes, value, .. } => Some((axes, *value)),
            _ => None,
        }
    }

    fn reads_any(&self, id: TensorId, group: &[TensorId]) -> bool {
        let function = self.program.function;
        let mut open: Vec<TermId> = self.value_of(id).map(|(_, value)| value).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(term) = open.pop() {
            if !seen.insert(term) {
                continue;
            }
            let mut found = false;
            let mut look = |index: &Index| {
                index.for_each_atom(&mut |atom| found |= matches!(atom, Atom::Read(t, _) if group.contains(t)));
            };
            match &function.terms[term].op {
                Op::Read { tensor, subs, .. } => {
                    subs.iter().for_each(&mut look);
                    found |= group.contains(tensor);
                }
                Op::Index(index) => look(index),
                _ => {}
            }
            if found {
                return true;
            }
            open.extend(&function.terms[term].args);
        }
        false
    }

    fn schedule(&self, tensor: TensorId, small: Option<AxisId>) -> Schedule {
        let (mut axes, value) = self.value_of(tensor).map_or((Vec::new(), Vec::new()), |(a, v)| (a.to_vec(), vec![v]));
        let program = &self.program;
        // A step of a loop stores its part of what the loop collects.
        axes.retain(|axis| !program.loop_positions.contains_key(axis));
        let work = Work {
            function: program.function,
            facts: &program.facts,
            axes,
            values: value,
            chains: &program.chains,
            limits: &self.limits,
            whole: &self.whole,
        };
        schedule(&work, self.target, small)
    }

    /// Lets what only starts a carry be computed in the carry's buffer.
    fn carried(&mut self, body: &[Stmt]) -> Lowered<()> {
        let function = self.program.function;
        for stmt in body {
            let Stmt::Loop(inner) = stmt else { continue };
            for carry in &inner.carries {
                let defined = matches!(function.tensors[carry.init].kind, TensorKind::Def { .. });
                let here = body.iter().any(|s| matches!(s, Stmt::Define(t) if *t == carry.init));
                let only_here = defined && here && !self.outputs.contains(&carry.init) && self.uses(carry.init) == 1;
                if self.recurrences.contains_key(&inner.index) {
                    if only_here && self.is_cheap(carry.init) {
                        self.inlined.insert(carry.init);
                    }
                    self.left_in_place(carry.result, body)?;
                } else if only_here {
                    let held = self.carry(carry)?;
                    self.program.stored.insert(carry.init, Stored { buffer: held, lists: 0, at: None });
                }
            }
        }
        Ok(())
    }

    /// How often a tensor is read by terms or starts a carry.
    fn uses(&self, id: TensorId) -> usize {
        let function = self.program.function;
        let mut uses = 0;
        let mut look = |index: &Index| {
            index.for_each_atom(&mut |atom| uses += usize::from(matches!(atom, Atom::Read(t, _) if *t == id)));
        };
        for term in function.terms.values() {
            match &term.op {
                Op::Index(index) => look(index),
                Op::Read { subs, .. } => subs.iter().for_each(&mut look),
                _ => {}
            }
        }
        let direct = |t: &sawmill_ir::graph::Term| matches!(&t.op, Op::Read { tensor, .. } if *tensor == id);
        uses += function.terms.values().filter(|t| direct(t)).count();
        uses + started(&function.body, id)
    }

    /// The buffer that a carry starts a step in.
    fn carry(&mut self, carry: &Carry) -> Lowered<BufferId> {
        let kind = if self.outputs.contains(&carry.result) { BufferKind::Output } else { BufferKind::Temp };
        let held = self.own(carry.result, kind)?;
        self.program.stored.insert(carry.inside, Stored { buffer: held, lists: 0, at: None });
        Ok(held)
    }

    /// The steps that compute a group in one kernel, or in one of two by a size.
    fn compute_whole(&mut self, group: &Group) -> Lowered<Vec<Step>> {
        for id in &group.tensors {
            self.place(*id)?;
        }
        let function = self.program.function;
        let name = group.tensors.iter().map(|t| function.tensors[*t].name.as_str()).collect::<Vec<_>>().join("+");
        let launch = self.launch(&name, group)?;
        let Some(axis) = group.schedule.small else { return Ok(vec![launch]) };
        let few = Group { schedule: self.schedule(group.tensors[0], Some(axis)), ..group.clone() };
        let small = self.launch(&format!("{name} few {}", function.axes[axis].name), &few)?;
        let nonnegative = function.axes[axis].extent.sub(&Index::int(self.target.few_positions.into()));
        Ok(vec![Step::If { nonnegative, then: vec![launch], otherwise: vec![small] }])
    }

    /// Gives a tensor its place.
    fn place(&mut self, id: TensorId) -> Lowered<()> {
        let function = self.program.function;
        let TensorKind::Append { base, at, .. } = &function.tensors[id].kind else {
            let kind = if self.outputs.contains(&id) { BufferKind::Output } else { BufferKind::Temp };
            return self.own(id, kind).map(|_| ());
        };
        let stored = self.program.stored.get(base).cloned();
        let mut stored = stored.ok_or_else(|| Stop::Bug(format!("{id} appends to what is not stored")))?;
        if !matches!(self.program.module.buffers[stored.buffer].kind, BufferKind::InOut { .. }) {
            return Err(Stop::Unsupported(format!(
                "an append to `{}`, which is no argument",
                function.tensors[*base].name
            )));
        }
        if stored.lists > 0 {
            if at.len() != stored.lists {
                return Err(Stop::Bug(format!("{id} appends to a whole list")));
            }
            let entry = entry(at, &function.tensors[*base].shape);
            stored = Stored { lists: 0, at: Some(entry), ..stored };
        }
        self.program.stored.insert(id, stored);
        Ok(())
    }

    fn launch(&mut self, name: &str, group: &Group) -> Lowered<Step> {
        let name = unused(name, |n| self.program.module.kernel_named(n).is_some());
        let made = kernel(&self.program, &name, group)?;
        Ok(self.launched(made))
    }

    /// The step that copies a tensor to a buffer of its shape.
    fn copy(&mut self, from: TensorId, to: BufferId) -> Lowered<Step> {
        let name = format!("copy {}", self.program.function.tensors[from].name);
        let name = unused(&name, |n| self.program.module.kernel_named(n).is_some());
        let made = copy(&self.program, &name, from, to)?;
        Ok(self.launched(made))
    }

    fn launched(&mut self, made: Made) -> Step {
        let module = &mut self.program.module;
        module.kernels.push(made.kernel);
        let dims = module.dims.keys().map(Index::dim).collect();
        Step::Launch(Launch { kernel: module.kernels.len() - 1, args: made.args, dims })
    }

    /// A loop: carries start in a buffer of their own, which swaps with that of the next value at the end of a step.
    fn repeat(&mut self, inner: &Loop) -> Lowered<Vec<Step>> {
        if let Some(layout) = self.recurrences.get(&inner.index).cloned() {
            return self.recurrence(inner, &layout);
        }
        let function = self.program.function;
        let mut steps = Vec::new();
        let (mut swaps, mut copies) = (Vec::new(), Vec::new());
        for carry in &inner.carries {
            let held = self.carry(carry)?;
            if self.program.stored.get(&carry.init).is_none_or(|s| s.buffer != held) {
                steps.push(self.copy(carry.init, held)?);
            }
            let next = &function.tensors[carry.next];
            if next.kind == TensorKind::Final {
                // What a loop in this one leaves has a buffer of its own.
                copies.push((carry.next, held));
                continue;
            }
            let storage = storage(function, carry.next)?.in_bytes();
            let other = self.buffer(&next.name, storage, next.shape.clone(), BufferKind::Temp)?;
            if !matches!(next.kind, TensorKind::Def { .. }) || self.program.stored.contains_key(&carry.next) {
                return Err(Stop::Unsupported(format!(
                    "the carry `{}` that another tensor is, as it stands",
                    next.name
                )));
            }
            self.program.stored.insert(carry.next, Stored { buffer: other, lists: 0, at: None });
            swaps.push(Step::Swap(held, other));
        }
        self.carried(&inner.body)?;
        let name = unused(&function.axes[inner.index].name, |n| self.program.module.dims.values().any(|d| d == n));
        let var: DimId = self.program.module.dims.push(name);
        let count = self.counted(&function.axes[inner.index].extent, &mut steps)?;
        let step = Index::dim(var);
        let position = if inner.rev { count.sub(&Index::int(1)).sub(&step) } else { step };
        self.program.loop_positions.insert(inner.index, position);
        let mut body = self.block(&inner.body)?;
        for (from, to) in copies {
            body.push(self.copy(from, to)?);
        }
        body.extend(swaps);
        self.program.loop_positions.remove(&inner.index);
        steps.push(Step::Loop { var, count, body });
        Ok(steps)
    }
    /// A number of steps over dims alone: integers that it reads become dims, by steps that come before the loop.
    fn counted(&mut self, count: &Index, steps: &mut Vec<Step>) -> Lowered<Index> {
        let mut read = BTreeSet::new();
        count.for_each_atom(&mut |atom| {
            if let Atom::Read(tensor, subs) = atom {
                read.insert((*tensor, subs.is_empty()));
            }
        });
        let mut dims = BTreeMap::new();
        for (tensor, scalar) in read {
            let name = &self.program.function.tensors[tensor].name;
            let stored = self.program.stored.get(&tensor).filter(|stored| scalar && stored.lists == 0);
            let Some(buffer) = stored.map(|stored| stored.buffer) else {
                return Err(Stop::Unsupported(format!("a number of steps that is an element of `{name}`")));
            };
            let name = unused(name, |n| self.program.module.dims.values().any(|d| d == n));
            let dim = self.program.module.dims.push(name);
            steps.push(Step::Scalar { dim, buffer });
            dims.insert(tensor, dim);
        }
        Ok(count.substitute(&mut |atom| match atom {
            Atom::Read(tensor, _) => dims.get(tensor).map(|dim| Index::dim(*dim)),
            _ => None,
        }))
    }
}

/// The number of a list's entry among all of them: entries of lists in lists are counted in order.
pub(super) fn entry(at: &[Index], lengths: &[Index]) -> Index {
    at.iter().zip(lengths).fold(Index::int(0), |number, (at, length)| number.mul(length).add(at))
}

/// How many carries of loops in `body` start with a tensor.
fn started(body: &[Stmt], id: TensorId) -> usize {
    let of = |stmt: &Stmt| match stmt {
        Stmt::Loop(inner) => inner.carries.iter().filter(|c| c.init == id).count() + started(&inner.body, id),
        Stmt::Define(_) => 0,
    };
    body.iter().map(of).sum()
}

/// `name`, or `name` with the first suffix that is not taken.
fn unused(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (1_u64..).map(|n| format!("{name}_{n}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|n| !taken(n)).unwrap_or_default()
}
