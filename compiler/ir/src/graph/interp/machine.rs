//! Evaluates the nodes of a program.
//!
//! In: a program, tensors, positions along loops. Out: the elements of its root, a block at a time. A node is evaluated anew
//! only if something it depends on moved since: every change of a slot or of a block's range takes the next tick of a clock.
//! Pointwise nodes are in `pointwise`, reads in `read`, reductions and rows in `reduce`, sums of products in `products`, folds in
//! `fold`.

use super::compile::{ContextId, Kind, NodeId, Program, Slot};
use super::read::Places;
use super::value::{Data, PRESENT, Value};
use crate::dtype::{DType, Kind as TypeKind};
use crate::entity::Entity;
use crate::graph::{Const, Function};
use crate::index::TensorId;
use std::sync::Arc;

/// Tensors by id; `None` until defined.
pub(super) type Tensors = Vec<Option<Arc<Value>>>;

/// Elements of a block, or one.
#[derive(Clone, Debug)]
pub(super) enum Lane {
    F(Vec<f64>),
    I(Vec<i64>),
    B(Vec<bool>),
}

impl Default for Lane {
    fn default() -> Self {
        Self::F(Vec::new())
    }
}

impl Lane {
    /// An empty lane for elements of type `dtype`.
    pub(super) fn of(dtype: DType) -> Self {
        match dtype.kind() {
            TypeKind::Float | TypeKind::Complex => Self::F(Vec::new()),
            TypeKind::Signed | TypeKind::Unsigned => Self::I(Vec::new()),
            TypeKind::Bool => Self::B(Vec::new()),
        }
    }
    /// Empties the lane and makes it one of elements of type `dtype`.
    pub(super) fn reset(&mut self, dtype: DType) {
        match (&mut *self, Self::of(dtype)) {
            (Self::F(v), Self::F(_)) => v.clear(),
            (Self::I(v), Self::I(_)) => v.clear(),
            (Self::B(v), Self::B(_)) => v.clear(),
            (lane, empty) => *lane = empty,
        }
    }
    /// Appends element `at` of `from` (element 0 if it has only one).
    pub(super) fn push_from(&mut self, from: &Self, at: usize) {
        match (self, from) {
            (Self::F(to), Self::F(from)) => to.push(pick(from, at)),
            (Self::I(to), Self::I(from)) => to.push(pick(from, at)),
            (Self::B(to), Self::B(from)) => to.push(pick(from, at)),
            _ => {}
        }
    }
}

/// Element `at`, or the only one.
pub(super) fn pick<T: Copy>(from: &[T], at: usize) -> T {
    from[if from.len() == 1 { 0 } else { at }]
}

/// What a node holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) lane: Lane,
    /// The state of each element; empty if all are present.
    pub(super) state: Vec<u8>,
    /// Where in its tensor's floats a read lies, if it is that.
    pub(super) view: Option<(TensorId, usize, usize)>,
    /// Of a read at computed subscripts.
    pub(super) places: Places,
    pub(super) tick: u64,
}

/// The range of a context's block: low and length of each axis.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) low: Vec<i64>,
    pub(super) len: Vec<usize>,
    pub(super) count: usize,
    pub(super) tick: u64,
}

/// Running values of a fold.
#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    pub(super) new: Vec<Cell>,
    pub(super) old: Vec<Cell>,
}

pub(super) struct Machine<'a> {
    pub(super) function: &'a Function,
    pub(super) program: &'a Program,
    pub(super) tensors: &'a [Option<Arc<Value>>],
    pub(super) cells: Vec<Cell>,
    pub(super) blocks: Vec<Block>,
    pub(super) running: Vec<Running>,
    pub(super) position: Vec<i64>,
    changed: Vec<u64>,
    clock: u64,
    /// The first read that left its range, for the report.
    pub(super) broken: Option<String>,
    /// Elements of a block that no memory holds.
    pub(super) lacking: Option<u128>,
}

