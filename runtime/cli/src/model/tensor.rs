//! A weight as a file stores it: an encoding, a shape, and a range of the file's bytes.
//!
//! In: a mapped file and what its header says of a tensor. Out: [`WeightTensor`].
//! Invariant: the range lies inside the file and its length is the encoding's for the shape.

use std::ops::Range;

use sawmill::FileBytes;

/// How elements are stored. The packed ones hold blocks of [`Encoding::block`] consecutive elements of the last axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// 32 elements: f16 scale, 16 bytes of nibbles; `d (q - 8)`.
    Q4Zero,
    /// 32 elements: f16 scale, f16 minimum, 16 bytes of nibbles; `d q + m`.
    Q4One,
    /// 32 elements: f16 scale, 32 signed bytes; `d q`.
    Q8Zero,
}

impl Encoding {
    /// Elements of a block.
    pub fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4Zero | Self::Q4One | Self::Q8Zero => 32,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4Zero => 18,
            Self::Q4One => 20,
            Self::Q8Zero => 34,
        }
    }

    /// The name that users know.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q4Zero => "q4_0",
            Self::Q4One => "q4_1",
            Self::Q8Zero => "q8_0",
        }
    }

    /// Bytes of a tensor of this shape, if its rows are whole blocks and the product fits.
    pub fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(self.block()) {
            return None;
        }
        let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        (elements / self.block()).checked_mul(self.block_bytes())
    }
}

/// One weight inside a mapped file.
#[derive(Clone, Debug)]
pub struct WeightTensor {
    file: FileBytes,
    range: Range<usize>,
    encoding: Encoding,
    shape: Vec<usize>,
}

impl WeightTensor {
    /// The tensor at `start` of `file`; `None` if its bytes would leave the file or its rows are not whole blocks.
    pub fn new(file: FileBytes, start: usize, encoding: Encoding, shape: Vec<usize>) -> Option<Self> {
        let end = start.checked_add(encoding.bytes_of(&shape)?)?;
        (end <= file.len()).then_some(Self { file, range: start..end, encoding, shape })
    }

    /// The stored bytes, rows first to last.
    pub fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }

    /// The file that the bytes lie in.
    pub fn file(&self) -> &FileBytes {
        &self.file
    }

    /// Where in the file the bytes lie.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// How elements are stored.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Sizes, slowest axis first: `[rows, columns]` of a matrix that maps columns to rows.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// A tensor that is not what the configuration says.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// It is not there.
    #[error("the tensor `{0}` is missing")]
    Missing(String),
    /// Its sizes differ.
    #[error("the tensor `{name}` has shape {found:?}; the configuration asks for {wanted:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its sizes in the file.
        found: Vec<usize>,
        /// The sizes that follow from the configuration.
        wanted: Vec<usize>,
    },
    /// Its element type is one that nothing reads.
    #[error(
        "the tensor `{name}` is stored as {stored}, which has no format here (formats: f32, f16, bf16, q4_0, q4_1, q8_0)"
    )]
    Encoding {
        /// The tensor.
        name: String,
        /// The type's name.
        stored: String,
    },
    /// Its bytes are not in the file.
    #[error("the tensor `{name}` lies outside of the file, or its rows are not whole blocks of {stored}")]
    Range {
        /// The tensor.
        name: String,
        /// The type's name.
        stored: String,
    },
}
