//! Elementary functions and small element types: VIR's expansions, one lane wide, instruction by instruction.
//!
//! In: a function that builds an expansion in VIR, and operands in registers. Out: the value in a register. The expansions of
//! `sawmill_simd::math` (with their stated bounds) and `sawmill_simd::small` are data here: VIR, built once per function and written
//! out again for every element; its branches and loops are each thread's own. An element of 8 or 16 bits lies in the low bits of a 32-bit register,
//! whatever is above.

use super::code::Code;
use crate::inst::{Arg, Class, Guard, Op, Reg, Word};
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_simd::vir::{self, Address, Builder, Elem, Function, Type, Val};
use sawmill_simd::{math, small};

/// What an expansion computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Expansion {
    /// An elementwise operation on floats of this type.
    Function(ElemOp, DType),
    /// Bits of a small type to its value.
    Widen(DType),
    /// A value to the bits of a small type.
    Narrow(DType),
}

/// Expansions that were built.
#[derive(Default)]
pub(super) struct Expansions {
    built: FxHashMap<Expansion, Option<Function>>,
}

fn elem(dtype: DType) -> Elem {
    match dtype {
        DType::F64 => Elem::F64,
        DType::I64 => Elem::I64,
        DType::Bool => Elem::Bool,
        _ if dtype.is_float() => Elem::F32,
        _ => Elem::I32,
    }
}

/// The expansion as a function that loads its operands from argument words and stores its value to the first.
fn build(what: Expansion, operands: usize) -> Option<Function> {
    let mut b = Builder::new("expansion");
    let from = match what {
        Expansion::Function(_, dtype) => elem(dtype),
        Expansion::Widen(_) => Elem::I8,
        Expansion::Narrow(dtype) => elem(dtype.widened()),
    };
    let args: Vec<Val> = (0_u32..).take(operands).map(|word| b.arg(word, Type::scalar(from))).collect();
    let value = match what {
        Expansion::Function(op, _) => math::call(&mut b, op, &args),
        Expansion::Widen(dtype) => small::widen(&mut b, args[0], dtype),
        Expansion::Narrow(dtype) => small::narrow(&mut b, args[0], dtype),
    }?;
    let out = Address::new(b.args());
    b.store(value, out);
    b.finish().ok()
}

impl Expansions {
    /// Writes out an expansion; `None` if there is none.
    pub(super) fn emit(&mut self, c: &mut Code, what: Expansion, operands: &[Reg]) -> Option<Reg> {
        let function = self.built.entry(what).or_insert_with(|| build(what, operands.len())).as_ref()?;
        let mut writer = Writer { c, function, operands, values: FxHashMap::default(), stored: None };
        writer.block(Function::ENTRY)?;
        writer.stored
    }
}

/// An expansion being written out.
struct Writer<'w> {
    c: &'w mut Code,
    function: &'w Function,
    operands: &'w [Reg],
    values: FxHashMap<Val, Reg>,
    /// What the expansion stores: its value.
    stored: Option<Reg>,
}

