//! f16 and bf16 in integer arithmetic, on scalars and registers alike.
//!
//! In: the sign-extended bits in 32-bit lanes, or an f32. Out: the f32, or the bits in 32-bit lanes. The formulas are those of the
//! interpreter (`f32_from_f16`, `f16_from_f32`, `bf16_from_f32`), lane by lane.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use sawmill_simd::vir::{Inst, Op};

use super::{Emitter, Regs, lanes};

impl Emitter<'_, '_> {
    pub(super) fn float_from_half(&mut self, op: Op, bits: ir::Value) -> ir::Value {
        let shape = self.b.func.dfg.value_type(bits);
        let float = if shape.is_vector() { types::F32X4 } else { types::F32 };
        if op == Op::FromBf16 {
            let moved = self.shift_left(bits, 16);
            return self.cast(moved, float);
        }
        // The sign comes down from the extension; the exponent is 112 too small, in subnormal numbers as well.
        let moved = self.shift_left(bits, 13);
        let moved = self.and(moved, 0x8fff_e000);
        let scale = self.int32(shape, 0x7780_0000);
        let (scale, small) = (self.cast(scale, float), self.cast(moved, float));
        let scaled = self.b.ins().fmul(small, scale);
        let scaled = self.cast(scaled, shape);
        let exponent = self.and(moved, 0x0f80_0000);
        let top = self.int32(shape, 0x0f80_0000);
        let is_top = self.b.ins().icmp(IntCC::Equal, exponent, top);
        let with_top = self.or(scaled, 0x7f80_0000);
        let value = self.choose(is_top, with_top, scaled);
        self.cast(value, float)
    }

    /// Pairs of bf16 numbers taken apart: the upper one of a pair is an f32 with other bits below, the lower one moves up.
    pub(super) fn dot_bf16(&mut self, inst: &Inst) -> Regs {
        let [a, b] = [0, 1].map(|at| self.regs(inst.args[at]));
        let term = |e: &mut Self, i: usize, upper: bool, sum: ir::Value| {
            let [a, b] = [a[i], b[i]].map(|pairs| {
                let pairs = e.cast(pairs, types::I32X4);
                let bits = if upper { e.and(pairs, 0xffff_0000) } else { e.shift_left(pairs, 16) };
                e.cast(bits, types::F32X4)
            });
            e.fma(a, b, sum)
        };
        let one = |e: &mut Self, i: usize| {
            let sum = e.reg(inst.args[2], i);
            let sum = term(e, i, true, sum);
            term(e, i, false, sum)
        };
        (0..lanes::count(self.ty(inst.results[0]))).map(|i| one(self, i)).collect()
    }

    pub(super) fn half_from_float(&mut self, op: Op, value: ir::Value) -> ir::Value {
        let float = self.b.func.dfg.value_type(value);
        let shape = if float.is_vector() { types::I32X4 } else { types::I32 };
        let bits = self.cast(value, shape);
        let high = self.shift_right(bits, 16);
        let sign = self.and(high, 0x8000);
        let magnitude = self.and(bits, 0x7fff_ffff);
        let is_nan = self.exceeds(magnitude, 0x7f80_0000);
        if op == Op::ToBf16 {
            let odd = self.and(high, 1);
            let rounded = self.add(bits, 0x7fff);
            let rounded = self.b.ins().iadd(rounded, odd);
            let rounded = self.shift_right(rounded, 16);
            let nan = self.or(sign, 0x7fc0);
            return self.choose(is_nan, nan, rounded);
        }
        let normal = self.normal_half(magnitude);
        let half = self.int32(shape, 0.5f32.to_bits());
        let half = self.cast(half, float);
        let small = self.cast(magnitude, float);
        let small = self.b.ins().fadd(small, half);
        let small = self.cast(small, shape);
        let small = self.add(small, 0.5f32.to_bits().wrapping_neg());
        let is_normal = self.exceeds(magnitude, 0x3880_0000 - 1);
        let finite = self.choose(is_normal, normal, small);
        let is_large = self.exceeds(magnitude, 0x4780_0000 - 1);
        let infinity = self.int32(shape, 0x7c00);
        let rounded = self.choose(is_large, infinity, finite);
        let nan = self.int32(shape, 0x7e00);
        let rounded = self.choose(is_nan, nan, rounded);
        self.b.ins().bor(rounded, sign)
    }

    /// Rebiases the exponent and rounds the fraction to even.
    fn normal_half(&mut self, magnitude: ir::Value) -> ir::Value {
        let odd = self.shift_right(magnitude, 13);
        let odd = self.and(odd, 1);
        let rounded = self.add(magnitude, 0xfffu32.wrapping_sub(0x3800_0000));
        let rounded = self.b.ins().iadd(rounded, odd);
        self.shift_right(rounded, 13)
    }

    fn constant_like(&mut self, a: ir::Value, bits: u32) -> ir::Value {
        let shape = self.b.func.dfg.value_type(a);
        self.int32(shape, bits)
    }

    fn and(&mut self, a: ir::Value, bits: u32) -> ir::Value {
        let b = self.constant_like(a, bits);
        self.b.ins().band(a, b)
    }

    fn or(&mut self, a: ir::Value, bits: u32) -> ir::Value {
        let b = self.constant_like(a, bits);
        self.b.ins().bor(a, b)
    }

    fn add(&mut self, a: ir::Value, bits: u32) -> ir::Value {
        let b = self.constant_like(a, bits);
        self.b.ins().iadd(a, b)
    }

    fn shift_left(&mut self, a: ir::Value, count: i64) -> ir::Value {
        self.b.ins().ishl_imm_s(a, count)
    }

    fn shift_right(&mut self, a: ir::Value, count: i64) -> ir::Value {
        self.b.ins().ushr_imm_s(a, count)
    }

    /// `a > limit` of numbers that are not negative.
    fn exceeds(&mut self, a: ir::Value, limit: u32) -> ir::Value {
        let limit = self.constant_like(a, limit);
        self.b.ins().icmp(IntCC::SignedGreaterThan, a, limit)
    }

    fn choose(&mut self, cond: ir::Value, a: ir::Value, b: ir::Value) -> ir::Value {
        match self.b.func.dfg.value_type(a).is_vector() {
            true => self.blend(cond, a, b),
            false => self.b.ins().select(cond, a, b),
        }
    }
}
