//! Rings: tiles of a loop's next turns on their way from global to shared memory while this turn computes.
//!
//! In: a loop whose body loads tiles of 16-bit elements that products read from shared memory, at positions that follow the
//! loop's. Out: a ring of slots in shared memory, filled some turns ahead by `cp.async`, 16 bytes at a time; a turn waits for
//! its own slot, then starts the copies of a later one into the slot that the turn before has left. One barrier a turn orders
//! both. What lies outside of a memory is filled with zeros. Whether addresses and strides are multiples of 16 bytes is known
//! when the kernel runs: if they are not, elements are copied one by one. Phases that follow each other share a ring.
//!
//! The scheme is the multistage pipeline of CUTLASS (`MmaMultistage`), with the number of stages from the room there is.

use super::Lower;
use super::copies::{CHUNK, Copy, Staged};
use super::shared::{Home, Range, defined_in};
use crate::inst::{Guard, Op, Reg, Word};
use crate::layout::matrix::ROW;
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{Phase, Region, Value};

/// Most slots of a ring.
const STAGES: u32 = 4;

/// A ring of a loop.
pub(super) struct Ring {
    copies: Vec<Copy>,
    range: Range,
    pub(super) stages: u32,
    slot_bytes: u32,
    /// Bytes to the slot of this turn, and to the one that is filled next.
    slot: Reg,
    fill: Reg,
    /// The position that is filled next, and where filling ends.
    pub(super) ahead: Reg,
    pub(super) end: Reg,
    pub(super) step: i64,
}

