//! Reads and integer polynomials.
//!
//! In: subscripts, affine or computed. Out: elements. A read whose subscripts are affine and in range for a whole block is a
//! strided copy, or no copy at all where it is contiguous floats; any other is checked element by element.

use super::compile::{Affine, Beyond, NodeId, Sub};
use super::machine::{Lane, Machine, Step, advance};
use super::value::{ABSENT, BROKEN, Data, PRESENT, Value};
use crate::entity::Entity;
use crate::index::TensorId;
use std::sync::Arc;

/// Where the elements of a read at computed subscripts lie, and the tick that it was found out at.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    made: u64,
    offsets: Option<Vec<i64>>,
}

/// A subscript at a block: where it starts, how it moves along each axis, and its range.
struct Moves {
    start: i64,
    steps: Vec<i64>,
    low: i64,
    high: i64,
}

impl Machine<'_> {
    /// The affine part of a node's subscripts at the current positions.
    fn moves(&self, affine: &Affine, context: usize) -> Moves {
        let block = &self.blocks[context];
        let mut start = affine.constant;
        for (slot, factor) in &affine.slots {
            start = start.wrapping_add(self.position[*slot].wrapping_mul(*factor));
        }
        let mut steps = vec![0; block.len.len()];
        for (axis, factor) in &affine.lanes {
            steps[*axis] = *factor;
            start = start.wrapping_add(block.low[*axis].wrapping_mul(*factor));
        }
        let (mut low, mut high) = (start, start);
        for (step, len) in steps.iter().zip(&block.len) {
            let end = step.wrapping_mul(*len as i64 - 1);
            low = low.wrapping_add(end.min(0));
            high = high.wrapping_add(end.max(0));
        }
        Moves { start, steps, low, high }
    }
    /// The affine values over a block, in order.
    fn spell(&self, moves: &Moves, context: usize) -> Vec<i64> {
        let block = &self.blocks[context];
        if let [len] = block.len.as_slice() {
            return (0..*len as i64).map(|at| moves.start + at * moves.steps[0]).collect();
        }
        let mut at = vec![0; block.len.len()];
        let mut values = Vec::with_capacity(block.count);
        for _ in 0..block.count {
            values.push(moves.start + at.iter().zip(&moves.steps).map(|(at, step)| *at as i64 * step).sum::<i64>());
            advance(&mut at, &block.len);
        }
        values
    }
    /// An integer polynomial: affine part and factors times operands.
    pub(super) fn polynomial(&mut self, id: NodeId, affine: &Affine, factors: &[i64]) {
        let node = &self.program.nodes[id];
        let moves = self.moves(affine, node.context);
        let mut values = self.spell(&moves, node.context);
        if node.context == 0 {
            values = vec![moves.start];
        }
        let mut state = Vec::new();
        for (arg, factor) in node.args.iter().zip(factors) {
            let more = self.ints(*arg);
            for (at, value) in values.iter_mut().enumerate() {
                *value = value.wrapping_add(super::machine::pick(more, at).wrapping_mul(*factor));
            }
            if !self.cells[*arg].state.is_empty() {
                state.resize(values.len(), PRESENT);
                for (at, own) in state.iter_mut().enumerate() {
                    *own = weaker(*own, self.state(*arg, at));
                }
            }
        }
        let cell = &mut self.cells[id];
        (cell.lane, cell.state, cell.view) = (Lane::I(values), state, None);
    }
    /// A read of `tensor` over the node's block.
    pub(super) fn read(&mut self, id: NodeId, tensor: TensorId, subs: &[Sub], beyond: Beyond) -> Step {
        let value =
            self.tensors[tensor.index()].clone().ok_or_else(|| format!("{tensor} is read before it is defined"))?;
        let context = self.program.nodes[id].context;
        let strides = strides(&value.shape);
        if self.straight(id, tensor, &value, subs, &strides, context) || self.indirect(id, &value, subs, &strides) {
            return Ok(());
        }
        self.careful(id, tensor, &value, subs, beyond);
        Ok(())
    }
    /// Reads an affine block that lies in range; `false` if it is not that.
    fn straight(
        &mut self,
        id: NodeId,
        tensor: TensorId,
        value: &Arc<Value>,
        subs: &[Sub],
        strides: &[usize],
        context: usize,
    ) -> bool {
        let mut start = 0_i64;
        let mut steps = vec![0_i64; self.blocks[context].len.len()];
        for ((sub, size), stride) in subs.iter().zip(&value.shape).zip(strides) {
            let Sub::Affine(affine) = sub else { return false };
            let moves = self.moves(affine, context);
            if moves.low < 0 || moves.high >= *size as i64 {
                return false;
            }
            start += moves.start * *stride as i64;
            steps.iter_mut().zip(&moves.steps).for_each(|(total, step)| *total += step * *stride as i64);
        }
        if value.state.is_some() {
            return false;
        }
        let block = &self.blocks[context];
        let (start, count) = (start as usize, block.count);
        let mut contiguous = 1_i64;
        let mut dense = true;
        for (len, step) in block.len.iter().zip(&steps).rev() {
            dense &= *len == 1 || *step == contiguous;
            contiguous *= *len as i64;
        }
        if dense && matches!(value.data, Data::F64(_)) {
            let cell = &mut self.cells[id];
            cell.view = Some((tensor, start, count));
            cell.state.clear();
            return true;
        }
        let offsets = Offsets { start, steps: &steps, len: &block.len, count };
        let lane = gather(&value.data, &offsets, self.program.nodes[id].dtype);
        let cell = &mut self.cells[id];
        (cell.lane, cell.view) = (lane, None);
        cell.state.clear();
        true
    }
    /// Reads at computed subscripts that lie in range; `false` if it is not that. Where they point, relative to a start that
    /// moves with the loops around, is computed once.
    fn indirect(&mut self, id: NodeId, value: &Value, subs: &[Sub], strides: &[usize]) -> bool {
        let node = &self.program.nodes[id];
        if value.state.is_some() || node.context == 0 || node.args.iter().any(|arg| !self.cells[*arg].state.is_empty())
        {
            return false;
        }
        let newest = node.args.iter().map(|arg| self.cells[*arg].tick).max().unwrap_or(0);
        let made = newest.max(self.blocks[node.context].tick);
        let mut start = 0_i64;
        for ((sub, size), stride) in subs.iter().zip(&value.shape).zip(strides) {
            let Sub::Affine(affine) = sub else { continue };
            let moves = self.moves(affine, node.context);
            if moves.low < 0 || moves.high >= *size as i64 {
                return false;
            }
            start += moves.start * *stride as i64;
        }
        let mut places = std::mem::take(&mut self.cells[id].places);
        if places.made != made {
            places = Places { made, offsets: self.places(id, value, subs, strides) };
        }
        let Some(offsets) = &places.offsets else {
            self.cells[id].places = places;
            return false;
        };
        let lane = gather_at(&value.data, start, offsets, node.dtype);
        let cell = &mut self.cells[id];
        (cell.lane, cell.view, cell.places) = (lane, None, places);
        cell.state.clear();
        true
    }
    /// Where each element of a block lies, relative to where its affine subscripts start; `None` if one is out of range.
    fn places(&self, id: NodeId, value: &Value, subs: &[Sub], strides: &[usize]) -> Option<Vec<i64>> {
        let node = &self.program.nodes[id];
        let mut offsets = vec![0_i64; self.count(node.context)];
        for ((sub, size), stride) in subs.iter().zip(&value.shape).zip(strides) {
            let stride = *stride as i64;
            match sub {
                Sub::Affine(affine) => {
                    let moves = self.moves(affine, node.context);
                    let spelled = self.spell(&moves, node.context);
                    offsets.iter_mut().zip(spelled).for_each(|(to, at)| *to += (at - moves.start) * stride);
                }
                Sub::Node(arg) => {
                    let values = self.ints(node.args[*arg]);
                    let inside = 0..*size as i64;
                    for (at, to) in offsets.iter_mut().enumerate() {
                        let place = super::machine::pick(values, at);
                        if !inside.contains(&place) {
                            return None;
                        }
                        *to += place * stride;
                    }
                }
            }
        }
        Some(offsets)
    }
    /// Reads element by element: clamps, leaves out or breaks what is out of range.
    fn careful(&mut self, id: NodeId, tensor: TensorId, value: &Arc<Value>, subs: &[Sub], beyond: Beyond) {
        let program = self.program;
        let node = &program.nodes[id];
        let count = self.count(node.context);
        let mut offsets = vec![0_usize; count];
        let mut broken = None;
        let mut state = vec![PRESENT; count];
        for (dim, (sub, size)) in subs.iter().zip(&value.shape).enumerate() {
            let size = *size;
            let spelled: Vec<i64>;
            let (values, arg) = match sub {
                Sub::Affine(affine) => {
                    let moves = self.moves(affine, node.context);
                    spelled = if node.context == 0 { vec![moves.start] } else { self.spell(&moves, node.context) };
                    (spelled.as_slice(), None)
                }
                Sub::Node(arg) => (self.ints(node.args[*arg]), Some(node.args[*arg])),
            };
            for at in 0..count {
                let wanted = super::machine::pick(values, at);
                let inside = usize::try_from(wanted).ok().filter(|w| *w < size);
                let own = arg.map_or(PRESENT, |arg| self.state(arg, at));
                state[at] = weaker(state[at], own);
                if own == PRESENT && inside.is_none() {
                    state[at] = match beyond {
                        Beyond::Absent => ABSENT,
                        Beyond::Clamped if size > 0 => state[at],
                        _ => weaker(state[at], BROKEN),
                    };
                    if state[at] == BROKEN && broken.is_none() {
                        let name = &self.function.tensors[tensor].name;
                        broken = Some(format!("`{name}` is read at {wanted} along dimension {dim} of size {size}"));
                    }
                }
                let clamped = inside.unwrap_or(if wanted < 0 { 0 } else { size.saturating_sub(1) });
                offsets[at] = offsets[at] * size + clamped;
            }
        }
        self.broken = self.broken.take().or(broken);
        let empty = value.is_empty();
        if let Some(states) = &value.state {
            state.iter_mut().zip(&offsets).filter(|_| !empty).for_each(|(own, at)| *own = weaker(*own, states[*at]));
        }
        let lane = pick_all(&value.data, &offsets, node.dtype, empty);
        if state.iter().all(|s| *s == PRESENT) {
            state.clear();
        }
        let cell = &mut self.cells[id];
        (cell.lane, cell.state, cell.view) = (lane, state, None);
    }
}

