//! The term of one stored definition.
//!
//! Reductions that depend on no axis bound around them are gathered by (level, axes) into one fold each; the others are
//! written where they stand.

use super::block::{BlockEmitter, Env};
use crate::egraph::{AxisSet, Head, ReadAt};
use rustc_hash::FxHashMap;
use sawmill_ir::backend::CompileError;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{self, Op, Repair, TermId};
use sawmill_ir::index::{AxisId, Index};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A component of a fold, by its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Component {
    op: ReduceOp,
    element: usize,
    condition: Option<usize>,
    repair: Repair,
    phi: Option<usize>,
}

/// The passes of a kernel: by level and axes, what each computes.
type Groups = BTreeMap<(u32, AxisSet), BTreeSet<Component>>;

/// Where a term is written.
#[derive(Clone)]
struct Scope {
    env: Env,
    /// Canonical axes bound by reductions around.
    bound: AxisSet,
    /// The fold around: a number of its own, its axes and components.
    fold: Option<Rc<(usize, AxisSet, Vec<Component>)>>,
}

type Key = (usize, Vec<(AxisId, Index)>, AxisSet, usize);

/// Writes one definition.
pub(super) struct Kernel<'k, 'e, 'a> {
    block: &'k mut BlockEmitter<'e, 'a>,
    root: usize,
    env: Env,
    groups: Groups,
    levels: FxHashMap<(usize, AxisSet), u32>,
    folds: BTreeMap<(u32, AxisSet), (TermId, Vec<Component>)>,
    memo: FxHashMap<Key, TermId>,
    fold_count: usize,
}

impl<'k, 'e, 'a> Kernel<'k, 'e, 'a> {
    pub(super) fn new(block: &'k mut BlockEmitter<'e, 'a>, root: usize, env: Env) -> Self {
        Self {
            block,
            root,
            env,
            groups: Groups::new(),
            levels: FxHashMap::default(),
            folds: BTreeMap::new(),
            memo: FxHashMap::default(),
            fold_count: 0,
        }
    }
    /// The term of `node`, which is the root or what is stored for it.
    pub(super) fn value(&mut self, node: usize) -> Result<TermId, CompileError> {
        self.gather(node, AxisSet::EMPTY, &mut BTreeSet::new())?;
        let scope = Scope { env: self.env.clone(), bound: AxisSet::EMPTY, fold: None };
        self.term(node, &scope)
    }

    fn head(&self, node: usize) -> Head {
        self.block.plan.dag.head(node).clone()
    }
    fn args(&self, node: usize) -> Vec<usize> {
        self.block.plan.dag.args(node).collect()
    }
    fn free(&self, node: usize) -> AxisSet {
        self.block.plan.dag.fact(node).free
    }
    fn depends(&self, node: usize) -> AxisSet {
        self.block.plan.dag.fact(node).depends()
    }
    fn dtype(&self, node: usize) -> DType {
        self.block.plan.dag.fact(node).dtype
    }
    fn is_read(&self, node: usize) -> bool {
        node != self.root && self.block.is_stored(node)
    }
    fn bug(&self, message: &str) -> CompileError {
        self.block.emitter.bug(message.to_owned())
    }

    /// The axes and components of a reduction or projection; the last is the one that is asked for.
    fn reduction(&self, node: usize) -> Result<Option<(AxisSet, Vec<Component>)>, CompileError> {
        let args = self.args(node);
        match self.head(node) {
            Head::Reduce { op, axes, .. } => {
                let (element, condition) = (args[0], args.get(1).copied());
                let component = Component { op, element, condition, repair: Repair::None, phi: None };
                Ok(Some((axes.set(), vec![component])))
            }
            Head::Proj => {
                let Head::Fold { axes } = self.head(args[0]) else {
                    return Err(self.bug("a projection of something that is no fold"));
                };
                let mut found = Vec::new();
                self.close(args[1], axes.set(), &mut found)?;
                Ok(Some((axes.set(), found)))
            }
            _ => Ok(None),
        }
    }
    fn component(&self, node: usize) -> Result<Component, CompileError> {
        let Head::Component { op, masked, repair } = self.head(node) else {
            return Err(self.bug("a component of a fold is something else"));
        };
        let mut args = self.args(node).into_iter();
        let element = args.next().ok_or_else(|| self.bug("a component without an element"))?;
        let condition = if masked { args.next() } else { None };
        Ok(Component { op, element, condition, repair, phi: args.next() })
    }
    /// The component and all whose running values it reads, those first.
    fn close(&self, node: usize, axes: AxisSet, found: &mut Vec<Component>) -> Result<(), CompileError> {
        let component = self.component(node)?;
        if found.contains(&component) {
            return Ok(());
        }
        let mut open: Vec<usize> = vec![component.element];
        open.extend(component.phi);
        let mut seen = BTreeSet::new();
        while let Some(at) = open.pop() {
            match self.head(at) {
                Head::Running { axes: of, .. } if of.set() == axes => self.close(self.args(at)[0], axes, found)?,
                _ if seen.insert(at) => open.extend(self.args(at)),
                _ => {}
            }
        }
        found.push(component);
        Ok(())
    }

