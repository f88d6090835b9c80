//! Loads, stores, atomics and asynchronous copies of single lanes.

use super::WARP;
use super::banks::wavefronts;
use super::cta::{Cta, Done};
use super::decode::{Address, Operand, Step};
use super::fault::{FaultKind, Trouble};
use super::number::{combine, low};
use super::shared::Access;
use super::warp::{Warp, lanes};
use crate::inst::{Space, Word};

/// At most so many bytes go with one access of a lane.
const MOST: usize = 16;

/// The registers of an operand that may be one or several in braces.
fn registers(operand: &Operand) -> &[usize] {
    match operand {
        Operand::Reg(reg) => std::slice::from_ref(reg),
        Operand::Regs(regs) => regs,
        other => unreachable!("{other:?} holds no registers"),
    }
}

fn memory_of(operand: &Operand) -> Address {
    match operand {
        Operand::Mem(address) => *address,
        other => unreachable!("{other:?} is no address"),
    }
}

pub(crate) fn shared_address(address: u64) -> u32 {
    u32::try_from(low(address, 32)).expect("32 bits")
}

impl Cta<'_> {
    /// Reads of one lane; gives whether all bytes were written before.
    fn read(
        &mut self,
        warp: &Warp,
        lane: usize,
        from: (Space, u64),
        stale: bool,
        into: &mut [u8],
    ) -> Result<bool, Trouble> {
        let thread = warp.thread(lane);
        match from {
            (Space::Shared, address) => {
                let start = self.shared.check(thread, shared_address(address), into.len())?;
                self.shared.access(warp.accessor(lane), start, into.len(), Access::Read)?;
                Ok(self.shared.get(start, into))
            }
            (Space::Global, address) => {
                aligned(thread, address, into.len())?;
                let read = if stale { self.memory.read_stale(address, into) } else { self.memory.read(address, into) };
                read.map_err(|(kind, message)| Trouble::new(kind, thread, message)).map(|()| true)
            }
            (Space::Param, at) => {
                let word =
                    |at: u64| self.launch.args[usize::try_from(at / 8).expect("few")].to_le_bytes()[(at % 8) as usize];
                (at..).zip(into).for_each(|(at, byte)| *byte = word(at));
                Ok(true)
            }
        }
    }

    fn write(&mut self, warp: &Warp, lane: usize, to: (Space, u64), from: &[u8], defined: bool) -> Done {
        let thread = warp.thread(lane);
        if to.0 == Space::Shared {
            let start = self.shared.check(thread, shared_address(to.1), from.len())?;
            self.shared.access(warp.accessor(lane), start, from.len(), Access::Write)?;
            self.shared.set(start, from, defined);
            return Ok(());
        }
        if !defined {
            return Err(Trouble::new(FaultKind::Undefined, thread, "an undefined value is stored to global memory"));
        }
        aligned(thread, to.1, from.len())?;
        self.memory.write(to.1, from).map_err(|(kind, message)| Trouble::new(kind, thread, message))
    }

    fn count_lanes(&mut self, step: &Step<'_>, addresses: &[Option<u32>; WARP], bytes: usize) {
        self.count_banks(step, wavefronts(addresses, u32::try_from(bytes).expect("few bytes")));
    }

    pub(crate) fn load(&mut self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        let address = memory_of(&step.args[1]);
        let dests = registers(&step.args[0]).to_vec();
        let size = (step.type_of(0).bits() / 8) as usize;
        let stale = step.shape.has(Word::Nc);
        let mut seen = [None; WARP];
        for lane in lanes(active) {
            let at = warp.address(address, lane)?;
            seen[lane] = Some(shared_address(at));
            let mut bytes = [0; MOST];
            let defined = self.read(warp, lane, (address.space, at), stale, &mut bytes[..size * dests.len()])?;
            for (dest, part) in dests.iter().zip(bytes.chunks(size)) {
                warp.write(self.program, step, 0, (*dest, lane), (from_bytes(part), defined));
            }
        }
        if address.space == Space::Shared {
            self.count_lanes(step, &seen, size * dests.len());
        }
        Ok(())
    }

    pub(crate) fn store(&mut self, warp: &Warp, step: &Step<'_>, active: u32) -> Done {
        let address = memory_of(&step.args[0]);
        let size = (step.type_of(1).bits() / 8) as usize;
        let mut seen = [None; WARP];
        let mut total = size;
        for lane in lanes(active) {
            let at = warp.address(address, lane)?;
            seen[lane] = Some(shared_address(at));
            let mut bytes = Vec::with_capacity(MOST);
            let mut defined = true;
            let values: Vec<(u64, bool)> = match &step.args[1] {
                Operand::Regs(regs) => regs.iter().map(|reg| warp.get(*reg, lane)).collect(),
                other => vec![warp.operand(other, lane)],
            };
            for (value, is_defined) in values {
                bytes.extend_from_slice(&value.to_le_bytes()[..size]);
                defined &= is_defined;
            }
            total = bytes.len();
            self.write(warp, lane, (address.space, at), &bytes, defined)?;
        }
        if address.space == Space::Shared {
            self.count_lanes(step, &seen, total);
        }
        Ok(())
    }

    /// Lanes one after another, lowest first; hardware has another order, which nothing may depend on.
    pub(crate) fn atomic(&mut self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        let gives = step.slots[0].is_def();
        let first = usize::from(gives);
        let address = memory_of(&step.args[first]);
        let size = (step.shape.t.bits() / 8) as usize;
        for lane in lanes(active) {
            let at = warp.address(address, lane)?;
            let operand = warp.decided(&step.args[first + 1], lane, "the operand of an atomic operation")?;
            let other = step.args.get(first + 2).map_or(Ok(0), |other| warp.decided(other, lane, "the new value"))?;
            let old =
                self.exchange(warp, lane, (address.space, at), size, |old| combine(&step.shape, old, operand, other))?;
            if gives {
                let dest = registers(&step.args[0])[0];
                warp.write(self.program, step, 0, (dest, lane), old);
            }
        }
        Ok(())
    }

    fn exchange(
        &mut self,
        warp: &Warp,
        lane: usize,
        at: (Space, u64),
        size: usize,
        change: impl FnOnce(u64) -> u64,
    ) -> Result<(u64, bool), Trouble> {
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..size];
        if at.0 == Space::Shared {
            let start = self.shared.check(warp.thread(lane), shared_address(at.1), size)?;
            self.shared.access(warp.accessor(lane), start, size, Access::Atomic)?;
            let defined = self.shared.get(start, bytes);
            let old = from_bytes(bytes);
            self.shared.set(start, &change(old).to_le_bytes()[..size], defined);
            return Ok((old, defined));
        }
        self.read(warp, lane, at, false, bytes)?;
        let old = from_bytes(bytes);
        self.write(warp, lane, at, &change(old).to_le_bytes()[..size], true)?;
        Ok((old, true))
    }

    /// The bytes are read now and land when the thread waits: between the two nobody may touch the destination.
    pub(crate) fn copy(&mut self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        let (to, from) = (memory_of(&step.args[0]), memory_of(&step.args[1]));
        let Operand::Imm(size) = step.args[2] else { unreachable!("the size is an immediate") };
        let size = usize::try_from(size).expect("at most 16 bytes");
        let mut seen = [None; WARP];
        for lane in lanes(active) {
            let thread = warp.thread(lane);
            let wanted =
                step.args.get(3).map_or(Ok(size as u64), |count| warp.decided(count, lane, "the source's size"))?;
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            if wanted > size {
                let message = format!("{wanted} bytes are to be read for a copy of {size}");
                return Err(Trouble::new(FaultKind::OutOfBounds, thread, message));
            }
            let mut bytes = vec![0; size];
            let source = warp.address(from, lane)?;
            aligned(thread, source, size)?;
            if wanted > 0 {
                let read = self.memory.read(source, &mut bytes[..wanted]);
                read.map_err(|(kind, message)| Trouble::new(kind, thread, message))?;
            }
            let dest = shared_address(warp.address(to, lane)?);
            seen[lane] = Some(dest);
            let start = self.shared.check(thread, dest, size)?;
            (start..start + size).try_for_each(|at| self.shared.order(warp.accessor(lane), at, Access::Write))?;
            self.shared.depart(thread, start, size);
            warp.copies[lane].open.push((start, bytes));
        }
        self.count_lanes(step, &seen, size);
        Ok(())
    }

    pub(crate) fn copy_group(&mut self, warp: &mut Warp, step: &Step<'_>, active: u32) {
        let left = match step.args.first() {
            Some(Operand::Imm(left)) => usize::try_from(*left).unwrap_or(usize::MAX),
            _ => 0,
        };
        for lane in lanes(active) {
            if step.shape.has(Word::CommitGroup) {
                let copies = &mut warp.copies[lane];
                let group = std::mem::take(&mut copies.open);
                copies.groups.push_back(group);
                continue;
            }
            let copies = &mut warp.copies[lane];
            let count = copies.groups.len().saturating_sub(left);
            let mut landed: Vec<_> = copies.groups.drain(..count).flatten().collect();
            if step.shape.has(Word::WaitAll) {
                landed.append(&mut copies.open);
            }
            for (start, bytes) in landed {
                self.shared.arrive(warp.accessor(lane), start, &bytes);
            }
        }
    }
}

fn aligned(thread: u32, address: u64, size: usize) -> Done {
    if address.is_multiple_of(size as u64) {
        return Ok(());
    }
    Err(Trouble::new(FaultKind::Misaligned, thread, format!("global access of {size} bytes at {address:#x}")))
}

fn from_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
