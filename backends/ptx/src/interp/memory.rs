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
}

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
        self.buffers.push(Buffer { base, bytes, writable });
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
        self.buffers[index].bytes[offset..offset + from.len()].copy_from_slice(from);
        Ok(())
    }
}
