//! Bytes that tensors view: owned by us, aligned and zeroed, or somebody else's, kept alive by an owner (a mapped file), or in the
//! memory of a device.
//!
//! All `unsafe` of the tensors is here and in `tensor`: allocation, and views of bytes as elements. Invariants: `address` is
//! valid for `bytes` bytes for the life of the storage, in this process's memory unless the storage has a device; owned storage is
//! written only through `&mut` (before it is shared) or by a run that holds it exclusively.

use crate::layout::Layout as View;
use crate::{Device, Error};
use sawmill_ir::backend::{Block, Slot};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// Alignment of owned storage: a cache line, and any vector register.
const ALIGN: usize = 64;

/// A range of bytes.
pub(crate) struct Storage {
    address: NonNull<u8>,
    bytes: usize,
    owner: Owner,
}

enum Owner {
    /// Allocated here with this layout.
    Heap(Layout),
    /// Nothing is allocated: zero bytes.
    Empty,
    /// Memory of a device.
    Device(Remote),
    /// Kept alive by this value.
    Shared(#[expect(dead_code, reason = "held for its drop only")] Arc<dyn AsRef<[u8]> + Send + Sync>),
}

/// Memory of a device, whose bytes this process cannot address.
struct Remote {
    block: Box<dyn Block>,
    device: Device,
    /// The least and the greatest element of a view of integers, once they have been asked for.
    range: Mutex<Option<(View, (i64, i64))>>,
}

// SAFETY: the bytes are plain memory that no thread owns; they are written only through `&mut Storage` or by a run that holds
// the storage exclusively.
unsafe impl Send for Storage {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Storage {}

impl Storage {
    /// `bytes` zeroed bytes, for `what`.
    pub(crate) fn zeroed(bytes: usize, what: &str) -> Result<Self, Error> {
        if bytes == 0 {
            return Ok(Self { address: NonNull::dangling(), bytes: 0, owner: Owner::Empty });
        }
        let fail = || Error::OutOfMemory { what: what.to_owned(), bytes: bytes as u128 };
        let layout = Layout::from_size_align(bytes, ALIGN).map_err(|_| fail())?;
        // SAFETY: the layout has a non-zero size.
        let address = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(fail)?;
        Ok(Self { address, bytes, owner: Owner::Heap(layout) })
    }
    /// The bytes of `owner`, which must give the same slice each time it is asked (a mapped file, a boxed slice).
    pub(crate) fn shared(owner: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        let slice = (*owner).as_ref();
        let address = NonNull::from(slice).cast();
        Self { address, bytes: slice.len(), owner: Owner::Shared(owner) }
    }
    /// `bytes` bytes of `device`, uninitialised, for `what`. The device has memory of its own.
    pub(crate) fn on(device: &Device, bytes: usize, what: &str) -> Result<Self, Error> {
        let no_memory = || Error::Tensor(format!("{device:?} has no memory of its own"));
        let remote = device.remote().ok_or_else(no_memory)?;
        let block = remote.allocate(bytes as u64, what).map_err(|error| Error::run("a tensor", error))?;
        let address = usize::try_from(block.address()).ok().and_then(std::num::NonZeroUsize::new);
        let address = address.ok_or_else(|| Error::bug("a tensor", "memory of a device at no address", ""))?;
        let owner = Owner::Device(Remote { block, device: device.clone(), range: Mutex::default() });
        Ok(Self { address: NonNull::<u8>::without_provenance(address), bytes, owner })
    }
    /// The device whose memory this is; `None` for memory of this process.
    pub(crate) fn device(&self) -> Option<&Device> {
        match &self.owner {
            Owner::Device(remote) => Some(&remote.device),
            _ => None,
        }
    }
    /// The memory as a kernel sees it.
    pub(crate) fn slot(&self, layout: &View) -> Slot {
        Slot { remote: self.device().is_some(), ..layout.slot(self.address()) }
    }
    /// Writes bytes of a device's memory, from byte `at` on; the storage is not shared yet.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.owner {
            Owner::Device(remote) => {
                remote.block.write(at as u64, bytes).map_err(|error| Error::run("a tensor", error))
            }
            _ => Err(Error::bug("a tensor", "a copy to no device", "")),
        }
    }
    /// Copies `count` bytes from byte `at` on to memory of this process, for `what`.
    pub(crate) fn copy_out(&self, at: usize, count: usize, what: &str) -> Result<Self, Error> {
        let mut copy = Self::zeroed(count, what)?;
        if let Some(target) = copy.bytes_mut() {
            match &self.owner {
                Owner::Device(remote) => {
                    remote.block.read(at as u64, target).map_err(|error| Error::run("a tensor", error))?;
                }
                _ => target.copy_from_slice(&self.host_bytes()[at..at + count]),
            }
        }
        Ok(copy)
    }
    /// The least and the greatest of the elements that `layout` sees in a device's memory, found by `find` when they are first asked for.
    pub(crate) fn range(
        &self,
        layout: &View,
        find: impl FnOnce() -> Result<(i64, i64), Error>,
    ) -> Result<(i64, i64), Error> {
        let Owner::Device(remote) = &self.owner else { return find() };
        let mut known = remote.range.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, range)) if of == layout => Ok(*range),
            _ => {
                let range = find()?;
                *known = Some((layout.clone(), range));
                Ok(range)
            }
        }
    }
    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }
    /// The first byte; not to be written through unless the storage is held exclusively and owned.
    pub(crate) fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }
    /// The bytes; none if they are a device's.
    pub(crate) fn host_bytes(&self) -> &[u8] {
        if matches!(self.owner, Owner::Device(_)) {
            return &[];
        }
        // SAFETY: memory of this process, valid for `bytes` bytes for the life of `self`; nobody writes while it is shared.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.bytes) }
    }
    /// The bytes, to write; `None` if they are somebody else's or a device's.
    pub(crate) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match self.owner {
            Owner::Shared(_) | Owner::Device(_) => None,
            // SAFETY: owned, and exclusively borrowed.
            _ => Some(unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr(), self.bytes) }),
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Owner::Heap(layout) = self.owner {
            // SAFETY: allocated by `zeroed` with this layout and not freed before.
            unsafe { dealloc(self.address.as_ptr(), layout) }
        }
    }
}
