//! The schedule of one kernel: which axes are spread over blocks, which are tiled, how far a tile goes.
//!
//! In: the definitions that one kernel computes, facts about their terms, and the target as data. Out: a [`Schedule`]. What
//! decides is reuse: an axis is tiled if some contraction has a factor without it, so that the factor serves the whole tile
//! (Goto and van de Geijn's blocking, chosen from the structure of the term). An axis over which splitting would repeat
//! reductions that do not depend on it stays whole or is walked inside of the block. All other axes are scalars of a block.
//! Extents that are known are tiled by a divisor where one is near, so that no tile is partial. Sizes of the run do not
//! change a schedule; small ones get one of their own ([`Schedule::small`]), and the plan chooses.

mod groups;

use crate::lower::{Facts, stored_format};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Function, Op, TermId};
use sawmill_ir::index::{AxisId, Index};
use sawmill_ir::target::Target;
use std::collections::{BTreeMap, BTreeSet};

/// Rows of a matrix unit's tile where a result feeds another product: a fragment's 16 in each of four warps.
const MATRIX_ROWS: i64 = 64;
/// Rows of a group's tile: a fragment's.
const GROUP: i64 = 16;
/// An axis up to this extent may be one whole tile where splitting it would repeat work.
const WHOLE: i64 = 512;

/// How a free axis is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One position a block.
    Scalar,
    /// Tiles of this extent, spread over blocks; a known extent up to it needs no grid axis.
    Tile(i64),
    /// Tiles of this extent, one after the other in every block.
    Walk(i64),
    /// Groups of consecutive positions ([`Schedule::groups`]), each in tiles of this extent, spread over blocks.
    Group(i64),
    /// The whole axis, of this extent, in one tile, which reductions over it share: read once, kept between passes.
    Row(i64),
}

/// How a kernel covers its axes.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Free axes, in the order of the definitions.
    pub(crate) free: Vec<(AxisId, Role)>,
    /// Tile extents of summed axes.
    pub(crate) reduce: BTreeMap<AxisId, i64>,
    /// How many positions of a grouped axis belong together.
    pub(crate) groups: BTreeMap<AxisId, Index>,
    /// An axis whose run-time extent may be small, for which [`schedule`] with `small` gives another schedule.
    pub(crate) small: Option<AxisId>,
}

/// A sum of products: what it binds, what each factor depends on.
#[derive(Debug)]
struct Site {
    /// The factors.
    terms: Vec<TermId>,
    element: TermId,
    bound: Vec<AxisId>,
    factors: Vec<BTreeSet<AxisId>>,
    /// The type of 16 bits that a factor is stored in.
    format: Option<DType>,
}

/// A reduction: what it binds, whether it stands inside of another one.
struct Binder {
    term: TermId,
    bound: Vec<AxisId>,
    nested: bool,
}

/// The kernel that is scheduled.
pub(crate) struct Work<'a> {
    pub(crate) function: &'a Function,
    pub(crate) facts: &'a Facts,
    /// The axes of every definition, each once.
    pub(crate) axes: Vec<AxisId>,
    /// The stored values.
    pub(crate) values: Vec<TermId>,
    /// Divisors by which axes are split.
    pub(crate) chains: &'a BTreeMap<AxisId, Vec<i64>>,
    /// Axes of which tiles have at most so many positions, whatever is reused.
    pub(crate) limits: &'a BTreeMap<AxisId, i64>,
    /// Axes of known extents that are one tile, if they are not longer than such a tile may be.
    pub(crate) whole: &'a BTreeSet<AxisId>,
}

