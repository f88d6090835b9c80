//! Tensors: strided views of bytes, with an element type and a rank known to Rust ([`Tensor`]) or at run time only
//! ([`Tensor`]).
//!
//! Strides are in bytes and may be zero, negative or overlapping; every constructor checks that all elements lie inside the
//! bytes. Elements are read through `unsafe` here and by kernels; see `storage` for who may write.

use crate::element::{AnyBits, Element, Plain, RuntimeElem};
use crate::layout::{Layout, too_large};
use crate::storage::Storage;
use crate::{Device, Error};
use sawmill_ir::backend::Slot;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A tensor whose element type and rank are known at run time.
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    layout: Layout,
    device: Option<Device>,
}

impl Tensor {
    /// A zeroed tensor.
    pub fn zeros(elem: RuntimeElem, shape: &[usize]) -> Result<Self, Error> {
        let layout = Layout::row_major(elem, shape, 0)?;
        let (_, bytes) = layout.span()?;
        let out_of_memory = |_| Error::OutOfMemory { what: format!("a tensor of shape {shape:?}"), bytes };
        let bytes = usize::try_from(bytes).map_err(out_of_memory)?;
        let storage = Storage::zeroed(bytes, &format!("a tensor of shape {shape:?}"))?;
        Ok(Self { storage: Arc::new(storage), layout, device: None })
    }
    /// A row-major tensor in bytes that `owner` keeps: a mapped file, a buffer of somebody else's. `owner` must give the same
    /// bytes each time.
    pub fn from_shared(
        owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
        offset: usize,
        elem: RuntimeElem,
        shape: &[usize],
    ) -> Result<Self, Error> {
        let storage = Storage::shared(owner);
        let layout = Layout::row_major(elem, shape, offset)?;
        layout.check(storage.len())?;
        Ok(Self { storage: Arc::new(storage), layout, device: None })
    }
    /// A row-major copy of `bytes`, which must be exactly the elements in native byte order.
    pub fn from_bytes(bytes: &[u8], elem: RuntimeElem, shape: &[usize]) -> Result<Self, Error> {
        let mut tensor = Self::zeros(elem, shape)?;
        let have = tensor.storage.len();
        let target = Arc::get_mut(&mut tensor.storage).and_then(Storage::bytes_mut);
        match target {
            Some(target) if target.len() == bytes.len() => target.copy_from_slice(bytes),
            _ => return Err(Error::Tensor(format!("shape {shape:?} takes {have} bytes, not {}", bytes.len()))),
        }
        Ok(tensor)
    }
    /// The same bytes seen with another shape and other strides (in bytes), from `offset` bytes after this tensor's first
    /// element. Zero and overlapping strides are fine.
    pub fn restride(&self, shape: &[usize], strides: &[isize], offset: usize) -> Result<Self, Error> {
        if shape.len() != strides.len() {
            return Err(Error::Tensor(format!("{} sizes but {} strides", shape.len(), strides.len())));
        }
        let layout = Layout {
            elem: self.layout.elem,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            offset: self.layout.offset.saturating_add(offset),
        };
        layout.check(self.storage.len())?;
        Ok(Self { storage: Arc::clone(&self.storage), layout, device: self.device.clone() })
    }
    /// The element type.
    pub fn elem(&self) -> RuntimeElem {
        self.layout.elem
    }
    /// The sizes.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }
    /// Distances in bytes between neighbours.
    pub fn strides(&self) -> &[isize] {
        &self.layout.strides
    }
    /// The device in whose memory the tensor lies, or that it is bound to; `None` for host memory that any device may use.
    pub fn device(&self) -> Option<&Device> {
        self.storage.device().or(self.device.as_ref())
    }
    /// Binds the tensor to a device: calls run there. Its elements stay where they are; [`Tensor::to`] moves them.
    #[must_use]
    pub fn on(mut self, device: &Device) -> Self {
        self.device = Some(device.clone());
        self
    }
    /// Whether the elements lie in a device's own memory.
    pub fn is_on_device(&self) -> bool {
        self.storage.device().is_some()
    }
    /// The tensor where `device` computes: a copy in its memory, if it has memory of its own and the elements are not there yet;
    /// otherwise the same elements, bound to it. Calls on tensors of a device's memory copy nothing and leave their outputs there.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Device`] if the device fails or has failed.
    pub fn to(&self, device: &Device) -> Result<Self, Error> {
        match self.storage.device() {
            Some(here) if here == device => Ok(self.clone()),
            Some(_) => self.to_host()?.to(device),
            None if device.remote().is_none() => Ok(self.clone().on(device)),
            None => {
                let (first, count) = self.layout.reach()?;
                let mut storage = Storage::on(device, count, &format!("a tensor of shape {:?}", self.layout.shape))?;
                storage.write(0, &self.storage.host_bytes()[first..first + count])?;
                let layout = Layout { offset: self.layout.offset - first, ..self.layout.clone() };
                Ok(Self { storage: Arc::new(storage), layout, device: Some(device.clone()) })
            }
        }
    }
    /// The tensor in host memory, bound to no device: a copy if the elements lie in a device's memory. Waits for what computes them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Device`] if the device failed, also while it computed the elements.
    pub fn to_host(&self) -> Result<Self, Error> {
        if !self.is_on_device() {
            return Ok(Self { device: None, ..self.clone() });
        }
        let (storage, layout) = host_copy(&self.storage, &self.layout)?;
        Ok(Self { storage: Arc::new(storage), layout, device: None })
    }
    /// Whether both see the same bytes in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let first = |tensor: &Self| tensor.storage.address().addr() + tensor.layout.offset;
        let looks = |tensor: &Self| (tensor.layout.elem, tensor.device.clone());
        let shape = self.layout.shape == other.layout.shape && self.layout.strides == other.layout.strides;
        first(self) == first(other) && shape && looks(self) == looks(other)
    }
    /// The elements in row-major order, copied.
    ///
    /// # Errors
    /// The elements are no `E`; as [`Tensor::to_host`].
    pub fn to_vec<E: Plain>(&self) -> Result<Vec<E>, Error> {
        self.view().to_vec()
    }
    /// The tensor with its element type and rank known to Rust.
    pub fn typed<E: Element, const R: usize>(self) -> Result<Typed<E, R>, Error> {
        if E::ELEM != self.layout.elem {
            return Err(Error::Tensor(format!(
                "elements are {}, not {}",
                self.layout.elem,
                std::any::type_name::<E>()
            )));
        }
        if self.layout.shape.len() != R {
            return Err(Error::Tensor(format!("rank is {}, not {R}", self.layout.shape.len())));
        }
        Ok(Typed { inner: self, elem: PhantomData })
    }
    /// What a call takes.
    pub fn view(&self) -> View<'_> {
        View {
            base: self.storage.address(),
            bytes: self.storage.len(),
            layout: Cow::Borrowed(&self.layout),
            device: self.device(),
            remote: self.is_on_device().then_some(&*self.storage),
            life: PhantomData,
        }
    }
    pub(crate) fn from_parts(storage: Storage, layout: Layout, device: Option<Device>) -> Self {
        Self { storage: Arc::new(storage), layout, device }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.layout.elem, self.layout.shape)
    }
}

