//! Lanes and registers: how VIR types lie in 128-bit registers, constants, single lanes, masks and reductions.

use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use sawmill_simd::vir::{Elem, Op, Type, Val};

use super::{Emitter, Regs};

/// Bits of a vector register.
const REGISTER: u32 = 128;

/// Bits of a lane in a register.
pub(super) fn lane_bits(elem: Elem) -> u32 {
    if elem == Elem::Bool { 32 } else { elem.bits() }
}

/// Lanes that fit a register.
pub(super) fn per_register(elem: Elem) -> usize {
    (REGISTER / lane_bits(elem)) as usize
}

/// CLIF values that hold a VIR value.
pub(super) fn count(ty: Type) -> usize {
    if ty.is_scalar() { 1 } else { usize::from(ty.lanes).div_ceil(per_register(ty.elem)) }
}

/// The type of each of these values.
pub(super) fn clif(ty: Type) -> ir::Type {
    match (ty.elem, ty.is_scalar()) {
        (Elem::Bool | Elem::I8, true) => types::I8,
        (Elem::I16, true) => types::I16,
        (Elem::I32, true) => types::I32,
        (Elem::I64, true) => types::I64,
        (Elem::F32, true) => types::F32,
        (Elem::F64, true) => types::F64,
        (Elem::I8, false) => types::I8X16,
        (Elem::I16, false) => types::I16X8,
        (Elem::Bool | Elem::I32, false) => types::I32X4,
        (Elem::I64, false) => types::I64X2,
        (Elem::F32, false) => types::F32X4,
        (Elem::F64, false) => types::F64X2,
    }
}

/// The lane-wise operation that a reduction repeats.
pub(super) fn combiner(op: Op) -> Option<Op> {
    Some(match op {
        Op::ReduceAdd => Op::Add,
        Op::ReduceMul => Op::Mul,
        Op::ReduceMax => Op::Max,
        Op::ReduceMin => Op::Min,
        Op::ReduceAnd => Op::And,
        Op::ReduceOr => Op::Or,
        _ => return None,
    })
}

/// The bytes of a register whose lanes are `lanes`.
fn register_bytes(elem: Elem, lanes: impl Iterator<Item = i64>) -> Vec<u8> {
    let bytes = (lane_bits(elem) / 8) as usize;
    lanes.flat_map(|bits| bits.to_le_bytes()[..bytes].to_vec()).collect()
}

impl Emitter<'_, '_> {
    /// A register with these 16 bytes.
    pub(super) fn vector_constant(&mut self, clif: ir::Type, bytes: Vec<u8>) -> ir::Value {
        let constant = self.b.func.dfg.constants.insert(bytes.into());
        self.b.ins().vconst(clif, constant)
    }

    /// A scalar constant, or one register of a vector constant; a mask lane is all ones for 1.
    pub(super) fn constant(&mut self, ty: Type, bits: i64) -> ir::Value {
        if !ty.is_scalar() {
            let lane = if ty.elem == Elem::Bool { -(bits & 1) } else { bits };
            let lanes = std::iter::repeat_n(lane, per_register(ty.elem));
            return self.vector_constant(clif(ty), register_bytes(ty.elem, lanes));
        }
        match ty.elem {
            Elem::F32 => self.b.ins().f32const(f32::from_bits(bits as u32)),
            Elem::F64 => self.b.ins().f64const(f64::from_bits(bits.cast_unsigned())),
            Elem::Bool => self.b.ins().iconst(types::I8, bits & 1),
            elem => {
                let unused = 64 - elem.bits();
                let low = (bits.cast_unsigned() << unused >> unused).cast_signed();
                self.b.ins().iconst(clif(ty), low)
            }
        }
    }

    /// A register of zeros, one for each block.
    pub(super) fn zero(&mut self) -> ir::Value {
        let block = self.b.current_block();
        match self.zero {
            Some((known, zero)) if Some(known) == block => zero,
            _ => {
                let zero = self.vector_constant(types::I8X16, vec![0; 16]);
                self.zero = block.map(|block| (block, zero));
                zero
            }
        }
    }

    /// An integer in every lane of a CLIF type of 32-bit lanes, one for each block, or as an i32.
    pub(super) fn int32(&mut self, shape: ir::Type, bits: u32) -> ir::Value {
        if !shape.is_vector() {
            return self.constant(Type::I32, i64::from(bits));
        }
        let key = self.b.current_block().map(|block| (block, bits));
        if let Some(known) = key.and_then(|key| self.lane_constants.get(&key)) {
            return *known;
        }
        let value = self.constant(Type::vector(Elem::I32, 4), i64::from(bits));
        if let Some(key) = key {
            self.lane_constants.insert(key, value);
        }
        value
    }

