//! Shared memory of one CTA, byte by byte: what it holds, whether that was written, what is on its way, who accessed it when.
//!
//! Variables have unowned bytes between them, so that an access past the end of one is seen. Addresses count from
//! [`FIRST`], as on hardware, where a CTA's memory does not start at 0.

use super::WARP;
use super::clock::{Clock, Stamp};
use super::fault::{FaultKind, Trouble};
use crate::inst::{Entry, SharedId};
use sawmill_ir::entity::Entity as _;

const FIRST: u32 = 1024;
const GAP: u32 = 1024;

/// What one access does to a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Atomics do not race with each other.
    Atomic,
}

#[derive(Clone, Copy, Debug, Default)]
struct Byte {
    value: u8,
    defined: bool,
    /// Whether some variable owns it.
    owned: bool,
    /// Whether the last write was atomic.
    atomic: bool,
    /// The thread whose copy to this byte is on its way, plus one.
    in_flight: u32,
    written: Stamp,
}

/// When each warp last read a byte, and which of its lanes did at that time.
#[derive(Clone, Copy, Debug, Default)]
struct Readers {
    time: u32,
    lanes: u32,
}

/// Who accesses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accessor<'a> {
    pub(crate) thread: u32,
    pub(crate) clock: &'a Clock,
}

#[derive(Clone, Debug)]
pub(crate) struct SharedMemory {
    bytes: Vec<Byte>,
    readers: Vec<Readers>,
    warps: usize,
    bases: Vec<u32>,
}

impl SharedMemory {
    /// The memory of a CTA of `entry` with so many warps, all of it undefined.
    pub(crate) fn new(entry: &Entry, dynamic: u32, warps: usize) -> Self {
        let mut end = FIRST;
        let mut bases = Vec::new();
        let mut bytes = Vec::new();
        for shared in entry.shared.values() {
            let base = end.next_multiple_of(shared.align.max(16));
            let size = shared.bytes.unwrap_or(dynamic);
            bytes.resize((base + size) as usize, Byte::default());
            bytes[base as usize..].iter_mut().for_each(|byte| byte.owned = true);
            bases.push(base);
            end = base + size + GAP;
        }
        let readers = vec![Readers::default(); bytes.len() * warps];
        Self { bytes, readers, warps, bases }
    }

    /// The address of a variable.
    pub(crate) fn base(&self, shared: SharedId) -> u32 {
        self.bases[shared.index()]
    }

    /// Checks that `len` bytes at `address` belong to a variable and may be accessed as a whole.
    pub(crate) fn check(&self, thread: u32, address: u32, len: usize) -> Result<usize, Trouble> {
        let start = address as usize;
        let owned = self.bytes.get(start..start + len).is_some_and(|bytes| bytes.iter().all(|byte| byte.owned));
        if !owned {
            return Err(Trouble::new(FaultKind::OutOfBounds, thread, format!("shared {}", self.place(address, len))));
        }
        if !start.is_multiple_of(len.max(1)) {
            return Err(Trouble::new(FaultKind::Misaligned, thread, format!("shared {}", self.place(address, len))));
        }
        Ok(start)
    }

    fn place(&self, address: u32, len: usize) -> String {
        let variable = self.bases.iter().rposition(|base| *base <= address);
        let place = variable.map_or_else(
            || format!("{} before the first variable", FIRST - address.min(FIRST)),
            |n| format!("byte {} from the start of {}", address - self.bases[n], SharedId::new(n)),
        );
        format!("access of {len} bytes at {address:#x}, {place}")
    }

    /// Orders an access with all before it, and remembers it.
    pub(crate) fn access(
        &mut self,
        who: Accessor<'_>,
        start: usize,
        len: usize,
        access: Access,
    ) -> Result<(), Trouble> {
        for at in start..start + len {
            self.order(who, at, access)?;
            let stamp = Stamp { time: who.clock.now(), thread: who.thread };
            if access == Access::Read {
                self.remember_read(at, stamp);
            } else {
                self.bytes[at].written = stamp;
                self.bytes[at].atomic = access == Access::Atomic;
            }
        }
        Ok(())
    }

    fn remember_read(&mut self, at: usize, stamp: Stamp) {
        let (warp, lane) = (stamp.thread as usize / WARP, stamp.thread % 32);
        let readers = &mut self.readers[at * self.warps + warp];
        if readers.time != stamp.time {
            *readers = Readers { time: stamp.time, lanes: 0 };
        }
        readers.lanes |= 1 << lane;
    }

    /// Whether anything is against this access: a copy on its way, or an access that nothing orders before it.
    pub(crate) fn order(&self, who: Accessor<'_>, at: usize, access: Access) -> Result<(), Trouble> {
        let byte = &self.bytes[at];
        let place = || self.place(u32::try_from(at).unwrap_or(u32::MAX), 1);
        if byte.in_flight != 0 {
            let owner = byte.in_flight - 1;
            let message = format!("{}: the copy of thread {owner} to it has not been waited for", place());
            return Err(Trouble::new(FaultKind::InFlight, who.thread, message));
        }
        let race = |what: &str, other: u32| {
            let verb = if access == Access::Read { "read" } else { "written" };
            let message = format!("{}: {verb} here, {what} by thread {other}, and no barrier between", place());
            Err(Trouble::new(FaultKind::Race, who.thread, message))
        };
        let both_atomic = byte.atomic && access == Access::Atomic;
        if !both_atomic && !who.clock.follows(byte.written, who.thread) {
            return race("written", byte.written.thread);
        }
        if access == Access::Read {
            return Ok(());
        }
        let readers = &self.readers[at * self.warps..(at + 1) * self.warps];
        for (warp, readers) in readers.iter().enumerate() {
            let mut lanes = readers.lanes;
            while lanes != 0 {
                let thread = u32::try_from(warp * WARP).expect("a CTA has 1024 threads") + lanes.trailing_zeros();
                if !who.clock.follows(Stamp { time: readers.time, thread }, who.thread) {
                    return race("read", thread);
                }
                lanes &= lanes - 1;
            }
        }
        Ok(())
    }

    /// The bytes, and whether all of them were written.
    pub(crate) fn get(&self, start: usize, into: &mut [u8]) -> bool {
        let bytes = &self.bytes[start..start + into.len()];
        into.iter_mut().zip(bytes).for_each(|(into, byte)| *into = byte.value);
        bytes.iter().all(|byte| byte.defined)
    }

    /// Sets bytes; `defined` says whether their value means anything.
    pub(crate) fn set(&mut self, start: usize, from: &[u8], defined: bool) {
        for (byte, value) in self.bytes[start..].iter_mut().zip(from) {
            byte.value = *value;
            byte.defined = defined;
        }
    }

    /// A copy to these bytes is on its way.
    pub(crate) fn depart(&mut self, thread: u32, start: usize, len: usize) {
        self.bytes[start..start + len].iter_mut().for_each(|byte| byte.in_flight = thread + 1);
    }

    /// The copy is there: from now on it counts as a write of its thread.
    pub(crate) fn arrive(&mut self, who: Accessor<'_>, start: usize, from: &[u8]) {
        for (byte, value) in self.bytes[start..].iter_mut().zip(from) {
            byte.in_flight = 0;
            byte.value = *value;
            byte.defined = true;
            byte.atomic = false;
            byte.written = Stamp { time: who.clock.now(), thread: who.thread };
        }
    }
}