/// The elements of a layout of a device's memory, in memory of this process.
fn host_copy(storage: &Storage, layout: &Layout) -> Result<(Storage, Layout), Error> {
    let (first, count) = layout.reach()?;
    let copy = storage.copy_out(first, count, &format!("a copy of a tensor of shape {:?}", layout.shape))?;
    Ok((copy, Layout { offset: layout.offset - first, ..layout.clone() }))
}

/// A borrowed tensor: what a call takes.
#[derive(Clone)]
pub struct View<'a> {
    base: *mut u8,
    bytes: usize,
    layout: Cow<'a, Layout>,
    device: Option<&'a Device>,
    /// The storage, if it is a device's.
    remote: Option<&'a Storage>,
    life: PhantomData<&'a [u8]>,
}

impl<'a> View<'a> {
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }
    pub(crate) fn device(&self) -> Option<&'a Device> {
        self.device
    }
    /// The storage, if it is a device's.
    pub(crate) fn remote(&self) -> Option<&'a Storage> {
        self.remote
    }
    /// The memory as a kernel sees it: read only.
    pub(crate) fn slot(&self) -> Slot {
        Slot { remote: self.remote.is_some(), ..self.layout.slot(self.base) }
    }
    /// The memory of the whole storage as a kernel sees it with another layout.
    pub(crate) fn slot_as(&self, layout: &Layout) -> Result<Slot, Error> {
        layout.check(self.bytes)?;
        Ok(Slot { remote: self.remote.is_some(), ..layout.slot(self.base) })
    }
    /// The elements in row-major order, copied.
    pub(crate) fn to_vec<E: Plain>(&self) -> Result<Vec<E>, Error> {
        if let Some(storage) = self.remote {
            let (copy, layout) = host_copy(storage, &self.layout)?;
            let (base, bytes, layout) = (copy.address(), copy.len(), Cow::Owned(layout));
            return View { base, bytes, layout, device: None, remote: None, life: PhantomData }.to_vec();
        }
        if E::ELEM != self.layout.elem {
            return Err(Error::Tensor(format!(
                "elements are {}, not {}",
                self.layout.elem,
                std::any::type_name::<E>()
            )));
        }
        let count = self.layout.count();
        let mut out: Vec<E> = Vec::new();
        out.try_reserve_exact(count).map_err(|_| Error::OutOfMemory {
            what: "a copy of a tensor".into(),
            bytes: count as u128 * size_of::<E>() as u128,
        })?;
        let first = self.base.wrapping_add(self.layout.offset);
        if self.layout.is_row_major() {
            // SAFETY: the layout was checked: `count` elements without gaps lie inside the storage, which `life` keeps alive;
            // there is room for as many in `out`, and `E` takes any bit pattern.
            unsafe {
                std::ptr::copy_nonoverlapping(first, out.as_mut_ptr().cast::<u8>(), count * size_of::<E>());
                out.set_len(count);
            }
            return Ok(out);
        }
        for_each_offset(&self.layout.shape, &self.layout.strides, &mut |offset| {
            // SAFETY: the layout was checked: every element lies inside the storage, which `life` keeps alive; any bit
            // pattern is a stored value.
            out.push(E::from_stored(unsafe { first.offset(offset).cast::<E::Stored>().read_unaligned() }));
        });
        Ok(out)
    }
}

