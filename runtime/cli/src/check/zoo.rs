//! The functions of the zoo as candidates, and their running on a device.
//!
//! In: `sawmill_zoo::rows::ROWS`. Out: [`Candidate`]s, outputs by name.
//! Invariant: nothing here knows a function; signatures are read from their programs.

use std::collections::BTreeMap;

use sawmill::{
    Call, Device, Error, Function, RuntimeElem, Tensor, Value,
    ir::{
        dtype::{DType, Kind},
        graph::{self, Elem, Param, TensorKind},
        index::{Atom, Index},
    },
};

use super::{
    array::{Array, Numbers},
    binding::Bound,
    fixtures::Runner,
    signature::{Argument, Candidate, Element, Output, Signature},
};
use crate::{engine::failure, error::Failure};

/// Runs functions of the zoo on one device.
pub struct Zoo {
    device: Device,
    functions: BTreeMap<String, &'static Function>,
}

/// Every function of the zoo that declares a system.
///
/// # Errors
/// A bug if a program does not hold its function.
pub fn candidates() -> Result<Vec<Candidate>, Failure> {
    let texts =
        |when: &[(&str, &str)]| when.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let candidate = |row: &sawmill_zoo::rows::Row| {
        Ok(Candidate {
            name: full_name(row.function),
            row: row.row.to_owned(),
            system: row.system.to_owned(),
            when: texts(row.when),
            signature: signature(row.function.graph()?),
        })
    };
    sawmill_zoo::rows::ROWS.iter().map(candidate).collect::<Result<_, Error>>().map_err(failure)
}

/// A name that no other function has.
pub fn full_name(function: &Function) -> String {
    function.path.to_owned()
}

impl Zoo {
    /// All functions that declare a system, on `device`.
    pub fn new(device: Device) -> Self {
        let functions = sawmill_zoo::rows::ROWS.iter().map(|row| (full_name(row.function), row.function)).collect();
        Self { device, functions }
    }
}

impl Runner for Zoo {
    fn run(&self, candidate: &Candidate, bound: &Bound) -> Result<BTreeMap<String, Array>, String> {
        let function = self.functions.get(&candidate.name).ok_or("the zoo has no such function")?;
        run(function, bound, &self.device).map_err(|error| error.to_string())
    }
}

/// Runs `function` on `device`.
///
/// # Errors
/// What the call reports.
pub fn run(function: &'static Function, bound: &Bound, device: &Device) -> Result<BTreeMap<String, Array>, Error> {
    let graph = function.graph()?;
    let tensors = tensors(graph, bound)?;
    let mut call = Call::on(function, device);
    for (name, tensor) in &tensors {
        call.value(name, Value::Tensor(tensor.view()));
    }
    for (name, array) in bound.arguments.iter().filter(|(_, array)| array.shape.is_empty()) {
        call.value(name, scalar(graph, name, array));
    }
    for (name, size) in &bound.dims {
        call.dim(name, *size);
    }
    call.run_named()?.into_iter().map(|(name, tensor)| Ok((name, array(&tensor)?))).collect()
}

/// What a function takes and gives.
pub fn signature(function: &graph::Function) -> Signature {
    let axes = |shape: &[Index]| shape.iter().map(|size| axis(function, size)).collect::<Vec<_>>();
    let inputs = function.params.iter().filter_map(|param| match param {
        Param::Tensor(id) => Some(&function.tensors[*id]),
        Param::Closure(_) => None,
    });
    let arguments = inputs.filter_map(|tensor| {
        let TensorKind::Input(input) = &tensor.kind else { return None };
        let (name, optional) = (tensor.name.clone(), input.default.is_some());
        Some(Argument { name, element: kind(dtype(function, &tensor.elem)), axes: axes(&tensor.shape), optional })
    });
    let outputs = function.outputs.iter().map(|id| &function.tensors[*id]);
    Signature {
        arguments: arguments.collect(),
        dims: function.dims.values().map(|dim| dim.name.clone()).collect(),
        outputs: outputs.map(|tensor| Output { name: tensor.name.clone(), axes: axes(&tensor.shape) }).collect(),
    }
}

/// A size as written, as far as a name: a dim's name, or the text of its normal form.
fn axis(function: &graph::Function, size: &Index) -> String {
    match size.as_atom() {
        Some(Atom::Dim(dim)) => function.dims[*dim].name.clone(),
        _ => graph::text::print_index(function, size),
    }
}

