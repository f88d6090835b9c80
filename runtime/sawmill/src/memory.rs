//! Copies between strided memory and row-major bytes, for engines that work on copies.
//!
//! The slots come from the arguments of a running call, which hold their memory and have checked that every element lies in it.

use sawmill_ir::backend::Slot;

/// The elements of a slot in row-major order; `None` if there are more than memory holds.
pub(crate) fn gather(slot: &Slot) -> Option<Vec<u8>> {
    let (unit, shape) = units(slot);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count(&shape)?.checked_mul(unit)?).ok()?;
    for_each_row(slot, &shape, unit, &mut |address, length| {
        // SAFETY: the element or row of elements lies in the memory of an argument of the running call.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(address, length) });
    });
    Some(bytes)
}

/// Writes row-major elements into a slot that the call holds exclusively; false if there are not as many as it has.
pub(crate) fn scatter(slot: &Slot, bytes: &[u8]) -> bool {
    let (unit, shape) = units(slot);
    if count(&shape).and_then(|count| count.checked_mul(unit)) != Some(bytes.len()) {
        return false;
    }
    let mut at = 0;
    for_each_row(slot, &shape, unit, &mut |address, length| {
        // SAFETY: the row lies in a cache that the running call holds exclusively; `bytes` is as long as the slot, and belongs
        // to somebody else.
        unsafe { std::ptr::copy_nonoverlapping(bytes[at..].as_ptr(), address, length) };
        at += length;
    });
    true
}

/// Bytes of what is copied at once, and how often along each dimension: elements of four bits are copied in pairs.
fn units(slot: &Slot) -> (usize, Vec<i64>) {
    let mut shape = slot.shape.to_vec();
    match (slot.dtype.bytes(), shape.last_mut()) {
        (Some(bytes), _) => (bytes as usize, shape),
        (None, last) => {
            last.into_iter().for_each(|size| *size = (*size + 1) / 2);
            (1, shape)
        }
    }
}

fn count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, size| count.checked_mul(usize::try_from(*size).ok()?))
}

/// Calls `visit(address, bytes)` for every run of neighbouring elements, in row-major order.
fn for_each_row(slot: &Slot, shape: &[i64], unit: usize, visit: &mut dyn FnMut(*mut u8, usize)) {
    fn walk(address: *mut u8, shape: &[i64], strides: &[i64], unit: usize, visit: &mut dyn FnMut(*mut u8, usize)) {
        match (shape, strides) {
            ([], _) => visit(address, unit),
            ([0], _) => {}
            ([size], [stride]) if *stride == unit as i64 => visit(address, *size as usize * unit),
            ([size, inner @ ..], [stride, rest @ ..]) => {
                for at in 0..*size {
                    walk(address.wrapping_offset((at * stride) as isize), inner, rest, unit, visit);
                }
            }
            _ => {}
        }
    }
    walk(slot.address, shape, &slot.strides, unit, visit);
}
