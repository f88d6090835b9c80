//! Binding a call's arguments to a signature: element types, sizes, requirements, promises.
//!
//! In: the function as lowered (its signature only is read) and the values of a call. Out: a value for every dim and type
//! parameter, or a typed error that names the argument. Nothing has run or been compiled by then.

use crate::arg::Value;
use crate::cache::{Cache, Store};
use crate::element::RuntimeElem;
use crate::tensor::View;
use crate::{Device, Error};
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::sizes::{self, Fact, SizeError};
use sawmill_ir::graph::{Elem, Function, Input, Param, Tensor, TensorKind};
use sawmill_ir::index::{Atom, Index, TensorId};
use std::collections::BTreeMap;

/// What a call determines.
#[derive(Debug)]
pub(crate) struct Bound {
    /// A value for each dim of the function, in order.
    pub(crate) dims: Vec<i64>,
    /// An element type for each type parameter, in order.
    pub(crate) types: Vec<RuntimeElem>,
    /// Parameters that take their default, by name.
    pub(crate) defaulted: Vec<String>,
    /// The device that arguments are bound to, if any is.
    pub(crate) device: Option<Device>,
    /// Whether arguments lie in its own memory.
    pub(crate) resident: bool,
}

/// Binds `values` and explicitly `given` dims to the signature of `function`.
pub(crate) fn bind(
    function: &Function,
    values: &[(String, Value<'_>)],
    given: &[(String, i64)],
) -> Result<Bound, Error> {
    let mut binder = Binder { function, types: vec![None; function.type_params.len()], facts: Vec::new() };
    check_names(function, values)?;
    let (mut defaulted, mut device) = (Vec::new(), None);
    for (id, tensor, input) in inputs(function) {
        match value_of(values, &tensor.name) {
            Some(value) => {
                binder.argument(id, tensor, input, value)?;
                agree_on_device(function, tensor, value, &mut device)?;
            }
            None if input.default.is_some() => defaulted.push(tensor.name.clone()),
            None => return Err(Error::argument(&function.name, &tensor.name, "is missing and has no default")),
        }
    }
    let types = binder.finish_types()?;
    let dims = dims_of(function, &binder.facts, values, given)?;
    check_promises(function, values, &dims)?;
    let resident = values.iter().any(|(_, value)| is_resident(value));
    Ok(Bound { dims, types, defaulted, device, resident })
}

/// The value bound to the tensor parameter `name`: its own, or the cache whose field it is.
pub(crate) fn value_of<'v, 'a>(values: &'v [(String, Value<'a>)], name: &str) -> Option<&'v Value<'a>> {
    values.iter().find_map(|(bound, value)| {
        let field = || name.strip_prefix(bound.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let cache = matches!(value, Value::Cache(_) | Value::Caches(_));
        (bound == name || (cache && field())).then_some(value)
    })
}

/// The field of a cache parameter's name (`kv.k` is field `k`).
pub(crate) fn field_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, field)| field)
}

/// The tensor parameters, in order of the signature.
pub(crate) fn inputs(function: &Function) -> impl Iterator<Item = (TensorId, &Tensor, &Input)> {
    function.params.iter().filter_map(|param| match param {
        Param::Tensor(id) => match &function.tensors[*id].kind {
            TensorKind::Input(input) => Some((*id, &function.tensors[*id], input)),
            _ => None,
        },
        Param::Closure(_) => None,
    })
}