/// The state of a strict operation on two operands.
fn weaker(a: u8, b: u8) -> u8 {
    match (a, b) {
        (ABSENT, _) | (_, ABSENT) => ABSENT,
        (BROKEN, _) | (_, BROKEN) => BROKEN,
        _ => PRESENT,
    }
}

/// Row-major strides.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim];
    }
    strides
}

struct Offsets<'a> {
    start: usize,
    steps: &'a [i64],
    len: &'a [usize],
    count: usize,
}

impl Offsets<'_> {
    /// Calls `row` with the first offset of each run along the last axis, its step and its length.
    fn for_each_run(&self, mut row: impl FnMut(usize, i64, usize)) {
        if self.count == 0 {
            return;
        }
        let Some((len, outer)) = self.len.split_last() else {
            row(self.start, 0, 1);
            return;
        };
        let mut at = vec![0_usize; outer.len()];
        loop {
            let offset: i64 = at.iter().zip(self.steps).map(|(at, step)| *at as i64 * step).sum();
            row((self.start as i64 + offset) as usize, self.steps[outer.len()], *len);
            if !advance(&mut at, outer) {
                return;
            }
        }
    }
}

/// Appends the floats at `(start, steps, lengths)`, widened.
pub(super) fn floats_into(data: &Data, (start, steps, len): (usize, &[i64], &[usize]), out: &mut Vec<f64>) {
    fn copy<T: Copy>(from: &[T], offsets: &Offsets<'_>, out: &mut Vec<f64>, widen: impl Fn(T) -> f64) {
        offsets.for_each_run(|start, step, len| {
            if step == 1 {
                out.extend(from[start..start + len].iter().map(|x| widen(*x)));
            } else {
                out.extend((0..len as i64).map(|at| widen(from[(start as i64 + at * step) as usize])));
            }
        });
    }
    let offsets = Offsets { start, steps, len, count: len.iter().product() };
    match data {
        Data::F64(v) => copy(v, &offsets, out, |x| x),
        Data::F32(v) => copy(v, &offsets, out, f64::from),
        Data::F16(v) => copy(v, &offsets, out, |x| half::f16::from_bits(x).to_f64()),
        Data::BF16(v) => copy(v, &offsets, out, |x| half::bf16::from_bits(x).to_f64()),
        other => offsets.for_each_run(|start, step, len| {
            out.extend((0..len as i64).map(|at| other.float((start as i64 + at * step) as usize)));
        }),
    }
}

