//! Tensors: strided views of bytes, with an element type and a rank known to Rust ([`Tensor`]) or at run time only
//! ([`Tensor`]).
//!
//! Strides are in bytes and may be zero, negative or overlapping; every constructor checks that all elements lie inside the
//! bytes. Elements are read through `unsafe` here and by kernels; see `storage` for who may write.

use crate::element::{AnyBits, Element, Plain, RuntimeElem};
use crate::storage::Storage;
use crate::{Device, Error};
use sawmill_ir::backend::Slot;
use sawmill_ir::dtype::DType;
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

/// Where the elements of a tensor lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) elem: RuntimeElem,
    pub(crate) shape: Vec<usize>,
    /// In bytes; of the last dimension of a packed tensor: between records.
    pub(crate) strides: Vec<isize>,
    /// Byte offset of the first element.
    pub(crate) offset: usize,
}

impl Layout {
    /// Row-major elements from `offset`.
    pub(crate) fn row_major(elem: RuntimeElem, shape: &[usize], offset: usize) -> Result<Self, Error> {
        let (unit, values) = elem.unit().ok_or_else(|| Error::Tensor(format!("{elem} has no addressable elements")))?;
        let mut strides = vec![0_isize; shape.len()];
        let mut step = unit as u128;
        for (at, size) in shape.iter().enumerate().rev() {
            strides[at] = isize::try_from(step).map_err(|_| too_large(shape))?;
            let count = if at + 1 == shape.len() { records(*size, values, elem)? } else { *size };
            step = step.saturating_mul(count.max(1) as u128);
        }
        if shape.is_empty() && values != 1 {
            return Err(Error::Tensor(format!("a scalar cannot be packed as {elem}")));
        }
        Ok(Self { elem, shape: shape.to_vec(), strides, offset })
    }
    /// Steps along a dimension: elements, or records of the last dimension of a packed tensor.
    fn steps(&self, at: usize) -> Result<usize, Error> {
        let values = self.elem.unit().map_or(1, |(_, values)| values);
        if at + 1 == self.shape.len() { records(self.shape[at], values, self.elem) } else { Ok(self.shape[at]) }
    }
    /// Bytes from the lowest to past the highest element, relative to the first one: (below, above).
    fn span(&self) -> Result<(u128, u128), Error> {
        let unit = self.elem.unit().map_or(1, |(bytes, _)| bytes) as u128;
        let (mut below, mut above) = (0_u128, unit);
        for at in 0..self.shape.len() {
            let steps = self.steps(at)?;
            if steps == 0 {
                return Ok((0, 0));
            }
            let reach = (steps as u128 - 1).saturating_mul(self.strides[at].unsigned_abs() as u128);
            if self.strides[at] < 0 { below = below.saturating_add(reach) } else { above = above.saturating_add(reach) }
        }
        Ok((below, above))
    }
    /// Bytes from the first to past the last element of a layout without negative strides.
    pub(crate) fn bytes(&self) -> Result<u128, Error> {
        Ok(self.span()?.1)
    }
    /// Checks that every element lies in `0..bytes`.
    fn check(&self, bytes: usize) -> Result<(), Error> {
        if !self.shape.contains(&0) {
            // Strides of zero let a shape count more elements than there are bytes.
            let count = self.shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
            count.filter(|count| isize::try_from(*count).is_ok()).ok_or_else(|| too_large(&self.shape))?;
        }
        let (below, above) = self.span()?;
        if above == 0 {
            return Ok(());
        }
        let end = (self.offset as u128).saturating_add(above);
        if (self.offset as u128) < below || end > bytes as u128 {
            return Err(Error::Tensor(format!(
                "shape {:?} with strides {:?} from byte {} leaves its {bytes} bytes",
                self.shape, self.strides, self.offset
            )));
        }
        Ok(())
    }
    /// Whether elements are row-major without gaps.
    fn is_row_major(&self) -> bool {
        Self::row_major(self.elem, &self.shape, self.offset).is_ok_and(|plain| {
            let same = |at: usize| self.shape[at] <= 1 || plain.strides[at] == self.strides[at];
            (0..self.shape.len()).all(same)
        })
    }
    /// Number of elements.
    fn count(&self) -> usize {
        // A shape with a zero may have other sizes whose product overflows.
        if self.shape.contains(&0) { 0 } else { self.shape.iter().product() }
    }
    /// The memory as a kernel sees it, at `base` (the first byte of the storage).
    pub(crate) fn slot(&self, base: *mut u8) -> Slot {
        let dtype = match self.elem {
            RuntimeElem::Type(dtype) => dtype,
            RuntimeElem::Packed(_) => DType::U8,
        };
        Slot {
            address: base.wrapping_add(self.offset),
            dtype,
            shape: self.shape.iter().map(|s| *s as i64).collect(),
            strides: self.strides.iter().map(|s| *s as i64).collect(),
        }
    }
}

fn too_large(shape: &[usize]) -> Error {
    Error::Tensor(format!("shape {shape:?} is larger than memory"))
}

fn records(size: usize, values: usize, elem: RuntimeElem) -> Result<usize, Error> {
    if size.is_multiple_of(values) {
        Ok(size / values)
    } else {
        Err(Error::Tensor(format!("a row of {size} values is no multiple of {elem}'s {values}")))
    }
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
    /// The device the tensor is bound to; `None` for host memory that any CPU engine may use.
    pub fn device(&self) -> Option<&Device> {
        self.device.as_ref()
    }
    /// Binds the tensor to a device.
    #[must_use]
    pub fn on(mut self, device: &Device) -> Self {
        self.device = Some(device.clone());
        self
    }
    /// The elements in row-major order, copied.
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
            layout: self.layout.clone(),
            device: self.device.as_ref(),
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

/// A borrowed tensor: what a call takes.
#[derive(Clone)]
pub struct View<'a> {
    base: *mut u8,
    bytes: usize,
    layout: Layout,
    device: Option<&'a Device>,
    life: PhantomData<&'a [u8]>,
}

impl<'a> View<'a> {
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }
    pub(crate) fn device(&self) -> Option<&'a Device> {
        self.device
    }
    /// The memory as a kernel sees it: read only.
    pub(crate) fn slot(&self) -> Slot {
        self.layout.slot(self.base)
    }
    /// The memory of the whole storage as a kernel sees it with another layout.
    pub(crate) fn slot_as(&self, layout: &Layout) -> Result<Slot, Error> {
        layout.check(self.bytes)?;
        Ok(layout.slot(self.base))
    }
    /// The elements in row-major order, copied.
    pub(crate) fn to_vec<E: Plain>(&self) -> Result<Vec<E>, Error> {
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
    /// Binds the tensor to a device.
    #[must_use]
    pub fn on(self, device: &Device) -> Self {
        Self { inner: self.inner.on(device), elem: PhantomData }
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
    pub fn to_vec(&self) -> Vec<E> {
        self.inner.to_vec().expect("the constructor checked the element type")
    }
}

impl<E: AnyBits, const R: usize> Typed<E, R> {
    /// The elements, if they are row-major without gaps and aligned.
    pub fn as_slice(&self) -> Option<&[E]> {
        let layout = &self.inner.layout;
        let first = self.inner.storage.bytes().as_ptr().wrapping_add(layout.offset).cast::<E>();
        if !layout.is_row_major() || !first.is_aligned() {
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
        let inner = View { base, bytes: size_of_val(values), layout, device: None, life: PhantomData };
        Ok(Self { inner, elem: PhantomData })
    }
}
