//! GGUF files: header, metadata and tensor directory, and their reading as a llama-family model.
//!
//! In: the bytes of a file, trusted in nothing. Out: [`Gguf`] (what the file says), and through [`load`] a
//! [`ModelFile`](super::ModelFile).
//! Invariant: parsing never panics and never allocates more than a small multiple of the file's own size.
//! Source of the format: the GGUF specification in ggml's documentation, versions 2 and 3, little-endian.

mod cursor;
mod directory;
mod llama;
mod types;
mod value;

pub use directory::{Gguf, TensorInfo, parse};
pub use llama::load;
pub use types::TensorType;
pub use value::{Scalars, Value};

/// A malformed file, or one that lacks what a model needs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GgufError {
    /// Another kind of file.
    #[error("not a GGUF file: it begins with the bytes {0:02x?}")]
    Magic(Vec<u8>),
    /// A big-endian file.
    #[error("a big-endian GGUF file; only little-endian ones are read")]
    BigEndian,
    /// A version that is not read.
    #[error("GGUF version {0}; versions 2 and 3 are read")]
    Version(u32),
    /// The file ends early.
    #[error("the file is truncated: {what} at byte {at} needs {need} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Byte offset.
        at: usize,
        /// Bytes needed.
        need: u64,
        /// Bytes left.
        left: usize,
    },
    /// A count that cannot be true of a file of this size.
    #[error("the header claims {count} {what}, but {left} bytes are left for them: it is truncated or malformed")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The claim.
        count: u64,
        /// Bytes left.
        left: usize,
    },
    /// A string that is not UTF-8.
    #[error("the {what} at byte {at} is not UTF-8")]
    Utf8 {
        /// What was being read.
        what: &'static str,
        /// Byte offset.
        at: usize,
    },
    /// An unknown type of metadata value.
    #[error("the metadata value at byte {at} has the unknown type {id}")]
    ValueType {
        /// Byte offset.
        at: usize,
        /// The type's number.
        id: u32,
    },
    /// Arrays of arrays of arrays.
    #[error("the metadata array at byte {0} is nested too deeply")]
    Nested(usize),
    /// A key or tensor that occurs twice.
    #[error("{what} `{name}` occurs twice")]
    Twice {
        /// Key or tensor.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An alignment that is not a power of two of reasonable size.
    #[error("the alignment of tensors is {0}; it must be a power of two up to 65536")]
    Alignment(u64),
    /// More axes than the format has.
    #[error("the tensor `{name}` has {rank} axes; the format has at most 4")]
    Rank {
        /// The tensor.
        name: String,
        /// Its axes.
        rank: u32,
    },
    /// Sizes whose product overflows, or rows that are not whole blocks.
    #[error("the tensor `{name}` of type {stored} cannot have the sizes {sizes:?}")]
    Sizes {
        /// The tensor.
        name: String,
        /// Its type.
        stored: &'static str,
        /// Its sizes.
        sizes: Vec<u64>,
    },
    /// An unknown tensor type.
    #[error("the tensor `{name}` has the unknown type {id}")]
    TensorType {
        /// The tensor.
        name: String,
        /// The type's number.
        id: u32,
    },
    /// An offset that is not a multiple of the alignment.
    #[error("the tensor `{name}` begins at offset {offset}, which is not a multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// Data outside of the file.
    #[error("the tensor `{name}` ends at byte {end}, but the file has {len} bytes (is it truncated?)")]
    OutOfFile {
        /// The tensor.
        name: String,
        /// Where it would end.
        end: u64,
        /// The file's length.
        len: usize,
    },
    /// A key that a model needs.
    #[error("the metadata key `{0}` is missing")]
    MissingKey(String),
    /// A key whose value is something else.
    #[error("the metadata key `{key}` is not {wanted}")]
    KeyType {
        /// The key.
        key: String,
        /// What it should be.
        wanted: &'static str,
    },
}
