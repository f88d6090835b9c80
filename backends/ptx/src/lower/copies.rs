//! Loads as copies from global to shared memory, past the registers.
//!
//! In: a load of a tile of 16-bit elements that products read from shared memory. Out: `cp.async` of 16 bytes each, started by all
//! threads; whoever reads waits for them. What lies outside of a memory is filled with zeros. Whether addresses and strides are
//! multiples of 16 bytes is known when the kernel runs: if they are not, elements are copied one by one.

use super::code::word;
use super::shared::Home;
use super::{Lower, code};
use crate::inst::{Guard, Op, Reg, Word, at};
use crate::layout::matrix::ROW;
use crate::layout::{Bit, Layout, bits_of};
use rustc_hash::FxHashSet;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{self, AxisId, Inst, MemId, Pad, Subscript, Value};

/// Bytes of a copy.
pub(super) const CHUNK: u32 = 16;

/// Where a coordinate along a dimension starts from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// Outside of the loop.
    Fixed(Value),
    /// The position that the ring is filled for.
    Moving,
}

/// A load that is done by copies, as the kernel says it.
pub(super) struct Staged {
    pub(super) value: Value,
    pub(super) mem: MemId,
    /// For each dimension of the memory: where it starts, the axes along it with their coefficients.
    pub(super) dims: Vec<(Base, Vec<(AxisId, i64)>)>,
    /// The dimension that moves.
    pub(super) moving: Option<usize>,
    pub(super) inner: AxisId,
}

/// What is left of a dimension for this thread's elements.
#[derive(Clone, Copy)]
struct Left {
    dim: usize,
    reg: Reg,
}

/// A load that is done by copies: addresses and ends, as registers.
pub(super) struct Copy {
    pub(super) staged: Staged,
    pub(super) home: Home,
    /// Which 16 bytes each thread copies: bits of the innermost axis start at a chunk's.
    layout: Layout,
    /// Address of the thread's first chunk at position 0, and at the position that is filled next.
    pub(super) first: Reg,
    pub(super) source: Reg,
    /// How far it moves in a turn.
    pub(super) step: Reg,
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

impl Lower<'_> {
    /// A load as copies, if it can be: in a loop, with one coordinate that follows the loop's position; `inside` is what the
    /// loop defines.
    pub(super) fn staged(&self, inst: &Inst, position: Option<Value>, inside: &FxHashSet<Value>) -> Option<Staged> {
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
            let base = if Some(*arg) == position { Base::Moving } else { Base::Fixed(*arg) };
            let outside = base == Base::Moving || !inside.contains(arg) && self.is_natural(*arg);
            if !outside || terms.iter().any(|(_, coefficient)| *coefficient < 1) {
                return None;
            }
            dims.push((base, terms.clone()));
        }
        let all_moving = dims.iter().filter(|(base, _)| *base == Base::Moving).count();
        let moving = dims.iter().position(|(base, _)| *base == Base::Moving);
        let innermost = dims.last().is_some_and(|(_, terms)| *terms == [(inner, 1)]);
        let of_inner = dims.iter().flat_map(|(_, terms)| terms).filter(|(axis, _)| *axis == inner).count();
        let fits = all_moving == usize::from(position.is_some()) && innermost && of_inner == 1;
        fits.then_some(Staged { value, mem: *mem, dims, moving, inner })
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
    pub(super) fn copy(&mut self, staged: Staged, home: Home, step: i64) -> Copy {
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

    pub(super) fn stride(&self, mem: MemId, dim: usize) -> Reg {
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

    /// Starts the copies of a load: in a loop, those for `position` into the slot `slot` bytes further on.
    pub(super) fn start_copies(&mut self, copy: &Copy, (position, slot): (Option<Reg>, Option<Reg>)) {
        let Copy { staged, layout, .. } = copy;
        let mut lefts = copy.lefts.clone();
        let mut all = copy.fixed;
        if let Some(moving) = staged.moving {
            let left = self.left(staged, moving, layout, position);
            if self.differs(layout, &staged.dims[moving].1) || self.is_ragged(staged, moving) {
                lefts.push(Left { dim: moving, reg: left });
            } else {
                let inside = self.c.compare(Word::Gt, DType::I32, left, 0_i64);
                all = self.both(all, Some(inside));
            }
        }
        let bytes: Vec<Option<Reg>> =
            (0..layout.registers()).map(|register| self.bytes_of_chunk(copy, &lefts, all, register)).collect();
        let target = slot.map_or(copy.target, |slot| self.c.add(DType::I32, copy.target, slot));
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

    /// Does a load by copies, if it can be done so: its value is read from shared memory alone, and this is done once.
    pub(super) fn copied_once(&mut self, inst: &Inst) -> bool {
        let Some(staged) = self.staged(inst, None, &FxHashSet::default()) else { return false };
        let value = staged.value;
        // In a loop, whoever waits for these copies would wait for those of its ring.
        if self.seen.len() > 1 || !self.assigned.is_only_at_home(value) {
            return false;
        }
        self.forget(value);
        let axes = self.home_axes(value, Some(staged.inner), None);
        let home = self.home_for(self.dtype(value), self.assigned.narrow(value), &axes);
        self.before_write(home.range);
        let copy = self.copy(staged, home.clone(), 0);
        self.start_copies(&copy, (None, None));
        self.under_way = true;
        self.homes.insert(value, home);
        self.homes_inside.push(value);
        true
    }
    /// Waits for copies outside of loops; other threads' are there after the next barrier.
    pub(super) fn copies_done(&mut self) {
        if std::mem::take(&mut self.under_way) {
            self.c.b.run(Op::CpAsyncGroup, &[Word::Async, Word::WaitAll], &[]);
        }
    }
}