/// The most elements that a block may have: a row of a softmax, or the innermost axis of a sum.
const MOST: u128 = 1 << 31;

pub(super) type Step = Result<(), String>;

impl<'a> Machine<'a> {
    /// A machine at the positions `position` of the loops around.
    pub(super) fn new(
        function: &'a Function,
        program: &'a Program,
        tensors: &'a [Option<Arc<Value>>],
        position: &[i64],
    ) -> Self {
        let mut position = position.to_vec();
        position.resize(program.slots, 0);
        let mut blocks = vec![Block::default(); program.contexts.len()];
        blocks[0].count = 1;
        Self {
            function,
            program,
            tensors,
            cells: vec![Cell::default(); program.nodes.len()],
            blocks,
            running: vec![Running::default(); program.folds.len()],
            changed: vec![1; program.slots],
            position,
            clock: 1,
            broken: None,
            lacking: None,
        }
    }
    /// The next tick.
    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
    /// Moves a slot.
    pub(super) fn set(&mut self, slot: Slot, position: i64) {
        if self.position[slot] != position {
            self.position[slot] = position;
            self.touch(slot);
        }
    }
    /// Notes that what a slot stands for has changed.
    pub(super) fn touch(&mut self, slot: Slot) {
        self.changed[slot] = self.tick();
    }
    /// Sets the range of a context's block.
    ///
    /// # Errors
    /// If the block is too large to be held.
    pub(super) fn set_block(&mut self, context: ContextId, low: &[i64], len: &[usize]) -> Step {
        let count = len.iter().fold(1_u128, |count, len| count.saturating_mul(*len as u128));
        if count > MOST {
            self.lacking = Some(count);
            return Err(format!("a block of {count} elements is too large"));
        }
        let block = &mut self.blocks[context];
        if block.tick != 0 && block.low == low && block.len == len {
            return Ok(());
        }
        block.low = low.to_vec();
        block.len = len.to_vec();
        block.count = len.iter().product();
        let tick = self.tick();
        self.blocks[context].tick = tick;
        Ok(())
    }
    /// How many elements a node of `context` has.
    pub(super) fn count(&self, context: ContextId) -> usize {
        self.blocks[context].count
    }
    fn fresh(&self, id: NodeId) -> bool {
        let (node, tick) = (&self.program.nodes[id], self.cells[id].tick);
        tick != 0 && tick > self.blocks[node.context].tick && node.deps.iter().all(|slot| tick > self.changed[*slot])
    }
    /// The value of an integer node that is a scalar; `None` if it is absent.
    pub(super) fn scalar(&mut self, id: NodeId) -> Result<Option<i64>, String> {
        self.eval(id)?;
        let cell = &self.cells[id];
        let present = cell.state.first().is_none_or(|s| *s == PRESENT);
        Ok(match &cell.lane {
            Lane::I(v) if present => v.first().copied(),
            _ => None,
        })
    }
    /// The floats of a node: one, or one for each element.
    pub(super) fn floats(&self, id: NodeId) -> &[f64] {
        let cell = &self.cells[id];
        if let Some((tensor, from, count)) = cell.view
            && let Some(Data::F64(data)) = self.tensors[tensor.index()].as_ref().map(|t| &t.data)
        {
            return &data[from..from + count];
        }
        match &cell.lane {
            Lane::F(v) => v,
            _ => &[],
        }
    }
    pub(super) fn ints(&self, id: NodeId) -> &[i64] {
        match &self.cells[id].lane {
            Lane::I(v) => v,
            _ => &[],
        }
    }
    pub(super) fn bools(&self, id: NodeId) -> &[bool] {
        match &self.cells[id].lane {
            Lane::B(v) => v,
            _ => &[],
        }
    }
    /// The state of element `at` of a node.
    pub(super) fn state(&self, id: NodeId, at: usize) -> u8 {
        let state = &self.cells[id].state;
        if state.is_empty() { PRESENT } else { pick(state, at) }
    }
    /// The elements of a node, wherever they are.
    pub(super) fn lane(&self, id: NodeId) -> Lane {
        match self.cells[id].view {
            Some(_) => Lane::F(self.floats(id).to_vec()),
            None => self.cells[id].lane.clone(),
        }
    }

