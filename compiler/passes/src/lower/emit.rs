//! The state of one kernel under construction: builder, placements, memory parameters, and what has been computed where.
//!
//! A computed value is remembered in the scope (region of the kernel) it was emitted in, with the generations of the
//! placements it used: it is found again as long as its region is open and its axes are placed as they were.

use super::space::{Space, Symbol};
use super::steps::Local;
use super::{Facts, Lowered, Stop};
use crate::schedule::Schedule;
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::{Const, Function, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use sawmill_ir::tile::builder::KernelBuilder;
use sawmill_ir::tile::{self, Access, BufferId, MemId, Region, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What the planner knows of a tensor: where its elements are.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// The buffer.
    pub(super) buffer: BufferId,
    /// How many of the tensor's first dimensions choose an element of a list.
    pub(super) lists: usize,
    /// The element of a list, for a tensor that is one element of it.
    pub(super) at: Option<Index>,
}

/// What every kernel of a function is made from.
pub(super) struct Program<'a> {
    pub(super) function: &'a Function,
    pub(super) facts: Facts,
    /// What the target's matrix unit multiplies.
    pub(super) matrix: &'a [DType],
    /// Divisors by which axes are split.
    pub(super) chains: BTreeMap<AxisId, Vec<i64>>,
    /// By how much the counter of a loop over an axis is ahead of the axis.
    pub(super) starts: BTreeMap<AxisId, Index>,
    /// The position of a step of a loop, over the dims of the module.
    pub(super) loop_positions: BTreeMap<AxisId, Index>,
    /// Where tensors are.
    pub(super) stored: BTreeMap<TensorId, Stored>,
    /// Names of dims and loop variables, of buffers.
    pub(super) module: tile::Module,
}

/// The running state of a fold whose operands are being evaluated.
pub(super) struct State {
    pub(super) old: Vec<Value>,
    pub(super) new: Vec<Option<Value>>,
    /// Which components are maxima.
    pub(super) maxima: Vec<bool>,
    /// Axes that each component depends on.
    pub(super) depends: Vec<BTreeSet<AxisId>>,
    pub(super) generation: u32,
}

/// Under which placements a value holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    axes: Vec<(AxisId, u32)>,
    fold: Option<u32>,
}

/// What is remembered of a region.
#[derive(Default)]
pub(super) struct Scope {
    terms: FxHashMap<Vec<TermId>, (Vec<Value>, Stamp)>,
    sizes: FxHashMap<Index, Value>,
    constants: FxHashMap<(Const, DType), Value>,
}

/// A kernel under construction.
pub(super) struct Emit<'a> {
    pub(super) program: &'a Program<'a>,
    pub(super) schedule: Schedule,
    pub(super) b: KernelBuilder,
    pub(super) space: Space,
    pub(super) scopes: Vec<Scope>,
    pub(super) folds: Vec<State>,
    /// Memory parameters by the buffer and list element they are bound to.
    pub(super) memory: Vec<(BufferId, Option<Index>)>,
    /// Folds that another fold serves.
    pub(super) shared: BTreeMap<TermId, TermId>,
    /// Tensors that are values of the kernel.
    pub(super) locals: BTreeMap<TensorId, Local>,
    /// Where axes that reductions bind lie, if they can.
    pub(super) homes: BTreeMap<AxisId, Index>,
    /// The depth of the region that defines a scalar symbol.
    symbol_depth: BTreeMap<AxisId, usize>,
}

impl<'a> Emit<'a> {
    /// An empty kernel that has every dim of the module.
    pub(super) fn new(program: &'a Program<'a>, name: &str, schedule: Schedule) -> Self {
        let mut b = KernelBuilder::new(name);
        for dim in program.module.dims.values() {
            b.dim(dim);
        }
        let mut space = Space::new(program.function.axes.len());
        for (axis, position) in &program.loop_positions {
            space.place(*axis, position.clone(), false);
        }
        Self {
            program,
            schedule,
            b,
            space,
            scopes: vec![Scope::default()],
            folds: Vec::new(),
            memory: Vec::new(),
            shared: BTreeMap::new(),
            locals: BTreeMap::new(),
            homes: BTreeMap::new(),
            symbol_depth: BTreeMap::new(),
        }
    }

    /// The extent of a graph axis.
    pub(super) fn extent(&self, axis: AxisId) -> Index {
        self.program.function.axes[axis].extent.clone()
    }

    /// The memory parameter bound to a buffer (and an element of a list); asked for with `access`.
    pub(super) fn memory_of(&mut self, buffer: BufferId, at: Option<Index>, access: Access) -> MemId {
        let known = self.memory.iter().position(|m| *m == (buffer, at.clone()));
        if let Some(known) = known {
            return self.b.kernel().memory.keys().nth(known).expect("invariant: one entry for each memory");
        }
        let declared = &self.program.module.buffers[buffer];
        let mem = self.b.memory(&declared.name, declared.dtype, declared.shape.clone(), access);
        self.memory.push((buffer, at));
        mem
    }

    /// Runs `emit` in a region of its own: what it computes is forgotten outside.
    pub(super) fn region(&mut self, emit: impl FnOnce(&mut Self) -> Lowered<Vec<Value>>) -> Lowered<Region> {
        self.b.open_region();
        let yields = self.scoped(emit);
        self.b.close_region(yields)
    }
    /// Runs `emit` in the region just opened.
    pub(super) fn scoped<T>(&mut self, emit: impl FnOnce(&mut Self) -> Lowered<T>) -> Lowered<T> {
        self.scopes.push(Scope::default());
        let result = emit(self);
        self.scopes.pop();
        result
    }

