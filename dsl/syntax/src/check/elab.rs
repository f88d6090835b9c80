//! The state of checking one function: the graph-IR function under construction, names, facts.
//!
//! Checking and lowering are one walk: what is checked is built at once, so that nothing checked can differ from what is
//! built. Errors leave poison, which fits everywhere. Terms that were built on the way and are not used are dropped by
//! [`super::compact`].

use super::formula::Formula;
use super::grown::{Grown, Pending};
use super::items::{Given, Items, Output};
use super::prove::{Known, proves};
use super::scope::{Binding, Scope};
use super::show;
use super::value::{Ty, Value};
use crate::errors::{Diagnostics, Loc, Problem};
use proc_macro2::Span;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::{Axis, Const, DimKind, Elem, Function, Op, Stmt, Term, TermId};
use sawmill_ir::index::{Atom, AxisId, DimId, Index, TensorId};
use std::collections::BTreeMap;

/// What is known of a tensor beyond what the IR holds.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Where its elements are present, over `axes`.
    pub(crate) presence: Formula,
    /// The axes that `presence` and `exact` speak of.
    pub(crate) axes: Vec<AxisId>,
    /// The exact integer each element is.
    pub(crate) exact: Option<Index>,
    /// The half-open range of its integers, over dims.
    pub(crate) bounds: Option<(Index, Index)>,
}

/// How a closure parameter is applied in the body.
#[derive(Clone, Debug)]
pub(crate) struct ClosureUse {
    /// Names of its parameters.
    pub(crate) params: Vec<String>,
    /// Type and range of each parameter, once applied.
    pub(crate) given: Option<Vec<Given>>,
}

/// The state of checking one function.
pub(crate) struct Elab<'a> {
    pub(crate) items: &'a Items,
    pub(crate) errors: &'a mut Diagnostics,
    pub(crate) function: Function,
    pub(crate) scope: Scope,
    pub(crate) facts: Vec<Formula>,
    /// Dims that equations of the `where` clause replace.
    pub(crate) sizes: BTreeMap<DimId, Index>,
    pub(crate) tensors: BTreeMap<TensorId, Facts>,
    /// Tensors of records by dotted name; a push gives a name its new tensor.
    pub(crate) fields: BTreeMap<String, TensorId>,
    /// Fields of a format that are written over the row: how many of their elements a record holds.
    pub(crate) row_fields: BTreeMap<TensorId, i64>,
    /// Lengths of caches by prefix.
    pub(crate) lengths: BTreeMap<String, Index>,
    pub(crate) closures: Vec<ClosureUse>,
    /// Reads that cannot be proved are guarded: inside the left side of `or`.
    pub(crate) guarded: bool,
    /// Inside the body of a closure.
    pub(crate) in_closure: bool,
    /// Names and ranges of the parameters of the closures around this point, outermost first.
    pub(crate) params_around: Vec<(String, Option<(Index, Index)>)>,
    /// Computed positions of the closures around this point, by the numbers they have as parameters.
    pub(crate) positions: Vec<(u32, TermId)>,
    /// The axes of the loops around this point.
    pub(crate) loops: Vec<AxisId>,
    /// What a closure from Rust captured.
    pub(crate) captures: Vec<TensorId>,
    /// Caches that have been appended: by this function at 0, by what it calls at the number of the statement.
    pub(crate) grown: BTreeMap<String, Vec<Grown>>,
    /// Calls of the current statement that append to caches.
    pub(crate) pending: Vec<Pending>,
    /// The number of the statement.
    pub(crate) statement: usize,
    /// The outputs of the signature.
    pub(crate) outputs: Vec<Output>,
    /// Outputs that have been assigned, and where.
    pub(crate) assigned_outputs: BTreeMap<String, (Option<TensorId>, Span)>,
    /// Statements of the block under construction.
    pub(crate) body: Vec<Stmt>,
    terms: BTreeMap<(Op, Vec<TermId>, DType), TermId>,
    unknowns: usize,
}

