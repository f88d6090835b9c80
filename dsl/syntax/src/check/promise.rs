//! Promised ranges: what is given to a parameter or an output that promises one must be shown to lie in it.
//!
//! In: values as checked. Out: errors; and for integers that are no polynomials, the ranges that follow from what computes them:
//! positions found by `argmax` and `argmin`, outputs of calls with a promise of their own, `min`, `max`, `clamp`, `%`, `if`.

use super::call::at_dims;
use super::elab::Elab;
use super::formula::Formula;
use super::stmt::Target;
use super::value::Value;
use crate::errors::{Loc, Problem};
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{CallResult, Const, Op, TermId};
use sawmill_ir::index::{Atom, DimId, Index};
use std::collections::BTreeMap;

impl Elab<'_> {
    /// Reports an exact integer that may leave the promised range of `name`.
    pub(crate) fn keeps_promise(&mut self, name: &str, value: Option<&Index>, range: &(Index, Index), loc: Loc) {
        let kept = value.is_some_and(|value| self.lies_in(value, range));
        if !kept {
            self.breaks_promise(name, range, loc);
        }
    }

    /// Reports a value that may leave the range that the output `name` promises.
    pub(crate) fn output_keeps_promise(&mut self, name: &str, value: &Value) {
        let promise = self.outputs.iter().find(|output| output.name == *name).and_then(|output| output.promise.clone());
        let Some((lo, hi)) = promise.filter(|_| !value.is_poison()) else { return };
        let bounds = value.term.and_then(|term| self.derived_bounds(term));
        let kept = match (&value.index, bounds) {
            (Some(index), _) => self.lies_in(index, &(lo.clone(), hi.clone())),
            (None, Some((first, end))) => {
                let (first, end) = (self.canon(&first), self.canon(&end));
                let inside = Formula::le(&self.canon(&lo), &first).and(Formula::le(&end, &self.canon(&hi)));
                self.proves(&inside)
            }
            (None, None) => false,
        };
        if !kept {
            self.breaks_promise(name, &(lo, hi), value.loc);
        }
    }

    fn lies_in(&mut self, value: &Index, (lo, hi): &(Index, Index)) -> bool {
        let value = self.canon(value);
        let inside = Formula::le(&self.canon(lo), &value).and(Formula::lt(&value, &self.canon(hi)));
        self.proves(&inside)
    }

    fn breaks_promise(&mut self, name: &str, (lo, hi): &(Index, Index), loc: Loc) {
        let range = format!("{}..{}", self.show(lo), self.show(hi));
        self.errors.report(loc, Problem::Promise { name: name.to_string(), range });
    }

    /// The promise of an output that is being defined.
    pub(crate) fn promise_of(&self, name: &str, target: &Target) -> Option<(Index, Index)> {
        let output = self.outputs.iter().find(|output| output.name == *name)?;
        output.promise.clone().filter(|_| matches!(target, Target::Known(..)))
    }

    /// The half-open range of a term that follows from what computes it, over dims.
    pub(crate) fn derived_bounds(&self, term: TermId) -> Option<(Index, Index)> {
        let Bounds { least, most } = self.bounds_of_term(term, 0);
        Some((least?, most?.add(&Index::int(1))))
    }

    /// The least and the greatest value of an integer term, as far as its operations tell.
    fn bounds_of_term(&self, term: TermId, depth: u32) -> Bounds {
        /// Deeper terms tell nothing: a walk without memory must end soon.
        const DEEPEST: u32 = 8;
        let node = &self.function.terms[term];
        if depth > DEEPEST || !node.dtype.is_int() {
            return Bounds::default();
        }
        let of = |at: usize| self.bounds_of_term(node.args[at], depth + 1);
        match &node.op {
            Op::Const(Const::Int(value)) => Bounds::just(Index::int(*value)),
            Op::Index(value) if is_size(value) => Bounds::just(value.clone()),
            Op::Cast(_) => of(0),
            // Positions found lie on the axis.
            Op::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, axes, .. } => {
                let extent = self.function.axes[axes[0]].extent.clone();
                Bounds::range(Index::int(0), extent)
            }
            Op::Call { function, output: CallResult::Output(number), dims, .. } => {
                self.promised_by_callee(function, *number, dims).unwrap_or_default()
            }
            Op::Elem(ElemOp::Max) => {
                let (a, b) = (of(0), of(1));
                Bounds { least: either(a.least, b.least, Index::larger), most: both(a.most, b.most, Index::larger) }
            }
            Op::Elem(ElemOp::Min) => {
                let (a, b) = (of(0), of(1));
                Bounds { least: both(a.least, b.least, Index::smaller), most: either(a.most, b.most, Index::smaller) }
            }
            Op::Elem(ElemOp::Rem) => match of(1) {
                // A remainder by what is not positive may be anything.
                Bounds { least: Some(by), most } if by.as_int().is_some_and(|by| by > 0) => {
                    Bounds { least: Some(Index::int(0)), most: most.map(|by| by.sub(&Index::int(1))) }
                }
                _ => Bounds::default(),
            },
            Op::Elem(ElemOp::Select) => {
                let (a, b) = (of(1), of(2));
                Bounds { least: both(a.least, b.least, Index::smaller), most: both(a.most, b.most, Index::larger) }
            }
            _ => Bounds::default(),
        }
    }

    /// What a callee promises of an output, in this function's sizes.
    fn promised_by_callee(&self, callee: &str, output: u32, dims: &[(String, Index)]) -> Option<Bounds> {
        let callee = self.items.functions.get(callee)?;
        let (lo, hi) = callee.outputs.get(output as usize)?.promise.as_ref()?;
        let of_name = |name: &str| dims.iter().find(|(known, _)| known == name).map(|(_, size)| size.clone());
        let dims: BTreeMap<DimId, Index> =
            callee.heading.dims.iter().filter_map(|(id, dim)| Some((id, of_name(&dim.name)?))).collect();
        Some(Bounds::range(at_dims(lo, &dims), at_dims(hi, &dims)))
    }
}

/// The least and the greatest value of an integer where they are known, over dims.
#[derive(Default)]
struct Bounds {
    least: Option<Index>,
    most: Option<Index>,
}

impl Bounds {
    fn just(value: Index) -> Bounds {
        Bounds { least: Some(value.clone()), most: Some(value) }
    }

    /// A half-open range, if its ends are sizes.
    fn range(lo: Index, hi: Index) -> Bounds {
        let known = is_size(&lo) && is_size(&hi);
        Bounds { least: Some(lo).filter(|_| known), most: Some(hi.sub(&Index::int(1))).filter(|_| known) }
    }
}

/// Made of dims alone.
fn is_size(value: &Index) -> bool {
    let mut sizes = true;
    value.for_each_atom(&mut |atom| sizes &= !matches!(atom, Atom::Axis(_) | Atom::Param(_) | Atom::Read(..)));
    sizes
}

/// Of two bounds that both hold the one that says more; one alone if only that is known.
fn either(a: Option<Index>, b: Option<Index>, tighter: fn(&Index, &Index) -> Index) -> Option<Index> {
    match (a, b) {
        (Some(a), Some(b)) => Some(tighter(&a, &b)),
        (one, other) => one.or(other),
    }
}

fn both(a: Option<Index>, b: Option<Index>, wider: fn(&Index, &Index) -> Index) -> Option<Index> {
    Some(wider(&a?, &b?))
}
