//! Layouts: where the elements of a distributed tile lie.
//!
//! A [`Layout`] says which bits of which coordinates each bit of a register's number and of a thread's number stand for. Every
//! coordinate bit has one place; a thread bit that stands for nothing holds copies. These are the linear layouts over bits
//! (Zhou et al., "Linear Layouts", arXiv 2505.23819) whose matrices are permutations: spread tiles, all fragments of `mma` and
//! `ldmatrix`, and what is left of either when axes are reduced away or missing. Extents are padded to powers of two; elements
//! past an extent have a place, too, and are never stored or combined.
//!
//! In: axes with extents, outermost first. Out: layouts. [`assign`] chooses them for the values of a kernel.

pub(crate) mod assign;
pub(crate) mod matrix;

use sawmill_ir::tile::{AxisId, Kernel};
use std::fmt;

/// Lanes of a warp, as a power of two.
pub const LANE_BITS: usize = 5;

/// A bit of a coordinate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bit {
    /// Of which axis.
    pub axis: AxisId,
    /// Its number; bit 0 is the lowest.
    pub bit: u8,
}

impl fmt::Debug for Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.axis, self.bit)
    }
}

/// Where elements lie: see the module. Register and thread bits are listed from the lowest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout {
    regs: Vec<Bit>,
    threads: Vec<Option<Bit>>,
}

/// Bits needed to count to `extent`.
pub fn bits_of(extent: u32) -> u8 {
    u8::try_from(extent.max(1).next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX)
}

/// Elements of a tile over `axes`, padding included.
pub fn elements(kernel: &Kernel, axes: &[AxisId]) -> u64 {
    axes.iter().map(|axis| 1 << bits_of(kernel.axes[*axis].extent)).product()
}

/// The bits of axes, outermost first, as one number's: from the lowest.
fn flattened(axes: &[(AxisId, u32)]) -> Vec<Bit> {
    let of = |(axis, extent): &(AxisId, u32)| {
        let axis = *axis;
        (0..bits_of(*extent)).map(move |bit| Bit { axis, bit })
    };
    axes.iter().rev().flat_map(of).collect()
}

impl Layout {
    /// Spreads a tile over `2^thread_bits` threads: neighbours of the last axis lie in neighbouring lanes, the warps share the
    /// outermost bits, registers hold what is between. A small tile is repeated in threads that would hold nothing.
    pub fn spread(axes: &[(AxisId, u32)], thread_bits: usize) -> Self {
        Self::vectors(axes, thread_bits, 0)
    }
    /// The same with up to `2^vector_bits` neighbours of the last axis in the lowest registers of one thread, as far as there are
    /// more elements than threads.
    pub fn vectors(axes: &[(AxisId, u32)], thread_bits: usize, vector_bits: usize) -> Self {
        let more =
            axes.iter().map(|(_, extent)| usize::from(bits_of(*extent))).sum::<usize>().saturating_sub(thread_bits);
        Self::runs(axes, thread_bits, vector_bits.min(more))
    }
    /// The same with `2^run_bits` neighbours in a thread, however few elements there are: fewer only if the last axis has.
    pub fn runs(axes: &[(AxisId, u32)], thread_bits: usize, run_bits: usize) -> Self {
        let mut bits = flattened(axes);
        let last = axes.last().map_or(0, |(_, extent)| usize::from(bits_of(*extent)));
        let own: Vec<Bit> = bits.drain(..run_bits.min(last)).collect();
        let lanes = LANE_BITS.min(thread_bits);
        let upper = bits.len().saturating_sub(thread_bits - lanes).max(lanes.min(bits.len()));
        let warps = bits.split_off(upper);
        let regs = own.into_iter().chain(bits.split_off(lanes.min(bits.len()))).collect();
        let mut threads: Vec<Option<Bit>> = bits.into_iter().map(Some).collect();
        threads.resize(lanes, None);
        threads.extend(warps.into_iter().map(Some));
        threads.resize(thread_bits, None);
        Self { regs, threads }
    }

    /// A layout from its bits; `None` if a coordinate bit has two places.
    pub fn new(regs: Vec<Bit>, threads: Vec<Option<Bit>>) -> Option<Self> {
        let mut seen: Vec<Bit> = regs.iter().copied().chain(threads.iter().copied().flatten()).collect();
        seen.sort_unstable();
        seen.windows(2).all(|w| w[0] != w[1]).then_some(Self { regs, threads })
    }

