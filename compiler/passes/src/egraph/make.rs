//! Constructors of e-nodes: exact terms, sorted operands, small constant folds.

use super::{Graph, Head, Node};
use egg::{Id, Language};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::Const;

/// Adds exactly this term (not the leader of its class), so that proofs name what was rewritten.
pub(crate) fn add(graph: &mut Graph, head: Head, args: Vec<Id>) -> Id {
    graph.add_uncanonical(Node::new(head, args))
}

/// The term of a node that was found in a class.
pub(crate) fn exact(graph: &mut Graph, node: &Node) -> Id {
    graph.add_uncanonical(node.clone())
}

/// An elementwise operation.
pub(crate) fn elem(graph: &mut Graph, op: ElemOp, args: Vec<Id>) -> Id {
    add(graph, Head::Elem(op), args)
}

/// A float constant.
pub(crate) fn constant(graph: &mut Graph, value: f64, dtype: DType) -> Id {
    let constant = if dtype.is_float() { Const::float(value) } else { Const::Int(value as i64) };
    add(graph, Head::Const(constant, dtype), Vec::new())
}

/// The product of `factors`, sorted; the only one if there is one, 1 if none.
pub(crate) fn product(graph: &mut Graph, factors: Vec<Id>, dtype: DType) -> Id {
    n_ary(graph, ElemOp::Mul, factors, 1.0, dtype)
}

/// The sum of `summands`, sorted; the only one if there is one, 0 if none.
pub(crate) fn sum(graph: &mut Graph, summands: Vec<Id>, dtype: DType) -> Id {
    n_ary(graph, ElemOp::Add, summands, 0.0, dtype)
}

fn n_ary(graph: &mut Graph, op: ElemOp, mut args: Vec<Id>, unit: f64, dtype: DType) -> Id {
    match args.len() {
        0 => constant(graph, unit, dtype),
        1 => args[0],
        _ => {
            args.sort_by_key(|a| graph.find(*a));
            elem(graph, op, args)
        }
    }
}

/// The negation; a constant is negated at once, a negation undone.
pub(crate) fn negation(graph: &mut Graph, x: Id) -> Id {
    if let Some((value, dtype)) = float_of(graph, x) {
        return constant(graph, -value, dtype);
    }
    let inner = graph[x].nodes.iter().find(|n| n.is(ElemOp::Neg)).map(|n| n.args[0]);
    inner.unwrap_or_else(|| elem(graph, ElemOp::Neg, vec![x]))
}

/// The value of a class that is a float constant.
pub(crate) fn float_of(graph: &Graph, x: Id) -> Option<(f64, DType)> {
    graph[x].nodes.iter().find_map(|n| match n.head {
        Head::Const(Const::Float(bits), dtype) => Some((f64::from_bits(bits), dtype)),
        _ => None,
    })
}

/// The nodes of a class, operands canonical, in order and without duplicates.
pub(crate) fn nodes_of(graph: &Graph, class: Id) -> Vec<Node> {
    let canonical = |n: &Node| n.clone().map_children(|c| graph.find(c));
    let mut nodes: Vec<Node> = graph[class].nodes.iter().map(canonical).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}
