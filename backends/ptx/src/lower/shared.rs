//! Shared memory: room for tiles, when barriers are due, homes.
//!
//! A range of shared memory is free, a home (a tile's copy that threads read anywhere in), or scratch of one exchange. A
//! barrier stands between accesses of one range by different threads, unless both read. [`Fence`] knows the accesses since the
//! last barrier; where control joins it expects any.

use super::{Lower, Refusal, code};
use crate::inst::{Class, Op, Reg, Word, at};
use crate::layout::{Layout, bits_of};
use rustc_hash::FxHashSet;
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{self, AxisId, Inst, Region, Value};

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// What elements are kept as, if all are values of a 16-bit type.
    pub(super) narrow: Option<DType>,
    /// Distance in elements along each axis.
    pub(super) strides: Vec<(AxisId, u32)>,
    /// Bytes by which the tile lies further on, where it moves.
    pub(super) moving: Option<Reg>,
}

impl Home {
    /// Bytes of an element.
    pub(super) fn bytes(&self) -> u32 {
        if self.narrow.is_some() { 2 } else { bytes_of(self.dtype) }
    }
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
    /// All threads meet: what was written is there.
    pub(super) fn barrier(&mut self) {
        self.copies_done();
        self.c.b.sync();
        self.fence = Fence::default();
    }

