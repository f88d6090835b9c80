//! A warp: 32 lanes with registers, a place in the program each, and copies on their way.
//!
//! The lanes at the least place go on together, one instruction at a time; the others wait where they are. A program whose
//! blocks stand in the order in which they run thus joins its lanes again where branches meet.

use super::clock::Clock;
use super::decode::{Address, Operand, Program, Step};
use super::fault::{FaultKind, Trouble};
use super::{Launch, WARP};
use crate::inst::Special;
use std::collections::VecDeque;

/// Copies to shared memory that a thread has started: where to, and the bytes.
pub(crate) type Copies = Vec<(usize, Vec<u8>)>;

/// The asynchronous copies of a thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct CopyGroups {
    /// Those of no group yet.
    pub(crate) open: Copies,
    /// The groups under way, oldest first.
    pub(crate) groups: VecDeque<Copies>,
}

#[derive(Clone, Debug)]
pub(crate) struct Warp {
    pub(crate) index: usize,
    values: Vec<[u64; WARP]>,
    defined: Vec<u32>,
    pub(crate) places: [usize; WARP],
    /// The lanes that exist: the last warp of a CTA may have fewer.
    pub(crate) exist: u32,
    pub(crate) done: u32,
    /// The lanes that wait at a barrier.
    pub(crate) waiting: u32,
    pub(crate) clock: Clock,
    pub(crate) copies: Vec<CopyGroups>,
}

/// The lanes of a mask, lowest first.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..WARP).filter(move |lane| mask >> lane & 1 == 1)
}

impl Warp {
    pub(crate) fn new(index: usize, warps: usize, threads: u32, registers: usize) -> Self {
        let first = u32::try_from(index * WARP).expect("a CTA has at most 1024 threads");
        let count = (threads - first).min(32);
        Self {
            index,
            values: vec![[0; WARP]; registers],
            defined: vec![0; registers],
            places: [0; WARP],
            exist: if count == 32 { u32::MAX } else { (1 << count) - 1 },
            done: 0,
            waiting: 0,
            clock: Clock::new(index, warps),
            copies: vec![CopyGroups::default(); WARP],
        }
    }

    /// The lanes that have not ended.
    pub(crate) fn alive(&self) -> u32 {
        self.exist & !self.done
    }

    /// The lanes that can go on.
    pub(crate) fn running(&self) -> u32 {
        self.alive() & !self.waiting
    }

    /// The place of the lanes that go on next, and these lanes.
    pub(crate) fn next(&self) -> Option<(usize, u32)> {
        let running = self.running();
        let place = lanes(running).map(|lane| self.places[lane]).min()?;
        let there = lanes(running).filter(|lane| self.places[*lane] == place).fold(0, |mask, lane| mask | 1 << lane);
        Some((place, there))
    }

    /// The number of a lane's thread in the CTA.
    pub(crate) fn thread(&self, lane: usize) -> u32 {
        u32::try_from(self.index * WARP + lane).expect("a CTA has at most 1024 threads")
    }

    pub(crate) fn get(&self, reg: usize, lane: usize) -> (u64, bool) {
        (self.values[reg][lane], self.defined[reg] >> lane & 1 == 1)
    }

    pub(crate) fn set(&mut self, reg: usize, lane: usize, value: u64, defined: bool) {
        self.values[reg][lane] = value;
        self.defined[reg] = self.defined[reg] & !(1 << lane) | u32::from(defined) << lane;
    }

    /// An operand of one lane, and whether it is defined.
    pub(crate) fn operand(&self, operand: &Operand, lane: usize) -> (u64, bool) {
        match operand {
            Operand::Reg(reg) => self.get(*reg, lane),
            Operand::Imm(bits) => (*bits, true),
            other => unreachable!("{other:?} is no value"),
        }
    }

    /// An operand that decides something, so that it must be defined.
    pub(crate) fn decided(&self, operand: &Operand, lane: usize, what: &str) -> Result<u64, Trouble> {
        match self.operand(operand, lane) {
            (value, true) => Ok(value),
            (_, false) => Err(Trouble::new(FaultKind::Undefined, self.thread(lane), format!("{what} is undefined"))),
        }
    }

    /// An operand that all of `mask` must agree on.
    pub(crate) fn uniform(&self, operand: &Operand, mask: u32, what: &str) -> Result<u64, Trouble> {
        let mut values = lanes(mask).map(|lane| self.decided(operand, lane, what));
        let first = values.next().expect("some lane is active")?;
        for value in values {
            if value? != first {
                return Err(Trouble::of_all(FaultKind::Divergence, format!("lanes disagree on {what}")));
            }
        }
        Ok(first)
    }

    /// The address that a lane accesses.
    pub(crate) fn address(&self, address: Address, lane: usize) -> Result<u64, Trouble> {
        let base = match address.reg {
            Some(reg) => self.decided(&Operand::Reg(reg), lane, "the address")?,
            None => 0,
        };
        Ok(base.wrapping_add_signed(address.offset))
    }

    /// The lanes of `mask` in which the guard of a step holds.
    pub(crate) fn guarded(&self, step: &Step<'_>, mask: u32) -> Result<u32, Trouble> {
        let Some((reg, negated)) = step.guard else { return Ok(mask) };
        let mut held = 0;
        for lane in lanes(mask) {
            let value = self.decided(&Operand::Reg(reg), lane, "the guard")?;
            held |= u32::from((value == 1) != negated) << lane;
        }
        Ok(held)
    }

    /// Writes a value of `bits` bits to a register that may be wider: extended by the sign if the type has one.
    pub(crate) fn write(
        &mut self,
        program: &Program<'_>,
        step: &Step<'_>,
        slot: usize,
        to: (usize, usize),
        value: (u64, bool),
    ) {
        let (reg, lane) = to;
        let ty = step.type_of(slot);
        let wide = super::number::bits_of(super::number::integer(value.0, ty));
        self.set(reg, lane, super::number::low(wide, program.widths[reg]), value.1);
    }
}

/// Coordinates of a thread in its CTA, or of a CTA in its grid.
pub(crate) fn coordinates(number: u32, extents: [u32; 3]) -> [u32; 3] {
    [number % extents[0], number / extents[0] % extents[1], number / extents[0] / extents[1]]
}

/// What a special register holds.
pub(crate) fn special(which: Special, thread: u32, threads: [u32; 3], cta: [u32; 3], launch: &Launch) -> u64 {
    let (lane, grid) = (thread % 32, launch.grid);
    let tid = coordinates(thread, threads);
    u64::from(match which {
        Special::TidX => tid[0],
        Special::TidY => tid[1],
        Special::TidZ => tid[2],
        Special::NtidX => threads[0],
        Special::NtidY => threads[1],
        Special::NtidZ => threads[2],
        Special::CtaidX => cta[0],
        Special::CtaidY => cta[1],
        Special::CtaidZ => cta[2],
        Special::NctaidX => grid[0],
        Special::NctaidY => grid[1],
        Special::NctaidZ => grid[2],
        Special::LaneId => lane,
        Special::LaneMaskLt => (1 << lane) - 1,
        Special::DynamicShared => launch.dynamic_shared,
        // Time does not pass here; nothing may depend on it.
        Special::Clock => 0,
    })
}
