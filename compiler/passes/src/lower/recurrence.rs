//! Loops whose steps one kernel runs: its blocks share out the rows that never meet, each goes through all steps, and what is
//! carried stays with it.
//!
//! In: a loop in plan form, the target. Out: how the axes of the loop's tensors lie in such a kernel, or nothing where the steps are
//! better kernels of their own. Dimensions of tensors that always have one index in common are one *part* (union-find over the
//! dimensions of all that the loop defines and carries). A part along which no step looks at another position than its own is shared
//! out: its positions are independent recurrences. Along every other part a block holds all positions, so these are known when
//! compiling and few.
//!
//! What decides against it: positions that are computed (a carry that moves), tensors of sizes of the run along such a part, states that a
//! block cannot hold, and matrices that a step reads and no other step does, which many rows should share.

use crate::schedule::Role;
use sawmill_ir::graph::{Function, Loop, Op, Stmt, TensorKind};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use sawmill_ir::target::Target;
use std::collections::{BTreeMap, BTreeSet};

/// Where a dimension of a tensor of the loop lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which part.
    pub(super) part: usize,
    /// Which of the dimensions that one tensor has along this part, in order.
    pub(super) copy: usize,
}

/// Dimensions that have their indices in common.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// A name, for reading only.
    pub(super) name: String,
    /// How many positions.
    pub(super) extent: Index,
    /// Shared out among blocks, one position or a tile to each, or a row that every block holds.
    pub(super) role: Role,
}

/// How the axes of a loop lie in the kernel that runs its steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// All parts.
    pub(super) parts: Vec<Part>,
    /// Dimensions of what the loop defines and carries; a loop's own axis has no place.
    pub(super) places: BTreeMap<TensorId, Vec<Option<Place>>>,
    /// Axes that reductions of a step bind, along what is held.
    pub(super) along: BTreeMap<AxisId, Place>,
    /// Other axes that reductions bind.
    pub(super) reduced: BTreeSet<AxisId>,
}

/// Elements of a state that a core holds, in its nearer caches.
const HELD: i64 = 1 << 14;
/// Elements of a matrix that belongs to one step, from which on a kernel for each step shares it better.
const OF_A_STEP: i64 = 1 << 10;
/// Positions of a tile whose lanes all have work, on any processor.
const WIDE: i64 = 16;

/// How the steps of `inner` run in one kernel.
pub(super) fn recurrence(function: &Function, inner: &Loop, target: &Target) -> Option<Layout> {
    let mut seen = Seen::new(function);
    seen.declare(inner)?;
    seen.body(inner)?;
    seen.layout(target)
}

/// Dimensions by number, joined where they have an index in common.
#[derive(Default)]
struct Slots {
    all: Vec<(TensorId, usize)>,
    number: BTreeMap<(TensorId, usize), usize>,
    leader: Vec<usize>,
}

impl Slots {
    fn add(&mut self, tensor: TensorId, dim: usize) {
        self.number.insert((tensor, dim), self.all.len());
        self.leader.push(self.all.len());
        self.all.push((tensor, dim));
    }
    fn of(&self, tensor: TensorId, dim: usize) -> Option<usize> {
        self.number.get(&(tensor, dim)).copied()
    }
    fn find(&self, slot: usize) -> usize {
        let mut slot = slot;
        while self.leader[slot] != slot {
            slot = self.leader[slot];
        }
        slot
    }
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.leader[a.max(b)] = a.min(b);
    }
}

struct Seen<'a> {
    function: &'a Function,
    /// Axes of the loop and of those in it.
    loops: BTreeSet<AxisId>,
    /// What the loop defines and carries.
    local: BTreeSet<TensorId>,
    slots: Slots,
    /// Slots along which a step looks at other positions.
    held: BTreeSet<usize>,
    /// Axes that reductions bind, by the slot that they run along first.
    along: BTreeMap<AxisId, usize>,
    reduced: BTreeSet<AxisId>,
    /// Elements that each step has for itself: the bound axes and the slots of the definition that they are read at.
    of_steps: Vec<(BTreeSet<AxisId>, BTreeSet<usize>)>,
}

