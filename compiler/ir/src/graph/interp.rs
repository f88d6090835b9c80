//! The meaning of a linked function, computed in f64.
//!
//! In: a linked function (before or after optimisation: folds run step by step as folds), sizes, and dense arguments. Out:
//! its outputs, and its caches after their appends. Floats are f64 whatever the computing type; integers wrap to theirs;
//! outputs, carries, appends and typed definitions are rounded to what they are stored as. Terms are compiled to nodes that
//! work on blocks, so that contractions run at memory speed (`compile`, `machine`), in an order that recomputes least
//! (`order`).
//!
//! A read that leaves its range is absent if it is guarded, clamped if its subscript comes from data, and otherwise an error
//! once an output needs it.

mod compile;
mod fold;
mod machine;
mod number;
mod order;
mod pointwise;
mod products;
mod read;
mod reduce;
mod run;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use number::round_float;
pub use value::{Data, Value};

use super::sizes::{Call, bind, facts};
use super::{Elem, Function, Input, TensorKind};
use crate::entity::Entity;
use crate::index::TensorId;
use run::Run;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Return outputs as computed, not rounded to their element type: for comparing engines.
    pub exact_outputs: bool,
}

/// Arguments by name.
pub type Inputs = BTreeMap<String, Arc<Value>>;

/// What a call gives.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Outputs by name, in order of the signature.
    pub outputs: Vec<(String, Arc<Value>)>,
    /// Caches that grew, in order of their first append.
    pub appended: Vec<Appended>,
}

impl Outcome {
    /// The output called `name`.
    pub fn output(&self, name: &str) -> Option<&Value> {
        self.outputs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
    }
}

/// The new value of a cache.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The argument.
    pub input: String,
    /// Which element of a list; empty for a lone cache.
    pub at: Vec<i64>,
    /// Its value after the call.
    pub value: Arc<Value>,
}

/// Why a function did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterpError {
    /// The argument or tensor.
    pub tensor: String,
    /// What is wrong.
    pub message: String,
    /// If memory is lacking: how many bytes.
    pub memory: Option<u128>,
}

impl InterpError {
    fn new(tensor: &str, message: impl Into<String>) -> Self {
        Self { tensor: tensor.to_owned(), message: message.into(), memory: None }
    }
    fn memory(tensor: &str, bytes: u128) -> Self {
        Self { memory: Some(bytes), ..Self::new(tensor, format!("there are no {bytes} bytes for it")) }
    }
}

impl fmt::Display for InterpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.tensor, self.message)
    }
}

impl std::error::Error for InterpError {}

/// Runs `function`. Dims that no shape determines are given by name.
///
/// # Errors
/// If an argument is missing or does not fit, a size is unknown, or the function breaks a rule (`verify_linked` finds most).
pub fn run(
    function: &Function,
    dims: &BTreeMap<String, i64>,
    inputs: &Inputs,
    options: Options,
) -> Result<Outcome, InterpError> {
    if let Err(errors) = super::verify::verify_linked(function) {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        return Err(InterpError::new(&function.name, first));
    }
    let values = bind_dims(function, dims, inputs)?;
    let mut run = Run::new(function, values, options);
    for (id, tensor) in function.tensors.iter() {
        if let TensorKind::Input(input) = &tensor.kind {
            let value = argument(&mut run, id, input, inputs)?;
            run.tensors[id.index()] = Some(value);
        }
    }
    run.body(&function.body)?;
    let mut outputs = Vec::new();
    for id in &function.outputs {
        let value = run.exact.get(id).cloned().or_else(|| run.tensors[id.index()].clone());
        let name = &function.tensors[*id].name;
        outputs.push((name.clone(), value.ok_or_else(|| InterpError::new(name, "the output was not computed"))?));
    }
    Ok(Outcome { outputs, appended: run.appended })
}

fn bind_dims(function: &Function, dims: &BTreeMap<String, i64>, inputs: &Inputs) -> Result<Vec<i64>, InterpError> {
    let shapes = inputs.iter().map(|(name, value)| (name.clone(), value.shape.clone())).collect();
    let scalars = |id: TensorId| {
        let value = inputs.get(&function.tensors.get(id)?.name)?;
        (value.len() == 1).then(|| value.data.int(0))
    };
    let facts = facts(function, &shapes);
    facts
        .and_then(|facts| bind(function, &Call { facts: &facts, dims, scalars: &scalars }))
        .map_err(|error| InterpError::new(&function.name, error.to_string()))
}

/// The value of an argument: given, checked against its declaration, or its default in every element.
fn argument(run: &mut Run<'_>, id: TensorId, input: &Input, inputs: &Inputs) -> Result<Arc<Value>, InterpError> {
    let tensor = &run.function.tensors[id];
    let shape: Vec<usize> = tensor.shape.iter().map(|size| run.size(id, size)).collect::<Result<_, _>>()?;
    if let Some(value) = inputs.get(&tensor.name) {
        if value.shape != shape {
            return Err(InterpError::new(&tensor.name, format!("the shape is {:?}, not {shape:?}", value.shape)));
        }
        if tensor.elem != Elem::Type(value.dtype) {
            return Err(InterpError::new(
                &tensor.name,
                format!("the element type is {}, not {:?}", value.dtype, tensor.elem),
            ));
        }
        return Ok(value.clone());
    }
    let Some(default) = input.default else {
        return Err(InterpError::new(&tensor.name, "the argument is missing and has no default"));
    };
    let one = run.constant(id, default)?;
    let one = run.store(&one, run.stored(id)?);
    let count = run.count(id, &shape)?;
    let data = match one.data {
        Data::I64(v) => Data::I64(vec![v[0]; count]),
        Data::Bool(v) => Data::Bool(vec![v[0]; count]),
        other => Data::F64(vec![other.float(0); count]),
    };
    Value::new(one.dtype, shape, data).map(Arc::new).map_err(|message| InterpError::new(&tensor.name, message))
}
