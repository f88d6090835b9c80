//! Rules of terms, and what a term leaves open.
//!
//! In: the terms of a function, in order. Out: for each term its free axes, the tensors it reads, the running values and
//! closure parameters it needs; broken rules go to the verifier. One pass, since operands come before users.

use super::{Form, Verifier};
use crate::dtype::{DType, Kind};
use crate::elem::ReduceOp;
use crate::entity::Entity;
use crate::graph::text::MAX_DEPTH;
use crate::graph::typing::{Scope, infer, reduce_dtype};
use crate::graph::{Arg, Closure, Component, Const, Elem, Function, Op, Repair, Term, TermId};
use crate::index::{Atom, AxisId, Index, TensorId};
use std::collections::BTreeSet;

/// What a term leaves open.
#[derive(Clone, Debug, Default)]
pub(super) struct TermFacts {
    /// Free axes.
    pub(super) axes: BTreeSet<AxisId>,
    /// Tensors read, at any depth.
    pub(super) reads: BTreeSet<TensorId>,
    /// Components of an enclosing fold that `new` and `old` name, with their types.
    pub(super) running: BTreeSet<(u32, DType)>,
    /// Parameters of an enclosing closure, with their types (none known in integer expressions).
    pub(super) params: BTreeSet<(u32, Option<DType>)>,
    depth: u32,
}

impl TermFacts {
    fn include(&mut self, other: &Self) {
        self.axes.extend(&other.axes);
        self.reads.extend(&other.reads);
        self.running.extend(&other.running);
        self.params.extend(&other.params);
        self.depth = self.depth.max(other.depth + 1);
    }
    fn include_index(&mut self, index: &Index) {
        index.for_each_atom(&mut |atom| match atom {
            Atom::Axis(axis) => drop(self.axes.insert(*axis)),
            Atom::Read(tensor, _) => drop(self.reads.insert(*tensor)),
            Atom::Param(at) => drop(self.params.insert((*at, None))),
            _ => {}
        });
    }
}

/// Checks every term.
pub(super) fn facts(verifier: &mut Verifier<'_>) -> Vec<TermFacts> {
    let mut all: Vec<TermFacts> = Vec::with_capacity(verifier.function.terms.len());
    for (id, term) in verifier.function.terms.iter() {
        let fact = term_facts(verifier, &all, id, term);
        all.push(fact);
    }
    all
}

fn term_facts(verifier: &mut Verifier<'_>, all: &[TermFacts], id: TermId, term: &Term) -> TermFacts {
    let mut facts = TermFacts::default();
    let mut operands = term.args.clone();
    term.op.for_each_closure(&mut |closure| operands.push(closure.body));
    if operands.iter().any(|a| a.index() >= all.len()) {
        verifier.fail(id, "an operand does not come before its user");
        return facts;
    }
    let function = verifier.function;
    if matches!(term.op, Op::Fold { .. }) {
        fold(verifier, all, id, term, &mut facts);
    } else if let (Op::Bind(number), [value, body]) = (&term.op, term.args.as_slice()) {
        let mut body = all[body.index()].clone();
        body.params.retain(|(at, _)| at != number);
        facts.include(&all[value.index()]);
        facts.include(&body);
    } else {
        term.args.iter().for_each(|a| facts.include(&all[a.index()]));
    }
    types(verifier, id, term);
    op_rules(verifier, all, id, term, &mut facts);
    for axis in term.op.binds() {
        let Some(data) = function.axes.get(*axis) else {
            verifier.fail(id, format!("there is no axis {axis}"));
            continue;
        };
        facts.axes.remove(axis);
        facts.include_index(&data.extent);
    }
    verifier.require(facts.depth < MAX_DEPTH, id, || format!("terms nest deeper than {MAX_DEPTH}"));
    facts
}

/// The stated type is what the tables give.
fn types(verifier: &mut Verifier<'_>, id: TermId, term: &Term) {
    let dtype = term.dtype;
    verifier.require(dtype.is_compute(), id, || format!("it computes in the storage type {dtype}"));
    match &term.op {
        Op::Const(value) => {
            let fits = match (value, dtype.kind()) {
                (Const::Float(_), Kind::Float) | (Const::Int(_), Kind::Signed) | (Const::Bool(_), Kind::Bool) => true,
                (Const::Int(value), Kind::Unsigned) => *value >= 0,
                _ => false,
            };
            verifier.require(fits, id, || format!("a constant {value:?} of type {dtype}"));
        }
        // Their types are stated; folds and closures around them check them.
        Op::New(_) | Op::Old(_) | Op::ClosureParam(_) | Op::Call { .. } => {}
        Op::Read { tensor, .. } => {
            // A read of a type parameter may be stated to compute in any type of its kind.
            let elem = verifier.function.tensors.get(*tensor).map(|t| &t.elem);
            if !matches!(elem, Some(Elem::Param(_))) {
                same_as_inferred(verifier, id, term);
            }
        }
        _ => same_as_inferred(verifier, id, term),
    }
}

