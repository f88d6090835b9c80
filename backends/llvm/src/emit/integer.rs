//! Shifts and Euclidean division.

use sawmill_simd::vir::{Op, Type, Val};

use super::Emitter;
use super::types::{literal, signed};

impl Emitter<'_> {
    /// The sign-extended constant that every lane of a value is.
    pub(super) fn constant_of(&self, value: Val) -> Option<i64> {
        Some(signed(self.ty(value).elem, self.constants[value.index()]?))
    }

    pub(super) fn shift(&mut self, op: Op, ty: Type, a: &str, by: Val) -> String {
        let name = match op {
            Op::Shl => "shl",
            Op::Shr => "ashr",
            _ => "lshr",
        };
        let last = i64::from(ty.elem.bits()) - 1;
        let count = match self.constant_of(by) {
            Some(count) => literal(ty, count & last),
            None => {
                let count = self.operand(by);
                self.two("and", ty, &count, &literal(ty, last))
            }
        };
        self.two(name, ty, a, &count)
    }

    /// Euclidean quotient or remainder.
    pub(super) fn divide(&mut self, op: Op, a: Val, b: Val) -> String {
        let ty = self.ty(a);
        let (left, right) = (self.operand(a), self.operand(b));
        match (op, self.constant_of(b)) {
            // The Euclidean quotient by a power of two rounds down, as an arithmetic shift does.
            (Op::Div, Some(divisor)) if divisor > 0 && divisor.count_ones() == 1 => {
                self.two("ashr", ty, &left, &literal(ty, i64::from(divisor.trailing_zeros())))
            }
            (_, Some(divisor)) if divisor > 0 && divisor.count_ones() == 1 => {
                self.two("and", ty, &left, &literal(ty, divisor - 1))
            }
            (_, Some(divisor)) if divisor > 0 => self.divide_by_safe(op, ty, &left, &right),
            _ => self.divide_by_any(op, ty, &left, &right),
        }
    }

    /// By what is neither 0 nor -1: LLVM's division has no value for those.
    fn divide_by_safe(&mut self, op: Op, ty: Type, a: &str, b: &str) -> String {
        let zero = literal(ty, 0);
        let rest = self.two("srem", ty, a, b);
        let negative = self.two("icmp slt", ty, &rest, &zero);
        if op == Op::Rem {
            let size = self.intrinsic("abs", ty, &[b, "i1 false"]);
            let raised = self.two("add", ty, &rest, &size);
            return self.pick(&negative, ty, &raised, &rest);
        }
        let quotient = self.two("sdiv", ty, a, b);
        let positive = self.two("icmp sgt", ty, b, &zero);
        let step = self.pick(&positive, ty, &literal(ty, -1), &literal(ty, 1));
        let stepped = self.two("add", ty, &quotient, &step);
        self.pick(&negative, ty, &stepped, &quotient)
    }

    fn divide_by_any(&mut self, op: Op, ty: Type, a: &str, b: &str) -> String {
        let zero = literal(ty, 0);
        let is_zero = self.two("icmp eq", ty, b, &zero);
        let is_minus_one = self.two("icmp eq", ty, b, &literal(ty, -1));
        let instead = self.pick(&is_zero, ty, &literal(ty, 1), b);
        let divisor = self.pick(&is_minus_one, ty, &literal(ty, 1), &instead);
        let result = self.divide_by_safe(op, ty, a, &divisor);
        if op == Op::Rem {
            return self.pick(&is_zero, ty, a, &result);
        }
        let opposite = self.two("sub", ty, &zero, a);
        let result = self.pick(&is_minus_one, ty, &opposite, &result);
        self.pick(&is_zero, ty, &zero, &result)
    }
}
