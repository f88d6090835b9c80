//! Simpler forms of one operation, exact to the last bit (the payload of a NaN excepted).
//!
//! In: an operation on values of the new function. Out: a value that equals it, or the operation to be placed. Rules:
//! folding of constants that are the same in every lane; neutral and absorbing operands; masks of bits that are 0 anyway; powers of two as shifts;
//! constants gathered at the end of a sum, where addresses take them.

use super::super::func::Val;
use super::super::ops::{Group, Op, Rule};
use super::super::scalar;
use super::super::types::{Elem, Type};
use super::{Key, Tidy};

/// A value that is there, or the operation that is left to do.
type Simpler = Result<Val, Key>;

impl Tidy<'_> {
    pub(super) fn simplify(&mut self, key: Key) -> Simpler {
        if key.op == Op::Const {
            let bits = canonical(key.ty.elem, key.imms[0].cast_unsigned());
            return Err(Key { imms: vec![bits], ..key });
        }
        if let Some(bits) = self.folded(&key) {
            return Ok(self.constant(key.ty, bits));
        }
        match key.op.group() {
            Group::Binary if key.ty.elem.is_int() => self.simplify_integers(key),
            _ => self.simplify_lanes(key),
        }
    }

    /// The bits of every lane, if all operands are constants.
    fn folded(&self, key: &Key) -> Option<i64> {
        let constants: Option<Vec<u64>> =
            key.args.iter().map(|arg| self.constant_of(*arg).map(i64::cast_unsigned)).collect();
        let (constants, from) = (constants?, self.new.ty(*key.args.first()?).elem);
        let lanes: Vec<u64> = constants.iter().map(|bits| low_bits(from, *bits)).collect();
        let bits = match (key.op.group(), key.op.rule(), &lanes[..]) {
            (_, Rule::Reduce(_) | Rule::Lookup, _) => None,
            (Group::Unary, _, [a]) => scalar::unary(key.op, from, *a),
            (Group::Binary, _, [a, b]) => scalar::binary(key.op, from, *a, *b),
            (Group::Convert, _, [a]) => scalar::convert(key.op, from, key.ty.elem, *a),
            (_, Rule::Splat | Rule::Extract, [a]) => Some(*a),
            _ => None,
        };
        bits.map(|bits| canonical(key.ty.elem, bits))
    }

    /// Moves of lanes, choices, and floats.
    fn simplify_lanes(&mut self, key: Key) -> Simpler {
        match (key.op, &key.args[..]) {
            (Op::Select, [cond, a, b]) => match self.constant_of(*cond) {
                Some(bits) => Ok(if bits != 0 { *a } else { *b }),
                None if a == b => Ok(*a),
                None => Err(key),
            },
            (Op::Extract, [vector]) => match self.made(*vector, Op::Splat) {
                Some(made) => Ok(made.args[0]),
                None => Err(key),
            },
            (Op::Mul, [a, b]) if key.ty.elem.is_float() => {
                let one = canonical(key.ty.elem, scalar::from_float(key.ty.elem, 1.0));
                match [*a, *b].map(|factor| self.constant_of(factor) == Some(one)) {
                    [_, true] => Ok(*a),
                    [true, _] => Ok(*b),
                    _ => Err(key),
                }
            }
            (Op::Not, [a]) => match self.made(*a, Op::Not) {
                Some(made) => Ok(made.args[0]),
                None => Err(key),
            },
            _ => Err(key),
        }
    }

    fn made(&self, value: Val, op: Op) -> Option<Key> {
        self.made_by[value.index()].clone().filter(|key| key.op == op)
    }

    fn simplify_integers(&mut self, mut key: Key) -> Simpler {
        let commutes = matches!(key.op, Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::Min | Op::Max);
        if commutes && self.constant_of(key.args[0]).is_some() {
            key.args.swap(0, 1);
        }
        let (a, ty) = (key.args[0], key.ty);
        let Some(c) = self.constant_of(key.args[1]) else { return Err(key) };
        match (key.op, c) {
            (Op::Add | Op::Sub | Op::Or | Op::Xor | Op::Shl | Op::Shr | Op::Ushr, 0) => Ok(a),
            (Op::Mul | Op::Div, 1) | (Op::And, -1) => Ok(a),
            (Op::Mul | Op::And | Op::Div, 0) | (Op::Rem, 1) => Ok(self.constant(ty, 0)),
            (Op::Rem, 0) => Ok(a),
            (Op::And, c) if self.possible_bits(a) & !c == 0 => Ok(a),
            (Op::Sub, c) => self.again(Op::Add, a, c.wrapping_neg(), ty),
            (Op::Add, c) => match self.sum_with_constant(a) {
                Some((inner, known)) => self.again(Op::Add, inner, known.wrapping_add(c), ty),
                None => Err(key),
            },
            (Op::Mul, c) => self.simplify_product(key, c),
            (Op::Shl, c) if self.sum_with_constant(a).is_some() => {
                let count = c.rem_euclid(i64::from(ty.elem.bits()));
                self.distribute(a, 1i64.wrapping_shl(count as u32), ty)
            }
            _ => Err(key),
        }
    }

    /// `a * c` for a constant that is neither 0 nor 1.
    fn simplify_product(&mut self, key: Key, c: i64) -> Simpler {
        let (a, ty) = (key.args[0], key.ty);
        if self.sum_with_constant(a).is_some() {
            return self.distribute(a, c, ty);
        }
        if let Some((inner, known)) = self.operand_and_constant(a, Op::Mul) {
            return self.again(Op::Mul, inner, known.wrapping_mul(c), ty);
        }
        if c > 0 && c.count_ones() == 1 {
            return self.again(Op::Shl, a, i64::from(c.trailing_zeros()), ty);
        }
        Err(key)
    }

    /// `(x + k) * c` as `x * c + k * c`.
    fn distribute(&mut self, sum: Val, c: i64, ty: Type) -> Simpler {
        let (inner, known) = self.sum_with_constant(sum).expect("invariant: the caller saw the sum");
        let factor = self.integer(ty, c);
        let product = self.value(Key { op: Op::Mul, args: vec![inner, factor], imms: Vec::new(), ty });
        self.again(Op::Add, product, known.wrapping_mul(c), ty)
    }

    /// Bits of a lane that may be set, sign-extended to 64.
    fn possible_bits(&self, value: Val) -> i64 {
        let ones = low_bits(self.new.ty(value).elem, u64::MAX);
        let Some(key) = self.made_by[value.index()].as_ref() else { return -1 };
        let constant = key.args.get(1).and_then(|arg| self.constant_of(*arg));
        match (key.op, constant) {
            (Op::And, Some(mask)) => mask,
            (Op::Ushr, Some(count)) => {
                let count = count.rem_euclid(i64::from(key.ty.elem.bits()));
                if count == 0 { -1 } else { (ones >> count).cast_signed() }
            }
            (Op::Zext, _) => low_bits(self.new.ty(key.args[0]).elem, u64::MAX).cast_signed(),
            _ => -1,
        }
    }

    fn sum_with_constant(&self, value: Val) -> Option<(Val, i64)> {
        self.operand_and_constant(value, Op::Add)
    }

    fn operand_and_constant(&self, value: Val, op: Op) -> Option<(Val, i64)> {
        let made = self.made(value, op)?;
        Some((made.args[0], self.constant_of(made.args[1])?))
    }

    fn integer(&mut self, ty: Type, value: i64) -> Val {
        let bits = canonical(ty.elem, scalar::from_int(ty.elem, value));
        self.constant(ty, bits)
    }

    /// The operation with a constant, simplified in its turn.
    fn again(&mut self, op: Op, a: Val, c: i64, ty: Type) -> Simpler {
        let c = self.integer(ty, c);
        Ok(self.value(Key { op, args: vec![a, c], imms: Vec::new(), ty }))
    }

    /// Operands and immediates of a memory access with constants in the displacement and factors in the scale.
    pub(super) fn folded_address(&self, op: Op, mut args: Vec<Val>, imms: &[i64]) -> (Vec<Val>, Vec<i64>) {
        let base = match op {
            Op::Load | Op::Gather => 0,
            Op::Store | Op::LoadPart | Op::Scatter => 1,
            _ => 2,
        };
        let [mut scale, mut disp] = [imms[0], imms[1]];
        let fits = |disp: Option<i64>| disp.filter(|disp| i32::try_from(*disp).is_ok());
        if let Some((inner, known)) = self.sum_with_constant(args[base])
            && let Some(moved) = fits(disp.checked_add(known))
        {
            (args[base], disp) = (inner, moved);
        }
        let has_scalar_index = !matches!(op, Op::Gather | Op::Scatter) && args.len() > base + 1;
        if has_scalar_index {
            if let Some((inner, known)) = self.sum_with_constant(args[base + 1])
                && let Some(moved) = fits(known.checked_mul(scale).and_then(|bytes| disp.checked_add(bytes)))
            {
                (args[base + 1], disp) = (inner, moved);
            }
            if let Some((inner, count)) = self.operand_and_constant(args[base + 1], Op::Shl)
                && (0..=3).contains(&count)
                && scale << count <= 8
            {
                (args[base + 1], scale) = (inner, scale << count);
            }
            if let Some(index) = self.constant_of(args[base + 1])
                && let Some(moved) = fits(index.checked_mul(scale).and_then(|bytes| disp.checked_add(bytes)))
            {
                args.remove(base + 1);
                (scale, disp) = (1, moved);
            }
        }
        (args, vec![scale, disp])
    }
}

/// The low bits that a lane of the element has.
fn low_bits(elem: Elem, bits: u64) -> u64 {
    let unused = 64 - elem.bits();
    bits << unused >> unused
}

/// The one form of a constant's bits: integers sign-extended, floats and bools zero-extended.
fn canonical(elem: Elem, bits: u64) -> i64 {
    match elem {
        Elem::Bool => (bits & 1).cast_signed(),
        elem if elem.is_int() => scalar::to_int(elem, bits),
        elem => low_bits(elem, bits).cast_signed(),
    }
}
