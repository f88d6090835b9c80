//! From the definitions of a block to an e-graph.
//!
//! In: a normalised function and the statements of one block. Out: one class per definition that must be stored (a root), with
//! every other definition written out where it is read. A definition that holds reductions and is read at other positions
//! than its own is also a *view* of its class, so that extraction may store it once and read it twice. Axes get canonical
//! names on the way: the first of their domain that does not occur free where they are bound.
//!
//! Under a condition (of a reduction or a choice) a choice on the same condition is made: this removes the zeros that stand
//! for absent elements of stored definitions.

use super::{Axes, AxisList, AxisSet, Facts, Graph, Head, Map, ReadAt, add, constant, elem, make, negation};
use crate::normalise::{is_natural, least};
use egg::Id;
use rustc_hash::FxHashMap;
use sawmill_ir::backend::CompileError;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::{Const, Function, Op, Stmt, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A definition that must be stored.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// The definition.
    pub(crate) tensor: TensorId,
    /// Its term in the e-graph, exactly as written.
    pub(crate) term: Id,
    /// Its axes, canonical.
    pub(crate) axes: Vec<AxisId>,
}

/// A block as an e-graph.
pub(crate) struct Block {
    /// The terms.
    pub(crate) graph: Graph,
    /// Names of axes.
    pub(crate) axes: Axes,
    /// What must be stored, in order of definition.
    pub(crate) roots: Vec<Root>,
    /// Names and orders of axes that definitions had, for classes that will be stored: (term, name, axes).
    pub(crate) named: Vec<(Id, String, Vec<AxisId>)>,
    /// The canonical axes of enclosing loops, by the function's axis.
    pub(crate) outer: BTreeMap<AxisId, AxisId>,
}

/// The name of the step that reads a definition through its store.
pub(crate) const VIEW: &str = "view";

type Env = BTreeMap<AxisId, Index>;

/// A term, where its axes go, what holds, whether reads may leave their ranges.
type Key = (TermId, Vec<(AxisId, Index)>, Vec<Id>, bool);

/// What a term is built under.
#[derive(Clone, Default)]
struct Scope {
    /// Where the function's axes go.
    env: Env,
    /// Conditions that hold.
    holds: Vec<Id>,
    /// Whether reads may leave their ranges where the value is unused.
    guarded: bool,
}

struct Builder<'a> {
    function: &'a Function,
    block: Block,
    stored: &'a BTreeSet<TensorId>,
    /// Definitions of this block that are written out, their canonical axes and terms.
    written: BTreeMap<TensorId, (Vec<AxisId>, Id)>,
    free: FxHashMap<TermId, BTreeSet<AxisId>>,
    reduces: FxHashMap<TermId, bool>,
    memo: FxHashMap<Key, Id>,
}

/// Builds the e-graph of `body`, a block inside of the loops over `outer`. `stored` are the definitions that must be stored.
pub(crate) fn build(
    function: &Function,
    body: &[Stmt],
    outer: &[AxisId],
    stored: &BTreeSet<TensorId>,
) -> Result<Block, CompileError> {
    let mut axes = Axes::default();
    let mut facts = Facts::default();
    let mut loops = BTreeMap::new();
    for axis in outer {
        let old = &function.axes[*axis];
        let new = axes.push(&old.name, old.extent.clone());
        facts.outer = facts.outer.with(new);
        loops.insert(*axis, new);
    }
    let graph = Graph::new(facts).with_explanations_enabled();
    let block = Block { graph, axes, roots: Vec::new(), named: Vec::new(), outer: loops };
    let mut builder = Builder {
        function,
        block,
        stored,
        written: BTreeMap::new(),
        free: FxHashMap::default(),
        reduces: FxHashMap::default(),
        memo: FxHashMap::default(),
    };
    for stmt in body {
        if let Stmt::Define(tensor) = stmt {
            builder.define(*tensor)?;
        }
    }
    builder.block.graph.rebuild();
    if builder.block.axes.overflow() {
        let what = format!("a block with more than {} different axes", AxisSet::CAPACITY);
        return Err(CompileError::Unsupported(what));
    }
    Ok(builder.block)
}

