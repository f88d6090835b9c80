//! Folds in chunks: a fold over a long axis as folds over its chunks, which other blocks compute, and a fold over these.
//!
//! In: a function in plan form. Out: the function with more definitions, which no statement names, and for each stored definition
//! that can be computed through them, which ones and from which sizes on. Contract: reassociating. The equation, for components
//! c of a fold over J with states s:
//! fold[j in J](c) = fold[k in chunks](c'), where c' combines what the fold over chunk k gives, s(k), moved as c itself moves: by c's
//! repair with the chunk's final states in the place of the old ones. Where a chunk's state is still what combining nothing gives,
//! nothing is moved, as in every fold. So nothing is known of which components there are. A condition that reads tensors is asked past the end
//! of the axis, too, in the last chunk: loads of tiles give their pad there, and whatever it makes of that, the element is left out.

mod rows;

use crate::lower::{Facts, shared};
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Axis, Component, Const, Elem, Function, Op, Repair, Stmt, Tensor, TensorKind, Term, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use sawmill_ir::target::Target;
use std::collections::BTreeMap;

/// Positions that the length of a chunk is a multiple of: whole tiles.
const CHUNK: i64 = 256;
/// Chunks that an axis must have at least.
const FEWEST: i64 = 4;
/// Blocks for each core: as many as run at once, so that each starts once.
const BLOCKS: i64 = 2;
/// Cores from which on a kernel of few blocks leaves most of a machine idle.
const MANY_CORES: u32 = 16;

/// How a definition is computed in chunks.
#[derive(Clone, Debug)]
pub(crate) struct Chunked {
    /// The states of the chunks, one definition for each component.
    pub(crate) parts: Vec<TensorId>,
    /// The definition by these.
    pub(crate) merged: TensorId,
    /// Whether this is the way to compute it: where this size is 0 or more.
    pub(crate) nonnegative: Index,
    /// Where the positions of each part's fold start: loops over them count from there.
    pub(crate) starts: Vec<(AxisId, Index)>,
    /// The axes of chunks in the parts: each chunk is for another block.
    pub(crate) apart: Vec<AxisId>,
    /// The axis of chunks of a fold in the merged definition, of which there are few.
    pub(crate) few: Option<AxisId>,
}

/// The function with definitions in chunks, by the definition that they stand for.
pub(crate) fn chunks(function: &Function, target: &Target) -> (Function, BTreeMap<TensorId, Chunked>) {
    if target.cores < MANY_CORES {
        return (function.clone(), BTreeMap::new());
    }
    let cores = i64::from(target.cores);
    let by_cores = |rows: &Index, extent: &Index| {
        // Half of the cores have no row at least.
        let idle = Index::int(cores / 2).sub(rows);
        let nonnegative = idle.smaller(&extent.sub(&Index::int(FEWEST * CHUNK)));
        let all = Index::int(CHUNK * BLOCKS * cores);
        let units = extent.mul(rows).add(&all).sub(&Index::int(1)).div(&all).larger(&Index::int(1));
        Cut { length: units.scale(CHUNK), nonnegative }
    };
    chunked(function, &by_cores)
}

/// How an axis is cut.
pub(crate) struct Cut {
    /// Positions of a chunk, 1 or more.
    pub(crate) length: Index,
    /// The axis is cut where this is 0 or more.
    pub(crate) nonnegative: Index,
}

/// The same in chunks as `cut` says: of the number of rows that other blocks compute anyway, and of the axis' extent.
pub(crate) fn chunked(
    function: &Function,
    cut: &dyn Fn(&Index, &Index) -> Cut,
) -> (Function, BTreeMap<TensorId, Chunked>) {
    let mut out = function.clone();
    let facts = Facts::of(function);
    let mut found = BTreeMap::new();
    for id in defined(&function.body) {
        let TensorKind::Def { axes, value, .. } = &function.tensors[id].kind else { continue };
        let Some(fold) = lone_fold(function, *value) else { continue };
        let before = out.clone();
        let extent = function.axes[fold.axis].extent.clone();
        let length = Index::int(1);
        let starts = Vec::new();
        let made = found.values().flat_map(|chunked: &Chunked| chunked.parts.iter().copied()).collect();
        let mut build = Build { out: &mut out, facts: &facts, length, starts, made, axes: axes.clone(), fold };
        let rows = build.rows();
        // Partial results lie in memory whose size the sizes of the run must tell.
        if rows.reads_tensors() || extent.reads_tensors() {
            continue;
        }
        let Cut { length, nonnegative } = cut(&rows, &extent);
        build.length = length;
        match build.definitions(id, *value, nonnegative) {
            Some(chunked) => {
                found.insert(id, chunked);
            }
            None => out = before,
        }
    }
    (out, found)
}

