//! The memory of the device: buffers with nothing between them.

use super::fault::FaultKind;

/// Where the first buffer lies. No small integer is an address.
const FIRST: u64 = 1 << 32;
/// Buffers start at multiples of this, as allocations of a driver do.
const ALIGN: u64 = 256;
/// At least so many bytes between buffers belong to nobody.
const GAP: u64 = 4096;

#[derive(Clone, Debug)]
struct Buffer {
    base: u64,
    bytes: Vec<u8>,
    writable: bool,
    /// What the launch under way did to each byte, if that is watched: [`WRITTEN`], [`READ_STALE`].
    seen: Vec<u8>,
}

/// A kernel wrote the byte.
const WRITTEN: u8 = 1;
/// A kernel read the byte through the cache that does not see writes.
const READ_STALE: u8 = 2;

/// Buffers that kernels read and write.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    buffers: Vec<Buffer>,
}

impl Memory {
    /// A buffer of these bytes; its address.
    pub fn alloc(&mut self, bytes: Vec<u8>) -> u64 {
        self.push(bytes, true)
    }

    /// A buffer that kernels may not write.
    pub fn alloc_read_only(&mut self, bytes: Vec<u8>) -> u64 {
        self.push(bytes, false)
    }

    fn push(&mut self, bytes: Vec<u8>, writable: bool) -> u64 {
        let end = self.buffers.last().map_or(FIRST, |last| last.base + last.bytes.len() as u64 + GAP);
        let base = end.next_multiple_of(ALIGN);
        self.buffers.push(Buffer { base, bytes, writable, seen: Vec::new() });
        base
    }

    /// The bytes from `address` to the end of its buffer, or `None` if there is none.
    pub fn bytes(&self, address: u64) -> Option<&[u8]> {
        let buffer = self.buffers.get(self.at(address)?)?;
        let offset = usize::try_from(address - buffer.base).ok()?;
        buffer.bytes.get(offset..)
    }

    fn at(&self, address: u64) -> Option<usize> {
        self.buffers.partition_point(|buffer| buffer.base <= address).checked_sub(1)
    }

    fn check(&self, address: u64, len: usize) -> Result<(usize, usize), (FaultKind, String)> {
        let near = self.at(address).map(|index| (index, &self.buffers[index]));
        let fits = near.and_then(|(index, buffer)| {
            let offset = usize::try_from(address - buffer.base).ok()?;
            (offset.checked_add(len)? <= buffer.bytes.len()).then_some((index, offset))
        });
        fits.ok_or_else(|| {
            let place = near.map_or("before the first buffer".to_owned(), |(index, buffer)| {
                format!("byte {} of buffer {index}, which has {}", address - buffer.base, buffer.bytes.len())
            });
            (FaultKind::OutOfBounds, format!("{len} bytes at {address:#x}: {place}"))
        })
    }

    /// A launch begins. `watched` says whether it reads with `ld.global.nc`, which must not meet writes of the same launch.
    pub(crate) fn begin(&mut self, watched: bool) {
        for buffer in &mut self.buffers {
            buffer.seen = if watched { vec![0; buffer.bytes.len()] } else { Vec::new() };
        }
    }

    /// Notes what happens to bytes; an error if it must not happen after what happened before.
    fn watch(
        &mut self,
        index: usize,
        range: std::ops::Range<usize>,
        now: u8,
        never: u8,
    ) -> Result<(), (FaultKind, String)> {
        let Some(seen) = self.buffers[index].seen.get_mut(range) else { return Ok(()) };
        if seen.iter().any(|byte| byte & never != 0) {
            let message = format!("bytes of buffer {index} are written, and read with `nc`, in one launch");
            return Err((FaultKind::Stale, message));
        }
        seen.iter_mut().for_each(|byte| *byte |= now);
        Ok(())
    }

    /// Reads through the cache that does not see what the launch writes.
    pub(crate) fn read_stale(&mut self, address: u64, into: &mut [u8]) -> Result<(), (FaultKind, String)> {
        let (index, offset) = self.check(address, into.len())?;
        self.watch(index, offset..offset + into.len(), READ_STALE, WRITTEN)?;
        self.read(address, into)
    }

    pub(crate) fn read(&self, address: u64, into: &mut [u8]) -> Result<(), (FaultKind, String)> {
        let (index, offset) = self.check(address, into.len())?;
        into.copy_from_slice(&self.buffers[index].bytes[offset..offset + into.len()]);
        Ok(())
    }

    pub(crate) fn write(&mut self, address: u64, from: &[u8]) -> Result<(), (FaultKind, String)> {
        let (index, offset) = self.check(address, from.len())?;
        if !self.buffers[index].writable {
            return Err((FaultKind::ReadOnly, format!("buffer {index} may only be read")));
        }
        self.watch(index, offset..offset + from.len(), WRITTEN, READ_STALE)?;
        self.buffers[index].bytes[offset..offset + from.len()].copy_from_slice(from);
        Ok(())
    }
}
