//! Caches: tensors that calls append to in place (keys and values of the positions so far).
//!
//! Storage has a fixed capacity chosen where the cache is made; a call that would pass it is a typed error before anything
//! runs. All fields of a cache have one length.

use crate::Error;
use crate::element::RuntimeElem;
use crate::storage::Storage;
use crate::tensor::Layout;
use sawmill_ir::dtype::DType;

/// What a `cache` item declares.
#[derive(Debug)]
pub struct CacheDef {
    /// Its name.
    pub name: &'static str,
    /// Its dims, without the growing one.
    pub dims: &'static [&'static str],
    /// Its fields.
    pub fields: &'static [CacheField],
}

/// A field of a cache.
#[derive(Debug)]
pub struct CacheField {
    /// Its name.
    pub name: &'static str,
    /// Its element type.
    pub elem: &'static str,
    /// Its sizes: dims, numbers, or the growing dim.
    pub shape: &'static [&'static str],
    /// Which dimension grows.
    pub grows: usize,
}

/// A type that a `cache` item declares.
pub trait CacheType: Sized {
    /// The declaration.
    const DEF: CacheDef;
    /// Wraps storage made for this declaration.
    fn new(cache: Cache) -> Self;
    /// The storage.
    fn cache(&self) -> &Cache;
    /// The storage.
    fn cache_mut(&mut self) -> &mut Cache;
    /// An empty cache with room for `capacity` positions; `dims` gives the sizes of the declared dims, in order.
    fn with_capacity(dims: &[usize], capacity: usize) -> Result<Self, Error> {
        Cache::new(&Self::DEF, dims, capacity).map(Self::new)
    }
}

/// Storage of a cache.
pub struct Cache {
    pub(crate) fields: Vec<(&'static str, Store)>,
    pub(crate) len: usize,
    pub(crate) capacity: usize,
}

/// Storage of one field, of the whole capacity.
pub(crate) struct Store {
    pub(crate) storage: Storage,
    pub(crate) layout: Layout,
    pub(crate) grows: usize,
}

impl Cache {
    /// An empty cache with room for `capacity` positions; `dims` gives the sizes of the declared dims, in order.
    pub fn new(def: &CacheDef, dims: &[usize], capacity: usize) -> Result<Self, Error> {
        if dims.len() != def.dims.len() {
            return Err(Error::Tensor(format!("cache {} has the dims {:?}, not {dims:?}", def.name, def.dims)));
        }
        let fields = def.fields.iter().map(|field| Ok((field.name, Store::new(def, field, dims, capacity)?)));
        Ok(Self { fields: fields.collect::<Result<_, Error>>()?, len: 0, capacity })
    }
    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Positions there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
    /// Forgets the positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
    /// Bytes of storage.
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|(_, store)| store.storage.len()).sum()
    }
}

impl Store {
    fn new(def: &CacheDef, field: &CacheField, dims: &[usize], capacity: usize) -> Result<Self, Error> {
        let name = || format!("{}.{}", def.name, field.name);
        let elem = DType::from_text(field.elem)
            .map(RuntimeElem::Type)
            .ok_or_else(|| Error::Tensor(format!("{}: {} is no element type", name(), field.elem)))?;
        let mut shape = Vec::new();
        for (at, size) in field.shape.iter().enumerate() {
            let dim = def.dims.iter().position(|dim| dim == size).map(|at| dims[at]);
            let size = if at == field.grows { Some(capacity) } else { dim.or_else(|| size.parse().ok()) };
            shape
                .push(size.ok_or_else(|| Error::Tensor(format!("{}: size {:?} is unknown", name(), field.shape[at])))?);
        }
        let layout = Layout::row_major(elem, &shape, 0)?;
        let bytes = layout.bytes()?;
        let what = format!("{} of shape {shape:?}", name());
        let bytes = usize::try_from(bytes).map_err(|_| Error::OutOfMemory { what: what.clone(), bytes })?;
        Ok(Self { storage: Storage::zeroed(bytes, &what)?, layout, grows: field.grows })
    }
}