/// All definitions of a body and the loops in it.
fn defined(body: &[Stmt]) -> Vec<TensorId> {
    let of = |stmt: &Stmt| match stmt {
        Stmt::Define(id) => vec![*id],
        Stmt::Loop(inner) => defined(&inner.body),
    };
    body.iter().flat_map(of).collect()
}

/// The fold, or reduction, that a value needs.
#[derive(Clone)]
struct Fold {
    term: TermId,
    axis: AxisId,
    components: Vec<Component>,
    /// Elements, then the operands of repairs.
    args: Vec<TermId>,
    is_fold: bool,
}

/// The only fold or reduction of a value that is in no other one, if its axis is a size of the run and its components can be
/// combined.
fn lone_fold(function: &Function, value: TermId) -> Option<Fold> {
    let (mut open, mut found) = (vec![value], Vec::new());
    while let Some(id) = open.pop() {
        let term = &function.terms[id];
        match &term.op {
            Op::Reduce { .. } | Op::Fold { .. } if !found.contains(&id) => found.push(id),
            Op::Reduce { .. } | Op::Fold { .. } => {}
            _ => open.extend(&term.args),
        }
    }
    let [id] = found.as_slice() else { return None };
    let term = &function.terms[*id];
    let (axes, components, is_fold) = match &term.op {
        Op::Fold { axes, components } => (axes, components.clone(), true),
        Op::Reduce { op, axes, segment: None } if term.args.len() == 1 => {
            (axes, vec![Component { op: *op, repair: Repair::None }], false)
        }
        _ => return None,
    };
    let [axis] = axes.as_slice() else { return None };
    let combines = |op: ReduceOp| op.is_primitive() && !op.chooses();
    let long = function.axes[*axis].extent.as_int().is_none();
    (long && components.iter().all(|c| combines(c.op))).then(|| Fold {
        term: *id,
        axis: *axis,
        components,
        args: term.args.clone(),
        is_fold,
    })
}

/// Definitions being made.
struct Build<'a> {
    out: &'a mut Function,
    facts: &'a Facts,
    /// Positions of a chunk.
    length: Index,
    /// Where the positions of parts start.
    starts: Vec<(AxisId, Index)>,
    /// Parts of definitions before this one.
    made: Vec<TensorId>,
    /// The axes of the definition.
    axes: Vec<AxisId>,
    fold: Fold,
}

/// What a copy of a term changes.
#[derive(Default)]
struct Changes {
    positions: BTreeMap<AxisId, Index>,
    /// What stands for a fold's state before the step.
    old: BTreeMap<u32, TermId>,
    terms: FxHashMap<TermId, TermId>,
}

