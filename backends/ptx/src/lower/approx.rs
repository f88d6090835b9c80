//! Elementary functions of f32 by the hardware's approximations.
//!
//! In: an operation on f32. Out: a few instructions, or nothing if the expansions of [`super::math`] are to be used. Bounds, with
//! those that the PTX ISA states for `ex2` (2 ulp and 2^-22), `rcp` and `rsqrt` (1 and 2 ulp): `exp`, `exp2`, `sigmoid` and `silu`
//! are within 2^-21 of the value, `tanh` within 2^-20; results below 2^-126 are 0. The exponential of a sum, difference or product,
//! which is the inner loop of streaming folds, is within 2^-22 + 2^-23 |x|: twice what rounding its argument costs.

use super::Lower;
use crate::inst::{Arg, Guard, Op, Reg, Word};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;

/// Largest number whose exponential is finite, rounded down.
const GREATEST: f32 = 88.722_83;
/// Up to here `tanh` is a polynomial: beyond, nothing cancels in 1 - 2 / (exp(2 x) + 1).
const CANCELS: f32 = 0.6;
/// (tanh(x) / x - 1) / x^2 as a polynomial in x^2, interpolated at Chebyshev's nodes over 0 to 0.36; the constant term first.
const TANH: [f32; 5] = [-0.333_333_3, 0.133_329_15, -0.053_873_95, 0.021_110_96, -0.006_269_119_7];

impl Lower<'_> {
    /// A function of an f32; `None` if it has no approximation that is good enough.
    pub(super) fn approximate(&mut self, op: ElemOp, dtype: DType, args: &[Reg]) -> Option<Reg> {
        let ([x], DType::F32) = (args, dtype) else { return None };
        Some(match op {
            ElemOp::Exp => self.exp(*x),
            ElemOp::Exp2 => self.rough(Op::Exp2, *x),
            ElemOp::Rsqrt => self.c.b.op(Op::Rsqrt, &[Word::Approx, Word::F32], &[(*x).into()]),
            ElemOp::Sigmoid => self.sigmoid(*x),
            ElemOp::Silu => {
                let share = self.sigmoid(*x);
                self.c.mul(DType::F32, *x, share)
            }
            ElemOp::Tanh => self.tanh(*x),
            _ => return None,
        })
    }

    fn rough(&mut self, op: Op, x: impl Into<Arg>) -> Reg {
        self.c.b.op(op, &[Word::Approx, Word::Ftz, Word::F32], &[x.into()])
    }

    /// With t = x log2(e), rounded, and r = x - t ln(2), exp(x) = 2^t exp(r), which is 2^t + r 2^t as r is that small. Where the
    /// result is 0, infinite or NaN there is no r.
    fn exp(&mut self, x: Reg) -> Reg {
        let power = self.c.mul(DType::F32, x, std::f32::consts::LOG2_E);
        let rest = self.c.fma(DType::F32, power, -std::f32::consts::LN_2, x);
        let value = self.rough(Op::Exp2, power);
        let magnitude = self.c.b.op(Op::Abs, &[Word::F32], &[x.into()]);
        let finite = self.c.compare(Word::Le, DType::F32, magnitude, GREATEST);
        self.c.b.under(Guard::when(finite), |b| {
            let operands = [value.into(), rest.into(), value.into()];
            b.assign(Op::Fma, &[Word::Rn, Word::F32], value, &operands);
        });
        value
    }

    /// The exponential of a number that arithmetic rounded: what rounding x log2(e) adds, 2^-24 |x| of the value, is what rounding x
    /// did already, so nothing is made good.
    pub(super) fn exp_of_rounded(&mut self, x: Reg) -> Reg {
        let power = self.c.mul(DType::F32, x, std::f32::consts::LOG2_E);
        self.rough(Op::Exp2, power)
    }

    fn sigmoid(&mut self, x: Reg) -> Reg {
        let opposite = self.c.neg(DType::F32, x);
        let e = self.exp(opposite);
        let sum = self.c.add(DType::F32, e, 1.0_f32);
        self.rough(Op::Rcp, sum)
    }

    fn tanh(&mut self, x: Reg) -> Reg {
        let magnitude = self.c.b.op(Op::Abs, &[Word::F32], &[x.into()]);
        let double = self.c.add(DType::F32, magnitude, magnitude);
        let e = self.exp(double);
        let sum = self.c.add(DType::F32, e, 1.0_f32);
        let part = self.rough(Op::Rcp, sum);
        let far = self.c.fma(DType::F32, part, -2.0_f32, 1.0_f32);
        let far = self.c.two(Op::Copysign, &[Word::F32], x, far);
        let square = self.c.mul(DType::F32, x, x);
        let mut sum = self.c.constant(DType::F32, TANH[4].into());
        for coefficient in TANH[..4].iter().rev() {
            sum = self.c.fma(DType::F32, sum, square, *coefficient);
        }
        let cube = self.c.mul(DType::F32, square, x);
        let near = self.c.fma(DType::F32, cube, sum, x);
        let cancels = self.c.compare(Word::Lt, DType::F32, magnitude, CANCELS);
        self.c.select(DType::F32, cancels, near, far)
    }
}
