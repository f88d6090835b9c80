//! Loads and stores: whole vectors, their first lanes, and lane by lane.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, types};
use sawmill_simd::vir::{Elem, Inst, Op, Type, Val};

use super::lanes::{clif, count};
use super::readers::Wait;
use super::{Emitter, Regs};

/// An address without its constant part, and the constant part.
#[derive(Clone, Copy)]
pub(super) struct Place {
    base: ir::Value,
    disp: i32,
}

impl Place {
    fn offset(self, bytes: usize) -> Place {
        Place { base: self.base, disp: self.disp + bytes as i32 }
    }
}

/// Accesses never trap where VIR is right, and have any alignment.
fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// The element type of a vector in memory: masks are bytes.
fn stored(ty: Type) -> Type {
    if ty.elem == Elem::Bool { ty.with_elem(Elem::I8) } else { ty }
}

impl Emitter<'_, '_> {
    pub(super) fn load(&mut self, inst: &Inst, ty: Type) -> Regs {
        let place = self.place(&inst.args, &inst.imms);
        let waits = match self.readers.waits(inst.results[0]) {
            Some(Wait::Folded) => count(ty) > 1,
            Some(Wait::Extended) => true,
            None => false,
        };
        if waits {
            self.waiting.insert(inst.results[0], place);
            return Regs::new();
        }
        self.load_at(place, ty)
    }

    /// One register of a vector of several.
    pub(super) fn load_register(&mut self, place: Place, ty: Type, position: usize) -> ir::Value {
        let place = place.offset(position * 16);
        self.b.ins().load(clif(ty), flags(), place.base, place.disp)
    }

    pub(super) fn write(&mut self, inst: &Inst) {
        let ty = self.ty(inst.args[0]);
        match inst.op {
            Op::Store => {
                let place = self.place(&inst.args[1..], &inst.imms);
                let regs = self.regs(inst.args[0]);
                self.store_at(place, ty, &regs);
            }
            Op::StorePart => self.store_part(inst, ty),
            _ => self.scatter(inst, ty),
        }
    }

    /// `base + index * scale + disp` in the shape that address modes fold.
    fn place(&mut self, args: &[Val], imms: &[i64]) -> Place {
        let base = self.scalar(args[0]);
        let index = args.get(1).map(|index| self.scalar(*index));
        self.place_of(base, index, imms)
    }

    fn place_of(&mut self, base: ir::Value, index: Option<ir::Value>, imms: &[i64]) -> Place {
        let disp = imms[1] as i32;
        let Some(index) = index else { return Place { base, disp } };
        let key = self.b.current_block().map(|block| (block, base, index, imms[0]));
        if let Some(sum) = key.and_then(|key| self.places.get(&key)) {
            return Place { base: *sum, disp };
        }
        let scaled = match imms[0] {
            1 => index,
            scale if scale.count_ones() == 1 => self.b.ins().ishl_imm_s(index, i64::from(scale.trailing_zeros())),
            scale => self.b.ins().imul_imm_s(index, scale),
        };
        let sum = self.b.ins().iadd(base, scaled);
        if let Some(key) = key {
            self.places.insert(key, sum);
        }
        Place { base: sum, disp }
    }

    fn load_at(&mut self, place: Place, ty: Type) -> Regs {
        if ty.elem == Elem::Bool {
            let bytes = self.load_at(place, stored(ty));
            return self.bytes_to_bools(&bytes, ty);
        }
        if ty.is_scalar() {
            return vec![self.b.ins().load(clif(ty), flags(), place.base, place.disp)];
        }
        if let Some(part) = short_scalar(ty) {
            let bits = self.b.ins().load(part, flags(), place.base, place.disp);
            return vec![self.low_bits_to_vector(bits, clif(ty))];
        }
        (0..count(ty)).map(|i| self.load_register(place, ty, i)).collect()
    }

    /// Narrow integers, twice as wide: 8 bytes of memory for each register.
    pub(super) fn load_extended(&mut self, place: Place, ty: Type, signed: bool) -> Regs {
        let load = |e: &mut Self, i: usize| {
            let (Place { base, disp }, ins) = (place.offset(i * 8), e.b.ins());
            match (ty.elem, signed) {
                (Elem::I8, true) => ins.sload8x8(flags(), base, disp),
                (Elem::I8, false) => ins.uload8x8(flags(), base, disp),
                (_, true) => ins.sload16x4(flags(), base, disp),
                (_, false) => ins.uload16x4(flags(), base, disp),
            }
        };
        (0..ty.bytes() as usize / 8).map(|i| load(self, i)).collect()
    }

