//! The arguments of a run by the name a linked function knows them by.
//!
//! A linked function's inputs are the signature's, fields of packed arguments (`w.d` of `w`), and captures of closures
//! (`mask.0`). Scalars are held here as bytes of their parameter's type for as long as the run lasts.

use crate::arg::Value;
use crate::bind;
use crate::cache::Cache;
use crate::closure::{Capture, Closure};
use crate::function::Prepared;
use crate::tensor::View;
use sawmill_ir::backend::{PerAxis, Slot};
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::Elem;

/// The arguments of a run.
pub(super) struct Arguments<'r, 'a> {
    prepared: &'r Prepared,
    values: &'r mut [(String, Value<'a>)],
    /// Scalars and captures, by name.
    scalars: Vec<(String, Scalar)>,
    captures: Vec<(String, View<'a>)>,
}

/// A scalar: its value, and its bytes in memory.
pub(super) struct Scalar {
    dtype: DType,
    integer: Option<i64>,
    bytes: Box<[u8; 8]>,
}

impl<'r, 'a> Arguments<'r, 'a> {
    pub(super) fn new(
        prepared: &'r Prepared,
        values: &'r mut [(String, Value<'a>)],
        closures: &[(String, Closure<'a>)],
    ) -> Self {
        let mut scalars = Vec::new();
        let mut captures = Vec::new();
        for (_, tensor, _) in bind::inputs(prepared.signature) {
            if let (Elem::Type(dtype), Some(value)) = (&tensor.elem, bind::value_of(values, &tensor.name))
                && let Some(scalar) = Scalar::new(*dtype, value)
            {
                scalars.push((tensor.name.clone(), scalar));
            }
        }
        for (name, closure) in closures {
            for (at, capture) in closure.captures.iter().enumerate() {
                let name = format!("{name}.{at}");
                match capture {
                    Capture::Int(value) => scalars.push((name, Scalar::int(DType::I64, *value))),
                    Capture::Float(value) => scalars.push((name, Scalar::float(DType::F32, *value))),
                    Capture::Bool(value) => scalars.push((name, Scalar::int(DType::Bool, i64::from(*value)))),
                    Capture::Tensor(view) => captures.push((name, view.clone())),
                }
            }
        }
        Self { prepared, values, scalars, captures }
    }
    /// The value of a dim or of an integer scalar.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        let dims = &self.prepared.signature.dims;
        let dim = dims.iter().find(|(_, dim)| dim.name == name).map(|(id, _)| self.prepared.bound.dims[id.index()]);
        let scalar = || self.scalars.iter().find(|(n, _)| n == name).and_then(|(_, scalar)| scalar.integer);
        let element = || self.views(name).and_then(|views| integer_element(views.first()?));
        dim.or_else(scalar).or_else(element).or_else(|| self.captured_size(name))
    }
    /// A size of a captured tensor: `mask.0.1` is dimension 1 of capture 0 of `mask`.
    fn captured_size(&self, name: &str) -> Option<i64> {
        let (capture, dimension) = name.rsplit_once('.')?;
        let (_, view) = self.captures.iter().find(|(n, _)| n == capture)?;
        let size = view.layout().shape.get(dimension.parse::<usize>().ok()?)?;
        i64::try_from(*size).ok()
    }
    /// The tensors of an argument: one, or those of a list.
    pub(super) fn views(&self, name: &str) -> Option<&[View<'a>]> {
        if let Some((_, view)) = self.captures.iter().find(|(n, _)| n == name) {
            return Some(std::slice::from_ref(view));
        }
        match bind::value_of(self.values, name)? {
            Value::Tensor(view) => Some(std::slice::from_ref(view)),
            Value::List(list) => Some(&list.items),
            _ => None,
        }
    }
    /// Memory of an argument that is read.
    pub(super) fn slots(&self, name: &str) -> Option<Vec<Slot>> {
        if let Some((_, scalar)) = self.scalars.iter().find(|(n, _)| n == name) {
            return Some(vec![scalar.slot()]);
        }
        if let Some(caches) = self.caches(name) {
            let field = bind::field_of(name);
            return caches.iter().map(|cache| cache_slot(cache, field, cache.len)).collect();
        }
        Some(self.views(name)?.iter().map(View::slot).collect())
    }
    /// Memory of a cache that is written: every element up to its capacity, seen as `len` positions long.
    pub(super) fn cache_slots(&mut self, name: &str, len: usize) -> Option<Vec<Slot>> {
        let field = bind::field_of(name);
        self.caches(name)?.iter().map(|cache| cache_slot(cache, field, len)).collect()
    }
    /// The caches of a cache field.
    pub(super) fn caches(&self, name: &str) -> Option<Vec<&Cache>> {
        match bind::value_of(self.values, name)? {
            Value::Cache(cache) => Some(vec![cache]),
            Value::Caches(caches) => Some(caches.iter().map(|cache| &**cache).collect()),
            _ => None,
        }
    }
    /// The caches of a cache field, to write.
    pub(super) fn caches_mut(&mut self, name: &str) -> Vec<&mut Cache> {
        let owns = |bound: &str| name.strip_prefix(bound).is_some_and(|rest| rest.starts_with('.'));
        match self.values.iter_mut().find(|(bound, _)| owns(bound)).map(|(_, value)| value) {
            Some(Value::Cache(cache)) => vec![cache],
            Some(Value::Caches(caches)) => caches.iter_mut().map(|cache| &mut **cache).collect(),
            _ => Vec::new(),
        }
    }
}

fn cache_slot(cache: &Cache, field: &str, len: usize) -> Option<Slot> {
    let (_, store) = cache.fields.iter().find(|(name, _)| *name == field)?;
    Some(store.slot(len))
}

/// The element of an integer tensor of rank 0.
fn integer_element(view: &View<'_>) -> Option<i64> {
    let scalar = view.layout().shape.is_empty();
    scalar.then(|| bind::integers(view).ok()?.first().copied()).flatten()
}

impl Scalar {
    fn new(dtype: DType, value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Int(value) => Some(Self::int(dtype, *value)),
            Value::Float(value) => Some(Self::float(dtype, *value)),
            Value::Bool(value) => Some(Self::int(dtype, i64::from(*value))),
            _ => None,
        }
    }
    fn int(dtype: DType, value: i64) -> Self {
        // Little-endian two's complement: the low bytes are the narrower type's. Binding has checked the range.
        Self { dtype, integer: Some(value), bytes: Box::new(value.to_le_bytes()) }
    }
    fn float(dtype: DType, value: f64) -> Self {
        let mut bytes = Box::new([0; 8]);
        match dtype {
            DType::F64 => *bytes = value.to_le_bytes(),
            DType::F16 => bytes[..2].copy_from_slice(&half::f16::from_f64(value).to_le_bytes()),
            DType::BF16 => bytes[..2].copy_from_slice(&half::bf16::from_f64(value).to_le_bytes()),
            _ => bytes[..4].copy_from_slice(&(value as f32).to_le_bytes()),
        }
        Self { dtype, integer: None, bytes }
    }
    fn slot(&self) -> Slot {
        let address = self.bytes.as_ptr().cast_mut();
        Slot { address, dtype: self.dtype, shape: PerAxis::default(), strides: PerAxis::default(), remote: false }
    }
}
