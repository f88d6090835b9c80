//! Running a linked function in the graph interpreter: arguments are copied in, outputs and grown caches copied out.

use super::arguments::Arguments;
use super::native::{Field, field_slots, packed_fields};
use crate::element::RuntimeElem;
use crate::function::Prepared;
use crate::memory::{gather, scatter};
use crate::tensor::Tensor;
use crate::{Error, bind};
use sawmill_ir::backend::Slot;
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::interp::{self, Appended, Inputs, Options, Value};
use sawmill_ir::graph::{self, Elem, Input, TensorKind, text};
use sawmill_ir::index::{Atom, Index};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs `linked`.
pub(super) fn run(
    linked: &graph::Function,
    prepared: &Prepared,
    mut arguments: Arguments<'_, '_>,
) -> Result<Vec<(String, Tensor)>, Error> {
    let name = &prepared.signature.name;
    let bug = |message: String| Error::bug(name, message, text::print_function(linked));
    let dims = linked.dims.values().filter_map(|dim| Some((dim.name.clone(), arguments.integer(&dim.name)?)));
    let dims: BTreeMap<String, i64> = dims.collect();
    let fields = packed_fields(linked);
    let mut inputs = Inputs::new();
    for tensor in linked.tensors.values() {
        if let TensorKind::Input(input) = &tensor.kind {
            let value = value(name, linked, tensor, input, &fields, &dims, &arguments)?;
            inputs.insert(tensor.name.clone(), Arc::new(value));
        }
    }
    let outcome = interp::run(linked, &dims, &inputs, Options::default()).map_err(|e| match e.memory {
        Some(bytes) => Error::OutOfMemory { what: format!("`{}`", e.tensor), bytes },
        None => bug(e.to_string()),
    })?;
    check_room(name, &outcome.appended, &arguments)?;
    for appended in &outcome.appended {
        write_cache(name, appended, &mut arguments)?;
    }
    let mut outputs = Vec::new();
    for (output, value) in &outcome.outputs {
        let bytes = encode(value).ok_or_else(|| bug(format!("output {output} has no bytes")))?;
        let tensor = Tensor::from_bytes(&bytes, RuntimeElem::Type(value.dtype), &value.shape)?;
        let tensor = match &prepared.bound.device {
            Some(device) => tensor.on(device),
            None => tensor,
        };
        outputs.push((output.clone(), tensor));
    }
    Ok(outputs)
}

/// The value of an input of the linked function.
fn value(
    function: &str,
    linked: &graph::Function,
    tensor: &graph::Tensor,
    input: &Input,
    fields: &[(String, Field)],
    dims: &BTreeMap<String, i64>,
    arguments: &Arguments<'_, '_>,
) -> Result<Value, Error> {
    let bug = |message: &str| Error::bug(function, format!("input {}: {message}", tensor.name), "");
    let Elem::Type(dtype) = tensor.elem else { return Err(bug("is not linked")) };
    let lists = input.lists as usize;
    let size = |size: &Index| {
        let value = size.eval(&mut |atom, _| match atom {
            Atom::Dim(dim) => dims.get(&linked.dims.values().nth(dim.index())?.name).copied(),
            _ => None,
        });
        value.and_then(|value| usize::try_from(value).ok())
    };
    let sizes = |shape: &[Index]| shape.iter().map(size).collect::<Option<Vec<usize>>>();
    let slots = match fields.iter().find(|(name, _)| *name == tensor.name) {
        None => arguments.slots(&tensor.name).ok_or_else(|| bug("is bound to nothing"))?,
        Some((_, field)) => {
            let shape = sizes(&tensor.shape[lists..]).ok_or_else(|| bug("has an unknown size"))?;
            let views = arguments.views(&field.of).ok_or_else(|| bug("is bound to nothing"))?;
            field_slots(function, (&tensor.name, dtype), &shape, field, views)?
        }
    };
    let mut bytes = Vec::new();
    for slot in &slots {
        let out_of_memory = || {
            let elements = slot.shape.iter().fold(1_u128, |n, size| n.saturating_mul(size.unsigned_abs().into()));
            let bytes = elements.saturating_mul(u128::from(slot.dtype.bits() / 8));
            Error::OutOfMemory { what: format!("a copy of `{}`", tensor.name), bytes }
        };
        let part = gather(slot).ok_or_else(out_of_memory)?;
        if bytes.is_empty() {
            bytes = part;
        } else {
            bytes.try_reserve(part.len()).map_err(|_| out_of_memory())?;
            bytes.extend(part);
        }
    }
    let mut shape = sizes(&tensor.shape[..lists]).ok_or_else(|| bug("is a list of unknown length"))?;
    match slots.first() {
        Some(slot) => shape.extend(slot.shape.iter().map(|size| *size as usize)),
        None => shape.resize(tensor.shape.len(), 0),
    }
    Value::from_bytes(dtype, shape, &bytes).map_err(|message| bug(&message))
}

