//! Every match of every rule, on programs and random terms: both sides are evaluated on random arguments.

use super::evaluate::{Dims, dims};
use super::generate;
use super::programs::PROGRAMS;
use super::replay::differ;
use super::semantics::linked;
use crate::egraph::{self, Node, nodes_of};
use crate::explain::{Context, sides_of};
use crate::normalise;
use crate::rules::{self, Rule};
use egg::Id;
use std::collections::{BTreeMap, BTreeSet};

/// Matches of one rule that are evaluated for one program.
const MATCH_LIMIT: usize = 12;
/// Nodes up to which a random program is saturated.
const SIZE_LIMIT: usize = 600;

/// Applies every rule and evaluates its matches; how many there were.
fn check(text: &str, sizes: &Dims, counts: &mut BTreeMap<&'static str, usize>) {
    let normal = normalise(&linked(text)).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let stored: BTreeSet<_> = normal.outputs.iter().copied().collect();
    let mut block = egraph::build(&normal, &normal.body, &[], &stored).unwrap_or_else(|e| panic!("{e}"));
    let context = Context { function: normal, axes: block.axes.clone() };
    let mut own: BTreeMap<&'static str, usize> = BTreeMap::new();
    for _ in 0..3 {
        let classes: Vec<Id> = block.graph.classes().map(|c| c.id).collect();
        for class in classes {
            for node in nodes_of(&block.graph, block.graph.find(class)) {
                for rule in rules::ALL {
                    apply(&mut block.graph, rule, class, &node, &context, sizes, &mut own);
                }
            }
        }
        block.graph.rebuild();
        assert_eq!(block.graph.analysis.disagreements, 0, "free axes disagree\n{text}");
        if block.graph.total_number_of_nodes() > SIZE_LIMIT {
            break;
        }
    }
    for (rule, count) in own {
        *counts.entry(rule).or_default() += count;
    }
}

fn apply(
    graph: &mut egraph::Graph,
    rule: &Rule,
    class: Id,
    node: &Node,
    context: &Context,
    sizes: &Dims,
    counts: &mut BTreeMap<&'static str, usize>,
) {
    for (matched, result) in (rule.apply)(graph, class, node) {
        let count = counts.entry(rule.name).or_default();
        if *count < MATCH_LIMIT {
            *count += 1;
            let exprs = [graph.id_to_expr(matched), graph.id_to_expr(result)];
            let sides = sides_of(context, &exprs)
                .unwrap_or_else(|e| panic!("`{}`: {e}\n{}\n{}", rule.name, exprs[0], exprs[1]));
            if let Some(wrong) = differ(&sides, sizes, 3) {
                panic!("`{}`: {wrong}\n{}\n{}", rule.name, sides[0], sides[1]);
            }
        }
        graph.union_trusted(matched, result, rule.name);
    }
}

#[test]
fn both_sides_of_every_rule_agree() {
    let mut counts = BTreeMap::new();
    for program in PROGRAMS.iter().filter(|p| p.name != "layers with a cache" && p.name != "nothing to reduce") {
        check(program.text, &dims(program.dims), &mut counts);
    }
    for seed in 0..60 {
        check(&generate::program(seed), &dims(&[("N", 3), ("M", 4)]), &mut counts);
    }
    for rule in rules::ALL {
        let count = counts.get(rule.name).copied().unwrap_or(0);
        assert!(count >= 5, "`{}` matched {count} times", rule.name);
    }
}
