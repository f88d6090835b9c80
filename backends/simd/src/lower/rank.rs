//! Ranks the axes of a kernel for the lanes of vectors.
//!
//! In: a kernel's instructions. Out: a rank per axis; the lowest in a nest runs in its lanes. The estimate counts vector
//! operations: an axis that a contraction sums costs a horizontal reduction per result, one that memory does not run along
//! costs a transposition or a scattered store. In a chain of dependent contractions this selects the axis that none of them
//! sums. The search moves one axis at a time until nothing improves; it is deterministic.

use super::plan::{Placed, TURNS, lane, op_cost, unit_axis, work};
use sawmill_ir::entity::Entity;
use sawmill_ir::tile::{AxisId, Inst, Kernel, Op};

/// Operations to move an element to another lane order when it is loaded.
const PACK: f64 = 1.5;
/// Operations to store a lane by itself.
const SCATTER: f64 = 2.0;
/// Operations to sum the lanes of a vector and store the sum.
const HORIZONTAL: f64 = 4.0;
/// Rounds of the search.
const ROUNDS: usize = 8;

/// The rank of each axis.
pub(super) fn axes(kernel: &Kernel, insts: &[Placed<'_>]) -> Vec<u32> {
    let mut order: Vec<AxisId> = kernel.axes.keys().collect();
    let mut best = cost(kernel, insts, &order);
    for _ in 0..ROUNDS {
        let mut improved = false;
        for from in 0..order.len() {
            for to in 0..order.len() {
                let mut moved = order.clone();
                let axis = moved.remove(from);
                moved.insert(to, axis);
                let estimate = cost(kernel, insts, &moved);
                if estimate < best * (1.0 - 1e-9) {
                    (order, best, improved) = (moved, estimate, true);
                }
            }
        }
        if !improved {
            break;
        }
    }
    ranks(&order)
}

fn ranks(order: &[AxisId]) -> Vec<u32> {
    let mut rank = vec![0; order.len()];
    for (position, axis) in (0_u32..).zip(order) {
        rank[axis.index()] = position;
    }
    rank
}

fn cost(kernel: &Kernel, insts: &[Placed<'_>], order: &[AxisId]) -> f64 {
    let rank = ranks(order);
    insts.iter().map(|p| TURNS.powi(p.depth as i32) * inst_cost(kernel, &rank, p.inst)).sum()
}

fn inst_cost(kernel: &Kernel, rank: &[u32], inst: &Inst) -> f64 {
    let axes = super::plan::inst_axes(kernel, inst);
    let lane = lane(kernel, rank, &axes);
    let vectors = vectors(kernel, lane, &axes);
    let result = |at: usize| inst.results.get(at).map_or(&[][..], |v| &kernel.values[*v].axes);
    match &inst.op {
        Op::Load { .. } if axes.is_empty() => 0.0,
        Op::Load { .. } if lane.is_none() || lane == unit_axis(kernel, inst) => 0.25 * vectors,
        Op::Load { .. } => PACK * work(kernel, &axes),
        Op::Store { .. } if lane.is_none() || lane == unit_axis(kernel, inst) => vectors,
        Op::Store { .. } => SCATTER * work(kernel, &axes),
        Op::Mma { over } | Op::Reduce { over, .. } => {
            let horizontal = lane.is_some_and(|l| over.contains(&l));
            let ends = if horizontal { HORIZONTAL * work(kernel, result(0)) } else { 0.0 };
            vectors + ends
        }
        Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) => op_cost(kernel, inst) * vectors,
        _ => 0.0,
    }
}

/// Vector operations of four lanes to visit every element once.
fn vectors(kernel: &Kernel, lane: Option<AxisId>, axes: &[AxisId]) -> f64 {
    match lane {
        Some(lane) => {
            let extent = kernel.axes[lane].extent;
            work(kernel, axes) / f64::from(extent) * f64::from(extent.div_ceil(4))
        }
        None => work(kernel, axes),
    }
}
