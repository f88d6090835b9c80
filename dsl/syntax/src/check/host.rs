//! Closures from Rust, against the function that takes them.
//!
//! A parameter that the callee applies to a bare index of an axis of size `S` lies in `0..S`. Where such a parameter is a bare subscript
//! of a captured tensor, that axis must have at least `S` elements: a condition on the call, which makes the read safe.

use super::compact::compact;
use super::elab::Elab;
use super::formula::Formula;
use super::infer::for_each_part;
use super::items::{Given, Items};
use crate::ast::{Closure, Expr, ExprKind, Subscript};
use crate::errors::{Diagnostics, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::{Arena, Entity};
use sawmill_ir::graph::{
    Arg, ClosureId, ClosureParam, Dim, DimKind, Elem, Function, Input, Module, Op, Param as IrParam, Tensor,
    TensorKind, TermId,
};
use sawmill_ir::index::{Atom, DimId, Index};
use std::collections::BTreeSet;

/// A closure from Rust in graph IR.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its arguments are the captures, in order; its one closure parameter has the closure as its default.
    pub function: Function,
    /// What the call must check of captured tensors.
    pub sizes: Vec<AtLeast>,
}

/// A condition on the size of a captured tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtLeast {
    /// Which capture.
    pub capture: usize,
    /// Which axis of it.
    pub axis: usize,
    /// The least size, over the dims of the function that takes the closure.
    pub size: Index,
}

/// Checks a closure for the parameter `param` of the function `callee` of `module`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_host_closure(
    closure: &Closure,
    module: &Module,
    callee: &str,
    param: &str,
    captures: &[(DType, usize)],
) -> Result<Resolved, Diagnostics> {
    let mut errors = Diagnostics::default();
    let callee = module.function(callee);
    let found = callee.and_then(|f| Some((f, f.closures.iter().find(|(_, c)| c.name == param)?)));
    let Some((callee, (id, wanted))) = found else {
        let problem = Problem::Unknown { what: "closure parameter".into(), name: param.into(), help: String::new() };
        errors.report(closure.loc, problem);
        return Err(errors);
    };
    let items = Items::default();
    let mut elab = Elab::new(&items, &mut errors);
    elab.function.name = param.to_string();
    elab.capture_inputs(captures);
    let own = elab.function.dims.len();
    elab.function.dims = elab.function.dims.values().chain(callee.dims.values()).cloned().collect();
    let ranges = applied_ranges(module, callee, id);
    let shifted = |size: &Index| {
        size.substitute(&mut |atom| match atom {
            Atom::Dim(dim) => Some(Index::dim(DimId::new(dim.index() + own))),
            _ => None,
        })
    };
    let given: Vec<Given> = wanted
        .params
        .iter()
        .zip(&ranges)
        .map(|(dtype, range)| (*dtype, range.as_ref().map(|size| (Index::int(0), shifted(size)))))
        .collect();
    let mut sizes = Vec::new();
    bare_captures(closure, &closure.body, &ranges, &mut sizes);
    for condition in &sizes {
        elab.holds_at_least(condition, &shifted(&condition.size));
    }
    let default = elab.closure(closure, param, &given, wanted.result);
    let mut function = std::mem::take(&mut elab.function);
    if !errors.is_empty() {
        return Err(errors);
    }
    function.dims = function.dims.values().take(own).cloned().collect::<Arena<DimId, Dim>>();
    let closure =
        ClosureParam { name: param.to_string(), params: wanted.params.clone(), result: wanted.result, default };
    let id = function.closures.push(closure);
    function.params.push(IrParam::Closure(id));
    compact(&mut function);
    Ok(Resolved { function, sizes })
}

impl Elab<'_> {
    fn capture_inputs(&mut self, captures: &[(DType, usize)]) {
        for (number, (dtype, rank)) in captures.iter().enumerate() {
            let dims = (0..*rank).map(|axis| Dim { name: format!("{number}.{axis}"), kind: DimKind::Run });
            let shape = dims.map(|dim| Index::dim(self.function.dims.push(dim))).collect();
            let id = self.input(&format!("capture{number}"), Elem::Type(*dtype), shape, Input::default());
            self.captures.push(id);
        }
    }

    fn holds_at_least(&mut self, condition: &AtLeast, size: &Index) {
        let Some(id) = self.captures.get(condition.capture) else { return };
        if let Tensor { shape, kind: TensorKind::Input(_), .. } = &self.function.tensors[*id]
            && let Some(axis) = shape.get(condition.axis)
        {
            self.facts.push(Formula::le(size, axis));
        }
    }
}

