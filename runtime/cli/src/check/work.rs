//! How much the interpreter computes in a call: a bound on the sizes of a check.
//!
//! In: a linked function and its sizes. Out: evaluations of terms, counted as if every reduction were computed anew for each
//! element that needs it.

use std::collections::{BTreeMap, BTreeSet};

use sawmill::ir::{
    graph::{Function, Op, Stmt, TensorKind, TermId},
    index::{AxisId, Index},
};

use super::sizes::evaluate;

/// Evaluations of terms in a call of `linked`, whose dims have these values by name.
pub fn work(linked: &Function, sizes: &BTreeMap<String, i64>) -> f64 {
    let sizes: Vec<i64> = linked.dims.values().map(|dim| sizes.get(&dim.name).copied().unwrap_or(1)).collect();
    let work = Work { linked, largest: sizes.iter().copied().max().unwrap_or(1), sizes };
    linked.body.iter().map(|stmt| work.stmt(stmt)).sum()
}

struct Work<'f> {
    linked: &'f Function,
    sizes: Vec<i64>,
    largest: i64,
}

impl Work<'_> {
    /// A size; one that depends on positions or data is taken for the largest.
    fn size(&self, index: &Index) -> f64 {
        evaluate(index, &self.sizes).unwrap_or(self.largest).max(0) as f64
    }

    fn extent(&self, axes: &[AxisId]) -> f64 {
        axes.iter().map(|axis| self.size(&self.linked.axes[*axis].extent)).product()
    }

    fn stmt(&self, stmt: &Stmt) -> f64 {
        match stmt {
            Stmt::Loop(steps) => {
                let each: f64 = steps.body.iter().map(|stmt| self.stmt(stmt)).sum();
                self.extent(&[steps.index]) * each
            }
            Stmt::Define(id) => match &self.linked.tensors[*id].kind {
                TensorKind::Def { axes, value, .. } | TensorKind::Append { axes, value, .. } => {
                    self.term(*value, self.extent(axes), &mut BTreeSet::default())
                }
                _ => 0.0,
            },
        }
    }

    /// The terms under `id`, each once, `times` over.
    fn term(&self, id: TermId, times: f64, seen: &mut BTreeSet<TermId>) -> f64 {
        if !seen.insert(id) {
            return 0.0;
        }
        let term = &self.linked.terms[id];
        let inside = match &term.op {
            Op::Softmax { .. } => times,
            op => times * self.extent(op.binds()),
        };
        inside + term.args.iter().map(|arg| self.term(*arg, inside, seen)).sum::<f64>()
    }
}
