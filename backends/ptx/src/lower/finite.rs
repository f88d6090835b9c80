//! Whether all of a tile is finite, from its 16-bit elements in shared memory.
//!
//! In: `reduce all (lt (abs x) inf)` over all axes of a tile that a product reads at home. Out: the truth value, in all threads.
//! Every thread looks at eight neighbours at a time. A float is infinite or no number where all bits of its exponent are ones;
//! adding a one at the exponent's lowest bit then carries into the sign's place, for two elements of a word at once.

use super::Lower;
use crate::inst::{Op, Reg, Word, at};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ReduceOp;
use sawmill_ir::tile::{Inst, Value};

/// The exponents of two elements, their lowest bits.
fn exponents(format: DType) -> [u32; 2] {
    match format {
        DType::F16 => [0x7c00_7c00, 0x0400_0400],
        _ => [0x7f80_7f80, 0x0080_0080],
    }
}

impl Lower<'_> {
    /// Whether no element of `tile` is infinite or NaN.
    pub(super) fn all_finite(&mut self, inst: &Inst, tile: Value) {
        let (Some(home), Some(format)) = (self.home(tile), self.assigned.narrow(tile)) else { return };
        let Some((inner, _)) = home.strides.first().copied() else { return };
        self.before_read(home.range);
        let layout = self.chunks(&home, inner);
        let address = self.home_address(&home, &layout);
        let axes = self.kernel.values[tile].axes.clone();
        let [exponent, one] = exponents(format);
        let carried = self.c.b.mov(Word::B32, 0_u32);
        for register in 0..layout.registers() {
            let Ok(within) = self.within(&layout, &axes, register) else { continue };
            let offset = self.offset(&home, home.static_place(&layout, register));
            let words = self.c.b.ops(Op::Ld, &[Word::Shared, Word::V4, Word::B32], &[at(address, offset)]);
            let mut all: Option<Reg> = None;
            for word in words {
                let bits = self.c.logic(Op::And, DType::U32, word, exponent);
                let sum = self.c.add(DType::U32, bits, one);
                all = Some(all.map_or(sum, |all| self.c.logic(Op::Or, DType::U32, all, sum)));
            }
            let Some(all) = all else { continue };
            let uses = [carried.into(), all.into()];
            self.c.guarded(within, |b| b.assign(Op::Or, &[Word::B32], carried, &uses));
        }
        let signs = self.c.logic(Op::And, DType::U32, carried, 0x8000_8000_u32);
        let finite = self.c.compare(Word::Eq, DType::U32, signs, 0_u32);
        let parts = self.across_lanes(ReduceOp::All, &layout, &axes, vec![(DType::Bool, finite)]);
        let all = self.across_warps(ReduceOp::All, &layout, &axes, vec![parts]);
        let result = all.first().and_then(|parts| parts.first()).map_or(finite, |(_, reg)| *reg);
        self.define(inst.results[0], |_, _| vec![result]);
    }
}
