//! Conversions between elements, in groups of registers that change their number.

use cranelift_codegen::ir::{self, InstBuilder, types};
use sawmill_simd::vir::{Elem, Op, Type, Val};

use super::lanes::{clif, count};
use super::{Emitter, Regs};

impl Emitter<'_, '_> {
    pub(super) fn convert(&mut self, op: Op, value: Val, to: Type) -> Regs {
        let from = self.ty(value);
        let regs = self.regs(value);
        match op {
            Op::Sext => self.widen_value(value, to.elem, true),
            Op::Zext => self.widen_value(value, to.elem, false),
            Op::Narrow => self.narrow(&regs, from, to.elem),
            Op::FromBool | Op::MaskBits => self.bool_to_int(op, &regs, to),
            Op::FromF16 | Op::FromBf16 => {
                let wide = self.widen_value(value, Elem::I32, true);
                wide.into_iter().map(|bits| self.float_from_half(op, bits)).collect()
            }
            Op::ToF16 | Op::ToBf16 => {
                let wide: Regs = regs.into_iter().map(|reg| self.half_from_float(op, reg)).collect();
                self.narrow(&wide, from.with_elem(Elem::I32), Elem::I16)
            }
            Op::FloatCast if !to.is_scalar() => self.cast_floats(&regs, to),
            _ if !to.is_scalar() && (from.elem.bits(), to.elem.bits()) != (32, 32) => {
                self.lane_by_lane(from, to.elem, &[&regs], |e, lane| e.convert_reg(op, lane[0], to.with_lanes(1)))
            }
            _ => regs.into_iter().map(|reg| self.convert_reg(op, reg, to)).collect(),
        }
    }

    /// Between numbers of as many lanes in one register.
    fn convert_reg(&mut self, op: Op, reg: ir::Value, to: Type) -> ir::Value {
        let clif = clif(to);
        let ins = self.b.ins();
        match op {
            Op::SintToFloat => ins.fcvt_from_sint(clif, reg),
            Op::UintToFloat => ins.fcvt_from_uint(clif, reg),
            Op::FloatToSint => ins.fcvt_to_sint_sat(clif, reg),
            Op::FloatToUint => ins.fcvt_to_uint_sat(clif, reg),
            _ if to.elem == Elem::F64 => ins.fpromote(clif, reg),
            _ => ins.fdemote(clif, reg),
        }
    }

    fn cast_floats(&mut self, regs: &[ir::Value], to: Type) -> Regs {
        if to.elem == Elem::F64 {
            let half = |e: &mut Self, i: usize| match i % 2 {
                0 => regs[i / 2],
                _ => e.permute(regs[i / 2], regs[i / 2], &[2, 3, 0, 1], Elem::F32),
            };
            let halves: Regs = (0..count(to)).map(|i| half(self, i)).collect();
            return halves.into_iter().map(|half| self.b.ins().fvpromote_low(half)).collect();
        }
        let halves: Regs = regs.iter().map(|reg| self.b.ins().fvdemote(*reg)).collect();
        let join = |e: &mut Self, pair: &[ir::Value]| match pair {
            [low, high] => e.permute(*low, *high, &[0, 1, 4, 5], Elem::F32),
            _ => pair[0],
        };
        halves.chunks(2).map(|pair| join(self, pair)).collect()
    }

    fn bool_to_int(&mut self, op: Op, regs: &[ir::Value], to: Type) -> Regs {
        if to.is_scalar() {
            let wide = if to.elem == Elem::I8 { regs[0] } else { self.b.ins().uextend(clif(to), regs[0]) };
            return vec![if op == Op::FromBool { wide } else { self.b.ins().ineg(wide) }];
        }
        let mask = self.mask_for(regs, to);
        if op == Op::MaskBits {
            return mask;
        }
        let one = self.constant(to, 1);
        mask.into_iter().map(|reg| self.b.ins().band(reg, one)).collect()
    }

    /// Sign or zero extension of an integer value; loads it now if that has waited.
    fn widen_value(&mut self, value: Val, to: Elem, signed: bool) -> Regs {
        let from = self.ty(value);
        match self.waiting.get(&value).copied() {
            Some(place) => {
                let wider = self.load_extended(place, from, signed);
                self.widen(&wider, from.with_elem(double(from.elem)), to, signed)
            }
            None => {
                let regs = self.regs(value);
                self.widen(&regs, from, to, signed)
            }
        }
    }

