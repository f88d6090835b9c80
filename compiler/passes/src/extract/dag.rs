//! Chosen terms: one node per value, operands first.
//!
//! In: a choice, or the terms of an explanation. Out: nodes with their free axes, types and structural keys. A key depends on
//! what a term is, not on the order in which terms were made: n-ary operands and components are ordered by it.

use super::space::{Choice, Space};
use crate::egraph::{Axes, AxisSet, Fact, Head, Node, facts_of};
use egg::{Id, RecExpr};
use rustc_hash::{FxHashMap, FxHasher};
use sawmill_ir::elem::ElemOp;
use sawmill_ir::index::{Atom, Index};
use std::hash::{Hash, Hasher};

/// Terms, operands before users; `Id`s are positions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dag {
    nodes: Vec<Node>,
    facts: Vec<Fact>,
    /// Which of them become tensors.
    pub(crate) stored: Vec<bool>,
    /// The terms that were asked for.
    pub(crate) roots: Vec<usize>,
}

impl Dag {
    /// The terms that `choice` gives the roots of `space`, and those of the classes `hints` that are among them.
    pub(super) fn new(space: &Space, choice: &Choice, hints: &[Option<usize>]) -> (Self, Vec<Option<usize>>) {
        let mut dag = Self::default();
        let mut numbers = FxHashMap::default();
        for root in &space.roots {
            let number = dag.insert(space, choice, *root, &mut numbers);
            dag.roots.push(number);
        }
        let found = hints.iter().map(|h| h.and_then(|class| numbers.get(&class).copied())).collect();
        (dag, found)
    }
    fn insert(&mut self, space: &Space, choice: &Choice, class: usize, numbers: &mut FxHashMap<usize, usize>) -> usize {
        if let Some(number) = numbers.get(&class) {
            return *number;
        }
        let form = space.form(choice, class);
        let args: Vec<usize> = form.args.iter().map(|a| self.insert(space, choice, *a, numbers)).collect();
        let viewed = matches!(form.head, Head::View { .. }).then(|| args[0]);
        let number = self.nodes.len();
        self.push(form.head.clone(), &args, space.outer);
        self.stored[number] = choice.stored[class];
        if let Some(viewed) = viewed {
            self.stored[viewed] = true;
        }
        numbers.insert(class, number);
        number
    }
    fn push(&mut self, head: Head, args: &[usize], outer: AxisSet) {
        let node = Node::new(head, args.iter().map(|a| Id::from(*a)).collect());
        let facts: Vec<&Fact> = args.iter().map(|a| &self.facts[*a]).collect();
        let fold = match (&node.head, args.first().map(|fold| &self.nodes[*fold].head)) {
            (Head::Proj, Some(Head::Fold { axes })) => axes.set(),
            _ => AxisSet::EMPTY,
        };
        let fact = facts_of(&node, &facts, fold, outer);
        self.nodes.push(node);
        self.facts.push(fact);
        self.stored.push(false);
    }
    /// One term; what it views is stored.
    pub(crate) fn of_expr(expr: &RecExpr<Node>, outer: AxisSet) -> Self {
        let mut dag = Self::default();
        for node in expr {
            let args: Vec<usize> = node.args.iter().map(|a| usize::from(*a)).collect();
            dag.push(node.head.clone(), &args, outer);
            if let Head::View { .. } = node.head {
                dag.stored[args[0]] = true;
            }
        }
        dag.roots = dag.nodes.len().checked_sub(1).into_iter().collect();
        dag
    }
    /// As an expression of the e-graph whose last node is `root`.
    pub(crate) fn expr(&self, root: usize) -> RecExpr<Node> {
        let mut expr = RecExpr::default();
        let mut numbers: FxHashMap<usize, Id> = FxHashMap::default();
        self.copy(root, &mut expr, &mut numbers);
        expr
    }
    fn copy(&self, at: usize, expr: &mut RecExpr<Node>, numbers: &mut FxHashMap<usize, Id>) -> Id {
        if let Some(id) = numbers.get(&at) {
            return *id;
        }
        let args = self.args(at).map(|a| self.copy(a, expr, numbers)).collect();
        let id = expr.add(Node::new(self.nodes[at].head.clone(), args));
        numbers.insert(at, id);
        id
    }