    /// The layout of what is left when only `axes` are kept: threads that differ in a lost bit hold copies.
    #[must_use]
    pub fn project(&self, axes: &[AxisId]) -> Self {
        let kept = |bit: &Bit| axes.contains(&bit.axis);
        Self {
            regs: self.regs.iter().copied().filter(|b| kept(b)).collect(),
            threads: self.threads.iter().map(|b| b.filter(kept)).collect(),
        }
    }

    /// The same with other names for axes.
    #[must_use]
    pub fn renamed(&self, name: impl Fn(AxisId) -> AxisId) -> Self {
        let rename = |bit: &Bit| Bit { axis: name(bit.axis), bit: bit.bit };
        Self {
            regs: self.regs.iter().map(rename).collect(),
            threads: self.threads.iter().map(|b| b.as_ref().map(rename)).collect(),
        }
    }

    /// How many registers a thread has.
    pub fn registers(&self) -> u32 {
        1 << self.regs.len()
    }
    /// The bits that a register's number stands for.
    pub fn register_bits(&self) -> &[Bit] {
        &self.regs
    }
    /// The bits that a thread's number stands for.
    pub fn thread_bits(&self) -> &[Option<Bit>] {
        &self.threads
    }
    /// The part of the coordinate along `axis` that register number `register` decides.
    pub fn register_part(&self, axis: AxisId, register: u32) -> u32 {
        let part = |(at, bit): (usize, &Bit)| if bit.axis == axis { (register >> at & 1) << bit.bit } else { 0 };
        self.regs.iter().enumerate().map(part).sum()
    }
    /// The thread bits that take part in the coordinate along `axis`: (bit of the thread, bit of the coordinate).
    pub fn thread_part(&self, axis: AxisId) -> Vec<(u8, u8)> {
        let part = |(at, bit): (u8, &Option<Bit>)| bit.filter(|b| b.axis == axis).map(|b| (at, b.bit));
        (0_u8..).zip(&self.threads).filter_map(part).collect()
    }
    /// The coordinate along `axis` of a register of a thread.
    pub fn coordinate(&self, axis: AxisId, register: u32, thread: u32) -> u32 {
        let of_thread: u32 = self.thread_part(axis).iter().map(|(from, to)| (thread >> from & 1) << to).sum();
        self.register_part(axis, register) + of_thread
    }
    /// A mask of the thread bits over which values are repeated.
    pub fn repeated(&self) -> u32 {
        let bit = |(at, bit): (usize, &Option<Bit>)| if bit.is_none() { 1 << at } else { 0 };
        self.threads.iter().enumerate().map(bit).sum()
    }
    /// The register that holds what `other`'s register `register` holds in the same thread, if both layouts give each thread the
    /// same share of the axes of `self`, which `other` has.
    pub fn register_like(&self, other: &Self, register: u32) -> u32 {
        let place = |bit: &Bit| other.regs.iter().position(|b| b == bit);
        let part = |(at, bit): (usize, &Bit)| place(bit).map_or(0, |from| (register >> from & 1) << at);
        self.regs.iter().enumerate().map(part).sum()
    }
    /// The axes that have a bit here, sorted.
    pub fn axes(&self) -> Vec<AxisId> {
        let mut axes: Vec<AxisId> =
            self.regs.iter().copied().chain(self.threads.iter().copied().flatten()).map(|b| b.axis).collect();
        axes.sort_unstable();
        axes.dedup();
        axes
    }
    /// The axis whose neighbours, or vectors of them, lie in neighbouring lanes.
    pub fn lane_axis(&self) -> Option<AxisId> {
        let first = self.threads.first().copied().flatten()?;
        let below = (0..first.bit).map(|bit| Bit { axis: first.axis, bit });
        self.regs.iter().copied().take(first.bit.into()).eq(below).then_some(first.axis)
    }
    /// Whether all lanes of a warp hold the same elements.
    pub fn is_uniform_in_warps(&self) -> bool {
        self.threads.iter().take(LANE_BITS).all(Option::is_none)
    }
}

#[cfg(test)]
mod tests;
