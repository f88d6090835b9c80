//! Floating-point operations on one register or scalar, and comparisons of all elements.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{self, InstBuilder, types};
use sawmill_simd::vir::{Elem, Op, Type, Val};

use super::{Emitter, Regs};

impl Emitter<'_, '_> {
    pub(super) fn float_unary(&mut self, op: Op, a: ir::Value) -> ir::Value {
        let ins = self.b.ins();
        match op {
            Op::Neg => ins.fneg(a),
            Op::Abs => ins.fabs(a),
            Op::Sqrt => ins.sqrt(a),
            Op::Floor => ins.floor(a),
            Op::Ceil => ins.ceil(a),
            Op::Round => ins.nearest(a),
            Op::Trunc => ins.trunc(a),
            _ => unreachable!("invariant: the verifier refuses `{}` of floats", op.mnemonic()),
        }
    }

    pub(super) fn float_binary(&mut self, op: Op, a: ir::Value, b: ir::Value) -> ir::Value {
        match op {
            Op::Add => self.b.ins().fadd(a, b),
            Op::Sub => self.b.ins().fsub(a, b),
            Op::Mul => self.b.ins().fmul(a, b),
            Op::Div => self.b.ins().fdiv(a, b),
            Op::Min => self.float_extreme(a, b, (a, b)),
            Op::Max => self.float_extreme(a, b, (b, a)),
            _ => unreachable!("invariant: the verifier refuses `{}` of floats", op.mnemonic()),
        }
    }

    /// `a` if it is NaN, else `a` if `less.0 < less.1`, else `b`. On x86-64 the inner choice is one instruction.
    fn float_extreme(&mut self, a: ir::Value, b: ir::Value, less: (ir::Value, ir::Value)) -> ir::Value {
        let wins = self.b.ins().fcmp(FloatCC::LessThan, less.0, less.1);
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, a, a);
        if self.b.func.dfg.value_type(a).is_vector() {
            let chosen = self.blend(wins, a, b);
            return self.blend(is_nan, a, chosen);
        }
        let chosen = self.b.ins().select(wins, a, b);
        self.b.ins().select(is_nan, a, chosen)
    }

    /// The factors of a product in the order that needs fewest instructions, see the module of emission.
    pub(super) fn factors(&self, a: Val, b: Val) -> (Val, Val) {
        let spare = |value: Val| self.readers.one(value) && !self.readers.is_load(value);
        if spare(b) && !spare(a) { (b, a) } else { (a, b) }
    }

    pub(super) fn fma(&mut self, a: ir::Value, b: ir::Value, c: ir::Value) -> ir::Value {
        if self.fma {
            return self.b.ins().fma(a, b, c);
        }
        let product = self.b.ins().fmul(a, b);
        self.b.ins().fadd(product, c)
    }

    /// A comparison of scalars to a bool, or of vectors to a mask.
    pub(super) fn compare(&mut self, op: Op, ty: Type, left: &[ir::Value], right: &[ir::Value]) -> Regs {
        let one = |e: &mut Self, a, b| match ty.elem.is_float() {
            true => e.b.ins().fcmp(float_cc(op), a, b),
            false => e.b.ins().icmp(int_cc(op), a, b),
        };
        let regs: Regs = left.iter().zip(right).map(|(a, b)| one(self, *a, *b)).collect();
        if ty.is_scalar() { regs } else { self.mask_from(&regs, ty) }
    }

    /// A mask from lanes of all ones or zeros that are as wide as those of `ty`.
    fn mask_from(&mut self, regs: &[ir::Value], ty: Type) -> Regs {
        match ty.elem {
            Elem::I8 | Elem::I16 => self.widen(regs, ty, Elem::I32, true),
            Elem::I64 | Elem::F64 => {
                let regs: Regs = regs.iter().map(|reg| self.cast(*reg, types::I64X2)).collect();
                self.narrow(&regs, ty.with_elem(Elem::I64), Elem::I32)
            }
            _ => regs.iter().map(|reg| self.cast(*reg, types::I32X4)).collect(),
        }
    }

    /// The mask in lanes as wide as those of `ty`.
    pub(super) fn mask_for(&mut self, mask: &[ir::Value], ty: Type) -> Regs {
        let mask_ty = ty.with_elem(Elem::I32);
        match ty.elem {
            Elem::I8 | Elem::I16 => self.narrow_saturating(mask, mask_ty, ty.elem),
            Elem::I64 | Elem::F64 => self.widen(mask, mask_ty, Elem::I64, true),
            _ => mask.to_vec(),
        }
    }
}

fn float_cc(op: Op) -> FloatCC {
    match op {
        Op::Eq => FloatCC::Equal,
        Op::Ne => FloatCC::NotEqual,
        Op::Lt => FloatCC::LessThan,
        Op::Le => FloatCC::LessThanOrEqual,
        Op::Gt => FloatCC::GreaterThan,
        _ => FloatCC::GreaterThanOrEqual,
    }
}

fn int_cc(op: Op) -> IntCC {
    match op {
        Op::Eq => IntCC::Equal,
        Op::Ne => IntCC::NotEqual,
        Op::Lt => IntCC::SignedLessThan,
        Op::Le => IntCC::SignedLessThanOrEqual,
        Op::Gt => IntCC::SignedGreaterThan,
        Op::Ge => IntCC::SignedGreaterThanOrEqual,
        Op::Ult => IntCC::UnsignedLessThan,
        _ => IntCC::UnsignedLessThanOrEqual,
    }
}
