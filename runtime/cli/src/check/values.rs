//! The values of a call from exact numbers: tensors, scalars, lists, caches.
//!
//! In: a function's signature and an [`Array`] for every parameter that is given; of a list the first axis counts its
//! elements. Out: [`Values`], which own what a call borrows; after the call, its caches as arrays again.
//! Invariant: nothing here knows a function.

use std::collections::BTreeMap;

use sawmill::{
    Cache, Call, Error, List, RuntimeElem, Tensor, Value,
    ir::{
        dtype::DType,
        graph::{Function, Input, Param, TensorKind},
    },
};

use super::{
    array::{Array, Numbers},
    binding::Bound,
    zoo::dtype,
};

/// What the arguments of a call are made of.
#[derive(Default)]
pub struct Values {
    tensors: Vec<(String, Tensor)>,
    lists: Vec<(String, Vec<usize>, Vec<Tensor>)>,
    scalars: Vec<(String, Scalar)>,
    caches: Vec<(String, Caches)>,
}

/// The caches of one parameter: one, or those of a list.
struct Caches {
    list: bool,
    fields: Vec<String>,
    each: Vec<Cache>,
}

/// A field of a cache parameter before the caches are made: its name, its contents in every cache, what grows.
type Field = (String, Vec<Tensor>, usize);

#[derive(Clone, Copy)]
enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Values {
    /// The values of `bound` as `function` takes them.
    ///
    /// # Errors
    /// If an element type is not converted, or memory is lacking.
    pub fn new(function: &Function, bound: &Bound) -> Result<Self, Error> {
        let mut values = Self::default();
        let mut fields: Vec<(String, bool, Vec<Field>)> = Vec::new();
        for param in &function.params {
            let Param::Tensor(id) = param else { continue };
            let tensor = &function.tensors[*id];
            let (TensorKind::Input(input), Some(array)) = (&tensor.kind, bound.arguments.get(&tensor.name)) else {
                continue;
            };
            let (name, dtype) = (tensor.name.clone(), dtype(function, &tensor.elem));
            if let Some(grows) = input.grows {
                let (cache, field) = name.rsplit_once('.').unwrap_or((&name, &name));
                let field = (field.to_owned(), elements(array, input, dtype)?, (grows - input.lists) as usize);
                match fields.iter_mut().find(|(known, ..)| known == cache) {
                    Some((_, _, known)) => known.push(field),
                    None => fields.push((cache.to_owned(), input.lists > 0, vec![field])),
                }
            } else if input.lists > 0 {
                let lengths = array.shape[..input.lists as usize].to_vec();
                values.lists.push((name, lengths, elements(array, input, dtype)?));
            } else if array.shape.is_empty() {
                values.scalars.push((name, scalar(array, dtype)));
            } else {
                values.tensors.push((name, tensor_of(array, dtype)?));
            }
        }
        // Room for as many new positions as the largest argument could bring.
        let sizes = bound.arguments.values().flat_map(|array| &array.shape);
        let room = 2 * sizes.copied().max().unwrap_or(1);
        for (name, list, fields) in fields {
            values.caches.push((name, Caches::new(list, &fields, room)?));
        }
        Ok(values)
    }

    /// Binds every value to `call`.
    pub fn bind<'a>(&'a mut self, call: &mut Call<'a>) {
        for (name, tensor) in &self.tensors {
            call.value(name, Value::Tensor(tensor.view()));
        }
        for (name, lengths, tensors) in &self.lists {
            let items = tensors.iter().map(Tensor::view).collect();
            call.value(name, Value::List(List { lengths: lengths.clone(), items }));
        }
        for (name, scalar) in &self.scalars {
            let value = match *scalar {
                Scalar::Bool(value) => Value::Bool(value),
                Scalar::Int(value) => Value::Int(value),
                Scalar::Float(value) => Value::Float(value),
            };
            call.value(name, value);
        }
        for (name, caches) in &mut self.caches {
            let value = match (caches.list, caches.each.as_mut_slice()) {
                (false, [cache]) => Value::Cache(cache),
                (_, caches) => Value::Caches(caches.iter_mut().collect()),
            };
            call.value(name, value);
        }
    }

    /// What the caches hold, by the names of their fields; those of a list are numbered.
    ///
    /// # Errors
    /// If an element type is not converted.
    pub fn caches(&self) -> Result<BTreeMap<String, Array>, Error> {
        let mut arrays = BTreeMap::new();
        for (name, caches) in &self.caches {
            for (at, cache) in caches.each.iter().enumerate() {
                for field in &caches.fields {
                    let Some(tensor) = cache.field(field) else { continue };
                    let name = if caches.list { format!("{name}.{at}.{field}") } else { format!("{name}.{field}") };
                    arrays.insert(name, array_of(&tensor?)?);
                }
            }
        }
        Ok(arrays)
    }
}

impl Caches {
    fn new(list: bool, fields: &[Field], room: usize) -> Result<Self, Error> {
        let count = fields.first().map_or(0, |(_, tensors, _)| tensors.len());
        let cache = |at: usize| {
            let fields: Vec<_> =
                fields.iter().map(|(name, tensors, grows)| (name.as_str(), &tensors[at], *grows)).collect();
            let len = fields.first().and_then(|(_, tensor, grows)| tensor.shape().get(*grows)).copied();
            Cache::from_fields(&fields, len.unwrap_or(0) + room)
        };
        let each = (0..count).map(cache).collect::<Result<_, _>>()?;
        Ok(Self { list, fields: fields.iter().map(|(name, ..)| name.clone()).collect(), each })
    }
}

/// The elements of a list, or the one tensor.
fn elements(array: &Array, input: &Input, dtype: DType) -> Result<Vec<Tensor>, Error> {
    if input.lists == 0 {
        return Ok(vec![tensor_of(array, dtype)?]);
    }
    let Some((lengths, shape)) = array.shape.split_at_checked(input.lists as usize) else { return Ok(Vec::new()) };
    let size: usize = shape.iter().product();
    let element = |at: usize| {
        let numbers = match &array.numbers {
            Numbers::Float(values) => Numbers::Float(values[at * size..(at + 1) * size].to_vec()),
            Numbers::Integer(values) => Numbers::Integer(values[at * size..(at + 1) * size].to_vec()),
        };
        tensor_of(&Array { shape: shape.to_vec(), numbers }, dtype)
    };
    (0..lengths.iter().product()).map(element).collect()
}

fn scalar(array: &Array, dtype: DType) -> Scalar {
    match (&array.numbers, dtype) {
        (Numbers::Integer(values), DType::Bool) => Scalar::Bool(values[0] != 0),
        (Numbers::Integer(values), _) => Scalar::Int(values[0]),
        (Numbers::Float(values), _) => Scalar::Float(values[0]),
    }
}

/// The tensor of these numbers as `dtype` stores them.
fn tensor_of(array: &Array, dtype: DType) -> Result<Tensor, Error> {
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
pub(super) fn array_of(tensor: &Tensor) -> Result<Array, Error> {
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