/// Schedules `work`; with `small`, for an axis of few positions.
pub(crate) fn schedule(work: &Work<'_>, target: &Target, small: Option<AxisId>) -> Schedule {
    let mut seen = Structure::default();
    for value in &work.values {
        seen.visit(work, *value, false);
    }
    let sides = seen.sides(&work.axes, small);
    let heavy = |axis: &AxisId| seen.repeats_inside(work, *axis);
    let repeated = |axis: &AxisId| seen.binders.iter().any(|b| !work.facts.get(b.term).axes.contains(axis));
    // A row that is kept serves every pass over it; where products have tiles of their own, it would take their room.
    let kept = target.row_elements > 0 && sides.is_empty() && seen.is_flat(work);
    let inner = seen.binders.iter().any(|b| b.nested) && !kept;
    let tiled: Vec<&Vec<AxisId>> = sides.iter().filter(|side| side.iter().any(|a| !heavy(a))).collect();
    let matrix = seen.sites.iter().any(|site| site.format.is_some_and(|f| target.matrix.contains(&f)));
    let shape = Shape::of(target, tiled.len(), inner, matrix);
    let mut roles: BTreeMap<AxisId, Role> = BTreeMap::new();
    for side in &sides {
        let (whole, split): (Vec<AxisId>, Vec<AxisId>) =
            side.iter().partition(|a| heavy(a) && work.known(**a).is_some_and(|e| e <= WHOLE));
        roles.extend(whole.into_iter().map(|a| (a, Role::Tile(work.known(a).unwrap_or(1)))));
        roles.extend(work.fill(&split, shape.free).into_iter().map(|(a, t)| (a, Role::Tile(t))));
    }
    let at_once = work.axes.iter().filter(|axis| work.whole.contains(axis));
    roles.extend(at_once.filter_map(|a| Some((*a, Role::Tile(work.known(*a).filter(|e| *e <= WHOLE)?)))));
    // Where no tile of rows is left for a matrix unit, positions that share a factor make one.
    let mut groups = BTreeMap::new();
    let in_tiles = |axis: &AxisId| !heavy(axis) && work.limits.get(axis) != Some(&1);
    if matrix && !sides.iter().flatten().any(in_tiles) {
        groups = seen.groups(work, small);
        roles.extend(groups.keys().map(|axis| (*axis, Role::Group(GROUP))));
    }
    let plain: Vec<AxisId> =
        work.axes.iter().filter(|a| !roles.contains_key(a) && Some(**a) != small).copied().collect();
    let (again, rest): (Vec<AxisId>, Vec<AxisId>) = plain.iter().partition(|a| repeated(a));
    let (rows, again) = work.rows(&again, i64::from(target.row_elements));
    roles.extend(rows.iter().map(|(axis, extent)| (*axis, Role::Row(*extent))));
    let stream = i64::from(target.stream_elements);
    for (axis, tile) in work.fill(&again, stream) {
        let role = if work.known(axis).is_some_and(|e| e <= tile) { Role::Tile(tile) } else { Role::Walk(tile) };
        roles.insert(axis, role);
    }
    let tiles =
        |budget: i64| work.fill(&rest, budget).into_iter().filter(|(_, t)| *t > 1).map(|(a, t)| (a, Role::Tile(t)));
    if roles.is_empty() && seen.binders.is_empty() {
        roles.extend(tiles(stream));
    } else if let Some(row) = seen.row(work, &rows).filter(|_| target.row_elements > 0 && roles.len() == rows.len()) {
        roles.extend(tiles(stream / row));
    }
    let cut = |a: &AxisId| matches!(roles.get(a), Some(Role::Tile(_))) && work.limits.get(a) != Some(&1);
    let run_time = |a: &&AxisId| work.known(**a).is_none() && cut(a);
    // Few positions share nothing worth a tile: neither a factor with another side, nor what does not depend on them.
    let tiled_for_reuse = |axis: &AxisId| match sides.iter().any(|side| side.contains(axis)) {
        true => sides.len() > 1 && !heavy(axis),
        false => true,
    };
    let variant = work.axes.iter().find(|a| run_time(a) && tiled_for_reuse(a) && rows.is_empty());
    let mut reduce = seen.reduce_tiles(work, &shape, stream);
    reduce.extend(seen.along_rows(work, &rows));
    if target.tile_elements > 0 {
        // A matrix unit's sums have nothing beside them in registers.
        let most = i64::from(target.tile_elements) * if matrix { 2 } else { 1 };
        let padded = 2 * i64::from(target.tile_elements);
        Bound { work, roles: &mut roles, reduce: &mut reduce }.apply(&seen, (most, padded));
    }
    Schedule {
        free: work.axes.iter().map(|a| (*a, role(&roles, *a))).collect(),
        reduce,
        groups,
        small: variant.copied().filter(|_| small.is_none()),
    }
}