    /// How many passes must end before a value is known where `bound` are bound.
    fn level(&mut self, node: usize, bound: AxisSet) -> Result<u32, CompileError> {
        if self.is_read(node) {
            return Ok(0);
        }
        let inside = self.depends(node).intersect(bound);
        if let Some(known) = self.levels.get(&(node, inside)) {
            return Ok(*known);
        }
        let mut level = 0;
        match self.reduction(node)? {
            Some((over, components)) => {
                for operand in components.iter().flat_map(operands) {
                    level = level.max(self.level(operand, inside.union(over))?);
                }
                level += u32::from(inside.is_empty());
            }
            None if matches!(self.head(node), Head::View { .. } | Head::Running { .. }) => {}
            None => {
                for arg in self.args(node) {
                    level = level.max(self.level(arg, inside)?);
                }
            }
        }
        self.levels.insert((node, inside), level);
        Ok(level)
    }
    /// Finds the passes.
    fn gather(
        &mut self,
        node: usize,
        bound: AxisSet,
        seen: &mut BTreeSet<(usize, AxisSet)>,
    ) -> Result<(), CompileError> {
        let inside = self.depends(node).intersect(bound);
        if self.is_read(node) || !seen.insert((node, inside)) {
            return Ok(());
        }
        match self.reduction(node)? {
            Some((over, components)) => {
                if inside.is_empty() {
                    let level = self.level(node, AxisSet::EMPTY)?;
                    self.groups.entry((level, over)).or_default().extend(components.iter().copied());
                }
                for operand in components.iter().flat_map(operands) {
                    self.gather(operand, inside.union(over), seen)?;
                }
            }
            None if matches!(self.head(node), Head::View { .. } | Head::Running { .. }) => {}
            None => {
                for arg in self.args(node) {
                    self.gather(arg, inside, seen)?;
                }
            }
        }
        Ok(())
    }

