//! Scalars: constants, sizes, the block's position.
//!
//! In: expressions over the kernel's dims. Out: 64-bit registers. Quotients and remainders are Euclidean; by a power of two they
//! are shifts and masks.

use super::code::{power_of_two, word};
use super::math::float;
use super::{Lower, Refusal};
use crate::inst::{Arg, Class, Guard, Op, Reg, Special, Word};
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::Const;
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::tile::{self, Kernel, Value};
use std::collections::BTreeSet;

/// A constant of a computing type as an immediate; truth values as 0 and 1.
pub(super) fn immediate(value: Const, dtype: DType) -> Arg {
    match value {
        Const::Float(bits) => float(dtype, f64::from_bits(bits)),
        Const::Int(value) if dtype.is_float() => float(dtype, value as f64),
        Const::Int(value) => value.into(),
        Const::Bool(value) => u32::from(value).into(),
    }
}

/// The axes of the grid along which loops grow longer: blocks of these start from the far end, so that no long one is left for
/// last.
fn growing(kernel: &Kernel) -> BTreeSet<u32> {
    let mut growing: FxHashMap<Value, BTreeSet<u32>> = FxHashMap::default();
    let mut found = BTreeSet::new();
    for inst in &kernel.body.insts {
        let of = |value: &Value| growing.get(value).cloned().unwrap_or_default();
        let axes = match &inst.op {
            tile::Op::Grid(axis) => BTreeSet::from([*axis]),
            tile::Op::Elem(ElemOp::Add | ElemOp::Mul | ElemOp::Min | ElemOp::Max) => {
                inst.args.iter().flat_map(of).collect()
            }
            tile::Op::Elem(ElemOp::Sub | ElemOp::Div) => of(&inst.args[0]),
            tile::Op::For { phases, .. } => {
                found.extend(phases.iter().flat_map(|phase| of(&phase.hi)));
                continue;
            }
            _ => continue,
        };
        growing.extend(inst.results.iter().map(|result| (*result, axes.clone())));
    }
    found
}

