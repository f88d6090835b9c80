//! The e-graph: terms of one block, with all their derived forms.
//!
//! In: the definitions of a block ([`build`]). Out: classes of equal terms with facts (free axes, type). The node has one
//! shape, `{head, args}`; everything that is not a term (axes, index maps, monoids) is data of the head. Names of axes are
//! canonical (one per domain), so equal reductions of different definitions meet; running values of folds are named by their
//! component's class, so no binder has to be renamed when folds merge.
//!
//! Invariants: free axes and types of merged terms agree (a disagreement is counted and reported as a compiler bug); operands
//! of sums and products are sorted when built and never again, because proofs pair operands by position.

mod axes;
mod build;
mod defined;
mod make;
mod node;
mod saturate;

pub(crate) use axes::{Axes, AxisSet};
pub(crate) use build::{Block, build};
pub(crate) use defined::Defined;
pub(crate) use make::{add, constant, elem, exact, float_of, negation, nodes_of, product, sum};
pub(crate) use node::{AxisList, Head, Map, Node, ReadAt};
pub(crate) use saturate::saturate;
pub use saturate::{StageReport, StopReason};

use egg::{Analysis, DidMerge, EGraph, Id};
use sawmill_ir::dtype::DType;

/// An e-graph of terms.
pub(crate) type Graph = EGraph<Node, Facts>;

/// What is known of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// Axes its value depends on.
    pub(crate) free: AxisSet,
    /// Axes of folds around it whose running values it reads.
    pub(crate) running: AxisSet,
    /// The type it computes in.
    pub(crate) dtype: DType,
    /// Where it has a value.
    pub(crate) defined: Defined,
}

impl Fact {
    /// Axes and folds that must be around the term.
    pub(crate) fn depends(&self) -> AxisSet {
        self.free.union(self.running)
    }
}

/// The analysis: free axes and types, bottom-up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Axes of enclosing loops, which are constants of the block.
    pub(crate) outer: AxisSet,
    /// Merges of terms whose facts disagreed.
    pub(crate) disagreements: u32,
}

impl Analysis<Node> for Facts {
    type Data = Fact;

    fn make(graph: &mut Graph, node: &Node, _id: Id) -> Fact {
        let args: Vec<&Fact> = node.args.iter().map(|a| &graph[*a].data).collect();
        let fold = match node.head {
            Head::Proj => fold_axes(graph, node.args[0]),
            _ => AxisSet::EMPTY,
        };
        facts_of(node, &args, fold, graph.analysis.outer)
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        if *a == b {
            return DidMerge(false, false);
        }
        self.disagreements += u32::from(a.free != b.free || a.dtype != b.dtype);
        let (free, running) = (a.free.intersect(b.free), a.running.intersect(b.running));
        let fewer = |fact: &Fact| fact.free != free || fact.running != running;
        let (mut left, mut right) = (fewer(a), fewer(&b));
        (a.free, a.running) = (free, running);
        let learned = a.defined.merge(b.defined);
        left |= learned.0;
        right |= learned.1;
        DidMerge(left, right)
    }
}

/// The facts of a node, from those of its operands. `fold` are the axes of the fold that a projection is of.
pub(crate) fn facts_of(node: &Node, args: &[&Fact], fold: AxisSet, outer: AxisSet) -> Fact {
    let below = args.iter().fold(AxisSet::EMPTY, |free, a| free.union(a.free));
    let free = match &node.head {
        Head::Index(index) => AxisSet::of_index(index),
        Head::Read(read) => read.subs.iter().fold(AxisSet::EMPTY, |free, s| free.union(AxisSet::of_index(s))),
        Head::View { map, .. } => map.free(below),
        Head::Reduce { axes, .. } | Head::Fold { axes } | Head::Running { axes, .. } => below.minus(axes.set()),
        Head::Proj => args[1].free.minus(fold),
        _ => below,
    };
    let open = args.iter().fold(AxisSet::EMPTY, |running, a| running.union(a.running));
    let running = match &node.head {
        Head::Running { axes, .. } => axes.set(),
        Head::Fold { axes } => open.minus(axes.set()),
        Head::Proj => args[0].running,
        _ => open,
    };
    let known: Vec<&Defined> = args.iter().map(|a| &a.defined).collect();
    Fact { free: free.minus(outer), running, dtype: node.dtype(args), defined: Defined::of(node, &known) }
}

/// The axes a class of folds binds.
fn fold_axes(graph: &Graph, fold: Id) -> AxisSet {
    let found = graph[fold].nodes.iter().find_map(|n| match &n.head {
        Head::Fold { axes } => Some(axes.set()),
        _ => None,
    });
    found.unwrap_or(AxisSet::EMPTY)
}

impl Node {
    fn dtype(&self, args: &[&Fact]) -> DType {
        let types: Vec<DType> = args.iter().map(|a| a.dtype).collect();
        match &self.head {
            Head::Const(_, dtype) | Head::Cast(dtype) => *dtype,
            Head::Round(to) => to.widened(),
            Head::Index(_) => DType::I64,
            Head::Read(read) => read.dtype,
            Head::Elem(op) => op.result(&types).unwrap_or(types[0]),
            Head::Reduce { op, .. } if op.gives_position() => DType::I64,
            Head::Proj => types[1],
            _ => types[0],
        }
    }
}
