//! The kernel that runs all steps of a loop.
//!
//! In: a loop in plan form and how its axes lie ([`Layout`]). Out: a kernel whose blocks share out the independent rows; each takes the
//! initial values, goes through the steps with what is carried as tiles, stores what the steps collect, and at the end the
//! final values that are asked for. What a step defines is a value of the step. What no step changes is computed before the first.
//! Loops in the loop are loops in the kernel. Where a value does not depend on an axis that blocks share out, the first block along
//! that axis stores it.

use super::emit::{Emit, Program, Scope};
use super::index::storage;
use super::kernel::Made;
use super::recurrence::{Layout, Place};
use super::space::Symbol;
use super::{Lowered, Stop};
use crate::schedule::{Role, Schedule};
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::{Carry, Function, Loop, Op, Stmt, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use sawmill_ir::tile::{self, Access, Phase, Type, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Positions of an axis that is summed without being held, at once.
const SUMMED: i64 = 128;

/// A tensor that is a value of the kernel.
#[derive(Clone, Debug)]
pub(super) struct Local {
    /// The tile.
    pub(super) value: Value,
    /// The position along each dimension, over symbols; none along a loop's axis.
    pub(super) at: Vec<Option<Index>>,
}

/// What the plan decided of a loop.
pub(super) struct Steps<'s> {
    pub(super) layout: &'s Layout,
    /// Tensors that are read outside of the loop.
    pub(super) kept: &'s BTreeSet<TensorId>,
    /// Definitions that only start a carry, computed here.
    pub(super) inlined: &'s BTreeSet<TensorId>,
    /// The number of steps, over dims of the module.
    pub(super) count: Index,
}

/// The kernel that runs the steps of `inner`.
pub(super) fn steps(program: &Program<'_>, name: &str, inner: &Loop, how: &Steps<'_>) -> Lowered<Made> {
    let mut emit = Emit::new(program, name, schedule(program, how.layout));
    let parts = emit.parts(how.layout)?;
    let mut run = Run { emit, how, parts, outermost: inner.index };
    run.place(inner)?;
    let results = run.repeat(inner)?;
    for (carry, value) in inner.carries.iter().zip(results) {
        if how.kept.contains(&carry.result) {
            run.store(carry.result, value)?;
        }
    }
    let Emit { b, memory, .. } = run.emit;
    Ok(Made { kernel: b.finish().compact(), args: memory })
}

fn schedule(program: &Program<'_>, layout: &Layout) -> Schedule {
    let extent = |axis: &AxisId| program.function.axes[*axis].extent.as_int();
    let along = layout.along.keys().filter_map(|axis| Some((*axis, extent(axis)?)));
    let others = layout.reduced.iter().map(|axis| (*axis, extent(axis).filter(|e| *e <= SUMMED).unwrap_or(SUMMED)));
    Schedule { free: Vec::new(), reduce: along.chain(others).collect(), groups: BTreeMap::new(), small: None }
}

/// Where a part lies: the position of each of the dimensions that one tensor may have along it, and, of what blocks share out, the
/// position along the grid.
struct Lies {
    copies: Vec<Index>,
    grid: Option<Value>,
}

impl Emit<'_> {
    fn parts(&mut self, layout: &Layout) -> Lowered<Vec<Lies>> {
        let mut parts = Vec::new();
        for (number, part) in layout.parts.iter().enumerate() {
            let extent = self.symbolic(&part.extent)?;
            let lies = match part.role {
                Role::Row(extent) => {
                    let places = layout.places.values().flatten().flatten();
                    let copies = places.filter(|p| p.part == number).map(|p| p.copy).max().unwrap_or(0) + 1;
                    let copies = (0..copies).map(|_| self.along(&part.name, extent)).collect::<Lowered<_>>()?;
                    Lies { copies, grid: None }
                }
                Role::Tile(tile) if extent.as_int().is_some_and(|e| e <= tile) => {
                    Lies { copies: vec![self.along(&part.name, tile)?], grid: None }
                }
                Role::Tile(tile) => {
                    let span = Index::int(tile);
                    let at = self.b.grid(&part.name, extent.add(&span.sub(&Index::int(1))).div(&span))?;
                    let start = self.scalar_symbol(at).mul(&span);
                    Lies { copies: vec![start.add(&self.along(&part.name, tile)?)], grid: Some(at) }
                }
                _ => {
                    let at = self.b.grid(&part.name, extent)?;
                    Lies { copies: vec![self.scalar_symbol(at)], grid: Some(at) }
                }
            };
            parts.push(lies);
        }
        Ok(parts)
    }
    /// A tile axis, as a position.
    fn along(&mut self, name: &str, extent: i64) -> Lowered<Index> {
        let count = u32::try_from(extent).map_err(|_| Stop::Bug(format!("a row of {extent} positions")))?;
        let axis = self.b.axis(name, count);
        Ok(self.space.symbol(Symbol::Tile(axis, extent)))
    }

    /// An element of a value of the kernel, at subscripts over symbols.
    pub(super) fn local(&mut self, tensor: TensorId, local: &Local, subs: &[Index]) -> Lowered<Value> {
        let shape = self.program.function.tensors[tensor].shape.clone();
        let mut value = local.value;
        let mut names: Vec<(tile::AxisId, tile::AxisId)> = Vec::new();
        let elsewhere =
            local.at.iter().zip(subs).zip(&shape).filter_map(|((at, sub), size)| Some((at.as_ref()?, sub, size)));
        for (at, sub, size) in elsewhere.filter(|(at, sub, _)| at != sub) {
            let [own] = self.space.tile_axes(at)[..] else {
                return Err(Stop::Bug(format!("{tensor} is read across what blocks share out")));
            };
            if !self.b.type_of(value).axes.contains(&own) {
                continue;
            }
            match self.space.tile_axes(sub)[..] {
                [] => {
                    let position = self.index_value(sub)?;
                    let position = self.clamp(position, size)?;
                    value = self.b.slice(value, own, position)?;
                }
                [other] if self.b.extent(other) == self.b.extent(own) => names.push((own, other)),
                _ => return Err(Stop::Bug(format!("{tensor} is read at a computed position of a step"))),
            }
        }
        if names.is_empty() { Ok(value) } else { Ok(self.b.rename(value, names)?) }
    }
}

