//! Evaluates the nodes of a program.
//!
//! In: a program, tensors, positions along loops. Out: the elements of its root, a block at a time. A node is evaluated anew
//! only if something it depends on moved since: every change of a slot or of a block's range takes the next tick of a clock.
//! Here are the pointwise nodes; reads are in `read`, reductions and rows in `reduce`, folds in `fold`.

use super::compile::{ContextId, Kind, NodeId, Program, Slot};
use super::number::{
    compare, float_binary, float_to_int, float_unary, int_binary, int_unary, round_float, saturate_int, wrap_int,
};
use super::value::{ABSENT, BROKEN, Data, PRESENT, Value};
use crate::dtype::{DType, Kind as TypeKind};
use crate::elem::{ElemOp, Typing};
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
}

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
    pub(super) fn set_block(&mut self, context: ContextId, low: &[i64], len: &[usize]) {
        let block = &mut self.blocks[context];
        if block.tick != 0 && block.low == low && block.len == len {
            return;
        }
        block.low = low.to_vec();
        block.len = len.to_vec();
        block.count = len.iter().product();
        let tick = self.tick();
        self.blocks[context].tick = tick;
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

    fn pointwise(&mut self, id: NodeId) {
        let node = &self.program.nodes[id];
        let count = self.count(node.context);
        let lane = std::mem::take(&mut self.cells[id].lane);
        let mut state = std::mem::take(&mut self.cells[id].state);
        let (lane, state) = match &node.kind {
            Kind::Where => self.masked(&node.args, count, state),
            Kind::OrElse => self.filled(&node.args, count, state),
            Kind::Elem(ElemOp::Select) => self.selected(&node.args, count, state),
            Kind::Cast(from, to) => (self.cast(node.args[0], *from, *to), self.strict(&node.args, count, state)),
            Kind::Round(to) => (self.round(node.args[0], *to), self.strict(&node.args, count, state)),
            Kind::Elem(op) => {
                state = self.strict(&node.args, count, state);
                (self.elem(*op, &node.args, count, lane), state)
            }
            _ => (lane, state),
        };
        self.cells[id] = Cell { lane, state, view: None, tick: 0 };
    }
    /// States of a strict operation: absent if an operand is, else broken if one is.
    fn strict(&self, args: &[NodeId], count: usize, mut state: Vec<u8>) -> Vec<u8> {
        state.clear();
        if args.iter().all(|a| self.cells[*a].state.is_empty()) {
            return state;
        }
        state.resize(count, PRESENT);
        for arg in args {
            for (at, out) in state.iter_mut().enumerate() {
                match self.state(*arg, at) {
                    ABSENT => *out = ABSENT,
                    BROKEN if *out == PRESENT => *out = BROKEN,
                    _ => {}
                }
            }
        }
        state
    }
    fn masked(&self, args: &[NodeId], count: usize, mut state: Vec<u8>) -> (Lane, Vec<u8>) {
        let (x, c) = (args[0], args[1]);
        state.clear();
        state.extend((0..count).map(|at| match (self.state(c, at), pick(self.bools(c), at)) {
            (BROKEN, _) => BROKEN,
            (PRESENT, true) => self.state(x, at),
            _ => ABSENT,
        }));
        if state.iter().all(|s| *s == PRESENT) {
            state.clear();
        }
        (self.spread(x, count), state)
    }
    fn filled(&self, args: &[NodeId], count: usize, mut state: Vec<u8>) -> (Lane, Vec<u8>) {
        let (a, b) = (args[0], args[1]);
        if self.cells[a].state.is_empty() {
            return (self.spread(a, count), Vec::new());
        }
        state.clear();
        let (first, second) = (self.lane(a), self.lane(b));
        let mut lane = Lane::of(self.program.nodes[a].dtype);
        for at in 0..count {
            let absent = self.state(a, at) == ABSENT;
            lane.push_from(if absent { &second } else { &first }, at);
            state.push(self.state(if absent { b } else { a }, at));
        }
        (lane, state)
    }
    fn selected(&self, args: &[NodeId], count: usize, mut state: Vec<u8>) -> (Lane, Vec<u8>) {
        let (c, a, b) = (args[0], args[1], args[2]);
        let (first, second) = (self.lane(a), self.lane(b));
        let mut lane = Lane::of(self.program.nodes[a].dtype);
        state.clear();
        for at in 0..count {
            let holds = pick(self.bools(c), at);
            lane.push_from(if holds { &first } else { &second }, at);
            let chosen = self.state(if holds { a } else { b }, at);
            state.push(if self.state(c, at) == PRESENT { chosen } else { self.state(c, at) });
        }
        if state.iter().all(|s| *s == PRESENT) {
            state.clear();
        }
        (lane, state)
    }
    /// The elements of a node, one for each of `count`.
    pub(super) fn spread(&self, id: NodeId, count: usize) -> Lane {
        fn all<T: Copy>(from: &[T], count: usize) -> Vec<T> {
            if from.len() == count { from.to_vec() } else { (0..count).map(|at| pick(from, at)).collect() }
        }
        match Lane::of(self.program.nodes[id].dtype) {
            Lane::F(_) => Lane::F(all(self.floats(id), count)),
            Lane::I(_) => Lane::I(all(self.ints(id), count)),
            Lane::B(_) => Lane::B(all(self.bools(id), count)),
        }
    }
    fn cast(&self, x: NodeId, from: DType, to: DType) -> Lane {
        let float = |v: &[f64]| -> Lane {
            match Lane::of(to) {
                Lane::F(_) => Lane::F(v.to_vec()),
                Lane::I(_) => Lane::I(v.iter().map(|x| float_to_int(to, *x)).collect()),
                Lane::B(_) => Lane::B(v.iter().map(|x| *x != 0.0).collect()),
            }
        };
        match Lane::of(from) {
            Lane::F(_) => float(self.floats(x)),
            Lane::I(_) => match Lane::of(to) {
                Lane::F(_) => Lane::F(self.ints(x).iter().map(|x| *x as f64).collect()),
                Lane::I(_) => Lane::I(self.ints(x).iter().map(|x| saturate_int(to, *x)).collect()),
                Lane::B(_) => Lane::B(self.ints(x).iter().map(|x| *x != 0).collect()),
            },
            Lane::B(_) => match Lane::of(to) {
                Lane::F(_) => Lane::F(self.bools(x).iter().map(|b| f64::from(u8::from(*b))).collect()),
                Lane::I(_) => Lane::I(self.bools(x).iter().map(|b| i64::from(*b)).collect()),
                Lane::B(_) => Lane::B(self.bools(x).to_vec()),
            },
        }
    }
    fn round(&self, x: NodeId, to: DType) -> Lane {
        match Lane::of(to) {
            Lane::F(_) => Lane::F(self.floats(x).iter().map(|x| round_float(to, *x)).collect()),
            Lane::I(_) => Lane::I(self.ints(x).iter().map(|x| wrap_int(to, saturate_int(to, *x))).collect()),
            Lane::B(_) => Lane::B(self.bools(x).to_vec()),
        }
    }
    fn elem(&self, op: ElemOp, args: &[NodeId], count: usize, out: Lane) -> Lane {
        let of = self.program.nodes[args[0]].dtype;
        match (Lane::of(of), op.typing()) {
            (_, Typing::Compare) => Lane::B(self.compared(op, args, count)),
            (Lane::F(_), _) => {
                let mut buffer = if let Lane::F(mut v) = out {
                    v.clear();
                    v
                } else {
                    Vec::new()
                };
                self.float_elem(op, args, count, &mut buffer);
                Lane::F(buffer)
            }
            (Lane::I(_), _) => Lane::I(self.int_elem(op, of, args, count)),
            (Lane::B(_), _) => Lane::B(self.bool_elem(op, args, count)),
        }
    }
    fn float_elem(&self, op: ElemOp, args: &[NodeId], count: usize, out: &mut Vec<f64>) {
        let first = self.floats(args[0]);
        if let [_] = args {
            out.extend(first.iter().map(|x| float_unary(op, *x)));
            return;
        }
        if first.len() == count {
            out.extend_from_slice(first);
        } else {
            out.resize(count, first.first().copied().unwrap_or_default());
        }
        for arg in &args[1..] {
            let more = self.floats(*arg);
            match op {
                ElemOp::Add => combine(out, more, |a, b| a + b),
                ElemOp::Mul => combine(out, more, |a, b| a * b),
                ElemOp::Sub => combine(out, more, |a, b| a - b),
                ElemOp::Div => combine(out, more, |a, b| a / b),
                _ => combine(out, more, |a, b| float_binary(op, a, b)),
            }
        }
    }
    fn int_elem(&self, op: ElemOp, dtype: DType, args: &[NodeId], count: usize) -> Vec<i64> {
        let first = self.ints(args[0]);
        if let [_] = args {
            return first.iter().map(|x| int_unary(op, dtype, *x)).collect();
        }
        let mut out: Vec<i64> = (0..count).map(|at| pick(first, at)).collect();
        for arg in &args[1..] {
            combine(&mut out, self.ints(*arg), |a, b| int_binary(op, dtype, a, b));
        }
        out
    }
    fn bool_elem(&self, op: ElemOp, args: &[NodeId], count: usize) -> Vec<bool> {
        let first = self.bools(args[0]);
        if op == ElemOp::Not {
            return first.iter().map(|b| !b).collect();
        }
        let mut out: Vec<bool> = (0..count).map(|at| pick(first, at)).collect();
        for arg in &args[1..] {
            combine(&mut out, self.bools(*arg), |a, b| if op == ElemOp::And { a && b } else { a || b });
        }
        out
    }
    fn compared(&self, op: ElemOp, args: &[NodeId], count: usize) -> Vec<bool> {
        let (a, b) = (args[0], args[1]);
        match Lane::of(self.program.nodes[a].dtype) {
            Lane::F(_) => {
                let (a, b) = (self.floats(a), self.floats(b));
                (0..count).map(|at| compare(op, pick(a, at).partial_cmp(&pick(b, at)))).collect()
            }
            Lane::I(_) => {
                let (a, b) = (self.ints(a), self.ints(b));
                (0..count).map(|at| compare(op, Some(pick(a, at).cmp(&pick(b, at))))).collect()
            }
            Lane::B(_) => {
                let (a, b) = (self.bools(a), self.bools(b));
                (0..count).map(|at| compare(op, Some(pick(a, at).cmp(&pick(b, at))))).collect()
            }
        }
    }

    /// Evaluates a scalar for each element of the node's context.
    fn each(&mut self, id: NodeId) -> Step {
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

fn combine<T: Copy>(out: &mut [T], more: &[T], with: impl Fn(T, T) -> T) {
    if let [one] = more {
        out.iter_mut().for_each(|a| *a = with(*a, *one));
    } else {
        out.iter_mut().zip(more).for_each(|(a, b)| *a = with(*a, *b));
    }
}

fn constant(value: Const) -> Lane {
    match value {
        Const::Float(bits) => Lane::F(vec![f64::from_bits(bits)]),
        Const::Int(value) => Lane::I(vec![value]),
        Const::Bool(value) => Lane::B(vec![value]),
    }
}