    /// How many terms.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
    /// What a term is.
    pub(crate) fn head(&self, at: usize) -> &Head {
        &self.nodes[at].head
    }
    /// Its operands.
    pub(crate) fn args(&self, at: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.nodes[at].args.iter().map(|a| usize::from(*a))
    }
    /// Operand number `arg`.
    pub(crate) fn arg(&self, at: usize, arg: usize) -> usize {
        usize::from(self.nodes[at].args[arg])
    }
    /// What is known of it.
    pub(crate) fn fact(&self, at: usize) -> &Fact {
        &self.facts[at]
    }
    /// What is known of all.
    pub(crate) fn facts(self) -> Vec<Fact> {
        self.facts
    }
    /// A key of every term's structure.
    pub(crate) fn keys(&self, axes: &Axes) -> Vec<u64> {
        let mut keys: Vec<u64> = Vec::with_capacity(self.len());
        for at in 0..self.len() {
            let mut operands: Vec<u64> = self.args(at).map(|a| keys[a]).collect();
            let commutes = matches!(
                self.head(at),
                Head::Elem(ElemOp::Add | ElemOp::Mul | ElemOp::And | ElemOp::Or) | Head::Fold { .. }
            );
            if commutes {
                operands.sort_unstable();
            }
            let mut hasher = FxHasher::default();
            head_key(self.head(at), axes).hash(&mut hasher);
            operands.hash(&mut hasher);
            keys.push(hasher.finish());
        }
        keys
    }
}

fn key_of(value: impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

fn head_key(head: &Head, axes: &Axes) -> u64 {
    let set = |set: AxisSet| {
        let mut keys: Vec<u64> = set.iter().map(|a| axis_key(a, axes)).collect();
        keys.sort_unstable();
        keys
    };
    match head {
        Head::Index(index) => key_of((1, index_key(index, axes))),
        Head::Read(read) => {
            let mut subs: Vec<u64> = read.subs.iter().map(|s| index_key(s, axes)).collect();
            subs.sort_unstable();
            key_of((2, read.tensor, subs))
        }
        Head::View { map, .. } => {
            let mut subs: Vec<u64> = map.iter().map(|(_, s)| index_key(s, axes)).collect();
            subs.sort_unstable();
            key_of((3, subs))
        }
        Head::Reduce { op, axes, masked } => key_of((4, op, set(axes.set()), masked)),
        Head::Fold { axes } => key_of((5, set(axes.set()))),
        Head::Running { new, axes } => key_of((6, new, set(axes.set()))),
        Head::Const(..) | Head::Elem(_) | Head::Cast(_) | Head::Round(_) | Head::Component { .. } | Head::Proj => {
            key_of((7, head))
        }
    }
}

fn axis_key(axis: sawmill_ir::index::AxisId, axes: &Axes) -> u64 {
    key_of((index_key(&axes.get(axis).extent, axes), axes.rank(axis)))
}

fn index_key(index: &Index, axes: &Axes) -> u64 {
    index.terms().fold(0, |sum: u64, (monomial, coefficient)| {
        let product = monomial.iter().fold(0, |product: u64, atom| product.wrapping_add(atom_key(atom, axes)));
        sum.wrapping_add(key_of((product, coefficient)))
    })
}

fn atom_key(atom: &Atom, axes: &Axes) -> u64 {
    let pair = |a: &Index, b: &Index| (index_key(a, axes), index_key(b, axes));
    match atom {
        Atom::Dim(dim) => key_of((1, dim)),
        Atom::Axis(axis) => key_of((2, axis_key(*axis, axes))),
        Atom::Param(at) => key_of((3, at)),
        Atom::Div(a, b) => key_of((4, pair(a, b))),
        Atom::Rem(a, b) => key_of((5, pair(a, b))),
        Atom::Min(a, b) => key_of((6, pair(a, b))),
        Atom::Max(a, b) => key_of((7, pair(a, b))),
        Atom::BitLength(a) => key_of((8, index_key(a, axes))),
        Atom::Read(tensor, subs) => {
            let subs: Vec<u64> = subs.iter().map(|s| index_key(s, axes)).collect();
            key_of((9, tensor, subs))
        }
    }
}
