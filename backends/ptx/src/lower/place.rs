//! Where a thread is in a layout: coordinates, ends of axes, owners.
//!
//! In: a layout and a register's number. Out: registers that hold what the thread's number decides, and constants for what the
//! register's number decides.

use super::{Lower, Seen};
use crate::inst::{Op, Reg, Word};
use crate::layout::{Layout, bits_of};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::AxisId;

impl Lower<'_> {
    /// The sum of weights of the bits that the thread's number has; `None` for 0.
    pub(super) fn thread_sum(&mut self, bits: Vec<(u8, u32)>) -> Option<Reg> {
        if bits.is_empty() {
            return None;
        }
        Some(self.once(Seen::Threads(bits.clone()), |s| {
            let mut sum: Option<Reg> = None;
            for (first, count, weight) in runs(&bits) {
                let moved = match first {
                    0 => s.thread,
                    _ => s.c.two(Op::Shr, &[Word::U32], s.thread, u32::from(first)),
                };
                let whole = usize::from(first) + usize::from(count) == s.thread_bits;
                let part = if whole { moved } else { s.c.two(Op::And, &[Word::B32], moved, (1_u32 << count) - 1) };
                let term = match weight {
                    1 => part,
                    _ => s.c.mul(DType::I32, part, weight),
                };
                sum = Some(match sum {
                    Some(sum) => s.c.add(DType::I32, sum, term),
                    None => term,
                });
            }
            sum.unwrap_or(s.thread)
        }))
    }
    /// The part of the coordinate along `axis` that the thread's number decides, times `weight`; 32 bits.
    pub(super) fn thread_part(&mut self, layout: &Layout, axis: AxisId, weight: u32) -> Option<Reg> {
        let bits = layout.thread_part(axis).into_iter().map(|(from, to)| (from, weight << to)).collect();
        self.thread_sum(bits)
    }
    /// The same in 64 bits, without weight.
    pub(super) fn wide_part(&mut self, layout: &Layout, axis: AxisId) -> Option<Reg> {
        let part = self.thread_part(layout, axis, 1)?;
        Some(self.widen(part))
    }
    /// A 32-bit number of at most 31 bits in 64.
    pub(super) fn widen(&mut self, part: Reg) -> Reg {
        self.once(Seen::Wide(part), |s| s.c.convert(&[Word::U64, Word::U32], part))
    }
    /// The part of a place in shared memory that the thread's number decides, with the stride of each axis.
    pub(super) fn thread_place(&mut self, layout: &Layout, strides: &[(AxisId, u32)]) -> Option<Reg> {
        let mut bits: Vec<(u8, u32)> = Vec::new();
        for (axis, stride) in strides {
            bits.extend(layout.thread_part(*axis).into_iter().map(|(from, to)| (from, stride << to)));
        }
        bits.sort_unstable();
        self.thread_sum(bits)
    }

    /// Whether the element of a register lies within the extents of `axes`: `Ok(None)` if always, `Err` if never.
    pub(super) fn within(&mut self, layout: &Layout, axes: &[AxisId], register: u32) -> Result<Option<Reg>, Never> {
        let mut all: Option<Reg> = None;
        for axis in axes {
            let extent = self.kernel.axes[*axis].extent;
            if extent == 1 << bits_of(extent) {
                continue;
            }
            let here = layout.register_part(*axis, register);
            let most: u32 = layout.thread_part(*axis).iter().map(|(_, to)| 1 << to).sum();
            if here >= extent {
                return Err(Never);
            }
            if here + most < extent {
                continue;
            }
            let Some(part) = self.thread_part(layout, *axis, 1) else { continue };
            let below =
                self.once(Seen::Below(part, extent - here), |s| s.c.compare(Word::Lt, DType::U32, part, extent - here));
            all = Some(all.map_or(below, |all| self.c.and(all, below)));
        }
        Ok(all)
    }
    /// Whether this thread is the one that stores what is repeated over threads; `None` if nothing is.
    pub(super) fn owner(&mut self, layout: &Layout) -> Option<Reg> {
        let repeated = layout.repeated();
        (repeated != 0).then(|| {
            self.once(Seen::Owner(repeated), |s| {
                let bits = s.c.two(Op::And, &[Word::B32], s.thread, repeated);
                s.c.compare(Word::Eq, DType::U32, bits, 0_u32)
            })
        })
    }
    /// Both conditions, where no condition is none.
    pub(super) fn both(&mut self, a: Option<Reg>, b: Option<Reg>) -> Option<Reg> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.c.and(a, b)),
            (one, None) | (None, one) => one,
        }
    }
}

/// An element that lies past the end of its axis for every thread.
#[derive(Debug)]
pub(super) struct Never;

/// Neighbouring bits whose weights double: first bit, how many, weight of the first.
fn runs(bits: &[(u8, u32)]) -> Vec<(u8, u8, u32)> {
    let mut runs: Vec<(u8, u8, u32)> = Vec::new();
    for (bit, weight) in bits {
        match runs.last_mut() {
            Some((first, count, start)) if *first + *count == *bit && *start << *count == *weight => *count += 1,
            _ => runs.push((*bit, 1, *weight)),
        }
    }
    runs
}