/// Calls `visit` with the byte offset of every element, in row-major order.
fn for_each_offset(shape: &[usize], strides: &[isize], visit: &mut dyn FnMut(isize)) {
    fn walk(shape: &[usize], strides: &[isize], offset: isize, visit: &mut dyn FnMut(isize)) {
        match shape.split_first() {
            None => visit(offset),
            Some((size, rest)) => {
                for at in 0..*size as isize {
                    walk(rest, &strides[1..], offset + at * strides[0], visit);
                }
            }
        }
    }
    walk(shape, strides, 0, visit);
}

/// A tensor of rank `R` with elements of type `E`. Cloning shares the elements.
#[derive(Clone)]
pub struct Typed<E, const R: usize> {
    inner: Tensor,
    elem: PhantomData<E>,
}

impl<E: Element, const R: usize> Typed<E, R> {
    /// The sizes.
    pub fn shape(&self) -> [usize; R] {
        self.inner.shape().try_into().expect("the constructor checked the rank")
    }
    /// The tensor without its types.
    pub fn into_dyn(self) -> Tensor {
        self.inner
    }
    /// The tensor without its types.
    pub fn as_dyn(&self) -> &Tensor {
        &self.inner
    }
    /// Binds the tensor to a device, as [`Tensor::on`].
    #[must_use]
    pub fn on(self, device: &Device) -> Self {
        Self { inner: self.inner.on(device), elem: PhantomData }
    }
    /// The tensor where `device` computes, as [`Tensor::to`].
    ///
    /// # Errors
    /// As [`Tensor::to`].
    pub fn to(&self, device: &Device) -> Result<Self, Error> {
        Ok(Self { inner: self.inner.to(device)?, elem: PhantomData })
    }
    /// The tensor in host memory, as [`Tensor::to_host`].
    ///
    /// # Errors
    /// As [`Tensor::to_host`].
    pub fn to_host(&self) -> Result<Self, Error> {
        Ok(Self { inner: self.inner.to_host()?, elem: PhantomData })
    }
    /// The same bytes seen with another shape and other strides (in bytes), from `offset` bytes after the first element.
    pub fn restride<const Q: usize>(
        &self,
        shape: [usize; Q],
        strides: [isize; Q],
        offset: usize,
    ) -> Result<Typed<E, Q>, Error> {
        Ok(Typed { inner: self.inner.restride(&shape, &strides, offset)?, elem: PhantomData })
    }
}

