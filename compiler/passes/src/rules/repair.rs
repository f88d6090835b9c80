//! The repair rule: a reduction that reads others over the same axes becomes one streaming fold over all of them.
//!
//! In: a reduction `r2 = op[J](f)` where `f` reads reductions `r` over `J`. The element over running values, `f'`, is `f` with each
//! `r` replaced by its value so far. When `r` moves, what was accumulated must move as `f` does; [`Movement`] finds how, by
//! walking the classes of `f`: by `+ delta`, by `* phi`, or in no way that can be told (then there is no fold). A sum is
//! repaired by a factor, a maximum by a summand, if it is free of `J`. A summand that depends on `J` only through the `r`s
//! moves by its difference, an exponential of one by its quotient; plain factors of that kind leave the sum anyway
//! (`eliminate`), and as they may pass through zero they are no repair. There is no table of known pairs of reductions.
//!
//! While a state is its operation's identity it is not repaired: `exp(-inf - -inf)` never meets it.

use super::algebra::{Reduction, as_reduction};
use super::{Contract, Found, Rule};
use crate::egraph::{AxisList, AxisSet, Graph, Head, Node, add, elem, exact, negation, nodes_of, product, sum};
use egg::Id;
use rustc_hash::{FxHashMap, FxHashSet};
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::Repair;
use std::collections::BTreeSet;

pub(crate) const REPAIR: Rule = Rule {
    name: "repair",
    contract: Contract::Reassociating,
    equation: "op[J](f(r)) = fold[J] { r; state = (state moved as f moves with r) op f(r so far) },  r over J",
    quiet: false,
    apply: repair,
};

fn repair(graph: &mut Graph, _class: Id, node: &Node) -> Found {
    let Some(r) = as_reduction(node) else { return Found::new() };
    let mut movement = Movement::new(graph, r.axes);
    let Some(component) = movement.component(&r) else { return Found::new() };
    let Head::Component { repair, .. } = graph.id_to_node(component).head else { return Found::new() };
    if repair == Repair::None {
        return Found::new();
    }
    let mut components = BTreeSet::new();
    close(graph, component, r.axes, &mut components);
    let fold = add(graph, Head::Fold { axes: AxisList::new(r.axes) }, components.into_iter().collect());
    let matched = exact(graph, node);
    vec![(matched, add(graph, Head::Proj, vec![fold, component]))]
}

/// Collects `component` and every component over `axes` whose running value it reads.
fn close(graph: &Graph, component: Id, axes: AxisSet, found: &mut BTreeSet<Id>) {
    if !found.insert(component) {
        return;
    }
    let mut seen = FxHashSet::default();
    let mut open = graph.id_to_node(component).args.clone();
    while let Some(id) = open.pop() {
        let node = graph.id_to_node(id);
        match &node.head {
            Head::Running { axes: of, .. } if of.set() == axes => close(graph, node.args[0], axes, found),
            _ if seen.insert(id) => open.extend(&node.args),
            _ => {}
        }
    }
}

/// How a term moves when the reductions it reads move.
#[derive(Clone, Copy)]
enum Moves {
    /// It reads none.
    Still,
    /// It depends on the fold's axes only through what it reads; this is its value before the step.
    Free(Id),
    /// By adding this.
    Shift(Id),
    /// By multiplying by this.
    Scale(Id),
}

/// A term over running values, and how it moves.
#[derive(Clone, Copy)]
struct Moved {
    new: Id,
    how: Moves,
    /// Axes of the states that it reads: nothing between it and the fold may bind them.
    states: AxisSet,
}

struct Movement<'g> {
    graph: &'g mut Graph,
    axes: AxisSet,
    memo: FxHashMap<Id, Option<Moved>>,
    open: FxHashSet<Id>,
}

impl<'g> Movement<'g> {
    fn new(graph: &'g mut Graph, axes: AxisSet) -> Self {
        Self { graph, axes, memo: FxHashMap::default(), open: FxHashSet::default() }
    }
    fn free(&self, id: Id) -> AxisSet {
        self.graph[id].data.free
    }
    fn is_free(&self, id: Id) -> bool {
        self.free(id).is_disjoint(self.axes)
    }