    /// Sign or zero extension of integers.
    pub(super) fn widen(&mut self, regs: &[ir::Value], from: Type, to: Elem, signed: bool) -> Regs {
        if from.is_scalar() {
            let wide = clif(Type::scalar(to));
            let ins = self.b.ins();
            return vec![if signed { ins.sextend(wide, regs[0]) } else { ins.uextend(wide, regs[0]) }];
        }
        let (mut regs, mut elem) = (regs.to_vec(), from.elem);
        while elem.bits() < to.bits() {
            elem = double(elem);
            let need = count(from.with_elem(elem));
            let half = |e: &mut Self, i: usize| {
                let reg = regs[i / 2];
                match (i % 2, signed) {
                    (0, true) => e.b.ins().swiden_low(reg),
                    (0, false) => e.b.ins().uwiden_low(reg),
                    (_, true) => e.b.ins().swiden_high(reg),
                    (_, false) => e.interleave_high_with_zero(reg, elem),
                }
            };
            let wide: Regs = (0..need).map(|i| half(self, i)).collect();
            regs = wide;
        }
        regs
    }

    /// The zero extension of the high half to `elem`. (Cranelift's own makes a zero for each.)
    fn interleave_high_with_zero(&mut self, reg: ir::Value, elem: Elem) -> ir::Value {
        let narrow = self.b.func.dfg.value_type(reg);
        let zero = self.zero();
        let zero = self.cast(zero, narrow);
        let lanes = narrow.lane_count() as usize;
        let interleaved: Vec<usize> = (lanes / 2..lanes).flat_map(|lane| [lane, lanes + lane]).collect();
        let narrow_elem = if lanes == 16 {
            Elem::I8
        } else if lanes == 8 {
            Elem::I16
        } else {
            Elem::I32
        };
        let wide = self.permute(reg, zero, &interleaved, narrow_elem);
        self.cast(wide, clif(Type::vector(elem, 2)))
    }

    /// The low bits of integers, in a narrower element.
    pub(super) fn narrow(&mut self, regs: &[ir::Value], from: Type, to: Elem) -> Regs {
        if from.is_scalar() {
            return vec![self.b.ins().ireduce(clif(Type::scalar(to)), regs[0])];
        }
        let (mut regs, mut from) = (regs.to_vec(), from);
        if from.elem == Elem::I64 {
            let join = |e: &mut Self, pair: &[ir::Value]| {
                let high = pair.get(1).copied().unwrap_or(pair[0]);
                let (low, high) = (e.cast(pair[0], types::I32X4), e.cast(high, types::I32X4));
                e.permute(low, high, &[0, 2, 4, 6], Elem::I32)
            };
            let joined: Regs = regs.chunks(2).map(|pair| join(self, pair)).collect();
            (regs, from) = (joined, from.with_elem(Elem::I32));
        }
        if from.elem == to {
            return regs;
        }
        // The machine saturates when it narrows: clears the bits that would make it.
        let keep = self.constant(from, (1 << to.bits()) - 1);
        let low: Regs = regs.into_iter().map(|reg| self.b.ins().band(reg, keep)).collect();
        self.pack(&low, from.elem, to, |e, a, b| e.b.ins().unarrow(a, b))
    }

    /// Narrows with signed saturation, which keeps lanes of all ones or zeros as they are.
    pub(super) fn narrow_saturating(&mut self, regs: &[ir::Value], from: Type, to: Elem) -> Regs {
        self.pack(regs, from.elem, to, |e, a, b| e.b.ins().snarrow(a, b))
    }

    fn pack(
        &mut self,
        regs: &[ir::Value],
        from: Elem,
        to: Elem,
        step: impl Fn(&mut Self, ir::Value, ir::Value) -> ir::Value,
    ) -> Regs {
        let (mut regs, mut bits) = (regs.to_vec(), from.bits());
        while bits > to.bits() {
            let narrow: Regs =
                regs.chunks(2).map(|pair| step(self, pair[0], pair.get(1).copied().unwrap_or(pair[0]))).collect();
            (regs, bits) = (narrow, bits / 2);
        }
        regs
    }
}

fn double(elem: Elem) -> Elem {
    match elem {
        Elem::I8 => Elem::I16,
        Elem::I16 => Elem::I32,
        _ => Elem::I64,
    }
}
