//! Reductions, rows and picks of rows.
//!
//! In: blocks of elements with their states. Out: a scalar for a reduction, a block for a row operator. Absent elements are
//! skipped; a broken element breaks what needs it. A sum of products of two float blocks is a dot product.

use super::compile::{ContextId, Kind, NodeId, Slot};
use super::machine::{Lane, Machine, Step};
use super::number::{float_identity, int_binary, int_identity, maximum, minimum};
use super::value::{ABSENT, BROKEN, PRESENT};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};

/// A reduction under way.
pub(super) struct Accumulator {
    op: ReduceOp,
    dtype: DType,
    float: f64,
    int: i64,
    bool: bool,
    /// The largest exponent so far, of `logsumexp`.
    peak: f64,
    count: u64,
    /// Where the chosen element is.
    chosen: i64,
    broken: bool,
}

impl Accumulator {
    /// Nothing yet, of elements of type `dtype`.
    pub(super) fn new(op: ReduceOp, dtype: DType) -> Self {
        Self {
            op,
            dtype,
            float: if op == ReduceOp::LogSumExp { 0.0 } else { float_identity(op) },
            int: int_identity(op, dtype),
            bool: op == ReduceOp::All,
            peak: f64::NEG_INFINITY,
            count: 0,
            chosen: 0,
            broken: false,
        }
    }
    /// Adds a float at position `at`.
    pub(super) fn float(&mut self, x: f64, at: i64) {
        match self.op {
            ReduceOp::Sum | ReduceOp::Mean => self.float += x,
            ReduceOp::Prod => self.float *= x,
            ReduceOp::Max => self.float = maximum(self.float, x),
            ReduceOp::Min => self.float = minimum(self.float, x),
            ReduceOp::LogSumExp => self.exponential(x),
            ReduceOp::ArgMax => self.choose(x > self.float || self.float.is_nan() && !x.is_nan(), x, at),
            ReduceOp::ArgMin => self.choose(x < self.float || self.float.is_nan() && !x.is_nan(), x, at),
            ReduceOp::First => self.choose(false, x, at),
            ReduceOp::Last => self.choose(true, x, at),
            ReduceOp::Any | ReduceOp::All => {}
        }
        self.count += 1;
    }
    fn choose(&mut self, better: bool, x: f64, at: i64) {
        if self.count == 0 || better {
            (self.float, self.chosen) = (x, at);
        }
    }
    fn exponential(&mut self, x: f64) {
        let peak = maximum(self.peak, x);
        if peak == f64::INFINITY {
            self.float = 1.0;
        } else if peak > f64::NEG_INFINITY || peak.is_nan() {
            let before = if self.count == 0 || self.peak == f64::NEG_INFINITY {
                0.0
            } else {
                self.float * (self.peak - peak).exp()
            };
            self.float = before + (x - peak).exp();
        }
        self.peak = peak;
    }
    /// Adds the exponentials of present floats, relative to the largest so far.
    fn exponentials(&mut self, of: &[f64]) {
        let peak = of.iter().copied().fold(self.peak, maximum);
        if !peak.is_finite() {
            of.iter().for_each(|x| self.float(*x, 0));
            return;
        }
        let scale = if self.peak == f64::NEG_INFINITY { 0.0 } else { (self.peak - peak).exp() };
        self.float = self.float * scale + of.iter().map(|x| (x - peak).exp()).sum::<f64>();
        self.peak = peak;
        self.count += of.len() as u64;
    }
    /// Adds an integer at position `at`.
    pub(super) fn int(&mut self, x: i64, at: i64) {
        let combine = |op| int_binary(op, self.dtype, self.int, x);
        let first = self.count == 0;
        let chosen = match self.op {
            ReduceOp::ArgMax => Some(first || x > self.int),
            ReduceOp::ArgMin => Some(first || x < self.int),
            ReduceOp::First => Some(first),
            ReduceOp::Last => Some(true),
            _ => None,
        };
        match chosen {
            Some(true) => (self.int, self.chosen) = (x, at),
            Some(false) => {}
            None => {
                self.int = match self.op {
                    ReduceOp::Prod => combine(ElemOp::Mul),
                    ReduceOp::Max => self.int.max(x),
                    ReduceOp::Min => self.int.min(x),
                    _ => combine(ElemOp::Add),
                }
            }
        }
        self.count += 1;
    }
    /// Adds a truth value.
    pub(super) fn bool(&mut self, x: bool) {
        self.bool = match self.op {
            ReduceOp::All => self.bool && x,
            ReduceOp::First => {
                if self.count == 0 {
                    x
                } else {
                    self.bool
                }
            }
            ReduceOp::Last => x,
            _ => self.bool || x,
        };
        self.count += 1;
    }
    /// A sum of `count` present floats, added at once.
    fn sum_of(&mut self, sum: f64, count: usize) {
        self.float += sum;
        self.count += count as u64;
    }
    /// The value so far, appended to a lane of the result's type, and its state.
    pub(super) fn finish(&self, result: &mut Lane) -> u8 {
        match result {
            Lane::F(v) => v.push(match self.op {
                ReduceOp::Mean if self.count > 0 => self.float / self.count as f64,
                ReduceOp::LogSumExp if self.peak.is_finite() => self.peak + self.float.ln(),
                ReduceOp::LogSumExp => self.peak,
                _ => self.float,
            }),
            Lane::I(v) => v.push(if self.op.gives_position() { self.chosen } else { self.int }),
            Lane::B(v) => v.push(self.bool),
        }
        match (self.broken, self.op.chooses() && self.count == 0) {
            (true, _) => BROKEN,
            (false, true) => ABSENT,
            (false, false) => PRESENT,
        }
    }
}