struct Run<'s, 'a> {
    emit: Emit<'a>,
    how: &'s Steps<'s>,
    parts: Vec<Lies>,
    outermost: AxisId,
}

impl Run<'_, '_> {
    fn position(&self, place: Place) -> Lowered<Index> {
        let copies = self.parts.get(place.part).map(|part| part.copies.as_slice()).unwrap_or_default();
        copies.get(place.copy).cloned().ok_or_else(|| Stop::Bug(format!("no part lies at {place:?}")))
    }
    fn positions(&self, tensor: TensorId) -> Lowered<Vec<Option<Index>>> {
        let places = self.how.layout.places.get(&tensor);
        let places = places.ok_or_else(|| Stop::Bug(format!("{tensor} has no place in its loop")))?;
        places.iter().map(|place| place.map(|place| self.position(place)).transpose()).collect()
    }

    /// Places the axes of all definitions of the loop, and of what starts its carries; tells reductions where what they go along lies.
    fn place(&mut self, inner: &Loop) -> Lowered<()> {
        for (axis, place) in &self.how.layout.along {
            let position = self.position(*place)?;
            self.emit.homes.insert(*axis, position);
        }
        self.place_definitions(inner)
    }
    fn place_definitions(&mut self, inner: &Loop) -> Lowered<()> {
        for carry in inner.carries.iter().filter(|carry| self.how.inlined.contains(&carry.init)) {
            self.place_axes(carry.init, carry.inside)?;
        }
        for stmt in &inner.body {
            match stmt {
                Stmt::Define(tensor) => self.place_axes(*tensor, *tensor)?,
                Stmt::Loop(deeper) => self.place_definitions(deeper)?,
            }
        }
        Ok(())
    }
    /// Places the axes of a definition where the dimensions of `of` lie.
    fn place_axes(&mut self, tensor: TensorId, of: TensorId) -> Lowered<()> {
        let function = self.emit.program.function;
        let TensorKind::Def { axes, .. } = &function.tensors[tensor].kind else { return Ok(()) };
        for (axis, at) in axes.iter().zip(self.positions(of)?) {
            if let Some(at) = at {
                self.emit.space.place(*axis, at, false);
            }
        }
        Ok(())
    }

