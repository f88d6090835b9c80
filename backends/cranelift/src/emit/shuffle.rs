//! Moving lanes: shuffles over groups of registers, and reinterpretation between types.

use cranelift_codegen::ir::immediates::V128Imm;
use cranelift_codegen::ir::{self, InstBuilder, types};
use sawmill_simd::vir::{Elem, Inst, Type, Val};

use super::lanes::{clif, count, lane_bits, per_register};
use super::{Emitter, Regs};

/// Where a lane comes from: a register of the operands, and the lane in it.
type Place = (usize, usize);

impl Emitter<'_, '_> {
    /// Any lanes of two registers: numbers from the lanes of a register on mean the second one.
    pub(super) fn permute(&mut self, a: ir::Value, b: ir::Value, lanes: &[usize], elem: Elem) -> ir::Value {
        let bytes = (lane_bits(elem) / 8) as usize;
        let mask = lanes.iter().flat_map(|lane| (0..bytes).map(move |byte| (lane * bytes + byte) as u8));
        let mut imm = [0; 16];
        for (slot, byte) in imm.iter_mut().zip(mask) {
            *slot = byte;
        }
        let (ty, mask) =
            (self.b.func.dfg.value_type(a), self.b.func.dfg.immediates.push(V128Imm(imm).0.as_slice().into()));
        let (a, b) = (self.cast(a, types::I8X16), self.cast(b, types::I8X16));
        let moved = self.b.ins().shuffle(a, b, mask);
        self.cast(moved, ty)
    }

    pub(super) fn shuffle_lanes(&mut self, inst: &Inst) -> Regs {
        let from = self.ty(inst.args[0]);
        let to = self.ty(inst.results[0]);
        let per = per_register(from.elem);
        let (n, each) = (usize::from(from.lanes), count(from));
        let sources: Regs = [self.regs(inst.args[0]), self.regs(inst.args[1])].concat();
        let place = |lane: i64| -> Place {
            let (operand, lane) = (lane as usize / n, lane as usize % n);
            (operand * each + lane / per, lane % per)
        };
        let places: Vec<Place> = inst.imms.iter().map(|lane| place(*lane)).collect();
        places.chunks(per).map(|wanted| self.collect(&sources, wanted, to.elem)).collect()
    }

    /// One register from lanes of any registers; lanes beyond `wanted` may hold anything.
    fn collect(&mut self, sources: &[ir::Value], wanted: &[Place], elem: Elem) -> ir::Value {
        let per = per_register(elem);
        let mut used: Vec<usize> = Vec::new();
        for (register, _) in wanted {
            // Two operands may be the same value: then one register is enough.
            if !used.iter().any(|known| sources[*known] == sources[*register]) {
                used.push(*register);
            }
        }
        let slot = |register: usize| used.iter().position(|known| sources[*known] == sources[register]);
        let first = sources[used[0]];
        if used.len() == 1 && wanted.iter().enumerate().all(|(lane, (_, from))| lane == *from) {
            return first;
        }
        // Takes in one more register at a time; the lanes that it does not give stay where they are.
        let mut result = first;
        for position in 1..used.len().max(2) {
            let other = used.get(position).map_or(first, |register| sources[*register]);
            let lane_from = |lane: usize| match wanted.get(lane) {
                None => default_lane(wanted, lane, per),
                Some((register, from)) => match slot(*register) {
                    Some(0) if position == 1 => *from,
                    Some(known) if known == position => per + from,
                    _ => lane,
                },
            };
            let lanes: Vec<usize> = (0..per).map(lane_from).collect();
            result = self.permute(result, other, &lanes, elem);
        }
        result
    }

    /// The same bits as another type.
    pub(super) fn bitcast(&mut self, value: Val, to: Type) -> Regs {
        let from = self.ty(value);
        let regs = self.regs(value);
        match (from.is_scalar(), to.is_scalar()) {
            (true, true) => vec![self.cast(regs[0], clif(to))],
            (false, false) => regs.into_iter().map(|reg| self.cast(reg, clif(to))).collect(),
            (true, false) => vec![self.low_bits_to_vector(regs[0], clif(to))],
            (false, true) => {
                let reg = self.cast(regs[0], clif(to.with_lanes(2)));
                vec![self.b.ins().extractlane(reg, 0)]
            }
        }
    }

    /// A register whose low bits are the scalar's.
    pub(super) fn low_bits_to_vector(&mut self, scalar: ir::Value, to: ir::Type) -> ir::Value {
        let ty = self.b.func.dfg.value_type(scalar);
        let scalar = if ty.bits() < 32 { self.b.ins().uextend(types::I32, scalar) } else { scalar };
        let ty = self.b.func.dfg.value_type(scalar);
        let vector = self.b.ins().scalar_to_vector(ty.by(128 / ty.bits()).unwrap_or(types::I32X4), scalar);
        self.cast(vector, to)
    }
}

/// A choice for a lane that nobody needs: continues the period of the wanted lanes, which often is one instruction.
fn default_lane(wanted: &[Place], lane: usize, per: usize) -> usize {
    match wanted.first() {
        Some((_, from)) => (from + lane) % per,
        None => lane,
    }
}