impl Writer<'_> {
    /// The instructions of a block.
    fn block(&mut self, id: vir::BlockId) -> Option<()> {
        let function = self.function;
        for id in &function.block(id).insts {
            let inst = function.inst(*id);
            match inst.op {
                vir::Op::Store => self.stored = Some(self.value(inst.args[0])?),
                vir::Op::Load => {
                    let word = usize::try_from(*inst.imms.get(1)? / 8).ok()?;
                    self.values.insert(*inst.results.first()?, *self.operands.get(word)?);
                }
                vir::Op::If => self.branch(inst)?,
                vir::Op::For => self.turns(inst)?,
                _ => {
                    let args = self.all(&inst.args)?;
                    let types: Vec<Elem> = inst.args.iter().map(|v| function.ty(*v).elem).collect();
                    let result = *inst.results.first()?;
                    let reg = one(self.c, inst, &args, &types, function.ty(result).elem)?;
                    self.values.insert(result, reg);
                }
            }
        }
        Some(())
    }

    fn value(&self, value: Val) -> Option<Reg> {
        self.values.get(&value).copied()
    }
    fn all(&self, values: &[Val]) -> Option<Vec<Reg>> {
        values.iter().map(|value| self.value(*value)).collect()
    }
    fn dtype(&self, value: Val) -> DType {
        held(self.function.ty(value).elem)
    }

    /// Registers of their own for values that several places assign.
    fn slots(&mut self, values: &[Val]) -> Vec<Reg> {
        let slots: Vec<Reg> = values.iter().map(|value| self.c.b.reg(super::code::class(self.dtype(*value)))).collect();
        self.values.extend(values.iter().copied().zip(slots.iter().copied()));
        slots
    }
    fn assign(&mut self, slots: &[Reg], values: &[Val]) -> Option<()> {
        for (slot, value) in slots.iter().zip(values) {
            let reg = self.value(*value)?;
            self.c.set(self.dtype(*value), *slot, reg);
        }
        Some(())
    }

    /// A branch, which the threads of a warp may take either way.
    fn branch(&mut self, inst: &vir::Inst) -> Option<()> {
        let [then, otherwise] = inst.blocks[..] else { return None };
        let condition = self.value(inst.args[0])?;
        let slots = self.slots(&inst.results);
        let [yes, no, joined] = ["rare", "usual", "both"].map(|name| self.c.b.block(name));
        self.c.b.branch(Guard::unless(condition), no);
        for (start, side) in [(yes, then), (no, otherwise)] {
            self.c.b.place(start);
            self.block(side)?;
            self.assign(&slots, &self.function.block(side).yields)?;
            if side == then {
                self.c.b.bra(joined);
            }
        }
        self.c.b.place(joined);
        Some(())
    }

    /// A loop of as many turns as each thread needs.
    fn turns(&mut self, inst: &vir::Inst) -> Option<()> {
        let [body] = inst.blocks[..] else { return None };
        let block = self.function.block(body);
        let [start, end] = [0, 1].map(|at| self.value(inst.args[at]));
        let slots = self.slots(&block.params);
        self.c.set(DType::I64, slots[0], start?);
        self.assign(&slots[1..], &inst.args[2..])?;
        let [head, inside, done] = ["again", "step", "over"].map(|name| self.c.b.block(name));
        self.c.b.place(head);
        let over = self.c.compare(Word::Ge, DType::I64, slots[0], end?);
        self.c.b.branch(Guard::when(over), done);
        self.c.b.place(inside);
        self.block(body)?;
        // A carry may go to another one's slot: all are read before one is written.
        let next = self.all(&block.yields)?;
        let types: Vec<DType> = block.yields.iter().map(|value| self.dtype(*value)).collect();
        let copies: Vec<Reg> = types.iter().map(|dtype| self.c.b.reg(super::code::class(*dtype))).collect();
        for ((dtype, copy), value) in types.iter().zip(&copies).zip(next) {
            self.c.set(*dtype, *copy, value);
        }
        for ((dtype, copy), slot) in types.iter().zip(copies).zip(&slots[1..]) {
            self.c.set(*dtype, *slot, copy);
        }
        self.c.b.assign(Op::Add, &[Word::S64], slots[0], &[slots[0].into(), (*inst.imms.first()?).into()]);
        self.c.b.bra(head);
        self.c.b.place(done);
        self.values.extend(inst.results.iter().copied().zip(slots[1..].iter().copied()));
        Some(())
    }
}

/// The computing type that holds an element of VIR; integers as signed ones.
fn held(elem: Elem) -> DType {
    match elem {
        Elem::Bool => DType::Bool,
        Elem::I8 | Elem::I16 | Elem::I32 => DType::I32,
        Elem::I64 => DType::I64,
        Elem::F32 => DType::F32,
        Elem::F64 => DType::F64,
    }
}

