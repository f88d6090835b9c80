//! Tensors that the steps of a loop write part by part: a loop's index among the indices on the left.
//!
//! After the loop they are ordinary tensors. Inside of it a step reads what it wrote itself; what earlier steps wrote is not
//! read yet.

use super::elab::Elab;
use super::reduce::Bound;
use super::scope::{Binding, Entry, Role};
use crate::ast::{Index as BoundIndex, Name};
use crate::errors::{Loc, Problem};
use sawmill_ir::graph::TensorKind;
use sawmill_ir::index::{AxisId, Index, TensorId};

impl Elab<'_> {
    /// Whether an equation in loops may have these indices on its left: an output has the index of every loop around, a `let` those of
    /// the innermost ones or none, a carry none.
    pub(crate) fn collects(&mut self, name: &Name, indices: &[BoundIndex], assign: bool) -> Option<()> {
        let loops = self.loops.clone();
        let used: Vec<AxisId> = indices.iter().filter_map(|index| self.loop_axis(index)).collect();
        let role = self.scope.get(&name.text).map(|entry| entry.role);
        if assign && role == Some(Role::Carry) {
            let at = indices.iter().find(|index| self.loop_axis(index).is_some());
            let Some(at) = at else { return Some(()) };
            let (what, found) = ("an index of the carry's own".to_string(), "the loop's index".to_string());
            let help = "a carry is assigned as a whole: `if i == l { .. } else { .. }`".to_string();
            self.errors.report(at.name.loc(), Problem::Expected { what, found, help });
            return None;
        }
        let first = match (assign, used.is_empty()) {
            (false, true) => return Some(()),
            (false, false) => loops.iter().position(|axis| used.contains(axis)).unwrap_or_default(),
            (true, _) => 0,
        };
        if let Some(missing) = loops[first..].iter().find(|axis| !used.contains(axis)) {
            let index = self.function.axes[*missing].name.clone();
            self.errors.report(name.loc(), Problem::OncePerStep { name: name.text.clone(), index });
            return None;
        }
        for index in indices.iter().filter(|index| self.loop_axis(index).is_some()) {
            if let Some(Binding::Exact(at)) = self.scope.get(&index.name.text).map(|entry| entry.binding.clone())
                && at.as_axis().is_none()
            {
                let first = self.loop_axis(index).map_or(at.clone(), |axis| at.sub(&Index::axis(axis)));
                let (what, found) = ("the whole axis".to_string(), format!("{}..", self.show(&first)));
                let help =
                    "what a loop collects has an element for each step, from 0: count from 0 and add on the right"
                        .to_string();
                self.errors.report(index.name.loc(), Problem::Expected { what, found, help });
                return None;
            }
        }
        Some(())
    }

    /// The loop around that an index on the left belongs to.
    fn loop_axis(&self, index: &BoundIndex) -> Option<AxisId> {
        let entry = self.scope.get(&index.name.text).filter(|entry| entry.role == Role::Index)?;
        let Binding::Exact(at) = &entry.binding else { return None };
        at.axes().into_iter().find(|axis| self.loops.contains(axis))
    }

    /// An index on the left that is a loop's: bound already.
    pub(crate) fn bound_by_loop(&self, index: &BoundIndex) -> Option<Bound> {
        let axis = self.loop_axis(index).filter(|_| index.range.is_none())?;
        Some(Bound { axis, lo: Index::int(0), extent: self.function.axes[axis].extent.clone() })
    }

    /// Whether the steps of a loop around write a tensor part by part.
    pub(crate) fn is_collected(&self, axes: &[AxisId]) -> bool {
        axes.iter().any(|axis| self.loops.contains(axis))
    }

    /// Reports a use, inside of the loop, of what other steps collect. An open position is a whole axis.
    pub(crate) fn own_step(&mut self, id: TensorId, at: &[Option<Index>], loc: Loc) -> bool {
        let TensorKind::Def { axes, .. } = &self.function.tensors[id].kind else { return true };
        let other = |(axis, at): (&AxisId, &Option<Index>)| {
            self.loops.contains(axis) && at.as_ref().and_then(Index::as_axis) != Some(*axis)
        };
        let elsewhere = axes.iter().zip(at).any(other);
        if elsewhere {
            let name = &self.function.tensors[id].name;
            let what = format!("reading `{name}` at another step of the loop that collects it");
            self.errors.report(loc, Problem::NotBuilt { what });
        }
        !elsewhere
    }

    /// The names that outlive a loop: what was collected over its axis.
    pub(crate) fn collected_since(&self, mark: usize, axis: AxisId) -> Vec<Entry> {
        let outlives = |entry: &&Entry| match (entry.role, &entry.binding) {
            (Role::Let, Binding::Tensor(id)) => match &self.function.tensors[*id].kind {
                TensorKind::Def { axes, .. } => axes.contains(&axis),
                _ => false,
            },
            // Left of an error that was reported.
            (Role::Let, Binding::Poison) => true,
            _ => false,
        };
        self.scope.since(mark).filter(outlives).cloned().collect()
    }
}