impl<'a> Elab<'a> {
    /// A fresh state.
    pub(crate) fn new(items: &'a Items, errors: &'a mut Diagnostics) -> Elab<'a> {
        Elab {
            items,
            errors,
            function: Function::default(),
            scope: Scope::default(),
            facts: Vec::new(),
            sizes: BTreeMap::new(),
            tensors: BTreeMap::new(),
            fields: BTreeMap::new(),
            row_fields: BTreeMap::new(),
            lengths: BTreeMap::new(),
            closures: Vec::new(),
            guarded: false,
            in_closure: false,
            params_around: Vec::new(),
            positions: Vec::new(),
            loops: Vec::new(),
            captures: Vec::new(),
            grown: BTreeMap::new(),
            pending: Vec::new(),
            statement: 0,
            outputs: Vec::new(),
            assigned_outputs: BTreeMap::new(),
            body: Vec::new(),
            terms: BTreeMap::new(),
            unknowns: 0,
        }
    }

    /// Reports a problem and leaves poison.
    pub(crate) fn poison(&mut self, loc: Loc, problem: Problem) -> Value {
        self.errors.report(loc, problem);
        Value::poison(loc)
    }

    /// The term of an operation; equal terms are one.
    pub(crate) fn term(&mut self, op: Op, args: Vec<TermId>, dtype: DType) -> TermId {
        let key = (op, args, dtype);
        if let Some(id) = self.terms.get(&key) {
            return *id;
        }
        let (op, args, dtype) = key.clone();
        let id = self.function.terms.push(Term { op, args, dtype });
        self.terms.insert(key, id);
        id
    }

    /// An elementwise operation on terms of one type.
    pub(crate) fn elem(&mut self, op: ElemOp, args: Vec<TermId>, dtype: DType) -> TermId {
        self.term(Op::Elem(op), args, dtype)
    }

    /// The term of a value in the type `want`; kinds have been checked before.
    pub(crate) fn as_type(&mut self, value: &Value, want: DType) -> TermId {
        if value.is_poison() {
            return self.constant(Const::Int(0), want);
        }
        if let (Some(number), true) = (value.float, want.is_float()) {
            return self.constant(Const::float(number), want);
        }
        if value.ty == Ty::Weak && value.term.is_none() {
            let index = value.index.clone().expect("invariant: a weak integer without term has its exact form");
            return self.exact(&index, want);
        }
        let term = value.term.expect("invariant: a value that is not weak has a term");
        let has = self.function.terms[term].dtype;
        if has == want { term } else { self.term(Op::Cast(want), vec![term], want) }
    }

    /// The term of a value in its own type.
    pub(crate) fn as_own(&mut self, value: &Value) -> TermId {
        let own = match value.ty {
            Ty::Weak | Ty::Poison => DType::I64,
            Ty::Of(dtype) => dtype,
        };
        self.as_type(value, own)
    }

    /// An exact integer as a term of type `want`.
    pub(crate) fn exact(&mut self, index: &Index, want: DType) -> TermId {
        match (index.as_int(), want.is_float()) {
            // Every i64 that is written down is far below 2^53.
            (Some(value), true) => return self.constant(Const::float(value as f64), want),
            (Some(value), false) => return self.constant(Const::Int(value), want),
            (None, _) => {}
        }
        let term = self.term(Op::Index(index.clone()), Vec::new(), DType::I64);
        if want == DType::I64 { term } else { self.term(Op::Cast(want), vec![term], want) }
    }

    /// A constant.
    pub(crate) fn constant(&mut self, value: Const, dtype: DType) -> TermId {
        self.term(Op::Const(value), Vec::new(), dtype)
    }

    /// A new axis.
    pub(crate) fn axis(&mut self, name: &str, extent: Index) -> AxisId {
        self.function.axes.push(Axis { name: name.to_string(), extent })
    }

    /// A size in the form in which sizes are compared: equations substituted, exact tensors replaced by what they are.
    pub(crate) fn canon(&self, index: &Index) -> Index {
        index.substitute(&mut |atom| self.replaced(atom))
    }

    fn replaced(&self, atom: &Atom) -> Option<Index> {
        match atom {
            Atom::Dim(dim) => self.sizes.get(dim).cloned(),
            Atom::Read(tensor, subs) => {
                let facts = self.tensors.get(tensor)?;
                let exact = facts.exact.as_ref()?;
                Some(self.canon(&at_axes(exact, &facts.axes, subs)))
            }
            _ => None,
        }
    }

    /// Whether the facts at this point imply the condition.
    pub(crate) fn proves(&self, goal: &Formula) -> bool {
        if *goal == Formula::True {
            return true;
        }
        let goal = goal.substitute(&mut |atom| self.replaced(atom));
        let facts: Vec<Formula> = self.facts.iter().map(|f| f.substitute(&mut |atom| self.replaced(atom))).collect();
        proves(self, &facts, &goal)
    }

    /// Whether two sizes are the same in every call.
    pub(crate) fn same_size(&self, a: &Index, b: &Index) -> bool {
        let (a, b) = (self.canon(a), self.canon(b));
        a == b || self.proves(&Formula::eq(&a, &b))
    }

    /// Runs `f` under one more fact.
    pub(crate) fn under<T>(&mut self, fact: Formula, f: impl FnOnce(&mut Self) -> T) -> T {
        let mark = self.facts.len();
        self.facts.push(fact);
        let result = f(self);
        self.facts.truncate(mark);
        result
    }

    /// A condition of which nothing is known but its name.
    pub(crate) fn unknown(&mut self) -> Formula {
        self.unknowns += 1;
        Formula::Opaque { name: format!("?{}", self.unknowns), at: Vec::new(), holds: true }
    }

    /// The text of a size or position.
    pub(crate) fn show(&self, index: &Index) -> String {
        show::index_within(&self.function, &self.params_around, index)
    }

    /// Where a read of `tensor` at `subs` is present.
    pub(crate) fn presence_at(&self, tensor: TensorId, subs: &[Index]) -> Formula {
        match self.tensors.get(&tensor) {
            Some(facts) if facts.presence != Formula::True => {
                let axes = facts.axes.clone();
                facts.presence.substitute(&mut |atom| match atom {
                    Atom::Axis(axis) => axes.iter().position(|a| a == axis).and_then(|at| subs.get(at).cloned()),
                    _ => None,
                })
            }
            _ => Formula::True,
        }
    }

    /// What a name that is a type stands for.
    pub(crate) fn given_type(&self, name: &str) -> Option<Elem> {
        match self.scope.get(name).map(|entry| &entry.binding) {
            Some(Binding::TypeParam(number)) => Some(Elem::Param(*number)),
            Some(Binding::Elem(elem)) => Some(elem.clone()),
            None if self.items.formats.contains_key(name) => Some(Elem::Format(name.to_string())),
            _ => None,
        }
    }
}

/// `index` with `axes` replaced by `subs`.
pub(crate) fn at_axes(index: &Index, axes: &[AxisId], subs: &[Index]) -> Index {
    index.substitute(&mut |atom| match atom {
        Atom::Axis(axis) => axes.iter().position(|a| a == axis).and_then(|at| subs.get(at).cloned()),
        _ => None,
    })
}

impl Known for Elab<'_> {
    fn positive(&self, atom: &Atom) -> bool {
        let Atom::Dim(dim) = atom else { return false };
        self.function.dims.get(*dim).is_some_and(|dim| matches!(dim.kind, DimKind::Const(_)))
    }

    fn bounds(&self, atom: &Atom) -> Option<(Index, Index)> {
        let (lo, hi) = match atom {
            Atom::Read(tensor, _) => self.tensors.get(tensor)?.bounds.as_ref()?,
            Atom::Param(number) => self.params_around.get(*number as usize)?.1.as_ref()?,
            _ => return None,
        };
        Some((self.canon(lo), self.canon(hi)))
    }
}

/// An axis that stands for any position, in proofs only: it is in no function.
pub(crate) fn any_position(number: usize) -> AxisId {
    const FIRST: usize = 1 << 30;
    AxisId::new(FIRST + number)
}
