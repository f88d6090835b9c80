//! The tensor types of GGUF files: enough of each to check that its bytes are in the file, and a format where there is one.
//!
//! In: a type's number. Out: [`TensorType`].
//! Source of the numbers and block sizes: ggml's type table.

use crate::model::tensor::Encoding;

/// One tensor type.
#[derive(Debug, PartialEq, Eq)]
pub struct TensorType {
    id: u32,
    /// Its name in ggml.
    pub name: &'static str,
    /// Elements of a block.
    pub block: u64,
    /// Bytes of a block.
    pub block_bytes: u64,
    /// How sawmill reads it, if it does.
    pub encoding: Option<Encoding>,
}

const fn known(id: u32, name: &'static str, block: u64, block_bytes: u64) -> TensorType {
    TensorType { id, name, block, block_bytes, encoding: None }
}

const fn read(id: u32, name: &'static str, block: u64, block_bytes: u64, encoding: Encoding) -> TensorType {
    TensorType { id, name, block, block_bytes, encoding: Some(encoding) }
}

const TYPES: [TensorType; 33] = [
    read(0, "F32", 1, 4, Encoding::F32),
    read(1, "F16", 1, 2, Encoding::F16),
    read(2, "Q4_0", 32, 18, Encoding::Q4Zero),
    read(3, "Q4_1", 32, 20, Encoding::Q4One),
    known(6, "Q5_0", 32, 22),
    known(7, "Q5_1", 32, 24),
    read(8, "Q8_0", 32, 34, Encoding::Q8Zero),
    known(9, "Q8_1", 32, 36),
    known(10, "Q2_K", 256, 84),
    known(11, "Q3_K", 256, 110),
    known(12, "Q4_K", 256, 144),
    known(13, "Q5_K", 256, 176),
    known(14, "Q6_K", 256, 210),
    known(15, "Q8_K", 256, 292),
    known(16, "IQ2_XXS", 256, 66),
    known(17, "IQ2_XS", 256, 74),
    known(18, "IQ3_XXS", 256, 98),
    known(19, "IQ1_S", 256, 50),
    known(20, "IQ4_NL", 32, 18),
    known(21, "IQ3_S", 256, 110),
    known(22, "IQ2_S", 256, 82),
    known(23, "IQ4_XS", 256, 136),
    known(24, "I8", 1, 1),
    known(25, "I16", 1, 2),
    known(26, "I32", 1, 4),
    known(27, "I64", 1, 8),
    known(28, "F64", 1, 8),
    known(29, "IQ1_M", 256, 56),
    read(30, "BF16", 1, 2, Encoding::Bf16),
    known(34, "TQ1_0", 256, 54),
    known(35, "TQ2_0", 256, 66),
    known(39, "MXFP4", 32, 17),
    known(40, "NVFP4", 64, 36),
];

impl TensorType {
    /// The type with this number.
    pub(super) fn of(id: u32) -> Option<&'static Self> {
        TYPES.iter().find(|known| known.id == id)
    }

    /// Bytes of a tensor whose fastest axis comes first in `sizes`; `None` if the rows are not whole blocks or the
    /// product overflows.
    pub(super) fn bytes_of(&self, sizes: &[u64]) -> Option<u64> {
        let row = sizes.first().copied().unwrap_or(1);
        if !row.is_multiple_of(self.block) {
            return None;
        }
        let elements = sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(size))?;
        (elements / self.block).checked_mul(self.block_bytes)
    }
}