/// Copies strided elements, widened to the lane of `dtype`.
fn gather(data: &Data, offsets: &Offsets<'_>, dtype: crate::dtype::DType) -> Lane {
    fn copy<T: Copy, U>(from: &[T], offsets: &Offsets<'_>, widen: impl Fn(T) -> U) -> Vec<U> {
        let mut out = Vec::with_capacity(offsets.count);
        offsets.for_each_run(|start, step, len| {
            if step == 1 {
                out.extend(from[start..start + len].iter().map(|x| widen(*x)));
            } else {
                out.extend((0..len as i64).map(|at| widen(from[(start as i64 + at * step) as usize])));
            }
        });
        out
    }
    match (Lane::of(dtype), data) {
        (Lane::F(_), Data::F64(v)) => Lane::F(copy(v, offsets, |x| x)),
        (Lane::F(_), Data::F32(v)) => Lane::F(copy(v, offsets, f64::from)),
        (Lane::F(_), Data::F16(v)) => Lane::F(copy(v, offsets, |x| half::f16::from_bits(x).to_f64())),
        (Lane::F(_), Data::BF16(v)) => Lane::F(copy(v, offsets, |x| f64::from(f32::from_bits(u32::from(x) << 16)))),
        (Lane::I(_), Data::I64(v)) => Lane::I(copy(v, offsets, |x| x)),
        (Lane::I(_), Data::I32(v)) => Lane::I(copy(v, offsets, i64::from)),
        (Lane::I(_), Data::I8(v)) => Lane::I(copy(v, offsets, i64::from)),
        (Lane::I(_), Data::U8(v)) => Lane::I(copy(v, offsets, i64::from)),
        (Lane::B(_), Data::Bool(v)) => Lane::B(copy(v, offsets, |x| x)),
        (lane, _) => {
            let mut at = Vec::with_capacity(offsets.count);
            offsets.for_each_run(|start, step, len| {
                at.extend((0..len as i64).map(|i| (start as i64 + i * step) as usize));
            });
            drop(lane);
            pick_all(data, &at, dtype, false)
        }
    }
}