    fn store_at(&mut self, place: Place, ty: Type, regs: &[ir::Value]) {
        if ty.elem == Elem::Bool && !ty.is_scalar() {
            let bytes = self.bools_to_bytes(regs, ty);
            return self.store_at(place, stored(ty), &bytes);
        }
        if let Some(part) = short_scalar(ty) {
            let wide = self.cast(regs[0], part.by(128 / part.bits()).unwrap_or(types::I32X4));
            let bits = self.b.ins().extractlane(wide, 0);
            self.b.ins().store(flags(), bits, place.base, place.disp);
            return;
        }
        for (i, reg) in regs.iter().enumerate() {
            let place = place.offset(i * 16);
            self.b.ins().store(flags(), *reg, place.base, place.disp);
        }
    }

    fn bytes_to_bools(&mut self, bytes: &[ir::Value], ty: Type) -> Regs {
        let zero = self.constant(stored(ty), 0);
        let zeros = vec![zero; bytes.len()];
        self.compare(Op::Ne, stored(ty), bytes, &zeros)
    }

    fn bools_to_bytes(&mut self, mask: &[ir::Value], ty: Type) -> Regs {
        let bytes = self.mask_for(mask, stored(ty));
        let one = self.constant(stored(ty), 1);
        bytes.into_iter().map(|reg| self.b.ins().band(reg, one)).collect()
    }

