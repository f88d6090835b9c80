//! Explanations: the rewrites that led from an equation to its plan.
//!
//! In: an e-graph that keeps proofs, the term as written and the term that was chosen. Out: steps, each with its rule and the
//! subterm that it changed, as functions that print and that the interpreter evaluates: a derivation can be replayed.
//!
//! A proof is a tree with shared parts; every step is reported once, however often the subterm that it changes occurs.

mod proof;
mod side;

use crate::egraph::{Axes, Graph, Node};
use crate::rules::{self, Contract};
use egg::{Id, RecExpr};
use proof::Terms;
use sawmill_ir::backend::CompileError;
use sawmill_ir::graph::Function;
use std::fmt::Write;
use std::sync::Arc;

/// What the terms of a derivation are over.
pub(crate) struct Context {
    /// The normalised function.
    pub(crate) function: Function,
    /// Canonical axes of the block.
    pub(crate) axes: Axes,
}

/// The steps from one stored definition to its plan, within a stage.
pub struct Derivation {
    /// The definition's name.
    pub tensor: String,
    /// The stage.
    pub stage: &'static str,
    /// The steps, in order.
    pub steps: Vec<Step>,
    terms: Terms,
    context: Arc<Context>,
}

/// One rewrite of a subterm.
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
    before: usize,
    after: usize,
}

impl Derivation {
    /// The derivation of `to` from the term `from`.
    pub(crate) fn new(
        graph: &mut Graph,
        context: Arc<Context>,
        (tensor, stage): (&str, &'static str),
        from: Id,
        to: &RecExpr<Node>,
    ) -> Self {
        let to = graph.add_expr_uncanonical(to);
        let explanation = graph.explain_id_equivalence(from, to);
        let mut terms = Terms::default();
        let changes = terms.changes(&explanation.explanation_trees);
        let steps = changes.into_iter().map(|change| {
            let rule = rules::rule(&change.rule);
            Step {
                equation: rule.map_or("a definition is written out = its stored value is read", |r| r.equation),
                contract: rule.map_or(Contract::Exact, |r| r.contract),
                quiet: rule.is_none_or(|r| r.quiet),
                rule: change.rule,
                before: change.before,
                after: change.after,
            }
        });
        Self { tensor: tensor.to_owned(), stage, steps: steps.collect(), terms, context }
    }

    /// Both sides of a step as functions of the same arguments with one output: the subterm, over its free axes. Running
    /// values of a fold around it are arguments.
    ///
    /// # Errors
    /// A broken rule of the compiler.
    pub fn sides(&self, step: &Step) -> Result<[Function; 2], CompileError> {
        side::sides(&self.context, &self.terms, step.before, step.after)
    }

    /// The steps as text; those that are bookkeeping only if `all`.
    ///
    /// # Errors
    /// A broken rule of the compiler.
    pub fn show(&self, all: bool) -> Result<String, CompileError> {
        let mut text = format!("{} ({}):\n", self.tensor, self.stage);
        for step in self.steps.iter().filter(|s| all || !s.quiet) {
            let [before, after] = self.sides(step)?;
            let _ = writeln!(text, "  {} ({:?}): {}", step.rule, step.contract, step.equation);
            for (sign, side) in [(' ', &before), ('=', &after)] {
                for line in body(side) {
                    let _ = writeln!(text, "    {sign} {line}");
                }
            }
        }
        Ok(text)
    }
}

/// Both sides of an application of a rule, as functions of the same arguments.
#[cfg(test)]
pub(crate) fn sides_of(context: &Context, exprs: &[RecExpr<Node>; 2]) -> Result<[Function; 2], CompileError> {
    let mut terms = Terms::default();
    let [before, after] = exprs.each_ref().map(|e| terms.insert(e));
    side::sides(context, &terms, before, after)
}

/// The equations of a function, one a line.
fn body(function: &Function) -> Vec<String> {
    let text = sawmill_ir::graph::text::print_function(function);
    let lines = text.lines().skip_while(|l| *l != "{").skip(1).take_while(|l| *l != "}");
    lines.map(|l| l.trim().trim_start_matches("let ").to_owned()).collect()
}
