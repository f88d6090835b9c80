//! Layout conversion, coordinates, slices, renaming.
//!
//! In: a tile in a layout. Out: the same tile in another one. Where each thread already has what it needs, nothing is moved;
//! otherwise the tile goes through shared memory.

use super::Lower;
use crate::inst::{Op, Reg, Word};
use crate::layout::Layout;
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{AxisId, Inst};

impl Lower<'_> {
    /// A tile in another layout.
    pub(super) fn convert(&mut self, dtype: DType, from: &Layout, regs: &[Reg], to: &Layout) -> Vec<Reg> {
        if from == to {
            return regs.to_vec();
        }
        if from.thread_bits() == to.thread_bits() {
            return (0..to.registers()).map(|r| regs[from.register_like(to, r) as usize]).collect();
        }
        let lanes = to.lane_axis().or(from.lane_axis());
        let mut axes: Vec<AxisId> = lanes.into_iter().collect();
        axes.extend(from.axes().into_iter().filter(|a| Some(*a) != lanes));
        let home = self.home_for(dtype, None, &axes);
        self.write_home(&home, from, regs);
        let read = self.read_home(&home, to);
        self.room.free(home.range);
        read
    }

    /// base, base + 1, ..
    pub(super) fn coord(&mut self, inst: &Inst, axis: AxisId) {
        let base = self.scalar(inst.args[0]);
        self.define(inst.results[0], |s, layout| {
            let first = match s.wide_part(layout, axis) {
                Some(part) => s.c.add(DType::I64, base, part),
                None => base,
            };
            let mut at = |register| match layout.register_part(axis, register) {
                0 => first,
                here => s.c.add(DType::I64, first, i64::from(here)),
            };
            (0..layout.registers()).map(&mut at).collect()
        });
    }

    /// The same registers under other names.
    pub(super) fn rename(&mut self, inst: &Inst, pairs: &[(AxisId, AxisId)]) {
        let old = |axis| pairs.iter().find(|(_, to)| *to == axis).map_or(axis, |(from, _)| *from);
        self.define(inst.results[0], |s, layout| s.read(inst.args[0], &layout.renamed(old)).1);
    }

    /// The tile at a position of an axis, from the operand's home.
    pub(super) fn slice(&mut self, inst: &Inst, axis: AxisId) {
        let Some(home) = self.home(inst.args[0]) else { return };
        let position = self.scalar(inst.args[1]);
        let narrow = self.c.convert(&[Word::U32, Word::U64], position);
        let moved = self.c.two(Op::Mul, &[Word::Lo, Word::U32], narrow, home.stride(axis) * home.bytes());
        self.define(inst.results[0], |s, layout| {
            s.before_read(home.range);
            let address = s.home_address(&home, layout);
            let address = s.c.add(DType::I32, address, moved);
            let places: Vec<u32> = (0..layout.registers()).map(|r| home.static_place(layout, r)).collect();
            places.into_iter().map(|place| s.read_place(&home, address, place)).collect()
        });
    }
}