/// The type that a fixture's numbers take for an argument: f32 or i32 where the function leaves it open.
pub fn dtype(function: &graph::Function, elem: &Elem) -> DType {
    match elem {
        Elem::Type(dtype) => *dtype,
        Elem::Param(at) if function.type_params.get(*at as usize).is_some_and(|param| param.int) => DType::I32,
        Elem::Param(_) | Elem::Format(_) => DType::F32,
    }
}

fn kind(dtype: DType) -> Element {
    match dtype.kind() {
        Kind::Bool => Element::Bool,
        Kind::Signed if dtype.bits() == 64 => Element::Integer { least: i64::MIN, most: i64::MAX },
        Kind::Signed => Element::Integer { least: -(1 << (dtype.bits() - 1)), most: (1 << (dtype.bits() - 1)) - 1 },
        Kind::Unsigned => Element::Integer { least: 0, most: (1 << dtype.bits()) - 1 },
        Kind::Float | Kind::Complex => Element::Float,
    }
}

fn argument_type(function: &graph::Function, name: &str) -> DType {
    let tensor =
        function.tensors.values().find(|tensor| tensor.name == name && matches!(tensor.kind, TensorKind::Input(_)));
    tensor.map_or(DType::F32, |tensor| dtype(function, &tensor.elem))
}

fn scalar(function: &graph::Function, name: &str, array: &Array) -> Value<'static> {
    match (&array.numbers, argument_type(function, name)) {
        (Numbers::Integer(values), DType::Bool) => Value::Bool(values[0] != 0),
        (Numbers::Integer(values), _) => Value::Int(values[0]),
        (Numbers::Float(values), _) => Value::Float(values[0]),
    }
}

fn tensors<'b>(function: &graph::Function, bound: &'b Bound) -> Result<Vec<(&'b str, Tensor)>, Error> {
    let ranked = bound.arguments.iter().filter(|(_, array)| !array.shape.is_empty());
    ranked.map(|(name, array)| Ok((name.as_str(), tensor(array, argument_type(function, name))?))).collect()
}

/// The tensor of these numbers as `dtype` stores them.
fn tensor(array: &Array, dtype: DType) -> Result<Tensor, Error> {
    let unsupported = || Error::Tensor(format!("fixtures are not converted to {dtype}"));
    let bytes: Vec<u8> = match &array.numbers {
        Numbers::Float(values) => match dtype {
            DType::F64 => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
            DType::F32 => values.iter().flat_map(|&value| (value as f32).to_ne_bytes()).collect(),
            DType::F16 => values.iter().flat_map(|&value| sawmill::f16::from_f64(value).to_ne_bytes()).collect(),
            DType::BF16 => values.iter().flat_map(|&value| sawmill::bf16::from_f64(value).to_ne_bytes()).collect(),
            _ => return Err(unsupported()),
        },
        Numbers::Integer(values) => match dtype.bits() {
            64 => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
            32 => values.iter().flat_map(|&value| (value as i32).to_ne_bytes()).collect(),
            16 => values.iter().flat_map(|&value| (value as i16).to_ne_bytes()).collect(),
            8 => values.iter().map(|&value| value as u8).collect(),
            _ => return Err(unsupported()),
        },
    };
    Tensor::from_bytes(&bytes, RuntimeElem::Type(dtype), &array.shape)
}

/// The numbers of an output.
fn array(tensor: &Tensor) -> Result<Array, Error> {
    let float = |values: Vec<f32>| Numbers::Float(values.into_iter().map(f64::from).collect());
    let numbers = match tensor.elem() {
        RuntimeElem::Type(DType::F64) => Numbers::Float(tensor.to_vec::<f64>()?),
        RuntimeElem::Type(DType::F32) => float(tensor.to_vec::<f32>()?),
        RuntimeElem::Type(DType::F16) => {
            Numbers::Float(tensor.to_vec::<sawmill::f16>()?.into_iter().map(f64::from).collect())
        }
        RuntimeElem::Type(DType::BF16) => {
            Numbers::Float(tensor.to_vec::<sawmill::bf16>()?.into_iter().map(f64::from).collect())
        }
        RuntimeElem::Type(DType::I64) => Numbers::Integer(tensor.to_vec::<i64>()?),
        RuntimeElem::Type(DType::I32) => Numbers::Integer(tensor.to_vec::<i32>()?.into_iter().map(i64::from).collect()),
        other => return Err(Error::Tensor(format!("outputs of type {other} are not compared"))),
    };
    Ok(Array { shape: tensor.shape().to_vec(), numbers })
}
