//! Shared memory: room for tiles, when barriers are due, homes.
//!
//! A range of shared memory is free, a home (a tile's copy that threads read anywhere in), or scratch of one exchange. A
//! barrier stands between accesses of one range by different threads, unless both read. [`Fence`] knows the accesses since the
//! last barrier; where control joins it expects any.

use super::{Lower, Refusal, code};
use crate::inst::{Op, Reg, Word, at};
use crate::layout::{Layout, bits_of};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{AxisId, Value};

/// Bytes of shared memory: (first, past the last).
pub(super) type Range = (u32, u32);

/// What is taken of shared memory.
#[derive(Debug, Default)]
pub(super) struct Room {
    taken: Vec<Range>,
    most: u32,
}

impl Room {
    /// Takes the first gap of `bytes`.
    pub(super) fn take(&mut self, bytes: u32) -> Range {
        let bytes = bytes.next_multiple_of(16);
        let mut first = 0;
        for (from, to) in &self.taken {
            if first + bytes <= *from {
                break;
            }
            first = *to;
        }
        let range = (first, first + bytes);
        self.taken.push(range);
        self.taken.sort_unstable();
        self.most = self.most.max(range.1);
        range
    }
    /// Gives a range back.
    pub(super) fn free(&mut self, range: Range) {
        self.taken.retain(|r| *r != range);
    }
    /// Bytes that are needed.
    pub(super) fn most(&self) -> u32 {
        self.most
    }
}

/// Accesses since the last barrier.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence {
    reads: Vec<Range>,
    writes: Vec<Range>,
}

/// All of shared memory.
const ALL: Range = (0, u32::MAX);

impl Fence {
    /// Anything may have been accessed.
    pub(super) fn unknown() -> Self {
        Self { reads: vec![ALL], writes: vec![ALL] }
    }
}

fn overlap(ranges: &[Range], range: Range) -> bool {
    ranges.iter().any(|r| r.0 < range.1 && range.0 < r.1)
}

/// A tile in shared memory.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) range: Range,
    pub(super) dtype: DType,
    /// Distance in elements along each axis.
    pub(super) strides: Vec<(AxisId, u32)>,
}

impl Home {
    /// The distance along an axis, 0 if the tile lacks it.
    pub(super) fn stride(&self, axis: AxisId) -> u32 {
        self.strides.iter().find(|(a, _)| *a == axis).map_or(0, |(_, stride)| *stride)
    }
    /// The part of an element's place that a register's number decides.
    pub(super) fn static_place(&self, layout: &Layout, register: u32) -> u32 {
        self.strides.iter().map(|(axis, stride)| layout.register_part(*axis, register) * stride).sum()
    }
}

/// Bytes of an element in shared memory; truth values take a word.
pub(super) fn bytes_of(dtype: DType) -> u32 {
    if dtype.bits() == 64 { 8 } else { 4 }
}

/// The word that moves an element between a register and shared memory.
pub(super) fn moved(dtype: DType) -> Word {
    match dtype {
        DType::Bool => Word::B32,
        _ if dtype.is_float() => code::word(dtype),
        _ => code::bits(dtype),
    }
}