    /// The value of a carry before the first step.
    fn initial(&mut self, carry: &Carry) -> Lowered<Value> {
        let value = if let Some(local) = self.emit.locals.get(&carry.init) {
            local.value
        } else if self.how.inlined.contains(&carry.init) {
            let value = self.value_of(carry.init)?;
            let value = self.emit.term(value)?;
            self.rounded(value, carry.init)?
        } else {
            let at = self.positions(carry.inside)?.into_iter().collect::<Option<Vec<_>>>();
            let at = at.ok_or_else(|| Stop::Bug("a carry has a loop's axis".to_owned()))?;
            self.emit.load(carry.init, &at, true)?
        };
        self.rounded(value, carry.inside)
    }
    fn value_of(&self, tensor: TensorId) -> Lowered<TermId> {
        match &self.emit.program.function.tensors[tensor].kind {
            TensorKind::Def { value, .. } => Ok(*value),
            _ => Err(Stop::Bug(format!("{tensor} is no definition"))),
        }
    }
    /// A value as it is when it has been stored in `tensor` and read again.
    fn rounded(&mut self, value: Value, tensor: TensorId) -> Lowered<Value> {
        let to = storage(self.emit.program.function, tensor)?;
        let value = self.emit.saturated(value, to)?;
        let value = self.emit.b.cast(value, to.widened())?;
        if to.is_compute() { Ok(value) } else { Ok(self.emit.b.round(value, to)?) }
    }
    /// The type of a carry: all axes that it may come to have.
    fn carried(&self, carry: &Carry) -> Lowered<Type> {
        let positions = self.positions(carry.inside)?;
        let axes: Vec<tile::AxisId> = positions.iter().flatten().flat_map(|at| self.emit.space.tile_axes(at)).collect();
        let dtype = storage(self.emit.program.function, carry.inside)?.widened();
        Ok(Type::tile(dtype, axes))
    }

    /// Runs the steps of a loop; gives the final values of its carries.
    fn repeat(&mut self, inner: &Loop) -> Lowered<Vec<Value>> {
        let mut inits = Vec::new();
        let mut types = Vec::new();
        for carry in &inner.carries {
            inits.push(self.initial(carry)?);
            types.push(self.carried(carry)?);
        }
        let moving = moving(self.emit.program.function, inner);
        self.before(&inner.body, &moving)?;
        let extent = if self.outermost == inner.index { self.how.count.clone() } else { self.emit.extent(inner.index) };
        let extent = self.emit.symbolic(&extent)?;
        let (lo, hi) = (self.emit.int(0)?, self.emit.index_value(&extent)?);
        let head = self.emit.b.open_loop(types.clone());
        self.emit.scopes.push(Scope::default());
        let step = self.emit.scalar_symbol(head.position);
        let position = if inner.rev { extent.sub(&Index::int(1)).sub(&step) } else { step };
        let outside = self.emit.space.place(inner.index, position, false);
        for (carry, value) in inner.carries.iter().zip(&head.carries) {
            self.define(carry.inside, *value)?;
        }
        let next = self.step(inner, &types);
        self.emit.space.restore(inner.index, outside);
        self.emit.scopes.pop();
        let phases = vec![Phase { lo, hi, edge: false }];
        let results = self.emit.b.close_loop(head, 1, phases, &inits, next)?;
        for (carry, value) in inner.carries.iter().zip(&results) {
            self.define(carry.result, *value)?;
        }
        Ok(results)
    }
    fn define(&mut self, tensor: TensorId, value: Value) -> Lowered<()> {
        let at = self.positions(tensor)?;
        self.emit.locals.insert(tensor, Local { value, at });
        Ok(())
    }

    /// One step: what the carries become.
    fn step(&mut self, inner: &Loop, types: &[Type]) -> Lowered<Vec<Value>> {
        for stmt in &inner.body {
            match stmt {
                Stmt::Define(tensor) => {
                    let value = self.value_of(*tensor)?;
                    let value = self.emit.term(value)?;
                    let value = self.rounded(value, *tensor)?;
                    self.define(*tensor, value)?;
                    if self.how.kept.contains(tensor) {
                        self.store(*tensor, value)?;
                    }
                }
                Stmt::Loop(deeper) => {
                    self.repeat(deeper)?;
                }
            }
        }
        let mut next = Vec::new();
        for (carry, ty) in inner.carries.iter().zip(types) {
            let local = self.emit.locals.get(&carry.next).map(|local| local.value);
            let value = local.ok_or_else(|| Stop::Bug(format!("{} is no value of its step", carry.next)))?;
            let value = self.rounded(value, carry.inside)?;
            next.push(self.emit.spread(value, &ty.axes)?);
        }
        Ok(next)
    }

