//! Saturation: applies a stage's rules until nothing is new.
//!
//! Limits are constants on nodes and iterations, never on time, so a result never depends on the machine. Reaching one is
//! a defect of the compiler and is reported, not hidden.

use super::{Graph, Node, nodes_of};
use crate::rules::Rule;
use egg::Id;
use std::time::{Duration, Instant};

/// Nodes a stage may reach.
pub(crate) const NODE_LIMIT: usize = 10_000;
/// Rounds a stage may take.
pub(crate) const ITERATION_LIMIT: usize = 30;

/// Why a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Nothing new follows from the rules.
    Saturated,
    /// The limit on nodes was hit: a defect.
    Nodes,
    /// The limit on rounds was hit: a defect.
    Iterations,
}

/// What a stage did.
#[derive(Clone, Debug)]
pub struct StageReport {
    /// The stage's name.
    pub stage: &'static str,
    /// Why it ended.
    pub stop: StopReason,
    /// Nodes at its end.
    pub nodes: usize,
    /// Classes at its end.
    pub classes: usize,
    /// Rounds.
    pub rounds: usize,
    /// How long it took.
    pub time: Duration,
}

/// Applies `rules` to `graph` until nothing is new.
pub(crate) fn saturate(graph: &mut Graph, stage: &'static str, rules: &[Rule]) -> StageReport {
    let start = Instant::now();
    let mut rounds = 0;
    graph.rebuild();
    let stop = loop {
        if rounds == ITERATION_LIMIT {
            break StopReason::Iterations;
        }
        rounds += 1;
        let changed = round(graph, rules);
        graph.rebuild();
        if graph.total_number_of_nodes() > NODE_LIMIT {
            break StopReason::Nodes;
        }
        if !changed {
            break StopReason::Saturated;
        }
    };
    let (nodes, classes) = (graph.total_number_of_nodes(), graph.number_of_classes());
    StageReport { stage, stop, nodes, classes, rounds, time: start.elapsed() }
}

/// One application of every rule to every node that was there; whether a class changed.
fn round(graph: &mut Graph, rules: &[Rule]) -> bool {
    let mut classes: Vec<Id> = graph.classes().map(|c| c.id).collect();
    classes.sort();
    let mut changed = false;
    for class in classes {
        let nodes: Vec<Node> = nodes_of(graph, graph.find(class));
        for node in &nodes {
            for rule in rules {
                changed |= apply(graph, rule, class, node);
            }
        }
    }
    changed
}

fn apply(graph: &mut Graph, rule: &Rule, class: Id, node: &Node) -> bool {
    if graph.total_number_of_nodes() > NODE_LIMIT {
        return false;
    }
    let mut changed = false;
    for (matched, result) in (rule.apply)(graph, class, node) {
        changed |= graph.union_trusted(matched, result, rule.name);
    }
    changed
}
