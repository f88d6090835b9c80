//! Sizes for which a function may be called.
//!
//! In: a function's dims and requirements, and a proposal for each dim. Out: a value for every dim that satisfies them all.
//! Method: proposals first; a requirement that a dim equals an expression sets the dim; then everything is verified.

use std::collections::BTreeMap;

use sawmill::{
    RuntimeElem, Specialisation,
    ir::{
        dtype::DType,
        entity::Entity,
        graph::{DimKind, Function, Require},
        index::{Atom, DimId, Index},
    },
};

/// Values of the dims in order. `given` are fixed; `propose` is asked for the others, again and again until the
/// requirements hold; `None` if they do not after `attempts`.
pub fn choose(
    function: &Function,
    given: &BTreeMap<String, i64>,
    attempts: usize,
    mut propose: impl FnMut(&str) -> i64,
) -> Option<Vec<i64>> {
    (0..attempts).find_map(|_| {
        let proposed =
            function.dims.values().map(|dim| given.get(&dim.name).copied().unwrap_or_else(|| propose(&dim.name)));
        let mut sizes: Vec<i64> = proposed.collect();
        // A chain of equations needs as many passes as it has links.
        for _ in 0..=function.requires.len() {
            function.requires.iter().for_each(|require| settle(function, given, require, &mut sizes));
        }
        let positive = sizes.iter().all(|&size| size >= 1);
        (positive && function.requires.iter().all(|require| holds(require, &sizes))).then_some(sizes)
    })
}

/// The const dims among `sizes`, by name.
pub fn consts(function: &Function, sizes: &[i64]) -> BTreeMap<String, i64> {
    let consts = function.dims.iter().filter(|(_, dim)| matches!(dim.kind, DimKind::Const(_)));
    consts.map(|(id, dim)| (dim.name.clone(), sizes[id.index()])).collect()
}

/// The const dims among `sizes`, and for every type parameter `f32` or `i32`, or what `stated` says.
pub fn specialisation(function: &Function, sizes: &[i64], stated: &BTreeMap<String, RuntimeElem>) -> Specialisation {
    let types = function.type_params.iter().map(|param| {
        let usual = RuntimeElem::Type(if param.int { DType::I32 } else { DType::F32 });
        (param.name.clone(), stated.get(&param.name).copied().unwrap_or(usual))
    });
    Specialisation { dims: consts(function, sizes).into_iter().collect(), types: types.collect() }
}

/// The value of a size expression; `None` where it is not one of dims alone.
pub fn evaluate(index: &Index, sizes: &[i64]) -> Option<i64> {
    index.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => sizes.get(dim.index()).copied(),
        _ => None,
    })
}

/// Sets the dim that a requirement says equals an expression.
fn settle(function: &Function, given: &BTreeMap<String, i64>, require: &Require, sizes: &mut [i64]) {
    let Require::Equal(one, other) = require else { return };
    let free = |index: &Index| match index.as_atom() {
        Some(Atom::Dim(dim)) if !given.contains_key(&function.dims[*dim].name) => Some(*dim),
        _ => None,
    };
    let set = |dim: DimId, value: Option<i64>, sizes: &mut [i64]| {
        if let Some(value) = value {
            sizes[dim.index()] = value;
        }
    };
    match (free(one), free(other)) {
        (Some(dim), _) => set(dim, evaluate(other, sizes), sizes),
        (None, Some(dim)) => set(dim, evaluate(one, sizes), sizes),
        (None, None) => {}
    }
}

fn holds(require: &Require, sizes: &[i64]) -> bool {
    match require {
        Require::Equal(one, other) => evaluate(one, sizes).is_some() && evaluate(one, sizes) == evaluate(other, sizes),
        Require::NonNegative(index) => evaluate(index, sizes).is_some_and(|value| value >= 0),
    }
}
