//! Contractions and reductions, in register blocks.
//!
//! In: an `mma` or a `reduce`. Out: loops over blocks of results whose accumulators stay in registers while the summed axes
//! run. Vertical: the lane axis is an axis of the result, and a block is several rows (read as broadcasts) by several vectors.
//! Horizontal: lanes run along a summed axis, a block is several rows, and lanes are combined once at the end. Operands are
//! evaluated at points, so what is not kept (unpacking, scaling, masks) happens in registers between load and use.
//! Block shapes follow Goto and van de Geijn's register blocking: enough accumulators to hide the latency of a multiply-add
//! twice over, and no more than the registers hold.

use super::Lower;
use super::factor::Factored;
use super::layout::{Buffer, Place, Point, Pos};
use super::nest::{Axis, UNROLLED, lanes_within};
use super::plan::unit_axis;
use super::view::TileInMemory;
use crate::vir::{Elem, Type, Val};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ReduceOp;
use sawmill_ir::tile::{AxisId, Inst, Op, Value};

/// Multiply-adds in flight that keep both units busy.
const IN_FLIGHT: u32 = 8;
/// Rows of a block whose row is two vectors: twelve sums in flight. With two steps' operands, which code generators that order
/// instructions anew may all load first, they fit 32 registers.
const MOST_ROWS: i64 = 6;

/// What is combined.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Products of two values, and what they are added to.
    Product { a: Value, b: Value, acc: Option<Value> },
    /// Values.
    Fold { op: ReduceOp, x: Value },
    /// Values with their positions along an axis.
    Best { op: ReduceOp, x: Value, axis: AxisId },
}

/// A contraction with its blocking.
pub(super) struct Sum<'a> {
    pub(super) kind: Kind,
    result: Value,
    /// The summed type.
    pub(super) dtype: DType,
    /// Result axes looped over one by one.
    outer: Vec<AxisId>,
    /// A result axis of which a block holds several positions.
    pub(super) rows: Option<(AxisId, i64)>,
    /// The result axis in lanes, lanes per vector and vectors per block.
    pub(super) vectors: Option<(AxisId, u8, i64)>,
    /// Summed axes, outermost first; the last may be in lanes.
    pub(super) over: Vec<Axis>,
    /// Steps of the innermost summed axis per turn of its loop.
    unroll: i64,
    roots: &'a [Value],
    /// How the product is taken apart.
    pub(super) factored: Option<Factored>,
    /// Whether lanes are pairs of bf16 numbers.
    pub(super) pairs: bool,
}

impl<'a> Sum<'a> {
    /// Something else combined over the same axes.
    pub(super) fn of(&self, kind: Kind) -> Sum<'a> {
        Sum { kind, outer: Vec::new(), over: self.over.clone(), factored: None, ..*self }
    }
    /// The lanes along a summed axis.
    fn horizontal(&self) -> u8 {
        self.over.last().map_or(1, |axis| axis.lanes)
    }
    /// Lanes of an accumulator.
    pub(super) fn width(&self) -> u8 {
        let lanes = self.vectors.map_or(self.horizontal(), |(_, lanes, _)| lanes);
        if self.pairs { lanes / 2 } else { lanes }
    }
    /// From which position of a step's order on the factor that a row repeats is read for each vector anew: in the last row of a
    /// block of several. Sharing it costs a copy of a register and a shuffle, which takes its turn with multiply-adds; reading
    /// costs a load, of which two in each cycle are free. One row evens them out.
    fn read_again(&self, order: &[usize]) -> usize {
        let per_row = self.vectors.map_or(1, |(_, lanes, count)| {
            let rows = self.rows.map_or(1, |(_, rows)| rows);
            if rows > 2 && lanes > 1 { usize::try_from(count).unwrap_or(1) } else { 0 }
        });
        if per_row < 2 || order.len() <= per_row { order.len() } else { order.len() - per_row }
    }
}