impl<'a> Seen<'a> {
    fn new(function: &'a Function) -> Self {
        Self {
            function,
            loops: BTreeSet::new(),
            local: BTreeSet::new(),
            slots: Slots::default(),
            held: BTreeSet::new(),
            along: BTreeMap::new(),
            reduced: BTreeSet::new(),
            of_steps: Vec::new(),
        }
    }
    fn shape(&self, tensor: TensorId) -> &'a [Index] {
        &self.function.tensors[tensor].shape
    }
    fn extent(&self, axis: AxisId) -> &'a Index {
        &self.function.axes[axis].extent
    }

    /// Notes what the loop defines and carries.
    fn declare(&mut self, inner: &Loop) -> Option<()> {
        self.loops.insert(inner.index);
        inner.carries.iter().flat_map(|c| [c.inside, c.result]).for_each(|tensor| self.tensor(tensor, &[]));
        for stmt in &inner.body {
            match stmt {
                Stmt::Define(tensor) => {
                    let TensorKind::Def { axes, .. } = &self.function.tensors[*tensor].kind else { return None };
                    self.tensor(*tensor, axes);
                }
                Stmt::Loop(deeper) => self.declare(deeper)?,
            }
        }
        Some(())
    }
    fn tensor(&mut self, tensor: TensorId, axes: &[AxisId]) {
        self.local.insert(tensor);
        for dim in 0..self.shape(tensor).len() {
            if !axes.get(dim).is_some_and(|axis| self.loops.contains(axis)) {
                self.slots.add(tensor, dim);
            }
        }
    }

    /// Joins what the equations of the loop join.
    fn body(&mut self, inner: &Loop) -> Option<()> {
        for carry in &inner.carries {
            for dim in 0..self.shape(carry.inside).len() {
                let same = [carry.init, carry.inside, carry.next, carry.result].map(|t| self.slots.of(t, dim));
                let known: Vec<usize> = same.into_iter().flatten().collect();
                known.windows(2).for_each(|pair| self.slots.join(pair[0], pair[1]));
            }
        }
        for stmt in &inner.body {
            match stmt {
                Stmt::Define(tensor) => self.equation(*tensor)?,
                Stmt::Loop(deeper) => self.body(deeper)?,
            }
        }
        Some(())
    }
    fn equation(&mut self, tensor: TensorId) -> Option<()> {
        let TensorKind::Def { axes, value, .. } = &self.function.tensors[tensor].kind else { return None };
        let slot = |(dim, axis): (usize, &AxisId)| self.slots.of(tensor, dim).map(|slot| (*axis, slot));
        let own: BTreeMap<AxisId, usize> = axes.iter().enumerate().filter_map(slot).collect();
        let (mut open, mut visited) = (vec![*value], BTreeSet::new());
        while let Some(id) = open.pop() {
            if !visited.insert(id) {
                continue;
            }
            let term = &self.function.terms[id];
            open.extend(&term.args);
            match &term.op {
                Op::Index(index) => self.index(index, &own)?,
                Op::Read { tensor, subs, guarded } => {
                    subs.iter().try_for_each(|sub| self.index(sub, &own))?;
                    self.read(*tensor, subs, *guarded, &own)?;
                }
                Op::Reduce { axes, segment: None, .. } | Op::Fold { axes, .. } => self.reduced.extend(axes),
                Op::Reduce { .. } => return None,
                _ => {}
            }
        }
        Some(())
    }
    fn index(&mut self, index: &Index, own: &BTreeMap<AxisId, usize>) -> Option<()> {
        let mut reads = Vec::new();
        index.for_each_atom(&mut |atom| {
            if let Atom::Read(tensor, subs) = atom {
                reads.push((*tensor, subs.clone()));
            }
        });
        reads.iter().try_for_each(|(tensor, subs)| self.read(*tensor, subs, false, own))
    }

    /// A read in an equation whose axes are `own`.
    fn read(&mut self, tensor: TensorId, subs: &[Index], guarded: bool, own: &BTreeMap<AxisId, usize>) -> Option<()> {
        if !self.local.contains(&tensor) {
            return self.outside(tensor, subs, own);
        }
        let mut used = BTreeSet::new();
        for (dim, sub) in subs.iter().enumerate() {
            let Some(slot) = self.slots.of(tensor, dim) else {
                // What a loop collects is read in the step that writes it.
                let TensorKind::Def { axes, .. } = &self.function.tensors[tensor].kind else { return None };
                if sub.as_axis() != axes.get(dim).copied() {
                    return None;
                }
                continue;
            };
            match sub.as_axis() {
                Some(axis) if !self.loops.contains(&axis) => {
                    let fits = used.insert(axis) && self.extent(axis) == self.shape(tensor).get(dim)?;
                    if !fits {
                        return None;
                    }
                    match own.get(&axis) {
                        Some(mine) => self.slots.join(*mine, slot),
                        None => {
                            self.held.insert(slot);
                            self.along.entry(axis).or_insert(slot);
                        }
                    }
                }
                _ if !guarded && sub.axes().iter().all(|axis| self.loops.contains(axis)) => {
                    self.held.insert(slot);
                }
                _ => return None,
            }
        }
        Some(())
    }
    fn outside(&mut self, tensor: TensorId, subs: &[Index], own: &BTreeMap<AxisId, usize>) -> Option<()> {
        let lists = match &self.function.tensors[tensor].kind {
            TensorKind::Input(input) => input.lists as usize,
            _ => 0,
        };
        let axes: BTreeSet<AxisId> = subs.iter().flat_map(Index::axes).collect();
        if subs.iter().take(lists).any(|sub| !sub.axes().is_empty()) {
            return None;
        }
        if axes.iter().any(|axis| self.loops.contains(axis)) {
            let slots = axes.iter().filter_map(|axis| own.get(axis)).copied().collect();
            let bound = axes.into_iter().filter(|axis| !self.loops.contains(axis) && !own.contains_key(axis)).collect();
            self.of_steps.push((bound, slots));
        }
        Some(())
    }

    /// The layout, if a block can hold what it must.
    fn layout(&mut self, target: &Target) -> Option<Layout> {
        self.hold_repeated();
        let held: BTreeSet<usize> = self.held.iter().map(|slot| self.slots.find(*slot)).collect();
        let mut layout = Layout::default();
        let mut part_of: BTreeMap<usize, usize> = BTreeMap::new();
        for (slot, (tensor, dim)) in self.slots.all.iter().enumerate() {
            let root = self.slots.find(slot);
            let extent = self.shape(*tensor).get(*dim)?;
            let part = *part_of.entry(root).or_insert_with(|| {
                let name = format!("{}{dim}", self.function.tensors[*tensor].name);
                layout.parts.push(Part { name, extent: extent.clone(), role: Role::Scalar });
                layout.parts.len() - 1
            });
            if layout.parts[part].extent != *extent {
                return None;
            }
            if held.contains(&root) {
                layout.parts[part].role = Role::Row(extent.as_int()?);
            }
            let places = layout.places.entry(*tensor).or_insert_with(|| vec![None; self.shape(*tensor).len()]);
            let copy = places[..*dim].iter().flatten().filter(|place| place.part == part).count();
            places[*dim] = Some(Place { part, copy });
        }
        for tensor in &self.local {
            layout.places.entry(*tensor).or_insert_with(|| vec![None; self.shape(*tensor).len()]);
        }
        for (axis, slot) in &self.along {
            let (tensor, dim) = self.slots.all[*slot];
            layout.along.insert(*axis, layout.places.get(&tensor)?[dim]?);
        }
        layout.reduced = self.reduced.iter().filter(|axis| !layout.along.contains_key(axis)).copied().collect();
        self.fits(&layout, target)?;
        share(&mut layout, target);
        Some(layout)
    }
    /// A tensor that has two dimensions along one part looks across it.
    fn hold_repeated(&mut self) {
        let mut seen: BTreeSet<(TensorId, usize)> = BTreeSet::new();
        for (slot, (tensor, _)) in self.slots.all.iter().enumerate() {
            if !seen.insert((*tensor, self.slots.find(slot))) {
                self.held.insert(slot);
            }
        }
    }
    /// Whether a block can hold the state, and no matrix of a step should be shared by more rows than it has.
    fn fits(&self, layout: &Layout, target: &Target) -> Option<()> {
        let most = if target.tile_elements > 0 { i64::from(target.tile_elements) / 2 } else { HELD };
        let known = |axis: &AxisId| self.extent(*axis).as_int();
        for (bound, slots) in self.of_steps.iter().filter(|(bound, _)| !bound.is_empty()) {
            let own = slots.iter().filter_map(|slot| {
                let (tensor, dim) = self.slots.all[*slot];
                layout.places.get(&tensor)?.get(dim).copied()?
            });
            let own = own.filter_map(|place| match layout.parts[place.part].role {
                Role::Row(extent) => Some(extent),
                _ => None,
            });
            let own: i64 = own.product();
            let bound = bound.iter().map(known).try_fold(1_i64, |all, one| one.and_then(|one| all.checked_mul(one)));
            if bound.is_none_or(|bound| bound.saturating_mul(own) > OF_A_STEP) {
                return None;
            }
        }
        (held_elements(layout) <= most).then_some(())
    }
}