impl Builder<'_> {
    fn define(&mut self, tensor: TensorId) -> Result<(), CompileError> {
        let (axes, value) = match &self.function.tensors[tensor].kind {
            TensorKind::Def { axes, value, .. } | TensorKind::Append { axes, value, .. } => (axes, *value),
            _ => return Err(self.bug(format!("{tensor} is defined in the body but is no definition"))),
        };
        let mut scope = Scope::default();
        for (from, to) in &self.block.outer {
            scope.env.insert(*from, Index::axis(*to));
        }
        let mut own = Vec::new();
        for axis in axes {
            // What the steps of a loop collect has the loop's axis among its own.
            let new = match self.block.outer.get(axis) {
                Some(of_loop) => *of_loop,
                None => self.bind(*axis, &scope.env, AxisSet::of(&own)),
            };
            scope.env.insert(*axis, Index::axis(new));
            own.push(new);
        }
        let term = self.term(value, &scope)?;
        self.block.named.push((term, self.function.tensors[tensor].name.clone(), own.clone()));
        if self.stored.contains(&tensor) {
            self.block.roots.push(Root { tensor, term, axes: own.clone() });
        }
        if matches!(self.function.tensors[tensor].kind, TensorKind::Def { .. }) {
            self.written.insert(tensor, (own, term));
        }
        Ok(())
    }

    /// The canonical axis for `axis`, which is bound where `taken` occur free.
    fn bind(&mut self, axis: AxisId, env: &Env, taken: AxisSet) -> AxisId {
        let old = &self.function.axes[axis];
        let extent = at(&old.extent, env);
        self.block.axes.pick(&old.name, &extent, taken)
    }

    fn term(&mut self, id: TermId, scope: &Scope) -> Result<Id, CompileError> {
        let free = self.free_axes(id);
        let env: Vec<(AxisId, Index)> = free.iter().filter_map(|a| scope.env.get(a).map(|i| (*a, i.clone()))).collect();
        let key = (id, env, scope.holds.clone(), scope.guarded);
        if let Some(done) = self.memo.get(&key) {
            return Ok(*done);
        }
        let done = self.term_new(id, scope)?;
        self.memo.insert(key, done);
        Ok(done)
    }
    fn term_new(&mut self, id: TermId, scope: &Scope) -> Result<Id, CompileError> {
        let function = self.function;
        let term = &function.terms[id];
        let graph = &mut self.block.graph;
        match &term.op {
            Op::Const(value) => Ok(add(graph, Head::Const(*value, term.dtype), Vec::new())),
            Op::Index(index) => {
                let index = Arc::new(at(index, &scope.env));
                Ok(add(graph, Head::Index(index), Vec::new()))
            }
            Op::Read { tensor, subs, guarded } => {
                let subs: Vec<Index> = subs.iter().map(|s| at(s, &scope.env)).collect();
                let guarded = *guarded || scope.guarded;
                let needs = if guarded { self.needs(&subs, &function.tensors[*tensor].shape) } else { Vec::new() };
                self.read(*tensor, ReadAt { tensor: *tensor, subs, guarded, needs, dtype: term.dtype }, scope)
            }
            Op::Elem(ElemOp::Select) => self.select(&term.args, scope),
            Op::Elem(op) => {
                let args = term.args.iter().map(|a| self.term(*a, scope)).collect::<Result<Vec<_>, _>>()?;
                Ok(self.elem(*op, args))
            }
            Op::Cast(to) => {
                let x = self.term(term.args[0], scope)?;
                Ok(add(&mut self.block.graph, Head::Cast(*to), vec![x]))
            }
            Op::Round(to) => {
                let x = self.term(term.args[0], scope)?;
                Ok(add(&mut self.block.graph, Head::Round(*to), vec![x]))
            }
            Op::Reduce { op, axes, segment: None } if term.args.len() == 1 => {
                self.reduce(id, *op, axes, term.args[0], scope)
            }
            other => Err(CompileError::Unsupported(format!("{other:?} is not compiled yet"))),
        }
    }

    /// Differences and quotients of floats become sums and products.
    fn elem(&mut self, op: ElemOp, mut args: Vec<Id>) -> Id {
        let graph = &mut self.block.graph;
        let dtype = graph[args[0]].data.dtype;
        match op {
            ElemOp::Sub if dtype.is_float() => {
                let negated = negation(graph, args[1]);
                make::sum(graph, vec![args[0], negated], dtype)
            }
            ElemOp::Div if dtype.is_float() => {
                let inverse = match make::float_of(graph, args[1]) {
                    Some((value, _)) => constant(graph, 1.0 / value, dtype),
                    None => elem(graph, ElemOp::Recip, vec![args[1]]),
                };
                make::product(graph, vec![args[0], inverse], dtype)
            }
            ElemOp::Neg if dtype.is_float() => negation(graph, args[0]),
            ElemOp::Add | ElemOp::Mul | ElemOp::And | ElemOp::Or => {
                args.sort_by_key(|a| graph.find(*a));
                elem(graph, op, args)
            }
            _ => elem(graph, op, args),
        }
    }

    fn select(&mut self, args: &[TermId], scope: &Scope) -> Result<Id, CompileError> {
        let c = self.term(args[0], scope)?;
        if scope.holds.contains(&self.block.graph.find(c)) {
            return self.term(args[1], scope);
        }
        let chosen = self.assume(c, scope);
        let a = self.term(args[1], &chosen)?;
        let b = self.term(args[2], scope)?;
        let graph = &mut self.block.graph;
        if graph.find(a) == graph.find(b) {
            return Ok(a);
        }
        Ok(elem(graph, ElemOp::Select, vec![c, a, b]))
    }

    /// `scope` where also `c` holds.
    fn assume(&self, c: Id, scope: &Scope) -> Scope {
        let mut inner = scope.clone();
        self.conjuncts(c, &mut inner.holds);
        inner.holds.sort();
        inner.holds.dedup();
        inner
    }
    fn conjuncts(&self, c: Id, found: &mut Vec<Id>) {
        let graph = &self.block.graph;
        found.push(graph.find(c));
        for node in &graph[c].nodes {
            match &node.head {
                Head::Elem(ElemOp::And) => node.args.iter().for_each(|a| self.conjuncts(*a, found)),
                Head::Elem(ElemOp::Select) if self.is_false(node.args[2]) => {
                    self.conjuncts(node.args[0], found);
                    self.conjuncts(node.args[1], found);
                }
                _ => {}
            }
        }
    }
    fn is_false(&self, id: Id) -> bool {
        self.block.graph[id].nodes.iter().any(|n| matches!(n.head, Head::Const(Const::Bool(false), _)))
    }

    fn reduce(
        &mut self,
        id: TermId,
        op: sawmill_ir::elem::ReduceOp,
        axes: &[AxisId],
        operand: TermId,
        scope: &Scope,
    ) -> Result<Id, CompileError> {
        let free = self.free_axes(id);
        let around = free.iter().filter_map(|a| scope.env.get(a));
        let mut taken = around.fold(AxisSet::EMPTY, |set, index| set.union(AxisSet::of_index(index)));
        let mut inner = scope.clone();
        let mut bound = AxisSet::EMPTY;
        for axis in axes {
            let new = self.bind(*axis, &scope.env, taken);
            inner.env.insert(*axis, Index::axis(new));
            (taken, bound) = (taken.with(new), bound.with(new));
        }
        let graph = &self.block.graph;
        inner.holds.retain(|c| graph[*c].data.free.is_disjoint(bound));
        let function = self.function;
        let element = &function.terms[operand];
        let (value, condition) = match element.op {
            Op::Where => (element.args[0], Some(self.term(element.args[1], &inner)?)),
            _ => (operand, None),
        };
        let inner = condition.map_or(inner.clone(), |c| self.assume(c, &inner));
        let mut args = vec![self.term(value, &inner)?];
        args.extend(condition);
        let head = Head::Reduce { op, axes: AxisList::new(bound), masked: condition.is_some() };
        Ok(add(&mut self.block.graph, head, args))
    }

    /// What must be 0 or more for `subs` to lie within `sizes`, where the extents of axes do not decide it.
    fn needs(&self, subs: &[Index], sizes: &[Index]) -> Vec<Index> {
        let extent = |axis: AxisId| self.block.axes.get(axis).extent.clone();
        let mut needs = Vec::new();
        for (sub, size) in subs.iter().zip(sizes) {
            let rest = size.sub(sub).sub(&Index::int(1));
            needs.extend([sub.clone(), rest].into_iter().filter(|need| !is_natural(&least(need, &extent))));
        }
        needs.sort_unstable();
        needs.dedup();
        needs
    }

    /// A stored tensor is read; a definition of this block is written out.
    fn read(&mut self, tensor: TensorId, read: ReadAt, scope: &Scope) -> Result<Id, CompileError> {
        let Some((own, term)) = self.written.get(&tensor).cloned() else {
            return Ok(add(&mut self.block.graph, Head::Read(Arc::new(read)), Vec::new()));
        };
        let TensorKind::Def { axes, value, .. } = &self.function.tensors[tensor].kind else {
            return Err(self.bug(format!("{tensor} is written out but is no definition")));
        };
        let mut inner = Scope { env: Env::new(), holds: scope.holds.clone(), guarded: read.guarded };
        for (from, to) in &self.block.outer {
            inner.env.insert(*from, Index::axis(*to));
        }
        inner.env.extend(axes.iter().copied().zip(read.subs.iter().cloned()));
        let copy = self.term(*value, &inner)?;
        let free = self.block.graph[term].data.free;
        let moved = |(axis, sub): &(AxisId, Index)| free.has(*axis) && sub.as_axis() != Some(*axis);
        let pairs: Vec<(AxisId, Index)> = own.into_iter().zip(read.subs).collect();
        let told = !read.guarded || self.reads_in_range(*value);
        if self.has_reduction(*value) && pairs.iter().any(moved) && told {
            let map = Map::new(pairs.into_iter().filter(|(axis, _)| free.has(*axis)).collect());
            // What is stored is the value everywhere, not the one that is left where conditions around this read hold.
            let whole = self.term(*value, &Scope { holds: Vec::new(), ..inner })?;
            let graph = &mut self.block.graph;
            let view = add(graph, Head::View { map, guarded: read.guarded, needs: read.needs.into() }, vec![term]);
            graph.union_trusted(whole, view, VIEW);
            graph.rebuild();
        }
        Ok(copy)
    }

    /// Axes of the function that a term depends on.
    fn free_axes(&mut self, id: TermId) -> BTreeSet<AxisId> {
        if let Some(known) = self.free.get(&id) {
            return known.clone();
        }
        let function = self.function;
        let term = &function.terms[id];
        let mut free: BTreeSet<AxisId> = BTreeSet::new();
        for arg in &term.args {
            free.extend(self.free_axes(*arg));
        }
        match &term.op {
            Op::Index(index) => free.extend(index.axes()),
            Op::Read { subs, .. } => subs.iter().for_each(|s| free.extend(s.axes())),
            Op::Reduce { axes, .. } => axes.iter().for_each(|a| {
                free.remove(a);
                free.extend(function.axes[*a].extent.axes());
            }),
            _ => {}
        }
        if let Op::Read { tensor, .. } = &term.op
            && self.written.contains_key(tensor)
        {
            free.extend(self.block.outer.keys());
        }
        self.free.insert(id, free.clone());
        free
    }

    /// Whether a term, with what it reads of this block written out, holds a reduction.
    fn has_reduction(&mut self, id: TermId) -> bool {
        if let Some(known) = self.reduces.get(&id) {
            return *known;
        }
        let function = self.function;
        let term = &function.terms[id];
        let read = match &term.op {
            Op::Read { tensor, .. } => match &function.tensors[*tensor].kind {
                TensorKind::Def { value, .. } if self.written.contains_key(tensor) => Some(*value),
                _ => None,
            },
            _ => None,
        };
        let found = matches!(term.op, Op::Reduce { .. })
            || read.is_some_and(|value| self.has_reduction(value))
            || term.args.iter().any(|a| self.has_reduction(*a));
        self.reduces.insert(id, found);
        found
    }
    /// Whether a term, with what it reads of this block written out, reads in range somewhere: only then its copy under a guard
    /// differs from one that stands elsewhere without, and may be read from what is stored, which ends where the guard fails.
    fn reads_in_range(&self, id: TermId) -> bool {
        let (mut open, mut seen) = (vec![id], BTreeSet::new());
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let term = &self.function.terms[id];
            if let Op::Read { tensor, guarded, .. } = &term.op {
                match &self.function.tensors[*tensor].kind {
                    TensorKind::Def { value, .. } if self.written.contains_key(tensor) => open.push(*value),
                    _ if !guarded => return true,
                    _ => {}
                }
            }
            open.extend(&term.args);
        }
        false
    }
    fn bug(&self, message: String) -> CompileError {
        CompileError::Bug { message, text: sawmill_ir::graph::text::print_function(self.function) }
    }
}

/// `index` with axes replaced.
fn at(index: &Index, env: &Env) -> Index {
    index.substitute(&mut |atom| match atom {
        Atom::Axis(axis) => env.get(axis).cloned(),
        _ => None,
    })
}
