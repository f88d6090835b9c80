//! Elementwise operations, register by register.
//!
//! In: operands in one layout, those with fewer axes in what the layout leaves of them. Out: the result in that layout.
//! Elementary functions are [`super::math`]'s.

use super::code::{bits, power_of_two, word};
use super::math::{Expansion, float, from_bf16, from_f16, to_bf16, to_f16};
use super::{Held, Lower};
use crate::inst::{Op, Reg, Word};
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::elem::ElemOp;
use sawmill_ir::tile::{self, Inst};

impl Lower<'_> {
    /// An elementwise instruction.
    pub(super) fn elementwise(&mut self, inst: &Inst) {
        let result = inst.results[0];
        let known = self.known.get(&inst.args[0]).copied();
        if let (tile::Op::Elem(ElemOp::Select), Some(known)) = (&inst.op, known) {
            let chosen = inst.args[if known { 1 } else { 2 }];
            self.define(result, |s, layout| s.spread(chosen, layout));
            return;
        }
        self.define(result, |s, layout| {
            let operands: Vec<Held> = inst.args.iter().map(|v| s.read(*v, layout)).collect();
            let one = |register: u32| -> Vec<Reg> {
                operands.iter().map(|(l, regs)| regs[l.register_like(layout, register) as usize]).collect()
            };
            let mut regs: Vec<Reg> = Vec::new();
            let mut before: Vec<(Vec<Reg>, Reg)> = Vec::new();
            for register in 0..layout.registers() {
                let args = one(register);
                let same = before.iter().find(|(seen, _)| *seen == args).map(|(_, reg)| *reg);
                let reg = match same {
                    Some(reg) => reg,
                    None => s.element(inst, &args),
                };
                before.push((args, reg));
                regs.push(reg);
            }
            regs
        });
    }

    fn element(&mut self, inst: &Inst, args: &[Reg]) -> Reg {
        let from = self.dtype(inst.args[0]);
        match &inst.op {
            tile::Op::Fma => self.c.fma(from, args[0], args[1], args[2]),
            tile::Op::Cast(to) => self.cast(args[0], from, *to),
            tile::Op::Round(to) => self.round_through(args[0], from, *to),
            tile::Op::Elem(ElemOp::Exp) if from == DType::F32 && self.assigned.is_rounded(inst.args[0]) => {
                self.exp_of_rounded(args[0])
            }
            tile::Op::Elem(ElemOp::Div) if self.whole(inst).is_some() => {
                self.divide_known(from, args[0], self.whole(inst).unwrap_or(1)).0
            }
            tile::Op::Elem(ElemOp::Rem) if self.whole(inst).is_some() => {
                self.divide_known(from, args[0], self.whole(inst).unwrap_or(1)).1
            }
            tile::Op::Elem(op) => self.apply(*op, from, self.dtype(inst.results[0]), args),
            op => {
                self.bug(format!("`{}` is not elementwise", op.text()));
                args[0]
            }
        }
    }

    /// The divisor of a division of integers, if it is a known power of two.
    fn whole(&self, inst: &Inst) -> Option<i64> {
        let known = *self.numbers.get(inst.args.get(1)?)?;
        (power_of_two(known).is_some() && self.dtype(inst.args[0]).is_int()).then_some(known)
    }

    /// An operation on operands whose first has type `from`, with a result of type `to`.
    pub(super) fn apply(&mut self, op: ElemOp, from: DType, to: DType, args: &[Reg]) -> Reg {
        match (op, args) {
            (ElemOp::Add | ElemOp::Mul | ElemOp::And | ElemOp::Or, [first, rest @ ..]) => {
                rest.iter().fold(*first, |sum, arg| self.two(op, from, sum, *arg))
            }
            (ElemOp::Select, [c, a, b]) if to == DType::Bool => self.c.select_truth(*c, *a, *b),
            (ElemOp::Select, [c, a, b]) => self.c.select(to, *c, *a, *b),
            (_, [a, b]) => self.two(op, from, *a, *b),
            (_, [a]) => self.one(op, from, *a),
            _ => {
                self.bug(format!("`{op}` of {} operands", args.len()));
                self.thread
            }
        }
    }

    fn two(&mut self, op: ElemOp, dtype: DType, a: Reg, b: Reg) -> Reg {
        match op {
            ElemOp::Add => self.c.add(dtype, a, b),
            ElemOp::Mul => self.c.mul(dtype, a, b),
            ElemOp::Sub => self.c.sub(dtype, a, b),
            ElemOp::And | ElemOp::BitAnd => self.c.logic(Op::And, dtype, a, b),
            ElemOp::Or | ElemOp::BitOr => self.c.logic(Op::Or, dtype, a, b),
            ElemOp::BitXor => self.c.logic(Op::Xor, dtype, a, b),
            ElemOp::Div if dtype.is_float() => self.c.two(Op::Div, &[Word::Rn, word(dtype)], a, b),
            ElemOp::Div => self.c.divide(dtype, a, b).0,
            ElemOp::Rem if dtype.is_int() => self.c.divide(dtype, a, b).1,
            ElemOp::Min => self.c.extreme(Op::Min, dtype, a, b),
            ElemOp::Max => self.c.extreme(Op::Max, dtype, a, b),
            ElemOp::Shl | ElemOp::Shr => self.shift(op, dtype, a, b),
            ElemOp::Eq | ElemOp::Ne | ElemOp::Lt | ElemOp::Le | ElemOp::Gt | ElemOp::Ge => {
                self.compare(op, dtype, a, b)
            }
            _ => self.function(op, dtype, &[a, b]),
        }
    }

    fn compare(&mut self, op: ElemOp, dtype: DType, a: Reg, b: Reg) -> Reg {
        if dtype == DType::Bool {
            let (a, b) = (self.c.of_truth(a), self.c.of_truth(b));
            return self.compare(op, DType::U32, a, b);
        }
        let how = match op {
            ElemOp::Eq => Word::Eq,
            // True of NaN.
            ElemOp::Ne if dtype.is_float() => Word::Neu,
            ElemOp::Ne => Word::Ne,
            ElemOp::Lt => Word::Lt,
            ElemOp::Le => Word::Le,
            ElemOp::Gt => Word::Gt,
            _ => Word::Ge,
        };
        self.c.compare(how, dtype, a, b)
    }

    /// A shift by the width or more gives what shifting bit by bit would, by a negative count too.
    fn shift(&mut self, op: ElemOp, dtype: DType, a: Reg, by: Reg) -> Reg {
        let count = match dtype {
            DType::I64 => {
                // Counts that 32 bits do not hold are as good as the greatest.
                let low = self.c.two(Op::Min, &[Word::U64], by, i64::from(u32::MAX));
                self.c.convert(&[Word::U32, Word::U64], low)
            }
            _ => by,
        };
        match op {
            ElemOp::Shl => self.c.two(Op::Shl, &[bits(dtype)], a, count),
            _ => self.c.two(Op::Shr, &[word(dtype)], a, count),
        }
    }

    fn one(&mut self, op: ElemOp, dtype: DType, a: Reg) -> Reg {
        let ty = word(dtype);
        let unsigned = dtype.kind() == Kind::Unsigned;
        match op {
            ElemOp::Not => self.c.not(a),
            ElemOp::Neg => self.c.neg(dtype, a),
            ElemOp::Abs | ElemOp::Relu if unsigned => a,
            ElemOp::Abs => self.c.b.op(Op::Abs, &[ty], &[a.into()]),
            ElemOp::Relu if dtype.is_int() => self.c.two(Op::Max, &[ty], a, 0_i64),
            ElemOp::Sign if dtype.is_int() => {
                let high = self.c.two(Op::Min, &[ty], a, 1_i64);
                if unsigned { high } else { self.c.two(Op::Max, &[ty], high, -1_i64) }
            }
            ElemOp::Sqrt => self.c.b.op(Op::Sqrt, &[Word::Rn, ty], &[a.into()]),
            ElemOp::Recip => self.c.b.op(Op::Rcp, &[Word::Rn, ty], &[a.into()]),
            ElemOp::Floor => self.c.convert(&[Word::Rmi, ty, ty], a),
            ElemOp::Round => self.c.convert(&[Word::Rni, ty, ty], a),
            ElemOp::Popcount => self.c.b.op(Op::Popc, &[bits(dtype)], &[a.into()]),
            ElemOp::BitLength => self.bit_length(dtype, a),
            _ => self.function(op, dtype, &[a]),
        }
    }

    fn function(&mut self, op: ElemOp, dtype: DType, args: &[Reg]) -> Reg {
        if let Some(value) = self.approximate(op, dtype, args) {
            return value;
        }
        self.expand(Expansion::Function(op, dtype), args, || format!("`{op}` on {dtype}"))
    }
    fn expand(&mut self, what: Expansion, args: &[Reg], name: impl FnOnce() -> String) -> Reg {
        match self.expansions.emit(&mut self.c, what, args) {
            Some(reg) => reg,
            None => {
                self.unsupported(name());
                args[0]
            }
        }
    }

    /// To another computing type; floats to integers truncate and saturate, NaN to 0.
    pub(super) fn cast(&mut self, a: Reg, from: DType, to: DType) -> Reg {
        let (source, target) = (word(from), word(to));
        match (from.kind(), to.kind()) {
            _ if from == to => a,
            (Kind::Float, Kind::Float) if to == DType::F64 => self.c.convert(&[target, source], a),
            (Kind::Float, Kind::Float) => self.c.convert(&[Word::Rn, target, source], a),
            (Kind::Float, Kind::Bool) => self.c.compare(Word::Neu, from, a, float(from, 0.0)),
            (Kind::Float, _) => {
                let whole = self.c.convert(&[Word::Rzi, target, source], a);
                if to != DType::I64 {
                    return whole;
                }
                // The 64-bit conversion gives another number for NaN.
                let number = self.c.compare(Word::Num, from, a, a);
                self.c.select(to, number, whole, 0_i64)
            }
            (Kind::Bool, Kind::Float) => self.c.b.op(Op::Selp, &[target], &[float(to, 1.0), float(to, 0.0), a.into()]),
            (Kind::Bool, _) => self.c.b.op(Op::Selp, &[bits(to)], &[1_i64.into(), 0_i64.into(), a.into()]),
            (_, Kind::Float) => self.c.convert(&[Word::Rn, target, source], a),
            (_, Kind::Bool) => self.c.compare(Word::Ne, from, a, 0_i64),
            _ if from.bits() == to.bits() => a,
            _ => self.c.convert(&[target, source], a),
        }
    }

    /// Rounded to a storage type, then widened to the computing type it came from.
    fn round_through(&mut self, a: Reg, from: DType, to: DType) -> Reg {
        let computing = to.widened();
        let value = self.cast(a, from, computing);
        let stored = self.narrow(value, to);
        let wide = self.widened(stored, to);
        self.cast(wide, computing, from)
    }
    /// The bits that memory holds, in the low part of a 32-bit register; types of 32 bits and more stay as they are.
    pub(super) fn narrow(&mut self, a: Reg, to: DType) -> Reg {
        match to {
            DType::F16 => to_f16(&mut self.c, a),
            DType::BF16 => to_bf16(&mut self.c, a),
            DType::Bool => self.c.of_truth(a),
            _ if to.bits() >= 32 => a,
            DType::I8 | DType::U8 | DType::I16 | DType::U16 => a,
            _ => self.expand(Expansion::Narrow(to), &[a], || format!("rounding to {to}")),
        }
    }
    /// The value of bits of a storage type in the low part of a register.
    pub(super) fn widened(&mut self, a: Reg, from: DType) -> Reg {
        let unused = 32_u32.saturating_sub(from.bits());
        match from {
            DType::F16 => from_f16(&mut self.c, a),
            DType::BF16 => from_bf16(&mut self.c, a),
            DType::Bool => self.c.truth_of(a),
            DType::I8 | DType::I16 => {
                let up = self.c.two(Op::Shl, &[Word::B32], a, unused);
                self.c.two(Op::Shr, &[Word::S32], up, unused)
            }
            DType::U8 | DType::U16 => self.c.two(Op::And, &[Word::B32], a, (1_i64 << from.bits()) - 1),
            _ if from.bits() >= 32 => a,
            _ => self.expand(Expansion::Widen(from), &[a], || format!("reading {from}")),
        }
    }
}