/// The size of the axis over whose bare index a function always applies its closure, per parameter. A closure that is only
/// passed on is applied by the callee: `attend(.., mask = |i, j| mask(b, h, i, j))`.
fn applied_ranges(module: &Module, function: &Function, id: ClosureId) -> Vec<Option<Index>> {
    let mut ranges = Ranges { sizes: vec![None; function.closures[id].params.len()] };
    let mut inside = BTreeSet::new();
    for term in function.terms.values() {
        let Op::Call { function: callee, args, dims, .. } = &term.op else { continue };
        let Some(callee) = module.function(callee) else { continue };
        for (name, arg) in args {
            let Arg::Closure(closure) = arg else { continue };
            let param = callee.closures.iter().find(|(_, param)| param.name == *name);
            let given = param.map(|(id, _)| applied_ranges(module, callee, id)).unwrap_or_default();
            let given: Vec<Option<Index>> =
                given.into_iter().map(|size| Some(in_caller(callee, dims, &size?))).collect();
            // Positions count from the outermost closure; of what those around are given nothing is known here.
            let given: Vec<Option<Index>> = std::iter::repeat_n(None, closure.outer as usize).chain(given).collect();
            for applied in reachable(function, closure.body) {
                inside.insert(applied);
                ranges.site(function, applied, id, &given);
            }
        }
    }
    for applied in function.terms.keys().filter(|applied| !inside.contains(applied)) {
        ranges.site(function, applied, id, &[]);
    }
    ranges.sizes.into_iter().map(Option::flatten).collect()
}

/// Sizes found so far: nothing yet, disagreement, or the size.
struct Ranges {
    sizes: Vec<Option<Option<Index>>>,
}

impl Ranges {
    /// Takes in one application; `given` are the ranges of the parameters of the closure it stands in.
    fn site(&mut self, function: &Function, applied: TermId, id: ClosureId, given: &[Option<Index>]) {
        let term = &function.terms[applied];
        if term.op != Op::Apply(id) {
            return;
        }
        for (known, arg) in self.sizes.iter_mut().zip(&term.args) {
            let atom = match &function.terms[*arg].op {
                Op::Index(index) => index.as_atom().cloned(),
                Op::ClosureParam(number) => Some(Atom::Param(*number)),
                _ => None,
            };
            let size = match atom {
                Some(Atom::Axis(axis)) => Some(function.axes[axis].extent.clone()),
                Some(Atom::Param(number)) => given.get(number as usize).cloned().flatten(),
                _ => None,
            };
            let size = size.filter(|size| size.axes().is_empty());
            match known {
                None => *known = Some(size),
                Some(first) if *first != size => *known = Some(None),
                Some(_) => {}
            }
        }
    }
}

/// The terms that a term is made of, itself among them.
fn reachable(function: &Function, root: TermId) -> BTreeSet<TermId> {
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(term) = open.pop() {
        if found.insert(term) {
            open.extend(&function.terms[term].args);
        }
    }
    found
}

/// A size of the callee over the caller's dims.
fn in_caller(callee: &Function, dims: &[(String, Index)], size: &Index) -> Index {
    size.substitute(&mut |atom| match atom {
        Atom::Dim(dim) => {
            let name = &callee.dims[*dim].name;
            dims.iter().find(|(given, _)| given == name).map(|(_, size)| size.clone())
        }
        _ => None,
    })
}

/// The bare uses of ranged parameters as subscripts of captured tensors.
fn bare_captures(closure: &Closure, expr: &Expr, ranges: &[Option<Index>], found: &mut Vec<AtLeast>) {
    if let ExprKind::Read(base, subs) = &expr.kind
        && let ExprKind::Capture(capture) = base.kind
    {
        for (axis, sub) in subs.iter().enumerate() {
            let Subscript::At(Expr { kind: ExprKind::Name(name), .. }) = sub else { continue };
            let param = closure.params.iter().position(|p| p.as_ref().is_some_and(|p| p.text == name.text));
            if let Some(size) = param.and_then(|at| ranges.get(at).cloned().flatten()) {
                let condition = AtLeast { capture: capture as usize, axis, size };
                if !found.contains(&condition) {
                    found.push(condition);
                }
            }
        }
    }
    match &expr.kind {
        // What stands left of `or` may leave its range.
        ExprKind::Or(_, other) => bare_captures(closure, other, ranges, found),
        _ => for_each_part(expr, &mut |part| bare_captures(closure, part, ranges, found), ""),
    }
}
