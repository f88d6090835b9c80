//! Machine code of one kernel as bytes.
//!
//! In: what a code generator made. Out: the form that a cache keeps, and back. Invariant: the code refers to nothing outside
//! of itself.

/// First bytes of a stored [`Code`]; changes with its layout.
const MAGIC: &[u8; 8] = b"sawmcl01";

/// Machine code of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Position-independent code and its constants; to be placed at a multiple of 64. The entry is at offset 0.
    pub bytes: Vec<u8>,
    /// Bytes of scratch that a call needs, 64-byte aligned.
    pub scratch_bytes: u64,
}

impl Code {
    /// The form in which a cache keeps the code.
    pub fn to_bytes(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &self.scratch_bytes.to_le_bytes(), &self.bytes].concat()
    }

    /// Reads what [`Code::to_bytes`] wrote; `None` for anything else. Whether the bytes are worth running is the
    /// caller's to know (by a digest).
    pub fn from_bytes(stored: &[u8]) -> Option<Code> {
        let rest = stored.strip_prefix(MAGIC.as_slice())?;
        let (scratch, bytes) = rest.split_first_chunk()?;
        Some(Code { bytes: bytes.to_vec(), scratch_bytes: u64::from_le_bytes(*scratch) })
    }
}