/// The role of an axis; a tile of one position is a scalar.
fn role(roles: &BTreeMap<AxisId, Role>, axis: AxisId) -> Role {
    match roles.get(&axis) {
        None | Some(Role::Tile(1)) => Role::Scalar,
        Some(role) => *role,
    }
}

/// Elements of tiles, from the target's caches and from how much is reused.
struct Shape {
    /// Of one side of free axes.
    free: i64,
    /// Of summed axes.
    reduce: i64,
}

impl Shape {
    fn of(target: &Target, sides: usize, inner: bool, matrix: bool) -> Self {
        let floats = i64::try_from(target.l1_bytes / 4).unwrap_or(i64::MAX);
        // Square tiles: an accumulator that fills half of the first-level cache.
        let square = (0..12).map(|n| 1 << n).take_while(|side| side * side * 2 <= floats).last().unwrap_or(1);
        // A few rows at once, as long as what they share fits half of it: many streams, each vector of the other factor used
        // again.
        let rows = i64::from(target.vector_registers / 2).max(1);
        match sides {
            // Of matrix units: what registers hold of sums, what shared memory holds of a few steps' factors.
            _ if matrix && inner => Self { free: MATRIX_ROWS, reduce: MATRIX_ROWS },
            2.. if matrix => Self { free: 2 * MATRIX_ROWS, reduce: MATRIX_ROWS / 2 },
            // Nothing to reuse: short tiles, so that little of a short axis is computed for nothing.
            0 => Self { free: square, reduce: if inner { square / 2 } else { target.stream_elements.into() } },
            1 if !inner => Self { free: rows, reduce: floats / 2 },
            _ => Self { free: square, reduce: square },
        }
    }
}

impl Work<'_> {
    /// The extent, if it is known when compiling.
    pub(crate) fn known(&self, axis: AxisId) -> Option<i64> {
        self.function.axes[axis].extent.as_int()
    }
    /// Tile extents for `axes`, the last one first, whose product stays within `budget`.
    fn fill(&self, axes: &[AxisId], budget: i64) -> Vec<(AxisId, i64)> {
        let mut left = budget.max(1);
        let mut tiles = Vec::new();
        for axis in axes.iter().rev() {
            let tile = self.tile(*axis, left);
            left = (left / tile).max(1);
            tiles.push((*axis, tile));
        }
        tiles
    }
    /// Axes of `axes` that fit rows of `budget` elements, with their extents, and the others.
    fn rows(&self, axes: &[AxisId], budget: i64) -> (BTreeMap<AxisId, i64>, Vec<AxisId>) {
        let mut left = budget;
        let (mut rows, mut others) = (BTreeMap::new(), Vec::new());
        for axis in axes.iter().rev() {
            match self.known(*axis).filter(|extent| (1..=left).contains(extent)) {
                Some(extent) => {
                    left /= extent;
                    rows.insert(*axis, extent);
                }
                None => others.insert(0, *axis),
            }
        }
        (rows, others)
    }
    /// A tile extent near `budget`: the whole axis if it is at most a quarter longer, the largest divisor down to a quarter of
    /// it, else the budget with a partial tile at the end; a multiple of the axis' own units.
    fn tile(&self, axis: AxisId, budget: i64) -> i64 {
        let unit = self.chains.get(&axis).and_then(|c| c.first()).copied().unwrap_or(1);
        let budget = self.limits.get(&axis).map_or(budget, |limit| budget.min(*limit));
        let most = (budget / unit * unit).max(unit);
        match self.known(axis) {
            Some(extent) if extent <= most + most / 4 => extent.max(1),
            Some(extent) => {
                let divides = |t: &i64| extent % t == 0 && t % unit == 0;
                (most / 4 + 1..=most).rev().find(divides).unwrap_or(most)
            }
            None => most,
        }
    }
}

