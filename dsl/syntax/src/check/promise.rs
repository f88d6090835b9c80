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
use sawmill_ir::index::{Atom, AxisId, DimId, Index, TensorId};
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
            Op::Index(value) => self.bounds_of_index(value),
            Op::Read { tensor, .. } => self.bounds_of_tensor(*tensor),
            Op::ClosureParam(number) => self.bounds_of_param(*number),
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
            Op::Elem(ElemOp::BitLength) => self.bounds_of_bit_length(node.args[0], depth + 1),
            Op::Elem(ElemOp::Popcount) => Bounds::range(Index::int(0), Index::int(65)),
            Op::Elem(ElemOp::BitAnd) => {
                let (a, b) = (of(0), of(1));
                let natural = a.is_natural() || b.is_natural();
                let most = [a, b].into_iter().filter(Bounds::is_natural).map(|bounds| bounds.most);
                let most = most.reduce(|a, b| either(a, b, Index::smaller)).flatten();
                Bounds { least: natural.then(|| Index::int(0)), most }
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

    /// The bounds of an exact integer in which indices and promised reads are linear.
    fn bounds_of_index(&self, value: &Index) -> Bounds {
        let mut sum = Bounds::just(Index::int(0));
        for (monomial, factor) in value.terms() {
            let part = match monomial {
                [Atom::Axis(axis)] => Bounds::range(Index::int(0), self.axis_extent(*axis)),
                [Atom::Param(number)] => self.bounds_of_param(*number),
                [Atom::Read(tensor, _)] => self.bounds_of_tensor(*tensor),
                _ => {
                    let product = monomial.iter().fold(Index::int(1), |p, atom| p.mul(&Index::atom(atom.clone())));
                    if !is_size(&product) {
                        return Bounds::default();
                    }
                    Bounds::just(product)
                }
            };
            let part = if factor < 0 { Bounds { least: part.most, most: part.least } } else { part };
            let add = |a: Option<Index>, b: Option<Index>| Some(a?.add(&b?.scale(factor)));
            sum = Bounds { least: add(sum.least, part.least), most: add(sum.most, part.most) };
        }
        sum
    }

    /// `bit_length` grows with its operand, and of `a ^ b` and `a | b` it is no more than that of the larger.
    fn bounds_of_bit_length(&self, operand: TermId, depth: u32) -> Bounds {
        let node = &self.function.terms[operand];
        let most = match node.op {
            Op::Elem(ElemOp::BitXor | ElemOp::BitOr) => {
                let (a, b) = (self.bounds_of_term(node.args[0], depth), self.bounds_of_term(node.args[1], depth));
                if a.is_natural() && b.is_natural() { both(a.most, b.most, Index::larger) } else { None }
            }
            _ => Some(self.bounds_of_term(operand, depth)).filter(Bounds::is_natural).and_then(|bounds| bounds.most),
        };
        let widest = || Index::int(64);
        Bounds { least: Some(Index::int(0)), most: Some(most.map_or_else(widest, |most| most.bit_length())) }
    }

    fn axis_extent(&self, axis: AxisId) -> Index {
        self.function.axes[axis].extent.clone()
    }

    fn bounds_of_tensor(&self, tensor: TensorId) -> Bounds {
        let known = self.tensors.get(&tensor).and_then(|facts| facts.bounds.clone());
        known.map_or_else(Bounds::default, |(lo, hi)| Bounds::range(lo, hi))
    }

    fn bounds_of_param(&self, number: u32) -> Bounds {
        let known = self.params_around.get(number as usize).and_then(|(_, range)| range.clone());
        known.map_or_else(Bounds::default, |(lo, hi)| Bounds::range(lo, hi))
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
    /// Known to be 0 or more.
    fn is_natural(&self) -> bool {
        self.least.as_ref().and_then(Index::as_int).is_some_and(|least| least >= 0)
    }

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
