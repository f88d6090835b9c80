//! Algebra of sums and products: flattening, scalars out of sums, orders of contraction.

use super::nothing::{Nothing, of_nothing};
use super::{Contract, Found, Rule};
use crate::egraph::{
    AxisList, AxisSet, Graph, Head, Node, add, constant, elem, exact, float_of, nodes_of, product, sum,
};
use egg::Id;
use sawmill_ir::elem::{ElemOp, ReduceOp};

/// Operands a flattened product or sum may have.
const OPERAND_LIMIT: usize = 9;
/// Axes that one reduction may run over after pulling another in.
const AXIS_LIMIT: usize = 4;

pub(crate) const FLATTEN: Rule = Rule {
    name: "flatten",
    contract: Contract::Reassociating,
    equation: "a * (b * c) = a * b * c,  a + (b + c) = a + b + c",
    quiet: true,
    apply: flatten,
};
pub(crate) const ELIMINATE: Rule = Rule {
    name: "eliminate",
    contract: Contract::Reassociating,
    equation: "sum[J](a * x) = a * sum[J](x),  max[J](a + x) = a + max[J](x),  a free of J; where c, free of J: if c, else nothing",
    quiet: false,
    apply: eliminate,
};
pub(crate) const ORDER: Rule = Rule {
    name: "order",
    contract: Contract::Reassociating,
    equation: "sum[J, k](x * y) = sum[J](x * sum[k](y)),  x free of k",
    quiet: false,
    apply: order,
};
pub(crate) const MERGE: Rule = Rule {
    name: "merge",
    contract: Contract::Reassociating,
    equation: "sum[J](sum[K](x)) = sum[J, K](x), as for max and min",
    quiet: false,
    apply: merge,
};
pub(crate) const PULL_IN: Rule = Rule {
    name: "pull-in",
    contract: Contract::Reassociating,
    equation: "sum[J](a * sum[K](x)) = sum[J, K](a * x),  a free of K",
    quiet: false,
    apply: pull_in,
};
pub(crate) const MASK: Rule = Rule {
    name: "mask",
    contract: Contract::Exact,
    equation: "sum[J](a * (if c { x } else { 0 })) = sum[J](a * x where c)",
    quiet: false,
    apply: mask,
};
pub(crate) const EXP: Rule = Rule {
    name: "exp",
    contract: Contract::Approximate,
    equation: "exp(a) * exp(b) = exp(a + b)",
    quiet: false,
    apply: exp,
};

/// A reduction of floats: how, over what, of what, where.
pub(super) struct Reduction {
    pub(super) op: ReduceOp,
    pub(super) axes: AxisSet,
    pub(super) element: Id,
    pub(super) condition: Option<Id>,
}

/// The node as a reduction.
pub(super) fn as_reduction(node: &Node) -> Option<Reduction> {
    match &node.head {
        Head::Reduce { op, axes, .. } => {
            Some(Reduction { op: *op, axes: axes.set(), element: node.args[0], condition: node.args.get(1).copied() })
        }
        _ => None,
    }
}

/// A reduction over `axes` of `element` where `condition`.
fn reduce(graph: &mut Graph, op: ReduceOp, axes: AxisSet, element: Id, condition: Option<Id>) -> Id {
    let mut args = vec![element];
    args.extend(condition);
    add(graph, Head::Reduce { op, axes: AxisList::new(axes), masked: condition.is_some() }, args)
}

/// The same node with operand `at` replaced by exactly `operand`.
fn with_operand(graph: &mut Graph, node: &Node, at: usize, operand: &Node) -> Id {
    let mut args = node.args.clone();
    args[at] = exact(graph, operand);
    add(graph, node.head.clone(), args)
}

fn free(graph: &Graph, id: Id) -> AxisSet {
    graph[id].data.free
}

fn flatten(graph: &mut Graph, class: Id, node: &Node) -> Found {
    let op = match node.head {
        Head::Elem(op @ (ElemOp::Mul | ElemOp::Add)) => op,
        _ => return Found::new(),
    };
    let mut found = Found::new();
    for (at, arg) in node.args.iter().enumerate() {
        for inner in nodes_of(graph, *arg) {
            let fits = inner.is(op) && node.args.len() + inner.args.len() <= OPERAND_LIMIT + 1;
            if !fits || inner.args.contains(&graph.find(class)) {
                continue;
            }
            let matched = with_operand(graph, node, at, &inner);
            let mut args: Vec<Id> = node.args.clone();
            args.remove(at);
            args.extend(inner.args);
            args.sort_by_key(|a| graph.find(*a));
            found.push((matched, elem(graph, op, args)));
        }
    }
    found
}

