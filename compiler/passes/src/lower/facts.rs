//! Facts about the terms of a function: which axes a term's value depends on, and whether it reads the state of a fold
//! around it. In: a linked function in plan form. Out: one fact per term, found in one pass, since operands come first.

use sawmill_ir::entity::Entity as _;
use sawmill_ir::graph::{Function, Op, TermId};
use sawmill_ir::index::AxisId;
use std::collections::BTreeSet;

/// What a term's value depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fact {
    /// Free axes.
    pub(crate) axes: BTreeSet<AxisId>,
    /// Components of the enclosing fold whose running value, before or after the step, is read.
    pub(crate) state: BTreeSet<u32>,
}

/// Facts of every term.
pub(crate) struct Facts {
    facts: Vec<Fact>,
}

impl Facts {
    /// Facts of the terms of `function`.
    pub(crate) fn of(function: &Function) -> Self {
        let mut facts: Vec<Fact> = Vec::with_capacity(function.terms.len());
        for term in function.terms.values() {
            let mut fact = Fact::default();
            for arg in &term.args {
                if let Some(inner) = facts.get(arg.index()) {
                    fact.axes.extend(&inner.axes);
                    fact.state.extend(&inner.state);
                }
            }
            match &term.op {
                Op::Index(index) => fact.axes.extend(index.axes()),
                Op::Read { subs, .. } => fact.axes.extend(subs.iter().flat_map(sawmill_ir::index::Index::axes)),
                Op::Reduce { axes, .. } => fact.axes.retain(|a| !axes.contains(a)),
                Op::Fold { axes, .. } => {
                    fact.axes.retain(|a| !axes.contains(a));
                    fact.state.clear();
                }
                Op::New(component) | Op::Old(component) => {
                    fact.state.insert(*component);
                }
                _ => {}
            }
            facts.push(fact);
        }
        Self { facts }
    }
    /// The fact of a term.
    pub(crate) fn get(&self, term: TermId) -> &Fact {
        &self.facts[term.index()]
    }
}