impl Lower<'_> {
    /// A constant value.
    pub(super) fn constant(&mut self, result: Value, value: Const) {
        let dtype = self.dtype(result);
        if let Const::Int(number) = value {
            self.numbers.insert(result, number);
        }
        let reg = match value {
            Const::Bool(value) => self.c.truth(value),
            _ => self.c.constant(dtype, immediate(value, dtype)),
        };
        self.define_scalar(result, reg);
    }

    /// The block's position along each grid axis, the last one fastest.
    pub(super) fn position(&mut self) {
        let x = self.c.b.special(Special::CtaidX);
        let x = self.widen(x);
        let first = self.params[self.words.count() as usize];
        let mut rest = self.c.add(DType::I64, x, first);
        let counts: Vec<Reg> = self.kernel.grid.iter().map(|(_, blocks)| self.index(blocks)).collect();
        let mut grid = vec![rest; counts.len()];
        let backwards = growing(self.kernel);
        for (at, count) in counts.iter().enumerate().rev() {
            if at == 0 {
                grid[0] = rest;
            } else {
                let quotient = self.block_quotient(rest, *count);
                let product = self.c.mul(DType::I64, quotient, *count);
                grid[at] = self.c.sub(DType::I64, rest, product);
                rest = quotient;
            }
        }
        for (at, count) in counts.iter().enumerate() {
            if backwards.contains(&u32::try_from(at).unwrap_or(u32::MAX)) {
                let last = self.c.sub(DType::I64, *count, 1_i64);
                grid[at] = self.c.sub(DType::I64, last, grid[at]);
            }
        }
        self.grid = grid;
    }

    /// A quotient of numbers of blocks, which nearly always fit 32 bits, where dividing takes a third of the time.
    fn block_quotient(&mut self, a: Reg, b: Reg) -> Reg {
        let quotient = self.c.b.reg(Class::B64);
        let both = self.c.two(Op::Or, &[Word::B64], a, b);
        let high = self.c.two(Op::Shr, &[Word::U64], both, 32_u32);
        let short = self.c.compare(Word::Eq, DType::I64, high, 0_i64);
        let [narrow, wide, divided] = ["narrow", "wide", "divided"].map(|name| self.c.b.block(name));
        self.c.b.branch(Guard::unless(short), wide);
        self.c.b.place(narrow);
        let [x, y] = [a, b].map(|value| self.c.convert(&[Word::U32, Word::U64], value));
        let part = self.c.two(Op::Div, &[Word::U32], x, y);
        self.c.b.assign(Op::Cvt, &[Word::U64, Word::U32], quotient, &[part.into()]);
        self.c.b.bra(divided);
        self.c.b.place(wide);
        self.c.b.assign(Op::Div, &[Word::U64], quotient, &[a.into(), b.into()]);
        self.c.b.place(divided);
        quotient
    }

    /// The value of an expression over dims.
    pub(super) fn index(&mut self, index: &Index) -> Reg {
        let mut sum: Option<Reg> = None;
        for (monomial, coefficient) in index.terms() {
            let mut product: Option<Reg> = None;
            for atom in monomial {
                let atom = self.atom(atom);
                product = Some(product.map_or(atom, |p| self.c.mul(DType::I64, p, atom)));
            }
            let term = match product {
                None => self.c.constant(DType::I64, coefficient.into()),
                Some(product) if coefficient == 1 => product,
                Some(product) => self.c.mul(DType::I64, product, coefficient),
            };
            sum = Some(sum.map_or(term, |s| self.c.add(DType::I64, s, term)));
        }
        match sum {
            Some(sum) => sum,
            None => self.c.constant(DType::I64, 0_i64.into()),
        }
    }

    fn atom(&mut self, atom: &Atom) -> Reg {
        match atom {
            Atom::Dim(dim) => self.params[self.words.dim(*dim) as usize],
            Atom::Div(a, b) => self.quotient(a, b).0,
            Atom::Rem(a, b) => self.quotient(a, b).1,
            Atom::Min(a, b) => {
                let (a, b) = (self.index(a), self.index(b));
                self.c.two(Op::Min, &[Word::S64], a, b)
            }
            Atom::Max(a, b) => {
                let (a, b) = (self.index(a), self.index(b));
                self.c.two(Op::Max, &[Word::S64], a, b)
            }
            Atom::BitLength(a) => {
                let a = self.index(a);
                let length = self.bit_length(DType::I64, a);
                self.c.convert(&[Word::S64, Word::S32], length)
            }
            other => {
                self.bug(format!("a size mentions {other:?}"));
                self.thread
            }
        }
    }
    fn quotient(&mut self, a: &Index, b: &Index) -> (Reg, Reg) {
        let x = self.index(a);
        if let Some(known) = b.as_int() {
            return self.divide_known(DType::I64, x, known);
        }
        let y = self.index(b);
        self.c.divide(DType::I64, x, y)
    }
    /// Euclidean quotient and remainder by a constant.
    pub(super) fn divide_known(&mut self, dtype: DType, a: Reg, by: i64) -> (Reg, Reg) {
        if let Some(power) = power_of_two(by) {
            // An arithmetic shift rounds down, which is Euclidean for positive divisors.
            let quotient = self.c.two(Op::Shr, &[word(dtype)], a, power);
            return (quotient, self.c.logic(Op::And, dtype, a, by - 1));
        }
        let by = self.c.constant(dtype, by.into());
        self.c.divide(dtype, a, by)
    }
    /// Bits needed to write a number, 0 for negative ones; 32 bits.
    pub(super) fn bit_length(&mut self, dtype: DType, a: Reg) -> Reg {
        let a = if dtype.kind() == Kind::Unsigned { a } else { self.c.two(Op::Max, &[word(dtype)], a, 0_i64) };
        let zeros = self.c.b.op(Op::Clz, &[super::code::bits(dtype)], &[a.into()]);
        let bits = self.c.constant(DType::I32, i64::from(dtype.bits()).into());
        self.c.sub(DType::I32, bits, zeros)
    }

    /// Refuses an operation.
    pub(super) fn unsupported(&mut self, what: String) {
        self.refuse(Refusal::Unsupported(what));
    }
}
