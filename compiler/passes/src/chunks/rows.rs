//! Rows of a fold: how many blocks compute it where it is whole.
//!
//! In: a definition and its fold. Out: a size. Every axis that all components have is one of rows; what is read through a quotient
//! alone is shared by the positions of a group, which one block computes.

use super::Build;
use sawmill_ir::graph::Op;
use sawmill_ir::index::{Atom, AxisId, Index};
use std::collections::BTreeSet;

impl Build<'_> {
    /// Rows that different blocks compute: positions of the axes that every component has, each group of them that share what is
    /// read through a quotient as one. Of a lone component, known extents are columns.
    pub(super) fn rows(&self) -> Index {
        let components = self.fold.components.len();
        let every = |axis: &&AxisId| (0..components).all(|at| self.depends(at).contains(axis));
        let counts = |axis: &&AxisId| components > 1 || self.out.axes[**axis].extent.as_int().is_none();
        let rows = self.axes.iter().filter(every).filter(counts).map(|axis| {
            let extent = &self.out.axes[*axis].extent;
            match self.shared_by(*axis) {
                Some(by) => extent.add(&by).sub(&Index::int(1)).div(&by),
                None => extent.clone(),
            }
        });
        rows.fold(Index::int(1), |rows, extent| rows.mul(&extent))
    }
    /// The size by which some operand of the fold divides positions of an axis to read.
    fn shared_by(&self, axis: AxisId) -> Option<Index> {
        let (mut open, mut seen) = (self.fold.args.clone(), BTreeSet::new());
        while let Some(id) = open.pop() {
            let term = &self.out.terms[id];
            if let Op::Read { subs, .. } = &term.op {
                let mut by = None;
                let mut look = |atom: &Atom| match atom {
                    Atom::Div(a, b) if a.as_axis() == Some(axis) && b.axes().is_empty() => by = Some((**b).clone()),
                    _ => {}
                };
                subs.iter().for_each(|sub| sub.for_each_atom(&mut look));
                if by.is_some() {
                    return by;
                }
            }
            open.extend(term.args.iter().filter(|arg| seen.insert(**arg)));
        }
        None
    }
}