impl Build<'_> {
    /// The definitions of the parts and of what they are for.
    fn definitions(&mut self, id: TensorId, value: TermId, nonnegative: Index) -> Option<Chunked> {
        let extent = self.out.axes[self.fold.axis].extent.clone();
        let count = extent.add(&self.length).sub(&Index::int(1)).div(&self.length);
        // No memory is taken where the parts are not made.
        let made = nonnegative.add(&Index::int(1)).larger(&Index::int(0)).smaller(&Index::int(1));
        let count = count.mul(&made);
        let name = self.out.tensors[id].name.clone();
        let mut parts = Vec::new();
        for component in 0..self.fold.components.len() {
            let before = (!self.made.is_empty()).then(|| (self.out.clone(), self.starts.len()));
            let (part, axes) = self.part(&name, component, &count)?;
            let made = self.made_before(part);
            if let (Some((before, starts)), Some(_)) = (before, made) {
                *self.out = before;
                self.starts.truncate(starts);
            }
            parts.push((made.unwrap_or(part), axes));
        }
        let (merged, over) = self.merged(id, value, &parts, &count)?;
        let parts: Vec<TensorId> = parts.into_iter().map(|(part, _)| part).collect();
        let first = |part: &TensorId| match &self.out.tensors[*part].kind {
            TensorKind::Def { axes, .. } => axes.first().copied(),
            _ => None,
        };
        let apart = parts.iter().filter_map(first).collect();
        let starts = std::mem::take(&mut self.starts);
        Some(Chunked { parts, merged, nonnegative, starts, apart, few: Some(over).filter(|_| self.fold.is_fold) })
    }

    fn axis(&mut self, name: &str, extent: &Index) -> AxisId {
        self.out.axes.push(Axis { name: name.to_owned(), extent: extent.clone() })
    }
    fn term(&mut self, op: Op, args: Vec<TermId>, dtype: DType) -> TermId {
        self.out.terms.push(Term { op, args, dtype })
    }
    /// Axes of one's own for those of the definition that `wanted` names, and where the old ones are.
    fn own(&mut self, wanted: impl Fn(AxisId) -> bool) -> (Vec<AxisId>, Vec<AxisId>, Changes) {
        let mut changes = Changes::default();
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for axis in self.axes.clone() {
            if wanted(axis) {
                let Axis { name, extent } = self.out.axes[axis].clone();
                let own = self.axis(&name, &extent);
                changes.positions.insert(axis, Index::axis(own));
                old.push(axis);
                new.push(own);
            }
        }
        (old, new, changes)
    }

    /// The axes that a component depends on, through others too.
    fn depends(&self, component: usize) -> Vec<AxisId> {
        let (mut open, mut seen, mut axes) = (vec![component], Vec::new(), Vec::new());
        while let Some(at) = open.pop() {
            if seen.contains(&at) {
                continue;
            }
            seen.push(at);
            for term in std::iter::once(self.fold.args[at]).chain(self.repair(at)) {
                let fact = self.facts.get(term);
                axes.extend(fact.axes.iter().copied());
                open.extend(fact.state.iter().map(|state| *state as usize));
            }
        }
        axes
    }
    /// The operand of a component's repair.
    fn repair(&self, component: usize) -> Option<TermId> {
        let repairs = |c: &&Component| c.repair != Repair::None;
        self.fold.components.get(component).filter(repairs)?;
        let before = self.fold.components[..component].iter().filter(repairs).count();
        self.fold.args.get(self.fold.components.len() + before).copied()
    }

    /// The definition of a component's states of all chunks, and the axes of the definition that it has. The fold keeps the
    /// components up to it: those are what it may read, and one kernel serves the parts of all.
    fn part(&mut self, name: &str, component: usize, count: &Index) -> Option<(TensorId, Vec<AxisId>)> {
        let taken = component + 1;
        let depends: Vec<AxisId> = (0..taken).flat_map(|at| self.depends(at)).collect();
        let (old, own, mut changes) = self.own(|axis| depends.contains(&axis));
        let over = self.out.axes[self.fold.axis].clone();
        let chunk = self.axis("chunk", count);
        let length = self.length.clone();
        let inside = self.axis(&over.name, &length);
        let start = Index::axis(chunk).mul(&length);
        let position = start.add(&Index::axis(inside));
        self.starts.push((inside, start));
        changes.positions.insert(self.fold.axis, position.clone());
        let [at, end] = [position, over.extent].map(|index| self.term(Op::Index(index), Vec::new(), DType::I64));
        let within = self.term(Op::Elem(ElemOp::Lt), vec![at, end], DType::Bool);
        let mut args = Vec::new();
        for at in 0..taken {
            let element = self.fold.args[at];
            let copy = self.copy(element, &mut changes)?;
            args.push(self.only(copy, within));
        }
        let repairs: Vec<TermId> = (0..taken).filter_map(|at| self.repair(at)).collect();
        for by in repairs {
            args.push(self.copy(by, &mut changes)?);
        }
        let dtype = self.out.terms[self.fold.args[component]].dtype;
        let whole = self.out.terms[self.fold.term].clone();
        let value = if self.fold.is_fold {
            let fold = Op::Fold { axes: vec![inside], components: self.fold.components[..taken].to_vec() };
            let fold = self.term(fold, args, whole.dtype);
            self.term(Op::Proj(u32::try_from(component).ok()?), vec![fold], dtype)
        } else {
            let op = self.fold.components[0].op;
            self.term(Op::Reduce { op, axes: vec![inside], segment: None }, args, whole.dtype)
        };
        let axes: Vec<AxisId> = std::iter::once(chunk).chain(own).collect();
        let shape = axes.iter().map(|a| self.out.axes[*a].extent.clone()).collect();
        let kind = TensorKind::Def { axes, value, rounded: false };
        let name = format!("{name} part {component}");
        Some((self.out.tensors.push(Tensor { name, elem: Elem::Type(dtype), shape, kind }), old))
    }
    /// A part of another definition that is the same as this one.
    fn made_before(&self, part: TensorId) -> Option<TensorId> {
        let of = |id: TensorId| match &self.out.tensors[id].kind {
            TensorKind::Def { axes, value, .. } => match &self.out.terms[*value].op {
                Op::Proj(component) => Some((axes, *value, *component)),
                _ => None,
            },
            _ => None,
        };
        let (axes, value, component) = of(part)?;
        let same = |other: &TensorId| {
            let Some((others, term, of_other)) = of(*other) else { return false };
            if self.out.tensors[*other].shape != self.out.tensors[part].shape {
                return false;
            }
            let named = shared(self.out, term, value).filter(|_| of_other == component && others.len() == axes.len());
            named.is_some_and(|named| axes.iter().zip(others).all(|(own, other)| named.axes.get(own) == Some(other)))
        };
        self.made.iter().copied().find(same)
    }
    /// `element` where `within` holds and it is present.
    fn only(&mut self, element: TermId, within: TermId) -> TermId {
        let term = self.out.terms[element].clone();
        let (value, condition) = match (&term.op, term.args.as_slice()) {
            (Op::Where, [value, condition]) => {
                let both = self.term(Op::Elem(ElemOp::And), vec![*condition, within], DType::Bool);
                (*value, both)
            }
            _ => (element, within),
        };
        self.term(Op::Where, vec![value, condition], term.dtype)
    }

    /// The definition by its parts, and the axis of chunks in it.
    fn merged(
        &mut self,
        id: TensorId,
        value: TermId,
        parts: &[(TensorId, Vec<AxisId>)],
        count: &Index,
    ) -> Option<(TensorId, AxisId)> {
        let (_, own, mut changes) = self.own(|_| true);
        let chunk = self.axis("chunk", count);
        let mut states = Vec::new();
        for (component, (part, axes)) in parts.iter().enumerate() {
            let mut subs = vec![Index::axis(chunk)];
            subs.extend(axes.iter().map(|axis| changes.positions[axis].clone()));
            let dtype = self.out.terms[self.fold.args[component]].dtype;
            states.push(self.term(Op::Read { tensor: *part, subs, guarded: false }, Vec::new(), dtype));
        }
        let whole = self.out.terms[self.fold.term].clone();
        let merged = if self.fold.is_fold {
            let (mut elements, mut repairs) = (Vec::new(), Vec::new());
            for component in 0..states.len() {
                elements.push(self.moved(component, &states, &changes)?);
                if let Some(by) = self.repair(component) {
                    repairs.push(self.copy(by, &mut changes)?);
                }
            }
            elements.extend(repairs);
            let fold = Op::Fold { axes: vec![chunk], components: self.fold.components.clone() };
            self.term(fold, elements, whole.dtype)
        } else {
            let op = self.fold.components[0].op;
            self.term(Op::Reduce { op, axes: vec![chunk], segment: None }, states, whole.dtype)
        };
        let mut changes = Changes { positions: changes.positions, ..Changes::default() };
        changes.terms.insert(self.fold.term, merged);
        let value = self.copy(value, &mut changes)?;
        let Tensor { name, elem, shape, kind } = self.out.tensors[id].clone();
        let TensorKind::Def { rounded, .. } = kind else { return None };
        let kind = TensorKind::Def { axes: own, value, rounded };
        Some((self.out.tensors.push(Tensor { name: format!("{name} of parts"), elem, shape, kind }), chunk))
    }

    /// What a chunk adds to a component: its state, moved to where the components it depends on are now.
    fn moved(&mut self, component: usize, states: &[TermId], changes: &Changes) -> Option<TermId> {
        let state = states[component];
        let dtype = self.out.terms[state].dtype;
        let Some(by) = self.repair(component) else { return Some(state) };
        let old = (0..).zip(states.iter().copied()).collect();
        let mut there = Changes { positions: changes.positions.clone(), old, terms: FxHashMap::default() };
        let mut by_value = self.copy(by, &mut there)?;
        let repair = self.fold.components[component].repair;
        let neutral = Const::float(if repair == Repair::Scale { 1.0 } else { 0.0 });
        let neutral = self.term(Op::Const(neutral), Vec::new(), self.out.terms[by].dtype);
        let reads: Vec<u32> = self.facts.get(by).state.iter().copied().collect();
        for read in reads {
            let before = *states.get(read as usize)?;
            let of = self.out.terms[before].dtype;
            let nothing = identity(self.fold.components[read as usize].op, of)?;
            let nothing = self.term(Op::Const(nothing), Vec::new(), of);
            let empty = self.term(Op::Elem(ElemOp::Eq), vec![before, nothing], DType::Bool);
            let by_dtype = self.out.terms[by].dtype;
            by_value = self.term(Op::Elem(ElemOp::Select), vec![empty, neutral, by_value], by_dtype);
        }
        let op = if repair == Repair::Scale { ElemOp::Mul } else { ElemOp::Add };
        Some(self.term(Op::Elem(op), vec![state, by_value], dtype))
    }

    /// A term at other positions. Binders get axes of their own where something in them changes. `None` for forms that plans do
    /// not have.
    fn copy(&mut self, id: TermId, changes: &mut Changes) -> Option<TermId> {
        if let Some(done) = changes.terms.get(&id) {
            return Some(*done);
        }
        let term = self.out.terms[id].clone();
        let bound: Vec<AxisId> = match &term.op {
            Op::Reduce { axes, segment: None, .. } | Op::Fold { axes, .. } => axes.clone(),
            _ => Vec::new(),
        };
        let made = match &term.op {
            Op::Old(state) if changes.old.contains_key(state) => changes.old[state],
            _ if !bound.is_empty() => self.copy_binder(&term, &bound, changes)?,
            Op::Index(_)
            | Op::Read { .. }
            | Op::Const(_)
            | Op::Elem(_)
            | Op::Cast(_)
            | Op::Round(_)
            | Op::Where
            | Op::Proj(_)
            | Op::New(_)
            | Op::Old(_) => {
                let args: Option<Vec<TermId>> = term.args.iter().map(|arg| self.copy(*arg, changes)).collect();
                let (op, args) = (at_positions(&term.op, &changes.positions), args?);
                if op == term.op && args == term.args { id } else { self.term(op, args, term.dtype) }
            }
            _ => return None,
        };
        changes.terms.insert(id, made);
        Some(made)
    }
    fn copy_binder(&mut self, term: &Term, bound: &[AxisId], changes: &Changes) -> Option<TermId> {
        let is_fold = matches!(term.op, Op::Fold { .. });
        // The state that a fold's operands read is its own.
        let old = if is_fold { BTreeMap::new() } else { changes.old.clone() };
        let mut inner = Changes { positions: changes.positions.clone(), old, terms: FxHashMap::default() };
        let mut fresh = Vec::new();
        for axis in bound {
            let Axis { name, extent } = self.out.axes[*axis].clone();
            let own = self.axis(&name, &extent);
            inner.positions.insert(*axis, Index::axis(own));
            fresh.push(own);
        }
        let args: Option<Vec<TermId>> = term.args.iter().map(|arg| self.copy(*arg, &mut inner)).collect();
        let op = match &term.op {
            Op::Reduce { op, .. } => Op::Reduce { op: *op, axes: fresh, segment: None },
            Op::Fold { components, .. } => Op::Fold { axes: fresh, components: components.clone() },
            _ => return None,
        };
        Some(self.term(op, args?, term.dtype))
    }
}

fn at_positions(op: &Op, positions: &BTreeMap<AxisId, Index>) -> Op {
    let moved = |index: &Index| {
        index.substitute(&mut |atom| match atom {
            Atom::Axis(axis) => positions.get(axis).cloned(),
            _ => None,
        })
    };
    match op {
        Op::Index(index) => Op::Index(moved(index)),
        Op::Read { tensor, subs, guarded } => {
            Op::Read { tensor: *tensor, subs: subs.iter().map(moved).collect(), guarded: *guarded }
        }
        other => other.clone(),
    }
}

/// What combining nothing gives, of floats.
fn identity(op: ReduceOp, dtype: DType) -> Option<Const> {
    let value = match op {
        ReduceOp::Sum => 0.0,
        ReduceOp::Prod => 1.0,
        ReduceOp::Max => f64::NEG_INFINITY,
        ReduceOp::Min => f64::INFINITY,
        _ => return None,
    };
    dtype.is_float().then(|| Const::float(value))
}
