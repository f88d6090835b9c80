//! Reductions: in registers, then between lanes, then between warps through shared memory.
//!
//! In: a tile in a layout. Out: what is left, in the same layout less the axes that vanish: all threads that held a part have
//! the result. The order of combination is fixed, and the same in every thread that gets a copy.

use super::shared::{Home, bytes_of};
use super::{Lower, math::float};
use crate::inst::{Arg, Op, Reg, Word, at};
use crate::layout::{LANE_BITS, Layout};
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::tile::{AxisId, Inst};

/// What is combined: one value, or a value and its position.
pub(super) type Parts = Vec<(DType, Reg)>;

impl Lower<'_> {
    /// A primitive reduction.
    pub(super) fn reduce(&mut self, inst: &Inst, op: ReduceOp) {
        let operand = inst.args[0];
        let from = self.assigned.reduce_layout(operand);
        let kept = self.kernel.values[inst.results[0]].axes.clone();
        let gone: Vec<AxisId> =
            self.kernel.values[operand].axes.iter().copied().filter(|a| !kept.contains(a)).collect();
        let to = from.project(&kept);
        let (_, regs) = self.read(operand, &from);
        let dtype = self.dtype(operand);
        let mut parts: Vec<Option<Parts>> = vec![None; to.registers() as usize];
        for (register, reg) in (0_u32..).zip(regs) {
            let part = self.part(op, dtype, &from, &gone, register, reg);
            let Some(part) = part else { continue };
            let place = to.register_like(&from, register) as usize;
            parts[place] = Some(match parts[place].take() {
                Some(sum) => self.combine(op, &sum, &part),
                None => part,
            });
        }
        let nothing = self.nothing(op, dtype);
        let parts: Vec<Parts> = parts.into_iter().map(|p| p.unwrap_or_else(|| nothing.clone())).collect();
        let parts: Vec<Parts> = parts.into_iter().map(|p| self.across_lanes(op, &from, &gone, p)).collect();
        let parts = self.across_warps(op, &from, &gone, parts);
        let results: Vec<Reg> = parts.iter().map(|p| p.last().map_or(self.thread, |(_, reg)| *reg)).collect();
        self.define(inst.results[0], |s, layout| s.convert(s.dtype(inst.results[0]), &to, &results, layout));
    }

    /// What a register adds to the reduction; nothing if it lies past the end in every thread.
    fn part(
        &mut self,
        op: ReduceOp,
        dtype: DType,
        layout: &Layout,
        gone: &[AxisId],
        register: u32,
        reg: Reg,
    ) -> Option<Parts> {
        let within = self.within(layout, gone, register).ok()?;
        let mut part = vec![(dtype, reg)];
        if op.gives_position() {
            part = self.with_position(op, dtype, layout, gone[0], register, reg);
        }
        let Some(within) = within else { return Some(part) };
        let nothing = self.nothing(op, dtype);
        let select = |s: &mut Self, (ty, a): (DType, Reg), b: Reg| match ty {
            DType::Bool => s.c.select_truth(within, a, b),
            _ => s.c.select(ty, within, a, b),
        };
        Some(part.into_iter().zip(nothing).map(|(a, (_, b))| (a.0, select(self, a, b))).collect())
    }

    /// A value with its position. NaN never wins, except at the first position, where nothing beats it.
    fn with_position(
        &mut self,
        op: ReduceOp,
        dtype: DType,
        layout: &Layout,
        axis: AxisId,
        register: u32,
        reg: Reg,
    ) -> Parts {
        let here = i64::from(layout.register_part(axis, register));
        let position = match self.wide_part(layout, axis) {
            Some(part) => self.c.add(DType::I64, part, here),
            None => self.c.constant(DType::I64, here.into()),
        };
        let mut value = reg;
        if dtype.is_float() {
            let worst = if op == ReduceOp::ArgMax { f64::NEG_INFINITY } else { f64::INFINITY };
            let first = self.c.compare(Word::Eq, DType::I64, position, 0_i64);
            let of_nan = self.c.select(dtype, first, float(dtype, -worst), float(dtype, worst));
            let number = self.c.compare(Word::Num, dtype, reg, reg);
            value = self.c.select(dtype, number, reg, of_nan);
        }
        vec![(dtype, value), (DType::I64, position)]
    }

    /// What a reduction of nothing gives.
    fn nothing(&mut self, op: ReduceOp, dtype: DType) -> Parts {
        let value = match (op, dtype) {
            (_, DType::Bool) => self.c.truth(op == ReduceOp::All),
            _ => self.c.constant(dtype, identity(op, dtype)),
        };
        let mut parts = vec![(dtype, value)];
        if op.gives_position() {
            // Behind every position, so that it loses at equal values.
            parts.push((DType::I64, self.c.constant(DType::I64, i64::MAX.into())));
        }
        parts
    }

    fn combine(&mut self, op: ReduceOp, a: &Parts, b: &Parts) -> Parts {
        match (a.as_slice(), b.as_slice()) {
            ([(dtype, x)], [(_, y)]) => vec![(*dtype, self.apply(combined(op), *dtype, *dtype, &[*x, *y]))],
            ([(dtype, x), (_, i)], [(_, y), (_, j)]) => {
                let how = if op == ReduceOp::ArgMax { Word::Gt } else { Word::Lt };
                let better = self.c.compare(how, *dtype, *y, *x);
                let equal = self.c.compare(Word::Eq, *dtype, *y, *x);
                let nearer = self.c.compare(Word::Lt, DType::I64, *j, *i);
                let tie = self.c.and(equal, nearer);
                let wins = self.c.logic(Op::Or, DType::Bool, better, tie);
                let value = self.c.select(*dtype, wins, *y, *x);
                vec![(*dtype, value), (DType::I64, self.c.select(DType::I64, wins, *j, *i))]
            }
            _ => {
                self.bug("a reduction of other than one or two values");
                a.clone()
            }
        }
    }

    /// Combines over lanes that differ in a bit of a vanishing axis.
    pub(super) fn across_lanes(&mut self, op: ReduceOp, layout: &Layout, gone: &[AxisId], parts: Parts) -> Parts {
        let mut parts = parts;
        let lanes = layout.thread_bits().iter().take(LANE_BITS);
        let whole_warp = lanes.clone().all(|of| of.is_none_or(|b| gone.contains(&b.axis)));
        if let (true, [(DType::Bool, truth)]) = (whole_warp && lanes.clone().any(Option::is_some), parts.as_slice()) {
            let how = if op == ReduceOp::All { Word::All } else { Word::Any };
            let joined = self.c.b.op(Op::Vote, &[Word::Sync, how, Word::Pred], &[(*truth).into(), u32::MAX.into()]);
            return vec![(DType::Bool, joined)];
        }
        for (bit, of) in lanes.enumerate() {
            if !of.is_some_and(|b| gone.contains(&b.axis)) {
                continue;
            }
            let other: Parts = parts.iter().map(|(ty, reg)| (*ty, self.shuffled(*ty, *reg, 1 << bit))).collect();
            parts = self.combine(op, &parts, &other);
        }
        parts
    }
    /// The value of the lane whose number differs in `mask`.
    fn shuffled(&mut self, dtype: DType, reg: Reg, mask: u32) -> Reg {
        let halves = self.c.halves(dtype, reg);
        let words = [Word::Sync, Word::Bfly, Word::B32];
        let operands = |half: Reg| -> [Arg; 4] { [half.into(), mask.into(), 31_u32.into(), u32::MAX.into()] };
        let moved: Vec<Reg> = halves.into_iter().map(|h| self.c.b.op(Op::Shfl, &words, &operands(h))).collect();
        self.c.joined(dtype, &moved)
    }

    /// Combines over warps that differ in a bit of a vanishing axis: every thread writes its part and reads the others'.
    pub(super) fn across_warps(
        &mut self,
        op: ReduceOp,
        layout: &Layout,
        gone: &[AxisId],
        parts: Vec<Parts>,
    ) -> Vec<Parts> {
        let bits = (0_u32..).zip(layout.thread_bits()).skip(LANE_BITS);
        let gone: Vec<u32> =
            bits.filter(|(_, b)| b.is_some_and(|b| gone.contains(&b.axis))).map(|(at, _)| at).collect();
        if gone.is_empty() {
            return parts;
        }
        let mask: u32 = gone.iter().map(|bit| 1 << bit).sum();
        let kept = self.c.two(Op::And, &[Word::B32], self.thread, i64::from(!mask));
        let kinds: Vec<DType> = parts[0].iter().map(|(ty, _)| *ty).collect();
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let mut scratch = Vec::new();
        for (at, dtype) in kinds.iter().enumerate() {
            let bytes = (bytes_of(*dtype) * count) << self.thread_bits;
            let home =
                Home { range: self.room.take(bytes), dtype: *dtype, narrow: None, strides: Vec::new(), moving: None };
            self.before_write(home.range);
            let address = self.lane_address(*dtype, self.thread);
            for (number, part) in (0_u32..).zip(&parts) {
                let value = if *dtype == DType::Bool { self.c.of_truth(part[at].1) } else { part[at].1 };
                let offset = home.range.0 + (number << self.thread_bits) * bytes_of(*dtype);
                let place = at_bytes(address, offset);
                self.c.b.run(Op::St, &[Word::Shared, super::shared::moved(*dtype)], &[place, value.into()]);
            }
            scratch.push(home);
        }
        scratch.iter().for_each(|home| self.before_read(home.range));
        let addresses: Vec<Reg> = kinds.iter().map(|ty| self.lane_address(*ty, kept)).collect();
        let combined = (0..count)
            .map(|number| {
                let mut sum: Option<Parts> = None;
                for combination in 0_u32..1 << gone.len() {
                    let other = spread(combination, &gone);
                    let part: Parts = scratch
                        .iter()
                        .zip(&addresses)
                        .map(|(home, address)| {
                            (home.dtype, self.read_place(home, *address, (number << self.thread_bits) + other))
                        })
                        .collect();
                    sum = Some(match sum {
                        Some(sum) => self.combine(op, &sum, &part),
                        None => part,
                    });
                }
                sum.unwrap_or_default()
            })
            .collect();
        scratch.iter().for_each(|home| self.room.free(home.range));
        combined
    }
    fn lane_address(&mut self, dtype: DType, thread: Reg) -> Reg {
        let place = self.c.two(Op::Mul, &[Word::Lo, Word::U32], thread, bytes_of(dtype));
        self.c.add(DType::I32, self.memory.1, place)
    }
}

