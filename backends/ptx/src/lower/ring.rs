//! Rings: tiles of a loop's next turns on their way from global to shared memory while this turn computes.
//!
//! In: a loop whose body loads tiles of 16-bit elements that products read from shared memory, at positions that follow the
//! loop's. Out: a ring of slots in shared memory, filled some turns ahead by `cp.async`, 16 bytes at a time; a turn waits for
//! its own slot, then starts the copies of a later one into the slot that the turn before has left. One barrier a turn orders
//! both. What lies outside of a memory is filled with zeros. Whether addresses and strides are multiples of 16 bytes is known
//! when the kernel runs: if they are not, elements are copied one by one. Phases that follow each other share a ring.
//!
//! The scheme is the multistage pipeline of CUTLASS (`MmaMultistage`), with the number of stages from the room there is.

use super::code::word;
use super::shared::{Home, Range, defined_in};
use super::{Lower, code};
use crate::inst::{Guard, Op, Reg, Word, at};
use crate::layout::matrix::ROW;
use crate::layout::{Bit, Layout, bits_of};
use rustc_hash::FxHashSet;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{self, AxisId, Inst, MemId, Pad, Phase, Region, Subscript, Value};

/// Bytes of a copy.
const CHUNK: u32 = 16;
/// Most slots of a ring.
const STAGES: u32 = 4;

/// Where a coordinate along a dimension starts from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    /// Outside of the loop.
    Fixed(Value),
    /// The position that the ring is filled for.
    Moving,
}

/// A load that a ring does, as the kernel says it.
struct Staged {
    value: Value,
    mem: MemId,
    /// For each dimension of the memory: where it starts, the axes along it with their coefficients.
    dims: Vec<(Base, Vec<(AxisId, i64)>)>,
    inner: AxisId,
}

/// What is left of a dimension for this thread's elements.
#[derive(Clone, Copy)]
struct Left {
    dim: usize,
    reg: Reg,
}

/// A load that a ring does: addresses and ends, as registers.
struct Copy {
    staged: Staged,
    home: Home,
    /// Which 16 bytes each thread copies: bits of the innermost axis start at a chunk's.
    layout: Layout,
    /// Address of the thread's first chunk at position 0, and at the position that is filled next.
    first: Reg,
    source: Reg,
    /// How far it moves in a turn.
    step: Reg,
    /// Bytes from one chunk to the next along each register bit.
    apart: Vec<Reg>,
    /// Where the thread's first chunk goes, without the slot.
    target: Reg,
    /// Whether the thread has chunks that no other has; always, without one.
    owner: Option<Reg>,
    /// Whether all that neither registers nor turns change lies inside.
    fixed: Option<Reg>,
    /// Dimensions along which registers differ and turns do not.
    lefts: Vec<Left>,
    /// Whether chunks lie at multiples of 16 bytes.
    aligned: Reg,
}

/// A ring of a loop.
pub(super) struct Ring {
    copies: Vec<Copy>,
    range: Range,
    stages: u32,
    slot_bytes: u32,
    /// Bytes to the slot of this turn, and to the one that is filled next.
    slot: Reg,
    fill: Reg,
    /// The position that is filled next, and where filling ends.
    ahead: Reg,
    end: Reg,
    step: i64,
}

