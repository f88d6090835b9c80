//! Loops that are one kernel, in the plan.

use super::{Loop, Lowered, Op, Planner, Stmt, Stored, TensorId, TensorKind, TermId, unused};
use crate::lower::recurrence::{Layout, recurrence};
use crate::lower::steps::{Steps, steps};
use sawmill_ir::graph::{Elem, Function};
use sawmill_ir::index::{Atom, AxisId, Index};
use sawmill_ir::target::Target;
use sawmill_ir::tile::{BufferKind, Step};
use std::collections::{BTreeMap, BTreeSet};

/// The loops whose steps one kernel runs, the outermost of those in each other, with their layouts.
pub(super) fn recurrences(function: &Function, target: &Target) -> BTreeMap<AxisId, Layout> {
    let mut found = BTreeMap::new();
    within(function, &function.body, target, &mut found);
    found
}

fn within(function: &Function, body: &[Stmt], target: &Target, found: &mut BTreeMap<AxisId, Layout>) {
    for stmt in body {
        let Stmt::Loop(inner) = stmt else { continue };
        match recurrence(function, inner, target) {
            Some(layout) => {
                found.insert(inner.index, layout);
            }
            None => within(function, &inner.body, target, found),
        }
    }
}

impl Planner<'_> {
    /// The kernel that runs all steps of a loop.
    pub(super) fn recurrence(&mut self, inner: &Loop, layout: &Layout) -> Lowered<Vec<Step>> {
        let function = self.program.function;
        let kept = self.kept(inner);
        for id in &kept {
            let kind = if self.outputs.contains(id) { BufferKind::Output } else { BufferKind::Temp };
            self.own(*id, kind)?;
        }
        let mut before = Vec::new();
        let extent = &function.axes[inner.index].extent;
        let count = self.counted(extent, &mut before)?;
        let names = inner
            .carries
            .iter()
            .map(|c| &function.tensors[c.result].name)
            .chain(kept.iter().map(|id| &function.tensors[*id].name));
        let mut named: Vec<&str> = Vec::new();
        names.for_each(|name| {
            if !named.contains(&name.as_str()) {
                named.push(name)
            }
        });
        let name = format!("{} over {}", named.join("+"), function.axes[inner.index].name);
        let name = unused(&name, |n| self.program.module.kernel_named(n).is_some());
        let how = Steps { layout, kept: &kept, inlined: &self.inlined, count };
        let made = steps(&self.program, &name, inner, &how)?;
        before.push(self.launched(made));
        Ok(before)
    }

    /// What a loop defines that is asked for outside of it: collected tensors and final values.
    fn kept(&self, inner: &Loop) -> BTreeSet<TensorId> {
        let function = self.program.function;
        let mut own = BTreeSet::new();
        definitions(inner, &mut own);
        let mut kept: BTreeSet<TensorId> = function.outputs.iter().copied().collect();
        for (_, tensor) in function.tensors.iter().filter(|(id, _)| !own.contains(id)) {
            if let TensorKind::Def { value, .. } | TensorKind::Append { value, .. } = &tensor.kind {
                reads(function, *value, &mut kept);
            }
            if let TensorKind::Append { base, .. } = &tensor.kind {
                kept.insert(*base);
            }
            tensor.shape.iter().for_each(|size| reads_of(size, &mut kept));
        }
        function.axes.values().for_each(|axis| reads_of(&axis.extent, &mut kept));
        around(&function.body, inner.index, &mut kept);
        own.intersection(&kept).copied().collect()
    }

    /// Lets the kernel of a loop write a final value to the output that is nothing but this value.
    pub(super) fn left_in_place(&mut self, result: TensorId, body: &[Stmt]) -> Lowered<()> {
        let function = self.program.function;
        let copy = body.iter().find_map(|stmt| match stmt {
            Stmt::Define(id) if self.outputs.contains(id) && is_copy(function, *id, result) => Some(*id),
            _ => None,
        });
        if let Some(output) = copy.filter(|_| self.uses(result) == 1) {
            let buffer = self.own(output, BufferKind::Output)?;
            self.program.stored.insert(result, Stored { buffer, lists: 0, at: None });
            self.inlined.insert(output);
        }
        Ok(())
    }

    /// Whether a definition is computed where it is read for less than it costs to store it.
    pub(super) fn is_cheap(&self, id: TensorId) -> bool {
        let function = self.program.function;
        let TensorKind::Def { value, .. } = &function.tensors[id].kind else { return false };
        let (mut open, mut seen) = (vec![*value], BTreeSet::new());
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let term = &function.terms[id];
            if matches!(term.op, Op::Reduce { .. } | Op::Fold { .. } | Op::Proj(_)) {
                return false;
            }
            open.extend(&term.args);
        }
        true
    }
}

/// Whether a definition is `of`, element by element, at most rounded as it is stored.
fn is_copy(function: &Function, id: TensorId, of: TensorId) -> bool {
    let tensor = &function.tensors[id];
    let TensorKind::Def { axes, value, .. } = &tensor.kind else { return false };
    let term = &function.terms[*value];
    let Op::Read { tensor: read, subs, guarded: false } = &term.op else { return false };
    // What shares bytes is rounded before it is packed.
    let alone = matches!(&tensor.elem, Elem::Type(dtype) if dtype.in_bytes() == *dtype && dtype.is_float());
    let same = tensor.elem == function.tensors[of].elem || alone;
    *read == of && same && axes.iter().map(|axis| Index::axis(*axis)).eq(subs.iter().cloned())
}

/// What the steps of a loop define, and what it leaves.
fn definitions(inner: &Loop, own: &mut BTreeSet<TensorId>) {
    own.extend(inner.carries.iter().map(|carry| carry.result));
    for stmt in &inner.body {
        match stmt {
            Stmt::Define(id) => {
                own.insert(*id);
            }
            Stmt::Loop(deeper) => definitions(deeper, own),
        }
    }
}

/// What loops other than the one over `index`, and those in it, carry.
fn around(body: &[Stmt], index: AxisId, kept: &mut BTreeSet<TensorId>) {
    for stmt in body {
        if let Stmt::Loop(inner) = stmt
            && inner.index != index
        {
            kept.extend(inner.carries.iter().flat_map(|carry| [carry.init, carry.next]));
            around(&inner.body, index, kept);
        }
    }
}

fn reads(function: &Function, value: TermId, found: &mut BTreeSet<TensorId>) {
    let (mut open, mut seen) = (vec![value], BTreeSet::new());
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let term = &function.terms[id];
        match &term.op {
            Op::Index(index) => reads_of(index, found),
            Op::Read { tensor, subs, .. } => {
                found.insert(*tensor);
                subs.iter().for_each(|sub| reads_of(sub, found));
            }
            _ => {}
        }
        open.extend(&term.args);
    }
}

fn reads_of(index: &Index, found: &mut BTreeSet<TensorId>) {
    index.for_each_atom(&mut |atom| {
        if let Atom::Read(tensor, _) = atom {
            found.insert(*tensor);
        }
    });
}
