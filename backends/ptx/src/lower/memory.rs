//! Loads from and stores to global memory.
//!
//! In: subscripts and a layout. Out: guarded accesses, one for each register. A coordinate is a scalar base, what the thread's
//! number adds and what the register's number adds; addresses use the strides that the launch gives, in bytes. An access
//! happens where every coordinate is within the memory, the mask holds, the element exists, and, for stores, in one of the
//! threads that hold it.

use super::code::{bits, word};
use super::place::Never;
use super::scalar::immediate;
use super::{Held, Lower, Seen, code};
use crate::inst::{Arg, Op, Reg, Word, at};
use crate::layout::Layout;
use crate::layout::assign::access_axes;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{self, AxisId, Inst, Kernel, MemId, Pad, Subscript, Value};

/// A coordinate along one dimension, before the register's part.
#[derive(Clone)]
pub(super) enum Along {
    /// What all registers share, the axes that move it, and whether it surely stays inside of the memory.
    Affine(Reg, Vec<(AxisId, i64)>, bool),
    /// One number for each element.
    Gather(Held),
}

/// An access in a layout.
pub(super) struct Access {
    pub(super) mem: MemId,
    pub(super) dtype: DType,
    pub(super) dims: Vec<Along>,
    pub(super) mask: Option<Held>,
    pub(super) axes: Vec<AxisId>,
    /// Coordinates already computed: dimension, what tells them apart, the byte offset, whether it is inside, the half of the byte.
    known: Vec<((usize, Key), Offset)>,
}

/// What tells the coordinates of registers along one dimension apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Moved(i64),
    Given(Reg),
}

/// A coordinate along one dimension.
#[derive(Clone, Copy)]
pub(super) struct Offset {
    pub(super) bytes: Reg,
    /// What the register's number adds to the bytes: the same for all threads.
    pub(super) step: Option<Reg>,
    /// Nothing where it surely is.
    pub(super) inside: Option<Reg>,
    /// For elements of four bits: whether this is the upper half, as 0 or 4.
    shift: Option<Reg>,
}

/// Where an element is and whether it may be touched.
pub(super) struct Target {
    pub(super) address: Reg,
    pub(super) allowed: Option<Reg>,
    shift: Option<Reg>,
}

impl Access {
    /// The same, with nothing computed yet: for another part of the program.
    pub(super) fn again(&self) -> Self {
        let (dims, mask, axes) = (self.dims.clone(), self.mask.clone(), self.axes.clone());
        Self { mem: self.mem, dtype: self.dtype, dims, mask, axes, known: Vec::new() }
    }
}

