//! Vectors: accesses of up to 16 bytes where a thread holds neighbours of a memory's last dimension.
//!
//! In: an access in a layout whose lowest register bits are the lowest bits of an axis that walks the last dimension. Out: a
//! uniform test and two ways. Strides and addresses are known at the launch: where neighbours lie next to each other, rows start at
//! multiples of 16 bytes and no vector is cut by the end of a row, vectors go at once; otherwise every element by itself. Words
//! are unpacked where both ways join, so that loads stay under way together.

use super::code::Code;
use super::memory::{Access, Along, is_read_only, pad_bits};
use super::place::Never;
use super::{Lower, Seen};
use crate::inst::{Arg, Class, Guard, Op, Reg, Word, at};
use crate::layout::assign::access_axes;
use crate::layout::{Layout, bits_of};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{Inst, MemId, Op as TileOp, Subscript, Value};

/// Bytes of the longest vector.
const MOST_BYTES: u32 = 16;

/// How registers go in vectors.
#[derive(Clone, Copy)]
pub(super) struct Vector {
    /// Elements, a power of two.
    elements: u32,
    /// Bits of an element.
    bits: u32,
}

impl Vector {
    fn words(self) -> u32 {
        self.elements * self.bits / 32
    }
    fn elements_of_word(self) -> u32 {
        32 / self.bits
    }
    /// The word that registers of this number come from, and the place of the element in it.
    fn place(self, register: u32) -> (usize, u32) {
        ((register / self.elements_of_word()) as usize, register % self.elements_of_word() * self.bits)
    }
    /// The words of an access of this many.
    fn shape(self) -> &'static [Word] {
        match self.words() {
            1 => &[Word::B32],
            2 => &[Word::V2, Word::B32],
            _ => &[Word::V4, Word::B32],
        }
    }
}

/// Addresses of vectors that differ in the last dimension alone.
struct Row {
    first: u32,
    address: Reg,
    allowed: Option<Reg>,
}

/// Vectors of an access whose addresses are being made.
struct Rows {
    rows: Vec<Row>,
    inside: Vec<(i64, Reg)>,
}