impl Lower<'_> {
    /// Emits a contraction or reduction.
    pub(super) fn contract(&mut self, inst: &Inst) {
        let (kind, over, roots) = match &inst.op {
            Op::Mma { over } => {
                let kind = Kind::Product { a: inst.args[0], b: inst.args[1], acc: inst.args.get(2).copied() };
                (kind, over, &inst.args[..2])
            }
            Op::Reduce { op: op @ (ReduceOp::ArgMax | ReduceOp::ArgMin), over } => {
                (Kind::Best { op: *op, x: inst.args[0], axis: over[0] }, over, &inst.args[..1])
            }
            Op::Reduce { op, over } => (Kind::Fold { op: *op, x: inst.args[0] }, over, &inst.args[..1]),
            _ => return self.defect("a contraction of what is none".to_owned()),
        };
        let mut sum = self.blocking(inst, kind, over, roots);
        let result = sum.result;
        let by_row = self.pending_by_row(&sum);
        sum.factored = self.factored(&sum);
        self.pair_up(&mut sum);
        if self.axes(result).is_empty() {
            let totals = self.block(&sum, &[Point::default()]);
            return self.set_place(result, Place::Scalar(totals[0]));
        }
        let buffer = self.buffer_of(result);
        let outer: Vec<Axis> = sum.outer.iter().map(|axis| Axis { axis: *axis, lanes: 1 }).collect();
        self.nest(&outer, &Point::default(), sum.roots, &mut |s, point| {
            s.row_blocks(&sum, point, &mut |s, rows| {
                for (value, tile, buffer) in &by_row {
                    s.keep_tile(*value, tile, buffer, &rows[0]);
                }
                s.vector_blocks(&sum, rows, &mut |s, block| {
                    let totals = s.block(&sum, block);
                    for (at, total) in block.iter().zip(totals) {
                        s.write_buffer(&buffer, at, total);
                    }
                });
            });
        });
        self.set_place(result, Place::Buffer(buffer));
    }

    /// Loads that wait for this contraction: those that have its row axis, if a block is one row, are kept row by row, right
    /// before they are read, so that memory is read at an even pace. The others are kept now.
    fn pending_by_row(&mut self, sum: &Sum<'_>) -> Vec<(Value, TileInMemory, Buffer)> {
        let mut pending = Vec::new();
        sum.roots.iter().for_each(|root| self.pending_under(*root, &mut pending));
        let mut by_row = Vec::new();
        for value in pending {
            let Some(inst) = self.plan.def(value) else { continue };
            let row = sum.rows.filter(|(axis, rows)| *rows == 1 && self.axes(value).contains(axis));
            let Some((row, _)) = row else {
                self.keep_load(inst);
                continue;
            };
            let axes: Vec<AxisId> = self.axes(value).iter().copied().filter(|a| *a != row).collect();
            let buffer = self.buffer_over(value, &axes);
            by_row.push((value, self.tile_in_memory(inst), buffer));
        }
        by_row
    }
    fn pending_under(&self, value: Value, found: &mut Vec<Value>) {
        match self.place(value) {
            Some(Place::Pending) if !found.contains(&value) => found.push(value),
            Some(Place::Fused) => {
                let args = self.plan.def(value).map_or(&[][..], |inst| &inst.args);
                args.iter().for_each(|arg| self.pending_under(*arg, found));
            }
            _ => {}
        }
    }

    /// Chooses lanes, rows and vectors of a block.
    fn blocking<'a>(&self, inst: &'a Inst, kind: Kind, over: &[AxisId], roots: &'a [Value]) -> Sum<'a> {
        let result = inst.results[0];
        let out = self.axes(result).to_vec();
        let dtype = self.dtype(inst.args[0]);
        let all = [over, &out].concat();
        let lane = self.plan.lane(self.kernel, &all);
        let horizontal = lane.is_some_and(|l| over.contains(&l));
        let wide = if dtype.bits() == 64 || matches!(kind, Kind::Best { .. }) { self.lanes / 2 } else { self.lanes };
        let registers_per = |lanes: u8| u32::from(lanes.div_ceil(wide)).max(1);
        let best = matches!(kind, Kind::Best { .. });
        let mut over: Vec<Axis> = self.summed(roots, over, lane);
        let mut left: Vec<AxisId> = out.iter().copied().filter(|a| Some(*a) != lane).collect();
        let row = if best { None } else { self.row_axis(&left, lane, roots) };
        left.retain(|a| Some(*a) != row);
        let mut vectors = None;
        let mut rows = 1;
        if horizontal {
            let alone = row.is_none();
            let wanted = self.lanes_wanted(roots).max(if alone && !best { self.most_lanes() } else { self.lanes });
            if let Some(last) = over.last_mut() {
                last.lanes = lanes_within(self.extent(last.axis), wanted);
                // Values that are unpacked between load and use take a register per vector each.
                let busy = if wanted >= self.most_lanes() { 2 } else { 1 };
                rows = i64::from((IN_FLIGHT / registers_per(last.lanes) / busy).max(1));
            }
        } else if let Some(lane) = lane {
            let lanes = lanes_within(self.extent(lane), wide);
            let count = if row.is_some() { 2 } else { i64::from(IN_FLIGHT) };
            let count = if best { 1 } else { count };
            vectors = Some((lane, lanes, count));
            rows = self.most_rows();
        } else {
            rows = 4;
        }
        let summed = self.extent(over.last().map_or(lane.unwrap_or(all[0]), |a| a.axis));
        // At a turn's end every accumulator must be back in its register, which costs moves and, with the registers full,
        // spills: long sums turn rarely, unless registers are left over.
        let unroll = match summed {
            _ if horizontal => 1,
            ..4 => 1,
            4..16 => 2,
            _ if self.has_spare_registers() => 2,
            16..32 => 4,
            _ => 8,
        };
        Sum {
            kind,
            result,
            dtype,
            outer: self.plan.ordered(&left),
            rows: row.map(|a| (a, rows)),
            vectors,
            over,
            unroll,
            roots,
            factored: None,
            pairs: false,
        }
    }
    /// Rows of two vectors whose sums leave two vectors, a broadcast operand and a copy of it in registers, and one register for
    /// moves.
    fn most_rows(&self) -> i64 {
        i64::from((self.registers - 5) / 2).min(MOST_ROWS)
    }
    /// Whether the largest block leaves registers unused.
    fn has_spare_registers(&self) -> bool {
        i64::from((self.registers - 5) / 2) > MOST_ROWS
    }
    /// The longest result axis that an operand lacks: a block of it shares that operand's elements.
    fn row_axis(&self, left: &[AxisId], lane: Option<AxisId>, roots: &[Value]) -> Option<AxisId> {
        let shared = |axis: AxisId| {
            roots.iter().any(|v| !self.axes(*v).contains(&axis) && lane.is_none_or(|l| self.axes(*v).contains(&l)))
        };
        let long = left.iter().copied().filter(|a| self.extent(*a) > 1);
        long.max_by_key(|a| (shared(*a), self.extent(*a)))
    }
    /// The summed axes: the lane axis or the one that memory runs along innermost, and around it those short enough to be
    /// written out, so that what does not change along them is shared.
    fn summed(&self, roots: &[Value], over: &[AxisId], lane: Option<AxisId>) -> Vec<Axis> {
        let unit = roots.iter().filter_map(|v| self.plan.def(*v)).find_map(|inst| unit_axis(self.kernel, inst));
        let inner = lane.filter(|l| over.contains(l)).or(unit.filter(|u| over.contains(u)));
        let mut axes: Vec<AxisId> = self.plan.ordered(over);
        axes.sort_by_key(|a| self.extent(*a) <= UNROLLED);
        if let Some(inner) = inner {
            axes.retain(|a| *a != inner);
            axes.push(inner);
        }
        axes.into_iter().map(|axis| Axis { axis, lanes: 1 }).collect()
    }

    /// Loops over blocks of rows; the body gets a point per row. Rows are outside of vectors: a few rows stay in the
    /// first-level cache while the vectors of the other operand pass by.
    fn row_blocks(&mut self, sum: &Sum<'_>, point: &Point, body: &mut dyn FnMut(&mut Self, &[Point])) {
        let Some((axis, rows)) = sum.rows else { return body(self, std::slice::from_ref(point)) };
        let block = |start: Pos, count: i64| -> Vec<Point> {
            (0..count).map(|row| point.with(axis, start.plus(row))).collect()
        };
        let extent = self.extent(axis);
        let whole = extent / rows * rows;
        if whole > rows {
            self.turns(whole, rows, point, sum.roots, &mut |s, at| body(s, &block(Pos::at(at), rows)));
        } else if whole > 0 {
            body(self, &block(Pos::fixed(0), rows));
        }
        if whole < extent {
            body(self, &block(Pos::fixed(whole), extent - whole));
        }
    }
    /// Loops over blocks of vectors; the body gets a point per row and vector.
    fn vector_blocks(&mut self, sum: &Sum<'_>, rows: &[Point], body: &mut dyn FnMut(&mut Self, &[Point])) {
        let Some((axis, lanes, count)) = sum.vectors else { return body(self, rows) };
        let extent = self.extent(axis);
        let step = i64::from(lanes) * count;
        let block = |start: Pos, length: i64| -> Vec<Point> {
            let mut points = Vec::new();
            for row in rows {
                for at in (0..length).step_by(usize::from(lanes)) {
                    let valid = (length - at).min(i64::from(lanes));
                    let valid = u8::try_from(valid).expect("invariant: at most as many lanes as a vector has");
                    points.push(row.with(axis, start.plus(at).in_lanes(lanes, valid)));
                }
            }
            points
        };
        let whole = extent / step * step;
        if whole > step {
            for row in rows {
                sum.roots.iter().for_each(|root| self.hoist(*root, row));
            }
            self.turns(whole, step, &rows[0], sum.roots, &mut |s, at| body(s, &block(Pos::at(at), step)));
        } else if whole > 0 {
            body(self, &block(Pos::fixed(0), step));
        }
        if whole < extent {
            body(self, &block(Pos::fixed(whole), extent - whole));
        }
    }

    /// The results at the points of one block.
    fn block(&mut self, sum: &Sum<'_>, block: &[Point]) -> Vec<Val> {
        let start = self.start(sum, block);
        let totals = self.sum_loops(sum, &sum.over, block, &Point::default(), start);
        if sum.horizontal() == 1 {
            return match sum.kind {
                Kind::Best { .. } => vec![totals[1]],
                _ => totals,
            };
        }
        match sum.kind {
            Kind::Product { acc, .. } => {
                let mut results = Vec::new();
                for (at, total) in block.iter().zip(totals) {
                    let mut result = self.horizontal(ReduceOp::Sum, sum.dtype, total);
                    if let Some(acc) = acc {
                        let before = self.eval(acc, at);
                        result = self.b.add(before, result);
                    }
                    results.push(result);
                }
                results
            }
            Kind::Fold { op, .. } => totals.into_iter().map(|t| self.horizontal(op, sum.dtype, t)).collect(),
            Kind::Best { op, .. } => vec![self.best_lane(op, sum.dtype, totals[0], totals[1])],
        }
    }

    /// Initial accumulators.
    fn start(&mut self, sum: &Sum<'_>, block: &[Point]) -> Vec<Val> {
        let lanes = sum.width();
        if sum.factored.is_some() {
            return self.factored_start(sum);
        }
        match sum.kind {
            Kind::Product { acc: Some(acc), .. } if sum.horizontal() == 1 => {
                block.iter().map(|at| self.eval_lanes(acc, at, lanes)).collect()
            }
            Kind::Product { .. } => {
                let zero = self.identity(ReduceOp::Sum, sum.dtype, lanes);
                vec![zero; block.len()]
            }
            Kind::Fold { op, .. } => {
                let identity = self.identity(op, sum.dtype, lanes);
                vec![identity; block.len()]
            }
            Kind::Best { op, .. } => {
                let worst = self.identity(op, sum.dtype, lanes);
                let ty = Type::vector(Elem::I64, lanes);
                let first = if sum.horizontal() > 1 { self.b.iota(ty) } else { self.b.int(ty, 0) };
                vec![worst, first]
            }
        }
    }

    /// Loops over the summed axes; accumulators are carried in registers.
    pub(super) fn sum_loops(
        &mut self,
        sum: &Sum<'_>,
        axes: &[Axis],
        block: &[Point],
        summed: &Point,
        accs: Vec<Val>,
    ) -> Vec<Val> {
        if let Some(factored) = sum.factored.filter(|f| f.inner == axes.len()) {
            return self.factored_step((sum, factored), axes, block, summed, &accs);
        }
        let Some((first, rest)) = axes.split_first() else { return self.step(sum, block, summed, accs) };
        let extent = self.extent(first.axis);
        let lanes = i64::from(first.lanes);
        let unroll = if rest.is_empty() { sum.unroll } else { self.unrolled_outside(rest) };
        let stride = lanes * unroll;
        let mut whole = extent / stride * stride;
        let mut accs = accs;
        if whole <= 2 * lanes {
            whole = 0;
        } else {
            for at in block {
                sum.roots.iter().for_each(|root| self.hoist_with(*root, at, summed));
            }
            let (zero, end) = (self.b.i64(0), self.b.i64(whole));
            let (at, carried) = self.b.begin_for(zero, end, stride, &accs);
            self.open_scope();
            let mut next = carried;
            for turn in 0..unroll {
                let pos = Pos::at(at).plus(turn * lanes).in_lanes(first.lanes, first.lanes);
                next = self.sum_loops(sum, rest, block, &summed.with(first.axis, pos), next);
            }
            self.close_scope();
            accs = self.b.end_for(&next);
        }
        let mut at = whole;
        while at < extent {
            let valid =
                u8::try_from((extent - at).min(lanes)).expect("invariant: at most as many lanes as a vector has");
            let pos = Pos::fixed(at).in_lanes(first.lanes, valid);
            accs = self.sum_loops(sum, rest, block, &summed.with(first.axis, pos), accs);
            at += lanes;
        }
        accs
    }
    /// Steps per turn of a loop around `inner` axes: more than one where those are written out, for the loop's own work and
    /// its addresses are then a large part.
    fn unrolled_outside(&self, inner: &[Axis]) -> i64 {
        let written_out = |axis: &Axis| self.extent(axis.axis) <= UNROLLED * i64::from(axis.lanes);
        if inner.iter().all(written_out) { UNROLLED } else { 1 }
    }
    fn hoist_with(&mut self, root: Value, at: &Point, summed: &Point) {
        let mut point = at.clone();
        for (axis, pos) in summed.iter() {
            point = point.with(axis, pos);
        }
        self.hoist(root, &point);
    }

    /// Combines one element (or vector of them) into every accumulator of a block.
    fn step(&mut self, sum: &Sum<'_>, block: &[Point], summed: &Point, accs: Vec<Val>) -> Vec<Val> {
        let lanes = sum.width();
        let tail = summed.iter().find(|(_, pos)| pos.count < pos.lanes).map(|(_, pos)| pos.count);
        // What is beyond the end of pairs is 0 already.
        let valid = tail.filter(|_| !sum.pairs).map(|count| self.valid_lanes(lanes, count));
        let mut next = accs.clone();
        // Every other step goes through the rows backwards. On machines whose multiply-add overwrites a factor, sums move on
        // by a register in each step; this way they come back.
        let backwards = summed.iter().last().is_some_and(|(_, pos)| pos.offset / i64::from(pos.lanes) % 2 == 1);
        let order: Vec<usize> = if backwards { (0..block.len()).rev().collect() } else { (0..block.len()).collect() };
        let again = sum.read_again(&order);
        for (turn, position) in order.into_iter().enumerate() {
            let mut point = block[position].clone();
            for (axis, pos) in summed.iter() {
                point = point.with(axis, pos);
            }
            match sum.kind {
                Kind::Product { a, b, .. } if sum.pairs => {
                    next[position] = self.pair_product((a, b), &point, accs[position]);
                }
                Kind::Product { a, b, .. } => {
                    next[position] = self.product(sum, (a, b), &point, accs[position], turn >= again);
                }
                Kind::Fold { op, x } => {
                    let x = self.eval_lanes(x, &point, lanes);
                    next[position] = self.combine(op, sum.dtype, accs[position], x);
                }
                Kind::Best { op, x, axis } => {
                    let x = self.eval_lanes(x, &point, lanes);
                    let (value, place) = (accs[0], accs[1]);
                    let better = match op {
                        ReduceOp::ArgMax => self.less(sum.dtype, value, x),
                        _ => self.less(sum.dtype, x, value),
                    };
                    let here = self.place_along(axis, &point, lanes);
                    next = vec![self.b.select(better, x, value), self.b.select(better, here, place)];
                }
            }
        }
        match valid {
            Some(valid) => next.into_iter().zip(accs).map(|(new, old)| self.b.select(valid, new, old)).collect(),
            None => next,
        }
    }
    /// a * b + acc at a point; a factor that is one scalar for all lanes comes first, see `step`, and is read `again` although
    /// the vector before had it.
    fn product(&mut self, sum: &Sum<'_>, (a, b): (Value, Value), point: &Point, acc: Val, again: bool) -> Val {
        let lanes = sum.width();
        let vector = |s: &Self, v: Value| point.lanes_of(s.axes(v)).is_some();
        let (first, second) = if vector(self, a) && !vector(self, b) { (b, a) } else { (a, b) };
        self.contracting = true;
        let fresh = if again && !vector(self, first) { self.read_afresh(first, point) } else { None };
        let first = match fresh {
            Some(scalar) => self.b.splat(scalar, lanes),
            None => self.eval_lanes(first, point, lanes),
        };
        let second = self.eval_lanes(second, point, lanes);
        self.contracting = false;
        self.multiply_add(sum.dtype, first, second, acc)
    }
    /// Positions along an axis as i64.
    fn place_along(&mut self, axis: AxisId, point: &Point, lanes: u8) -> Val {
        let Some(pos) = point.get(axis) else { return self.b.i64(0) };
        let first = self.position(pos);
        let along = self.along_lanes(first, pos.lanes, 1);
        self.widen(along, lanes)
    }
    /// The best lane; the lower position of equals.
    fn best_lane(&mut self, op: ReduceOp, dtype: DType, values: Val, places: Val) -> Val {
        let (mut value, mut place) = (self.b.extract(values, 0), self.b.extract(places, 0));
        for lane in 1..self.b.ty(values).lanes {
            let (other, there) = (self.b.extract(values, lane), self.b.extract(places, lane));
            let better = match op {
                ReduceOp::ArgMax => self.less(dtype, value, other),
                _ => self.less(dtype, other, value),
            };
            let equal = self.b.eq(value, other);
            let earlier = self.b.lt(there, place);
            let tie = self.b.and(equal, earlier);
            let take = self.b.or(better, tie);
            value = self.b.select(take, other, value);
            place = self.b.select(take, there, place);
        }
        place
    }
}