/// Elements of the largest tensor of the loop for one position of what is shared out.
fn held_elements(layout: &Layout) -> i64 {
    let rows = |places: &Vec<Option<Place>>| {
        let extents = places.iter().flatten().filter_map(|place| match layout.parts[place.part].role {
            Role::Row(extent) => Some(extent),
            _ => None,
        });
        extents.fold(1_i64, i64::saturating_mul)
    };
    layout.places.values().map(rows).max().unwrap_or(1)
}

/// Gives a block a tile of the part that the largest tensors have last: neighbours in memory are neighbours in its lanes.
fn share(layout: &mut Layout, target: &Target) {
    let lanes = i64::from(target.lanes(32));
    let each = held_elements(layout);
    let (most, widest) = if target.tile_elements > 0 {
        (i64::from(target.stream_elements), i64::from(target.threads))
    } else {
        (HELD / 4, 4 * WIDE)
    };
    let tile = (most / each).clamp(1, widest);
    let shared = |place: &&Place| layout.parts[place.part].role == Role::Scalar;
    let last = |places: &Vec<Option<Place>>| places.iter().flatten().rfind(shared).map(|p| p.part);
    let longest = layout.places.values().filter_map(|places| Some((places.len(), last(places)?)));
    let Some((_, part)) = longest.max_by_key(|(rank, part)| (*rank, std::cmp::Reverse(*part))) else { return };
    let tile = match layout.parts[part].extent.as_int() {
        Some(extent) if extent <= tile + tile / 4 => extent.max(1),
        Some(extent) => (tile / 2..=tile).rev().find(|t| extent % t == 0 && t % lanes == 0).unwrap_or(tile),
        None => tile,
    };
    if tile > 1 {
        layout.parts[part].role = Role::Tile(tile);
    }
}
