//! Read-only bytes of a file, shared and cheap to clone: what weights are borrowed from.
//!
//! In: a path, or bytes already in memory. Out: [`FileBytes`], which dereferences to `[u8]`.
//! Invariant: the bytes stay at one address for the life of every clone, so that tensors may borrow ranges of them.

use std::{fs::File, io, ops::Deref, path::Path, sync::Arc};

/// The bytes of one file, mapped or owned; clones share them.
#[derive(Clone, Debug)]
pub struct FileBytes(Arc<Storage>);

#[derive(Debug)]
enum Storage {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps the whole of `path` read-only. Pages are read when they are first touched.
    ///
    /// # Errors
    /// What opening or mapping the file gives; an empty file is no error and has no bytes.
    pub fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        if !metadata.is_file() || metadata.len() == 0 {
            // Pipes and empty files cannot be mapped.
            return Ok(Self::from(std::fs::read(path)?));
        }
        // SAFETY: the mapping is private to this process and never written through. Another process that truncates the
        // file while it is mapped can still make a later read fault; files of weights are replaced by renaming, and a
        // user who overwrites one in place loses this process, not data.
        let mapped = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self(Arc::new(Storage::Mapped(mapped))))
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Storage::Owned(bytes)))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Storage::Mapped(mapped) => mapped,
            Storage::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