    /// Places for a tile over `axes`, the first one innermost. Rows are longer than they need be: by one element, so that
    /// columns do not fall into one bank; of 16-bit elements by 16 bytes, so that the rows of a matrix do not.
    pub(super) fn home_for(&mut self, dtype: DType, narrow: Option<DType>, axes: &[AxisId]) -> Home {
        let (strides, elements) = self.places(narrow, axes);
        let mut home = Home { range: (0, 0), dtype, narrow, strides, moving: None };
        home.range = self.room.take(elements * home.bytes());
        home
    }
    /// The strides of a tile in shared memory, and how many elements it takes.
    pub(super) fn places(&self, narrow: Option<DType>, axes: &[AxisId]) -> (Vec<(AxisId, u32)>, u32) {
        let mut next: u32 = 1;
        let mut strides = Vec::new();
        for (at, axis) in axes.iter().enumerate() {
            strides.push((*axis, next));
            next *= 1 << bits_of(self.kernel.axes[*axis].extent);
            if at == 0 && axes.len() > 1 {
                next = if narrow.is_some() { next.next_multiple_of(8) + 8 } else { next + 1 };
            }
        }
        (strides, next)
    }
    /// The address that a thread's part of a tile in shared memory starts from.
    pub(super) fn home_address(&mut self, home: &Home, layout: &Layout) -> Reg {
        let strides: Vec<(AxisId, u32)> = home.strides.iter().map(|(a, s)| (*a, s * home.bytes())).collect();
        let place = self.thread_place(layout, &strides);
        self.address_in(home, place)
    }
    /// The address of a place in bytes, if it is not 0, in a tile.
    pub(super) fn address_in(&mut self, home: &Home, place: Option<Reg>) -> Reg {
        let parts = [home.moving, place];
        parts.into_iter().flatten().fold(self.memory.1, |base, part| self.c.add(DType::I32, base, part))
    }
    /// Writes a tile to its home, each element by its owner.
    pub(super) fn write_home(&mut self, home: &Home, layout: &Layout, regs: &[Reg]) {
        self.before_write(home.range);
        let address = self.home_address(home, layout);
        let owner = self.owner(layout);
        if let Some(format) = home.narrow {
            self.write_narrow(home, format, (address, owner), layout, regs);
            return;
        }
        for (register, reg) in (0_u32..).zip(regs) {
            let offset = self.offset(home, home.static_place(layout, register));
            let value = if home.dtype == DType::Bool { self.c.of_truth(*reg) } else { *reg };
            let words = [Word::Shared, moved(home.dtype)];
            self.c.guarded(owner, |b| b.run(Op::St, &words, &[at(address, offset), value.into()]));
        }
    }
    /// The same in a 16-bit type, two neighbours at once where a thread has them.
    fn write_narrow(
        &mut self,
        home: &Home,
        format: DType,
        (address, owner): (Reg, Option<Reg>),
        layout: &Layout,
        regs: &[Reg],
    ) {
        let paired = layout.register_bits().first().is_some_and(|b| b.bit == 0 && home.stride(b.axis) == 1);
        for (register, pair) in (0_u32..).step_by(1 + usize::from(paired)).zip(regs.chunks(1 + usize::from(paired))) {
            let offset = self.offset(home, home.static_place(layout, register));
            let (value, word) = match pair {
                [low, high] => (self.packed(format, *low, *high), Word::B32),
                _ => (self.narrow(pair[0], format), Word::U16),
            };
            self.c.guarded(owner, |b| b.run(Op::St, &[Word::Shared, word], &[at(address, offset), value.into()]));
        }
    }
    /// Two values rounded to a 16-bit type, the first in the low half.
    pub(super) fn packed(&mut self, format: DType, low: Reg, high: Reg) -> Reg {
        let word = if format == DType::F16 { Word::F16x2 } else { Word::Bf16x2 };
        self.c.two(Op::Cvt, &[Word::Rn, word, Word::F32], high, low)
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
        if let Some(format) = home.narrow {
            let raw = self.c.b.reg(Class::B32);
            self.c.b.assign(Op::Ld, &[Word::Shared, Word::U16], raw, &[at(address, offset)]);
            return self.widened(raw, format);
        }
        let value = self.c.b.op(Op::Ld, &[Word::Shared, moved(home.dtype)], &[at(address, offset)]);
        if home.dtype == DType::Bool { self.c.truth_of(value) } else { value }
    }
    /// Bytes from the start of shared memory.
    pub(super) fn offset(&mut self, home: &Home, place: u32) -> i32 {
        let bytes = u64::from(home.range.0) + u64::from(place) * u64::from(home.bytes());
        i32::try_from(bytes).unwrap_or_else(|_| {
            self.refuse(Refusal::Unsupported(format!("{bytes} bytes of shared memory")));
            0
        })
    }
    /// Gives a value that is held its home.
    fn give_home(&mut self, value: Value) -> Option<Home> {
        let inner = self.assigned.home(value)?;
        let (layout, regs) = self.held.get(&value).and_then(|held| held.first()).cloned()?;
        let axes = self.home_axes(value, inner, layout.lane_axis());
        let home = self.home_for(self.dtype(value), self.assigned.narrow(value), &axes);
        self.write_home(&home, &layout, &regs);
        self.homes.insert(value, home.clone());
        self.homes_inside.push(value);
        Some(home)
    }
    /// The axes of a value's home, innermost first.
    pub(super) fn home_axes(&self, value: Value, inner: Option<AxisId>, lanes: Option<AxisId>) -> Vec<AxisId> {
        let mut axes: Vec<AxisId> = inner.or(lanes).into_iter().collect();
        let rest = self.kernel.values[value].axes.iter().filter(|a| Some(**a) != axes.first().copied());
        let rest: Vec<AxisId> = rest.copied().collect();
        axes.extend(rest);
        axes
    }
    /// The home of a value, which it gets when it is first needed there.
    pub(super) fn home(&mut self, value: Value) -> Option<Home> {
        let home = self.homes.get(&value).cloned().or_else(|| self.give_home(value));
        if home.is_none() {
            self.bug(format!("{value} has no home"));
        }
        home
    }
    /// Gives their homes to values from outside that a region reads there, so that a loop's turns do not.
    pub(super) fn homes_before(&mut self, region: &Region) {
        let inside = defined_in(region);
        let mut needed = Vec::new();
        each_inst(region, &mut |inst| needed.extend(self.assigned.reads_homes(inst)));
        for value in needed {
            // What was held of a value from inside is another turn's.
            if !inside.contains(&value) && self.held.contains_key(&value) && !self.homes.contains_key(&value) {
                self.give_home(value);
            }
        }
    }
}

/// The values that a region defines, its loops' parameters among them.
pub(super) fn defined_in(region: &Region) -> FxHashSet<Value> {
    let mut inside = FxHashSet::default();
    each_inst(region, &mut |inst| {
        inside.extend(inst.results.iter().copied());
        if let tile::Op::For { params, .. } = &inst.op {
            inside.extend(params.iter().copied());
        }
    });
    inside
}

/// Visits a region's instructions and those in their regions, in order.
fn each_inst(region: &Region, visit: &mut impl FnMut(&Inst)) {
    for inst in &region.insts {
        visit(inst);
        inst.regions().into_iter().for_each(|inner| each_inst(inner, visit));
    }
}
