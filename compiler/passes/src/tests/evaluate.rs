//! Random arguments, runs, and comparison of their results.

use sawmill_ir::dtype::DType;
use sawmill_ir::graph::interp::{Inputs, Options, Outcome, Value, run};
use sawmill_ir::graph::{DimKind, Elem, Function, TensorKind};
use sawmill_ir::index::{Atom, Index};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A small generator (xorshift); tests need no better one.
pub(super) struct Random(u64);

impl Random {
    /// A generator; any seed will do.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }
    /// A number in -2..2.
    fn float(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 * 4.0 - 2.0
    }
}

/// Sizes by name.
pub(super) type Dims = BTreeMap<String, i64>;

/// Sizes from pairs.
pub(super) fn dims(pairs: &[(&str, i64)]) -> Dims {
    pairs.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
}

fn size(function: &Function, dims: &Dims, index: &Index) -> i64 {
    let value = index.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => match function.dims[*dim].kind {
            DimKind::Const(Some(value)) => Some(value),
            _ => dims.get(&function.dims[*dim].name).copied(),
        },
        _ => None,
    });
    value.unwrap_or_else(|| panic!("the size {index:?} is not known"))
}

/// Random arguments. Masks (bool) have a row of nothing; floats called `bias..` hold -inf; those called `large..` are far from
/// 0.
pub(super) fn arguments(function: &Function, dims: &Dims, random: &mut Random) -> Inputs {
    let mut inputs = Inputs::new();
    for tensor in function.tensors.values() {
        let TensorKind::Input(input) = &tensor.kind else { continue };
        let Elem::Type(dtype) = tensor.elem else { panic!("`{}` is not linked", tensor.name) };
        let shape: Vec<usize> = tensor.shape.iter().map(|s| size(function, dims, s).max(0) as usize).collect();
        let count: usize = shape.iter().product();
        let row = shape.last().copied().unwrap_or(1);
        let value = if dtype.is_float() {
            let data: Vec<f64> = (0..count).map(|at| float(&tensor.name, at < row, random)).collect();
            Value::floats(dtype, shape, &data)
        } else {
            let limit = input.promise.as_ref().map_or(3, |(_, high)| size(function, dims, high) as usize);
            let limit = if dtype == DType::Bool { 2 } else { limit };
            let data: Vec<i64> = (0..count)
                .map(|at| if dtype == DType::Bool && at < row { 0 } else { random.below(limit) as i64 })
                .collect();
            Value::ints(dtype, shape, &data)
        };
        inputs.insert(tensor.name.clone(), Arc::new(value.unwrap_or_else(|e| panic!("{e}"))));
    }
    inputs
}

fn float(name: &str, first_row: bool, random: &mut Random) -> f64 {
    let value = random.float();
    if name.starts_with("bias") && (first_row || random.below(3) == 0) {
        return f64::NEG_INFINITY;
    }
    if name.starts_with("large") { value * 2000.0 } else { value }
}

/// The results of `function`, as computed.
pub(super) fn results(function: &Function, dims: &Dims, inputs: &Inputs) -> Outcome {
    let known: Inputs = function
        .tensors
        .values()
        .filter_map(|t| inputs.get(&t.name).map(|value| (t.name.clone(), value.clone())))
        .collect();
    run(function, dims, &known, Options { exact_outputs: true }).unwrap_or_else(|e| panic!("{e}\n{function}"))
}

/// What differs between two results by more than `tolerance`, relative to 1 + |x|.
pub(super) fn difference(a: &Outcome, b: &Outcome, tolerance: f64) -> Option<String> {
    let outputs = a.outputs.iter().zip(&b.outputs).map(|((name, x), (_, y))| (name.clone(), x, y));
    let appended = a.appended.iter().zip(&b.appended).map(|(x, y)| (x.input.clone(), &x.value, &y.value));
    for (name, x, y) in outputs.chain(appended) {
        if x.shape != y.shape {
            return Some(format!("`{name}` has shape {:?} and {:?}", x.shape, y.shape));
        }
        for (at, (x, y)) in x.to_floats().into_iter().zip(y.to_floats()).enumerate() {
            let same = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * (1.0 + x.abs());
            if !same {
                return Some(format!("`{name}` at {at}: {x} and {y}"));
            }
        }
    }
    (a.outputs.len() != b.outputs.len() || a.appended.len() != b.appended.len())
        .then(|| "the numbers of results differ".to_owned())
}
