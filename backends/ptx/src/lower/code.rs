//! Instructions by the element type of tile values.
//!
//! In: registers that hold elements of a computing type. Out: registers. Truth values are predicates. This is where the sign of
//! an integer type, which registers do not have, chooses an instruction.

use crate::inst::{Arg, Builder, Class, Guard, Op, Reg, Word};
use sawmill_ir::dtype::{DType, Kind};

/// The type word of a computing type.
pub(super) fn word(dtype: DType) -> Word {
    match dtype {
        DType::F64 => Word::F64,
        DType::I64 => Word::S64,
        DType::I32 => Word::S32,
        DType::U32 => Word::U32,
        DType::Bool => Word::Pred,
        _ => Word::F32,
    }
}

/// The untyped word of a computing type's width.
pub(super) fn bits(dtype: DType) -> Word {
    if dtype.bits() == 64 { Word::B64 } else { Word::B32 }
}

/// The class of registers that hold a computing type.
pub(super) fn class(dtype: DType) -> Class {
    word(dtype).classes(false)[0]
}

/// The builder with operations on typed elements.
pub(super) struct Code {
    pub(super) b: Builder,
}

impl Code {
    /// Two operands in, one out, all of a type.
    pub(super) fn two(&mut self, op: Op, words: &[Word], a: impl Into<Arg>, b: impl Into<Arg>) -> Reg {
        self.b.op(op, words, &[a.into(), b.into()])
    }
    fn one(&mut self, op: Op, words: &[Word], a: impl Into<Arg>) -> Reg {
        self.b.op(op, words, &[a.into()])
    }

