//! Values of dims at a call.
//!
//! In: the shapes of arguments, and dims given by name. Out: a value for every dim. A dim is found where it stands alone as a
//! size, by a default, or by an equation of the requirements with one unknown dim that occurs linearly; then every shape and
//! requirement is checked. Integer scalars that sizes read are looked up by the caller's closure.

use super::{DimKind, Function, Require, TensorKind};
use crate::entity::Entity;
use crate::index::{Atom, DimId, Index, TensorId};
use std::collections::BTreeMap;

/// A size of the call that does not fit, in words that name arguments and dims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeError(pub String);

impl std::fmt::Display for SizeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SizeError {}

/// What a call states.
pub struct Call<'a> {
    /// Shapes of the arguments that are given.
    pub shapes: &'a BTreeMap<String, Vec<usize>>,
    /// Dims by name.
    pub dims: &'a BTreeMap<String, i64>,
    /// Values of rank-0 integer arguments.
    pub scalars: &'a dyn Fn(TensorId) -> Option<i64>,
}

/// The value of every dim of `function`, in order.
///
/// # Errors
/// If a dim is not determined, two sizes disagree, or a requirement does not hold.
pub fn bind(function: &Function, call: &Call<'_>) -> Result<Vec<i64>, SizeError> {
    let mut known: Vec<Option<i64>> = function.dims.values().map(|dim| call.dims.get(&dim.name).copied()).collect();
    let sizes = sizes(function, call)?;
    for (size, value, argument) in &sizes {
        if let Some(Atom::Dim(dim)) = size.as_atom() {
            let slot = &mut known[dim.index()];
            if slot.is_some_and(|before| before != *value) {
                let (name, before) = (&function.dims[*dim].name, slot.unwrap_or_default());
                return Err(SizeError(format!("`{name}` is {before}, but `{argument}` has the size {value} there")));
            }
            *slot = Some(*value);
        }
    }
    for (dim, slot) in function.dims.values().zip(&mut known) {
        if let DimKind::Const(default) = dim.kind {
            *slot = slot.or(default);
        }
    }
    solve(function, call, &sizes, &mut known);
    let value = |(dim, value): (&super::Dim, &Option<i64>)| match value {
        Some(value) if *value >= 0 => Ok(*value),
        Some(value) => Err(SizeError(format!("the size `{}` is {value}", dim.name))),
        None => Err(SizeError(format!("the size `{}` follows from no argument; give it", dim.name))),
    };
    let dims: Vec<i64> = function.dims.values().zip(&known).map(value).collect::<Result<_, _>>()?;
    check(function, call, &sizes, &dims)?;
    Ok(dims)
}

/// Every size of every given argument with its value.
fn sizes<'f>(function: &'f Function, call: &Call<'_>) -> Result<Vec<(&'f Index, i64, &'f str)>, SizeError> {
    let mut sizes = Vec::new();
    for tensor in function.tensors.values() {
        let TensorKind::Input(_) = tensor.kind else { continue };
        let Some(shape) = call.shapes.get(&tensor.name) else { continue };
        if shape.len() != tensor.shape.len() {
            let (given, rank) = (shape.len(), tensor.shape.len());
            return Err(SizeError(format!("`{}` has rank {given}, not {rank}", tensor.name)));
        }
        for (size, value) in tensor.shape.iter().zip(shape) {
            let value = i64::try_from(*value).map_err(|_| SizeError(format!("`{}` is too large", tensor.name)))?;
            sizes.push((size, value, tensor.name.as_str()));
        }
    }
    Ok(sizes)
}

/// Finds dims from equations with one unknown, until nothing changes.
fn solve(function: &Function, call: &Call<'_>, sizes: &[(&Index, i64, &str)], known: &mut [Option<i64>]) {
    let equal = |require: &Require| match require {
        Require::Equal(a, b) => Some(a.sub(b)),
        Require::NonNegative(_) => None,
    };
    let mut equations: Vec<Index> = function.requires.iter().filter_map(equal).collect();
    equations.extend(sizes.iter().map(|(size, value, _)| size.sub(&Index::int(*value))));
    for _ in 0..=known.len() {
        for equation in &equations {
            let unknown = |atom: &Atom| match atom {
                Atom::Dim(dim) if known[dim.index()].is_none() => Some(*dim),
                _ => None,
            };
            let mut open: Vec<DimId> = Vec::new();
            equation.for_each_atom(&mut |atom| open.extend(unknown(atom)));
            open.dedup();
            if let [dim] = open.as_slice()
                && let Some(value) = root(equation, *dim, known, call)
            {
                known[dim.index()] = Some(value);
            }
        }
    }
}

