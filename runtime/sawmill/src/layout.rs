//! Where the elements of a tensor lie in its bytes.
//!
//! In: an element type, sizes, strides in bytes (zero, negative, overlapping ones too), an offset. Out: [`Layout`], whose elements can be checked
//! to lie inside of a number of bytes. Sums and products of sizes are computed without overflow.

use crate::Error;
use crate::element::RuntimeElem;
use sawmill_ir::backend::Slot;
use sawmill_ir::dtype::DType;

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
    pub(crate) fn span(&self) -> Result<(u128, u128), Error> {
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
    pub(crate) fn check(&self, bytes: usize) -> Result<(), Error> {
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
    pub(crate) fn is_row_major(&self) -> bool {
        Self::row_major(self.elem, &self.shape, self.offset).is_ok_and(|plain| {
            let same = |at: usize| self.shape[at] <= 1 || plain.strides[at] == self.strides[at];
            (0..self.shape.len()).all(same)
        })
    }
    /// Number of elements.
    pub(crate) fn count(&self) -> usize {
        // A shape with a zero may have other sizes whose product overflows.
        if self.shape.contains(&0) { 0 } else { self.shape.iter().product() }
    }
    /// Where the lowest byte lies and how many there are up to the highest.
    pub(crate) fn reach(&self) -> Result<(usize, usize), Error> {
        let (below, above) = self.span()?;
        // The layout was checked: both lie inside of the storage.
        Ok((self.offset - below as usize, (below + above) as usize))
    }
    /// The memory of this process as a kernel sees it, at `base` (the first byte of the storage).
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
            remote: false,
        }
    }
}

pub(crate) fn too_large(shape: &[usize]) -> Error {
    Error::Tensor(format!("shape {shape:?} is larger than memory"))
}

fn records(size: usize, values: usize, elem: RuntimeElem) -> Result<usize, Error> {
    if size.is_multiple_of(values) {
        Ok(size / values)
    } else {
        Err(Error::Tensor(format!("a row of {size} values is no multiple of {elem}'s {values}")))
    }
}
