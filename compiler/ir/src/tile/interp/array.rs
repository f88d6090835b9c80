//! Dense values: what memory and tiles hold. Floats as f64, integers and truth values by their kind; the element type says
//! which values are possible.

use super::scalar;
use crate::dtype::{DType, Kind};

/// Elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Floats of any type.
    Float(Vec<f64>),
    /// Integers of any type.
    Int(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl Data {
    /// `count` zeros of the kind of `dtype`.
    pub(super) fn zeros(dtype: DType, count: usize) -> Self {
        match dtype.kind() {
            Kind::Float | Kind::Complex => Self::Float(vec![0.0; count]),
            Kind::Signed | Kind::Unsigned => Self::Int(vec![0; count]),
            Kind::Bool => Self::Bool(vec![false; count]),
        }
    }
    /// How many elements.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Float(x) => x.len(),
            Self::Int(x) => x.len(),
            Self::Bool(x) => x.len(),
        }
    }
    /// The elements at `places`, in this order.
    pub(super) fn pick(&self, places: &[usize]) -> Self {
        match self {
            Self::Float(x) => Self::Float(places.iter().map(|i| x[*i]).collect()),
            Self::Int(x) => Self::Int(places.iter().map(|i| x[*i]).collect()),
            Self::Bool(x) => Self::Bool(places.iter().map(|i| x[*i]).collect()),
        }
    }
    /// One element.
    pub(super) fn get(&self, at: usize) -> Scalar {
        match self {
            Self::Float(x) => Scalar::Float(x[at]),
            Self::Int(x) => Scalar::Int(x[at]),
            Self::Bool(x) => Scalar::Bool(x[at]),
        }
    }
    /// Replaces one element; a value of another kind is a defect that leaves it alone.
    pub(super) fn set(&mut self, at: usize, value: Scalar) {
        match (self, value) {
            (Self::Float(x), Scalar::Float(v)) => x[at] = v,
            (Self::Int(x), Scalar::Int(v)) => x[at] = v,
            (Self::Bool(x), Scalar::Bool(v)) => x[at] = v,
            _ => {}
        }
    }
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Float(f64),
    Int(i64),
    Bool(bool),
}

/// A tensor in memory, dense and row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Element type.
    pub dtype: DType,
    /// Sizes.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Data,
    /// Which elements were never written; empty if all were.
    pub(super) undefined: Vec<bool>,
}

impl Default for Array {
    fn default() -> Self {
        Self { dtype: DType::Bool, shape: vec![0], data: Data::Bool(Vec::new()), undefined: Vec::new() }
    }
}

impl Array {
    /// Floats, rounded to `dtype` if that is narrower than `f32`. `None` if the number of elements does not fit.
    pub fn floats(dtype: DType, shape: Vec<usize>, values: &[f64]) -> Option<Self> {
        // The one small type that has infinities keeps them: arithmetic saturates, data need not.
        let kept = |v: f64| dtype.bits() >= 32 || v.is_infinite() && dtype == DType::F8E5M2;
        let data = values.iter().map(|v| if kept(*v) { *v } else { scalar::round_float(*v, dtype) }).collect();
        Self::new(dtype, shape, Data::Float(data))
    }
    /// Integers, wrapped to `dtype`. `None` if the number of elements does not fit.
    pub fn ints(dtype: DType, shape: Vec<usize>, values: &[i64]) -> Option<Self> {
        let data = values.iter().map(|v| scalar::wrap(*v, dtype)).collect();
        Self::new(dtype, shape, Data::Int(data))
    }
    /// Truth values. `None` if the number of elements does not fit.
    pub fn bools(shape: Vec<usize>, values: &[bool]) -> Option<Self> {
        Self::new(DType::Bool, shape, Data::Bool(values.to_vec()))
    }
    fn new(dtype: DType, shape: Vec<usize>, data: Data) -> Option<Self> {
        let fits = shape.iter().product::<usize>() == data.len();
        fits.then_some(Self { dtype, shape, data, undefined: Vec::new() })
    }
    /// An array nothing was written to.
    pub(super) fn undefined(dtype: DType, shape: Vec<usize>) -> Self {
        let count = shape.iter().product();
        Self { dtype, shape, data: Data::zeros(dtype, count), undefined: vec![true; count] }
    }
    /// Whether every element was written.
    pub(super) fn is_defined(&self) -> bool {
        !self.undefined.contains(&true)
    }
    /// The value, if this is one integer that was written.
    pub(super) fn integer(&self) -> Option<i64> {
        match &self.data {
            Data::Int(x) if self.shape.is_empty() && !self.undefined.iter().any(|u| *u) => x.first().copied(),
            _ => None,
        }
    }
    /// The elements as floats, whatever their kind; truth values as 0 and 1.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::Float(x) => x.clone(),
            #[expect(clippy::cast_precision_loss, reason = "for comparison with a tolerance")]
            Data::Int(x) => x.iter().map(|v| *v as f64).collect(),
            Data::Bool(x) => x.iter().map(|v| f64::from(*v)).collect(),
        }
    }
}
