//! Compiles a term into nodes that are evaluated over blocks of elements.
//!
//! In: a term of a linked function, and the axes over which a block runs (its context). Out: a [`Program`]: a graph of nodes,
//! each a scalar or one block. A node that does not depend on its context's axes is a scalar, so that what is invariant is
//! computed once per change of what it depends on (its `deps`), whatever loop surrounds it. Equal nodes are one node.

use super::order::estimate;
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::entity::Entity;
use crate::graph::{Component, Const, Function, Op, Repair, TermId};
use crate::index::{Atom, AxisId, DimId, Index, TensorId};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// The most elements of a block of a reduction.
const BLOCK: i64 = 1 << 15;

/// Position of a node in its program.
pub(super) type NodeId = usize;
/// Position of a context in its program; 0 is the scalar context.
pub(super) type ContextId = usize;
/// What a node can depend on: a position along an axis (slots below the number of axes) or a running value of a fold.
pub(super) type Slot = usize;

/// An affine integer: a constant, positions held in slots, positions along the context's axes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Affine {
    pub(super) constant: i64,
    pub(super) slots: Vec<(Slot, i64)>,
    /// By place of the axis in the context.
    pub(super) lanes: Vec<(usize, i64)>,
}

/// A subscript.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sub {
    Affine(Affine),
    /// An operand of the read.
    Node(usize),
}

/// What happens to a read that leaves its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Beyond {
    Absent,
    Clamped,
    Broken,
}

/// What a node computes. Operand lists are given as `(a, ..)`; extents follow the other operands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Const(Const),
    /// `(a, ..)`: the affine part plus each operand times its factor.
    Poly(Affine, Vec<i64>),
    /// `(subscripts that are nodes)`.
    Read {
        tensor: TensorId,
        subs: Vec<Sub>,
        beyond: Beyond,
    },
    Elem(ElemOp),
    Cast(DType, DType),
    Round(DType),
    Where,
    OrElse,
    /// `(body, [initial], low and end of each axis)`: loops over `loops`, blocks of `context`.
    Reduce {
        op: ReduceOp,
        loops: Vec<Slot>,
        context: ContextId,
        initial: bool,
    },
    /// `(x)`: in the context of a row.
    Softmax,
    /// `(x)`: in the context of a row.
    Running {
        op: ReduceOp,
        rev: bool,
        exclusive: bool,
    },
    /// `(row, low and end of each axis)`: the element of a row at the positions in the slots of its axes.
    Pick {
        context: ContextId,
    },
    /// `(x)`: a scalar, for each element of the context.
    Each,
    /// `(operands, low and end of each axis)`.
    Fold {
        fold: usize,
        axes: Vec<Slot>,
        components: Vec<Component>,
    },
    /// `(fold)`.
    Proj {
        fold: usize,
        component: usize,
    },
    /// A running value of a fold.
    State {
        fold: usize,
        component: usize,
        new: bool,
    },
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) args: Vec<NodeId>,
    pub(super) dtype: DType,
    pub(super) context: ContextId,
    /// Slots whose change makes it stale.
    pub(super) deps: Vec<Slot>,
}

/// A fold's storage: the slots that tell when its running values change.
#[derive(Clone, Debug, Default)]
pub(super) struct FoldSlots {
    pub(super) new: Vec<Slot>,
    pub(super) old: Vec<Slot>,
    /// The context of each component's state.
    pub(super) contexts: Vec<ContextId>,
    pub(super) types: Vec<DType>,
}

/// A compiled term.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) nodes: Vec<Node>,
    /// Axes of each context, outermost first.
    pub(super) contexts: Vec<Vec<Slot>>,
    pub(super) folds: Vec<FoldSlots>,
    pub(super) slots: usize,
    pub(super) root: NodeId,
    /// Axes of the definition that are looped over, outermost first.
    pub(super) loops: Vec<AxisId>,
    /// The context of the rest, and its axes.
    pub(super) context: ContextId,
    pub(super) block: Vec<AxisId>,
}

