//! What is known of a scalar when compiling: whether it can be negative.
//!
//! In: scalars of a kernel. Out: truth, or "not known" as false. Sizes of the run are not negative.

use super::Lower;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::Const;
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::tile::{self, Value};

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