    /// Room on the stack for a vector.
    fn stack_room(&mut self, ty: Type) -> Place {
        let bytes = stored(ty).bytes().max(16);
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4));
        Place { base: self.b.ins().stack_addr(types::I64, slot, 0), disp: 0 }
    }

    pub(super) fn load_part(&mut self, inst: &Inst, ty: Type) -> Regs {
        let count_value = self.scalar(inst.args[0]);
        let place = self.place(&inst.args[1..], &inst.imms);
        let [whole, part, done] = self.whole_or_part(count_value, ty);
        self.b.switch_to_block(whole);
        let regs = self.load_at(place, ty);
        self.jump(done, &regs);
        self.b.switch_to_block(part);
        let room = self.stack_room(ty);
        let zero = self.constant(ty, 0);
        self.store_at(room, ty, &vec![zero; count(ty)]);
        self.copy_elements(place, room, ty, count_value);
        let regs = self.load_at(room, ty);
        self.jump(done, &regs);
        self.b.switch_to_block(done);
        (0..count(ty)).map(|_| self.b.append_block_param(done, clif(ty))).collect()
    }

    fn store_part(&mut self, inst: &Inst, ty: Type) {
        let regs = self.regs(inst.args[0]);
        let count_value = self.scalar(inst.args[1]);
        let place = self.place(&inst.args[2..], &inst.imms);
        let [whole, part, done] = self.whole_or_part(count_value, ty);
        self.b.switch_to_block(whole);
        self.store_at(place, ty, &regs);
        self.jump(done, &[]);
        self.b.switch_to_block(part);
        let room = self.stack_room(ty);
        self.store_at(room, ty, &regs);
        self.copy_elements(room, place, ty, count_value);
        self.jump(done, &[]);
        self.b.switch_to_block(done);
    }

    /// Branches on whether `count_value` covers all lanes.
    fn whole_or_part(&mut self, count_value: ir::Value, ty: Type) -> [ir::Block; 3] {
        let blocks = [0; 3].map(|_| self.b.create_block());
        let covers = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, count_value, i64::from(ty.lanes));
        self.b.ins().brif(covers, blocks[0], &[], blocks[1], &[]);
        blocks
    }

    fn jump(&mut self, to: ir::Block, values: &[ir::Value]) {
        let args: Vec<BlockArg> = values.iter().map(|value| BlockArg::Value(*value)).collect();
        self.b.ins().jump(to, &args);
    }

    /// A loop that copies the first `count_value` elements.
    fn copy_elements(&mut self, from: Place, to: Place, ty: Type, count_value: ir::Value) {
        let bytes = i64::from(stored(ty).elem.bytes());
        let element = clif(stored(ty).with_lanes(1));
        let zero = self.b.ins().iconst(types::I64, 0);
        // A negative count times the element's size might come out positive.
        let count_value = self.b.ins().smax(count_value, zero);
        let end = self.b.ins().imul_imm_s(count_value, bytes);
        let [turn, exit] = [0; 2].map(|_| self.b.create_block());
        let at = self.b.append_block_param(turn, types::I64);
        let runs = self.b.ins().icmp(IntCC::SignedLessThan, zero, end);
        self.b.ins().brif(runs, turn, &[BlockArg::Value(zero)], exit, &[]);
        self.b.switch_to_block(turn);
        let source = self.b.ins().iadd(from.base, at);
        let value = self.b.ins().load(element, flags(), source, from.disp);
        let target = self.b.ins().iadd(to.base, at);
        self.b.ins().store(flags(), value, target, to.disp);
        let next = self.b.ins().iadd_imm_s(at, bytes);
        let runs = self.b.ins().icmp(IntCC::SignedLessThan, next, end);
        self.b.ins().brif(runs, turn, &[BlockArg::Value(next)], exit, &[]);
        self.b.switch_to_block(exit);
    }

    /// The address of one lane of a gather or scatter.
    fn lane_place(&mut self, args: &[Val], imms: &[i64], lane: usize) -> Place {
        let indices_ty = self.ty(args[1]);
        let indices = self.regs(args[1]);
        let index = self.lane(&indices, indices_ty, lane);
        let index = match indices_ty.elem {
            Elem::I64 => index,
            _ => self.b.ins().sextend(types::I64, index),
        };
        let base = self.scalar(args[0]);
        self.place_of(base, Some(index), imms)
    }

    pub(super) fn gather(&mut self, inst: &Inst, ty: Type) -> Regs {
        let zero = self.constant(ty, 0);
        let mut result = vec![zero; count(ty)];
        for lane in 0..usize::from(ty.lanes) {
            let scalar = ty.with_lanes(1);
            let value = match inst.args.get(2) {
                None => {
                    let place = self.lane_place(&inst.args, &inst.imms, lane);
                    self.load_at(place, scalar)[0]
                }
                Some(mask) => {
                    let [active, done] = self.lane_branch(*mask, lane, scalar);
                    self.b.switch_to_block(active);
                    let place = self.lane_place(&inst.args, &inst.imms, lane);
                    let value = self.load_at(place, scalar);
                    self.jump(done, &value);
                    self.b.switch_to_block(done);
                    self.b.block_params(done)[0]
                }
            };
            self.set_lane(&mut result, ty, lane, value);
        }
        result
    }

    /// Goes to the first block if the mask has the lane, else straight to the second with 0.
    fn lane_branch(&mut self, mask: Val, lane: usize, scalar: Type) -> [ir::Block; 2] {
        let [active, done] = [0; 2].map(|_| self.b.create_block());
        self.b.append_block_param(done, clif(scalar));
        let (regs, mask_ty) = (self.regs(mask), self.ty(mask));
        let cond = self.lane(&regs, mask_ty, lane);
        let zero = self.constant(scalar, 0);
        self.b.ins().brif(cond, active, &[], done, &[BlockArg::Value(zero)]);
        [active, done]
    }

    fn scatter(&mut self, inst: &Inst, ty: Type) {
        let regs = self.regs(inst.args[0]);
        for lane in 0..usize::from(ty.lanes) {
            let value = self.lane(&regs, ty, lane);
            let branch = inst.args.get(3).map(|mask| self.lane_branch(*mask, lane, ty.with_lanes(1)));
            if let Some([active, _]) = branch {
                self.b.switch_to_block(active);
            }
            let place = self.lane_place(&inst.args[1..], &inst.imms, lane);
            self.store_at(place, ty.with_lanes(1), &[value]);
            if let Some([_, done]) = branch {
                self.jump(done, &[value]);
                self.b.switch_to_block(done);
            }
        }
    }
}

/// The scalar with as many bits as a vector shorter than a register.
fn short_scalar(ty: Type) -> Option<ir::Type> {
    match (ty.is_scalar(), ty.bytes()) {
        (false, 2) => Some(types::I16),
        (false, 4) => Some(types::I32),
        (false, 8) => Some(types::I64),
        _ => None,
    }
}