fn same_as_inferred(verifier: &mut Verifier<'_>, id: TermId, term: &Term) {
    match infer(verifier.function, &term.op, &term.args, &Scope::default()) {
        Ok(dtype) => {
            verifier.require(dtype == term.dtype, id, || format!("its type is {dtype}, not {}", term.dtype));
        }
        Err(message) => verifier.fail(id, message),
    }
}

fn op_rules(verifier: &mut Verifier<'_>, all: &[TermFacts], id: TermId, term: &Term, facts: &mut TermFacts) {
    let function = verifier.function;
    match &term.op {
        Op::Index(index) => index_rules(verifier, id, index, facts),
        Op::Read { tensor, subs, .. } => {
            facts.reads.insert(*tensor);
            subs.iter().for_each(|sub| index_rules(verifier, id, sub, facts));
            let rank = function.tensors.get(*tensor).map(|t| t.shape.len());
            verifier
                .require(rank == Some(subs.len()), id, || format!("{} subscripts for a rank of {rank:?}", subs.len()));
        }
        Op::Reduce { op, axes, segment } => {
            verifier.require(!axes.is_empty(), id, || "a reduction over no axis".to_owned());
            let one = axes.len() == 1;
            let ordered = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin | ReduceOp::First | ReduceOp::Last);
            verifier.require(one || !matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin), id, || {
                format!("`{op}` over several axes")
            });
            let initial = term.args.len() < 2 || !(ordered || *op == ReduceOp::Mean);
            verifier.require(initial, id, || format!("`{op}` has no initial element"));
            if let Some((offsets, at)) = segment {
                facts.reads.insert(*offsets);
                index_rules(verifier, id, at, facts);
                let fits = function.tensors.get(*offsets).is_some_and(|t| t.shape.len() == 1 && is_int(&t.elem));
                verifier.require(one && fits, id, || "a segment is one axis and a row of integer offsets".to_owned());
            }
        }
        Op::Softmax { axes } => {
            verifier.require(!axes.is_empty(), id, || "a softmax over no axis".to_owned());
            facts.axes.extend(axes);
        }
        Op::Running { axis, .. } => drop(facts.axes.insert(*axis)),
        Op::Call { .. } => call(verifier, all, id, term, facts),
        Op::Apply(_) | Op::Bind(_) => linked_has_none(verifier, id, "closures"),
        Op::RoundParam(_) => linked_has_none(verifier, id, "type parameters"),
        Op::ClosureParam(at) => {
            linked_has_none(verifier, id, "closures");
            facts.params.insert((*at, Some(term.dtype)));
        }
        Op::New(at) | Op::Old(at) => drop(facts.running.insert((*at, term.dtype))),
        _ => {}
    }
}

fn linked_has_none(verifier: &mut Verifier<'_>, id: TermId, what: &str) {
    verifier.require(verifier.form == Form::Lowered, id, || format!("a linked function has no {what}"));
}

fn is_int(elem: &Elem) -> bool {
    matches!(elem, Elem::Type(dtype) if dtype.is_int()) || matches!(elem, Elem::Param(_))
}

fn index_rules(verifier: &mut Verifier<'_>, id: TermId, index: &Index, facts: &mut TermFacts) {
    facts.include_index(index);
    let mut broken = index_ranks(verifier.function, index);
    let linked = verifier.form == Form::Linked;
    index.for_each_atom(&mut |atom| match atom {
        Atom::Dim(dim) if verifier.function.dims.get(*dim).is_none() => broken.push(format!("there is no dim {dim}")),
        Atom::Axis(axis) if verifier.function.axes.get(*axis).is_none() => {
            broken.push(format!("there is no axis {axis}"))
        }
        Atom::Param(_) if linked => broken.push("a linked function has no closures".to_owned()),
        _ => {}
    });
    broken.into_iter().for_each(|message| verifier.fail(id, message));
}