    /// Makes the elements of a node valid.
    pub(super) fn eval(&mut self, id: NodeId) -> Step {
        if self.fresh(id) {
            return Ok(());
        }
        let program = self.program;
        let node = &program.nodes[id];
        match &node.kind {
            Kind::Const(value) => self.cells[id].lane = constant(*value),
            Kind::Poly(affine, factors) => {
                self.args(&node.args)?;
                self.polynomial(id, affine, factors);
            }
            Kind::Read { tensor, subs, beyond } => {
                self.args(&node.args)?;
                self.read(id, *tensor, subs, *beyond)?;
            }
            Kind::Elem(_) | Kind::Cast(..) | Kind::Round(_) | Kind::Where | Kind::OrElse => {
                self.args(&node.args)?;
                self.pointwise(id);
            }
            Kind::Reduce { .. } => self.reduce(id)?,
            Kind::Softmax | Kind::Running { .. } => {
                self.args(&node.args)?;
                self.row(id);
            }
            Kind::Pick { context } => self.pick_element(id, *context)?,
            Kind::Each => self.each(id)?,
            Kind::Fold { .. } => self.fold(id)?,
            Kind::Proj { fold, component } => {
                self.args(&node.args)?;
                self.cells[id] = self.running[*fold].new[*component].clone();
            }
            Kind::State { fold, component, new } => {
                let running = &self.running[*fold];
                let from = if *new { &running.new[*component] } else { &running.old[*component] };
                self.cells[id] = from.clone();
            }
        }
        let tick = self.tick();
        self.cells[id].tick = tick;
        Ok(())
    }
    pub(super) fn args(&mut self, args: &[NodeId]) -> Step {
        args.iter().try_for_each(|a| self.eval(*a))
    }

    /// Evaluates a scalar for each element of the node's context.
    fn each(&mut self, id: NodeId) -> Step {
        if self.products(id)? {
            return Ok(());
        }
        let program = self.program;
        let node = &program.nodes[id];
        let (inner, axes) = (node.args[0], &program.contexts[node.context]);
        let block = self.blocks[node.context].clone();
        let mut lane = Lane::of(node.dtype);
        let mut state = Vec::new();
        let mut at = vec![0_usize; axes.len()];
        for element in 0..block.count {
            for (axis, slot) in axes.iter().enumerate() {
                self.set(*slot, block.low[axis] + at[axis] as i64);
            }
            self.eval(inner)?;
            match self.cells[inner].view {
                Some(_) => lane.push_from(&self.lane(inner), 0),
                None => lane.push_from(&self.cells[inner].lane, 0),
            }
            let own = self.state(inner, 0);
            if own != PRESENT && state.is_empty() {
                state = vec![PRESENT; element];
            }
            if own != PRESENT || !state.is_empty() {
                state.push(own);
            }
            advance(&mut at, &block.len);
        }
        let cell = &mut self.cells[id];
        (cell.lane, cell.state, cell.view) = (lane, state, None);
        Ok(())
    }
}

/// The next position of an odometer, last axis fastest; `false` after the last.
pub(super) fn advance(at: &mut [usize], len: &[usize]) -> bool {
    for axis in (0..at.len()).rev() {
        at[axis] += 1;
        if at[axis] < len[axis] {
            return true;
        }
        at[axis] = 0;
    }
    false
}

fn constant(value: Const) -> Lane {
    match value {
        Const::Float(bits) => Lane::F(vec![f64::from_bits(bits)]),
        Const::Int(value) => Lane::I(vec![value]),
        Const::Bool(value) => Lane::B(vec![value]),
    }
}
