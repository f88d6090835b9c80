//! Nests of loops over constant extents.
//!
//! In: axes, outermost first, and a body. Out: VIR loops around the body. The last axis may run in lanes: whole vectors
//! first, then a shorter one, with fewer valid lanes. Before a loop opens, what the body needs and does not depend on it is computed.

use super::Lower;
use super::layout::{Point, Pos};
use crate::vir::Val;
use sawmill_ir::tile::{AxisId, Value};

/// Loops of at most this many turns are written out.
pub(super) const UNROLLED: i64 = 2;

/// Lanes of the vectors along an axis of `extent`, at most `wanted`.
pub(super) fn lanes_within(extent: i64, wanted: u8) -> u8 {
    let most = u64::try_from(extent).unwrap_or(1).next_power_of_two().min(64);
    wanted.min(u8::try_from(most).unwrap_or(64))
}

/// Lanes of the vector that the last `tail` positions of an axis are in, where others have `full`.
fn lanes_of_tail(tail: i64, full: u8) -> u8 {
    lanes_within(tail.max(4), full)
}

/// A run of positions that a nest visits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) axis: AxisId,
    /// Lanes of a vector, 1 for single positions.
    pub(super) lanes: u8,
}

impl Lower<'_> {
    /// Lanes of the longest vectors: of bytes that fill a register, or of floats that fill four.
    pub(super) fn most_lanes(&self) -> u8 {
        4 * self.lanes
    }

    /// What the innermost extent of a buffer is a multiple of, so that whole vectors of any length stay inside.
    pub(super) fn padding(&self, extent: i64) -> i64 {
        i64::from(lanes_within(extent, self.most_lanes()))
    }

    /// Emits loops over `axes` around `body`; `roots` are evaluated in the body.
    pub(super) fn nest(
        &mut self,
        axes: &[Axis],
        point: &Point,
        roots: &[Value],
        body: &mut dyn FnMut(&mut Self, &Point),
    ) {
        let Some((first, rest)) = axes.split_first() else { return body(self, point) };
        let extent = self.extent(first.axis);
        let lanes = i64::from(first.lanes);
        let whole = extent / lanes;
        let tail = extent % lanes;
        let full = first.lanes;
        if whole <= UNROLLED {
            for turn in 0..whole {
                let pos = Pos::fixed(turn * lanes).in_lanes(full, full);
                self.nest(rest, &point.with(first.axis, pos), roots, body);
            }
        } else {
            self.turns(whole * lanes, lanes, point, roots, &mut |s, at| {
                let pos = Pos::at(at).in_lanes(full, full);
                s.nest(rest, &point.with(first.axis, pos), roots, body);
            });
        }
        if tail > 0 {
            let count = u8::try_from(tail).expect("invariant: a tail has fewer than 64 lanes");
            let pos = Pos::fixed(whole * lanes).in_lanes(lanes_of_tail(tail, full), count);
            self.nest(rest, &point.with(first.axis, pos), roots, body);
        }
    }

    /// One loop of `end / step` turns.
    pub(super) fn turns(
        &mut self,
        end: i64,
        step: i64,
        point: &Point,
        roots: &[Value],
        body: &mut dyn FnMut(&mut Self, Val),
    ) {
        for root in roots {
            self.hoist(*root, point);
        }
        let (zero, end) = (self.b.i64(0), self.b.i64(end));
        let (at, _) = self.b.begin_for(zero, end, step, &[]);
        self.open_scope();
        body(self, at);
        self.close_scope();
        self.b.end_for(&[]);
    }

    /// The axes of a nest over `axes`: loops in the order of ranks, then the lane axis with up to `wanted` lanes.
    pub(super) fn loops(&self, axes: &[AxisId], wanted: u8) -> Vec<Axis> {
        let lane = self.plan.lane(self.kernel, axes);
        let mut loops: Vec<Axis> = self
            .plan
            .ordered(axes)
            .into_iter()
            .filter(|a| Some(*a) != lane)
            .map(|axis| Axis { axis, lanes: 1 })
            .collect();
        if let Some(axis) = lane {
            loops.push(Axis { axis, lanes: lanes_within(self.extent(axis), wanted) });
        }
        loops
    }
}