/// The value of `dim` that makes `equation` 0, if it occurs linearly and the division is exact.
fn root(equation: &Index, dim: DimId, known: &[Option<i64>], call: &Call<'_>) -> Option<i64> {
    let at = |value: i64| {
        let mut dims = known.to_vec();
        dims[dim.index()] = Some(value);
        eval(equation, &dims, call)
    };
    let (zero, one, two) = (at(0)?, at(1)?, at(2)?);
    let slope = one.checked_sub(zero)?;
    let linear = two.checked_sub(one)? == slope && slope != 0 && zero % slope == 0;
    let value = -(zero.checked_div(slope)?);
    (linear && at(value) == Some(0)).then_some(value)
}

fn eval(index: &Index, dims: &[Option<i64>], call: &Call<'_>) -> Option<i64> {
    index.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => *dims.get(dim.index())?,
        Atom::Read(tensor, subs) if subs.is_empty() => (call.scalars)(*tensor),
        _ => None,
    })
}

fn check(function: &Function, call: &Call<'_>, sizes: &[(&Index, i64, &str)], dims: &[i64]) -> Result<(), SizeError> {
    let known: Vec<Option<i64>> = dims.iter().map(|d| Some(*d)).collect();
    let text = |index: &Index| {
        index.print(&|atom| match atom {
            Atom::Dim(dim) => function.dims[*dim].name.clone(),
            Atom::Read(tensor, _) => function.tensors[*tensor].name.clone(),
            other => format!("{other:?}"),
        })
    };
    for (size, value, argument) in sizes {
        if eval(size, &known, call) != Some(*value) {
            return Err(SizeError(format!("`{argument}` has the size {value} where `{}` is needed", text(size))));
        }
    }
    for require in &function.requires {
        let (holds, text) = match require {
            Require::Equal(a, b) => {
                let sides = (eval(a, &known, call), eval(b, &known, call));
                (sides.0.is_some() && sides.0 == sides.1, format!("{} == {}", text(a), text(b)))
            }
            Require::NonNegative(a) => (eval(a, &known, call).is_some_and(|v| v >= 0), format!("{} >= 0", text(a))),
        };
        if !holds {
            let values = function.dims.values().zip(dims).map(|(dim, value)| format!("{} = {value}", dim.name));
            let values: Vec<String> = values.collect();
            return Err(SizeError(format!("`{text}` does not hold for {}", values.join(", "))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Call, bind};
    use crate::graph::text::parse_function;
    use std::collections::BTreeMap;

    fn dims(text: &str, shapes: &[(&str, &[usize])], given: &[(&str, i64)]) -> Result<Vec<i64>, String> {
        let function = parse_function(text).expect("parses");
        let shapes = shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
        let given: BTreeMap<String, i64> = given.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        bind(&function, &Call { shapes: &shapes, dims: &given, scalars: &|_| None }).map_err(|e| e.0)
    }

    #[test]
    fn dims_follow_from_shapes_equations_and_defaults() {
        let text =
            "fn f<H, M, G, const D = 8, N>(q: f32[H, D], k: f32[M], r: f32[2 * N + 1]) -> () where H == M * G {}";
        let shapes: &[(&str, &[usize])] = &[("q", &[6, 8]), ("k", &[2]), ("r", &[7])];
        assert_eq!(dims(text, shapes, &[]), Ok(vec![6, 2, 3, 8, 3]));
        let odd: &[(&str, &[usize])] = &[("q", &[7, 8]), ("k", &[2]), ("r", &[7])];
        assert!(dims(text, odd, &[]).is_err_and(|e| e.contains('G')));
        assert!(dims(text, &[("q", &[6])], &[]).is_err_and(|e| e.contains("rank 1")));
        assert!(dims(text, shapes, &[("M", 3)]).is_err_and(|e| e.contains("`M` is 3")));
    }

    #[test]
    fn requirements_are_checked() {
        let text = "fn f<S, T>(x: f32[S], y: f32[T]) -> () where T - S >= 0 {}";
        assert_eq!(dims(text, &[("x", &[2]), ("y", &[3])], &[]), Ok(vec![2, 3]));
        let failed = dims(text, &[("x", &[4]), ("y", &[3])], &[]);
        assert_eq!(failed, Err("`T - S >= 0` does not hold for S = 4, T = 3".to_owned()));
    }
}