/// Reads in an integer expression are of integer tensors and have one subscript per dimension.
pub(super) fn index_ranks(function: &Function, index: &Index) -> Vec<String> {
    let mut broken = Vec::new();
    index.for_each_atom(&mut |atom| {
        if let Atom::Read(tensor, subs) = atom {
            match function.tensors.get(*tensor) {
                None => broken.push(format!("there is no tensor {tensor}")),
                Some(data) if data.shape.len() != subs.len() => {
                    broken.push(format!("{} subscripts for {tensor} of rank {}", subs.len(), data.shape.len()));
                }
                Some(data) if !is_int(&data.elem) => broken.push(format!("{tensor} does not hold integers")),
                Some(_) => {}
            }
        }
    });
    broken
}

fn call(verifier: &mut Verifier<'_>, all: &[TermFacts], id: TermId, term: &Term, facts: &mut TermFacts) {
    let Op::Call { subs, args, dims, .. } = &term.op else { return };
    linked_has_none(verifier, id, "calls");
    subs.iter().chain(dims.iter().map(|(_, d)| d)).for_each(|sub| index_rules(verifier, id, sub, facts));
    let mut names = BTreeSet::new();
    for (name, arg) in args {
        verifier.require(names.insert(name), id, || format!("`{name}` is given twice"));
        match arg {
            Arg::Slice(tensor, fixed) => {
                facts.reads.insert(*tensor);
                fixed.iter().flatten().for_each(|sub| index_rules(verifier, id, sub, facts));
                let rank = verifier.function.tensors.get(*tensor).map(|t| t.shape.len());
                verifier
                    .require(rank == Some(fixed.len()), id, || format!("a slice of rank {} of {tensor}", fixed.len()));
            }
            Arg::Scalar(at) => {
                let known = (*at as usize) < term.args.len();
                verifier.require(known, id, || format!("`{name}` is operand {at}, which is missing"));
            }
            Arg::Closure(closure) => closure_facts(verifier, all, id, closure, facts),
        }
    }
}

fn closure_facts(verifier: &mut Verifier<'_>, all: &[TermFacts], id: TermId, closure: &Closure, facts: &mut TermFacts) {
    let mut body = all[closure.body.index()].clone();
    let end = closure.outer as usize + closure.params.len();
    let known = body.params.iter().all(|(at, _)| (*at as usize) < end);
    verifier.require(known, id, || "a closure reads a parameter that it does not have".to_owned());
    body.params.retain(|(at, _)| *at < closure.outer);
    facts.include(&body);
}

fn fold(verifier: &mut Verifier<'_>, all: &[TermFacts], id: TermId, term: &Term, facts: &mut TermFacts) {
    let Op::Fold { components, axes } = &term.op else { return };
    let repaired: Vec<usize> = (0..components.len()).filter(|c| components[*c].repair != Repair::None).collect();
    verifier.require(!axes.is_empty() && !components.is_empty(), id, || "a fold of nothing".to_owned());
    if term.args.len() != components.len() + repaired.len() {
        verifier.fail(id, format!("{} operands for its components", term.args.len()));
        return;
    }
    let dtype = |at: usize| verifier.function.terms[term.args[at]].dtype;
    let types: Vec<Option<DType>> =
        (0..components.len()).map(|c| reduce_dtype(components[c].op, dtype(c)).ok()).collect();
    let operands = (0..components.len()).chain(repaired.iter().copied());
    for (at, component) in term.args.iter().zip(operands) {
        let mut operand = all[at.index()].clone();
        for (named, stated) in &operand.running {
            let earlier = (*named as usize) < component;
            verifier.require(earlier, id, || {
                format!("component {component} reads component {named}, which is not earlier")
            });
            let same = types.get(*named as usize) == Some(&Some(*stated));
            verifier.require(!earlier || same, id, || format!("component {named} is not of type {stated}"));
        }
        operand.running.clear();
        facts.include(&operand);
    }
    for (component, Component { op, repair }) in components.iter().enumerate() {
        let scalable = *op == ReduceOp::Sum || *op == ReduceOp::Prod || *op == ReduceOp::Max || *op == ReduceOp::Min;
        let fits = (op.is_primitive() || op.chooses()) && (*repair == Repair::None || scalable);
        verifier.require(fits, id, || format!("component {component} cannot be `{op}` with this repair"));
    }
    for (component, at) in repaired.iter().zip(components.len()..) {
        let same = Some(verifier.function.terms[term.args[at]].dtype) == types[*component];
        verifier.require(same, id, || format!("the repair of component {component} is of another type"));
    }
}
