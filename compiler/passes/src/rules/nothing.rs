//! Values where a masked reduction has no element.
//!
//! In: a term, the axes and the condition of a reduction. Out: the term's value at positions where the condition admits
//! nothing, if that follows from the term alone: constants, reductions under the same condition, arithmetic on these. Thus the
//! factor 1 / l of a softmax, made 0 where l is 0, is known to be 0 for a row in which nothing takes part. Complete for
//! nothing, wrong never.

use super::algebra::as_reduction;
use crate::egraph::{AxisSet, Graph, Head, Node, float_of, nodes_of};
use egg::Id;
use rustc_hash::{FxHashMap, FxHashSet};
use sawmill_ir::elem::{ElemOp, ReduceOp};

/// What a reduction of no floats gives.
pub(super) fn of_nothing(op: ReduceOp) -> f64 {
    match op {
        ReduceOp::Max => f64::NEG_INFINITY,
        ReduceOp::Min => f64::INFINITY,
        ReduceOp::Prod => 1.0,
        _ => 0.0,
    }
}

/// Evaluates terms where `condition` admits no element along `axes`.
pub(super) struct Nothing<'g> {
    graph: &'g Graph,
    axes: AxisSet,
    condition: Id,
    memo: FxHashMap<Id, Option<f64>>,
}

impl<'g> Nothing<'g> {
    pub(super) fn new(graph: &'g Graph, axes: AxisSet, condition: Id) -> Self {
        Self { graph, axes, condition: graph.find(condition), memo: FxHashMap::default() }
    }

    /// Whether a factor or summand may leave the reduction: it has a value there, and none that would turn what the reduction
    /// of nothing gives into NaN. What is stored counts as finite; a quotient, logarithm or the like does only if it follows,
    /// or if it is made from the reductions under this very condition, so that the program has chosen what it is there.
    pub(super) fn is_harmless(&mut self, class: Id) -> bool {
        if !self.graph[class].data.defined.everywhere() {
            return false;
        }
        match self.value(class) {
            Some(value) => value.is_finite(),
            None => !self.some_under(class, Self::has_pole) || self.some_under(class, Self::is_own),
        }
    }
    /// Whether a node under a class is of some kind.
    fn some_under(&self, class: Id, kind: fn(&Self, &Node) -> bool) -> bool {
        let (mut open, mut seen) = (vec![self.graph.find(class)], FxHashSet::default());
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            for node in &self.graph[id].nodes {
                if kind(self, node) {
                    return true;
                }
                open.extend(node.args.iter().map(|a| self.graph.find(*a)));
            }
        }
        false
    }
    /// Whether an operation gives infinities or NaN for finite operands of moderate size.
    fn has_pole(&self, node: &Node) -> bool {
        matches!(
            node.head,
            Head::Elem(
                ElemOp::Recip
                    | ElemOp::Div
                    | ElemOp::Rem
                    | ElemOp::Rsqrt
                    | ElemOp::Sqrt
                    | ElemOp::Log
                    | ElemOp::Log2
                    | ElemOp::Log1p
                    | ElemOp::Pow
            )
        )
    }
    /// Whether a node is a reduction under this condition.
    fn is_own(&self, node: &Node) -> bool {
        let condition = |c: Id| self.graph.find(c) == self.condition;
        as_reduction(node).is_some_and(|r| r.axes == self.axes && r.condition.is_some_and(condition))
    }

    /// The value of a class, if it is known.
    pub(super) fn value(&mut self, class: Id) -> Option<f64> {
        let class = self.graph.find(class);
        if let Some(known) = self.memo.get(&class) {
            return *known;
        }
        self.memo.insert(class, None);
        let constant = float_of(self.graph, class).map(|(value, _)| value);
        let value = constant.or_else(|| nodes_of(self.graph, class).iter().find_map(|node| self.node(node)));
        self.memo.insert(class, value);
        value
    }

    fn node(&mut self, node: &Node) -> Option<f64> {
        if let Some(r) = as_reduction(node) {
            let floats = matches!(r.op, ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min);
            return (self.is_own(node) && floats && self.graph[r.element].data.dtype.is_float())
                .then(|| of_nothing(r.op));
        }
        let [first, ..] = node.args.as_slice() else { return None };
        if node.is(ElemOp::Select) {
            let chosen = if self.holds(*first)? { node.args[1] } else { node.args[2] };
            return self.value(chosen);
        }
        let Head::Elem(op) = node.head else { return None };
        if !matches!(
            op,
            ElemOp::Add
                | ElemOp::Mul
                | ElemOp::Neg
                | ElemOp::Exp
                | ElemOp::Log
                | ElemOp::Recip
                | ElemOp::Max
                | ElemOp::Min
        ) {
            return None;
        }
        let values: Vec<f64> = node.args.iter().map(|a| self.value(*a)).collect::<Option<_>>()?;
        match op {
            ElemOp::Add => Some(values.iter().sum()),
            ElemOp::Mul => Some(values.iter().product()),
            ElemOp::Neg => Some(-values[0]),
            ElemOp::Exp => Some(values[0].exp()),
            ElemOp::Log => Some(values[0].ln()),
            ElemOp::Recip => Some(1.0 / values[0]),
            // NaN propagates, which neither of these does.
            _ if values.iter().any(|v| v.is_nan()) => None,
            ElemOp::Max => values.into_iter().reduce(f64::max),
            _ => values.into_iter().reduce(f64::min),
        }
    }

    /// Whether a comparison holds.
    fn holds(&mut self, class: Id) -> Option<bool> {
        nodes_of(self.graph, class).iter().find_map(|node| {
            let [a, b] = node.args.as_slice() else { return None };
            let (a, b) = (self.value(*a)?, self.value(*b)?);
            match node.head {
                Head::Elem(ElemOp::Eq) => Some(a == b),
                Head::Elem(ElemOp::Ne) => Some(a != b),
                Head::Elem(ElemOp::Lt) => Some(a < b),
                Head::Elem(ElemOp::Le) => Some(a <= b),
                _ => None,
            }
        })
    }
}