    /// Under which placements the value of `terms` holds now; `None` if an axis is not placed.
    pub(super) fn stamp(&self, terms: &[TermId]) -> Option<Stamp> {
        let mut axes = Vec::new();
        let mut fold = None;
        for term in terms {
            let fact = self.program.facts.get(*term);
            for axis in &fact.axes {
                axes.push((*axis, self.space.get(*axis)?.generation));
            }
            if !fact.state.is_empty() {
                fold = Some(self.folds.last()?.generation);
            }
        }
        axes.sort_unstable();
        axes.dedup();
        Some(Stamp { axes, fold })
    }
    /// The remembered values of `terms`, if they still hold.
    pub(super) fn recall(&self, terms: &[TermId], stamp: &Stamp) -> Option<Vec<Value>> {
        let find = |scope: &Scope| scope.terms.get(terms).filter(|(_, s)| s == stamp).map(|(v, _)| v.clone());
        self.scopes.iter().rev().find_map(find)
    }
    /// Remembers values in the region they were emitted in.
    pub(super) fn remember(&mut self, terms: &[TermId], stamp: Stamp, values: Vec<Value>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.terms.insert(terms.to_vec(), (values, stamp));
        }
    }
    /// Runs `emit` in the region at `depth` among the open ones, before what is open there.
    pub(super) fn outside<T>(&mut self, depth: usize, emit: impl FnOnce(&mut Self) -> T) -> T {
        let keep = (depth + 1).min(self.scopes.len());
        let inner = self.scopes.split_off(keep);
        let regions = self.b.suspend(keep);
        let result = emit(self);
        self.b.resume(regions);
        self.scopes.extend(inner);
        result
    }

    /// The value of an index over symbols, computed once, in the outermost region that has its symbols.
    pub(super) fn sized(&mut self, index: &Index, emit: impl FnOnce(&mut Self) -> Lowered<Value>) -> Lowered<Value> {
        if let Some(value) = self.scopes.iter().rev().find_map(|s| s.sizes.get(index)) {
            return Ok(*value);
        }
        self.outside(self.depth_of(index), |e| {
            let value = emit(e)?;
            if let Some(scope) = e.scopes.last_mut() {
                scope.sizes.insert(index.clone(), value);
            }
            Ok(value)
        })
    }

    /// The depth of the outermost region in which an index can be computed.
    fn depth_of(&self, index: &Index) -> usize {
        let mut depth = 0;
        index.for_each_atom(&mut |atom| match atom {
            Atom::Axis(axis) => depth = depth.max(self.symbol_depth.get(axis).copied().unwrap_or(0)),
            // A load stays where it is asked for: its memory may be stored to before.
            Atom::Read(..) => depth = usize::MAX - 1,
            _ => {}
        });
        depth
    }

    /// An `i64` constant.
    pub(super) fn int(&mut self, value: i64) -> Lowered<Value> {
        self.sized(&Index::int(value), |e| Ok(e.b.int(value)?))
    }
    /// A constant, made once.
    pub(super) fn constant(&mut self, value: Const, dtype: DType) -> Lowered<Value> {
        if let Some(made) = self.scopes.first().and_then(|s| s.constants.get(&(value, dtype))) {
            return Ok(*made);
        }
        self.outside(0, |e| {
            let made = e.b.constant(value, dtype)?;
            if let Some(scope) = e.scopes.first_mut() {
                scope.constants.insert((value, dtype), made);
            }
            Ok(made)
        })
    }
    /// An elementwise operation.
    pub(super) fn elem(&mut self, op: ElemOp, args: &[Value]) -> Lowered<Value> {
        Ok(self.b.elem(op, args)?)
    }
    /// The element type of a value.
    pub(super) fn dtype(&self, value: Value) -> DType {
        self.b.type_of(value).dtype
    }
    /// A scalar value of the innermost region as a symbol.
    pub(super) fn scalar_symbol(&mut self, value: Value) -> Index {
        let symbol = self.space.symbol(Symbol::Scalar(value));
        if let Some(axis) = symbol.as_axis() {
            self.symbol_depth.insert(axis, self.scopes.len() - 1);
        }
        symbol
    }

    /// Cuts an axis into tile axes of a tile of `extent` positions whose first is `units` times its largest unit: gives the
    /// position, the tile axes and the unit.
    pub(super) fn cut(&mut self, axis: AxisId, extent: i64) -> Lowered<(Index, Vec<tile::AxisId>, i64)> {
        let name = self.program.function.axes[axis].name.clone();
        // What is read of values of the kernel is whole.
        let chain = self.program.chains.get(&axis).filter(|_| !self.homes.contains_key(&axis));
        let chain: Vec<i64> = chain.into_iter().flatten().copied().filter(|unit| extent >= *unit).collect();
        let mut position = Index::default();
        let mut axes = Vec::new();
        let mut above = None;
        for unit in chain.iter().copied().chain([1]) {
            let count = match above {
                None => (extent + unit - 1) / unit,
                Some(outer) => outer / unit,
            };
            above = Some(unit);
            let count = u32::try_from(count.max(1)).map_err(|_| Stop::Bug(format!("a tile of {count} positions")))?;
            let tile = self.b.axis(&name, count);
            axes.push(tile);
            position = position.add(&self.space.symbol(Symbol::Tile(tile, i64::from(count))).scale(unit));
        }
        Ok((position, axes, chain.first().copied().unwrap_or(1)))
    }
}
