//! Elementwise operations on VIR values.
//!
//! In: an operation and operands at a point. Out: VIR instructions. Integers carry their sign in the tile's type and not in
//! VIR's, so unsigned comparisons, quotients and conversions are chosen here. Elementary functions are [`crate::math`]'s.

use super::Lower;
use super::layout::{Place, Point};
use crate::math;
use crate::vir::{Elem, Type, Val};
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::tile::{Inst, Op, Value};

impl Lower<'_> {
    /// An elementwise instruction at a point.
    pub(super) fn elementwise(&mut self, op: ElemOp, inst: &Inst, point: &Point, lanes: u8) -> Val {
        if op == ElemOp::Select {
            return self.select(inst, point, lanes);
        }
        if matches!(op, ElemOp::Shl | ElemOp::Shr) {
            return self.shift(op, inst, point, lanes);
        }
        if let Some(mask) = self.compare_ramps(op, inst, point) {
            return self.widen(mask, lanes);
        }
        if let Some(value) = self.bytewise(inst.results[0], point) {
            return self.b.zext(value, Elem::I32);
        }
        if let Some(value) = self.fused_sum(op, inst, point, lanes) {
            return value;
        }
        let dtype = self.dtype(inst.args[0]);
        let args: Vec<Val> = inst.args.iter().map(|v| self.eval_lanes(*v, point, lanes)).collect();
        match op {
            ElemOp::Add | ElemOp::Mul | ElemOp::And | ElemOp::Or => {
                let mut sum = args[0];
                for arg in &args[1..] {
                    sum = match op {
                        ElemOp::Add => self.b.add(sum, *arg),
                        ElemOp::Mul => self.b.mul(sum, *arg),
                        ElemOp::And => self.b.and(sum, *arg),
                        _ => self.b.or(sum, *arg),
                    };
                }
                sum
            }
            _ if args.len() == 2 => self.binary(op, dtype, args[0], args[1]),
            _ => self.unary(op, dtype, args[0]),
        }
    }

    /// Integer operations on bytes whose results are bytes, in lanes of 8 bits: a quarter of the registers.
    fn bytewise(&mut self, value: Value, point: &Point) -> Option<Val> {
        if self.plan_keeps(value) {
            return None;
        }
        let inst = self.plan.def(value)?;
        let known = |s: &Self, at: usize| s.known_at(*inst.args.get(at)?, point);
        match &inst.op {
            Op::Load { .. } => self.raw_bytes(value, point),
            Op::Elem(ElemOp::Shr) => {
                let count = known(self, 1).filter(|by| (0..8).contains(by))?;
                let bytes = self.bytewise(inst.args[0], point)?;
                let count = self.b.int(self.b.ty(bytes), count);
                Some(self.b.ushr(bytes, count))
            }
            Op::Elem(ElemOp::BitAnd) => {
                let at = [1, 0].into_iter().find(|at| known(self, *at).is_some())?;
                let mask = known(self, at).filter(|mask| (0..=255).contains(mask))?;
                let bytes = self.bytewise(inst.args[1 - at], point)?;
                let mask = self.b.int(self.b.ty(bytes), mask);
                Some(self.b.and(bytes, mask))
            }
            _ => None,
        }
    }
    /// Whether a value is read from the arena instead of being computed.
    fn plan_keeps(&self, value: Value) -> bool {
        matches!(self.place(value), Some(Place::Buffer(_) | Place::Scalar(_) | Place::Alias(_)) | None)
    }
    /// a * b + c for a sum with a product, where rounding is free.
    fn fused_sum(&mut self, op: ElemOp, inst: &Inst, point: &Point, lanes: u8) -> Option<Val> {
        let [first, second] = *inst.args.as_slice() else { return None };
        if op != ElemOp::Add || !self.contracting || !self.dtype(first).is_float() {
            return None;
        }
        let product = |s: &Self, v: Value| {
            let inst = s.plan.def(v).filter(|_| matches!(s.place(v), Some(Place::Fused)))?;
            matches!(inst.op, Op::Elem(ElemOp::Mul) if inst.args.len() == 2).then(|| (inst.args[0], inst.args[1]))
        };
        let ((a, b), c) = match (product(self, first), product(self, second)) {
            (Some(factors), _) => (factors, second),
            (None, Some(factors)) => (factors, first),
            (None, None) => return None,
        };
        let a = self.eval_lanes(a, point, lanes);
        let b = self.eval_lanes(b, point, lanes);
        let c = self.eval_lanes(c, point, lanes);
        Some(self.b.fma(a, b, c))
    }

    fn select(&mut self, inst: &Inst, point: &Point, lanes: u8) -> Val {
        if let Some(known) = self.known.get(&inst.args[0]).copied() {
            let chosen = if known != 0 { inst.args[1] } else { inst.args[2] };
            return self.eval_lanes(chosen, point, lanes);
        }
        let condition = self.eval(inst.args[0], point);
        let then = self.eval_lanes(inst.args[1], point, lanes);
        let otherwise = self.eval_lanes(inst.args[2], point, lanes);
        self.b.select(condition, then, otherwise)
    }

    fn binary(&mut self, op: ElemOp, dtype: DType, a: Val, b: Val) -> Val {
        let unsigned = dtype.kind() == Kind::Unsigned;
        match op {
            ElemOp::Sub => self.b.sub(a, b),
            ElemOp::Div | ElemOp::Rem if unsigned => self.unsigned_quotient(op, a, b),
            ElemOp::Div => self.b.div(a, b),
            ElemOp::Rem if dtype.is_float() => self.function(op, &[a, b]),
            ElemOp::Rem => self.b.rem(a, b),
            ElemOp::Min => self.smaller(dtype, a, b),
            ElemOp::Max => self.larger(dtype, a, b),
            ElemOp::BitAnd => self.b.and(a, b),
            ElemOp::BitOr => self.b.or(a, b),
            ElemOp::BitXor => self.b.xor(a, b),
            ElemOp::Eq => self.b.eq(a, b),
            ElemOp::Ne => self.b.ne(a, b),
            ElemOp::Lt => self.less(dtype, a, b),
            ElemOp::Gt => self.less(dtype, b, a),
            ElemOp::Le if unsigned => self.b.ule(a, b),
            ElemOp::Ge if unsigned => self.b.ule(b, a),
            ElemOp::Le if dtype == DType::Bool => {
                let not = self.b.not(a);
                self.b.or(not, b)
            }
            ElemOp::Ge if dtype == DType::Bool => {
                let not = self.b.not(b);
                self.b.or(not, a)
            }
            ElemOp::Le => self.b.le(a, b),
            ElemOp::Ge => self.b.ge(a, b),
            ElemOp::Pow | ElemOp::Atan2 => self.function(op, &[a, b]),
            _ => {
                self.defect(format!("`{op}` does not take two operands"));
                a
            }
        }
    }

    fn unary(&mut self, op: ElemOp, dtype: DType, x: Val) -> Val {
        let ty = self.b.ty(x);
        match op {
            ElemOp::Neg => self.b.neg(x),
            ElemOp::Abs if dtype.kind() == Kind::Unsigned => x,
            ElemOp::Abs => self.b.abs(x),
            ElemOp::Sign if dtype.is_int() => self.sign(dtype, x),
            ElemOp::Relu if dtype.kind() == Kind::Unsigned => x,
            ElemOp::Relu if dtype.is_int() => {
                let zero = self.b.int(ty, 0);
                self.b.max(x, zero)
            }
            ElemOp::Sqrt => self.b.sqrt(x),
            ElemOp::Floor => self.b.floor(x),
            ElemOp::Round => self.b.round(x),
            ElemOp::Not => self.b.not(x),
            ElemOp::Popcount => {
                let count = self.b.popcount(x);
                self.low_word(count)
            }
            ElemOp::BitLength => self.bit_length(dtype, x),
            _ => self.function(op, &[x]),
        }
    }
    fn function(&mut self, op: ElemOp, args: &[Val]) -> Val {
        match math::call(&mut self.b, op, args) {
            Some(value) => value,
            None => {
                self.defect(format!("`{op}` has no expansion"));
                args[0]
            }
        }
    }

    fn low_word(&mut self, value: Val) -> Val {
        if self.b.ty(value).elem == Elem::I64 { self.b.narrow(value, Elem::I32) } else { value }
    }
    /// 0 for negative numbers.
    fn bit_length(&mut self, dtype: DType, x: Val) -> Val {
        let ty = self.b.ty(x);
        let zero = self.b.int(ty, 0);
        let x = if dtype.kind() == Kind::Unsigned { x } else { self.b.max(x, zero) };
        let zeros = self.b.clz(x);
        let bits = self.b.int(ty, i64::from(ty.elem.bits()));
        let length = self.b.sub(bits, zeros);
        self.low_word(length)
    }
    /// -1, 0 or 1 of an integer.
    fn sign(&mut self, dtype: DType, x: Val) -> Val {
        let ty = self.b.ty(x);
        let one = self.b.int(ty, 1);
        let high = self.smaller(dtype, x, one);
        if dtype.kind() == Kind::Unsigned {
            return high;
        }
        let minus = self.b.int(ty, -1);
        self.b.max(high, minus)
    }
    /// A shift. By the width or more (or a negative count) it gives what shifting bit by bit would.
    fn shift(&mut self, op: ElemOp, inst: &Inst, point: &Point, lanes: u8) -> Val {
        let dtype = self.dtype(inst.args[0]);
        let bits = i64::from(dtype.bits());
        let x = self.eval_lanes(inst.args[0], point, lanes);
        let known = self.known_at(inst.args[1], point).filter(|by| (0..bits).contains(by));
        let mut by = match known {
            Some(by) => self.b.int(self.b.ty(x), by),
            None => self.eval_lanes(inst.args[1], point, lanes),
        };
        let arithmetic = op == ElemOp::Shr && dtype.kind() == Kind::Signed;
        let width = self.b.int(self.b.ty(by), bits);
        let inside = known.is_none().then(|| self.b.ult(by, width));
        if let (Some(inside), true) = (inside, arithmetic) {
            let last = self.b.int(self.b.ty(by), bits - 1);
            by = self.b.select(inside, by, last);
        }
        let shifted = match (op, arithmetic) {
            (ElemOp::Shl, _) => self.b.shl(x, by),
            (_, true) => self.b.shr(x, by),
            _ => self.b.ushr(x, by),
        };
        match inside {
            Some(inside) if !arithmetic => {
                let zero = self.b.int(self.b.ty(shifted), 0);
                self.b.select(inside, shifted, zero)
            }
            _ => shifted,
        }
    }
    /// The value at a point of an integer made of constants and positions that are constant there.
    pub(super) fn known_at(&self, value: Value, point: &Point) -> Option<i64> {
        if let Some(known) = self.known.get(&value) {
            return Some(*known);
        }
        let inst = self.plan.def(value)?;
        let at = |position: usize| self.known_at(*inst.args.get(position)?, point);
        match &inst.op {
            Op::Coord(axis) => {
                let pos = point.get(*axis).filter(|pos| pos.base.is_none() && pos.lanes == 1)?;
                at(0)?.checked_add(pos.offset)
            }
            Op::Cast(to) if to.is_int() => at(0).filter(|v| i32::try_from(*v).is_ok()),
            Op::Rename(pairs) => self.known_at(inst.args[0], &point.renamed(pairs)),
            Op::Elem(ElemOp::Add) if inst.args.len() == 2 => at(0)?.checked_add(at(1)?),
            Op::Elem(ElemOp::Mul) if inst.args.len() == 2 => at(0)?.checked_mul(at(1)?),
            _ => None,
        }
    }
    fn unsigned_quotient(&mut self, op: ElemOp, a: Val, b: Val) -> Val {
        let (a, b) = (self.b.zext(a, Elem::I64), self.b.zext(b, Elem::I64));
        let wide = if op == ElemOp::Div { self.b.div(a, b) } else { self.b.rem(a, b) };
        self.b.narrow(wide, Elem::I32)
    }
    /// a < b by the sign of `dtype`.
    pub(super) fn less(&mut self, dtype: DType, a: Val, b: Val) -> Val {
        match dtype.kind() {
            Kind::Unsigned => self.b.ult(a, b),
            Kind::Bool => {
                let not = self.b.not(a);
                self.b.and(not, b)
            }
            _ => self.b.lt(a, b),
        }
    }
    /// The smaller; NaN propagates.
    pub(super) fn smaller(&mut self, dtype: DType, a: Val, b: Val) -> Val {
        if dtype.kind() == Kind::Unsigned {
            let less = self.b.ult(a, b);
            return self.b.select(less, a, b);
        }
        self.b.min(a, b)
    }
    /// The larger; NaN propagates.
    pub(super) fn larger(&mut self, dtype: DType, a: Val, b: Val) -> Val {
        if dtype.kind() == Kind::Unsigned {
            let less = self.b.ult(a, b);
            return self.b.select(less, b, a);
        }
        self.b.max(a, b)
    }
    /// One step of a reduction that is no argmax or argmin.
    pub(super) fn combine(&mut self, op: ReduceOp, dtype: DType, a: Val, b: Val) -> Val {
        match op {
            ReduceOp::Prod => self.b.mul(a, b),
            ReduceOp::Max => self.larger(dtype, a, b),
            ReduceOp::Min => self.smaller(dtype, a, b),
            ReduceOp::Any => self.b.or(a, b),
            ReduceOp::All => self.b.and(a, b),
            _ => self.b.add(a, b),
        }
    }
    /// What a reduction of nothing gives.
    pub(super) fn identity(&mut self, op: ReduceOp, dtype: DType, lanes: u8) -> Val {
        let elem = self.elem(dtype);
        let ty = Type::vector(elem, lanes);
        match (op, dtype.kind()) {
            (ReduceOp::Max | ReduceOp::ArgMax, Kind::Float) => self.b.float(ty, f64::NEG_INFINITY),
            (ReduceOp::Min | ReduceOp::ArgMin, Kind::Float) => self.b.float(ty, f64::INFINITY),
            (ReduceOp::Prod, Kind::Float) => self.b.float(ty, 1.0),
            (_, Kind::Float) => self.b.float(ty, 0.0),
            (ReduceOp::Max | ReduceOp::ArgMax, Kind::Signed) => {
                self.b.int(ty, if dtype.bits() == 64 { i64::MIN } else { i64::from(i32::MIN) })
            }
            (ReduceOp::Min | ReduceOp::ArgMin, Kind::Signed) => {
                self.b.int(ty, if dtype.bits() == 64 { i64::MAX } else { i64::from(i32::MAX) })
            }
            (ReduceOp::Min | ReduceOp::ArgMin, Kind::Unsigned) => self.b.int(ty, -1),
            (ReduceOp::Prod | ReduceOp::All, _) => self.b.int(ty, 1),
            _ => self.b.int(ty, 0),
        }
    }
    /// All lanes combined.
    pub(super) fn horizontal(&mut self, op: ReduceOp, dtype: DType, x: Val) -> Val {
        if self.b.ty(x).lanes == 1 {
            return x;
        }
        match op {
            ReduceOp::Sum => self.b.reduce_add(x),
            ReduceOp::Prod => self.b.reduce_mul(x),
            ReduceOp::Any => self.b.reduce_or(x),
            ReduceOp::All => self.b.reduce_and(x),
            ReduceOp::Max if dtype.kind() != Kind::Unsigned => self.b.reduce_max(x),
            ReduceOp::Min if dtype.kind() != Kind::Unsigned => self.b.reduce_min(x),
            _ => {
                let mut best = self.b.extract(x, 0);
                for lane in 1..self.b.ty(x).lanes {
                    let other = self.b.extract(x, lane);
                    best = self.combine(op, dtype, best, other);
                }
                best
            }
        }
    }
    /// a * b + c in one rounding where the type has it.
    pub(super) fn multiply_add(&mut self, dtype: DType, a: Val, b: Val, c: Val) -> Val {
        if dtype.is_float() {
            return self.b.fma(a, b, c);
        }
        let product = self.b.mul(a, b);
        self.b.add(product, c)
    }

    /// To another computing type.
    pub(super) fn cast(&mut self, x: Value, to: DType, point: &Point) -> Val {
        let from = self.dtype(x);
        if let (DType::I64, DType::I32 | DType::U32) = (from, to)
            && let Some(ramp) = self.narrow_ramp(x, point)
        {
            return ramp;
        }
        if from == DType::I64
            && to.is_float()
            && let Some(ramp) = self.float_ramp(x, to, point)
        {
            return ramp;
        }
        let value = self.eval(x, point);
        self.convert(value, from, to)
    }
    fn convert(&mut self, value: Val, from: DType, to: DType) -> Val {
        let elem = self.elem(to);
        match (from.kind(), to.kind()) {
            _ if from == to => value,
            (Kind::Float, Kind::Float) => self.b.float_cast(value, elem),
            (Kind::Float, Kind::Unsigned) => self.b.float_to_uint(value, elem),
            (Kind::Float, Kind::Bool) => {
                let zero = self.b.float(self.b.ty(value), 0.0);
                self.b.ne(value, zero)
            }
            (Kind::Float, _) => self.b.float_to_sint(value, elem),
            (Kind::Unsigned, Kind::Float) => self.b.uint_to_float(value, elem),
            (Kind::Bool, Kind::Float) => {
                let int = self.b.from_bool(value, Elem::I32);
                self.b.sint_to_float(int, elem)
            }
            (Kind::Bool, _) => self.b.from_bool(value, elem),
            (_, Kind::Float) => self.b.sint_to_float(value, elem),
            (_, Kind::Bool) => {
                let zero = self.b.int(self.b.ty(value), 0);
                self.b.ne(value, zero)
            }
            _ => self.convert_int(value, from, elem),
        }
    }
    fn convert_int(&mut self, value: Val, from: DType, to: Elem) -> Val {
        let elem = self.b.ty(value).elem;
        if elem == to {
            value
        } else if elem.bits() > to.bits() {
            self.b.narrow(value, to)
        } else if from.kind() == Kind::Unsigned {
            self.b.zext(value, to)
        } else {
            self.b.sext(value, to)
        }
    }
    /// Rounds to a storage type and back to the computing type.
    pub(super) fn round_through(&mut self, value: Val, from: DType, to: DType) -> Val {
        let computing = to.widened();
        let value = self.convert(value, from, computing);
        let narrow = self.stored(value, to);
        let wide = self.widen_storage(narrow, to);
        self.convert(wide, computing, from)
    }
}
