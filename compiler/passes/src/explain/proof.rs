//! Proof trees as lists of changes.
//!
//! In: egg's explanation. Out: changes in order, each a pair of terms in one arena without duplicates. Sides of a proof are
//! built once per shared part, so sharing does not unfold.

use crate::egraph::Node;
use egg::{Id, TreeTerm};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

type Tree = Rc<TreeTerm<Node>>;

/// Terms without duplicates, operands first.
#[derive(Default)]
pub(super) struct Terms {
    nodes: Vec<Node>,
    numbers: FxHashMap<Node, usize>,
}

/// A step: `before` and `after` are equal by `rule`.
pub(super) struct Change {
    pub(super) rule: String,
    pub(super) before: usize,
    pub(super) after: usize,
}

/// The first and the last term of each part of a proof.
#[derive(Default)]
struct Ends {
    known: FxHashMap<(*const TreeTerm<Node>, bool), usize>,
}

impl Terms {
    /// All nodes; operands are positions.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    fn add(&mut self, node: Node) -> usize {
        if let Some(number) = self.numbers.get(&node) {
            return *number;
        }
        self.nodes.push(node.clone());
        self.numbers.insert(node, self.nodes.len() - 1);
        self.nodes.len() - 1
    }
    /// The last term of an expression.
    #[cfg(test)]
    pub(super) fn insert(&mut self, expr: &egg::RecExpr<Node>) -> usize {
        let mut numbers: Vec<usize> = Vec::new();
        for node in expr {
            let args = node.args.iter().map(|a| Id::from(numbers[usize::from(*a)])).collect();
            numbers.push(self.add(Node::new(node.head.clone(), args)));
        }
        *numbers.last().expect("an expression has a node")
    }
    /// The changes of a proof, in order; those of a shared part once.
    pub(super) fn changes(&mut self, proof: &[Tree]) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut seen = FxHashSet::default();
        self.collect(proof, &mut Ends::default(), &mut seen, &mut changes);
        let mut distinct = FxHashSet::default();
        changes.retain(|c| c.before != c.after && distinct.insert((c.before, c.after)));
        changes
    }
    fn collect(
        &mut self,
        proof: &[Tree],
        ends: &mut Ends,
        seen: &mut FxHashSet<*const TreeTerm<Node>>,
        changes: &mut Vec<Change>,
    ) {
        for (at, term) in proof.iter().enumerate() {
            if let (Some(rule), Some(previous)) =
                (term.forward_rule.or(term.backward_rule), at.checked_sub(1).map(|p| &proof[p]))
            {
                let before = self.end(previous, true, ends);
                let after = self.end(term, false, ends);
                changes.push(Change { rule: rule.to_string(), before, after });
            }
            if seen.insert(Rc::as_ptr(term)) {
                for child in &term.child_proofs {
                    self.collect(child, ends, seen, changes);
                }
            }
        }
    }
    /// The first or, if `last`, the last term of a part.
    fn end(&mut self, term: &Tree, last: bool, ends: &mut Ends) -> usize {
        let key = (Rc::as_ptr(term), last);
        if let Some(known) = ends.known.get(&key) {
            return *known;
        }
        let mut args = Vec::with_capacity(term.child_proofs.len());
        for proof in &term.child_proofs {
            let part = if last { proof.last() } else { proof.first() };
            let part = part.expect("a proof has at least one term");
            args.push(Id::from(self.end(part, last, ends)));
        }
        let number = self.add(Node::new(term.node.head.clone(), args));
        ends.known.insert(key, number);
        number
    }
}
