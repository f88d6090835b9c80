//! One kernel: grid, placements of free axes, stores.

use super::emit::{Emit, Program};
use super::plan::Group;
use super::space::Symbol;
use super::{Lowered, Stop};
use crate::schedule::{Role, Schedule};
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::{TensorKind, TermId};
use sawmill_ir::index::{AxisId, Index, TensorId};
use sawmill_ir::tile::builder::Sub;
use sawmill_ir::tile::{Access, Buffer, BufferId, Kernel, MemId, Phase, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A finished kernel and what its memories are bound to.
pub(super) struct Made {
    pub(super) kernel: Kernel,
    pub(super) args: Vec<(BufferId, Option<Index>)>,
}

/// A value that a kernel stores.
struct Output {
    tensor: TensorId,
    axes: Vec<AxisId>,
    value: TermId,
    /// The dimension that an append extends, and where it starts.
    grows: Option<(u32, Index)>,
    mem: MemId,
}

/// The kernel that computes a group of definitions or appends.
pub(super) fn kernel(program: &Program<'_>, name: &str, group: &Group) -> Lowered<Made> {
    let mut emit = Emit::new(program, name, group.schedule.clone());
    emit.shared = group.shared.folds.clone();
    let mut outputs = Vec::new();
    for tensor in &group.tensors {
        outputs.push(emit.output(*tensor)?);
    }
    emit.grid()?;
    for (axis, of) in &group.shared.axes {
        if let Some(position) = emit.space.get(*of).map(|p| p.position.clone()) {
            emit.space.place(*axis, position, false);
        }
        // What is stored along a grouped axis is masked at its group's end, whatever the definition calls the axis.
        if let Some(by) = group.schedule.groups.get(of) {
            emit.schedule.groups.insert(*axis, by.clone());
        }
    }
    emit.walk(&group.schedule.free, &outputs)?;
    let Emit { b, memory, .. } = emit;
    Ok(Made { kernel: b.finish().compact(), args: memory })
}

/// The kernel that copies a tensor to a buffer of its shape: in rows of an even extent, so that it may be one of four bits.
pub(super) fn copy(program: &Program<'_>, name: &str, from: TensorId, to: BufferId) -> Lowered<Made> {
    /// Elements a block copies.
    const RUN: u32 = 256;
    let schedule = Schedule { free: Vec::new(), reduce: BTreeMap::new(), groups: BTreeMap::new(), small: None };
    let mut emit = Emit::new(program, name, schedule);
    let Buffer { shape, dtype, .. } = program.module.buffers[to].clone();
    let mem = emit.memory_of(to, None, Access::Out);
    let (mut places, mut subs) = (Vec::new(), Vec::new());
    for (dim, size) in shape.iter().enumerate() {
        let last = dim + 1 == shape.len();
        let run = Index::int(if last { i64::from(RUN) } else { 1 });
        let at = emit.b.grid("at", size.add(&run).sub(&Index::int(1)).div(&run))?;
        let at = emit.scalar_symbol(at).mul(&run);
        let at = if last {
            let axis = emit.b.axis("run", RUN);
            at.add(&emit.space.symbol(Symbol::Tile(axis, i64::from(RUN))))
        } else {
            at
        };
        subs.push(emit.subscript(&at, size, true)?);
        places.push(at);
    }
    let value = emit.load(from, &places, true)?;
    let value = emit.b.cast(value, dtype.widened())?;
    emit.b.store(mem, value, subs, None)?;
    let Emit { b, memory, .. } = emit;
    Ok(Made { kernel: b.finish().compact(), args: memory })
}

impl Emit<'_> {
    fn output(&mut self, tensor: TensorId) -> Lowered<Output> {
        let function = self.program.function;
        let stored = self.program.stored.get(&tensor).cloned();
        let stored = stored.ok_or_else(|| Stop::Bug(format!("{tensor} is defined but has no place")))?;
        let (axes, value, grows, access) = match &function.tensors[tensor].kind {
            TensorKind::Def { axes, value, .. } => {
                let collected = axes.iter().any(|axis| self.program.loop_positions.contains_key(axis));
                (axes, *value, None, if collected { Access::Part } else { Access::Out })
            }
            TensorKind::Append { base, at, dim, axes, value } => {
                let before = &function.tensors[*base].shape;
                let listed = before.len().saturating_sub(axes.len()).min(at.len());
                let start = before.get(listed + *dim as usize).cloned();
                let start = start.ok_or_else(|| Stop::Bug(format!("{tensor} appends along no dimension")))?;
                if self.storage(tensor)?.bits() < 8 {
                    let name = &function.tensors[*base].name;
                    return Err(Stop::Unsupported(format!("an append to `{name}`, whose elements share bytes")));
                }
                (axes, *value, Some((*dim, start)), Access::InOut)
            }
            _ => return Err(Stop::Bug(format!("{tensor} is stored but is no definition"))),
        };
        let at = match &stored.at {
            Some(at) => Some(self.symbolic(at)?),
            None => None,
        };
        let mem = self.memory_of(stored.buffer, at, access);
        Ok(Output { tensor, axes: axes.clone(), value, grows, mem })
    }

    /// Grid axes and placements of the axes that they cover: scalars outside, tiles inside, each in order of their sizes, so that
    /// the order in which an output stores its axes does not matter.
    fn grid(&mut self) -> Lowered<()> {
        let mut free = self.schedule.free.clone();
        free.sort_by_cached_key(|(axis, role)| (!matches!(role, Role::Scalar), self.extent(*axis)));
        for (axis, role) in free {
            let name = self.program.function.axes[axis].name.clone();
            let extent = self.symbolic(&self.extent(axis))?;
            match role {
                Role::Scalar => {
                    let at = self.b.grid(&name, extent)?;
                    let at = self.scalar_symbol(at);
                    self.space.place(axis, at, false);
                }
                Role::Tile(tile) => {
                    let (inner, axes, unit) = self.cut(axis, tile)?;
                    let count = axes.first().map_or(1, |a| i64::from(self.b.extent(*a)));
                    if extent.as_int().is_some_and(|e| e <= count * unit) {
                        self.space.place(axis, inner, false);
                        continue;
                    }
                    let span = Index::int(count * unit);
                    let at = self.b.grid(&name, extent.add(&span.sub(&Index::int(1))).div(&span))?;
                    let step = self.int(count)?;
                    let start = self.elem(ElemOp::Mul, &[at, step])?;
                    let start = self.scalar_symbol(start);
                    self.space.place(axis, start.scale(unit).add(&inner), false);
                }
                Role::Group(tile) => self.group(axis, tile)?,
                Role::Row(extent) => {
                    let (inner, _, _) = self.cut(axis, extent)?;
                    self.space.place(axis, inner, true);
                }
                Role::Walk(_) => {}
            }
        }
        Ok(())
    }

    /// Blocks for the groups of an axis and for the tiles of a group.
    fn group(&mut self, axis: AxisId, tile: i64) -> Lowered<()> {
        let name = self.program.function.axes[axis].name.clone();
        let by = self.schedule.groups.get(&axis).cloned();
        let by = self.symbolic(&by.ok_or_else(|| Stop::Bug(format!("{axis} has no groups")))?)?;
        let extent = self.symbolic(&self.extent(axis))?;
        let [count, tiles] =
            [(&extent, &by), (&by, &Index::int(tile))].map(|(all, each)| all.add(each).sub(&Index::int(1)).div(each));
        let group = self.b.grid(&name, count)?;
        let group = self.scalar_symbol(group);
        let part = self.b.grid(&name, tiles)?;
        let step = self.int(tile)?;
        let start = self.elem(ElemOp::Mul, &[part, step])?;
        let start = self.scalar_symbol(start);
        let (inner, _, _) = self.cut(axis, tile)?;
        let inside = start.add(&inner);
        self.space.place(axis, group.mul(&by).add(&inside), false);
        self.space.bound(inside, by);
        Ok(())
    }

    /// Whether elements along grouped axes lie in their group; `None` where no axis is.
    fn in_groups(&mut self, axes: &[AxisId]) -> Lowered<Option<Value>> {
        if !axes.iter().any(|axis| self.schedule.groups.contains_key(axis)) {
            return Ok(None);
        }
        let bounds = self.space.bounds().to_vec();
        let mut inside = Vec::new();
        for (position, bound) in bounds {
            let (position, bound) = (self.index_value(&position)?, self.index_value(&bound)?);
            inside.push(self.elem(ElemOp::Lt, &[position, bound])?);
        }
        match inside.as_slice() {
            [one] => Ok(Some(*one)),
            all => Ok(Some(self.elem(ElemOp::And, all)?)),
        }
    }

    /// Opens loops for axes that are walked in the block, then stores.
    fn walk(&mut self, free: &[(AxisId, Role)], outputs: &[Output]) -> Lowered<()> {
        let next = free.iter().position(|(_, role)| matches!(role, Role::Walk(_)));
        let Some(at) = next else { return self.stores(outputs) };
        let (axis, Role::Walk(tile)) = free[at] else { return Ok(()) };
        // What does not walk is computed before.
        let (still, walking): (Vec<&Output>, Vec<&Output>) = outputs.iter().partition(|o| !o.axes.contains(&axis));
        if !still.is_empty() {
            return Err(Stop::Bug("definitions of one kernel walk different axes".to_owned()));
        }
        let mut seen = BTreeSet::new();
        for output in &walking {
            self.hoist(output.value, &[axis], &mut seen)?;
        }
        let (inner, axes, unit) = self.cut(axis, tile)?;
        let count = axes.first().map_or(1, |a| i64::from(self.b.extent(*a)));
        let extent = self.symbolic(&self.extent(axis))?;
        let units = extent.add(&Index::int(unit - 1)).div(&Index::int(unit));
        let (lo, hi) = (self.int(0)?, self.index_value(&units)?);
        let head = self.b.open_loop(Vec::new());
        self.scopes.push(super::emit::Scope::default());
        let start = self.scalar_symbol(head.position);
        self.space.place(axis, start.scale(unit).add(&inner), false);
        let result = self.walk(&free[at + 1..], outputs).map(|()| Vec::new());
        self.scopes.pop();
        self.b.close_loop(head, count, vec![Phase { lo, hi, edge: true }], &[], result)?;
        Ok(())
    }

    fn stores(&mut self, outputs: &[Output]) -> Lowered<()> {
        for output in outputs {
            let value = self.term(output.value)?;
            let to = self.storage(output.tensor)?;
            let value = self.saturated(value, to)?;
            let value = self.b.cast(value, to.widened())?;
            let mut subs: Vec<Sub> = Vec::new();
            for (dim, axis) in (0_u32..).zip(&output.axes) {
                let mut at = Index::axis(*axis);
                if let Some((_, start)) = output.grows.as_ref().filter(|(grown, _)| *grown == dim) {
                    at = at.add(start);
                }
                let at = self.symbolic(&at)?;
                subs.push(self.subscript(&at, &Index::default(), true)?);
            }
            let mask = self.in_groups(&output.axes)?;
            self.b.store(output.mem, value, subs, mask)?;
        }
        Ok(())
    }
}