/// The elements of a value in the storage form of its type.
fn encode(value: &Value) -> Option<Vec<u8>> {
    let each = |encode: &dyn Fn(usize, &mut Vec<u8>)| {
        let mut bytes = Vec::new();
        (0..value.len()).for_each(|at| encode(at, &mut bytes));
        bytes
    };
    let float = |at| value.data.float(at);
    Some(match (value.dtype, value.dtype.kind()) {
        (DType::F64, _) => each(&|at, out| out.extend(float(at).to_le_bytes())),
        (DType::F32, _) => each(&|at, out| out.extend((float(at) as f32).to_le_bytes())),
        (DType::F16, _) => each(&|at, out| out.extend(half::f16::from_f64(float(at)).to_le_bytes())),
        (DType::BF16, _) => each(&|at, out| out.extend(half::bf16::from_f64(float(at)).to_le_bytes())),
        (DType::U4 | DType::I4, _) => {
            let low = |at| value.data.int(at).to_le_bytes()[0] & 15;
            let pair = |at| low(at) | if at + 1 < value.len() { low(at + 1) << 4 } else { 0 };
            (0..value.len()).step_by(2).map(pair).collect()
        }
        (dtype, Kind::Signed | Kind::Unsigned | Kind::Bool) => {
            let bytes = dtype.bytes()? as usize;
            each(&|at, out| out.extend(&value.data.int(at).to_le_bytes()[..bytes]))
        }
        _ => return None,
    })
}

/// Every cache has room for what is appended: nothing is written otherwise.
fn check_room(function: &str, appended: &[Appended], arguments: &Arguments<'_, '_>) -> Result<(), Error> {
    for grown in appended {
        for (cache, grows) in caches_of(grown, arguments) {
            let len = grown.value.shape.get(grows).copied().unwrap_or(0);
            if len > cache {
                let message = format!("would hold {len} positions, but has room for {cache}");
                return Err(Error::argument(function, &grown.input, message));
            }
        }
    }
    Ok(())
}

/// Capacity and growing dimension of the caches that a value belongs to.
fn caches_of(grown: &Appended, arguments: &Arguments<'_, '_>) -> Vec<(usize, usize)> {
    let field = bind::field_of(&grown.input);
    let caches = arguments.caches(&grown.input).unwrap_or_default();
    let grows = |cache: &crate::Cache| cache.fields.iter().find(|(name, _)| *name == field).map_or(0, |(_, s)| s.grows);
    caches.into_iter().map(|cache| (cache.capacity, grows(cache))).collect()
}

fn write_cache(function: &str, grown: &Appended, arguments: &mut Arguments<'_, '_>) -> Result<(), Error> {
    let bug = || Error::bug(function, format!("cache {} cannot be written back", grown.input), "");
    let at = grown.at.first().map_or(Ok(0), |at| usize::try_from(*at)).map_err(|_| bug())?;
    let grows = caches_of(grown, arguments).get(at).ok_or_else(bug)?.1;
    let len = *grown.value.shape.get(grows).ok_or_else(bug)?;
    let slots: Vec<Slot> = arguments.cache_slots(&grown.input, len).ok_or_else(bug)?;
    let bytes = encode(&grown.value).ok_or_else(bug)?;
    if !scatter(slots.get(at).ok_or_else(bug)?, &bytes) {
        return Err(bug());
    }
    if let Some(cache) = arguments.caches_mut(&grown.input).into_iter().nth(at) {
        cache.len = len;
    }
    Ok(())
}
