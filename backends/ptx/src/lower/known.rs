//! What is known of a scalar when compiling: whether it can be negative, whether positions from it on stay inside of a memory.
//!
//! In: scalars of a kernel. Out: truth, or "not known" as false. Sizes of the run are not negative; the launch gives memories the
//! extents that the kernel declares.

use super::Lower;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::Const;
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::tile::{self, AxisId, MemId, Value};

impl Lower<'_> {
    /// Whether a scalar is surely not negative.
    pub(super) fn is_natural(&self, value: Value) -> bool {
        let Some(inst) = self.assigned.definition(value) else { return false };
        let all = || inst.args.iter().all(|a| self.is_natural(*a));
        match &inst.op {
            tile::Op::Const(Const::Int(number)) => *number >= 0,
            tile::Op::Size(size) => is_natural_size(size),
            tile::Op::Grid(_) => true,
            tile::Op::Elem(ElemOp::Max) => inst.args.iter().any(|a| self.is_natural(*a)),
            tile::Op::Elem(ElemOp::Add | ElemOp::Mul | ElemOp::Min | ElemOp::Div) => all(),
            _ => false,
        }
    }

    /// Whether all positions along dimension `dim` of a memory, from `base` on and moved along axes by these coefficients, are
    /// surely inside of it.
    pub(super) fn stays_inside(&self, mem: MemId, dim: usize, base: Value, moving: &[(AxisId, i64)]) -> bool {
        let size = &self.kernel.memory[mem].shape[dim];
        if moving.is_empty()
            && let Some(tile::Op::Grid(axis)) = self.assigned.definition(base).map(|inst| &inst.op)
            && self.kernel.grid.get(*axis as usize).is_some_and(|(_, blocks)| blocks == size)
        {
            return true;
        }
        let (Some(size), Some((least, most))) = (size.as_int(), self.assigned.range(base)) else { return false };
        let reach = |sign: i64| {
            let moved =
                moving.iter().map(|(axis, by)| (by * sign).max(0) * i64::from(self.kernel.axes[*axis].extent - 1));
            moved.sum::<i64>()
        };
        least >= reach(-1) && most.checked_add(reach(1)).is_some_and(|last| last < size)
    }
}

/// Whether a size is surely not negative: dims are not.
fn is_natural_size(size: &Index) -> bool {
    let natural = |atom: &Atom| match atom {
        Atom::Dim(_) => true,
        Atom::Div(a, b) => is_natural_size(a) && is_natural_size(b),
        _ => false,
    };
    size.terms().all(|(monomial, coefficient)| coefficient >= 0 && monomial.iter().all(natural))
}
