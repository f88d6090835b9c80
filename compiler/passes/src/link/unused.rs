//! Drops definitions that no output and no cache needs.
//!
//! In: a linked function. Out: the same without statements whose results are not read. Appends stay: they change the
//! caller's caches. A carry stays if it is read inside or after its loop, and then so do its initial and its next value.

use sawmill_ir::graph::{Function, Loop, Op, Stmt, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use std::collections::BTreeSet;

/// Drops unused statements from the body of `function`.
pub(super) fn drop_unused(function: &mut Function) {
    let mut needed = Needed { function, tensors: BTreeSet::new() };
    for output in &function.outputs {
        needed.tensor(*output);
    }
    needed.effects(&function.body);
    // What a carry's next value reads may need another carry: go round until nothing is new.
    loop {
        let before = needed.tensors.len();
        needed.carries(&function.body);
        if needed.tensors.len() == before {
            break;
        }
    }
    let tensors = needed.tensors;
    function.body = kept(std::mem::take(&mut function.body), &tensors);
}

struct Needed<'f> {
    function: &'f Function,
    tensors: BTreeSet<TensorId>,
}

impl Needed<'_> {
    /// Notes a tensor and what it is computed from.
    fn tensor(&mut self, id: TensorId) {
        let mut work = vec![id];
        while let Some(id) = work.pop() {
            if !self.tensors.insert(id) {
                continue;
            }
            match &self.function.tensors[id].kind {
                TensorKind::Def { axes, value, .. } => self.value(axes, *value, &mut work),
                TensorKind::Append { base, at, axes, value, .. } => {
                    work.push(*base);
                    at.iter().for_each(|index| reads(index, &mut work));
                    self.value(axes, *value, &mut work);
                }
                TensorKind::Input(_) | TensorKind::Carry | TensorKind::Final => {}
            }
        }
    }
    fn value(&self, axes: &[AxisId], value: TermId, work: &mut Vec<TensorId>) {
        let extent = |axis: &AxisId, work: &mut Vec<TensorId>| reads(&self.function.axes[*axis].extent, work);
        axes.iter().for_each(|axis| extent(axis, work));
        let mut terms = vec![value];
        let mut seen = BTreeSet::new();
        while let Some(id) = terms.pop() {
            if !seen.insert(id) {
                continue;
            }
            let term = &self.function.terms[id];
            term.op.binds().iter().for_each(|axis| extent(axis, work));
            match &term.op {
                Op::Index(index) => reads(index, work),
                Op::Read { tensor, subs, .. } => {
                    work.push(*tensor);
                    subs.iter().for_each(|sub| reads(sub, work));
                }
                Op::Reduce { segment: Some((offsets, at)), .. } => {
                    work.push(*offsets);
                    reads(at, work);
                }
                _ => {}
            }
            terms.extend(&term.args);
        }
    }
    /// Appends, and the extents of the loops around them.
    fn effects(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Define(id) if matches!(self.function.tensors[*id].kind, TensorKind::Append { .. }) => {
                    self.tensor(*id);
                }
                Stmt::Define(_) => {}
                Stmt::Loop(steps) => self.effects(&steps.body),
            }
        }
    }
    fn carries(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            let Stmt::Loop(steps) = stmt else { continue };
            for carry in &steps.carries {
                if self.tensors.contains(&carry.inside) || self.tensors.contains(&carry.result) {
                    [carry.init, carry.inside, carry.next, carry.result].into_iter().for_each(|id| self.tensor(id));
                }
            }
            let mut extent = Vec::new();
            reads(&self.function.axes[steps.index].extent, &mut extent);
            extent.into_iter().for_each(|id| self.tensor(id));
            self.carries(&steps.body);
        }
    }
}

/// The tensors that an integer expression reads.
fn reads(index: &Index, into: &mut Vec<TensorId>) {
    index.for_each_atom(&mut |atom| {
        if let Atom::Read(tensor, _) = atom {
            into.push(*tensor);
        }
    });
}

fn kept(stmts: Vec<Stmt>, needed: &BTreeSet<TensorId>) -> Vec<Stmt> {
    let keep = |stmt: Stmt| match stmt {
        Stmt::Define(id) => needed.contains(&id).then_some(Stmt::Define(id)),
        Stmt::Loop(Loop { index, rev, mut carries, body }) => {
            carries.retain(|carry| needed.contains(&carry.inside));
            let body = kept(body, needed);
            let idle = carries.is_empty() && body.is_empty();
            (!idle).then_some(Stmt::Loop(Loop { index, rev, carries, body }))
        }
    };
    stmts.into_iter().filter_map(keep).collect()
}