impl<E: Plain, const R: usize> Typed<E, R> {
    /// A row-major tensor of `values`, as many as `shape` says.
    pub fn from_slice(values: &[E], shape: [usize; R]) -> Result<Self, Error> {
        // SAFETY: `E` is plain: its values are bytes without padding.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
        Tensor::from_bytes(bytes, E::ELEM, &shape)?.typed()
    }
    /// A zeroed tensor.
    pub fn zeros(shape: [usize; R]) -> Result<Self, Error> {
        Tensor::zeros(E::ELEM, &shape)?.typed()
    }
    /// The elements in row-major order, copied.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; of a tensor in a device's memory as [`Tensor::to_host`].
    pub fn to_vec(&self) -> Result<Vec<E>, Error> {
        self.inner.to_vec()
    }
}

impl<E: AnyBits, const R: usize> Typed<E, R> {
    /// The elements, if they are row-major without gaps, aligned and in memory of this process.
    pub fn as_slice(&self) -> Option<&[E]> {
        let layout = &self.inner.layout;
        let first = self.inner.storage.host_bytes().as_ptr().wrapping_add(layout.offset).cast::<E>();
        if !layout.is_row_major() || !first.is_aligned() || self.inner.is_on_device() {
            return None;
        }
        // SAFETY: the layout was checked, is dense and aligned; shared storage is not written; `E` takes any bit pattern.
        Some(unsafe { std::slice::from_raw_parts(first, layout.count()) })
    }
}

impl<E: Element, const R: usize> fmt::Debug for Typed<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A borrowed tensor of rank `R` over a Rust slice.
#[derive(Clone)]
pub struct TypedView<'a, E, const R: usize> {
    inner: View<'a>,
    elem: PhantomData<E>,
}

impl<'a, E: Element, const R: usize> TypedView<'a, E, R> {
    pub(crate) fn view(&self) -> View<'a> {
        self.inner.clone()
    }
}

impl<'a, E: Plain, const R: usize> TypedView<'a, E, R> {
    /// A row-major view of all of `values`.
    pub fn new(values: &'a [E], shape: [usize; R]) -> Result<Self, Error> {
        let layout = Layout::row_major(E::ELEM, &shape, 0)?;
        if layout.count() != values.len() {
            return Err(Error::Tensor(format!("shape {shape:?} does not hold {} values", values.len())));
        }
        Self::of(values, layout)
    }
    /// A view with strides in elements, which may be zero, negative or overlapping, from element `offset`.
    pub fn strided(values: &'a [E], shape: [usize; R], strides: [isize; R], offset: usize) -> Result<Self, Error> {
        let unit = size_of::<E>();
        let bytes = |s: &isize| s.checked_mul(unit as isize).ok_or_else(|| too_large(&shape));
        let layout = Layout {
            elem: E::ELEM,
            shape: shape.to_vec(),
            strides: strides.iter().map(bytes).collect::<Result<_, _>>()?,
            offset: offset.checked_mul(unit).ok_or_else(|| too_large(&shape))?,
        };
        Self::of(values, layout)
    }
    fn of(values: &'a [E], layout: Layout) -> Result<Self, Error> {
        layout.check(size_of_val(values))?;
        let base = values.as_ptr().cast::<u8>().cast_mut();
        let (bytes, remote, layout) = (size_of_val(values), None, Cow::Owned(layout));
        let inner = View { base, bytes, layout, device: None, remote, life: PhantomData };
        Ok(Self { inner, elem: PhantomData })
    }
}