    fn term(&mut self, node: usize, scope: &Scope) -> Result<TermId, CompileError> {
        let free = self.free(node);
        let env = free.iter().filter_map(|a| scope.env.get(&a).map(|i| (a, i.clone()))).collect();
        let fact = self.block.plan.dag.fact(node);
        let fold = if fact.running.is_empty() { 0 } else { scope.fold.as_ref().map_or(0, |f| f.0) };
        let key = (node, env, scope.bound.intersect(fact.depends()), fold);
        if let Some(done) = self.memo.get(&key) {
            return Ok(*done);
        }
        let done = if self.is_read(node) { self.read_stored(node, scope)? } else { self.term_new(node, scope)? };
        self.memo.insert(key, done);
        Ok(done)
    }
    fn term_new(&mut self, node: usize, scope: &Scope) -> Result<TermId, CompileError> {
        let dtype = self.dtype(node);
        match self.head(node) {
            Head::Const(value, dtype) => Ok(self.add(Op::Const(value), Vec::new(), dtype)),
            Head::Index(index) => {
                let index = self.block.index(&index, &scope.env)?;
                Ok(self.block.emitter.terms.index(index))
            }
            Head::Read(read) => self.read(&read, scope),
            Head::View { map, guarded, .. } => {
                let stored = self.block.stored(self.args(node)[0])?;
                let mut subs = Vec::new();
                for axis in &stored.axes {
                    let sub = map.get(*axis).cloned().unwrap_or_else(|| Index::axis(*axis));
                    subs.push(self.block.index(&sub, &scope.env)?);
                }
                Ok(self.add(Op::Read { tensor: stored.tensor, subs, guarded }, Vec::new(), dtype))
            }
            Head::Elem(op) => self.elementwise(node, op, scope),
            Head::Cast(to) => {
                let x = self.term(self.args(node)[0], scope)?;
                Ok(self.block.emitter.terms.cast(x, to))
            }
            Head::Round(to) => {
                let x = self.term(self.args(node)[0], scope)?;
                Ok(self.add(Op::Round(to), vec![x], dtype))
            }
            Head::Reduce { .. } | Head::Proj => self.reduce(node, scope),
            Head::Running { new, .. } => self.running(node, new, scope),
            Head::Component { .. } | Head::Fold { .. } => Err(self.bug("a fold outside of a projection")),
        }
    }
    fn add(&mut self, op: Op, args: Vec<TermId>, dtype: DType) -> TermId {
        self.block.emitter.terms.add(op, args, dtype)
    }
    fn read(&mut self, read: &ReadAt, scope: &Scope) -> Result<TermId, CompileError> {
        let tensor = self.block.tensor(read.tensor)?;
        let subs = read.subs.iter().map(|s| self.block.index(s, &scope.env)).collect::<Result<_, _>>()?;
        Ok(self.add(Op::Read { tensor, subs, guarded: read.guarded }, Vec::new(), read.dtype))
    }
    fn read_stored(&mut self, node: usize, scope: &Scope) -> Result<TermId, CompileError> {
        let stored = self.block.stored(node)?;
        let subs: Option<Vec<Index>> = stored.axes.iter().map(|a| scope.env.get(a).cloned()).collect();
        let Some(subs) = subs else { return Err(self.bug("a stored term is read outside of its axes")) };
        let dtype = self.dtype(node);
        Ok(self.add(Op::Read { tensor: stored.tensor, subs, guarded: false }, Vec::new(), dtype))
    }

    /// Operands of sums and products in structural order; a sum with negations is a difference.
    fn elementwise(&mut self, node: usize, op: ElemOp, scope: &Scope) -> Result<TermId, CompileError> {
        let mut args = self.args(node);
        if matches!(op, ElemOp::Add | ElemOp::Mul | ElemOp::And | ElemOp::Or) {
            args.sort_by_key(|a| (self.block.keys[*a], *a));
        }
        let negative = |k: &Self, a: usize| k.head(a) == Head::Elem(ElemOp::Neg) && !k.is_read(a);
        let (minus, plus): (Vec<usize>, Vec<usize>) =
            args.iter().partition(|a| op == ElemOp::Add && negative(self, **a));
        if minus.is_empty() || plus.is_empty() {
            let args = args.iter().map(|a| self.term(*a, scope)).collect::<Result<_, _>>()?;
            return Ok(self.block.emitter.terms.elem(op, args));
        }
        let terms = plus.iter().map(|a| self.term(*a, scope)).collect::<Result<Vec<_>, _>>()?;
        let mut value = if terms.len() == 1 { terms[0] } else { self.block.emitter.terms.elem(ElemOp::Add, terms) };
        for negated in minus {
            let x = self.args(negated)[0];
            let x = self.term(x, scope)?;
            value = self.block.emitter.terms.elem(ElemOp::Sub, vec![value, x]);
        }
        Ok(value)
    }