impl Lower<'_> {
    pub(super) fn access(
        &mut self,
        mem: MemId,
        subs: &[Subscript],
        args: &[Value],
        masked: bool,
        layout: &Layout,
        axes: Vec<AxisId>,
    ) -> Access {
        let dtype = self.kernel.memory[mem].dtype;
        let places = subs.iter().zip(args).enumerate();
        let dims = places.map(|(dim, (sub, arg))| self.along(sub, *arg, layout, (mem, dim))).collect();
        let mask = masked.then(|| self.read(args[subs.len()], layout));
        Access { mem, dtype, dims, mask, axes, known: Vec::new() }
    }

    fn along(&mut self, sub: &Subscript, arg: Value, layout: &Layout, (mem, dim): (MemId, usize)) -> Along {
        let Subscript::Affine(terms) = sub else {
            let (held, regs) = self.read(arg, layout);
            let from = self.dtype(arg);
            let wide = regs.iter().map(|r| self.cast(*r, from, DType::I64)).collect();
            return Along::Gather((held, wide));
        };
        let mut base = self.scalar(arg);
        let mut moving: Vec<(AxisId, i64)> = Vec::new();
        for (axis, coefficient) in terms {
            match moving.iter_mut().find(|(a, _)| a == axis) {
                Some((_, sum)) => *sum += coefficient,
                None => moving.push((*axis, *coefficient)),
            }
        }
        for (axis, coefficient) in &moving {
            let Some(part) = self.wide_part(layout, *axis) else { continue };
            base = match coefficient {
                1 => self.c.add(DType::I64, base, part),
                _ => self.c.fma(DType::I64, part, *coefficient, base),
            };
        }
        let stays = self.stays_inside(mem, dim, arg, &moving);
        Along::Affine(base, moving, stays)
    }

    /// The element of a register; `Err` if there is none in any thread.
    pub(super) fn target(
        &mut self,
        access: &mut Access,
        layout: &Layout,
        register: u32,
        owned: bool,
    ) -> Result<Target, Never> {
        let axes = access.axes.clone();
        let mut allowed = self.within(layout, &axes, register)?;
        if owned {
            let owner = self.owner(layout);
            allowed = self.both(allowed, owner);
        }
        let mut address = self.params[self.words.pointer(access.mem) as usize];
        let (mut shift, mut steps) = (None, None);
        for dim in 0..access.dims.len() {
            let offset = self.offset_along(access, dim, layout, register);
            address = self.c.add(DType::I64, address, offset.bytes);
            steps = self.sum_of(steps, offset.step);
            allowed = self.both(allowed, offset.inside);
            shift = offset.shift.or(shift);
        }
        if let Some(steps) = steps {
            address = self.c.add(DType::I64, address, steps);
        }
        if let Some((held, mask)) = &access.mask {
            let mask = mask[held.register_like(layout, register) as usize];
            allowed = self.both(allowed, Some(mask));
        }
        Ok(Target { address, allowed, shift })
    }

    /// What a register's coordinate along a dimension is known by.
    pub(super) fn key(&self, access: &Access, dim: usize, layout: &Layout, register: u32) -> Key {
        match &access.dims[dim] {
            Along::Affine(_, moving, _) => {
                Key::Moved(moving.iter().map(|(a, c)| c * i64::from(layout.register_part(*a, register))).sum())
            }
            Along::Gather((held, regs)) => Key::Given(regs[held.register_like(layout, register) as usize]),
        }
    }

    /// A register's coordinate along a dimension.
    pub(super) fn offset_along(&mut self, access: &mut Access, dim: usize, layout: &Layout, register: u32) -> Offset {
        let key = self.key(access, dim, layout, register);
        if let Some((_, offset)) = access.known.iter().find(|(k, _)| *k == (dim, key)) {
            return *offset;
        }
        let (base, stays) = match &access.dims[dim] {
            Along::Affine(base, _, stays) => (*base, *stays),
            Along::Gather(_) => (self.thread, false),
        };
        let number = u32::try_from(dim).unwrap_or(u32::MAX);
        let stride = self.params[self.words.stride(access.mem, number) as usize];
        let halves = access.dtype.bits() < 8 && dim + 1 == access.dims.len();
        let coordinate = match key {
            Key::Moved(0) => base,
            Key::Moved(by) if !stays || halves => self.c.add(DType::I64, base, by),
            Key::Moved(_) => base,
            Key::Given(reg) => reg,
        };
        let extent = self.params[self.words.extent(access.mem, number) as usize];
        let inside = (!stays).then(|| self.c.two(Op::Setp, &[Word::Lt, Word::U64], coordinate, extent));
        let mut shift = None;
        let mut place = coordinate;
        let mut step = None;
        if halves {
            place = self.c.two(Op::Shr, &[Word::S64], coordinate, 1_u32);
            let low = self.c.convert(&[Word::U32, Word::U64], coordinate);
            let odd = self.c.two(Op::And, &[Word::B32], low, 1_u32);
            shift = Some(self.c.two(Op::Shl, &[Word::B32], odd, 2_u32));
        } else if let Key::Moved(by) = key {
            // All registers start from the same place, which is computed once; how far they are from it no thread decides.
            place = base;
            step = (by != 0).then(|| self.c.mul(DType::I64, stride, by));
        }
        let bytes = match key {
            Key::Given(_) => self.c.mul(DType::I64, place, stride),
            Key::Moved(_) if halves => self.c.mul(DType::I64, place, stride),
            Key::Moved(_) => self.once(Seen::Start(place, stride), |s| s.c.mul(DType::I64, place, stride)),
        };
        let offset = Offset { bytes, step, inside, shift };
        access.known.push(((dim, key), offset));
        offset
    }

    /// The sum of offsets that may be none.
    pub(super) fn sum_of(&mut self, a: Option<Reg>, b: Option<Reg>) -> Option<Reg> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.c.add(DType::I64, a, b)),
            (one, None) | (None, one) => one,
        }
    }

    /// A load.
    pub(super) fn load(&mut self, inst: &Inst) {
        let tile::Op::Load { mem, subs, pad, masked } = &inst.op else { return };
        let result = inst.results[0];
        if self.is_staged(result) || self.copied_once(inst) {
            return;
        }
        self.define(result, |s, wanted| {
            let layout = s.assigned.load_layout(inst, wanted);
            if let Some(vector) = s.vector(inst, &layout) {
                let regs = s.load_vectors(inst, &layout, vector);
                return s.convert(s.dtype(result), &layout, &regs, wanted);
            }
            let axes = s.kernel.values[result].axes.clone();
            let mut access = s.access(*mem, subs, &inst.args, *masked, &layout, axes);
            let regs: Vec<Reg> = (0..layout.registers())
                .map(|register| match s.target(&mut access, &layout, register, false) {
                    Ok(target) => s.load_element(access.dtype, &target, *pad, is_read_only(s.kernel, *mem)),
                    Err(Never) => s.pad(*pad, access.dtype.widened()),
                })
                .collect();
            s.convert(access.dtype.widened(), &layout, &regs, wanted)
        });
    }

    /// What is read outside.
    pub(super) fn pad(&mut self, pad: Pad, dtype: DType) -> Reg {
        match (pad, dtype) {
            (Pad::Value(Const::Bool(value)), _) => self.c.truth(value),
            (Pad::Undef, DType::Bool) => self.c.truth(false),
            _ => self.c.constant(dtype, pad_immediate(pad, dtype)),
        }
    }

    fn load_element(&mut self, memory: DType, target: &Target, pad: Pad, read_only: bool) -> Reg {
        let computing = memory.widened();
        let space: &[Word] = if read_only { &[Word::Global, Word::Nc] } else { &[Word::Global] };
        if memory == computing && memory != DType::Bool {
            let reg = self.c.b.reg(code::class(computing));
            if target.allowed.is_some() {
                self.c.set(computing, reg, pad_immediate(pad, computing));
            }
            let words = [space, &[word(computing)]].concat();
            self.c.guarded(target.allowed, |b| b.assign(Op::Ld, &words, reg, &[at(target.address, 0)]));
            return reg;
        }
        let raw = self.c.b.reg(code::class(DType::U32));
        let words = [space, &[if memory.bits() == 16 { Word::U16 } else { Word::U8 }]].concat();
        if target.allowed.is_some() {
            self.c.set(DType::U32, raw, 0_u32);
        }
        self.c.guarded(target.allowed, |b| b.assign(Op::Ld, &words, raw, &[at(target.address, 0)]));
        let code = match target.shift {
            Some(shift) => {
                let moved = self.c.two(Op::Shr, &[Word::U32], raw, shift);
                self.c.two(Op::And, &[Word::B32], moved, 15_u32)
            }
            None => raw,
        };
        let value = self.widened(code, memory);
        let Some(allowed) = target.allowed.filter(|_| !is_zero(pad, memory)) else { return value };
        let outside = self.pad(pad, computing);
        match computing {
            DType::Bool => self.c.select_truth(allowed, value, outside),
            _ => self.c.select(computing, allowed, value, outside),
        }
    }

    /// A store.
    pub(super) fn store(&mut self, inst: &Inst) {
        let tile::Op::Store { mem, subs, masked } = &inst.op else { return };
        let layout = self.assigned.store_layout(inst);
        if let Some(vector) = self.vector(inst, &layout) {
            self.store_vectors(inst, &layout, vector);
            return;
        }
        let axes = access_axes(self.kernel, inst);
        let values = self.spread(inst.args[0], &layout);
        let mut access = self.access(*mem, subs, &inst.args[1..], *masked, &layout, axes);
        if access.dtype.bits() < 8 && layout.registers() > 1 {
            self.store_pairs(&mut access, &layout, &values);
        } else {
            self.store_elements(&mut access, &layout, &values);
        }
    }

    /// Stores elements of four bits, two in a byte: a thread has both. What shares a byte with the last element of a row is 0.
    fn store_pairs(&mut self, access: &mut Access, layout: &Layout, values: &[Reg]) {
        for (register, pair) in (0_u32..).step_by(2).zip(values.chunks(2)) {
            let Ok(target) = self.target(access, layout, register, true) else { continue };
            let mut byte = self.narrow(pair[0], access.dtype);
            if let (Ok(odd), [_, high]) = (self.target(access, layout, register + 1, true), pair) {
                let mut high = self.narrow(*high, access.dtype);
                if let Some(exists) = odd.allowed {
                    high = self.c.select(DType::U32, exists, high, 0_i64);
                }
                let moved = self.c.two(Op::Shl, &[Word::B32], high, 4_u32);
                byte = self.c.logic(Op::Or, DType::U32, byte, moved);
            }
            let words = [Word::Global, Word::U8];
            self.c.guarded(target.allowed, |b| b.run(Op::St, &words, &[at(target.address, 0), byte.into()]));
        }
    }

    /// Stores each register's element by itself.
    pub(super) fn store_elements(&mut self, access: &mut Access, layout: &Layout, values: &[Reg]) {
        let mut narrowed: Vec<(Reg, Reg)> = Vec::new();
        for (register, value) in (0_u32..).zip(values) {
            let Ok(target) = self.target(access, layout, register, true) else { continue };
            let known = narrowed.iter().find(|(from, _)| from == value).map(|(_, code)| *code);
            let code = match known {
                Some(code) => code,
                None => self.narrow(*value, access.dtype),
            };
            narrowed.push((*value, code));
            let words = [Word::Global, stored(access.dtype)];
            self.c.guarded(target.allowed, |b| b.run(Op::St, &words, &[at(target.address, 0), code.into()]));
        }
    }
}

