//! Closures from Rust, against the function that takes them.
//!
//! A parameter that the callee applies to a bare index of an axis of size `S` lies in `0..S`. Where such a parameter is a bare subscript
//! of a captured tensor, that axis must have at least `S` elements: a condition on the call, which makes the read safe.

use super::closure::Given;
use super::compact::compact;
use super::elab::Elab;
use super::formula::Formula;
use super::infer::for_each_part;
use super::items::Items;
use crate::ast::{Closure, Expr, ExprKind, Subscript};
use crate::errors::{Diagnostics, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::{Arena, Entity};
use sawmill_ir::graph::{
    ClosureId, ClosureParam, Dim, DimKind, Elem, Function, Input, Op, Param as IrParam, Tensor, TensorKind,
};
use sawmill_ir::index::{Atom, DimId, Index};

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

/// Checks a closure for the parameter `param` of `callee`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_host_closure(
    closure: &Closure,
    callee: &Function,
    param: &str,
    captures: &[(DType, usize)],
) -> Result<Resolved, Diagnostics> {
    let mut errors = Diagnostics::default();
    let Some((id, wanted)) = callee.closures.iter().find(|(_, c)| c.name == param) else {
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
    let ranges = applied_ranges(callee, id, wanted.params.len());
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

/// The size of the axis over whose bare index a function always applies its closure, per parameter.
fn applied_ranges(callee: &Function, id: ClosureId, params: usize) -> Vec<Option<Index>> {
    let mut ranges: Vec<Option<Option<Index>>> = vec![None; params];
    for term in callee.terms.values().filter(|term| term.op == Op::Apply(id)) {
        for (range, arg) in ranges.iter_mut().zip(&term.args) {
            let size = match &callee.terms[*arg].op {
                Op::Index(index) => index.as_axis().map(|axis| callee.axes[axis].extent.clone()),
                _ => None,
            };
            let size = size.filter(|size| size.axes().is_empty());
            match range {
                None => *range = Some(size),
                Some(known) if *known != size => *known = None,
                Some(_) => {}
            }
        }
    }
    ranges.into_iter().map(Option::flatten).collect()
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
