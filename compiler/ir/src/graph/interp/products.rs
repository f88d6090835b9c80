//! Sums of products, for a whole block of results at once.
//!
//! In: an `Each` node whose scalar is `sum[..](a * b * ..)`. Out: its elements, where every factor is a strided read, does not
//! move with the block, or is a scalar; else nothing, and the sums are computed one by one. What does not move is computed
//! once. A sum runs along contiguous elements as a dot product; where only the results are contiguous, the results are summed
//! side by side.

use super::compile::{Affine, ContextId, Kind, NodeId, Sub};
use super::machine::{Block, Lane, Machine, advance};
use super::read::{floats_into, strides};
use super::reduce::dot;
use super::value::{ABSENT, BROKEN, Data, PRESENT, Value};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::entity::Entity;
use crate::index::TensorId;
use std::sync::Arc;

/// A factor in memory: where it starts, and how it moves along the axes of the block and of the sum.
struct Factor {
    value: Arc<Value>,
    start: i64,
    each: Vec<i64>,
    lanes: Vec<i64>,
}

/// The factors of a product, sorted by how they move.
struct Factors {
    scale: f64,
    /// The product of those that move along the sum only.
    fixed: Option<Vec<f64>>,
    /// Its states, if not all of it is present.
    absent: Option<Vec<u8>>,
    /// Those that move along the block only.
    scales: Vec<Factor>,
    moving: Vec<Factor>,
}