impl Lower<'_> {
    /// A ring for the loads that every turn of a loop does in `work`, its body or what the body does unless it is skipped; `None`
    /// if there is nothing for one.
    pub(super) fn open_ring(
        &mut self,
        step: i64,
        phases: &[Phase],
        params: &[Value],
        (body, work): (&Region, &Region),
    ) -> Option<Ring> {
        if phases.iter().any(|p| !self.is_natural(p.lo)) || step % i64::from(ROW) != 0 {
            return None;
        }
        let whole = phases.iter().all(|p| self.assigned.is_multiple(p.lo, ROW.trailing_zeros()));
        let inside = defined_in(body);
        let loads = work.insts.iter().filter_map(|inst| self.staged(inst, Some(params[0]), &inside));
        // A position that moves along rows must move by whole chunks.
        let along_rows = |load: &Staged| load.moving == Some(load.dims.len() - 1);
        let loads: Vec<Staged> = loads.filter(|load| whole || !along_rows(load)).collect();
        if loads.is_empty() {
            return None;
        }
        let mut slot_bytes = 0;
        let mut homes = Vec::new();
        for load in &loads {
            let axes = self.home_axes(load.value, Some(load.inner), None);
            let narrow = self.assigned.narrow(load.value);
            let (strides, elements) = self.places(narrow, &axes);
            let bytes = (elements * 2).next_multiple_of(CHUNK);
            homes.push(Home {
                range: (slot_bytes, slot_bytes + bytes),
                dtype: DType::F32,
                narrow,
                strides,
                moving: None,
            });
            slot_bytes += bytes;
        }
        // Two CTAs should fit on a multiprocessor.
        let room = (self.limits.shared_bytes / 2).saturating_sub(self.room.most());
        let stages = (room / slot_bytes).clamp(2, STAGES);
        let range = self.room.take(stages * slot_bytes);
        let [slot, fill] = [0, 1].map(|_| self.c.b.mov(Word::U32, 0_u32));
        let [ahead, end] = [0, 1].map(|_| self.c.b.mov(Word::B64, 0_i64));
        let copies = loads.into_iter().zip(homes).map(|(staged, home)| {
            let range = (range.0 + home.range.0, range.0 + home.range.1);
            self.copy(staged, Home { range, moving: Some(slot), ..home }, step)
        });
        let copies = copies.collect();
        Some(Ring { copies, range, stages, slot_bytes, slot, fill, ahead, end, step })
    }

    /// Fills all slots but one, from `lo` on; filling ends at the last of `ends`. `seek` moves what is filled next to where a
    /// turn is taken.
    pub(super) fn start_ring(&mut self, ring: &Ring, lo: Value, ends: &[Value], seek: &mut dyn FnMut(&mut Self)) {
        let lo = self.scalar(lo);
        self.c.set(DType::I64, ring.ahead, lo);
        self.c.set(DType::I64, ring.end, lo);
        for end in ends {
            let end = self.scalar(*end);
            self.c.b.assign(Op::Max, &[Word::S64], ring.end, &[ring.end.into(), end.into()]);
        }
        for register in [ring.slot, ring.fill] {
            self.c.set(DType::U32, register, 0_u32);
        }
        self.aim(ring, lo);
        // What was read of these places must have been read by all.
        self.before_write(ring.range);
        let count = self.c.b.mov(Word::U32, ring.stages - 1);
        let head = self.c.b.block("fill");
        self.c.b.place(head);
        seek(self);
        self.fill(ring);
        self.c.b.assign(Op::Sub, &[Word::U32], count, &[count.into(), 1_u32.into()]);
        let more = self.c.compare(Word::Ne, DType::U32, count, 0_u32);
        self.c.b.branch(Guard::when(more), head);
        let filled = self.c.b.block("filled");
        self.c.b.place(filled);
        // They are in the first group.
        self.under_way = false;
    }
    /// Moves the sources of copies to a position.
    pub(super) fn aim(&mut self, ring: &Ring, position: Reg) {
        for copy in &ring.copies {
            let moved = self.moved_by(copy, position);
            self.c.b.assign(Op::Add, &[Word::S64], copy.source, &[copy.first.into(), moved.into()]);
        }
    }
    /// How far a position moves a copy's source.
    fn moved_by(&mut self, copy: &Copy, position: Reg) -> Reg {
        let stride = self.stride(copy.staged.mem, copy.staged.moving.unwrap_or(0));
        self.c.mul(DType::I64, stride, position)
    }

    /// Waits for the slot of this turn, and starts filling the one that the last turn has left.
    pub(super) fn turn_ring(&mut self, ring: &Ring, seek: &mut dyn FnMut(&mut Self)) {
        self.c.b.run(Op::CpAsyncGroup, &[Word::Async, Word::WaitGroup], &[(ring.stages - 2).into()]);
        self.barrier();
        for copy in &ring.copies {
            self.homes.insert(copy.staged.value, copy.home.clone());
            self.homes_inside.push(copy.staged.value);
        }
        seek(self);
        self.fill(ring);
    }
    /// Goes on to the next slot.
    pub(super) fn next_slot(&mut self, ring: &Ring) {
        self.advance_slot(ring, ring.slot);
    }
    fn advance_slot(&mut self, ring: &Ring, slot: Reg) {
        let next = self.c.add(DType::I32, slot, ring.slot_bytes);
        let over = self.c.compare(Word::Eq, DType::U32, next, ring.stages * ring.slot_bytes);
        self.c.b.assign(Op::Selp, &[Word::B32], slot, &[0_u32.into(), next.into(), over.into()]);
    }
    /// Nothing is under way any more, and the room is free, once the loop is done.
    pub(super) fn stop_ring(&mut self, ring: &Ring, ended: bool) {
        self.c.b.run(Op::CpAsyncGroup, &[Word::Async, Word::WaitAll], &[]);
        if ended {
            self.room.free(ring.range);
        }
    }

    /// Starts the copies of the next slot, if there is one more turn, and closes the group.
    fn fill(&mut self, ring: &Ring) {
        let [turn, filled] = ["copies", "copied"].map(|name| self.c.b.block(name));
        let over = self.c.compare(Word::Ge, DType::I64, ring.ahead, ring.end);
        self.c.b.branch(Guard::when(over), filled);
        self.c.b.place(turn);
        self.seen.push(rustc_hash::FxHashMap::default());
        for copy in &ring.copies {
            self.start_copies(copy, (Some(ring.ahead), Some(ring.fill)));
        }
        self.seen.pop();
        self.c.b.place(filled);
        self.c.b.run(Op::CpAsyncGroup, &[Word::Async, Word::CommitGroup], &[]);
        self.c.b.assign(Op::Add, &[Word::S64], ring.ahead, &[ring.ahead.into(), ring.step.into()]);
        for copy in &ring.copies {
            self.c.b.assign(Op::Add, &[Word::S64], copy.source, &[copy.source.into(), copy.step.into()]);
        }
        self.advance_slot(ring, ring.fill);
    }

    /// Whether a ring brings a value.
    pub(super) fn is_staged(&self, value: Value) -> bool {
        self.homes.get(&value).is_some_and(|home| home.moving.is_some())
    }
}