fn eliminate(graph: &mut Graph, _class: Id, node: &Node) -> Found {
    let Some(r) = as_reduction(node) else { return Found::new() };
    let dtype = graph[r.element].data.dtype;
    let through = match r.op {
        ReduceOp::Sum if dtype.is_float() => ElemOp::Mul,
        ReduceOp::Max | ReduceOp::Min if dtype.is_float() => ElemOp::Add,
        _ => return Found::new(),
    };
    let mut found = Found::new();
    for inner in nodes_of(graph, r.element) {
        if r.op == ReduceOp::Sum && inner.is(ElemOp::Neg) {
            let matched = with_operand(graph, node, 0, &inner);
            let rest = reduce(graph, r.op, r.axes, inner.args[0], r.condition);
            found.push((matched, elem(graph, ElemOp::Neg, vec![rest])));
        }
        if !inner.is(through) {
            continue;
        }
        // A condition that is free of the axes as well goes out with the factors. One that is not stays, and with it what must
        // not be evaluated where it admits nothing.
        let around = r.condition.filter(|c| free(graph, *c).is_disjoint(r.axes));
        let below = if around.is_some() { None } else { r.condition };
        let mut nothing = below.map(|condition| Nothing::new(graph, r.axes, condition));
        let mut leaves =
            |x: Id| free(graph, x).is_disjoint(r.axes) && nothing.as_mut().is_none_or(|nothing| nothing.is_harmless(x));
        let (outside, inside): (Vec<Id>, Vec<Id>) = inner.args.iter().partition(|x| leaves(**x));
        if outside.is_empty() || inside.is_empty() {
            continue;
        }
        let matched = with_operand(graph, node, 0, &inner);
        let rest = combine(graph, through, inside, dtype);
        let mut parts = outside;
        parts.push(reduce(graph, r.op, r.axes, rest, below));
        let mut result = combine(graph, through, parts, dtype);
        if let Some(condition) = around {
            let nothing = constant(graph, of_nothing(r.op), dtype);
            result = elem(graph, ElemOp::Select, vec![condition, result, nothing]);
        }
        found.push((matched, result));
    }
    found
}

fn combine(graph: &mut Graph, op: ElemOp, parts: Vec<Id>, dtype: sawmill_ir::dtype::DType) -> Id {
    if op == ElemOp::Mul { product(graph, parts, dtype) } else { sum(graph, parts, dtype) }
}

fn order(graph: &mut Graph, _class: Id, node: &Node) -> Found {
    let Some(r) = as_reduction(node).filter(|r| r.op == ReduceOp::Sum) else { return Found::new() };
    let dtype = graph[r.element].data.dtype;
    if !dtype.is_float() {
        return Found::new();
    }
    let mut found = Found::new();
    for inner in nodes_of(graph, r.element).into_iter().filter(|n| n.is(ElemOp::Mul)) {
        for axis in r.axes.iter() {
            let one = AxisSet::EMPTY.with(axis);
            let rest = r.axes.minus(one);
            let (with, without): (Vec<Id>, Vec<Id>) = inner.args.iter().partition(|x| free(graph, **x).has(axis));
            let (below, above) = match r.condition {
                Some(c) if free(graph, c).has(axis) => (Some(c), None),
                other => (None, other),
            };
            // What leaves the condition is evaluated also where it admits nothing.
            let bare = below.is_some_and(|condition| {
                let mut nothing = Nothing::new(graph, one, condition);
                without.iter().any(|x| !nothing.is_harmless(*x))
            });
            if rest.is_empty() || with.is_empty() || without.is_empty() || bare {
                continue;
            }
            let matched = with_operand(graph, node, 0, &inner);
            let with = product(graph, with, dtype);
            let mut parts = without;
            parts.push(reduce(graph, ReduceOp::Sum, one, with, below));
            let parts = product(graph, parts, dtype);
            found.push((matched, reduce(graph, ReduceOp::Sum, rest, parts, above)));
        }
    }
    found
}

/// Both conditions, if they may stand under one binder.
fn conjunction(graph: &mut Graph, a: Option<Id>, b: Option<Id>) -> Option<Id> {
    match (a, b) {
        (None, other) | (other, None) => other,
        (Some(a), Some(b)) => {
            let mut both = vec![a, b];
            both.sort_by_key(|c| graph.find(*c));
            Some(elem(graph, ElemOp::And, both))
        }
    }
}

/// Whether a reduction over `inner` may join one over `outer` that is masked by `condition`.
fn joins(graph: &Graph, outer: AxisSet, inner: AxisSet, condition: Option<Id>) -> bool {
    outer.is_disjoint(inner) && condition.is_none_or(|c| free(graph, c).is_disjoint(inner))
}

fn merge(graph: &mut Graph, _class: Id, node: &Node) -> Found {
    let Some(r) = as_reduction(node) else { return Found::new() };
    if !matches!(r.op, ReduceOp::Sum | ReduceOp::Max | ReduceOp::Min) {
        return Found::new();
    }
    let mut found = Found::new();
    for inner in nodes_of(graph, r.element) {
        let Some(k) = as_reduction(&inner).filter(|k| k.op == r.op) else { continue };
        let count = r.axes.union(k.axes).iter().count();
        if !joins(graph, r.axes, k.axes, r.condition) || count > AXIS_LIMIT {
            continue;
        }
        let matched = with_operand(graph, node, 0, &inner);
        let condition = conjunction(graph, r.condition, k.condition);
        found.push((matched, reduce(graph, r.op, r.axes.union(k.axes), k.element, condition)));
    }
    found
}

