//! The cases of `tests/reference/semantics.json`: small programs and what they mean.
//!
//! In: the file that `tests/reference/semantics.py` wrote. Out: [`Case`]s, and the comparison of an engine's output with
//! the expected one. Invariant: expectations were computed from the rules of the language, by no code of ours.

use crate::layout::repository;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// A dense row-major tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Element type, as written in the language.
    pub dtype: String,
    /// Sizes.
    pub shape: Vec<usize>,
    /// Elements of a float tensor; empty otherwise.
    pub floats: Vec<f64>,
    /// Elements of an integer or `bool` tensor (0 or 1); empty otherwise.
    pub ints: Vec<i64>,
}

impl Tensor {
    /// Whether the elements are floats.
    #[must_use]
    pub fn is_float(&self) -> bool {
        self.dtype.starts_with('f') || self.dtype.starts_with("bf")
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One program with its inputs and expected outputs. The function to run is called `f`.
#[derive(Debug, Clone)]
pub struct Case {
    /// Group and subject, `reduce/sum where`.
    pub name: String,
    /// The text of an `arch!` block.
    pub program: String,
    /// The dtype of every type parameter.
    pub types: BTreeMap<String, String>,
    /// The value of every dim of `f`.
    pub dims: BTreeMap<String, i64>,
    /// Arguments by name.
    pub inputs: BTreeMap<String, Tensor>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, Tensor>,
    /// How far a float may be off, relative to the larger of its own size and 1.
    pub tolerance: f64,
}

/// All cases, in the order of the file.
///
/// # Panics
/// When the file cannot be read or is malformed.
#[must_use]
pub fn cases() -> Vec<Case> {
    let path = repository().join("tests/reference/semantics.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let list: Vec<Value> = serde_json::from_str(&text).expect("semantics.json is a list");
    list.iter().map(case).collect()
}

fn case(value: &Value) -> Case {
    let text = |key: &str| value[key].as_str().expect("a text").to_owned();
    let dims = value["dims"].as_object().expect("dims").iter();
    let types = value["types"].as_object().into_iter().flatten();
    Case {
        name: text("name"),
        program: text("program"),
        types: types.map(|(name, dtype)| (name.clone(), dtype.as_str().expect("a dtype").to_owned())).collect(),
        dims: dims.map(|(name, size)| (name.clone(), size.as_i64().expect("a size"))).collect(),
        inputs: tensors(&value["inputs"]),
        outputs: tensors(&value["outputs"]),
        tolerance: value["tolerance"].as_f64().expect("a tolerance"),
    }
}

fn tensors(value: &Value) -> BTreeMap<String, Tensor> {
    value.as_object().expect("tensors").iter().map(|(name, value)| (name.clone(), tensor(value))).collect()
}

fn tensor(value: &Value) -> Tensor {
    let shape = value["shape"].as_array().expect("a shape").iter();
    let shape = shape.map(|size| size.as_u64().and_then(|size| usize::try_from(size).ok()).expect("a size")).collect();
    let dtype = value["dtype"].as_str().expect("a dtype").to_owned();
    let mut tensor = Tensor { dtype, shape, floats: Vec::new(), ints: Vec::new() };
    let data = value["data"].as_array().expect("data");
    if tensor.is_float() {
        tensor.floats = data.iter().map(float).collect();
    } else {
        tensor.ints = data.iter().map(|value| value.as_i64().expect("an integer")).collect();
    }
    assert_eq!(data.len(), tensor.len());
    tensor
}

fn float(value: &Value) -> f64 {
    match value {
        Value::String(name) => name.parse().expect("a float as text"),
        number => number.as_f64().expect("a number"),
    }
}

/// Where `found` is not `expected`, within `tolerance` relative to the larger of the expected size and 1.
///
/// An infinity must be the same infinity, NaN must be NaN. A float that `f32` cannot hold counts as infinite: some stages compute in
/// `f64` what others overflow.
#[must_use]
pub fn float_difference(expected: &[f64], found: &[f64], tolerance: f64) -> Option<String> {
    if expected.len() != found.len() {
        return Some(format!("{} elements instead of {}", found.len(), expected.len()));
    }
    let near = |(wanted, got): (&f64, &f64)| {
        if wanted.is_nan() || got.is_nan() {
            return wanted.is_nan() && got.is_nan();
        }
        let (wanted, got) = (in_f32_range(*wanted), in_f32_range(*got));
        if wanted.is_infinite() || got.is_infinite() {
            return wanted == got;
        }
        (wanted - got).abs() <= tolerance * wanted.abs().max(1.0)
    };
    let at = expected.iter().zip(found).position(|pair| !near(pair))?;
    Some(format!("element {at} is {:?} instead of {:?}", found[at], expected[at]))
}

/// The value, infinite where `f32` cannot hold it.
fn in_f32_range(value: f64) -> f64 {
    if value.abs() > f64::from(f32::MAX) { f64::INFINITY.copysign(value) } else { value }
}

#[cfg(test)]
mod tests {
    use super::float_difference;

    #[test]
    fn infinities_and_nan_are_compared_by_kind() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(float_difference(&[inf, nan, 1.0], &[inf, nan, 1.0 + 1e-7], 1e-6), None);
        assert!(float_difference(&[inf], &[-inf], 1e-6).is_some());
        assert!(float_difference(&[inf], &[1e30], 1e-6).is_some());
        assert!(float_difference(&[inf], &[-1e300], 1e-6).is_some());
        assert_eq!(float_difference(&[inf], &[1e300], 1e-6), None);
        assert!(float_difference(&[1.0], &[nan], 1e-6).is_some());
        assert!(float_difference(&[1.0], &[1.001], 1e-6).is_some());
        assert!(float_difference(&[1.0], &[], 1e-6).is_some());
    }
}
