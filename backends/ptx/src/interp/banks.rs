//! Bank conflicts of shared memory.
//!
//! 32 banks of 4 bytes serve one word each in a wavefront; lanes that ask for the same word share it. Accesses of 8 bytes a lane
//! go in two phases of half a warp, of 16 bytes in four phases of a quarter, `ldmatrix` in one phase a matrix. The ideal is
//! one wavefront a phase.

use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Wavefronts of some accesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wavefronts {
    /// How often the instruction ran, counted by warps.
    pub accesses: u64,
    /// Wavefronts it took.
    pub taken: u64,
    /// Wavefronts without a conflict.
    pub ideal: u64,
}

impl Wavefronts {
    /// Wavefronts that conflicts added.
    pub const fn conflicts(self) -> u64 {
        self.taken - self.ideal
    }
}

impl AddAssign for Wavefronts {
    fn add_assign(&mut self, other: Self) {
        self.accesses += other.accesses;
        self.taken += other.taken;
        self.ideal += other.ideal;
    }
}

const BANKS: u32 = 32;
const WORD: u32 = 4;

/// The wavefronts of one access: the byte address of each lane that takes part, and the bytes a lane accesses.
pub fn wavefronts(addresses: &[Option<u32>], bytes: u32) -> Wavefronts {
    let lanes = match bytes {
        0..=4 => 32,
        5..=8 => 16,
        _ => 8,
    };
    let mut total = Wavefronts { accesses: 1, ..Wavefronts::default() };
    for phase in addresses.chunks(lanes) {
        let taken = phase_wavefronts(phase, bytes);
        total.taken += taken;
        total.ideal += taken.min(1);
    }
    total
}

/// The most words that lanes want of one bank.
fn phase_wavefronts(addresses: &[Option<u32>], bytes: u32) -> u64 {
    let mut words: Vec<u32> =
        addresses.iter().flatten().flat_map(|address| address / WORD..(address + bytes).div_ceil(WORD)).collect();
    words.sort_unstable();
    words.dedup();
    let mut wanted = BTreeMap::<u32, u64>::new();
    for word in words {
        *wanted.entry(word % BANKS).or_default() += 1;
    }
    wanted.values().copied().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::wavefronts;

    fn taken(bytes: u32, address: impl Fn(u32) -> u32) -> (u64, u64) {
        let addresses: Vec<Option<u32>> = (0..32).map(|lane| Some(address(lane))).collect();
        let total = wavefronts(&addresses, bytes);
        (total.taken, total.ideal)
    }

    #[test]
    fn strides_conflict_as_known() {
        assert_eq!(taken(4, |lane| 4 * lane), (1, 1));
        assert_eq!(taken(4, |lane| 8 * lane), (2, 1));
        assert_eq!(taken(4, |lane| 128 * lane), (32, 1));
        assert_eq!(taken(4, |lane| 132 * lane), (1, 1));
        // One word for all lanes is a broadcast.
        assert_eq!(taken(4, |_| 64), (1, 1));
        assert_eq!(taken(2, |lane| 2 * lane), (1, 1));
    }

    #[test]
    fn wide_accesses_go_in_phases() {
        assert_eq!(taken(8, |lane| 8 * lane), (2, 2));
        assert_eq!(taken(16, |lane| 16 * lane), (4, 4));
        // Rows of 128 bytes: all lanes of a phase want the same four banks.
        assert_eq!(taken(16, |lane| 128 * lane), (32, 4));
        // The same with the chunk exchanged by the row: the usual swizzle.
        assert_eq!(taken(16, |lane| 128 * lane + 16 * (lane % 8)), (4, 4));
    }
}
