//! Reading little-endian values off a byte slice, with an error in place of every panic.
//!
//! In: the file's bytes. Out: numbers and strings that borrow from them, and the position.
//! Invariant: the position never passes the end.

use super::GgufError;

/// A position in the file.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `need` bytes.
    pub(super) fn take(&mut self, need: u64, what: &'static str) -> Result<&'a [u8], GgufError> {
        let truncated = GgufError::Truncated { what, at: self.at, need, left: self.left() };
        let taken =
            usize::try_from(need).ok().and_then(|need| self.bytes.get(self.at..)?.get(..need)).ok_or(truncated)?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let taken = self.take(N as u64, what)?;
        Ok(taken.try_into().expect("invariant: take returns the bytes asked for"))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A 64-bit length and as many bytes of UTF-8.
    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, GgufError> {
        let len = self.u64(what)?;
        let at = self.at;
        std::str::from_utf8(self.take(len, what)?).map_err(|_| GgufError::Utf8 { what, at })
    }

    /// A claimed count of things of at least `least` bytes each, refused if the rest of the file could not hold them.
    pub(super) fn count(&self, count: u64, least: u64, what: &'static str) -> Result<usize, GgufError> {
        let fits = count.checked_mul(least).is_some_and(|bytes| bytes <= self.left() as u64);
        let refused = GgufError::Count { what, count, left: self.left() };
        if fits { usize::try_from(count).map_err(|_| refused) } else { Err(refused) }
    }
}