/// Tiles that are being made smaller.
struct Bound<'a, 'w> {
    work: &'a Work<'w>,
    roles: &'a mut BTreeMap<AxisId, Role>,
    reduce: &'a mut BTreeMap<AxisId, i64>,
}

impl Bound<'_, '_> {
    /// Makes tiles smaller until no term that is computed takes more than `most` elements, nor more than `padded` where every
    /// axis of a tile takes a power of two. The longest axis gives way first, one
    /// that is summed before one that is not, rows last.
    fn apply(&mut self, seen: &Structure, (most, padded): (i64, i64)) {
        for axes in seen.computed(self.work) {
            let product = |sizes: &mut dyn Iterator<Item = i64>| sizes.fold(1, i64::saturating_mul);
            while product(&mut axes.iter().map(|a| self.tile(*a))) > most
                || product(&mut axes.iter().map(|a| self.padded(*a))) > padded
            {
                let rank = |a: &&AxisId| (!self.is_row(**a), self.tile(**a), self.reduce.contains_key(*a), **a);
                let shorter = |a: &&AxisId| self.shorter(**a).is_some();
                // A row alone is as long as rows may be.
                let free = axes.iter().filter(shorter).filter(|a| !self.is_row(**a) || self.others(&axes, **a) > 1);
                let Some(axis) = free.max_by_key(rank).copied() else { break };
                let Some(tile) = self.shorter(axis) else { break };
                self.set(axis, tile);
            }
        }
    }
    fn others(&self, axes: &BTreeSet<AxisId>, axis: AxisId) -> i64 {
        axes.iter().filter(|a| **a != axis).map(|a| self.tile(*a)).fold(1, i64::saturating_mul)
    }
    fn is_row(&self, axis: AxisId) -> bool {
        let along = |(row, role): (&AxisId, &Role)| matches!(role, Role::Row(e) if *row == axis || self.reduce.get(&axis) == Some(e) && self.work.known(axis) == Some(*e));
        self.roles.iter().any(along)
    }
    fn tile(&self, axis: AxisId) -> i64 {
        match self.roles.get(&axis) {
            Some(Role::Tile(tile) | Role::Walk(tile) | Role::Row(tile)) => *tile,
            // What a group shares has its axis in name only.
            Some(Role::Group(_)) => 1,
            Some(Role::Scalar) => 1,
            None => self.reduce.get(&axis).copied().unwrap_or(1),
        }
    }
    /// The tile of an axis with every axis that it is cut into at the next power of two.
    fn padded(&self, axis: AxisId) -> i64 {
        let tile = self.tile(axis);
        let units = self.work.chains.get(&axis).into_iter().flatten().copied().filter(|unit| *unit <= tile);
        let mut left = tile;
        let mut product: i64 = 1;
        for unit in units.chain([1]) {
            let count = (left + unit - 1) / unit;
            product =
                product.saturating_mul(count.max(1).unsigned_abs().next_power_of_two().try_into().unwrap_or(i64::MAX));
            left = unit;
        }
        product
    }
    /// A tile of about half the extent, if there is one.
    fn shorter(&self, axis: AxisId) -> Option<i64> {
        let tile = self.tile(axis);
        Some(self.work.tile(axis, tile / 2)).filter(|half| (1..tile).contains(half))
    }
    fn set(&mut self, axis: AxisId, tile: i64) {
        match self.roles.get_mut(&axis) {
            Some(Role::Tile(old) | Role::Walk(old)) => *old = tile,
            Some(role) => *role = Role::Walk(tile),
            None => {
                self.reduce.insert(axis, tile);
            }
        }
    }
}

/// What the terms of a kernel are made of.
#[derive(Default)]
struct Structure {
    sites: Vec<Site>,
    binders: Vec<Binder>,
    visited: BTreeSet<(TermId, bool)>,
}