    /// The reduction as a component of a fold, if it can stream.
    fn component(&mut self, r: &Reduction) -> Option<Id> {
        let dtype = self.graph[r.element].data.dtype;
        let streams = dtype.is_float() && matches!(r.op, ReduceOp::Sum | ReduceOp::Max | ReduceOp::Min);
        if !streams || r.axes != self.axes {
            return None;
        }
        if let Some(c) = r.condition
            && !matches!(self.class(c)?.how, Moves::Still)
        {
            return None;
        }
        let element = self.class(r.element)?;
        let (repair, operand) = match (element.how, r.op) {
            (Moves::Still, _) => (Repair::None, None),
            (Moves::Scale(phi), ReduceOp::Sum) if self.is_free(phi) => (Repair::Scale, Some(phi)),
            (Moves::Shift(delta), ReduceOp::Max | ReduceOp::Min) if self.is_free(delta) => (Repair::Shift, Some(delta)),
            _ => return None,
        };
        // A repair is computed at every step, also where the condition fails.
        if r.condition.is_some() && operand.is_some_and(|phi| !self.graph[phi].data.defined.everywhere()) {
            return None;
        }
        let mut args = vec![element.new];
        args.extend(r.condition);
        args.extend(operand);
        Some(add(self.graph, Head::Component { op: r.op, masked: r.condition.is_some(), repair }, args))
    }

    fn class(&mut self, id: Id) -> Option<Moved> {
        let id = self.graph.find(id);
        if let Some(known) = self.memo.get(&id) {
            return *known;
        }
        if !self.open.insert(id) {
            return None;
        }
        let nodes = nodes_of(self.graph, id);
        let running = nodes.iter().filter_map(as_reduction).find_map(|r| self.component(&r));
        let moved = match running {
            Some(component) => Some(self.running(component)),
            None => nodes.iter().find_map(|n| self.node(id, n)),
        };
        self.open.remove(&id);
        self.memo.insert(id, moved);
        moved
    }
    fn running(&mut self, component: Id) -> Moved {
        let axes = AxisList::new(self.axes);
        let new = add(self.graph, Head::Running { new: true, axes: axes.clone() }, vec![component]);
        let old = add(self.graph, Head::Running { new: false, axes }, vec![component]);
        Moved { new, how: Moves::Free(old), states: self.free(new) }
    }

    fn node(&mut self, class: Id, node: &Node) -> Option<Moved> {
        if matches!(node.head, Head::Proj | Head::Fold { .. } | Head::Component { .. } | Head::Running { .. }) {
            return None;
        }
        let args: Vec<Moved> = node.args.iter().map(|a| self.class(*a)).collect::<Option<_>>()?;
        if args.iter().all(|a| matches!(a.how, Moves::Still)) {
            return Some(Moved { new: class, how: Moves::Still, states: AxisSet::EMPTY });
        }
        let states = args.iter().fold(AxisSet::EMPTY, |all, a| all.union(a.states));
        if let Head::Reduce { axes, .. } = &node.head
            && !axes.set().is_disjoint(self.axes.union(states))
        {
            return None;
        }
        let new = self.rebuild(node, args.iter().map(|a| a.new).collect());
        let loose = |a: &Moved| matches!(a.how, Moves::Still | Moves::Free(_));
        if self.is_free(class) && args.iter().all(loose) {
            let old = args.iter().map(|a| if let Moves::Free(old) = a.how { old } else { a.new }).collect();
            let old = self.rebuild(node, old);
            return Some(Moved { new, how: Moves::Free(old), states });
        }
        let how = match &node.head {
            Head::Elem(op) => self.elementwise(*op, node, &args)?,
            Head::Reduce { op, axes, .. } => self.reduction(*op, axes.set(), &args)?,
            _ => return None,
        };
        Some(Moved { new, how, states })
    }
    fn rebuild(&mut self, node: &Node, mut args: Vec<Id>) -> Id {
        if node.is(ElemOp::Mul) || node.is(ElemOp::Add) {
            args.sort_by_key(|a| self.graph.find(*a));
        }
        add(self.graph, node.head.clone(), args)
    }

