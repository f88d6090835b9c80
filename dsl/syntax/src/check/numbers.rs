//! How types of numbers meet (A10): floats mix and `f64` wins, weak integers take the other side's type, the rest needs `as`.

use super::elab::Elab;
use super::items::computes_in;
use super::value::{Ty, Value};
use crate::errors::{Loc, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{Const, Elem, TermId};

impl Elab<'_> {
    /// The type in which two values meet, or an error at `at`.
    pub(crate) fn common(&mut self, a: &Value, b: &Value, at: Loc) -> Option<DType> {
        let (float, other) = if a.ty.is_float() { (a, b) } else { (b, a) };
        match (float.ty, other.ty) {
            (Ty::Poison, _) | (_, Ty::Poison) => None,
            (Ty::Weak, Ty::Weak) => Some(DType::I64),
            (Ty::Of(x), Ty::Of(y)) if x == y => Some(x),
            (Ty::Of(x), Ty::Of(y)) if x.is_float() && y.is_float() => Some(if float.float.is_some() {
                y
            } else if other.float.is_some() {
                x
            } else {
                DType::F64
            }),
            (Ty::Of(x), Ty::Weak) if x.is_float() => self.meets_float(other).then_some(x),
            (Ty::Of(x), Ty::Weak) | (Ty::Weak, Ty::Of(x)) if x.is_int() => Some(x),
            (Ty::Of(DType::Bool), wrong) | (wrong, Ty::Of(DType::Bool)) => {
                self.errors.report(at, Problem::NotNumber { found: format!("bool` beside `{}", wrong.text()) });
                None
            }
            (Ty::Of(x), Ty::Of(y)) if x.is_float() => {
                self.errors.report(at, Problem::FloatAndInt { float: x.text().into(), int: y.text().into() });
                None
            }
            _ => {
                self.errors.report(at, Problem::TwoIntegers { one: a.ty.text(), other: b.ty.text() });
                None
            }
        }
    }

    /// A weak integer may become a float unless it was rounded by a division.
    pub(crate) fn meets_float(&mut self, value: &Value) -> bool {
        if value.quotient {
            self.errors.report(value.loc, Problem::Quotient);
        }
        !value.quotient
    }

    /// A value as a float: weak integers become `f32`. Reports what is none.
    pub(crate) fn as_float(&mut self, value: &Value, op: &str) -> Option<(TermId, DType)> {
        match value.ty {
            Ty::Poison => None,
            Ty::Of(dtype) if dtype.is_float() => Some((self.as_type(value, dtype), dtype)),
            Ty::Weak => self.meets_float(value).then(|| (self.as_type(value, DType::F32), DType::F32)),
            Ty::Of(found) => {
                let problem = Problem::WrongKind { op: op.into(), wanted: "floats".into(), found: found.text().into() };
                self.errors.report(value.loc, problem);
                None
            }
        }
    }

    /// The term that is written to something that stores `elem`; kinds must agree.
    pub(crate) fn written(&mut self, value: &Value, elem: &Elem, target: &str) -> TermId {
        let dtype = computes_in(&self.function, elem);
        let fits = match value.ty {
            Ty::Poison => true,
            Ty::Weak if dtype.is_float() => self.meets_float(value),
            Ty::Weak => dtype.is_int(),
            Ty::Of(found) => found.kind() == dtype.kind() || found.is_int() && dtype.is_int(),
        };
        if fits && !value.is_poison() {
            return self.as_type(value, dtype);
        }
        if !fits && !value.quotient {
            let target = format!("{target}: {}", self.elem_text(elem));
            self.errors.report(value.loc, Problem::AcrossKinds { target, found: value.ty.text() });
        }
        self.constant(Const::Int(0), dtype)
    }

    /// The name of an element type.
    pub(crate) fn elem_text(&self, elem: &Elem) -> String {
        match elem {
            Elem::Type(dtype) => dtype.text().into(),
            Elem::Param(number) => self.function.type_params[*number as usize].name.clone(),
            Elem::Format(name) => name.clone(),
        }
    }
}
