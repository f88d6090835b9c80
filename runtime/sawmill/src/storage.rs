//! Bytes that tensors view: owned by us, aligned and zeroed, or somebody else's, kept alive by an owner (a mapped file).
//!
//! All `unsafe` of the tensors is here and in `tensor`: allocation, and views of bytes as elements. Invariants: `address` is
//! valid for `bytes` bytes for the life of the storage; owned storage is written only through `&mut` (before it is shared).

use crate::Error;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;

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
    /// Kept alive by this value.
    Shared(#[expect(dead_code, reason = "held for its drop only")] Arc<dyn AsRef<[u8]> + Send + Sync>),
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
    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }
    /// The first byte; not to be written through unless the storage is held exclusively and owned.
    pub(crate) fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: valid for `bytes` bytes for the life of `self`; nobody writes while it is shared.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.bytes) }
    }
    /// The bytes, to write; `None` if they are somebody else's.
    pub(crate) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match self.owner {
            Owner::Shared(_) => None,
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