    fn reduction(&mut self, op: ReduceOp, over: AxisSet, args: &[Moved]) -> Option<Moves> {
        if args.get(1).is_some_and(|c| !matches!(c.how, Moves::Still)) {
            return None;
        }
        match (op, args[0].how) {
            (ReduceOp::Sum, Moves::Scale(phi)) if self.free(phi).is_disjoint(over) => Some(Moves::Scale(phi)),
            (ReduceOp::Max | ReduceOp::Min, Moves::Shift(delta)) if self.free(delta).is_disjoint(over) => {
                Some(Moves::Shift(delta))
            }
            _ => None,
        }
    }
    fn elementwise(&mut self, op: ElemOp, node: &Node, args: &[Moved]) -> Option<Moves> {
        match op {
            ElemOp::Add => self.sum(args),
            ElemOp::Mul => self.product(node, args),
            ElemOp::Neg => self.negation(&args[0]),
            ElemOp::Exp => {
                let delta = self.shift(&args[0])??;
                Some(Moves::Scale(elem(self.graph, ElemOp::Exp, vec![delta])))
            }
            ElemOp::Log => match args[0].how {
                Moves::Scale(phi) => Some(Moves::Shift(elem(self.graph, ElemOp::Log, vec![phi]))),
                _ => None,
            },
            ElemOp::Recip | ElemOp::Abs | ElemOp::Sqrt | ElemOp::Rsqrt => match args[0].how {
                Moves::Scale(phi) => Some(Moves::Scale(elem(self.graph, op, vec![phi]))),
                _ => None,
            },
            ElemOp::Select => self.choice(node, args),
            _ => None,
        }
    }
    /// How much is added when the term moves: `Some(None)` is nothing.
    fn shift(&mut self, x: &Moved) -> Option<Option<Id>> {
        match x.how {
            Moves::Still => Some(None),
            Moves::Shift(delta) => Some(Some(delta)),
            Moves::Free(old) => {
                let dtype = self.graph[old].data.dtype;
                let back = negation(self.graph, old);
                Some(Some(sum(self.graph, vec![x.new, back], dtype)))
            }
            Moves::Scale(_) => None,
        }
    }
    /// By what the term is multiplied when it moves: `Some(None)` is by 1.
    fn scale(&mut self, class: Id, x: &Moved) -> Option<Option<Id>> {
        match x.how {
            Moves::Still => Some(None),
            Moves::Scale(phi) => Some(Some(phi)),
            Moves::Free(_) => {
                let exponential = nodes_of(self.graph, class).into_iter().find(|n| n.is(ElemOp::Exp))?;
                let exponent = self.class(exponential.args[0])?;
                let delta = self.shift(&exponent)??;
                Some(Some(elem(self.graph, ElemOp::Exp, vec![delta])))
            }
            Moves::Shift(_) => None,
        }
    }
    fn sum(&mut self, args: &[Moved]) -> Option<Moves> {
        let shifts: Option<Vec<Option<Id>>> = args.iter().map(|a| self.shift(a)).collect();
        if let Some(shifts) = shifts {
            let shifts: Vec<Id> = shifts.into_iter().flatten().collect();
            let dtype = self.graph[*shifts.first()?].data.dtype;
            return Some(Moves::Shift(sum(self.graph, shifts, dtype)));
        }
        let mut factors = args.iter().map(|a| match a.how {
            Moves::Scale(phi) => Some(self.graph.find(phi)),
            _ => None,
        });
        let first = factors.next()??;
        factors.all(|phi| phi == Some(first)).then_some(Moves::Scale(first))
    }
    fn product(&mut self, node: &Node, args: &[Moved]) -> Option<Moves> {
        let scales: Option<Vec<Option<Id>>> =
            node.args.iter().zip(args).map(|(class, a)| self.scale(*class, a)).collect();
        if let Some(scales) = scales {
            let scales: Vec<Id> = scales.into_iter().flatten().collect();
            let dtype = self.graph[*scales.first()?].data.dtype;
            return Some(Moves::Scale(product(self.graph, scales, dtype)));
        }
        let (moving, still): (Vec<&Moved>, Vec<&Moved>) = args.iter().partition(|a| !matches!(a.how, Moves::Still));
        let [moving] = moving.as_slice() else { return None };
        let delta = self.shift(moving)??;
        let dtype = self.graph[delta].data.dtype;
        let mut factors: Vec<Id> = still.iter().map(|a| a.new).collect();
        factors.push(delta);
        Some(Moves::Shift(product(self.graph, factors, dtype)))
    }
    fn negation(&mut self, x: &Moved) -> Option<Moves> {
        match x.how {
            Moves::Scale(phi) => Some(Moves::Scale(phi)),
            _ => {
                let delta = self.shift(x)??;
                Some(Moves::Shift(negation(self.graph, delta)))
            }
        }
    }
    /// A choice on a fixed condition moves as its arms do; 0 moves by any factor.
    fn choice(&mut self, node: &Node, args: &[Moved]) -> Option<Moves> {
        let zero = crate::egraph::float_of(self.graph, node.args[2]).is_some_and(|(value, _)| value == 0.0);
        match (args[0].how, args[1].how, args[2].how) {
            (Moves::Still, Moves::Scale(phi), Moves::Still) if zero => Some(Moves::Scale(phi)),
            (Moves::Still, Moves::Scale(a), Moves::Scale(b)) if self.graph.find(a) == self.graph.find(b) => {
                Some(Moves::Scale(a))
            }
            (Moves::Still, Moves::Shift(a), Moves::Shift(b)) if self.graph.find(a) == self.graph.find(b) => {
                Some(Moves::Shift(a))
            }
            _ => None,
        }
    }
}
