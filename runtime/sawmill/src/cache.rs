//! Caches: tensors that calls append to in place (keys and values of the positions so far).
//!
//! Storage has a fixed capacity chosen where the cache is made; a call that would pass it is a typed error before anything
//! runs. All fields of a cache have one length.

use crate::element::RuntimeElem;
use crate::layout::Layout;
use crate::memory::{gather, scatter};
use crate::storage::Storage;
use crate::tensor::Tensor;
use crate::{Device, Error};
use sawmill_ir::backend::Slot;
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
    /// The cache where `device` computes: a copy in its memory, if it has memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Device`] if the device fails or has failed.
    fn to(&self, device: &Device) -> Result<Self, Error> {
        self.cache().to(device).map(Self::new)
    }
}

/// Storage of a cache.
pub struct Cache {
    pub(crate) fields: Vec<(String, Store)>,
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
        let fields =
            def.fields.iter().map(|field| Ok((field.name.to_owned(), Store::new(def, field, dims, capacity)?)));
        Ok(Self { fields: fields.collect::<Result<_, Error>>()?, len: 0, capacity })
    }
    /// A cache with room for `capacity` positions that holds copies of `fields`: each a name, the positions so far, and the
    /// dimension along which they lie.
    ///
    /// # Errors
    /// If the fields disagree in how many positions there are, there are more than `capacity`, or elements are packed.
    pub fn from_fields(fields: &[(&str, &Tensor, usize)], capacity: usize) -> Result<Self, Error> {
        let mut cache = Self { fields: Vec::new(), len: 0, capacity };
        for (at, (name, tensor, grows)) in fields.iter().enumerate() {
            let wrong = |message: String| Error::Tensor(format!("cache field {name}: {message}"));
            let len = *tensor.shape().get(*grows).ok_or_else(|| wrong(format!("has no dimension {grows}")))?;
            if len > capacity || (at > 0 && len != cache.len) {
                let expected = if at > 0 { cache.len.to_string() } else { format!("up to {capacity}") };
                return Err(wrong(format!("holds {len} positions, not {expected}")));
            }
            if matches!(tensor.elem(), RuntimeElem::Packed(_)) {
                return Err(wrong(format!("elements {} are appended to by no function", tensor.elem())));
            }
            let mut shape = tensor.shape().to_vec();
            shape[*grows] = capacity;
            let store = Store::zeroed(tensor.elem(), &shape, *grows, name)?;
            let bytes =
                gather(&tensor.to_host()?.view().slot()).ok_or_else(|| wrong("is larger than memory".into()))?;
            if !scatter(&store.slot(len), &bytes) {
                return Err(wrong("its copy has another size".into()));
            }
            cache.len = len;
            cache.fields.push(((*name).to_owned(), store));
        }
        Ok(cache)
    }
    /// The positions that field `name` holds, copied; `None` if there is no such field.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn field(&self, name: &str) -> Option<Result<Tensor, Error>> {
        let (_, store) = self.fields.iter().find(|(field, _)| field == name)?;
        let mut shape = store.layout.shape.clone();
        shape[store.grows] = self.len;
        if store.storage.device().is_some() {
            return Some(store.copied(None, true).and_then(|store| Self::copy_of(&store, self.len, shape)));
        }
        Some(Self::copy_of(store, self.len, shape))
    }
    /// The first `len` positions of a field in host memory.
    fn copy_of(store: &Store, len: usize, shape: Vec<usize>) -> Result<Tensor, Error> {
        let bytes = gather(&store.slot(len));
        let out_of_memory =
            || Error::OutOfMemory { what: "a copy of a cache".into(), bytes: store.storage.len() as u128 };
        Tensor::from_bytes(&bytes.ok_or_else(out_of_memory)?, store.layout.elem, &shape)
    }
    /// The cache where `device` computes: a copy in its memory, if it has memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Device`] if the device fails or has failed.
    pub fn to(&self, device: &Device) -> Result<Self, Error> {
        let there = device.remote().map(|_| device);
        let field = |(name, store): &(String, Store)| Ok((name.clone(), store.copied(there, self.len > 0)?));
        let fields = self.fields.iter().map(field).collect::<Result<_, Error>>()?;
        Ok(Self { fields, len: self.len, capacity: self.capacity })
    }
    /// The device in whose memory the positions lie; `None` for host memory.
    pub fn device(&self) -> Option<&Device> {
        self.fields.iter().find_map(|(_, store)| store.storage.device())
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
        Self::zeroed(elem, &shape, field.grows, &name())
    }
    fn zeroed(elem: RuntimeElem, shape: &[usize], grows: usize, name: &str) -> Result<Self, Error> {
        let layout = Layout::row_major(elem, shape, 0)?;
        let bytes = layout.bytes()?;
        let what = format!("{name} of shape {shape:?}");
        let bytes = usize::try_from(bytes).map_err(|_| Error::OutOfMemory { what: what.clone(), bytes })?;
        Ok(Self { storage: Storage::zeroed(bytes, &what)?, layout, grows })
    }
    /// A copy in the memory of a device, or of this process; of the bytes too if there is something in them.
    fn copied(&self, device: Option<&Device>, held: bool) -> Result<Self, Error> {
        let (bytes, what) = (self.storage.len(), "a copy of a cache");
        let mut storage = match device {
            None if held => self.storage.copy_out(0, bytes, what)?,
            None => Storage::zeroed(bytes, what)?,
            Some(device) => Storage::on(device, bytes, what)?,
        };
        if device.is_some() && held {
            match self.storage.device() {
                Some(_) => storage.write(0, self.storage.copy_out(0, bytes, what)?.host_bytes())?,
                None => storage.write(0, self.storage.host_bytes())?,
            }
        }
        Ok(Self { storage, layout: self.layout.clone(), grows: self.grows })
    }
    /// Memory of the first `len` positions.
    pub(crate) fn slot(&self, len: usize) -> Slot {
        let mut slot = self.storage.slot(&self.layout);
        // A capacity is at most `isize::MAX` bytes, and `len` at most the capacity.
        slot.shape[self.grows] = len as i64;
        slot
    }
}