fn at_bytes(address: Reg, offset: u32) -> Arg {
    at(address, i32::try_from(offset).unwrap_or(i32::MAX))
}

/// The bits of `number` at the places `bits`.
fn spread(number: u32, bits: &[u32]) -> u32 {
    bits.iter().enumerate().map(|(at, bit)| (number >> at & 1) << bit).sum()
}

fn combined(op: ReduceOp) -> ElemOp {
    match op {
        ReduceOp::Prod => ElemOp::Mul,
        ReduceOp::Max => ElemOp::Max,
        ReduceOp::Min => ElemOp::Min,
        ReduceOp::Any => ElemOp::Or,
        ReduceOp::All => ElemOp::And,
        _ => ElemOp::Add,
    }
}

fn identity(op: ReduceOp, dtype: DType) -> Arg {
    let greatest = matches!(op, ReduceOp::Min | ReduceOp::ArgMin);
    match (op, dtype.kind()) {
        (ReduceOp::Prod, Kind::Float) => float(dtype, 1.0),
        (ReduceOp::Prod, _) => 1_i64.into(),
        (ReduceOp::Sum, Kind::Float) => float(dtype, 0.0),
        (ReduceOp::Sum, _) => 0_i64.into(),
        (_, Kind::Float) => float(dtype, if greatest { f64::INFINITY } else { f64::NEG_INFINITY }),
        _ => {
            let (least, most) = dtype.int_bounds().unwrap_or((0, 0));
            if greatest { most.into() } else { least.into() }
        }
    }
}