/// One instruction; `None` for what expansions do not use.
fn one(c: &mut Code, inst: &vir::Inst, args: &[Reg], types: &[Elem], to: Elem) -> Option<Reg> {
    use vir::Op as V;
    let from = types.first().copied().unwrap_or(to);
    let dtype = held(from);
    Some(match (inst.op, args) {
        (V::Const, []) => constant(c, to, *inst.imms.first()?),
        (V::Bitcast, [a]) => bitcast(c, from, to, *a),
        (V::Add, [a, b]) => c.add(dtype, *a, *b),
        (V::Sub, [a, b]) => c.sub(dtype, *a, *b),
        (V::Mul, [a, b]) => c.mul(dtype, *a, *b),
        (V::Div, [a, b]) if from.is_float() => c.two(Op::Div, &[Word::Rn, super::code::word(dtype)], *a, *b),
        (V::Rem, [a, b]) => c.divide(dtype, *a, *b).1,
        (V::Fma, [x, y, z]) => c.fma(dtype, *x, *y, *z),
        (V::Neg, [a]) => c.neg(dtype, *a),
        (V::Abs, [a]) => c.b.op(Op::Abs, &[super::code::word(dtype)], &[(*a).into()]),
        (V::Sqrt, [a]) => c.b.op(Op::Sqrt, &[Word::Rn, super::code::word(dtype)], &[(*a).into()]),
        (V::Floor, [a]) => whole(c, Word::Rmi, dtype, *a),
        (V::Ceil, [a]) => whole(c, Word::Rpi, dtype, *a),
        (V::Round, [a]) => whole(c, Word::Rni, dtype, *a),
        (V::Trunc, [a]) => whole(c, Word::Rzi, dtype, *a),
        (V::Min, [a, b]) => c.extreme(Op::Min, dtype, *a, *b),
        (V::Max, [a, b]) => c.extreme(Op::Max, dtype, *a, *b),
        (V::And, [a, b]) => c.logic(Op::And, dtype, *a, *b),
        (V::Or, [a, b]) => c.logic(Op::Or, dtype, *a, *b),
        (V::Xor, [a, b]) => c.logic(Op::Xor, dtype, *a, *b),
        (V::Not, [a]) if from == Elem::Bool => c.not(*a),
        (V::Not, [a]) => c.b.op(Op::Not, &[super::code::bits(dtype)], &[(*a).into()]),
        (V::Shl | V::Shr | V::Ushr, [a, by]) => shift(c, inst.op, dtype, *a, *by)?,
        (V::Eq, [a, b]) => equal(c, Word::Eq, dtype, *a, *b),
        (V::Ne, [a, b]) => equal(c, if from.is_float() { Word::Neu } else { Word::Ne }, dtype, *a, *b),
        (V::Lt, [a, b]) => c.compare(Word::Lt, dtype, *a, *b),
        (V::Le, [a, b]) => c.compare(Word::Le, dtype, *a, *b),
        (V::Gt, [a, b]) => c.compare(Word::Gt, dtype, *a, *b),
        (V::Ge, [a, b]) => c.compare(Word::Ge, dtype, *a, *b),
        (V::Ult, [a, b]) => c.compare(Word::Lt, unsigned(dtype)?, *a, *b),
        (V::Ule, [a, b]) => c.compare(Word::Le, unsigned(dtype)?, *a, *b),
        (V::Select, [if_so, a, b]) if to == Elem::Bool => c.select_truth(*if_so, *a, *b),
        (V::Select, [if_so, a, b]) => c.select(held(to), *if_so, *a, *b),
        (V::FromBool, [a]) => c.of_truth(*a),
        (_, [a]) => conversion(c, inst.op, from, to, *a)?,
        _ => return None,
    })
}

fn unsigned(dtype: DType) -> Option<DType> {
    (dtype == DType::I32).then_some(DType::U32)
}

fn constant(c: &mut Code, to: Elem, bits: i64) -> Reg {
    match to {
        Elem::Bool => c.truth(bits & 1 != 0),
        _ => c.constant(held(to), bits.into()),
    }
}

fn whole(c: &mut Code, how: Word, dtype: DType, a: Reg) -> Reg {
    let ty = super::code::word(dtype);
    c.convert(&[how, ty, ty], a)
}

fn equal(c: &mut Code, how: Word, dtype: DType, a: Reg, b: Reg) -> Reg {
    if dtype != DType::Bool {
        return c.compare(how, dtype, a, b);
    }
    let differ = c.logic(Op::Xor, DType::Bool, a, b);
    if how == Word::Eq { c.not(differ) } else { differ }
}