pub(super) struct Compiler<'a> {
    function: &'a Function,
    dims: &'a [i64],
    program: Program,
    nodes: FxHashMap<(Kind, Vec<NodeId>, DType, ContextId), NodeId>,
    terms: FxHashMap<(TermId, ContextId, Option<usize>), NodeId>,
    contexts: FxHashMap<Vec<Slot>, ContextId>,
    /// The innermost fold around.
    fold: Option<usize>,
}

type Compiled = Result<NodeId, String>;

/// Compiles the value of a definition that is looped over `loops` in blocks over `block`.
pub(super) fn compile(
    function: &Function,
    dims: &[i64],
    value: TermId,
    loops: Vec<AxisId>,
    block: Vec<AxisId>,
) -> Result<Program, String> {
    let mut compiler = Compiler {
        function,
        dims,
        program: Program { slots: function.axes.len(), ..Program::default() },
        nodes: FxHashMap::default(),
        terms: FxHashMap::default(),
        contexts: FxHashMap::default(),
        fold: None,
    };
    compiler.context(&[]);
    let context = compiler.context(&block);
    compiler.program.root = compiler.term(value, context)?;
    Ok(Program { loops, context, block, ..compiler.program })
}

impl Compiler<'_> {
    fn context(&mut self, axes: &[AxisId]) -> ContextId {
        let slots: Vec<Slot> = axes.iter().map(|a| a.index()).collect();
        let next = self.program.contexts.len();
        let id = *self.contexts.entry(slots.clone()).or_insert(next);
        if id == next {
            self.program.contexts.push(slots);
        }
        id
    }
    fn node(
        &mut self,
        kind: Kind,
        args: Vec<NodeId>,
        dtype: DType,
        context: ContextId,
        deps: BTreeSet<Slot>,
    ) -> NodeId {
        let key = (kind.clone(), args.clone(), dtype, context);
        let program = &mut self.program;
        *self.nodes.entry(key).or_insert_with(|| {
            program.nodes.push(Node { kind, args, dtype, context, deps: deps.into_iter().collect() });
            program.nodes.len() - 1
        })
    }
    /// A node that is a block if an operand is one.
    fn pointwise(&mut self, kind: Kind, args: Vec<NodeId>, dtype: DType) -> NodeId {
        let context = args.iter().map(|a| self.program.nodes[*a].context).max().unwrap_or(0);
        let deps = self.deps(&args);
        self.node(kind, args, dtype, context, deps)
    }
    fn deps(&self, args: &[NodeId]) -> BTreeSet<Slot> {
        args.iter().flat_map(|a| self.program.nodes[*a].deps.iter().copied()).collect()
    }
    fn depends(&self, node: NodeId, context: ContextId) -> bool {
        self.program.nodes[node].deps.iter().any(|slot| self.program.contexts[context].contains(slot))
    }
    /// The scalar `node` as seen in `context`.
    fn each(&mut self, node: NodeId, context: ContextId) -> NodeId {
        if !self.depends(node, context) {
            return node;
        }
        let mut deps = self.deps(&[node]);
        deps.retain(|slot| !self.program.contexts[context].contains(slot));
        let dtype = self.program.nodes[node].dtype;
        self.node(Kind::Each, vec![node], dtype, context, deps)
    }

    fn term(&mut self, id: TermId, context: ContextId) -> Compiled {
        if let Some(node) = self.terms.get(&(id, context, self.fold)) {
            return Ok(*node);
        }
        let node = self.operation(id, context)?;
        self.terms.insert((id, context, self.fold), node);
        Ok(node)
    }
    fn operation(&mut self, id: TermId, context: ContextId) -> Compiled {
        let function = self.function;
        let term = &function.terms[id];
        let dtype = term.dtype;
        match &term.op {
            Op::Const(value) => Ok(self.pointwise(Kind::Const(*value), Vec::new(), dtype)),
            Op::Index(index) => self.index(index, context),
            Op::Read { tensor, subs, guarded } => self.read((*tensor, *guarded), subs, dtype, context),
            Op::Elem(op) => self.strict(Kind::Elem(*op), &term.args, dtype, context),
            Op::Cast(to) => {
                let from = function.terms[term.args[0]].dtype;
                self.strict(Kind::Cast(from, *to), &term.args, dtype, context)
            }
            Op::Round(to) => self.strict(Kind::Round(*to), &term.args, dtype, context),
            Op::Where => self.strict(Kind::Where, &term.args, dtype, context),
            Op::OrElse => self.strict(Kind::OrElse, &term.args, dtype, context),
            Op::Reduce { op, axes, segment } => {
                let node = self.reduce(*op, axes, segment.as_ref(), id)?;
                Ok(self.each(node, context))
            }
            Op::Softmax { axes } => self.row(Kind::Softmax, axes, id, context),
            Op::Running { op, axis, rev, exclusive } => {
                let kind = Kind::Running { op: *op, rev: *rev, exclusive: *exclusive };
                self.row(kind, std::slice::from_ref(axis), id, context)
            }
            Op::Fold { axes, components } => self.fold(axes, components, id, context),
            Op::Proj(component) => self.projection(*component as usize, id, context),
            Op::New(at) | Op::Old(at) => self.state(*at as usize, matches!(term.op, Op::New(_)), dtype),
            Op::Call { .. } | Op::Apply(_) | Op::ClosureParam(_) | Op::Bind(_) | Op::RoundParam(_) => {
                Err(format!("`{}` in a linked function", term.op.text()))
            }
        }
    }
    fn strict(&mut self, kind: Kind, args: &[TermId], dtype: DType, context: ContextId) -> Compiled {
        let args = args.iter().map(|a| self.term(*a, context)).collect::<Result<_, _>>()?;
        Ok(self.pointwise(kind, args, dtype))
    }

    /// Dims are known: what is left are axes and reads.
    fn known(&self, index: &Index) -> Index {
        index.substitute(&mut |atom| match atom {
            Atom::Dim(dim) => self.dims.get(DimId::index(*dim)).map(|v| Index::int(*v)),
            _ => None,
        })
    }
    fn affine_part(&self, index: &Index, context: ContextId) -> (Affine, Vec<(Vec<Atom>, i64)>) {
        let (mut affine, mut rest) = (Affine::default(), Vec::new());
        for (atoms, factor) in index.terms() {
            match atoms {
                [] => affine.constant = factor,
                [Atom::Axis(axis)] => match self.program.contexts[context].iter().position(|s| *s == axis.index()) {
                    Some(lane) => affine.lanes.push((lane, factor)),
                    None => affine.slots.push((axis.index(), factor)),
                },
                _ => rest.push((atoms.to_vec(), factor)),
            }
        }
        (affine, rest)
    }
    fn index(&mut self, index: &Index, context: ContextId) -> Compiled {
        let index = self.known(index);
        let (affine, rest) = self.affine_part(&index, context);
        let (mut args, mut factors) = (Vec::new(), Vec::new());
        for (atoms, factor) in rest {
            let atoms: Vec<NodeId> = atoms.iter().map(|a| self.atom(a, context)).collect::<Result<_, _>>()?;
            args.push(match atoms.as_slice() {
                [one] => *one,
                _ => self.pointwise(Kind::Elem(ElemOp::Mul), atoms, DType::I64),
            });
            factors.push(factor);
        }
        let mut deps = self.deps(&args);
        deps.extend(affine.slots.iter().map(|(slot, _)| *slot));
        let block = !affine.lanes.is_empty() || args.iter().any(|a| self.program.nodes[*a].context != 0);
        Ok(self.node(Kind::Poly(affine, factors), args, DType::I64, if block { context } else { 0 }, deps))
    }
    fn atom(&mut self, atom: &Atom, context: ContextId) -> Compiled {
        let mut both = |op, a: &Index, b: &Index| {
            let args = vec![self.index(a, context)?, self.index(b, context)?];
            Ok(self.pointwise(Kind::Elem(op), args, DType::I64))
        };
        match atom {
            Atom::Div(a, b) => both(ElemOp::Div, a, b),
            Atom::Rem(a, b) => both(ElemOp::Rem, a, b),
            Atom::Min(a, b) => both(ElemOp::Min, a, b),
            Atom::Max(a, b) => both(ElemOp::Max, a, b),
            Atom::BitLength(a) => {
                let a = self.index(a, context)?;
                Ok(self.pointwise(Kind::Elem(ElemOp::BitLength), vec![a], DType::I64))
            }
            Atom::Read(tensor, subs) => self.read((*tensor, false), subs, DType::I64, context),
            Atom::Axis(_) => self.index(&Index::atom(atom.clone()), context),
            Atom::Dim(dim) => Err(format!("the size {dim} is unknown")),
            Atom::Param(_) => Err("a parameter of a closure in a linked function".to_owned()),
        }
    }
    fn read(
        &mut self,
        (tensor, guarded): (TensorId, bool),
        subs: &[Index],
        dtype: DType,
        context: ContextId,
    ) -> Compiled {
        let (mut args, mut kinds, mut data_dependent) = (Vec::new(), Vec::new(), false);
        let mut deps = BTreeSet::new();
        let mut block = false;
        for sub in subs {
            let sub = self.known(sub);
            data_dependent |= sub.reads_tensors();
            let (affine, rest) = self.affine_part(&sub, context);
            if rest.is_empty() {
                deps.extend(affine.slots.iter().map(|(slot, _)| *slot));
                block |= !affine.lanes.is_empty();
                kinds.push(Sub::Affine(affine));
            } else {
                let node = self.index(&sub, context)?;
                kinds.push(Sub::Node(args.len()));
                args.push(node);
            }
        }
        deps.extend(self.deps(&args));
        block |= args.iter().any(|a| self.program.nodes[*a].context != 0);
        let beyond = match (guarded, data_dependent) {
            (true, _) => Beyond::Absent,
            (false, true) => Beyond::Clamped,
            (false, false) => Beyond::Broken,
        };
        let kind = Kind::Read { tensor, subs: kinds, beyond };
        Ok(self.node(kind, args, dtype, if block { context } else { 0 }, deps))
    }

    /// Low and end of each axis, as scalars.
    fn ranges(&mut self, axes: &[AxisId], segment: Option<&(TensorId, Index)>) -> Result<Vec<NodeId>, String> {
        let mut ranges = Vec::new();
        for axis in axes {
            if let Some((offsets, at)) = segment {
                for sub in [at.clone(), at.add(&Index::int(1))] {
                    ranges.push(self.read((*offsets, false), &[sub], DType::I64, 0)?);
                }
            } else {
                ranges.push(self.index(&Index::int(0), 0)?);
                let extent = self.function.axes[*axis].extent.clone();
                ranges.push(self.index(&extent, 0)?);
            }
        }
        Ok(ranges)
    }
    fn without(&self, mut deps: BTreeSet<Slot>, axes: &[AxisId]) -> BTreeSet<Slot> {
        deps.retain(|slot| axes.iter().all(|axis| axis.index() != *slot));
        deps
    }
    fn reduce(&mut self, op: ReduceOp, axes: &[AxisId], segment: Option<&(TensorId, Index)>, id: TermId) -> Compiled {
        let term = &self.function.terms[id];
        let (loops, block) = split_block(self.function, self.dims, axes, term.args[0]);
        let context = self.context(&block);
        let mut args = vec![self.term(term.args[0], context)?];
        let initial = term.args.len() > 1;
        if initial {
            args.push(self.term(term.args[1], 0)?);
        }
        let order: Vec<AxisId> = loops.iter().chain(&block).copied().collect();
        args.extend(self.ranges(&order, segment)?);
        let deps = self.without(self.deps(&args), axes);
        let loops = loops.iter().map(|a| a.index()).collect();
        Ok(self.node(Kind::Reduce { op, loops, context, initial }, args, term.dtype, 0, deps))
    }
    fn row(&mut self, kind: Kind, axes: &[AxisId], id: TermId, context: ContextId) -> Compiled {
        let term = &self.function.terms[id];
        let row_context = self.context(axes);
        let of = self.term(term.args[0], row_context)?;
        let deps = self.without(self.deps(&[of]), axes);
        let row = self.node(kind, vec![of], term.dtype, row_context, deps);
        if row_context == context {
            return Ok(row);
        }
        let mut args = vec![row];
        args.extend(self.ranges(axes, None)?);
        let mut deps = self.deps(&args);
        deps.extend(axes.iter().map(|a| a.index()));
        let pick = self.node(Kind::Pick { context: row_context }, args, term.dtype, 0, deps);
        Ok(self.each(pick, context))
    }

    fn fold(&mut self, axes: &[AxisId], components: &[Component], id: TermId, context: ContextId) -> Compiled {
        let ranges = self.ranges(axes, None)?;
        if ranges.iter().any(|r| self.depends(*r, context)) {
            return Err("the extent of a fold depends on the axes of its block".to_owned());
        }
        let fold = self.program.folds.len();
        self.program.folds.push(FoldSlots::default());
        let around = self.fold.replace(fold);
        let term = &self.function.terms[id];
        let mut repairs = term.args[components.len()..].iter();
        let (mut elements, mut factors) = (Vec::new(), Vec::new());
        for (at, component) in components.iter().enumerate() {
            let mut operands = vec![self.term(term.args[at], context)?];
            elements.push(operands[0]);
            if component.repair != Repair::None {
                let repair = repairs.next().ok_or("a fold lacks a repair")?;
                operands.push(self.term(*repair, context)?);
                factors.push(operands[1]);
            }
            let block = operands.iter().any(|o| self.program.nodes[*o].context != 0);
            let element = self.program.nodes[operands[0]].dtype;
            let dtype = crate::graph::typing::reduce_dtype(component.op, element)?;
            let slots = self.program.slots;
            self.program.slots += 2;
            let storage = &mut self.program.folds[fold];
            storage.new.push(slots);
            storage.old.push(slots + 1);
            storage.contexts.push(if block { context } else { 0 });
            storage.types.push(dtype);
        }
        self.fold = around;
        let args: Vec<NodeId> = elements.into_iter().chain(factors).chain(ranges).collect();
        let mut deps = self.without(self.deps(&args), axes);
        let storage = self.program.folds[fold].clone();
        deps.retain(|slot| !storage.new.contains(slot) && !storage.old.contains(slot));
        let block = storage.contexts.iter().any(|c| *c != 0);
        let axes = axes.iter().map(|a| a.index()).collect();
        let kind = Kind::Fold { fold, axes, components: components.to_vec() };
        Ok(self.node(kind, args, term.dtype, if block { context } else { 0 }, deps))
    }
    fn projection(&mut self, component: usize, id: TermId, context: ContextId) -> Compiled {
        let term = &self.function.terms[id];
        let node = self.term(term.args[0], context)?;
        let Kind::Fold { fold, .. } = self.program.nodes[node].kind else {
            return Err("`proj` of a term that is not a fold".to_owned());
        };
        let own = *self.program.folds[fold].contexts.get(component).ok_or("a fold lacks the component")?;
        let deps = self.deps(&[node]);
        Ok(self.node(Kind::Proj { fold, component }, vec![node], term.dtype, own, deps))
    }
    fn state(&mut self, component: usize, new: bool, dtype: DType) -> Compiled {
        let fold = self.fold.ok_or("a running value outside of a fold")?;
        let storage = &self.program.folds[fold];
        let context = *storage.contexts.get(component).ok_or("a running value of a later component")?;
        let slot = if new { storage.new[component] } else { storage.old[component] };
        Ok(self.node(Kind::State { fold, component, new }, Vec::new(), dtype, context, BTreeSet::from([slot])))
    }
}

/// Splits the axes of a reduction into loops and a block, best axis innermost.
fn split_block(function: &Function, dims: &[i64], axes: &[AxisId], body: TermId) -> (Vec<AxisId>, Vec<AxisId>) {
    let fixed = |axis: &AxisId| axes.iter().all(|other| !function.axes[*axis].extent.axes().contains(other));
    let best = |axis: &AxisId| super::order::contiguous_reads(function, body, *axis);
    let mut order: Vec<AxisId> = axes.to_vec();
    order.sort_by_key(|axis| (fixed(axis), best(axis)));
    let mut block = Vec::new();
    let mut size = 1_i64;
    while let Some(axis) = order.last() {
        size = size.saturating_mul(estimate(function, dims, *axis).max(1));
        if !block.is_empty() && (size > BLOCK || !fixed(axis)) {
            break;
        }
        block.insert(0, *axis);
        order.pop();
    }
    // An axis whose extent reads another one comes after it.
    order.sort_by_key(|axis| function.axes[*axis].extent.axes().len());
    (order, block)
}