    /// Sum; integers wrap.
    pub(super) fn add(&mut self, dtype: DType, a: impl Into<Arg>, b: impl Into<Arg>) -> Reg {
        self.two(Op::Add, rounding(dtype).as_slice(), a, b)
    }
    /// Difference; integers wrap.
    pub(super) fn sub(&mut self, dtype: DType, a: impl Into<Arg>, b: impl Into<Arg>) -> Reg {
        self.two(Op::Sub, rounding(dtype).as_slice(), a, b)
    }
    /// Product; integers wrap.
    pub(super) fn mul(&mut self, dtype: DType, a: impl Into<Arg>, b: impl Into<Arg>) -> Reg {
        let words = if dtype.is_float() { rounding(dtype) } else { vec![Word::Lo, word(dtype)] };
        self.two(Op::Mul, &words, a, b)
    }
    /// a * b + c; of floats rounded once.
    pub(super) fn fma(&mut self, dtype: DType, a: impl Into<Arg>, b: impl Into<Arg>, c: impl Into<Arg>) -> Reg {
        let (op, words) = multiply_add(dtype);
        self.b.op(op, &words, &[a.into(), b.into(), c.into()])
    }
    /// The same into a register, which may be the addend.
    pub(super) fn fma_into(&mut self, dtype: DType, dest: Reg, a: Reg, b: Reg, c: Reg) {
        let (op, words) = multiply_add(dtype);
        self.b.assign(op, &words, dest, &[a.into(), b.into(), c.into()]);
    }
    /// Negation.
    pub(super) fn neg(&mut self, dtype: DType, a: Reg) -> Reg {
        if dtype == DType::U32 { self.one(Op::Neg, &[Word::S32], a) } else { self.one(Op::Neg, &[word(dtype)], a) }
    }
    /// A bitwise operation, or a logical one on truth values.
    pub(super) fn logic(&mut self, op: Op, dtype: DType, a: impl Into<Arg>, b: impl Into<Arg>) -> Reg {
        let ty = if dtype == DType::Bool { Word::Pred } else { bits(dtype) };
        self.two(op, &[ty], a, b)
    }
    /// Both hold.
    pub(super) fn and(&mut self, a: Reg, b: Reg) -> Reg {
        self.logic(Op::And, DType::Bool, a, b)
    }
    /// Not.
    pub(super) fn not(&mut self, a: Reg) -> Reg {
        self.one(Op::Not, &[Word::Pred], a)
    }
    /// A comparison; `how` is one of PTX's words. With a NaN only those for unordered operands hold.
    pub(super) fn compare(&mut self, how: Word, dtype: DType, a: impl Into<Arg>, b: impl Into<Arg>) -> Reg {
        self.two(Op::Setp, &[how, word(dtype)], a, b)
    }
    /// `a` where `condition` holds, else `b`.
    pub(super) fn select(&mut self, dtype: DType, condition: Reg, a: impl Into<Arg>, b: impl Into<Arg>) -> Reg {
        let ty = if dtype.is_float() { word(dtype) } else { bits(dtype) };
        self.b.op(Op::Selp, &[ty], &[a.into(), b.into(), condition.into()])
    }
    /// The same on truth values.
    pub(super) fn select_truth(&mut self, condition: Reg, a: Reg, b: Reg) -> Reg {
        let yes = self.and(condition, a);
        let otherwise = self.not(condition);
        let no = self.and(otherwise, b);
        self.logic(Op::Or, DType::Bool, yes, no)
    }
    /// The smaller (`op` is `Min`) or larger (`Max`); NaN propagates.
    pub(super) fn extreme(&mut self, op: Op, dtype: DType, a: Reg, b: Reg) -> Reg {
        match dtype {
            DType::F32 => self.two(op, &[Word::Nan, Word::F32], a, b),
            DType::F64 => {
                // Without a NaN, or `a` is one, or `b` is.
                let chosen = self.two(op, &[Word::F64], a, b);
                let sum = self.add(DType::F64, a, b);
                let unordered = self.compare(Word::IsNan, DType::F64, a, b);
                self.select(DType::F64, unordered, sum, chosen)
            }
            _ => self.two(op, &[word(dtype)], a, b),
        }
    }
    /// A constant in a register.
    pub(super) fn constant(&mut self, dtype: DType, value: Arg) -> Reg {
        self.one(Op::Mov, &[if dtype.is_float() { word(dtype) } else { bits(dtype) }], value)
    }
    /// A truth value in a register.
    pub(super) fn truth(&mut self, value: bool) -> Reg {
        let zero = self.constant(DType::I32, 0_i64.into());
        self.compare(if value { Word::Eq } else { Word::Ne }, DType::I32, zero, 0_i64)
    }
    /// 1 where `condition` holds, else 0.
    pub(super) fn of_truth(&mut self, condition: Reg) -> Reg {
        self.b.op(Op::Selp, &[Word::B32], &[1_u32.into(), 0_u32.into(), condition.into()])
    }
    /// Whether a 32-bit number is not 0.
    pub(super) fn truth_of(&mut self, value: Reg) -> Reg {
        self.two(Op::Setp, &[Word::Ne, Word::B32], value, 0_u32)
    }
    /// Copies to a register that others write, too.
    pub(super) fn set(&mut self, dtype: DType, dest: Reg, value: impl Into<Arg>) {
        let ty = match dtype {
            DType::Bool => Word::Pred,
            _ if dtype.is_float() => word(dtype),
            _ => bits(dtype),
        };
        self.b.assign(Op::Mov, &[ty], dest, &[value.into()]);
    }
    /// The same bits as a register of another class.
    pub(super) fn reinterpret(&mut self, ty: Word, to: Class, value: Reg) -> Reg {
        let dest = self.b.reg(to);
        self.b.assign(Op::Mov, &[ty], dest, &[value.into()]);
        dest
    }
    /// Converts; `words` are rounding, target and source.
    pub(super) fn convert(&mut self, words: &[Word], value: Reg) -> Reg {
        self.one(Op::Cvt, words, value)
    }
    /// 32 bits of any element, for shuffles and shared memory; 64-bit ones have two halves.
    pub(super) fn halves(&mut self, dtype: DType, value: Reg) -> Vec<Reg> {
        match dtype {
            DType::Bool => vec![self.of_truth(value)],
            DType::F32 => vec![self.reinterpret(Word::B32, Class::B32, value)],
            _ if dtype.bits() == 64 => {
                let whole = if dtype == DType::F64 { self.reinterpret(Word::B64, Class::B64, value) } else { value };
                self.b.ops(Op::Unpack, &[Word::B64], &[whole.into()])
            }
            _ => vec![value],
        }
    }
    /// The element of which these are the halves.
    pub(super) fn joined(&mut self, dtype: DType, halves: &[Reg]) -> Reg {
        match (dtype, halves) {
            (DType::Bool, [one]) => self.truth_of(*one),
            (DType::F32, [one]) => self.reinterpret(Word::B32, Class::F32, *one),
            (_, [one]) => *one,
            _ => {
                let whole = self.b.op(Op::Pack, &[Word::B64], &[halves.to_vec().into()]);
                if dtype == DType::F64 { self.reinterpret(Word::B64, Class::F64, whole) } else { whole }
            }
        }
    }
    /// What `build` emits happens where `condition` holds; everywhere without one.
    pub(super) fn guarded(&mut self, condition: Option<Reg>, build: impl FnOnce(&mut Builder)) {
        match condition {
            Some(condition) => self.b.under(Guard::when(condition), build),
            None => build(&mut self.b),
        }
    }
    /// Euclidean quotient and remainder of `a` by `b`; by 0 they are 0 and `a`.
    pub(super) fn divide(&mut self, dtype: DType, a: Reg, b: Reg) -> (Reg, Reg) {
        let ty = word(dtype);
        let zero: Arg = 0_i64.into();
        let by_zero = self.compare(Word::Eq, dtype, b, zero.clone());
        let safe = self.select(dtype, by_zero, 1_i64, b);
        let mut quotient = self.two(Op::Div, &[ty], a, safe);
        let product = self.mul(dtype, quotient, safe);
        let mut rest = self.sub(dtype, a, product);
        if dtype.kind() == Kind::Signed {
            let below = self.compare(Word::Lt, dtype, rest, zero.clone());
            let positive = self.compare(Word::Gt, dtype, safe, zero.clone());
            let magnitude = self.b.op(Op::Abs, &[ty], &[safe.into()]);
            let step = self.select(dtype, positive, -1_i64, 1_i64);
            let step = self.select(dtype, below, step, 0_i64);
            let back = self.select(dtype, below, magnitude, 0_i64);
            quotient = self.add(dtype, quotient, step);
            rest = self.add(dtype, rest, back);
        }
        (self.select(dtype, by_zero, zero, quotient), self.select(dtype, by_zero, a, rest))
    }
}

/// The words of a sum: floats round to nearest.
fn rounding(dtype: DType) -> Vec<Word> {
    if dtype.is_float() { vec![Word::Rn, word(dtype)] } else { vec![word(dtype)] }
}

fn multiply_add(dtype: DType) -> (Op, Vec<Word>) {
    if dtype.is_float() { (Op::Fma, vec![Word::Rn, word(dtype)]) } else { (Op::Mad, vec![Word::Lo, word(dtype)]) }
}

/// The number of a power of two.
pub(super) fn power_of_two(value: i64) -> Option<u32> {
    (value > 0 && value & (value - 1) == 0).then(|| value.trailing_zeros())
}