fn pull_in(graph: &mut Graph, _class: Id, node: &Node) -> Found {
    let Some(r) = as_reduction(node).filter(|r| r.op == ReduceOp::Sum) else { return Found::new() };
    let dtype = graph[r.element].data.dtype;
    if !dtype.is_float() {
        return Found::new();
    }
    let mut found = Found::new();
    for factors in nodes_of(graph, r.element).into_iter().filter(|n| n.is(ElemOp::Mul)) {
        for (at, factor) in factors.args.iter().enumerate() {
            for inner in nodes_of(graph, *factor) {
                let Some(k) = as_reduction(&inner).filter(|k| k.op == ReduceOp::Sum) else { continue };
                let mut others = factors.args.clone();
                others.remove(at);
                let apart = others.iter().all(|x| free(graph, *x).is_disjoint(k.axes));
                let small = r.axes.union(k.axes).iter().count() <= AXIS_LIMIT && factors.args.len() < OPERAND_LIMIT;
                let depends = !free(graph, *factor).is_disjoint(r.axes);
                if !apart || !small || !depends || !joins(graph, r.axes, k.axes, r.condition) {
                    continue;
                }
                let element = with_operand(graph, &factors, at, &inner);
                let mut args = node.args.clone();
                args[0] = element;
                let matched = add(graph, node.head.clone(), args);
                others.push(k.element);
                let element = product(graph, others, dtype);
                let condition = conjunction(graph, r.condition, k.condition);
                found.push((matched, reduce(graph, ReduceOp::Sum, r.axes.union(k.axes), element, condition)));
            }
        }
    }
    found
}

/// The choice between something and 0.
fn or_zero(graph: &Graph, class: Id) -> Option<Node> {
    let is_zero = |x: Id| float_of(graph, x).is_some_and(|(value, _)| value == 0.0);
    nodes_of(graph, class).into_iter().find(|n| n.is(ElemOp::Select) && is_zero(n.args[2]))
}

fn mask(graph: &mut Graph, _class: Id, node: &Node) -> Found {
    let Some(r) = as_reduction(node).filter(|r| r.op == ReduceOp::Sum) else { return Found::new() };
    let dtype = graph[r.element].data.dtype;
    let mut found = Found::new();
    if let Some(choice) = or_zero(graph, r.element) {
        let matched = with_operand(graph, node, 0, &choice);
        let condition = conjunction(graph, r.condition, Some(choice.args[0]));
        found.push((matched, reduce(graph, ReduceOp::Sum, r.axes, choice.args[1], condition)));
    }
    for factors in nodes_of(graph, r.element).into_iter().filter(|n| n.is(ElemOp::Mul)) {
        for (at, factor) in factors.args.iter().enumerate() {
            let Some(choice) = or_zero(graph, *factor) else { continue };
            let element = with_operand(graph, &factors, at, &choice);
            let mut args = node.args.clone();
            args[0] = element;
            let matched = add(graph, node.head.clone(), args);
            let mut kept = factors.args.clone();
            kept[at] = choice.args[1];
            let kept = product(graph, kept, dtype);
            let condition = conjunction(graph, r.condition, Some(choice.args[0]));
            found.push((matched, reduce(graph, ReduceOp::Sum, r.axes, kept, condition)));
        }
    }
    found
}

fn exp(graph: &mut Graph, _class: Id, node: &Node) -> Found {
    if !node.is(ElemOp::Mul) {
        return Found::new();
    }
    let exponent = |graph: &Graph, x: Id| nodes_of(graph, x).into_iter().find(|n| n.is(ElemOp::Exp));
    let places: Vec<(usize, Node)> =
        node.args.iter().enumerate().filter_map(|(at, x)| exponent(graph, *x).map(|n| (at, n))).collect();
    let [(i, a), (j, b), ..] = places.as_slice() else { return Found::new() };
    let dtype = graph[a.args[0]].data.dtype;
    let mut matched = node.args.clone();
    matched[*i] = exact(graph, a);
    matched[*j] = exact(graph, b);
    let matched = add(graph, node.head.clone(), matched);
    let exponents = sum(graph, vec![a.args[0], b.args[0]], dtype);
    let joined = elem(graph, ElemOp::Exp, vec![exponents]);
    let mut rest: Vec<Id> =
        node.args.iter().enumerate().filter(|(at, _)| at != i && at != j).map(|(_, x)| *x).collect();
    rest.push(joined);
    vec![(matched, product(graph, rest, dtype))]
}