    fn reduce(&mut self, node: usize, scope: &Scope) -> Result<TermId, CompileError> {
        let Some((over, components)) = self.reduction(node)? else {
            return Err(self.bug("a reduction is something else"));
        };
        let Some(asked) = components.last().copied() else { return Err(self.bug("a fold of nothing")) };
        let dtype = self.dtype(node);
        let (fold, components) = if self.block.plan.merged && self.depends(node).is_disjoint(scope.bound) {
            let level = self.level(node, AxisSet::EMPTY)?;
            self.pass(level, over)?
        } else {
            self.fold(over, components, scope)?
        };
        if self.is_plain(&components) {
            return Ok(fold);
        }
        let Some(at) = components.iter().position(|c| *c == asked) else {
            return Err(self.bug("a component is not in its fold"));
        };
        let at = u32::try_from(at).expect("a fold has fewer than 2^32 components");
        Ok(self.add(Op::Proj(at), vec![fold], dtype))
    }
    /// One reduction without repair needs no fold.
    fn is_plain(&self, components: &[Component]) -> bool {
        components.len() == 1 && components[0].repair == Repair::None
    }
    /// A pass of the kernel, written once.
    fn pass(&mut self, level: u32, over: AxisSet) -> Result<(TermId, Vec<Component>), CompileError> {
        if let Some(done) = self.folds.get(&(level, over)) {
            return Ok(done.clone());
        }
        let group = self.groups.get(&(level, over)).cloned().unwrap_or_default();
        let scope = Scope { env: self.env.clone(), bound: AxisSet::EMPTY, fold: None };
        let done = self.fold(over, group.into_iter().collect(), &scope)?;
        self.folds.insert((level, over), done.clone());
        Ok(done)
    }
    /// A fold (or the reduction, if it is plain) of `components`, which it orders.
    fn fold(
        &mut self,
        over: AxisSet,
        components: Vec<Component>,
        scope: &Scope,
    ) -> Result<(TermId, Vec<Component>), CompileError> {
        let components = self.ordered(over, components)?;
        let mut inner = scope.clone();
        let order: Vec<AxisId> = over.iter().collect();
        let axes = self.block.bind(&order, &mut inner.env)?;
        inner.bound = scope.bound.minus(over).union(over);
        if !self.is_plain(&components) {
            self.fold_count += 1;
            inner.fold = Some(Rc::new((self.fold_count, over, components.clone())));
        }
        let mut args = Vec::new();
        for component in &components {
            let mut element = self.term(component.element, &inner)?;
            if let Some(condition) = component.condition {
                let condition = self.term(condition, &inner)?;
                let dtype = self.dtype(component.element);
                element = self.add(Op::Where, vec![element, condition], dtype);
            }
            args.push(element);
        }
        for phi in components.iter().filter_map(|c| c.phi) {
            args.push(self.term(phi, &inner)?);
        }
        let dtype = self.reduced(&components[0]);
        let op = if self.is_plain(&components) {
            Op::Reduce { op: components[0].op, axes, segment: None }
        } else {
            let components = components.iter().map(|c| graph::Component { op: c.op, repair: c.repair }).collect();
            Op::Fold { axes, components }
        };
        Ok((self.add(op, args, dtype), components))
    }
    fn reduced(&self, component: &Component) -> DType {
        if component.op.gives_position() { DType::I64 } else { self.dtype(component.element) }
    }
    /// Components after those they read, then those over fewer axes, then by structure.
    fn ordered(&self, over: AxisSet, components: Vec<Component>) -> Result<Vec<Component>, CompileError> {
        let mut keyed = Vec::new();
        for component in components {
            let depth = self.depth(&component, over)?;
            let key = |node: Option<usize>| node.map(|n| self.block.keys[n]);
            let keys = (key(Some(component.element)), key(component.condition), key(component.phi));
            let rank = self.depends(component.element).iter().count();
            keyed.push((depth, rank, keys, component));
        }
        keyed.sort();
        Ok(keyed.into_iter().map(|(.., component)| component).collect())
    }
    /// The longest chain of running values under a component.
    fn depth(&self, component: &Component, over: AxisSet) -> Result<u32, CompileError> {
        let mut open: Vec<usize> = vec![component.element];
        open.extend(component.phi);
        let mut seen = BTreeSet::new();
        let mut depth = 0;
        while let Some(at) = open.pop() {
            match self.head(at) {
                Head::Running { axes, .. } if axes.set() == over => {
                    let below = self.component(self.args(at)[0])?;
                    depth = depth.max(1 + self.depth(&below, over)?);
                }
                _ if seen.insert(at) => open.extend(self.args(at)),
                _ => {}
            }
        }
        Ok(depth)
    }
    fn running(&mut self, node: usize, new: bool, scope: &Scope) -> Result<TermId, CompileError> {
        let component = self.component(self.args(node)[0])?;
        let position = scope.fold.as_ref().and_then(|f| f.2.iter().position(|c| *c == component));
        let Some(at) = position else { return Err(self.bug("a running value outside of its fold")) };
        let at = u32::try_from(at).expect("a fold has fewer than 2^32 components");
        let dtype = self.dtype(node);
        Ok(self.add(if new { Op::New(at) } else { Op::Old(at) }, Vec::new(), dtype))
    }
}

fn operands(component: &Component) -> impl Iterator<Item = usize> {
    [Some(component.element), component.condition, component.phi].into_iter().flatten()
}
