//! Sizes as code: polynomials over dims, with tests for overflow.
//!
//! In: an [`Index`]. Out: a word, equal to what [`Index::eval`] gives; where that gives none, a later
//! [`Frame::fail_on_overflow`] leaves. Quotients and remainders are Euclidean, by 0 they are 0 and the dividend.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use sawmill_ir::backend::CompileError;
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::entity::Entity;
use sawmill_ir::index::{Atom, DimId, Index, TensorId};
use sawmill_launch::interface::{Form, Status};

use super::frame::{Frame, plain};

impl Frame<'_, '_, '_> {
    /// The value of a size.
    pub(super) fn size(&mut self, size: &Index) -> Result<ir::Value, CompileError> {
        let mut sum = self.word(0);
        for (monomial, coefficient) in size.terms() {
            let mut product = self.word(coefficient);
            for atom in monomial {
                let factor = self.atom(atom)?;
                product = self.times(product, factor);
            }
            sum = self.plus(sum, product);
        }
        Ok(sum)
    }

    pub(super) fn plus(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        let (sum, over) = self.body.b.ins().sadd_overflow(a, b);
        self.overflowed(over);
        sum
    }

    pub(super) fn times(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        let (product, over) = self.body.b.ins().smul_overflow(a, b);
        self.overflowed(over);
        product
    }

    fn overflowed(&mut self, over: ir::Value) {
        self.overflow = Some(match self.overflow {
            Some(before) => self.body.b.ins().bor(before, over),
            None => over,
        });
    }

    /// Leaves if anything overflowed since the last test.
    pub(super) fn fail_on_overflow(&mut self, status: Status) {
        if let Some(over) = self.overflow.take() {
            self.fail_if(over, status);
        }
    }

    fn atom(&mut self, atom: &Atom) -> Result<ir::Value, CompileError> {
        Ok(match atom {
            Atom::Dim(dim) => self.dim(*dim)?,
            Atom::Div(a, b) => self.quotient(a, b)?.0,
            Atom::Rem(a, b) => self.quotient(a, b)?.1,
            Atom::Min(a, b) => {
                let (a, b) = (self.size(a)?, self.size(b)?);
                self.body.b.ins().smin(a, b)
            }
            Atom::Max(a, b) => {
                let (a, b) = (self.size(a)?, self.size(b)?);
                self.body.b.ins().smax(a, b)
            }
            Atom::BitLength(a) => {
                let a = self.size(a)?;
                let zeros = self.body.b.ins().clz(a);
                let width = self.word(64);
                let length = self.body.b.ins().isub(width, zeros);
                let none = self.word(0);
                let positive = self.body.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, a, 0);
                self.body.b.ins().select(positive, length, none)
            }
            Atom::Read(tensor, subs) if subs.is_empty() => self.scalar_argument(*tensor)?,
            Atom::Axis(_) | Atom::Param(_) | Atom::Read(..) => {
                return Err(super::bug(format!("a size of a plan reads {atom:?}")));
            }
        })
    }

    fn dim(&mut self, dim: DimId) -> Result<ir::Value, CompileError> {
        let name = &self.library.module.dims[dim];
        let late = || format!("temporaries whose size depends on `{name}`, which only the run decides");
        let known = self.dims[dim.index()].ok_or_else(|| CompileError::Unsupported(late()))?;
        Ok(self.get(known))
    }

    /// Euclidean quotient and remainder.
    fn quotient(&mut self, a: &Index, b: &Index) -> Result<(ir::Value, ir::Value), CompileError> {
        let (a, by) = (self.size(a)?, self.size(b)?);
        let [zero, one] = [0, 1].map(|value| self.word(value));
        // The machine's division takes neither 0 nor the one quotient that does not fit, of the least number by -1.
        let is_zero = self.body.b.ins().icmp(IntCC::Equal, by, zero);
        let is_minus = self.body.b.ins().icmp_imm_s(IntCC::Equal, by, -1);
        let odd = self.body.b.ins().bor(is_zero, is_minus);
        let safe = self.body.b.ins().select(odd, one, by);
        let quotient = self.body.b.ins().sdiv(a, safe);
        let rest = self.body.b.ins().srem(a, safe);
        let below = self.body.b.ins().icmp(IntCC::SignedLessThan, rest, zero);
        let sign = self.body.b.ins().sshr_imm_s(safe, 63);
        // 1 for a positive divisor, -1 for a negative one.
        let step = self.body.b.ins().bor_imm_s(sign, 1);
        let lower = self.body.b.ins().isub(quotient, step);
        let quotient = self.body.b.ins().select(below, lower, quotient);
        let size = self.body.b.ins().iabs(safe);
        let raised = self.body.b.ins().iadd(rest, size);
        let rest = self.body.b.ins().select(below, raised, rest);
        let opposite = self.body.b.ins().ineg(a);
        let quotient = self.body.b.ins().select(is_minus, opposite, quotient);
        let quotient = self.body.b.ins().select(is_zero, zero, quotient);
        let rest = self.body.b.ins().select(is_zero, a, rest);
        Ok((quotient, rest))
    }

    /// The value of an integer that the struct holds.
    fn scalar_argument(&mut self, id: TensorId) -> Result<ir::Value, CompileError> {
        let found = self.library.interface.arguments.iter().find_map(|argument| match argument.form {
            Form::Scalar { tensor, dtype, .. } if tensor == id => Some((argument.offset, dtype)),
            _ => None,
        });
        let (offset, dtype) = found.ok_or_else(|| super::bug(format!("a size reads {id}, which is no scalar")))?;
        let at = self.body.b.ins().iadd_imm_s(self.args, i64::from(offset));
        Ok(self.integer(at, dtype))
    }

    /// The integer in memory, as a word.
    pub(super) fn integer(&mut self, address: ir::Value, dtype: DType) -> ir::Value {
        let ins = self.body.b.ins();
        let signed = dtype.kind() == Kind::Signed;
        match (dtype.bits(), signed) {
            (8, true) => ins.sload8(types::I64, plain(), address, 0),
            (8, false) => ins.uload8(types::I64, plain(), address, 0),
            (16, true) => ins.sload16(types::I64, plain(), address, 0),
            (16, false) => ins.uload16(types::I64, plain(), address, 0),
            (32, true) => ins.sload32(plain(), address, 0),
            (32, false) => ins.uload32(plain(), address, 0),
            _ => ins.load(types::I64, plain(), address, 0),
        }
    }
}
