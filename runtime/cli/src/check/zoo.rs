//! The functions of the zoo as candidates, and their running on a device.
//!
//! In: `sawmill_zoo::rows::ROWS`. Out: [`Candidate`]s, outputs by name.
//! Invariant: nothing here knows a function; signatures are read from their programs.

use std::collections::BTreeMap;

use sawmill::{
    Call, Device, Error, Function,
    ir::{
        dtype::{DType, Kind},
        graph::{self, Elem, Param, TensorKind},
        index::{Atom, Index},
    },
};

use super::{
    array::Array,
    binding::Bound,
    fixtures::Runner,
    signature::{Argument, Candidate, Element, Output, Signature},
    values::{Values, array_of},
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
        let outputs = function.graph().and_then(|graph| run(function, graph, bound, &self.device));
        outputs.map_err(|error| error.to_string())
    }
}

/// Runs `function` on `device`; its outputs, and what its caches hold afterwards. `signature` is its graph, with type parameters or types
/// in their place.
///
/// # Errors
/// What the call reports.
pub fn run(
    function: &'static Function,
    signature: &graph::Function,
    bound: &Bound,
    device: &Device,
) -> Result<BTreeMap<String, Array>, Error> {
    let mut values = Values::new(signature, bound)?;
    let mut call = Call::on(function, device);
    values.bind(&mut call);
    for (name, size) in &bound.dims {
        call.dim(name, *size);
    }
    let outputs = call.run_named()?;
    let mut arrays = values.caches()?;
    for (name, tensor) in outputs {
        arrays.insert(name, array_of(&tensor)?);
    }
    Ok(arrays)
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
