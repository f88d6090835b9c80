//! Plans of definitions whose fold may be computed in chunks.
//!
//! In: a group of definitions. Out: the steps that compute them whole, or a choice by a size of the run between these and the steps
//! that compute the chunks' states and merge them.

use super::{Group, Planner};
use crate::chunks::Chunked;
use crate::lower::Lowered;
use crate::lower::alike::shared;
use sawmill_ir::graph::Stmt;
use sawmill_ir::index::TensorId;
use sawmill_ir::tile::Step;

impl Planner<'_> {
    /// The steps that compute a group: in chunks where sizes say so.
    pub(super) fn compute(&mut self, group: &Group) -> Lowered<Vec<Step>> {
        let whole = self.compute_whole(group)?;
        let chunked: Option<Vec<&Chunked>> = group.tensors.iter().map(|id| self.chunked.get(id)).collect();
        let Some(chunked) = chunked else { return Ok(whole) };
        let [first, ..] = chunked.as_slice() else { return Ok(whole) };
        let function = self.program.function;
        let mut parts: Vec<TensorId> = chunked.iter().flat_map(|c| c.parts.iter().copied()).collect();
        // A fold over more axes may serve one over fewer.
        parts.sort_by_key(|part| (std::cmp::Reverse(function.tensors[*part].shape.len()), *part));
        parts.dedup();
        let merged: Vec<TensorId> = chunked.iter().map(|c| c.merged).collect();
        self.merge_at_once(&merged);
        for (id, chunked) in group.tensors.iter().zip(&chunked) {
            if let Some(stored) = self.program.stored.get(id).cloned() {
                self.program.stored.insert(chunked.merged, stored);
            }
        }
        let mut then = Vec::new();
        for (ids, few) in [(parts, true), (merged, false)] {
            let body: Vec<Stmt> = ids.into_iter().map(Stmt::Define).collect();
            let mut at = 0;
            while let Some(Stmt::Define(id)) = body.get(at) {
                let group = self.group(&body[at..], *id);
                at += group.tensors.len();
                // Chunks are for few rows: one kernel, made for few positions, does.
                let group = match group.schedule.small.filter(|_| few) {
                    Some(axis) => Group { schedule: self.schedule(group.tensors[0], Some(axis)), ..group },
                    None => group,
                };
                then.extend(self.compute_whole(&group)?);
            }
        }
        let nonnegative = chunked.iter().skip(1).fold(first.nonnegative.clone(), |all, c| all.smaller(&c.nonnegative));
        Ok(vec![Step::If { nonnegative, then, otherwise: whole }])
    }

    /// Lets one kernel merge the chunks of several definitions: what only the first one's axes cover is one tile.
    fn merge_at_once(&mut self, merged: &[TensorId]) {
        let function = self.program.function;
        let [first, others @ ..] = merged else { return };
        let Some((axes, value)) = self.value_of(*first) else { return };
        for other in others {
            let Some(shared) = self.value_of(*other).and_then(|(_, term)| shared(function, value, term)) else {
                return;
            };
            let lacks = axes.iter().filter(|axis| !shared.axes.values().any(|of| of == *axis));
            self.whole.extend(lacks.filter(|axis| function.axes[**axis].extent.as_int().is_some()));
        }
    }
}