impl Lower<'_> {
    /// A ring for the loads of a loop's body; `None` if there is nothing for one.
    pub(super) fn open_ring(&mut self, step: i64, phases: &[Phase], params: &[Value], body: &Region) -> Option<Ring> {
        if phases.iter().any(|p| !self.is_natural(p.lo)) || step % i64::from(ROW) != 0 {
            return None;
        }
        let whole = phases.iter().all(|p| self.assigned.is_multiple(p.lo, ROW.trailing_zeros()));
        let inside = defined_in(body);
        let loads = body.insts.iter().filter_map(|inst| self.staged(inst, params[0], &inside));
        // A position that moves along rows must move by whole chunks.
        let along_rows = |load: &Staged| load.dims.last().is_some_and(|(base, _)| *base == Base::Moving);
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

    /// A load in a loop's body as a ring does it, if it can.
    fn staged(&self, inst: &Inst, position: Value, inside: &FxHashSet<Value>) -> Option<Staged> {
        let tile::Op::Load { mem, subs, pad, masked: false } = &inst.op else { return None };
        let value = *inst.results.first()?;
        let inner = self.assigned.home(value).flatten()?;
        self.assigned.narrow(value)?;
        let zero = match pad {
            Pad::Undef => true,
            Pad::Value(value) => *value == Const::float(0.0),
        };
        if !zero || !self.kernel.axes[inner].extent.is_multiple_of(ROW) {
            return None;
        }
        let mut dims = Vec::new();
        for (sub, arg) in subs.iter().zip(&inst.args) {
            let Subscript::Affine(terms) = sub else { return None };
            let base = if *arg == position { Base::Moving } else { Base::Fixed(*arg) };
            let outside = base == Base::Moving || !inside.contains(arg) && self.is_natural(*arg);
            if !outside || terms.iter().any(|(_, coefficient)| *coefficient < 1) {
                return None;
            }
            dims.push((base, terms.clone()));
        }
        let moving = dims.iter().filter(|(base, _)| *base == Base::Moving).count();
        let innermost = dims.last().is_some_and(|(_, terms)| *terms == [(inner, 1)]);
        let of_inner = dims.iter().flat_map(|(_, terms)| terms).filter(|(axis, _)| *axis == inner).count();
        (moving == 1 && innermost && of_inner == 1).then_some(Staged { value, mem: *mem, dims, inner })
    }

    /// The chunks of a tile over all threads: neighbours along the innermost axis first.
    pub(super) fn chunks(&self, home: &Home, inner: AxisId) -> Layout {
        let mut bits = Vec::new();
        for (axis, _) in &home.strides {
            let first = if *axis == inner { 3 } else { 0 };
            bits.extend((first..bits_of(self.kernel.axes[*axis].extent)).map(|bit| Bit { axis: *axis, bit }));
        }
        let regs = bits.split_off(bits.len().min(self.thread_bits));
        let mut threads: Vec<Option<Bit>> = bits.into_iter().map(Some).collect();
        threads.resize(self.thread_bits, None);
        Layout::new(regs, threads).unwrap_or_else(|| self.assigned.scalar())
    }

    /// What a turn needs to start the copies of a load.
    fn copy(&mut self, staged: Staged, home: Home, step: i64) -> Copy {
        let layout = self.chunks(&home, staged.inner);
        let mut uniform = self.params[self.words.pointer(staged.mem) as usize];
        let mut mixed: Option<Reg> = None;
        let mut own: Option<Reg> = None;
        let mut per_turn = self.c.constant(DType::I64, 0_i64.into());
        let (mut fixed, mut lefts) = (None, Vec::new());
        for (dim, (base, terms)) in staged.dims.iter().enumerate() {
            let stride = self.stride(staged.mem, dim);
            if let Base::Fixed(value) = base {
                let start = self.scalar(*value);
                uniform = self.c.fma(DType::I64, start, stride, uniform);
            } else {
                per_turn = self.c.mul(DType::I64, stride, step);
            }
            if dim + 1 < staged.dims.len() && (*base == Base::Moving || !terms.is_empty()) {
                mixed = Some(mixed.map_or(stride, |m| self.c.logic(Op::Or, DType::I64, m, stride)));
            }
            let part = self.own_part(&layout, terms);
            if let Some(part) = part {
                let bytes = self.c.mul(DType::I64, part, stride);
                own = Some(own.map_or(bytes, |o| self.c.add(DType::I64, o, bytes)));
            }
            if *base == Base::Moving {
                continue;
            }
            let left = self.left(&staged, dim, &layout, None);
            match self.differs(&layout, terms) || self.is_ragged(&staged, dim) {
                true => lefts.push(Left { dim, reg: left }),
                false => {
                    let inside = self.c.compare(Word::Gt, DType::I32, left, 0_i64);
                    fixed = self.both(fixed, Some(inside));
                }
            }
        }
        // A thread without a chunk of its own copies none: not even zeros.
        let owner = self.owner(&layout);
        let aligned = self.aligned(&staged, uniform, mixed);
        let apart = layout.register_bits().to_vec();
        let apart = apart.iter().map(|bit| self.apart(&staged, *bit)).collect();
        let strides: Vec<(AxisId, u32)> = home.strides.iter().map(|(a, s)| (*a, s * 2)).collect();
        let place = self.thread_place(&layout, &strides);
        let target = self.address_in(&Home { moving: None, ..home.clone() }, place);
        let first = own.map_or(uniform, |own| self.c.add(DType::I64, uniform, own));
        let source = self.c.b.mov(Word::B64, first);
        Copy { staged, home, layout, first, source, step: per_turn, apart, target, owner, fixed, lefts, aligned }
    }

    fn stride(&self, mem: MemId, dim: usize) -> Reg {
        self.params[self.words.stride(mem, u32::try_from(dim).unwrap_or(u32::MAX)) as usize]
    }
    /// What the thread's number adds to a coordinate; 64 bits.
    fn own_part(&mut self, layout: &Layout, terms: &[(AxisId, i64)]) -> Option<Reg> {
        let mut sum = None;
        for (axis, coefficient) in terms {
            let Some(part) = self.wide_part(layout, *axis) else { continue };
            let part = if *coefficient == 1 { part } else { self.c.mul(DType::I64, part, *coefficient) };
            sum = Some(sum.map_or(part, |sum| self.c.add(DType::I64, sum, part)));
        }
        sum
    }
    /// Whether registers have different coordinates.
    fn differs(&self, layout: &Layout, terms: &[(AxisId, i64)]) -> bool {
        layout.register_bits().iter().any(|bit| terms.iter().any(|(axis, _)| *axis == bit.axis))
    }
    /// Whether a chunk may lie across the end of a dimension.
    fn is_ragged(&self, staged: &Staged, dim: usize) -> bool {
        let whole = |value: i64| value % i64::from(ROW) == 0;
        if dim + 1 < staged.dims.len() {
            return false;
        }
        let extent = self.kernel.memory[staged.mem].shape[dim].as_int().is_some_and(whole);
        let base = match staged.dims[dim].0 {
            Base::Moving => true,
            Base::Fixed(value) => self.assigned.is_multiple(value, ROW.trailing_zeros()),
        };
        !(extent && base)
    }
    /// Elements from the thread's first to the end of a dimension, as far as 32 bits tell.
    fn left(&mut self, staged: &Staged, dim: usize, layout: &Layout, position: Option<Reg>) -> Reg {
        let (base, terms) = &staged.dims[dim];
        let start = match (base, position) {
            (Base::Fixed(value), _) => self.scalar(*value),
            (Base::Moving, Some(position)) => position,
            (Base::Moving, None) => self.c.constant(DType::I64, 0_i64.into()),
        };
        let extent = self.params[self.words.extent(staged.mem, u32::try_from(dim).unwrap_or(u32::MAX)) as usize];
        let mut left = self.c.sub(DType::I64, extent, start);
        if let Some(part) = self.own_part(layout, terms) {
            left = self.c.sub(DType::I64, left, part);
        }
        let most = self.c.two(Op::Min, &[word(DType::I64)], left, 1_i64 << 30);
        let least = self.c.two(Op::Max, &[word(DType::I64)], most, 0_i64);
        self.c.convert(&[Word::U32, Word::U64], least)
    }
    /// Whether all chunks lie at multiples of 16 bytes and are 8 neighbours.
    fn aligned(&mut self, staged: &Staged, uniform: Reg, mixed: Option<Reg>) -> Reg {
        let all = mixed.map_or(uniform, |mixed| self.c.logic(Op::Or, DType::I64, uniform, mixed));
        let low = self.c.logic(Op::And, DType::I64, all, i64::from(CHUNK - 1));
        let inner = self.stride(staged.mem, staged.dims.len() - 1);
        let apart = self.c.logic(Op::Xor, DType::I64, inner, 2_i64);
        let all = self.c.logic(Op::Or, DType::I64, low, apart);
        self.c.compare(Word::Eq, DType::I64, all, 0_i64)
    }
    /// Bytes between elements that differ in a bit.
    fn apart(&mut self, staged: &Staged, bit: Bit) -> Reg {
        let mut sum = None;
        for (dim, (_, terms)) in staged.dims.iter().enumerate() {
            let by: i64 = terms.iter().filter(|(a, _)| *a == bit.axis).map(|(_, c)| c << bit.bit).sum();
            if by != 0 {
                let stride = self.stride(staged.mem, dim);
                let bytes = self.c.mul(DType::I64, stride, by);
                sum = Some(sum.map_or(bytes, |sum| self.c.add(DType::I64, sum, bytes)));
            }
        }
        sum.unwrap_or_else(|| self.c.constant(DType::I64, 0_i64.into()))
    }

    /// Fills all slots but one, from `lo` on; filling ends at the last of `ends`.
    pub(super) fn start_ring(&mut self, ring: &Ring, lo: Value, ends: &[Value]) {
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
        for copy in &ring.copies {
            let moved = self.moved_by(copy, lo);
            self.c.b.assign(Op::Add, &[Word::S64], copy.source, &[copy.first.into(), moved.into()]);
        }
        // What was read of these places must have been read by all.
        self.before_write(ring.range);
        let count = self.c.b.mov(Word::U32, ring.stages - 1);
        let head = self.c.b.block("fill");
        self.c.b.place(head);
        self.fill(ring);
        self.c.b.assign(Op::Sub, &[Word::U32], count, &[count.into(), 1_u32.into()]);
        let more = self.c.compare(Word::Ne, DType::U32, count, 0_u32);
        self.c.b.branch(Guard::when(more), head);
        let filled = self.c.b.block("filled");
        self.c.b.place(filled);
    }
    /// How far a position moves a copy's source.
    fn moved_by(&mut self, copy: &Copy, position: Reg) -> Reg {
        let dim = copy.staged.dims.iter().position(|(base, _)| *base == Base::Moving).unwrap_or(0);
        let stride = self.stride(copy.staged.mem, dim);
        self.c.mul(DType::I64, stride, position)
    }

    /// Waits for the slot of this turn, and starts filling the one that the last turn has left.
    pub(super) fn turn_ring(&mut self, ring: &Ring) {
        self.c.b.run(Op::CpAsyncGroup, &[Word::Async, Word::WaitGroup], &[(ring.stages - 2).into()]);
        self.barrier();
        for copy in &ring.copies {
            self.homes.insert(copy.staged.value, copy.home.clone());
            self.homes_inside.push(copy.staged.value);
        }
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
            self.start_copies(ring, copy);
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

    fn start_copies(&mut self, ring: &Ring, copy: &Copy) {
        let Copy { staged, layout, .. } = copy;
        let moving = staged.dims.iter().position(|(base, _)| *base == Base::Moving).unwrap_or(0);
        let left = self.left(staged, moving, layout, Some(ring.ahead));
        let mut lefts = copy.lefts.clone();
        let mut all = copy.fixed;
        if self.differs(layout, &staged.dims[moving].1) || self.is_ragged(staged, moving) {
            lefts.push(Left { dim: moving, reg: left });
        } else {
            let inside = self.c.compare(Word::Gt, DType::I32, left, 0_i64);
            all = self.both(all, Some(inside));
        }
        let bytes: Vec<Option<Reg>> =
            (0..layout.registers()).map(|register| self.bytes_of_chunk(copy, &lefts, all, register)).collect();
        let target = self.c.add(DType::I32, copy.target, ring.fill);
        let [slow, done] = ["elements", "whole"].map(|name| self.c.b.block(name));
        self.c.b.branch(Guard::unless(copy.aligned), slow);
        self.each_chunk(copy, copy.source, |s, register, source, offset| {
            let Some(bytes) = bytes[register as usize] else { return };
            let words = [Word::Async, Word::Cg, Word::Shared, Word::Global];
            let uses = [at(target, offset), at(source, 0), CHUNK.into(), bytes.into()];
            s.c.guarded(copy.owner, |b| b.run(Op::CpAsync, &words, &uses));
        });
        self.c.b.bra(done);
        self.c.b.place(slow);
        self.copy_elements(copy, target, &bytes);
        self.c.b.place(done);
    }

    /// How many bytes of a chunk lie inside; `None` if none ever does.
    fn bytes_of_chunk(&mut self, copy: &Copy, lefts: &[Left], all: Option<Reg>, register: u32) -> Option<Reg> {
        let staged = &copy.staged;
        let axes: Vec<AxisId> = copy.home.strides.iter().map(|(axis, _)| *axis).collect();
        let mut inside = self.within(&copy.layout, &axes, register).ok()?;
        inside = self.both(inside, all);
        let mut bytes = None;
        for Left { dim, reg } in lefts {
            let part: i64 =
                staged.dims[*dim].1.iter().map(|(a, c)| c * i64::from(copy.layout.register_part(*a, register))).sum();
            if self.is_ragged(staged, *dim) {
                let rest = self.c.sub(DType::I32, *reg, part);
                let rest = self.c.two(Op::Min, &[Word::S32], rest, i64::from(ROW));
                let rest = self.c.two(Op::Max, &[Word::S32], rest, 0_i64);
                bytes = Some(self.c.two(Op::Shl, &[Word::B32], rest, 1_u32));
            } else {
                let is = self.c.compare(Word::Gt, DType::I32, *reg, part);
                inside = self.both(inside, Some(is));
            }
        }
        let full = bytes.unwrap_or_else(|| self.c.constant(DType::U32, CHUNK.into()));
        Some(inside.map_or(full, |inside| self.c.select(DType::U32, inside, full, 0_i64)))
    }

    /// Calls `each` with every chunk's register, source and place.
    fn each_chunk(&mut self, copy: &Copy, source: Reg, mut each: impl FnMut(&mut Self, u32, Reg, i32)) {
        let mut sources = vec![source];
        for register in 0..copy.layout.registers() {
            if register > 0 {
                let before = sources[(register & (register - 1)) as usize];
                let apart = copy.apart[register.trailing_zeros() as usize];
                sources.push(self.c.add(DType::I64, before, apart));
            }
            let place = copy.home.static_place(&copy.layout, register);
            let offset = self.offset(&copy.home, place);
            each(self, register, sources[register as usize], offset);
        }
    }

    /// Copies element by element, where 16 bytes are not together.
    fn copy_elements(&mut self, copy: &Copy, target: Reg, bytes: &[Option<Reg>]) {
        let inner = self.stride(copy.staged.mem, copy.staged.dims.len() - 1);
        let source = self.c.b.mov(Word::B64, copy.source);
        let place = self.c.b.mov(Word::U32, target);
        let done = self.c.b.mov(Word::U32, 0_u32);
        let head = self.c.b.block("element");
        self.c.b.place(head);
        self.each_chunk(copy, source, |s, register, source, offset| {
            let Some(bytes) = bytes[register as usize] else { return };
            let inside = s.c.compare(Word::Gt, DType::U32, bytes, done);
            let raw = s.c.b.reg(code::class(DType::U32));
            s.c.set(DType::U32, raw, 0_u32);
            s.c.guarded(Some(inside), |b| b.assign(Op::Ld, &[Word::Global, Word::U16], raw, &[at(source, 0)]));
            s.c.guarded(copy.owner, |b| b.run(Op::St, &[Word::Shared, Word::U16], &[at(place, offset), raw.into()]));
        });
        self.c.b.assign(Op::Add, &[Word::S64], source, &[source.into(), inner.into()]);
        for register in [place, done] {
            self.c.b.assign(Op::Add, &[Word::U32], register, &[register.into(), 2_u32.into()]);
        }
        let more = self.c.compare(Word::Lt, DType::U32, done, CHUNK);
        self.c.b.branch(Guard::when(more), head);
        let next = self.c.b.block("elements_done");
        self.c.b.place(next);
    }

    /// Whether a ring brings a value.
    pub(super) fn is_staged(&self, value: Value) -> bool {
        self.homes.get(&value).is_some_and(|home| home.moving.is_some())
    }
}