impl Machine<'_> {
    /// Evaluates a node of sums of products; `false` if it is not that, and nothing is done.
    pub(super) fn products(&mut self, id: NodeId) -> Result<bool, String> {
        let program = self.program;
        let node = &program.nodes[id];
        let sum = &program.nodes[node.args[0]];
        let Kind::Reduce { op: ReduceOp::Sum, loops, context: lanes, initial: false } = &sum.kind else {
            return Ok(false);
        };
        let (body, ends) = (sum.args[0], &sum.args[1..]);
        let product = program.nodes[body].kind == Kind::Elem(ElemOp::Mul) && node.dtype.is_float();
        if !product || !loops.is_empty() || ends.iter().any(|end| self.moves_with(*end, node.context)) {
            return Ok(false);
        }
        self.set_ranges(*lanes, ends)?;
        let (block, sums) = (self.blocks[node.context].clone(), self.blocks[*lanes].clone());
        if block.count == 0 || sums.count == 0 {
            return Ok(false);
        }
        let mut factors = Factors { scale: 1.0, fixed: None, absent: None, scales: Vec::new(), moving: Vec::new() };
        for arg in &program.nodes[body].args {
            if !self.factor(*arg, (node.context, *lanes), &mut factors)? {
                return Ok(false);
            }
        }
        let mut out = vec![0.0; block.count];
        if !factors.sum(&block, &sums, &mut out) {
            return Ok(false);
        }
        let cell = &mut self.cells[id];
        (cell.lane, cell.view) = (Lane::F(out), None);
        cell.state.clear();
        Ok(true)
    }

    fn moves_with(&self, node: NodeId, context: ContextId) -> bool {
        self.program.nodes[node].deps.iter().any(|slot| self.program.contexts[context].contains(slot))
    }

    /// Adds a factor; `false` if it is of no kind that is handled.
    fn factor(
        &mut self,
        id: NodeId,
        (each, lanes): (ContextId, ContextId),
        factors: &mut Factors,
    ) -> Result<bool, String> {
        let program = self.program;
        let node = &program.nodes[id];
        if !self.moves_with(id, each) {
            self.eval(id)?;
            let state = &self.cells[id].state;
            if state.contains(&BROKEN) || (node.context == 0 && !state.is_empty()) {
                return Ok(false);
            }
            if !state.is_empty() {
                let absent = factors.absent.get_or_insert_with(|| vec![PRESENT; state.len()]);
                absent.iter_mut().zip(state).for_each(|(all, own)| *all = (*all).min(*own));
            }
            let floats = self.floats(id);
            match &mut factors.fixed {
                _ if node.context == 0 => factors.scale *= floats[0],
                Some(fixed) => fixed.iter_mut().zip(floats).for_each(|(x, y)| *x *= y),
                none => *none = Some(floats.to_vec()),
            }
            return Ok(true);
        }
        match &node.kind {
            Kind::Elem(ElemOp::Mul) => {
                for arg in &node.args {
                    if !self.factor(*arg, (each, lanes), factors)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Kind::Read { tensor, subs, .. } => {
                let Some(factor) = self.strided(*tensor, subs, (each, lanes)) else { return Ok(false) };
                let list =
                    if factor.lanes.iter().all(|step| *step == 0) { &mut factors.scales } else { &mut factors.moving };
                list.push(factor);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// A read at affine positions that stays in range for every element of the block and of the sum.
    fn strided(&self, tensor: TensorId, subs: &[Sub], (each, lanes): (ContextId, ContextId)) -> Option<Factor> {
        let value = self.tensors[tensor.index()].clone()?;
        let (block, sums) = (&self.blocks[each], &self.blocks[lanes]);
        let (mut start, mut by_block, mut by_sum) = (0_i64, vec![0; block.len.len()], vec![0; sums.len.len()]);
        for ((sub, size), stride) in subs.iter().zip(&value.shape).zip(strides(&value.shape)) {
            let Sub::Affine(affine) = sub else { return None };
            let (first, block_steps, sum_steps) = self.steps(affine, (each, lanes))?;
            let (mut low, mut high) = (first, first);
            let lengths = block.len.iter().chain(&sums.len);
            for (step, len) in block_steps.iter().chain(&sum_steps).zip(lengths) {
                let end = step.checked_mul(*len as i64 - 1)?;
                low = low.checked_add(end.min(0))?;
                high = high.checked_add(end.max(0))?;
            }
            if low < 0 || high >= *size as i64 {
                return None;
            }
            let stride = stride as i64;
            start += first * stride;
            by_block.iter_mut().zip(&block_steps).for_each(|(total, step)| *total += step * stride);
            by_sum.iter_mut().zip(&sum_steps).for_each(|(total, step)| *total += step * stride);
        }
        Some(Factor { value, start, each: by_block, lanes: by_sum })
    }

    /// An affine subscript at the first element: its value, and its steps along the axes of the block and of the sum.
    fn steps(&self, affine: &Affine, (each, lanes): (ContextId, ContextId)) -> Option<(i64, Vec<i64>, Vec<i64>)> {
        let (block, sums) = (&self.blocks[each], &self.blocks[lanes]);
        let mut first = affine.constant;
        let (mut by_block, mut by_sum) = (vec![0; block.len.len()], vec![0; sums.len.len()]);
        for (slot, factor) in &affine.slots {
            let place = match self.program.contexts[each].iter().position(|axis| axis == slot) {
                Some(axis) => {
                    by_block[axis] += factor;
                    block.low[axis]
                }
                None => self.position[*slot],
            };
            first = first.checked_add(place.checked_mul(*factor)?)?;
        }
        for (axis, factor) in &affine.lanes {
            by_sum[*axis] += factor;
            first = first.checked_add(sums.low[*axis].checked_mul(*factor)?)?;
        }
        Some((first, by_block, by_sum))
    }
}

impl Factors {
    /// Writes the sum of each element of `block`; `false` if the factors do not make a pair.
    fn sum(mut self, block: &Block, sums: &Block, out: &mut [f64]) -> bool {
        let second = match (self.fixed.take(), self.moving.len()) {
            (Some(fixed), 1) => Factor::fixed(fixed, self.absent, block, sums),
            (None, 1) => Factor::fixed(vec![1.0; sums.count], None, block, sums),
            (None, 2) => self.moving.pop(),
            _ => None,
        };
        let (Some(a), Some(b)) = (self.moving.pop(), second) else { return false };
        // `a` is the one that does not move along the last axis, if one does not.
        let (a, b) = if a.each.last() == Some(&0) { (a, b) } else { (b, a) };
        let stays = a.each.last() == Some(&0);
        let side_by_side = stays && b.each.last() == Some(&1) && b.lanes.last() != Some(&1);
        let side_by_side = side_by_side && b.value.state.is_none();
        if self.scales.iter().any(|scale| scale.value.state.is_some()) {
            return false;
        }
        let whole = Sums { a, b, lanes: &sums.len, count: sums.count };
        let (last, outer) = block.len.split_last().map_or((1, &[][..]), |(last, outer)| (*last, outer));
        let mut at = vec![0; outer.len()];
        let mut buffers = (Vec::new(), Vec::new());
        for row in out.chunks_exact_mut(last) {
            if side_by_side {
                if !whole.side_by_side(&at, row, &mut buffers.0) {
                    return false;
                }
            } else if whole.a.value.state.is_some() || whole.b.value.state.is_some() {
                if !whole.dots_of_present(&at, row) {
                    return false;
                }
            } else {
                whole.dots(&at, stays, row, &mut buffers);
            }
            for scale in &self.scales {
                let (from, step) = (scale.at(&at), scale.each.last().copied().unwrap_or(0));
                let value = |at: usize| scale.value.data.float((from + at as i64 * step) as usize);
                row.iter_mut().enumerate().for_each(|(at, x)| *x *= value(at));
            }
            row.iter_mut().for_each(|x| *x *= self.scale);
            advance(&mut at, outer);
        }
        true
    }
}

impl Factor {
    /// Elements that do not move with the block.
    fn fixed(elements: Vec<f64>, state: Option<Vec<u8>>, block: &Block, sums: &Block) -> Option<Self> {
        let lanes = strides(&sums.len).into_iter().map(|stride| stride as i64).collect();
        let value = Value::new(DType::F64, vec![elements.len()], Data::F64(elements)).ok()?;
        let value = Value { state, ..value };
        Some(Self { value: Arc::new(value), start: 0, each: vec![0; block.len.len()], lanes })
    }
    /// Where the elements of a sum begin, at a position along the outer axes of the block.
    fn at(&self, outer: &[usize]) -> i64 {
        self.start + outer.iter().zip(&self.each).map(|(at, step)| *at as i64 * step).sum::<i64>()
    }
    /// How far an element of a sum lies from its first one.
    fn lane(&self, at: &[usize]) -> i64 {
        at.iter().zip(&self.lanes).map(|(at, step)| *at as i64 * step).sum()
    }
    /// The elements of a sum that begin at `from`: where they are, or widened into `buffer`.
    fn elements<'r>(&'r self, from: i64, lanes: &[usize], count: usize, buffer: &'r mut Vec<f64>) -> &'r [f64] {
        let dense = self.lanes.iter().zip(strides(lanes)).zip(lanes).all(|((a, b), len)| *len == 1 || *a == b as i64);
        if let (true, Data::F64(data)) = (dense, &self.value.data) {
            return &data[from as usize..from as usize + count];
        }
        buffer.clear();
        floats_into(&self.value.data, (from as usize, &self.lanes, lanes), buffer);
        buffer
    }
}

/// The sums over pairs of factors.
struct Sums<'s> {
    a: Factor,
    b: Factor,
    lanes: &'s [usize],
    count: usize,
}

impl Sums<'_> {
    /// A row of results, each a dot product; `stays` if `a` is the same for all.
    fn dots(&self, outer: &[usize], stays: bool, row: &mut [f64], buffers: &mut (Vec<f64>, Vec<f64>)) {
        let (from_a, from_b) = (self.a.at(outer), self.b.at(outer));
        let step = |factor: &Factor| factor.each.last().copied().unwrap_or(0);
        if stays {
            let a = self.a.elements(from_a, self.lanes, self.count, &mut buffers.0);
            for (at, result) in row.iter_mut().enumerate() {
                let from = from_b + at as i64 * step(&self.b);
                *result = dot(a, self.b.elements(from, self.lanes, self.count, &mut buffers.1));
            }
            return;
        }
        for (at, result) in row.iter_mut().enumerate() {
            let a = self.a.elements(from_a + at as i64 * step(&self.a), self.lanes, self.count, &mut buffers.0);
            let b = self.b.elements(from_b + at as i64 * step(&self.b), self.lanes, self.count, &mut buffers.1);
            *result = dot(a, b);
        }
    }
    /// A row of results, each a sum over what is present. `false` if an element was read out of range.
    fn dots_of_present(&self, outer: &[usize], row: &mut [f64]) -> bool {
        let (mut from_a, mut from_b) = (self.a.at(outer), self.b.at(outer));
        let step = |factor: &Factor| factor.each.last().copied().unwrap_or(0);
        let state = |factor: &Factor, at: usize| factor.value.state.as_ref().map_or(PRESENT, |state| state[at]);
        let mut at = vec![0; self.lanes.len()];
        for result in row {
            for _ in 0..self.count {
                let (a, b) = (from_a + self.a.lane(&at), from_b + self.b.lane(&at));
                let (a, b) = (a as usize, b as usize);
                match (state(&self.a, a), state(&self.b, b)) {
                    (PRESENT, PRESENT) => *result += self.a.value.data.float(a) * self.b.value.data.float(b),
                    (ABSENT, _) | (_, ABSENT) => {}
                    _ => return false,
                }
                advance(&mut at, self.lanes);
            }
            (from_a, from_b) = (from_a + step(&self.a), from_b + step(&self.b));
        }
        true
    }
    /// A row of results, summed together; absent elements of `a` add nothing. `false` if one was read out of range.
    fn side_by_side(&self, outer: &[usize], row: &mut [f64], buffer: &mut Vec<f64>) -> bool {
        let (from_a, from_b) = (self.a.at(outer), self.b.at(outer));
        let factors = self.a.elements(from_a, self.lanes, self.count, buffer);
        let states = self.a.value.state.as_deref();
        let mut at = vec![0; self.lanes.len()];
        for factor in factors {
            match states.map(|states| states[(from_a + self.a.lane(&at)) as usize]) {
                Some(ABSENT) => {}
                Some(BROKEN) => return false,
                _ => add_scaled(row, *factor, &self.b.value.data, (from_b + self.b.lane(&at)) as usize),
            }
            advance(&mut at, self.lanes);
        }
        true
    }
}

/// Adds `factor` times the elements of `data` from `from` on.
fn add_scaled(row: &mut [f64], factor: f64, data: &Data, from: usize) {
    fn add<T: Copy>(row: &mut [f64], factor: f64, elements: &[T], widen: impl Fn(T) -> f64) {
        row.iter_mut().zip(elements).for_each(|(x, y)| *x += factor * widen(*y));
    }
    let to = from + row.len();
    match data {
        Data::F64(v) => add(row, factor, &v[from..to], |x| x),
        Data::F32(v) => add(row, factor, &v[from..to], f64::from),
        Data::F16(v) => add(row, factor, &v[from..to], |x| half::f16::from_bits(x).to_f64()),
        Data::BF16(v) => add(row, factor, &v[from..to], |x| half::bf16::from_bits(x).to_f64()),
        other => row.iter_mut().enumerate().for_each(|(at, x)| *x += factor * other.float(from + at)),
    }
}
