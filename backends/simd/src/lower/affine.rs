//! Integer tiles that are affine in positions, in 32-bit lanes.
//!
//! In: comparisons and casts of `i64` tiles made of coordinates. Out: the same in `i32` lanes, or nothing where the pattern
//! does not apply. For a comparison both sides are written as `sum of coefficient * position + scalar`; positions are far
//! below 2^31, so comparing the small part with the scalar difference, clamped to +-2^30, gives the same answer. A cast to a
//! float goes through 32 bits where the scalar is below 2^30, which is tested at run time: vectors convert no wider integers.

use super::Lower;
use super::layout::{Place, Point};
use crate::vir::{Elem, Type, Val};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::tile::{AxisId, Inst, Op, Value};

/// Largest magnitude of the part that varies with positions.
const REACH: i64 = 1 << 29;

/// An affine tile: terms over axes (with the renaming applied), and scalars with coefficients.
#[derive(Clone, Debug, Default)]
struct Affine {
    terms: Vec<(AxisId, i64)>,
    scalars: Vec<(Value, i64)>,
    constant: i64,
}

impl Affine {
    fn scaled(mut self, by: i64) -> Option<Self> {
        for (_, c) in self.terms.iter_mut() {
            *c = c.checked_mul(by)?;
        }
        for (_, c) in self.scalars.iter_mut() {
            *c = c.checked_mul(by)?;
        }
        self.constant = self.constant.checked_mul(by)?;
        Some(self)
    }
    fn plus(mut self, other: Self) -> Option<Self> {
        for (axis, c) in other.terms {
            match self.terms.iter_mut().find(|(a, _)| *a == axis) {
                Some((_, sum)) => *sum = sum.checked_add(c)?,
                None => self.terms.push((axis, c)),
            }
        }
        self.scalars.extend(other.scalars);
        self.constant = self.constant.checked_add(other.constant)?;
        Some(self)
    }
}