fn check_names(function: &Function, values: &[(String, Value<'_>)]) -> Result<(), Error> {
    for (at, (name, value)) in values.iter().enumerate() {
        let cache = matches!(value, Value::Cache(_) | Value::Caches(_));
        let names = |tensor: &Tensor| {
            tensor.name == *name
                || (cache && tensor.name.strip_prefix(name.as_str()).is_some_and(|r| r.starts_with('.')))
        };
        if !inputs(function).any(|(_, tensor, _)| names(tensor)) {
            return Err(Error::argument(&function.name, name, "is no parameter"));
        }
        if values[..at].iter().any(|(other, _)| other == name) {
            return Err(Error::argument(&function.name, name, "is given twice"));
        }
    }
    Ok(())
}

struct Binder<'f> {
    function: &'f Function,
    types: Vec<Option<RuntimeElem>>,
    facts: Vec<Fact<'f>>,
}

impl<'f> Binder<'f> {
    fn argument(&mut self, id: TensorId, tensor: &'f Tensor, input: &'f Input, value: &Value<'_>) -> Result<(), Error> {
        let sizes = &tensor.shape;
        match value {
            Value::Tensor(view) if input.lists == 0 && input.grows.is_none() => self.tensor(tensor, sizes, view),
            Value::List(list) if input.lists as usize == list.lengths.len() => {
                for (dimension, length) in list.lengths.iter().enumerate() {
                    self.size(tensor, dimension, &sizes[dimension], *length)?;
                }
                if list.lengths.iter().product::<usize>() != list.items.len() {
                    return Err(self.error(tensor, "is a list of lists of different lengths"));
                }
                list.items.iter().try_for_each(|view| self.tensor(tensor, &sizes[list.lengths.len()..], view))
            }
            Value::Cache(cache) if input.lists == 0 && input.grows.is_some() => self.cache(tensor, sizes, input, cache),
            Value::Caches(caches) if input.lists == 1 && input.grows.is_some() => {
                self.size(tensor, 0, &sizes[0], caches.len())?;
                caches.iter().try_for_each(|cache| self.cache(tensor, &sizes[1..], input, cache))
            }
            Value::Int(_) | Value::Float(_) | Value::Bool(_) if sizes.is_empty() => self.scalar(tensor, value),
            _ => Err(self.error(tensor, format!("takes {}", kind_of(id, tensor, input)))),
        }
    }

    fn error(&self, tensor: &Tensor, message: impl Into<String>) -> Error {
        Error::argument(&self.function.name, &tensor.name, message)
    }

    fn scalar(&mut self, tensor: &Tensor, value: &Value<'_>) -> Result<(), Error> {
        let Elem::Type(dtype) = &tensor.elem else {
            return Err(self.error(tensor, "a scalar has a plain type"));
        };
        let fits = match value {
            Value::Int(value) => int_fits(*dtype, *value),
            Value::Float(_) => dtype.is_float(),
            Value::Bool(_) => *dtype == DType::Bool,
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.error(tensor, format!("is {dtype}; the value given does not fit"))) }
    }

    fn tensor(&mut self, tensor: &'f Tensor, sizes: &'f [Index], view: &View<'_>) -> Result<(), Error> {
        self.elem(tensor, view.layout().elem)?;
        self.sizes(tensor, sizes, &view.layout().shape, None)
    }

    fn cache(&mut self, tensor: &'f Tensor, sizes: &'f [Index], input: &Input, cache: &Cache) -> Result<(), Error> {
        let field = field_of(&tensor.name);
        let known = cache.fields.iter().find(|(name, _)| *name == field);
        let store: &Store = &known.ok_or_else(|| self.error(tensor, "the cache given has no such field"))?.1;
        self.elem(tensor, store.layout.elem)?;
        let dimension = input.grows.map(|d| (d - input.lists) as usize);
        if dimension != Some(store.grows) {
            return Err(self.error(tensor, format!("grows along dimension {}", dimension.unwrap_or(0))));
        }
        self.sizes(tensor, sizes, &store.layout.shape, Some((store.grows, cache.len)))
    }

    fn sizes(
        &mut self,
        tensor: &'f Tensor,
        expected: &'f [Index],
        actual: &[usize],
        grown: Option<(usize, usize)>,
    ) -> Result<(), Error> {
        if expected.len() != actual.len() {
            return Err(self.error(tensor, format!("has rank {}, not {}", expected.len(), actual.len())));
        }
        for (dimension, (index, size)) in expected.iter().zip(actual).enumerate() {
            let size = grown.filter(|(at, _)| *at == dimension).map_or(*size, |(_, len)| len);
            self.size(tensor, dimension, index, size)?;
        }
        Ok(())
    }

    fn size(&mut self, tensor: &'f Tensor, dimension: usize, expected: &'f Index, actual: usize) -> Result<(), Error> {
        let actual = i64::try_from(actual).map_err(|_| self.error(tensor, format!("size {actual} is too large")))?;
        self.facts.push(Fact { argument: &tensor.name, dimension, expected, actual });
        Ok(())
    }

    fn elem(&mut self, tensor: &Tensor, actual: RuntimeElem) -> Result<(), Error> {
        let fits = match (&tensor.elem, actual) {
            (Elem::Type(expected), RuntimeElem::Type(actual)) => *expected == actual,
            (Elem::Format(expected), RuntimeElem::Packed(actual)) => *expected == actual.format().name,
            (Elem::Param(at), actual) => {
                let known = *self.types[*at as usize].get_or_insert(actual);
                let int = self.function.type_params[*at as usize].int;
                known == actual && matches!(actual, RuntimeElem::Type(d) if d.is_int()) == int
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let expected = match &tensor.elem {
            Elem::Type(dtype) => dtype.to_string(),
            Elem::Format(name) => name.clone(),
            Elem::Param(at) => {
                let name = &self.function.type_params[*at as usize].name;
                self.types[*at as usize].map_or_else(|| name.clone(), |known| format!("{name} = {known}"))
            }
        };
        Err(self.error(tensor, format!("has elements {expected}, not {actual}")))
    }

    fn finish_types(&self) -> Result<Vec<RuntimeElem>, Error> {
        let missing = |name: &str| Error::argument(&self.function.name, name, "no argument determines this type");
        let named = self.types.iter().zip(&self.function.type_params);
        named.map(|(elem, param)| elem.ok_or_else(|| missing(&param.name))).collect()
    }
}

/// A value for every dim, from the sizes of arguments and the dims `given` by name.
fn dims_of(
    function: &Function,
    facts: &[Fact<'_>],
    values: &[(String, Value<'_>)],
    given: &[(String, i64)],
) -> Result<Vec<i64>, Error> {
    let name = &function.name;
    if let Some((dim, _)) = given.iter().find(|(dim, _)| function.dims.values().all(|known| known.name != *dim)) {
        return Err(Error::argument(name, dim, "is no dim"));
    }
    let dims: BTreeMap<String, i64> = given.iter().cloned().collect();
    let scalars = |id: TensorId| match value_of(values, &function.tensors.get(id)?.name)? {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    sizes::bind(function, &sizes::Call { facts, dims: &dims, scalars: &scalars }).map_err(|error| match error {
        SizeError::Rank { argument, given, rank } => {
            Error::argument(name, &argument, format!("has rank {rank}, not {given}"))
        }
        SizeError::Size { argument, dimension, actual, expected } => {
            let expected = expected.map_or("out of range".to_owned(), |e| e.to_string());
            let message = format!("dimension {dimension} has size {actual}, but other arguments make it {expected}");
            Error::argument(name, &argument, message)
        }
        SizeError::Unknown { dim } => Error::argument(name, &dim, "no argument determines this dim: give it by name"),
        SizeError::Small { dim, value, least } => {
            Error::argument(name, &dim, format!("this dim is at least {least}, not {value}"))
        }
        SizeError::Requirement { text, sizes } => {
            let message = format!("requires `{text}`, which does not hold with {sizes}");
            Error::Requirement { function: name.clone(), message }
        }
    })
}

/// Whether an integer value can be an element of `dtype`.
fn int_fits(dtype: DType, value: i64) -> bool {
    let bits = dtype.bits();
    match dtype.kind() {
        sawmill_ir::dtype::Kind::Signed => bits == 64 || (-(1_i64 << (bits - 1))..1_i64 << (bits - 1)).contains(&value),
        sawmill_ir::dtype::Kind::Unsigned => (0..1_i64 << bits).contains(&value),
        _ => false,
    }
}

fn kind_of(_: TensorId, tensor: &Tensor, input: &Input) -> String {
    let rank = tensor.shape.len() - input.lists as usize;
    let what = if input.grows.is_some() { "cache" } else { "tensor" };
    let one = if rank == 0 { "a scalar".to_owned() } else { format!("a {what} of rank {rank}") };
    (0..input.lists).fold(one, |each, _| format!("a list, each element {each}"))
}

fn agree_on_device(
    function: &Function,
    tensor: &Tensor,
    value: &Value<'_>,
    device: &mut Option<Device>,
) -> Result<(), Error> {
    for here in devices(value) {
        match &device {
            Some(there) if here != there => {
                let message = format!(
                    "lives on another device ({here:?}) than arguments before it ({there:?}): move it with `.to(&device)`"
                );
                return Err(Error::argument(&function.name, &tensor.name, message));
            }
            Some(_) => {}
            None => *device = Some(here.clone()),
        }
    }
    Ok(())
}

/// The devices that the tensors of a value are bound to or lie on.
fn devices<'v>(value: &'v Value<'_>) -> Box<dyn Iterator<Item = &'v Device> + 'v> {
    match value {
        Value::Tensor(view) => Box::new(view.device().into_iter()),
        Value::List(list) => Box::new(list.items.iter().filter_map(View::device)),
        Value::Cache(cache) => Box::new(cache.device().into_iter()),
        Value::Caches(caches) => Box::new(caches.iter().filter_map(|cache| cache.device())),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => Box::new(std::iter::empty()),
    }
}

/// Whether some of a value lies in a device's own memory.
fn is_resident(value: &Value<'_>) -> bool {
    match value {
        Value::Tensor(view) => view.remote().is_some(),
        Value::List(list) => list.items.iter().any(|view| view.remote().is_some()),
        Value::Cache(cache) => cache.device().is_some(),
        Value::Caches(caches) => caches.iter().any(|cache| cache.device().is_some()),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => false,
    }
}

fn eval(index: &Index, dims: &[i64]) -> Option<i64> {
    index.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => dims.get(dim.index()).copied(),
        _ => None,
    })
}

/// Promised ranges of integer arguments; of those in a device's memory what was found once is remembered.
fn check_promises(function: &Function, values: &[(String, Value<'_>)], dims: &[i64]) -> Result<(), Error> {
    for (_, tensor, input) in inputs(function) {
        let Some((lo, hi)) = &input.promise else { continue };
        let range = eval(lo, dims).unwrap_or(0)..eval(hi, dims).unwrap_or(0);
        let Some(value) = value_of(values, &tensor.name) else { continue };
        let views: &[View<'_>] = match value {
            Value::Tensor(view) => std::slice::from_ref(view),
            Value::List(list) => &list.items,
            Value::Int(value) if !range.contains(value) => {
                return Err(broken_promise(function, tensor, *value, &range));
            }
            _ => &[],
        };
        for view in views {
            if let Some(value) = outside(view, &range)? {
                return Err(broken_promise(function, tensor, value, &range));
            }
        }
    }
    Ok(())
}

fn broken_promise(function: &Function, tensor: &Tensor, value: i64, range: &std::ops::Range<i64>) -> Error {
    let message = format!("holds {value}, outside of its promised range {}..{}", range.start, range.end);
    Error::argument(&function.name, &tensor.name, message)
}

/// An element of an integer tensor that is outside of `range`.
fn outside(view: &View<'_>, range: &std::ops::Range<i64>) -> Result<Option<i64>, Error> {
    let Some(storage) = view.remote() else {
        return Ok(integers(view)?.into_iter().find(|value| !range.contains(value)));
    };
    // Of no elements the least is above the greatest.
    let (least, greatest) = storage.range(view.layout(), || {
        let values = integers(view)?;
        let (least, greatest) = (values.iter().min(), values.iter().max());
        Ok((least.copied().unwrap_or(i64::MAX), greatest.copied().unwrap_or(i64::MIN)))
    })?;
    Ok([least, greatest].into_iter().find(|value| least <= greatest && !range.contains(value)))
}

/// The elements of an integer tensor; none of a packed one.
pub(crate) fn integers(view: &View<'_>) -> Result<Vec<i64>, Error> {
    let RuntimeElem::Type(dtype) = view.layout().elem else { return Ok(Vec::new()) };
    fn wide<T: crate::element::Plain + Into<i64>>(view: &View<'_>) -> Result<Vec<i64>, Error> {
        Ok(view.to_vec::<T>()?.into_iter().map(Into::into).collect())
    }
    match dtype {
        DType::I64 => view.to_vec::<i64>(),
        DType::I32 => wide::<i32>(view),
        DType::U32 => wide::<u32>(view),
        DType::I16 => wide::<i16>(view),
        DType::U16 => wide::<u16>(view),
        DType::I8 => wide::<i8>(view),
        DType::U8 => wide::<u8>(view),
        other => Err(Error::Tensor(format!("a range cannot be promised of {other}"))),
    }
}