/// VIR takes counts modulo the width; the expansions shift by constants below it.
fn shift(c: &mut Code, op: vir::Op, dtype: DType, a: Reg, by: Reg) -> Option<Reg> {
    let wide = dtype.bits() == 64;
    let by = if wide { c.convert(&[Word::U32, Word::U64], by) } else { by };
    Some(match op {
        vir::Op::Shl => c.two(Op::Shl, &[super::code::bits(dtype)], a, by),
        vir::Op::Shr => c.two(Op::Shr, &[if wide { Word::S64 } else { Word::S32 }], a, by),
        _ => c.two(Op::Shr, &[if wide { Word::U64 } else { Word::U32 }], a, by),
    })
}

fn bitcast(c: &mut Code, from: Elem, to: Elem, a: Reg) -> Reg {
    let class = super::code::class(held(to));
    if super::code::class(held(from)) == class {
        return a;
    }
    c.reinterpret(if from.bits() == 64 { Word::B64 } else { Word::B32 }, class, a)
}

fn conversion(c: &mut Code, op: vir::Op, from: Elem, to: Elem, a: Reg) -> Option<Reg> {
    use vir::Op as V;
    let signed = |e: Elem| if e == Elem::I64 { Word::S64 } else { Word::S32 };
    let float = |e: Elem| if e == Elem::F64 { Word::F64 } else { Word::F32 };
    Some(match op {
        V::Zext if from.bits() < 32 => c.two(Op::And, &[Word::B32], a, (1_i64 << from.bits()) - 1),
        V::Zext => c.convert(&[Word::U64, Word::U32], a),
        V::Sext if from.bits() < 32 => {
            let unused = 32 - from.bits();
            let up = c.two(Op::Shl, &[Word::B32], a, unused);
            c.two(Op::Shr, &[Word::S32], up, unused)
        }
        V::Sext => c.convert(&[Word::S64, Word::S32], a),
        V::Narrow if from == Elem::I64 => c.convert(&[Word::U32, Word::U64], a),
        V::Narrow => a,
        V::SintToFloat => c.convert(&[Word::Rn, float(to), signed(from)], a),
        V::FloatToSint => c.convert(&[Word::Rzi, signed(to), float(from)], a),
        V::FloatCast if to == Elem::F64 => c.convert(&[Word::F64, Word::F32], a),
        V::FloatCast => c.convert(&[Word::Rn, Word::F32, Word::F64], a),
        V::FromF16 => from_f16(c, a),
        V::ToF16 => {
            let half = c.convert(&[Word::Rn, Word::F16, Word::F32], a);
            c.convert(&[Word::U32, Word::U16], half)
        }
        V::FromBf16 => from_bf16(c, a),
        V::ToBf16 => to_bf16(c, a),
        _ => return None,
    })
}

/// The value of an f16 in the low bits.
pub(super) fn from_f16(c: &mut Code, bits: Reg) -> Reg {
    let half = c.b.reg(Class::B16);
    c.b.assign(Op::Cvt, &[Word::U16, Word::U32], half, &[bits.into()]);
    c.convert(&[Word::F32, Word::F16], half)
}
/// The value of a bf16 in the low bits.
pub(super) fn from_bf16(c: &mut Code, bits: Reg) -> Reg {
    let up = c.two(Op::Shl, &[Word::B32], bits, 16_u32);
    c.reinterpret(Word::B32, Class::F32, up)
}
/// The nearest f16 in the low bits.
pub(super) fn to_f16(c: &mut Code, value: Reg) -> Reg {
    let half = c.convert(&[Word::Rn, Word::F16, Word::F32], value);
    c.convert(&[Word::U32, Word::U16], half)
}
/// The nearest bf16 in the low bits.
pub(super) fn to_bf16(c: &mut Code, value: Reg) -> Reg {
    let half = c.convert(&[Word::Rn, Word::Bf16, Word::F32], value);
    c.convert(&[Word::U32, Word::U16], half)
}

/// The bits of a float as an immediate of its type.
pub(super) fn float(dtype: DType, value: f64) -> Arg {
    #[expect(clippy::cast_possible_truncation, reason = "constants are rounded to their type")]
    if dtype == DType::F64 { value.into() } else { (value as f32).into() }
}