impl Lower<'_> {
    /// A comparison of two affine `i64` tiles along the lanes.
    pub(super) fn compare_ramps(&mut self, op: ElemOp, inst: &Inst, point: &Point) -> Option<Val> {
        let comparison = matches!(op, ElemOp::Lt | ElemOp::Le | ElemOp::Gt | ElemOp::Ge | ElemOp::Eq | ElemOp::Ne);
        if !comparison || self.dtype(inst.args[0]) != DType::I64 {
            return None;
        }
        let axes: Vec<AxisId> = inst.args.iter().flat_map(|v| self.axes(*v)).copied().collect();
        let (_, pos) = point.lanes_of(&axes)?;
        let difference = self.affine(inst.args[0])?.plus(self.affine(inst.args[1])?.scaled(-1)?)?;
        if !self.is_near(&difference) {
            return None;
        }
        let lanes = pos.lanes;
        let varying = self.small_part(&difference, point, lanes);
        let scalar = self.scalar_part(&difference);
        let scalar = self.b.neg(scalar);
        let (low, high) = (self.b.i64(-2 * REACH), self.b.i64(2 * REACH));
        let above = self.b.max(scalar, low);
        let clamped = self.b.min(above, high);
        let bound = self.b.narrow(clamped, Elem::I32);
        let bound = self.widen(bound, lanes);
        Some(match op {
            ElemOp::Lt => self.b.lt(varying, bound),
            ElemOp::Le => self.b.le(varying, bound),
            ElemOp::Gt => self.b.gt(varying, bound),
            ElemOp::Ge => self.b.ge(varying, bound),
            ElemOp::Eq => self.b.eq(varying, bound),
            _ => self.b.ne(varying, bound),
        })
    }

    /// The low 32 bits of an affine `i64` tile: arithmetic modulo 2^32 gives them exactly.
    pub(super) fn narrow_ramp(&mut self, value: Value, point: &Point) -> Option<Val> {
        let (_, pos) = point.lanes_of(self.axes(value))?;
        let affine = self.affine(value)?;
        let varying = self.small_part(&affine, point, pos.lanes);
        let scalar = self.scalar_part(&affine);
        let scalar = self.b.narrow(scalar, Elem::I32);
        let scalar = self.widen(scalar, pos.lanes);
        Some(self.b.add(varying, scalar))
    }

    /// An affine `i64` tile as floats.
    pub(super) fn float_ramp(&mut self, value: Value, to: DType, point: &Point) -> Option<Val> {
        let (_, pos) = point.lanes_of(self.axes(value))?;
        let affine = self.affine(value).filter(|affine| self.is_near(affine))?;
        let elem = self.elem(to);
        let varying = self.small_part(&affine, point, pos.lanes);
        let scalar = self.scalar_part(&affine);
        let (most, all) = (self.b.i64(2 * REACH), self.b.i64(4 * REACH));
        let from_zero = self.b.add(scalar, most);
        let fits = self.b.ult(from_zero, all);
        self.b.begin_if(fits);
        let narrow = self.b.narrow(scalar, Elem::I32);
        let narrow = self.b.splat(narrow, pos.lanes);
        let sum = self.b.add(varying, narrow);
        let quick = self.b.sint_to_float(sum, elem);
        self.b.begin_else(&[quick]);
        self.open_scope();
        let wide = self.eval_lanes(value, point, pos.lanes);
        let slow = self.b.sint_to_float(wide, elem);
        self.close_scope();
        Some(self.b.end_if(&[slow])[0])
    }

    /// Whether the part of an affine tile that varies with positions stays below [`REACH`].
    fn is_near(&self, affine: &Affine) -> bool {
        let part = |(axis, c): &(AxisId, i64)| c.checked_abs()?.checked_mul(self.extent(*axis) + 64);
        let reach = affine.terms.iter().try_fold(0_i64, |sum, term| sum.checked_add(part(term)?));
        reach.is_some_and(|reach| reach < REACH)
    }

    /// `value` as an affine tile.
    fn affine(&self, value: Value) -> Option<Affine> {
        if let Some(Place::Alias(other)) = self.place(value) {
            return self.affine(*other);
        }
        if self.axes(value).is_empty() {
            return Some(match self.known.get(&value) {
                Some(known) => Affine { constant: *known, ..Affine::default() },
                None => Affine { scalars: vec![(value, 1)], ..Affine::default() },
            });
        }
        let inst = self.plan.def(value)?;
        let part = |at: usize| self.affine(inst.args[at]);
        match &inst.op {
            Op::Coord(axis) => part(0)?.plus(Affine { terms: vec![(*axis, 1)], ..Affine::default() }),
            Op::Rename(pairs) => {
                let mut affine = part(0)?;
                for (axis, _) in affine.terms.iter_mut() {
                    *axis = pairs.iter().find(|(from, _)| from == axis).map_or(*axis, |(_, to)| *to);
                }
                Some(affine)
            }
            Op::Elem(ElemOp::Add) => inst.args.iter().try_fold(Affine::default(), |sum, v| sum.plus(self.affine(*v)?)),
            Op::Elem(ElemOp::Sub) => part(0)?.plus(part(1)?.scaled(-1)?),
            Op::Elem(ElemOp::Neg) => part(0)?.scaled(-1),
            Op::Elem(ElemOp::Mul) if inst.args.len() == 2 => {
                let known = |at: usize| self.known.get(&inst.args[at]).copied();
                match (known(0), known(1)) {
                    (_, Some(factor)) => part(0)?.scaled(factor),
                    (Some(factor), _) => part(1)?.scaled(factor),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn small_part(&mut self, affine: &Affine, point: &Point, lanes: u8) -> Val {
        let ty = Type::vector(Elem::I32, lanes);
        let mut first = self.b.i64(0);
        let mut ramp = 0;
        for (axis, coefficient) in &affine.terms {
            let Some(pos) = point.get(*axis) else { continue };
            let at = self.position(pos);
            let factor = self.b.i64(*coefficient);
            let step = self.b.mul(at, factor);
            first = self.b.add(first, step);
            if pos.lanes > 1 {
                ramp += coefficient;
            }
        }
        let first = self.b.narrow(first, Elem::I32);
        let first = self.widen(first, lanes);
        if ramp == 0 {
            return first;
        }
        let lane = self.b.iota(ty);
        let step = self.b.int(ty, ramp);
        let steps = self.b.mul(lane, step);
        self.b.add(first, steps)
    }
    fn scalar_part(&mut self, affine: &Affine) -> Val {
        let mut sum = self.b.i64(affine.constant);
        for (value, coefficient) in &affine.scalars {
            let scalar = self.eval(*value, &Point::default());
            let factor = self.b.i64(*coefficient);
            let term = self.b.mul(scalar, factor);
            sum = self.b.add(sum, term);
        }
        sum
    }
}
