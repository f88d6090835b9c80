//! Canonical axes: one name per domain, and sets of them.
//!
//! In: extents. Out: axes, numbered by (extent, how many axes of that extent are in use around it). At most 128 in a block.

use sawmill_ir::entity::{Arena, Entity};
use sawmill_ir::graph::Axis;
use sawmill_ir::index::{Atom, AxisId, Index};
use std::collections::BTreeMap;

/// A set of canonical axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AxisSet(u128);

impl AxisSet {
    /// No axis.
    pub(crate) const EMPTY: Self = Self(0);
    /// How many axes a set can tell apart.
    pub(crate) const CAPACITY: usize = 128;

    /// Exactly `axes`.
    pub(crate) fn of(axes: &[AxisId]) -> Self {
        axes.iter().fold(Self::EMPTY, |set, a| set.with(*a))
    }
    /// The axes of an index expression.
    pub(crate) fn of_index(index: &Index) -> Self {
        let mut set = Self::EMPTY;
        index.for_each_atom(&mut |atom| {
            if let Atom::Axis(axis) = atom {
                set = set.with(*axis);
            }
        });
        set
    }
    /// One more.
    pub(crate) fn with(self, axis: AxisId) -> Self {
        Self(self.0 | 1 << (axis.index() % Self::CAPACITY))
    }
    /// Whether `axis` is in it.
    pub(crate) fn has(self, axis: AxisId) -> bool {
        self.0 >> (axis.index() % Self::CAPACITY) & 1 == 1
    }
    /// All of both.
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// What is in both.
    pub(crate) fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    /// What is not in `other`.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Whether both share no axis.
    pub(crate) fn is_disjoint(self, other: Self) -> bool {
        self.intersect(other).is_empty()
    }
    /// Whether all is in `other`.
    pub(crate) fn is_subset(self, other: Self) -> bool {
        self.minus(other).is_empty()
    }
    /// The axes, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = AxisId> {
        (0..Self::CAPACITY).filter(move |i| self.0 >> i & 1 == 1).map(AxisId::new)
    }
}

/// The canonical axes of a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Axes {
    all: Arena<AxisId, Axis>,
    pools: BTreeMap<Index, Vec<AxisId>>,
}

impl Axes {
    /// The axis.
    pub(crate) fn get(&self, axis: AxisId) -> &Axis {
        &self.all[axis]
    }
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
    /// Whether there are more axes than sets can hold.
    pub(crate) fn overflow(&self) -> bool {
        self.all.len() > AxisSet::CAPACITY
    }
    /// An axis of its own, which no other domain shares.
    pub(crate) fn push(&mut self, name: &str, extent: Index) -> AxisId {
        self.all.push(Axis { name: name.to_owned(), extent })
    }
    /// The first axis over `0..extent` that is not `taken`.
    pub(crate) fn pick(&mut self, name: &str, extent: &Index, taken: AxisSet) -> AxisId {
        let pool = self.pools.entry(extent.clone()).or_default();
        if let Some(axis) = pool.iter().find(|a| !taken.has(**a)) {
            return *axis;
        }
        let axis = self.all.push(Axis { name: name.to_owned(), extent: extent.clone() });
        pool.push(axis);
        axis
    }
    /// How many axes over the same domain come before `axis`.
    pub(crate) fn rank(&self, axis: AxisId) -> usize {
        let pool = self.pools.get(&self.all[axis].extent);
        pool.and_then(|p| p.iter().position(|a| *a == axis)).unwrap_or(usize::MAX)
    }
}