impl Structure {
    fn visit(&mut self, work: &Work<'_>, id: TermId, nested: bool) {
        if !self.visited.insert((id, nested)) {
            return;
        }
        let term = &work.function.terms[id];
        let (bound, elements): (&[AxisId], &[TermId]) = match &term.op {
            Op::Reduce { op, axes, .. } => {
                let sums = if *op == ReduceOp::Sum { &term.args[..1] } else { &[] };
                (axes, sums)
            }
            Op::Fold { axes, components } => (axes, &term.args[..components.len()]),
            _ => (&[], &[]),
        };
        for element in elements {
            let factors = factors(work.function, *element);
            let format = factors.iter().find_map(|f| stored_format(work.function, &[*f]));
            let terms = factors;
            let factors: Vec<_> = terms.iter().map(|f| work.facts.get(*f).axes.clone()).collect();
            if factors.len() > 1 {
                self.sites.push(Site { terms, element: *element, bound: bound.to_vec(), factors, format });
            }
        }
        if !bound.is_empty() {
            self.binders.push(Binder { term: id, bound: bound.to_vec(), nested });
        }
        for arg in &term.args {
            self.visit(work, *arg, nested || !bound.is_empty());
        }
    }

    /// Free axes that a factor of some sum lacks, those that occur together as one side.
    fn sides(&self, axes: &[AxisId], small: Option<AxisId>) -> Vec<Vec<AxisId>> {
        let mut sides: Vec<BTreeSet<AxisId>> = Vec::new();
        for site in &self.sites {
            let summed = |f: &BTreeSet<AxisId>| site.bound.iter().any(|b| f.contains(b));
            let lacks = |a: &AxisId| site.factors.iter().any(|f| summed(f) && !f.contains(a));
            for factor in site.factors.iter().filter(|f| summed(f)) {
                let own = axes.iter().filter(|a| Some(**a) != small && factor.contains(a) && lacks(a));
                let mut side: BTreeSet<AxisId> = own.copied().collect();
                if side.is_empty() {
                    continue;
                }
                let (joined, apart): (Vec<_>, Vec<_>) = sides.into_iter().partition(|s| !s.is_disjoint(&side));
                side.extend(joined.into_iter().flatten());
                sides = apart;
                sides.push(side);
            }
        }
        let position = |a: &AxisId| axes.iter().position(|b| a == b);
        let mut sides: Vec<Vec<AxisId>> = sides.into_iter().map(|s| s.into_iter().collect()).collect();
        for side in &mut sides {
            side.sort_by_key(position);
        }
        sides.sort_by_key(|s| s.first().and_then(position));
        sides
    }

    /// The axes of what is computed as tiles, each set once. A sum of products whose factors differ never has its products.
    fn computed(&self, work: &Work<'_>) -> BTreeSet<BTreeSet<AxisId>> {
        let apart = |site: &&Site| site.factors.windows(2).any(|pair| pair[0] != pair[1]);
        let products: BTreeSet<TermId> =
            self.sites.iter().filter(apart).flat_map(|site| product_terms(work.function, site.element)).collect();
        let terms = self.visited.iter().map(|(term, _)| *term).filter(|term| !products.contains(term));
        terms.map(|term| work.facts.get(term).axes.clone()).collect()
    }

    /// Reductions that go along a row: their axis is as long, and they do not depend on the row's.
    fn along_rows(&self, work: &Work<'_>, rows: &BTreeMap<AxisId, i64>) -> BTreeMap<AxisId, i64> {
        let mut along = BTreeMap::new();
        for binder in &self.binders {
            let [axis] = binder.bound.as_slice() else { continue };
            let free = &work.facts.get(binder.term).axes;
            let row = rows.iter().find(|(row, extent)| !free.contains(row) && work.known(*axis) == Some(**extent));
            along.extend(row.map(|(_, extent)| (*axis, *extent)));
        }
        along
    }

