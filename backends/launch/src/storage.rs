//! Memory of a run: what the caller gave, what the plan allocates, scratch arenas of workers.
//!
//! In: sizes. Out: 64-byte aligned blocks and strided views of them. Sizes are computed without overflow; memory that the
//! system refuses is an error that says what it was for.

use std::mem::MaybeUninit;

use sawmill_ir::backend::{PerAxis, RunError, Slot};
use sawmill_ir::dtype::DType;

/// One line of a cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// An owned block of memory, aligned to 64 bytes. Its contents are unspecified.
pub(crate) struct Block {
    lines: Vec<MaybeUninit<Line>>,
}

impl Block {
    /// At least `bytes` bytes, for `what`.
    pub(crate) fn new(bytes: u128, what: &str) -> Result<Block, RunError> {
        let refused = || RunError::OutOfMemory { what: what.to_owned(), bytes };
        let count = usize::try_from(bytes.div_ceil(64)).map_err(|_| refused())?.max(1);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| refused())?;
        Ok(Block { lines })
    }
    /// How many bytes it holds.
    pub(crate) fn bytes(&self) -> u128 {
        self.lines.capacity() as u128 * 64
    }
    /// Its address.
    pub(crate) fn address(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }
}

/// A strided tensor in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Address of the first element, exposed where it is this process's.
    pub address: usize,
    /// Element type.
    pub dtype: DType,
    /// Sizes.
    pub shape: PerAxis,
    /// Distance in bytes between neighbours along each dimension.
    pub strides: PerAxis,
}

impl Tensor {
    /// A view of an argument, if it has the type and shape that the module says.
    pub(crate) fn of(slot: &Slot, dtype: DType, shape: &PerAxis, name: &str) -> Result<Tensor, RunError> {
        let fits = slot.dtype == dtype && slot.shape == *shape && slot.strides.len() == shape.len();
        if !fits {
            return Err(RunError::Bug(format!(
                "argument `{name}` is {}{:?}, not {dtype}{shape:?}",
                slot.dtype, slot.shape
            )));
        }
        if slot.address.is_null() && !shape.contains(&0) {
            return Err(RunError::Bug(format!("argument `{name}` has no memory")));
        }
        let address = slot.address.expose_provenance();
        Ok(Tensor { address, dtype, shape: shape.clone(), strides: slot.strides.clone() })
    }
    /// A row-major tensor, not yet anywhere, and how many bytes it needs.
    pub(crate) fn dense(dtype: DType, shape: &PerAxis, name: &str) -> Result<(Tensor, u128), RunError> {
        let whole = dtype.bytes().ok_or_else(|| RunError::Bug(format!("`{name}` of {dtype} has no whole bytes")))?;
        let mut step = i128::from(whole);
        let mut strides = shape.clone();
        for (stride, extent) in strides.iter_mut().zip(shape.iter()).rev() {
            let refused = || RunError::OutOfMemory { what: format!("`{name}`"), bytes: step.unsigned_abs() };
            *stride = i64::try_from(step).map_err(|_| refused())?;
            step = step.checked_mul(i128::from((*extent).max(0))).ok_or_else(refused)?;
        }
        Ok((Tensor { address: 0, dtype, shape: shape.clone(), strides }, step.unsigned_abs()))
    }
    /// The value, if this is one integer.
    ///
    /// # Safety
    /// Its element is in memory that is valid and not written meanwhile.
    pub(crate) unsafe fn integer(&self) -> Option<i64> {
        if !self.shape.is_empty() {
            return None;
        }
        let bytes = self.dtype.bytes()? as usize;
        let first = std::ptr::with_exposed_provenance::<u8>(self.address);
        // SAFETY: by the contract of the caller the element, which has this many bytes, is valid memory that nobody writes.
        self.dtype.integer(unsafe { std::slice::from_raw_parts(first, bytes) })
    }
    /// Copies `from`, which has the same type and shape, to this tensor.
    ///
    /// # Safety
    /// Both are in memory that is valid for all of their elements, this one's for writing by nobody else, and they share none.
    pub(crate) unsafe fn copy_from(&self, from: &Tensor) {
        let Some(bytes) = self.dtype.bytes().map(|b| b as usize) else { return };
        if self.shape.iter().any(|n| *n <= 0) {
            return;
        }
        let mut at = vec![0_i64; self.shape.len()];
        loop {
            let offset = |strides: &[i64]| -> i64 { at.iter().zip(strides).map(|(i, s)| i * s).sum() };
            let source = from.address.wrapping_add_signed(offset(&from.strides) as isize);
            let target = self.address.wrapping_add_signed(offset(&self.strides) as isize);
            let (source, target) =
                (std::ptr::with_exposed_provenance::<u8>(source), std::ptr::with_exposed_provenance_mut::<u8>(target));
            // SAFETY: `at` is inside of the shape of both, whose elements are valid and separate by the contract.
            unsafe { std::ptr::copy_nonoverlapping(source, target, bytes) };
            let mut dimension = self.shape.len();
            loop {
                if dimension == 0 {
                    return;
                }
                dimension -= 1;
                at[dimension] += 1;
                if at[dimension] < self.shape[dimension] {
                    break;
                }
                at[dimension] = 0;
            }
        }
    }
}
