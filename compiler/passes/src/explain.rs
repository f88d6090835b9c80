//! Explanations: the rewrites that led from an equation to its plan.
//!
//! In: an e-graph that keeps proofs, the term as written and the term that was chosen. Out: steps, each with its rule and the
//! subterm that it changed, and every whole term on the way, so that a derivation can be replayed and evaluated.

use crate::egraph::{Graph, Node};
use crate::rules::{self, Contract};
use egg::{Explanation, Id, RecExpr, TreeTerm};
use rustc_hash::FxHashSet;
use std::rc::Rc;

/// The steps from one stored definition to its plan, within a stage.
pub struct Derivation {
    /// The definition's name.
    pub tensor: String,
    /// The stage.
    pub stage: &'static str,
    /// The steps, those on a shared subterm once.
    pub steps: Vec<Step>,
    explanation: Explanation<Node>,
}

/// One rewrite.
#[derive(Clone, Debug)]
pub struct Step {
    /// The rule's name.
    pub rule: String,
    /// The rule as an equation.
    pub equation: &'static str,
    /// How far both sides agree.
    pub contract: Contract,
    /// Whether it is bookkeeping (flattening, a view) that a reader may skip.
    pub quiet: bool,
}

impl Derivation {
    /// The derivation of `to` from the term `from`.
    pub(crate) fn new(graph: &mut Graph, tensor: &str, stage: &'static str, from: Id, to: &RecExpr<Node>) -> Self {
        let to = graph.add_expr_uncanonical(to);
        let explanation = graph.explain_id_equivalence(from, to);
        let mut steps = Vec::new();
        collect(&explanation.explanation_trees, &mut FxHashSet::default(), &mut steps);
        Self { tensor: tensor.to_owned(), stage, steps, explanation }
    }
}

/// The steps of a proof; a shared part is visited once.
fn collect(terms: &[Rc<TreeTerm<Node>>], seen: &mut FxHashSet<*const TreeTerm<Node>>, steps: &mut Vec<Step>) {
    for term in terms {
        if !seen.insert(Rc::as_ptr(term)) {
            continue;
        }
        for child in &term.child_proofs {
            collect(child, seen, steps);
        }
        if let Some(name) = term.forward_rule.or(term.backward_rule) {
            let rule = rules::rule(name.as_str());
            steps.push(Step {
                rule: name.to_string(),
                equation: rule.map_or("a stored definition is read, or written out", |r| r.equation),
                contract: rule.map_or(Contract::Exact, |r| r.contract),
                quiet: rule.is_none_or(|r| r.quiet),
            });
        }
    }
}
