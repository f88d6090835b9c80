//! Extraction: which form of each class, and which classes are stored.
//!
//! In: a saturated e-graph and the terms that must be stored. Out: one term per class that is used, and the set of classes that
//! become tensors of their own ([`Dag`]). The cost is that of the whole plan ([`cost`]): passes over memory by (axes, level),
//! operations by unit, launches. The search ([`search`]) starts from a form chosen bottom-up and changes one decision at a
//! time while the plan gets cheaper; it is deterministic.
//!
//! Hard bound: a class that grows faster with the run-time sizes than every argument and output is never stored, so neither
//! is a matrix of scores; and a class without a reduction is never stored, so neither is an unpacked weight.

mod cost;
mod dag;
mod emit;
mod search;
mod sizes;
mod space;

pub(crate) use dag::Dag;
pub(crate) use emit::{BlockPlan, Emitter, PlannedRoot};
pub(crate) use sizes::Sizes;

use crate::egraph::Graph;
use egg::Id;
use space::Space;

/// Chooses a plan for `roots`, and follows `hints` to the terms that were chosen for them, if any.
pub(crate) fn extract(graph: &Graph, roots: &[Id], hints: &[Id], sizes: &Sizes) -> Option<(Dag, Vec<Option<usize>>)> {
    let space = Space::new(graph, roots);
    let hints: Vec<Option<usize>> = hints.iter().map(|h| space.number(graph.find(*h))).collect();
    let lets: Vec<usize> = hints.iter().flatten().copied().collect();
    let choice = search::search(&space, sizes, &lets)?;
    Some(Dag::new(&space, &choice, &hints))
}