    /// Whether no reduction inside of another one depends on what that one binds.
    fn is_flat(&self, work: &Work<'_>) -> bool {
        let bound = |axis: &AxisId| self.binders.iter().any(|b| b.bound.contains(axis));
        self.binders.iter().all(|b| !b.nested || !work.facts.get(b.term).axes.iter().any(bound))
    }

    /// Elements that a position of the other axes takes, if that is known: of rows, of what is reduced. `None` where products are
    /// summed, which have tiles of their own.
    fn row(&self, work: &Work<'_>, rows: &BTreeMap<AxisId, i64>) -> Option<i64> {
        let known = |axes: &Vec<AxisId>| axes.iter().map(|a| work.known(*a)).product::<Option<i64>>();
        let reduced: Option<Vec<i64>> = self.binders.iter().map(|b| known(&b.bound)).collect();
        let shared = self.sites.iter().all(|site| site.factors.windows(2).all(|pair| pair[0] == pair[1]));
        let row = reduced?.into_iter().chain([rows.values().product()]).max()?;
        (shared && self.is_flat(work)).then_some(row.max(1))
    }

    /// Whether a reduction that depends on `axis` holds one that does not: splitting the axis would repeat that one as often
    /// as there are tiles. A component of a fold that holds no reduction costs less than the others by a tile's extent.
    fn repeats_inside(&self, work: &Work<'_>, axis: AxisId) -> bool {
        let depends = |t: TermId| work.facts.get(t).axes.contains(&axis);
        let outer = self.binders.iter().filter(|b| depends(b.term));
        outer.into_iter().any(|b| {
            let inner = self.binders.iter().filter(|i| i.nested && !depends(i.term));
            inner.into_iter().any(|i| reaches(work.function, b.term, i.term))
        })
    }

    fn reduce_tiles(&self, work: &Work<'_>, shape: &Shape, stream: i64) -> BTreeMap<AxisId, i64> {
        let mut tiles: BTreeMap<AxisId, i64> = BTreeMap::new();
        for binder in &self.binders {
            let product = self.sites.iter().any(|s| s.bound == binder.bound);
            let whole = binder.bound.iter().all(|a| work.known(*a).is_some_and(|e| e <= WHOLE));
            let budget = match (binder.nested, product) {
                (true, _) if whole && binder.bound.len() == 1 => WHOLE,
                // Positions along several axes take more registers than the elements.
                (false, false) if binder.bound.len() > 1 => stream.min(1024),
                (false, false) => stream,
                _ => shape.reduce,
            };
            for (axis, tile) in work.fill(&binder.bound, budget) {
                let entry = tiles.entry(axis).or_insert(tile);
                *entry = tile.min(*entry);
            }
        }
        tiles
    }
}

/// Whether `inner` is an operand of `outer`, at any depth. Operands have lower ids.
fn reaches(function: &Function, outer: TermId, inner: TermId) -> bool {
    let mut open = function.terms[outer].args.clone();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if id == inner {
            return true;
        }
        if id > inner && seen.insert(id) {
            open.extend(&function.terms[id].args);
        }
    }
    false
}

/// The terms whose values a sum of products skips: its element, without its condition, down to the factors.
fn product_terms(function: &Function, element: TermId) -> Vec<TermId> {
    let term = &function.terms[element];
    let inside = match &term.op {
        Op::Where => &term.args[..1],
        Op::Elem(ElemOp::Mul) => &term.args[..],
        _ => return Vec::new(),
    };
    let below = inside.iter().flat_map(|arg| product_terms(function, *arg));
    std::iter::once(element).chain(below).collect()
}

/// The factors of a summed element, without its condition.
pub(crate) fn factors(function: &Function, element: TermId) -> Vec<TermId> {
    let term = &function.terms[element];
    match &term.op {
        Op::Where => factors(function, term.args[0]),
        Op::Elem(ElemOp::Mul) => term.args.iter().flat_map(|a| factors(function, *a)).collect(),
        _ => vec![element],
    }
}
