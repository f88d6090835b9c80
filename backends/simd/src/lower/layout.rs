//! Where values live while a block runs, and at which elements they are read.
//!
//! A [`Point`] says for every axis that is bound where it stands: at one position, or along several consecutive ones in the
//! lanes of a vector. A [`Place`] says how the value of a tile is obtained at a point. Invariants: at most one axis of a
//! point is in lanes; positions are below the axis' extent but for the lanes beyond `count`, which hold anything.

use crate::vir::{Elem, Val};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{AxisId, Value};

/// A position along an axis: `base + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pos {
    /// The run-time part, an i64 scalar.
    pub(super) base: Option<Val>,
    /// The constant part.
    pub(super) offset: i64,
    /// Number of lanes, 1 for a single position.
    pub(super) lanes: u8,
    /// How many lanes are inside the axis' extent.
    pub(super) count: u8,
}

impl Pos {
    /// A constant position.
    pub(super) fn fixed(offset: i64) -> Self {
        Self { base: None, offset, lanes: 1, count: 1 }
    }
    /// A run-time position.
    pub(super) fn at(base: Val) -> Self {
        Self { base: Some(base), offset: 0, lanes: 1, count: 1 }
    }
    /// The position further by a constant.
    pub(super) fn plus(self, offset: i64) -> Self {
        Self { offset: self.offset + offset, ..self }
    }
    /// Consecutive positions from here on.
    pub(super) fn in_lanes(self, lanes: u8, count: u8) -> Self {
        Self { lanes, count, ..self }
    }
}

/// Positions of the bound axes, in the order of binding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Point {
    positions: Vec<(AxisId, Pos)>,
}

impl Point {
    /// The position along `axis`, if it is bound.
    pub(super) fn get(&self, axis: AxisId) -> Option<Pos> {
        self.positions.iter().find(|(a, _)| *a == axis).map(|(_, pos)| *pos)
    }
    /// This point with `axis` bound (again) at `pos`.
    pub(super) fn with(&self, axis: AxisId, pos: Pos) -> Self {
        let mut positions = self.positions.clone();
        match positions.iter_mut().find(|(a, _)| *a == axis) {
            Some(entry) => entry.1 = pos,
            None => positions.push((axis, pos)),
        }
        Self { positions }
    }
    /// The positions of `axes` alone.
    pub(super) fn restrict(&self, axes: &[AxisId]) -> Self {
        Self { positions: self.positions.iter().filter(|(a, _)| axes.contains(a)).copied().collect() }
    }
    /// Axes under other names: an axis `to` of the pairs is looked up as `from`.
    pub(super) fn renamed(&self, pairs: &[(AxisId, AxisId)]) -> Self {
        let back = |axis: AxisId| pairs.iter().find(|(_, to)| *to == axis).map_or(axis, |(from, _)| *from);
        let hidden = |axis: AxisId| pairs.iter().any(|(from, _)| *from == axis) && back(axis) == axis;
        let kept = self.positions.iter().filter(|(a, _)| !hidden(*a));
        Self { positions: kept.map(|(a, pos)| (back(*a), *pos)).collect() }
    }
    /// Positions in the order of binding.
    pub(super) fn iter(&self) -> impl Iterator<Item = (AxisId, Pos)> {
        self.positions.iter().copied()
    }
    /// Whether all of `axes` are bound.
    pub(super) fn binds(&self, axes: &[AxisId]) -> bool {
        axes.iter().all(|a| self.get(*a).is_some())
    }
    /// The axis in lanes among `axes`, with its position.
    pub(super) fn lanes_of(&self, axes: &[AxisId]) -> Option<(AxisId, Pos)> {
        self.positions.iter().find(|(a, pos)| pos.lanes > 1 && axes.contains(a)).copied()
    }
}

/// A distance in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stride {
    /// Known while compiling.
    Const(i64),
    /// An i64 scalar.
    Dynamic(Val),
}

/// A tile in the scratch arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Buffer {
    /// Bytes from the start of the arena.
    pub(super) offset: u64,
    /// Element in memory.
    pub(super) elem: Elem,
    /// Axes and their strides in bytes, outermost first. The last is the lane axis, padded to whole vectors.
    pub(super) strides: Vec<(AxisId, i64)>,
}

/// A tile in memory, or staged in the arena, read in place.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The address of the element at position 0 of every axis.
    pub(super) pointer: Val,
    /// Stride of each axis.
    pub(super) strides: Vec<(AxisId, Stride)>,
    /// Element type in memory.
    pub(super) dtype: DType,
}

/// How the value of a tile is obtained.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// It is a scalar.
    Scalar(Val),
    /// Read from the arena.
    Buffer(Buffer),
    /// Read from memory.
    View(View),
    /// Computed from its operands wherever it is read.
    Fused,
    /// A load that the contraction which reads it will keep, a row at a time if it can.
    Pending,
    /// The same as another value.
    Alias(Value),
}