impl Lower<'_> {
    /// Threads are about to write `range`.
    pub(super) fn before_write(&mut self, range: Range) {
        if overlap(&self.fence.reads, range) || overlap(&self.fence.writes, range) {
            self.barrier();
        }
        self.fence.writes.push(range);
    }
    /// Threads are about to read `range`.
    pub(super) fn before_read(&mut self, range: Range) {
        if overlap(&self.fence.writes, range) {
            self.barrier();
        }
        self.fence.reads.push(range);
    }
    fn barrier(&mut self) {
        self.c.b.sync();
        self.fence = Fence::default();
    }

    /// Places for a tile over `axes`, the first one innermost; rows are one longer than they need be, so that columns do not
    /// fall into one bank.
    pub(super) fn home_for(&mut self, dtype: DType, axes: &[AxisId]) -> Home {
        let mut next = 1;
        let mut strides = Vec::new();
        for (at, axis) in axes.iter().enumerate() {
            strides.push((*axis, next));
            next *= 1 << bits_of(self.kernel.axes[*axis].extent);
            next += u32::from(at == 0 && axes.len() > 1);
        }
        let range = self.room.take(next * bytes_of(dtype));
        Home { range, dtype, strides }
    }
    /// The address that a thread's part of a tile in shared memory starts from.
    pub(super) fn home_address(&mut self, home: &Home, layout: &Layout) -> Reg {
        let bytes = bytes_of(home.dtype);
        let strides: Vec<(AxisId, u32)> = home.strides.iter().map(|(a, s)| (*a, s * bytes)).collect();
        let base = self.memory.1;
        match self.thread_place(layout, &strides) {
            Some(place) => self.c.add(DType::I32, base, place),
            None => base,
        }
    }
    /// Writes a tile to its home, each element by its owner.
    pub(super) fn write_home(&mut self, home: &Home, layout: &Layout, regs: &[Reg]) {
        self.before_write(home.range);
        let address = self.home_address(home, layout);
        let owner = self.owner(layout);
        for (register, reg) in (0_u32..).zip(regs) {
            let offset = self.offset(home, home.static_place(layout, register));
            let value = if home.dtype == DType::Bool { self.c.of_truth(*reg) } else { *reg };
            let words = [Word::Shared, moved(home.dtype)];
            self.c.guarded(owner, |b| b.run(Op::St, &words, &[at(address, offset), value.into()]));
        }
    }
    /// Reads a tile in a layout.
    pub(super) fn read_home(&mut self, home: &Home, layout: &Layout) -> Vec<Reg> {
        self.before_read(home.range);
        let address = self.home_address(home, layout);
        let places: Vec<u32> = (0..layout.registers()).map(|r| home.static_place(layout, r)).collect();
        places.into_iter().map(|place| self.read_place(home, address, place)).collect()
    }
    /// Reads one element: `place` elements after the address.
    pub(super) fn read_place(&mut self, home: &Home, address: Reg, place: u32) -> Reg {
        let offset = self.offset(home, place);
        let value = self.c.b.op(Op::Ld, &[Word::Shared, moved(home.dtype)], &[at(address, offset)]);
        if home.dtype == DType::Bool { self.c.truth_of(value) } else { value }
    }
    /// Bytes from the start of shared memory.
    fn offset(&mut self, home: &Home, place: u32) -> i32 {
        let bytes = u64::from(home.range.0) + u64::from(place) * u64::from(bytes_of(home.dtype));
        i32::try_from(bytes).unwrap_or_else(|_| {
            self.refuse(Refusal::Unsupported(format!("{bytes} bytes of shared memory")));
            0
        })
    }
    /// Gives a value that was just defined its home, if it needs one.
    pub(super) fn give_home(&mut self, value: Value, layout: &Layout, regs: &[Reg]) {
        let Some(inner) = self.assigned.home(value) else { return };
        let mut axes: Vec<AxisId> = inner.into_iter().collect();
        let own = self.kernel.values[value].axes.clone();
        let first = layout.lane_axis().filter(|_| inner.is_none());
        let rest: Vec<AxisId> = first.into_iter().chain(own).collect();
        for axis in rest {
            if !axes.contains(&axis) {
                axes.push(axis);
            }
        }
        let home = match self.homes.get(&value) {
            Some(home) => home.clone(),
            None => self.home_for(self.dtype(value), &axes),
        };
        self.write_home(&home, layout, regs);
        self.homes.insert(value, home);
        self.homes_inside.push(value);
    }
    /// The home of a value that has one.
    pub(super) fn home(&mut self, value: Value) -> Option<Home> {
        let home = self.homes.get(&value).cloned();
        if home.is_none() {
            self.bug(format!("{value} has no home"));
        }
        home
    }
}