impl Lower<'_> {
    /// The vectors that an access goes in, if it does.
    pub(super) fn vector(&self, inst: &Inst, layout: &Layout) -> Option<Vector> {
        let (mem, subs, args, refused) = match &inst.op {
            TileOp::Load { mem, subs, pad, .. } => {
                (*mem, subs, &inst.args[..], pad_bits(*pad, self.kernel.memory[*mem].dtype).is_none())
            }
            TileOp::Store { mem, subs, masked } => (*mem, subs, &inst.args[1..], *masked),
            _ => return None,
        };
        let bits = self.kernel.memory[mem].dtype.bits();
        let axis = layout.register_bits().first()?.axis;
        let (last, others) = subs.split_last()?;
        let Subscript::Affine(terms) = last else { return None };
        let walks = |sub: &Subscript, arg: &Value| match sub {
            Subscript::Affine(terms) => terms.iter().any(|(a, _)| *a == axis),
            Subscript::Gather => self.kernel.values[*arg].axes.contains(&axis),
        };
        if refused || !matches!(bits, 8 | 16 | 32) || others.iter().zip(args).any(|(sub, arg)| walks(sub, arg)) {
            return None;
        }
        let run = (0_u8..).zip(layout.register_bits()).take_while(|(n, b)| b.axis == axis && b.bit == *n).count();
        let own = terms.iter().filter(|(a, _)| *a == axis).collect::<Vec<_>>();
        let rest = || terms.iter().filter(|(a, _)| *a != axis);
        let fits = |elements: u32| {
            let whole = |n: i64| n % i64::from(elements) == 0;
            own.len() == 1
                && own[0].1 == 1
                && rest().all(|(_, c)| whole(*c))
                && self.kernel.axes[axis].extent.is_multiple_of(elements)
        };
        let most = (MOST_BYTES * 8 / bits).min(1 << run.min(4));
        let elements = (0..5).map(|n| most >> n).find(|n| *n > 0 && fits(*n)).filter(|n| *n > 1 && n * bits >= 32)?;
        Some(Vector { elements, bits })
    }

    /// Whether all vectors of an access lie where vectors may: the same for all threads.
    fn can_go_in_vectors(&mut self, access: &Access, args: &[Value], subs: &[Subscript], vector: Vector) -> Reg {
        let last = subs.len() - 1;
        let number = u32::try_from(last).unwrap_or(u32::MAX);
        let extent = self.params[self.words.extent(access.mem, number) as usize];
        let base = self.scalar(args[last]);
        let Subscript::Affine(terms) = &subs[last] else { return self.c.truth(false) };
        let reach: i64 = terms.iter().map(|(a, c)| c.max(&0) * ((1 << bits_of(self.kernel.axes[*a].extent)) - 1)).sum();
        let end = self.c.add(DType::I64, base, reach + 1);
        let inside = self.c.compare(Word::Le, DType::I64, end, extent);
        let mask = i64::from(vector.elements) - 1;
        let odd = self.c.two(Op::And, &[Word::B64], extent, mask);
        let even = self.c.compare(Word::Eq, DType::I64, odd, 0_i64);
        let uncut = self.c.logic(Op::Or, DType::Bool, inside, even);
        let laid_out = self.once(Seen::Rows(access.mem), |s| s.rows_are_laid_out(access.mem, access.dtype));
        let mut all = self.c.and(laid_out, uncut);
        if !self.assigned.is_multiple(args[last], vector.elements.trailing_zeros()) {
            let moved = self.c.two(Op::And, &[Word::B64], base, mask);
            let aligned = self.c.compare(Word::Eq, DType::I64, moved, 0_i64);
            all = self.c.and(all, aligned);
        }
        all
    }

    /// Asks once, before everything else, how the memories lie that may be accessed in vectors.
    pub(super) fn look_at_rows(&mut self) {
        if !self.assigned.has_vectors() {
            return;
        }
        let memory: Vec<(MemId, DType, usize)> =
            self.kernel.memory.iter().map(|(mem, m)| (mem, m.dtype, m.shape.len())).collect();
        for (mem, dtype, rank) in memory {
            if rank > 0 && matches!(dtype.bits(), 8 | 16 | 32) {
                self.once(Seen::Rows(mem), |s| s.rows_are_laid_out(mem, dtype));
            }
        }
    }

    /// Whether rows of a memory start at multiples of 16 bytes and its elements lie next to each other.
    fn rows_are_laid_out(&mut self, mem: MemId, dtype: DType) -> Reg {
        let rank = u32::try_from(self.kernel.memory[mem].shape.len()).unwrap_or(u32::MAX);
        let mut bits = self.params[self.words.pointer(mem) as usize];
        for dim in 0..rank - 1 {
            let stride = self.params[self.words.stride(mem, dim) as usize];
            bits = self.c.two(Op::Or, &[Word::B64], bits, stride);
        }
        let low = self.c.two(Op::And, &[Word::B64], bits, i64::from(MOST_BYTES) - 1);
        let aligned = self.c.compare(Word::Eq, DType::I64, low, 0_i64);
        let stride = self.params[self.words.stride(mem, rank - 1) as usize];
        let dense = self.c.compare(Word::Eq, DType::I64, stride, i64::from(dtype.bits() / 8));
        self.c.and(aligned, dense)
    }

    /// Runs `fast` where `condition` holds, else `slow`.
    fn either(&mut self, condition: Reg, fast: impl FnOnce(&mut Self), slow: impl FnOnce(&mut Self)) {
        let [vectors, elements, joined] = ["vectors", "elements", "joined"].map(|name| self.c.b.block(name));
        self.c.b.branch(Guard::unless(condition), elements);
        self.c.b.place(vectors);
        self.seen.push(Default::default());
        fast(self);
        self.seen.pop();
        self.c.b.bra(joined);
        self.c.b.place(elements);
        self.seen.push(Default::default());
        slow(self);
        self.seen.pop();
        self.c.b.place(joined);
    }

    /// Address, offset in bytes and condition of the vector that starts at a register.
    fn vector_at(
        &mut self,
        rows: &mut Rows,
        access: &mut Access,
        layout: &Layout,
        register: u32,
        owned: bool,
    ) -> Result<(Reg, i32, Option<Reg>), Never> {
        let last = access.dims.len() - 1;
        let same = |s: &Self, first: u32| {
            (0..last).all(|dim| s.key(access, dim, layout, first) == s.key(access, dim, layout, register))
        };
        let known = rows.rows.iter().position(|row| same(self, row.first));
        let Along::Affine(base, moving, stays) = &access.dims[last] else { return Err(Never) };
        let (base, moving, stays) = (*base, moving.clone(), *stays);
        let row = match known {
            Some(row) => row,
            None => {
                let mut address = self.params[self.words.pointer(access.mem) as usize];
                let mut allowed = if owned { self.owner(layout) } else { None };
                for dim in 0..last {
                    let offset = self.offset_along(access, dim, layout, register);
                    address = self.c.add(DType::I64, address, offset.bytes);
                    if let Some(step) = offset.step {
                        address = self.c.add(DType::I64, address, step);
                    }
                    allowed = self.both(allowed, offset.inside);
                }
                address = self.c.fma(DType::I64, base, i64::from(access.dtype.bits() / 8), address);
                rows.rows.push(Row { first: register, address, allowed });
                rows.rows.len() - 1
            }
        };
        let moved: i64 = moving.iter().map(|(a, c)| c * i64::from(layout.register_part(*a, register))).sum();
        let known = rows.inside.iter().find(|(by, _)| *by == moved).map(|(_, inside)| *inside);
        let inside = match known {
            _ if stays => None,
            Some(inside) => Some(inside),
            None => {
                let number = u32::try_from(last).unwrap_or(u32::MAX);
                let extent = self.params[self.words.extent(access.mem, number) as usize];
                let coordinate = if moved == 0 { base } else { self.c.add(DType::I64, base, moved) };
                let inside = self.c.two(Op::Setp, &[Word::Lt, Word::U64], coordinate, extent);
                rows.inside.push((moved, inside));
                Some(inside)
            }
        };
        let axes = access.axes.clone();
        let exists = self.within(layout, &axes, register)?;
        let allowed = self.both(rows.rows[row].allowed, inside);
        let allowed = self.both(allowed, exists);
        let bytes = moved * i64::from(access.dtype.bits() / 8);
        match i32::try_from(bytes) {
            Ok(bytes) => Ok((rows.rows[row].address, bytes, allowed)),
            Err(_) => Ok((self.c.add(DType::I64, rows.rows[row].address, bytes), 0, allowed)),
        }
    }

    /// A load in vectors: the elements in their computing type.
    pub(super) fn load_vectors(&mut self, inst: &Inst, layout: &Layout, vector: Vector) -> Vec<Reg> {
        let TileOp::Load { mem, subs, pad, masked } = &inst.op else { return Vec::new() };
        let axes = self.kernel.values[inst.results[0]].axes.clone();
        let count = layout.registers();
        let mut access = self.access(*mem, subs, &inst.args, *masked, layout, axes);
        let dtype = access.dtype;
        let condition = self.can_go_in_vectors(&access, &inst.args, subs, vector);
        let words: Vec<Reg> = (0..count / vector.elements_of_word()).map(|_| self.c.b.reg(Class::B32)).collect();
        let nothing = pad_bits(*pad, dtype).unwrap_or(0);
        let filled = (0..vector.elements_of_word()).fold(0, |all, n| all | nothing << (n * vector.bits));
        let mask = access.mask.take();
        let read_only = is_read_only(self.kernel, *mem);
        let given = words.clone();
        let mut by_element = access.again();
        self.either(
            condition,
            |s| {
                let mut rows = Rows { rows: Vec::new(), inside: Vec::new() };
                for (number, of) in (0_u32..).zip(words.chunks(vector.words() as usize)) {
                    let at_vector = s.vector_at(&mut rows, &mut access, layout, number * vector.elements, false);
                    of.iter().for_each(|word| s.c.set(DType::U32, *word, i64::from(filled)));
                    let Ok((address, offset, allowed)) = at_vector else { continue };
                    let mut how = vec![Word::Global];
                    how.extend(read_only.then_some(Word::Nc));
                    how.extend(vector.shape());
                    let dest: Arg = if of.len() == 1 { of[0].into() } else { of.to_vec().into() };
                    s.c.guarded(allowed, |b| b.assign(Op::Ld, &how, dest, &[at(address, offset)]));
                }
            },
            |s| {
                let mut codes = Vec::new();
                for register in 0..count {
                    let raw = s.c.b.reg(Class::B32);
                    s.c.set(DType::U32, raw, i64::from(nothing));
                    if let Ok(target) = s.target(&mut by_element, layout, register, false) {
                        let mut how = vec![Word::Global];
                        how.extend(read_only.then_some(Word::Nc));
                        how.push(unsigned(vector.bits));
                        s.c.guarded(target.allowed, |b| b.assign(Op::Ld, &how, raw, &[at(target.address, 0)]));
                    }
                    codes.push(raw);
                }
                for (word, codes) in words.iter().zip(codes.chunks(vector.elements_of_word() as usize)) {
                    let packed = packed(&mut s.c, codes, vector.bits);
                    s.c.set(DType::U32, *word, packed);
                }
            },
        );
        let mut values = self.unpacked(&given, vector, dtype);
        if let Some((held, mask)) = mask {
            let computing = dtype.widened();
            let outside = self.pad(*pad, computing);
            for (register, value) in (0_u32..).zip(values.iter_mut()) {
                let mask = mask[held.register_like(layout, register) as usize];
                *value = match computing {
                    DType::Bool => self.c.select_truth(mask, *value, outside),
                    _ => self.c.select(computing, mask, *value, outside),
                };
            }
        }
        values
    }

    /// The elements of words.
    fn unpacked(&mut self, words: &[Reg], vector: Vector, dtype: DType) -> Vec<Reg> {
        let count = u32::try_from(words.len()).unwrap_or(u32::MAX) * vector.elements_of_word();
        let mut values = Vec::new();
        for register in 0..count {
            let (word, shift) = vector.place(register);
            let word = words[word];
            let value = match dtype {
                DType::F32 => self.c.reinterpret(Word::B32, Class::F32, word),
                DType::BF16 if shift > 0 => {
                    let high = self.c.two(Op::And, &[Word::B32], word, 0xffff_0000_u32);
                    self.c.reinterpret(Word::B32, Class::F32, high)
                }
                _ => {
                    let code = if shift == 0 { word } else { self.c.two(Op::Shr, &[Word::U32], word, shift) };
                    let alone = dtype != DType::Bool || shift + vector.bits == 32;
                    let code = if alone { code } else { self.c.two(Op::And, &[Word::B32], code, 0xff_u32) };
                    self.widened(code, dtype)
                }
            };
            values.push(value);
        }
        values
    }

    /// A store in vectors.
    pub(super) fn store_vectors(&mut self, inst: &Inst, layout: &Layout, vector: Vector) {
        let TileOp::Store { mem, subs, .. } = &inst.op else { return };
        let axes = access_axes(self.kernel, inst);
        let values = self.spread(inst.args[0], layout);
        let mut access = self.access(*mem, subs, &inst.args[1..], false, layout, axes);
        let condition = self.can_go_in_vectors(&access, &inst.args[1..], subs, vector);
        let dtype = access.dtype;
        let mut by_element = access.again();
        self.either(
            condition,
            |s| {
                let mut rows = Rows { rows: Vec::new(), inside: Vec::new() };
                for (number, of) in (0_u32..).zip(values.chunks(vector.elements as usize)) {
                    let at_vector = s.vector_at(&mut rows, &mut access, layout, number * vector.elements, true);
                    let Ok((address, offset, allowed)) = at_vector else { continue };
                    let words: Vec<Reg> =
                        of.chunks(vector.elements_of_word() as usize).map(|of| s.word_of(of, dtype)).collect();
                    let mut how = vec![Word::Global];
                    how.extend(vector.shape());
                    let source: Arg = if words.len() == 1 { words[0].into() } else { words.into() };
                    s.c.guarded(allowed, |b| b.run(Op::St, &how, &[at(address, offset), source]));
                }
            },
            |s| s.store_elements(&mut by_element, layout, &values),
        );
    }

    /// Neighbouring elements in one word.
    fn word_of(&mut self, values: &[Reg], dtype: DType) -> Reg {
        match (dtype, values) {
            (DType::BF16 | DType::F16, [low, high]) => {
                let to = if dtype == DType::BF16 { Word::Bf16x2 } else { Word::F16x2 };
                self.c.two(Op::Cvt, &[Word::Rn, to, Word::F32], *high, *low)
            }
            (DType::F32, [one]) => self.c.reinterpret(Word::B32, Class::B32, *one),
            (_, [one]) => *one,
            _ => {
                let codes: Vec<Reg> = values.iter().map(|value| self.narrow(*value, dtype)).collect();
                let bits = dtype.bits();
                let mask = (1_i64 << bits) - 1;
                let codes: Vec<Reg> = codes.iter().map(|code| self.c.two(Op::And, &[Word::B32], *code, mask)).collect();
                packed(&mut self.c, &codes, bits)
            }
        }
    }
}

fn unsigned(bits: u32) -> Word {
    match bits {
        8 => Word::U8,
        16 => Word::U16,
        _ => Word::B32,
    }
}

/// Codes of so many bits in one word, the first lowest; nothing is above them.
fn packed(c: &mut Code, codes: &[Reg], bits: u32) -> Reg {
    let mut word = codes[0];
    for (n, code) in (1_u32..).zip(&codes[1..]) {
        let moved = c.two(Op::Shl, &[Word::B32], *code, n * bits);
        word = c.two(Op::Or, &[Word::B32], word, moved);
    }
    word
}