    pub(super) fn iota(&mut self, ty: Type) -> Regs {
        let per = per_register(ty.elem) as i64;
        let register = |e: &mut Self, r: i64| {
            let bytes = register_bytes(ty.elem, (0..per).map(|lane| r * per + lane));
            e.vector_constant(clif(ty), bytes)
        };
        (0..count(ty) as i64).map(|r| register(self, r)).collect()
    }

    /// One register whose lanes all hold the scalar.
    pub(super) fn splat(&mut self, ty: Type, scalar: ir::Value) -> ir::Value {
        let scalar = if ty.elem == Elem::Bool { self.lane_of_bool(scalar) } else { scalar };
        self.b.ins().splat(clif(ty), scalar)
    }

    /// One register whose lanes all hold the lane of a vector.
    pub(super) fn splat_lane(&mut self, vector: Val, lane: usize) -> ir::Value {
        let elem = self.ty(vector).elem;
        let per = per_register(elem);
        let reg = self.values[vector.index()][lane / per];
        self.permute(reg, reg, &vec![lane % per; per], elem)
    }

    /// A scalar truth value as a lane of a mask.
    fn lane_of_bool(&mut self, scalar: ir::Value) -> ir::Value {
        let wide = self.b.ins().uextend(types::I32, scalar);
        self.b.ins().ineg(wide)
    }

    /// Another type for the same 128 bits.
    pub(super) fn cast(&mut self, reg: ir::Value, to: ir::Type) -> ir::Value {
        if self.b.func.dfg.value_type(reg) == to {
            return reg;
        }
        let flags = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        self.b.ins().bitcast(to, flags, reg)
    }

    /// One lane as a scalar.
    pub(super) fn lane(&mut self, regs: &[ir::Value], ty: Type, lane: usize) -> ir::Value {
        let per = per_register(ty.elem);
        let scalar = self.b.ins().extractlane(regs[lane / per], (lane % per) as u8);
        if ty.elem != Elem::Bool {
            return scalar;
        }
        let low = self.b.ins().ireduce(types::I8, scalar);
        self.b.ins().band_imm_s(low, 1)
    }

    /// Replaces one lane.
    pub(super) fn set_lane(&mut self, regs: &mut [ir::Value], ty: Type, lane: usize, scalar: ir::Value) {
        let per = per_register(ty.elem);
        let scalar = if ty.elem == Elem::Bool { self.lane_of_bool(scalar) } else { scalar };
        regs[lane / per] = self.b.ins().insertlane(regs[lane / per], scalar, (lane % per) as u8);
    }

    /// For operations that the vector unit lacks: takes the lanes apart and puts the results together.
    pub(super) fn lane_by_lane(
        &mut self,
        from: Type,
        to: Elem,
        args: &[&[ir::Value]],
        mut one: impl FnMut(&mut Self, &[ir::Value]) -> ir::Value,
    ) -> Regs {
        let ty = from.with_elem(to);
        if ty.is_scalar() {
            let lanes: Vec<ir::Value> = args.iter().map(|regs| regs[0]).collect();
            return vec![one(self, &lanes)];
        }
        let zero = self.constant(ty, 0);
        let mut result = vec![zero; count(ty)];
        for lane in 0..usize::from(ty.lanes) {
            let lanes: Vec<ir::Value> = args.iter().map(|regs| self.lane(regs, from, lane)).collect();
            let scalar = one(self, &lanes);
            self.set_lane(&mut result, ty, lane, scalar);
        }
        result
    }

    /// The first register where the mask is all ones, the second where it is all zeros; the mask has their lane width.
    pub(super) fn blend(&mut self, mask: ir::Value, a: ir::Value, b: ir::Value) -> ir::Value {
        let mask = self.cast(mask, self.b.func.dfg.value_type(a));
        self.b.ins().bitselect(mask, a, b)
    }

    /// Combines the halves of a vector until one lane is left.
    pub(super) fn reduce(&mut self, op: Op, ty: Type, mut regs: Regs) -> ir::Value {
        while regs.len() > 1 {
            let high = regs.split_off(regs.len() / 2);
            regs = regs.into_iter().zip(high).map(|(a, b)| self.binary_reg(op, ty.elem, a, b)).collect();
        }
        let per = per_register(ty.elem);
        let mut live = per.min(usize::from(ty.lanes));
        let mut reg = regs[0];
        while live > 1 {
            live /= 2;
            // Lanes that nobody needs any more take what a rotation puts there, which is one cheap instruction.
            let rotated: Vec<usize> = (0..per).map(|lane| (lane + live) % per).collect();
            let high = self.permute(reg, reg, &rotated, ty.elem);
            reg = self.binary_reg(op, ty.elem, reg, high);
        }
        self.lane(&[reg], ty, 0)
    }
}
