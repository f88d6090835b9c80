//! The memory that the interpreter runs on: separate regions of bytes at made-up addresses.
//!
//! In: the contents of buffers. Out: addresses to pass as arguments, and the contents after the run. An access outside
//! of every region is an error; regions lie far apart, so that an overrun never lands in a neighbour.

use std::collections::BTreeMap;

/// Bytes between regions.
const GAP: u64 = 1 << 20;

/// Regions of bytes; see the module.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    regions: BTreeMap<u64, Vec<u8>>,
}

impl Memory {
    /// Adds a region with these contents and gives its address, a multiple of 64.
    pub fn alloc(&mut self, contents: Vec<u8>) -> u64 {
        let past = self.regions.last_key_value().map_or(0, |(start, bytes)| start + bytes.len() as u64);
        let start = (past + GAP).next_multiple_of(64);
        self.regions.insert(start, contents);
        start
    }

    /// The contents of the region that starts at `start`; empty if there is none.
    pub fn contents(&self, start: u64) -> &[u8] {
        self.regions.get(&start).map_or(&[], Vec::as_slice)
    }

    /// Little-endian value of `bytes` (at most 8) bytes; `None` outside of every region.
    pub fn read(&self, address: u64, bytes: u32) -> Option<u64> {
        let (start, region) = self.regions.range(..=address).next_back()?;
        let from = usize::try_from(address - start).ok()?;
        let source = region.get(from..from.checked_add(bytes as usize)?)?;
        let mut word = [0; 8];
        word[..source.len()].copy_from_slice(source);
        Some(u64::from_le_bytes(word))
    }

    /// Writes the low `bytes` (at most 8) bytes of `value`; `None` outside of every region.
    pub fn write(&mut self, address: u64, bytes: u32, value: u64) -> Option<()> {
        let (start, region) = self.regions.range_mut(..=address).next_back()?;
        let from = usize::try_from(address - start).ok()?;
        let target = region.get_mut(from..from.checked_add(bytes as usize)?)?;
        target.copy_from_slice(&value.to_le_bytes()[..bytes as usize]);
        Some(())
    }
}