/// The elements at `offsets` from `start`, widened to the lane of `dtype`.
fn gather_at(data: &Data, start: i64, offsets: &[i64], dtype: crate::dtype::DType) -> Lane {
    fn copy<T: Copy, U>(from: &[T], start: i64, offsets: &[i64], widen: impl Fn(T) -> U) -> Vec<U> {
        offsets.iter().map(|at| widen(from[(start + at) as usize])).collect()
    }
    match (Lane::of(dtype), data) {
        (Lane::F(_), Data::F64(v)) => Lane::F(copy(v, start, offsets, |x| x)),
        (Lane::F(_), Data::F32(v)) => Lane::F(copy(v, start, offsets, f64::from)),
        (Lane::F(_), Data::F16(v)) => Lane::F(copy(v, start, offsets, |x| half::f16::from_bits(x).to_f64())),
        (Lane::I(_), Data::I8(v)) => Lane::I(copy(v, start, offsets, i64::from)),
        (Lane::I(_), Data::U8(v)) => Lane::I(copy(v, start, offsets, i64::from)),
        _ => {
            let offsets: Vec<usize> = offsets.iter().map(|at| (start + at) as usize).collect();
            pick_all(data, &offsets, dtype, false)
        }
    }
}

/// The elements at `offsets`, widened to the lane of `dtype`; zeros if there are none at all.
fn pick_all(data: &Data, offsets: &[usize], dtype: crate::dtype::DType, empty: bool) -> Lane {
    match Lane::of(dtype) {
        Lane::F(_) => Lane::F(offsets.iter().map(|at| if empty { 0.0 } else { data.float(*at) }).collect()),
        Lane::I(_) => Lane::I(offsets.iter().map(|at| if empty { 0 } else { data.int(*at) }).collect()),
        Lane::B(_) => Lane::B(offsets.iter().map(|at| !empty && data.int(*at) != 0).collect()),
    }
}
