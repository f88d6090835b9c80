//! Contractions by a matrix unit: fragments from shared memory or registers, `mma.m16n8k16`, sums in registers.
//!
//! In: a product ([`crate::layout::matrix`]), its factors in homes of 16-bit elements or, rows, in registers. Out: the sums in
//! fragments. `ldmatrix` reads four 8 by 8 matrices, each lane giving the address of one row of 16 bytes; where rows in memory
//! run along the other axis than the fragment's, it transposes. Fragments as in the PTX ISA, "Matrix Fragments for
//! mma.m16n8k16" and "ldmatrix".

use super::shared::Home;
use super::{Held, Lower};
use crate::inst::{Arg, Class, Op, Reg, Word, at};
use crate::layout::matrix::{Product, STEP};
use crate::layout::{Bit, LANE_BITS, Layout};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{AxisId, Inst};

/// Bits of a tile in registers whose values are one.
type Set = Vec<Bit>;

/// A factor in shared memory: its home and the address of the lane's row.
struct Rows {
    home: Home,
    address: Reg,
    /// Whether rows in memory run across those of the fragment.
    across: bool,
}

/// Where row fragments come from.
enum Left {
    Held(Held),
    Home(Rows),
}

impl Lower<'_> {
    /// The sum over `over` of a product, on the matrix unit.
    pub(super) fn matrix_product(&mut self, inst: &Inst, over: &[AxisId], product: &Product) {
        let result = inst.results[0];
        let sums: Vec<Reg> = (0..product.result.registers()).map(|_| self.c.b.reg(Class::F32)).collect();
        match inst.args.get(2) {
            Some(acc) => {
                let start = self.read(*acc, &product.result).1;
                sums.iter().zip(start).for_each(|(sum, value)| self.c.set(DType::F32, *sum, value));
            }
            None => sums.iter().for_each(|sum| self.c.set(DType::F32, *sum, 0_i64)),
        }
        let left = match self.assigned.held_rows(result) {
            Some(value) => Some(Left::Held(self.read(value, &product.left))),
            None => self.rows(inst.args[product.rows], product, 0).map(Left::Home),
        };
        let right = self.rows(inst.args[1 - product.rows], product, 1);
        if let (Some(left), Some(right)) = (left, right) {
            for step in self.steps(product.along, over) {
                self.matrix_step(product, &left, &right, &step, &sums);
            }
        }
        self.define(result, |_, _| sums.clone());
    }

    /// The address of each lane's row of a factor's first matrices.
    fn rows(&mut self, value: sawmill_ir::tile::Value, product: &Product, side: usize) -> Option<Rows> {
        let home = self.home(value)?;
        self.before_read(home.range);
        let across = home.strides.first().is_some_and(|(axis, _)| *axis != product.along);
        let own = |at: usize| product.sides[side].get(at).copied();
        let summed = |bit: u8| Some(Bit { axis: product.along, bit });
        let mut lanes: Vec<Option<Bit>> = match across {
            true => (0..3).map(summed).collect(),
            false => (0..3).map(own).collect(),
        };
        // Matrices in the order of the fragment's registers: rows, then summed positions; or summed positions, then columns.
        match side {
            0 => lanes.extend([own(3), summed(3)]),
            _ => lanes.extend([summed(3), own(3).filter(|b| product.result.register_bits().contains(b))]),
        }
        lanes.extend(
            product.result.thread_bits()[LANE_BITS..].iter().map(|b| b.filter(|b| product.sides[side].contains(b))),
        );
        let weight = |bit: Bit| (home.stride(bit.axis) * home.bytes()) << bit.bit;
        let bits = (0_u8..).zip(lanes).filter_map(|(at, bit)| Some((at, weight(bit?)))).filter(|(_, w)| *w != 0);
        let place = self.thread_sum(bits.collect());
        let address = self.address_in(&home, place);
        Some(Rows { home, address, across })
    }

    /// The first positions of the steps along the summed axes.
    fn steps(&self, along: AxisId, over: &[AxisId]) -> Vec<Vec<(AxisId, u32)>> {
        let mut steps = vec![Vec::new()];
        for axis in over {
            let by = if *axis == along { STEP as usize } else { 1 };
            let positions: Vec<u32> = (0..self.kernel.axes[*axis].extent).step_by(by).collect();
            let with = |step: &Vec<(AxisId, u32)>, at: u32| [step.clone(), vec![(*axis, at)]].concat();
            steps =
                steps.iter().flat_map(|step| positions.iter().map(|at| with(step, *at)).collect::<Vec<_>>()).collect();
        }
        steps
    }

    /// Products of one step: every fragment of rows with every fragment of columns.
    fn matrix_step(&mut self, product: &Product, left: &Left, right: &Rows, step: &[(AxisId, u32)], sums: &[Reg]) {
        let rows: Vec<Set> = self.tiles(product, 0, 4);
        let fragments: Vec<Vec<Reg>> = rows.iter().map(|set| self.row_fragment(product, left, set, step)).collect();
        for columns in self.tiles(product, 1, 4) {
            for (half, fragment) in self.column_fragments(product, right, &columns, step) {
                for (set, row) in rows.iter().zip(&fragments) {
                    self.multiply(product, [set, &half], row, &fragment, sums);
                }
            }
        }
    }

    /// The sets of a side's bits from `first` on that registers tell apart, without tiles that lie past an axis' end.
    fn tiles(&self, product: &Product, side: usize, first: usize) -> Vec<Set> {
        let bits = product.sides[side].iter().skip(first).filter(|b| product.result.register_bits().contains(b));
        let mut sets: Vec<Set> = vec![Vec::new()];
        for bit in bits {
            let more: Vec<Set> = sets.iter().map(|set| [set.as_slice(), &[*bit]].concat()).collect();
            sets.extend(more);
        }
        sets.retain(|set| set.iter().all(|bit| self.first(set, bit.axis) < self.kernel.axes[bit.axis].extent));
        sets
    }
    fn first(&self, set: &[Bit], axis: AxisId) -> u32 {
        set.iter().filter(|b| b.axis == axis).map(|b| 1 << b.bit).sum()
    }

    fn row_fragment(&mut self, product: &Product, left: &Left, set: &Set, step: &[(AxisId, u32)]) -> Vec<Reg> {
        let rows = match left {
            Left::Home(rows) => return self.load_matrices(rows, set, step, Word::X4),
            Left::Held(held) => held,
        };
        let (layout, regs) = rows;
        let mut fragment = Vec::new();
        for upper in [false, true] {
            for below in [false, true] {
                let mut at: Set = set.clone();
                at.extend(step.iter().flat_map(|(axis, position)| bits_set(*axis, *position)));
                at.extend(upper.then_some(Bit { axis: product.along, bit: 3 }));
                at.extend(product.sides[0].get(3).filter(|_| below));
                let pair = [0, 1].map(|low| {
                    let mut one = at.clone();
                    one.extend((low == 1).then_some(Bit { axis: product.along, bit: 0 }));
                    regs[register_of(layout, &one)]
                });
                fragment.push(self.packed(product.format, pair[0], pair[1]));
            }
        }
        fragment
    }

    /// Column fragments that one instruction loads: of 16 columns, if registers tell the upper 8 from the lower.
    fn column_fragments(
        &mut self,
        product: &Product,
        right: &Rows,
        set: &Set,
        step: &[(AxisId, u32)],
    ) -> Vec<(Set, Vec<Reg>)> {
        let eighth = product.sides[1].get(3).filter(|b| product.result.register_bits().contains(b));
        let Some(eighth) = eighth else {
            let fragment = self.load_matrices(right, set, step, Word::X2);
            return vec![(set.clone(), fragment)];
        };
        let upper: Set = [set.as_slice(), &[*eighth]].concat();
        let loaded = self.load_matrices(right, set, step, Word::X4);
        let past = self.first(&upper, eighth.axis) >= self.kernel.axes[eighth.axis].extent;
        let mut fragments = vec![(set.clone(), loaded[..2].to_vec())];
        fragments.extend((!past).then(|| (upper, loaded[2..].to_vec())));
        fragments
    }

    fn load_matrices(&mut self, rows: &Rows, set: &Set, step: &[(AxisId, u32)], count: Word) -> Vec<Reg> {
        let place: u32 = set.iter().map(|b| rows.home.stride(b.axis) << b.bit).sum();
        let along: u32 = step.iter().map(|(axis, at)| rows.home.stride(*axis) * at).sum();
        let offset = self.offset(&rows.home, place + along);
        let mut words = vec![Word::Sync, Word::Aligned, Word::M8n8, count];
        words.extend(rows.across.then_some(Word::Trans));
        words.extend([Word::Shared, Word::B16]);
        self.c.b.ops(Op::Ldmatrix, &words, &[at(rows.address, offset)])
    }

    /// One instruction: a fragment of rows times one of columns, added to the sums of their tile.
    fn multiply(&mut self, product: &Product, [rows, columns]: [&Set; 2], a: &[Reg], b: &[Reg], sums: &[Reg]) {
        let mut dest = Vec::new();
        let mut start = Vec::new();
        for below in [false, true] {
            for odd in [false, true] {
                let chosen = [(below, product.sides[0].get(3)), (odd, product.sides[1].first())];
                let set: Set = [rows.as_slice(), columns].concat();
                let set: Set =
                    set.into_iter().chain(chosen.iter().filter(|c| c.0).filter_map(|c| c.1.copied())).collect();
                let sum = sums[register_of(&product.result, &set)];
                // Where the fragment repeats a row or column, the copy goes nowhere.
                let copy = chosen.iter().any(|(is, bit)| *is && bit.is_none());
                dest.push(if copy { self.c.b.reg(Class::F32) } else { sum });
                start.push(sum);
            }
        }
        let ty = if product.format == DType::F16 { Word::F16 } else { Word::Bf16 };
        let words = [Word::Sync, Word::Aligned, Word::M16n8k16, Word::Row, Word::Col, Word::F32, ty, ty, Word::F32];
        let uses: [Arg; 3] = [a.to_vec().into(), b.to_vec().into(), start.into()];
        self.c.b.assign(Op::Mma, &words, dest, &uses);
    }
}

/// The register that holds the element whose register bits are those in `set`.
fn register_of(layout: &Layout, set: &[Bit]) -> usize {
    let bit = |(at, bit): (usize, &Bit)| if set.contains(bit) { 1 << at } else { 0 };
    layout.register_bits().iter().enumerate().map(bit).sum()
}

/// The bits that are one in a position of an axis.
fn bits_set(axis: AxisId, position: u32) -> impl Iterator<Item = Bit> {
    (0_u8..32).filter(move |bit| position >> bit & 1 == 1).map(move |bit| Bit { axis, bit })
}
