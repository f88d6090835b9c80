//! One order of a kernel's axes, outermost first: what layouts agree on.
//!
//! In: a kernel. Out: a rank for every axis. Axes that are summed or reduced anywhere come last, so that what is left of a tile
//! keeps its place; among the others the order of dimensions in memory decides, those of stores before those of loads.

use super::access_axes;
use sawmill_ir::entity::Entity as _;
use sawmill_ir::tile::{AxisId, Inst, Kernel, Op, Region, Subscript};

/// The rank of each axis.
#[derive(Debug)]
pub(crate) struct Order {
    ranks: Vec<usize>,
    vanishing: Vec<bool>,
}

impl Order {
    pub(crate) fn of(kernel: &Kernel) -> Self {
        let mut insts = Vec::new();
        collect(&kernel.body, &mut insts);
        let mut vanishing = vec![false; kernel.axes.len()];
        for inst in &insts {
            if let Op::Mma { over } | Op::Reduce { over, .. } = &inst.op {
                over.iter().for_each(|a| vanishing[a.index()] = true);
            }
        }
        let mut places = vec![usize::MAX; kernel.axes.len()];
        let mut next = 0;
        let stores = insts.iter().filter(|i| matches!(i.op, Op::Store { .. }));
        let loads = insts.iter().filter(|i| matches!(i.op, Op::Load { .. }));
        for inst in stores.chain(loads) {
            for axis in memory_order(kernel, inst) {
                let place = &mut places[axis.index()];
                if *place == usize::MAX {
                    *place = next;
                    next += 1;
                }
            }
        }
        let mut axes: Vec<AxisId> = kernel.axes.keys().collect();
        axes.sort_by_key(|a| (vanishing[a.index()], places[a.index()], *a));
        let mut ranks = vec![0; axes.len()];
        for (rank, axis) in axes.iter().enumerate() {
            ranks[axis.index()] = rank;
        }
        Self { ranks, vanishing }
    }
    /// Whether an axis is summed or reduced anywhere.
    pub(crate) fn vanishes(&self, axis: AxisId) -> bool {
        self.vanishing[axis.index()]
    }
    /// `axes`, outermost first.
    pub(crate) fn sorted(&self, axes: &[AxisId]) -> Vec<AxisId> {
        let mut axes = axes.to_vec();
        axes.sort_by_key(|a| self.ranks[a.index()]);
        axes
    }
}

/// All instructions, those of regions after what holds them.
pub(super) fn collect<'k>(region: &'k Region, insts: &mut Vec<&'k Inst>) {
    for inst in &region.insts {
        insts.push(inst);
        match &inst.op {
            Op::For { body, .. } => collect(body, insts),
            Op::If { then, otherwise } => {
                collect(then, insts);
                collect(otherwise, insts);
            }
            _ => {}
        }
    }
}

/// The axes of an access in the order of the memory's dimensions, each where it moves least: the last one is the one whose
/// neighbours are nearest. Axes of gathers are far apart and come first.
pub(crate) fn memory_order(kernel: &Kernel, inst: &Inst) -> Vec<AxisId> {
    let (subs, skip) = match &inst.op {
        Op::Load { subs, .. } => (subs, 0),
        Op::Store { subs, .. } => (subs, 1),
        _ => return Vec::new(),
    };
    let mut affine: Vec<AxisId> = Vec::new();
    let mut far: Vec<AxisId> = Vec::new();
    for (sub, arg) in subs.iter().zip(&inst.args[skip..]) {
        match sub {
            Subscript::Affine(terms) => {
                let mut terms = terms.clone();
                terms.sort_by_key(|(_, coefficient)| std::cmp::Reverse(coefficient.unsigned_abs()));
                for (axis, _) in terms {
                    affine.retain(|a| *a != axis);
                    affine.push(axis);
                }
            }
            Subscript::Gather => far.extend(&kernel.values[*arg].axes),
        }
    }
    far.extend(access_axes(kernel, inst));
    let mut seen = Vec::new();
    far.retain(|a| {
        !affine.contains(a) && !seen.contains(a) && {
            seen.push(*a);
            true
        }
    });
    far.extend(affine);
    far
}