fn stored(memory: DType) -> Word {
    match memory.bits() {
        4 | 8 => Word::U8,
        16 => Word::U16,
        _ if memory.is_float() => word(memory),
        _ => bits(memory),
    }
}

fn pad_immediate(pad: Pad, dtype: DType) -> Arg {
    match pad {
        Pad::Value(value) => immediate(value, dtype),
        Pad::Undef => 0_i64.into(),
    }
}

/// Whether the pad is what zero bits of the memory's type are.
fn is_zero(pad: Pad, memory: DType) -> bool {
    match pad {
        Pad::Undef => true,
        _ if memory == DType::F8E8M0 => false,
        Pad::Value(Const::Float(bits)) => bits == 0,
        Pad::Value(Const::Int(value)) => value == 0,
        Pad::Value(Const::Bool(value)) => !value,
    }
}

/// Whether no thread of a launch writes a memory.
pub(super) fn is_read_only(kernel: &Kernel, mem: MemId) -> bool {
    kernel.memory[mem].access == tile::Access::In
}

/// The pad as a memory's element, if it is exactly one.
pub(super) fn pad_bits(pad: Pad, memory: DType) -> Option<u32> {
    match pad {
        _ if is_zero(pad, memory) => Some(0),
        Pad::Value(Const::Float(bits)) => {
            #[expect(clippy::cast_possible_truncation, reason = "constants are rounded to their type")]
            let bits = (f64::from_bits(bits) as f32).to_bits();
            match memory {
                DType::F32 => Some(bits),
                DType::BF16 => (bits & 0xffff == 0).then_some(bits >> 16),
                _ => None,
            }
        }
        Pad::Value(Const::Int(value)) if !memory.is_float() => {
            let low = u64::from(u32::MAX) >> 32_u32.saturating_sub(memory.bits());
            u32::try_from(value.cast_unsigned() & low).ok()
        }
        Pad::Value(Const::Bool(value)) => Some(u32::from(value)),
        _ => None,
    }
}