    /// Computes what the steps do not change, before the first one.
    fn before(&mut self, body: &[Stmt], moving: &BTreeSet<TermId>) -> Lowered<()> {
        for stmt in body {
            match stmt {
                Stmt::Define(tensor) => {
                    let value = self.value_of(*tensor)?;
                    self.still(value, moving, &mut BTreeSet::new())?;
                }
                Stmt::Loop(deeper) => self.before(&deeper.body, moving)?,
            }
        }
        Ok(())
    }
    fn still(&mut self, id: TermId, moving: &BTreeSet<TermId>, seen: &mut BTreeSet<TermId>) -> Lowered<()> {
        if !seen.insert(id) {
            return Ok(());
        }
        let program = self.emit.program;
        let term = &program.function.terms[id];
        // What a reduction leaves out is its own to compute.
        if matches!(term.op, Op::Where) {
            return Ok(());
        }
        if moving.contains(&id) {
            return term.args.iter().try_for_each(|arg| self.still(*arg, moving, seen));
        }
        let fact = program.facts.get(id);
        let placed = fact.axes.iter().all(|axis| self.emit.space.get(*axis).is_some());
        if placed && fact.state.is_empty() && !matches!(term.op, Op::Const(_) | Op::Index(_)) {
            self.emit.term(id)?;
        }
        Ok(())
    }

    /// Stores a value in the buffer of `tensor`.
    fn store(&mut self, tensor: TensorId, value: Value) -> Lowered<()> {
        let program = self.emit.program;
        let stored = program.stored.get(&tensor).cloned();
        let stored = stored.ok_or_else(|| Stop::Bug(format!("{tensor} is asked for but has no place")))?;
        let at: Vec<Index> = match &program.function.tensors[tensor].kind {
            TensorKind::Def { axes, .. } => {
                axes.iter().map(|axis| self.emit.symbolic(&Index::axis(*axis))).collect::<Lowered<_>>()?
            }
            _ => self.positions(tensor)?.into_iter().flatten().collect(),
        };
        let partly = match &program.function.tensors[tensor].kind {
            TensorKind::Def { axes, .. } => axes.iter().any(|axis| program.loop_positions.contains_key(axis)),
            _ => false,
        };
        let access = if partly { Access::Part } else { Access::Out };
        let mem = self.emit.memory_of(stored.buffer, stored.at, access);
        let subs = at.iter().map(|at| self.emit.subscript(at, &Index::default(), true)).collect::<Lowered<Vec<_>>>()?;
        let mask = self.mine(tensor)?;
        Ok(self.emit.b.store(mem, value, subs, mask)?)
    }
    /// Whether this block stores a tensor: the first one along each part that the tensor lacks.
    fn mine(&mut self, tensor: TensorId) -> Lowered<Option<Value>> {
        let places = self.how.layout.places.get(&tensor).into_iter().flatten().flatten();
        let has: BTreeSet<usize> = places.map(|place| place.part).collect();
        let lacks: Vec<Value> =
            (0..self.parts.len()).filter(|part| !has.contains(part)).filter_map(|part| self.parts[part].grid).collect();
        let mut firsts = Vec::new();
        for at in lacks {
            let zero = self.emit.int(0)?;
            firsts.push(self.emit.elem(ElemOp::Eq, &[at, zero])?);
        }
        match firsts.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            all => Ok(Some(self.emit.elem(ElemOp::And, all)?)),
        }
    }
}

/// Terms whose values the steps of a loop change: they depend on its position, or on what it defines or carries.
fn moving(function: &Function, inner: &Loop) -> BTreeSet<TermId> {
    let mut axes = BTreeSet::new();
    let mut local = BTreeSet::new();
    changes(inner, &mut axes, &mut local);
    let by = |index: &Index| {
        let mut found = false;
        index.for_each_atom(&mut |atom| {
            found |= match atom {
                Atom::Axis(axis) => axes.contains(axis),
                Atom::Read(tensor, _) => local.contains(tensor),
                _ => false,
            };
        });
        found
    };
    let mut moving = BTreeSet::new();
    for (id, term) in function.terms.iter() {
        let own = match &term.op {
            Op::Index(index) => by(index),
            Op::Read { tensor, subs, .. } => local.contains(tensor) || subs.iter().any(by),
            _ => false,
        };
        if own || term.args.iter().any(|arg| moving.contains(arg)) {
            moving.insert(id);
        }
    }
    moving
}

fn changes(inner: &Loop, axes: &mut BTreeSet<AxisId>, local: &mut BTreeSet<TensorId>) {
    axes.insert(inner.index);
    local.extend(inner.carries.iter().flat_map(|c| [c.inside, c.result]));
    for stmt in &inner.body {
        match stmt {
            Stmt::Define(tensor) => {
                local.insert(*tensor);
            }
            Stmt::Loop(deeper) => changes(deeper, axes, local),
        }
    }
}
