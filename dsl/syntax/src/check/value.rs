//! What an expression is worth while it is checked: its type, its integer form, its term, where it is present.

use super::formula::Formula;
use crate::errors::Loc;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::TermId;
use sawmill_ir::index::Index;

/// The type of a value (A10): computing types, and integers that take the type of what they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    /// Literals, dims, indices and expressions of these; alone an `i64`.
    Weak,
    /// A computing type.
    Of(DType),
    /// What is left of an error; fits everything, so that one mistake is reported once.
    Poison,
}

impl Ty {
    /// The name in messages.
    pub(crate) fn text(self) -> String {
        match self {
            Ty::Weak => "i64".into(),
            Ty::Of(dtype) => dtype.text().into(),
            Ty::Poison => "?".into(),
        }
    }

    /// It is an integer of some width.
    pub(crate) fn is_int(self) -> bool {
        match self {
            Ty::Weak | Ty::Poison => true,
            Ty::Of(dtype) => dtype.is_int(),
        }
    }

    /// It is a real float.
    pub(crate) fn is_float(self) -> bool {
        match self {
            Ty::Poison => true,
            Ty::Weak => false,
            Ty::Of(dtype) => dtype.is_float(),
        }
    }

    /// It is a truth value.
    pub(crate) fn is_bool(self) -> bool {
        matches!(self, Ty::Poison | Ty::Of(DType::Bool))
    }
}

/// A checked scalar expression.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// Where it was written.
    pub(crate) loc: Loc,
    /// Its type.
    pub(crate) ty: Ty,
    /// The exact integer it is, where that is a polynomial over positions, sizes and reads.
    pub(crate) index: Option<Index>,
    /// Its term, in its own type; a weak integer may have none yet.
    pub(crate) term: Option<TermId>,
    /// The number it is, of a float literal.
    pub(crate) float: Option<f64>,
    /// Of a condition: what is known when it holds.
    pub(crate) truth: Option<Formula>,
    /// Where it is present.
    pub(crate) presence: Formula,
    /// An integer quotient is in it, which may not meet a float.
    pub(crate) quotient: bool,
}

impl Value {
    /// A value of type `ty` with the term `term`.
    pub(crate) fn of(loc: Loc, ty: Ty, term: TermId) -> Value {
        Value { term: Some(term), ..Value::bare(loc, ty) }
    }

    /// A weak integer.
    pub(crate) fn weak(loc: Loc, index: Index) -> Value {
        Value { index: Some(index), ..Value::bare(loc, Ty::Weak) }
    }

    /// What is left of an error.
    pub(crate) fn poison(loc: Loc) -> Value {
        Value::bare(loc, Ty::Poison)
    }

    fn bare(loc: Loc, ty: Ty) -> Value {
        Value { loc, ty, index: None, term: None, float: None, truth: None, presence: Formula::True, quotient: false }
    }

    /// The same, present only where `presence` says.
    pub(crate) fn present(mut self, presence: Formula) -> Value {
        self.presence = presence;
        self
    }

    /// It comes from an error.
    pub(crate) fn is_poison(&self) -> bool {
        self.ty == Ty::Poison
    }
}