/// A dot product with independent partial sums.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_blocks.zip(b_blocks) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn total(a: &[f64]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let blocks = a.chunks_exact(8);
    let rest: f64 = blocks.remainder().iter().sum();
    for x in blocks {
        for lane in 0..8 {
            sums[lane] += x[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

impl Machine<'_> {
    /// Low and length of each axis, from pairs of scalar nodes.
    pub(super) fn ranges(&mut self, ends: &[NodeId]) -> Result<(Vec<i64>, Vec<usize>), String> {
        let (mut low, mut len) = (Vec::new(), Vec::new());
        for pair in ends.chunks_exact(2) {
            let (from, to) = (self.scalar(pair[0])?, self.scalar(pair[1])?);
            let (Some(from), Some(to)) = (from, to) else {
                return Err("the range of an axis is absent".to_owned());
            };
            low.push(from);
            len.push(usize::try_from(to.saturating_sub(from)).unwrap_or(0));
        }
        Ok((low, len))
    }

    /// Sets a context's block to the values of pairs of scalar nodes.
    pub(super) fn set_ranges(&mut self, context: ContextId, ends: &[NodeId]) -> Step {
        let mut same = true;
        for (axis, pair) in ends.chunks_exact(2).enumerate() {
            let (from, to) = (self.scalar(pair[0])?, self.scalar(pair[1])?);
            let block = &self.blocks[context];
            let len = block.len.get(axis).map(|len| *len as i64);
            same &= from.is_some()
                && block.low.get(axis) == from.as_ref()
                && len == to.zip(from).map(|(to, from)| to - from);
        }
        if !same {
            let (low, len) = self.ranges(ends)?;
            self.set_block(context, &low, &len)?;
        }
        Ok(())
    }

    /// A reduction: a scalar.
    pub(super) fn reduce(&mut self, id: NodeId) -> Step {
        let program = self.program;
        let node = &program.nodes[id];
        let Kind::Reduce { op, loops, context, initial } = &node.kind else { return Ok(()) };
        let body = node.args[0];
        let ends = &node.args[1 + usize::from(*initial)..];
        let (outer, inner) = ends.split_at(2 * loops.len());
        let dtype = program.nodes[body].dtype;
        let mut sum = Accumulator::new(*op, dtype);
        if *initial {
            self.eval(node.args[1])?;
            self.absorb(&mut sum, node.args[1], 1, 0);
        }
        self.looped(loops, outer, &mut |machine| {
            machine.set_ranges(*context, inner)?;
            let first = machine.blocks[*context].low.first().copied().unwrap_or(0);
            machine.add_block(&mut sum, body, *context, first)
        })?;
        let cell = &mut self.cells[id];
        cell.lane.reset(node.dtype);
        let state = sum.finish(&mut cell.lane);
        cell.view = None;
        cell.state.clear();
        if state != PRESENT {
            cell.state.push(state);
        }
        Ok(())
    }
    /// Runs `step` at every position of nested loops.
    pub(super) fn looped(&mut self, loops: &[Slot], ends: &[NodeId], step: &mut dyn FnMut(&mut Self) -> Step) -> Step {
        let Some((slot, rest)) = loops.split_first() else { return step(self) };
        let (low, len) = self.ranges(&ends[..2])?;
        for at in 0..len[0] {
            self.set(*slot, low[0] + at as i64);
            self.looped(rest, &ends[2..], step)?;
        }
        Ok(())
    }
    fn add_block(&mut self, sum: &mut Accumulator, body: NodeId, context: ContextId, first: i64) -> Step {
        let count = self.count(context);
        if count == 0 {
            return Ok(());
        }
        if sum.op == ReduceOp::Sum && self.add_products(sum, body, count)? {
            return Ok(());
        }
        self.eval(body)?;
        self.absorb(sum, body, count, first);
        Ok(())
    }
    /// Adds a sum of products without storing the products, where the factors are present floats.
    fn add_products(&mut self, sum: &mut Accumulator, body: NodeId, count: usize) -> Result<bool, String> {
        let program = self.program;
        let node = &program.nodes[body];
        if node.kind != Kind::Elem(ElemOp::Mul) || !node.dtype.is_float() || node.context == 0 {
            return Ok(false);
        }
        self.args(&node.args)?;
        if node.args.iter().any(|a| !self.cells[*a].state.is_empty()) {
            return Ok(false);
        }
        let mut scale = None;
        let mut blocks = [None, None];
        for arg in &node.args {
            if program.nodes[*arg].context == 0 {
                scale = Some(scale.unwrap_or(1.0) * self.floats(*arg)[0]);
            } else if let Some(free) = blocks.iter_mut().find(|b| b.is_none()) {
                *free = Some(*arg);
            } else {
                return Ok(false);
            }
        }
        let value = match blocks {
            [Some(a), Some(b)] => dot(self.floats(a), self.floats(b)),
            [Some(a), None] => total(self.floats(a)),
            _ => return Ok(false),
        };
        sum.sum_of(scale.map_or(value, |scale| scale * value), count);
        Ok(true)
    }
    /// Adds the present ones of `count` elements; the first is at position `first`.
    fn absorb(&self, sum: &mut Accumulator, id: NodeId, count: usize, first: i64) {
        let whole = self.cells[id].state.is_empty();
        if whole && sum.op == ReduceOp::Sum && self.program.nodes[id].dtype.is_float() && self.floats(id).len() == count
        {
            sum.sum_of(total(self.floats(id)), count);
            return;
        }
        if whole && sum.op == ReduceOp::LogSumExp && self.floats(id).len() == count {
            sum.exponentials(self.floats(id));
            return;
        }
        let lane = Lane::of(self.program.nodes[id].dtype);
        for at in 0..count {
            match self.state(id, at) {
                PRESENT => self.absorb_one(sum, id, &lane, at, first + at as i64),
                BROKEN => sum.broken = true,
                _ => {}
            }
        }
    }
    fn absorb_one(&self, sum: &mut Accumulator, id: NodeId, lane: &Lane, at: usize, place: i64) {
        match lane {
            Lane::F(_) => sum.float(super::machine::pick(self.floats(id), at), place),
            Lane::I(_) => sum.int(super::machine::pick(self.ints(id), at), place),
            Lane::B(_) => sum.bool(super::machine::pick(self.bools(id), at)),
        }
    }

    /// A row operator over its whole row.
    pub(super) fn row(&mut self, id: NodeId) {
        let node = &self.program.nodes[id];
        let (x, count) = (node.args[0], self.count(node.context));
        let (lane, state) = match &node.kind {
            Kind::Running { op, rev, exclusive } => self.running_row(*op, (*rev, *exclusive), x, node.dtype, count),
            _ => (Lane::F(self.softmax_row(x, count)), (0..count).map(|at| self.state(x, at)).collect()),
        };
        let cell = &mut self.cells[id];
        (cell.lane, cell.state, cell.view) = (lane, state, None);
        if cell.state.iter().all(|s| *s == PRESENT) {
            cell.state.clear();
        }
    }
    fn softmax_row(&self, x: NodeId, count: usize) -> Vec<f64> {
        let values = self.floats(x);
        let present = |at: &usize| self.state(x, *at) == PRESENT;
        let value = |at: usize| super::machine::pick(values, at);
        let peak = (0..count).filter(present).map(value).fold(f64::NEG_INFINITY, maximum);
        if peak == f64::NEG_INFINITY {
            return vec![0.0; count];
        }
        let exps: Vec<f64> = (0..count).map(|at| if present(&at) { (value(at) - peak).exp() } else { 0.0 }).collect();
        let sum: f64 = total(&exps);
        exps.into_iter().map(|e| e / sum).collect()
    }
    fn running_row(
        &self,
        op: ReduceOp,
        (rev, exclusive): (bool, bool),
        x: NodeId,
        dtype: DType,
        count: usize,
    ) -> (Lane, Vec<u8>) {
        let of = self.program.nodes[x].dtype;
        let mut sum = Accumulator::new(op, of);
        let mut lane = Lane::of(dtype);
        let mut state = Vec::with_capacity(count);
        let kind = Lane::of(of);
        for step in 0..count {
            let at = if rev { count - 1 - step } else { step };
            let own = self.state(x, at);
            let before = sum.broken;
            if exclusive {
                state.push(sum.finish(&mut lane));
            }
            match own {
                PRESENT => self.absorb_one(&mut sum, x, &kind, at, at as i64),
                BROKEN => sum.broken = true,
                _ => {}
            }
            if !exclusive {
                state.push(sum.finish(&mut lane));
            }
            if let Some(last) = state.last_mut()
                && own != PRESENT
            {
                *last = if before { BROKEN } else { own };
            }
        }
        if rev {
            match &mut lane {
                Lane::F(v) => v.reverse(),
                Lane::I(v) => v.reverse(),
                Lane::B(v) => v.reverse(),
            }
            state.reverse();
        }
        (lane, state)
    }
    /// The element of a row at the positions of its axes.
    pub(super) fn pick_element(&mut self, id: NodeId, context: ContextId) -> Step {
        let program = self.program;
        let node = &program.nodes[id];
        self.set_ranges(context, &node.args[1..])?;
        self.eval(node.args[0])?;
        let block = &self.blocks[context];
        let mut at = 0;
        for ((slot, low), len) in program.contexts[context].iter().zip(&block.low).zip(&block.len) {
            let place = usize::try_from(self.position[*slot] - low).ok().filter(|p| p < len);
            at = at * len + place.ok_or("a row is read outside of its axes")?;
        }
        let mut lane = Lane::of(node.dtype);
        lane.push_from(&self.cells[node.args[0]].lane, at);
        let state = self.state(node.args[0], at);
        let cell = &mut self.cells[id];
        (cell.lane, cell.view) = (lane, None);
        cell.state = if state == PRESENT { Vec::new() } else { vec![state] };
        Ok(())
    }
}
