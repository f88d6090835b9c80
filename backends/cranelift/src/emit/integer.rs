//! Integer and logical operations, shifts and Euclidean division.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use sawmill_simd::vir::{Elem, Op, Type, Val};

use super::lanes::clif;
use super::{Emitter, Regs, Source};

impl Emitter<'_, '_> {
    pub(super) fn int_unary(&mut self, op: Op, elem: Elem, a: ir::Value) -> ir::Value {
        let is_vector = self.b.func.dfg.value_type(a).is_vector();
        let ins = self.b.ins();
        match op {
            Op::Neg => ins.ineg(a),
            Op::Abs => ins.iabs(a),
            Op::Not if elem == Elem::Bool && !is_vector => ins.bxor_imm_s(a, 1),
            Op::Not => ins.bnot(a),
            Op::Popcount => ins.popcnt(a),
            Op::Clz => ins.clz(a),
            _ => unreachable!("invariant: the verifier refuses `{}` of integers", op.mnemonic()),
        }
    }

    pub(super) fn int_binary(&mut self, op: Op, elem: Elem, a: ir::Value, b: ir::Value) -> ir::Value {
        let ty = self.b.func.dfg.value_type(a);
        match op {
            Op::Add => self.b.ins().iadd(a, b),
            Op::Sub => self.b.ins().isub(a, b),
            Op::Mul if ty == types::I8X16 => self.multiply_bytes(a, b),
            Op::Mul => self.b.ins().imul(a, b),
            Op::And => self.b.ins().band(a, b),
            Op::Or => self.b.ins().bor(a, b),
            Op::Xor => self.b.ins().bxor(a, b),
            Op::Min if ty == types::I64X2 => self.wide_extreme(IntCC::SignedLessThan, a, b),
            Op::Max if ty == types::I64X2 => self.wide_extreme(IntCC::SignedGreaterThan, a, b),
            Op::Min => self.b.ins().smin(a, b),
            Op::Max => self.b.ins().smax(a, b),
            _ => unreachable!("invariant: `{}` of {} has its own lowering", op.mnemonic(), elem.name()),
        }
    }

    fn wide_extreme(&mut self, cc: IntCC, a: ir::Value, b: ir::Value) -> ir::Value {
        let wins = self.b.ins().icmp(cc, a, b);
        self.b.ins().bitselect(wins, a, b)
    }

    /// There is no product of bytes: multiplies in 16 bits and keeps the low halves.
    fn multiply_bytes(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        let ty = Type::vector(Elem::I8, 16);
        let (a, b) = (self.widen(&[a], ty, Elem::I16, false), self.widen(&[b], ty, Elem::I16, false));
        let products: Regs = a.into_iter().zip(b).map(|(a, b)| self.b.ins().imul(a, b)).collect();
        self.narrow(&products, ty.with_elem(Elem::I16), Elem::I8)[0]
    }

    /// Shifts. The vector unit shifts all lanes by one count, which constants and splats have; others go lane by lane.
    pub(super) fn shift(&mut self, op: Op, value: Val, by: Val) -> Regs {
        let ty = self.ty(value);
        let (regs, counts) = (self.regs(value), self.regs(by));
        let shift = |e: &mut Self, a, count| match op {
            Op::Shl => e.b.ins().ishl(a, count),
            Op::Shr => e.b.ins().sshr(a, count),
            _ => e.b.ins().ushr(a, count),
        };
        let count = match (self.constant_of(by), self.sources[by.index()]) {
            (Some(count), _) => {
                let count = count.rem_euclid(i64::from(ty.elem.bits()));
                Some(self.b.ins().iconst(types::I32, count))
            }
            (None, Some(Source::Splat(scalar))) => Some(self.scalar(scalar)),
            _ => None,
        };
        match count {
            Some(count) => regs.into_iter().map(|reg| shift(self, reg, count)).collect(),
            None => self.lane_by_lane(ty, ty.elem, &[&regs, &counts], |e, lane| shift(e, lane[0], lane[1])),
        }
    }

    /// Euclidean quotient or remainder.
    pub(super) fn divide(&mut self, op: Op, a: Val, b: Val) -> Regs {
        let ty = self.ty(a);
        let (left, right) = (self.regs(a), self.regs(b));
        match self.constant_of(b) {
            Some(divisor) if divisor > 0 && divisor.count_ones() == 1 => {
                left.into_iter().map(|reg| self.divide_by_power(op, ty, reg, divisor)).collect()
            }
            Some(divisor) if divisor > 0 => self.lane_by_lane(ty, ty.elem, &[&left], |e, lane| {
                let divisor = e.constant(ty.with_lanes(1), divisor);
                e.divide_by_positive(op, lane[0], divisor)
            }),
            _ => self
                .lane_by_lane(ty, ty.elem, &[&left, &right], |e, lane| e.divide_scalars(op, ty.elem, lane[0], lane[1])),
        }
    }

    /// The Euclidean quotient by a power of two rounds down, as an arithmetic shift does.
    fn divide_by_power(&mut self, op: Op, ty: Type, a: ir::Value, divisor: i64) -> ir::Value {
        if op == Op::Div {
            let count = self.b.ins().iconst(types::I32, i64::from(divisor.trailing_zeros()));
            return self.b.ins().sshr(a, count);
        }
        let mask = self.constant(ty, divisor - 1);
        self.b.ins().band(a, mask)
    }

    fn divide_by_positive(&mut self, op: Op, a: ir::Value, divisor: ir::Value) -> ir::Value {
        let rest = self.b.ins().srem(a, divisor);
        let negative = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, rest, 0);
        if op == Op::Rem {
            let raised = self.b.ins().iadd(rest, divisor);
            return self.b.ins().select(negative, raised, rest);
        }
        let quotient = self.b.ins().sdiv(a, divisor);
        let lowered = self.b.ins().iadd_imm_s(quotient, -1);
        self.b.ins().select(negative, lowered, quotient)
    }

    /// By any scalar: the machine's division traps on 0 and on the least number by -1, so these divide by 1 instead.
    fn divide_scalars(&mut self, op: Op, elem: Elem, a: ir::Value, b: ir::Value) -> ir::Value {
        let ty = clif(Type::scalar(elem));
        let is_zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let minus_one = self.b.ins().iconst(ty, (-1i64).cast_unsigned().unbounded_shr(64 - ty.bits()).cast_signed());
        let is_minus_one = self.b.ins().icmp(IntCC::Equal, b, minus_one);
        let unsafe_divisor = self.b.ins().bor(is_zero, is_minus_one);
        let one = self.b.ins().iconst(ty, 1);
        let divisor = self.b.ins().select(unsafe_divisor, one, b);
        let rest = self.b.ins().srem(a, divisor);
        let negative = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, rest, 0);
        if op == Op::Rem {
            let size = self.b.ins().iabs(divisor);
            let raised = self.b.ins().iadd(rest, size);
            let rest = self.b.ins().select(negative, raised, rest);
            return self.b.ins().select(is_zero, a, rest);
        }
        let quotient = self.b.ins().sdiv(a, divisor);
        let is_positive = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, divisor, 0);
        let step = self.b.ins().select(is_positive, minus_one, one);
        let stepped = self.b.ins().iadd(quotient, step);
        let quotient = self.b.ins().select(negative, stepped, quotient);
        let opposite = self.b.ins().ineg(a);
        let quotient = self.b.ins().select(is_minus_one, opposite, quotient);
        let zero = self.b.ins().iconst(ty, 0);
        self.b.ins().select(is_zero, zero, quotient)
    }
}
