//! Emission of VIR as Cranelift IR.
//!
//! In: a verified function. Out: the CLIF function of the same ABI. A VIR value becomes one CLIF value if it is a scalar,
//! else a group of 128-bit values, lane 0 in the low bits of the first; lanes beyond a short vector hold anything. A mask
//! has 32-bit lanes, all ones or all zeros, whatever it was compared from. The code
//! keeps the order of VIR.
//!
//! Cranelift's optimiser is off (it would collect the multiply-adds of a loop behind all its loads), so VIR has the order
//! of the code. What makes VIR fast here, on x86-64:
//! - A load is folded into its user if it has no other, directly or through what it is splatted into, and no other memory
//!   access lies between the two: load where it is used. A splat with one user is a broadcast from memory.
//! - A multiply-add overwrites its first factor, not the sum, and copies the factor first if it is needed again. A factor
//!   that nothing else needs is made the first one, unless it is a load, which is folded as the second. Where both are needed
//!   again, make the splatted operand the first factor. Sums of a register block then move on by one register for each step of k; unroll
//!   by 2 and go through the rows backwards in every odd step, and they come back without moves. Blocks of 6x2, 5x2 and
//!   4x2 registers reach the full rate of 128-bit multiply-adds; 12x1 reaches 90 % (two loads a cycle).

mod convert;
mod float;
mod half;
mod integer;
mod lanes;
mod memory;
mod readers;
mod shuffle;

use std::collections::BTreeMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, AbiParam, BlockArg, InstBuilder, UserFuncName, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use sawmill_simd::vir::{BlockId, Elem, Function, Group, Inst, Op, Type, Val};

use readers::Readers;

/// The registers of a value.
type Regs = Vec<ir::Value>;

/// Emits a function for the given instruction set; without `fma` that operation is a product and a sum.
pub(crate) fn emit(func: &Function, isa: &dyn TargetIsa, fma: bool) -> ir::Function {
    let mut signature = ir::Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(types::I64); 4];
    let mut clif = ir::Function::with_name_signature(UserFuncName::testcase(&func.name), signature);
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut clif, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let count = func.value_count();
    let mut emitter = Emitter {
        func,
        b,
        values: vec![Vec::new(); count],
        sources: vec![None; count],
        readers: Readers::of(func),
        waiting: BTreeMap::new(),
        fma,
        zero: None,
        lane_constants: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    for (param, value) in func.block(Function::ENTRY).params.iter().zip(params) {
        emitter.values[param.index()] = vec![value];
    }
    emitter.block(Function::ENTRY);
    emitter.b.ins().return_(&[]);
    emitter.b.seal_all_blocks();
    emitter.b.finalize(isa.frontend_config());
    clif
}

/// What is known about where a value came from.
#[derive(Clone, Copy)]
enum Source {
    /// The bits of each lane.
    Const(i64),
    /// The scalar that every lane repeats.
    Splat(Val),
    /// The lane of the vector.
    Lane(Val, usize),
}

struct Emitter<'a, 'b> {
    func: &'a Function,
    b: FunctionBuilder<'b>,
    values: Vec<Regs>,
    sources: Vec<Option<Source>>,
    readers: Readers,
    /// Where loads that wait for their reader will be done.
    waiting: BTreeMap<Val, memory::Place>,
    fma: bool,
    /// The zeros of the current block.
    zero: Option<(ir::Block, ir::Value)>,
    /// Vectors of one 32-bit integer that the current block has.
    lane_constants: BTreeMap<(ir::Block, u32), ir::Value>,
    /// Sums of base and scaled index that the current block has computed.
    places: BTreeMap<(ir::Block, ir::Value, ir::Value, i64), ir::Value>,
}

impl Emitter<'_, '_> {
    fn ty(&self, value: Val) -> Type {
        self.func.ty(value)
    }

    fn regs(&self, value: Val) -> Regs {
        self.values[value.index()].clone()
    }

    /// One register of a value; loads it now if that has waited.
    fn reg(&mut self, value: Val, position: usize) -> ir::Value {
        match self.waiting.get(&value) {
            Some(place) => self.load_register(*place, self.ty(value), position),
            None => self.values[value.index()][position],
        }
    }

    fn scalar(&self, value: Val) -> ir::Value {
        self.values[value.index()][0]
    }

    fn constant_of(&self, value: Val) -> Option<i64> {
        match self.sources[value.index()]? {
            Source::Const(bits) => Some(bits),
            Source::Splat(scalar) => self.constant_of(scalar),
            Source::Lane(..) => None,
        }
    }

    fn flat(&self, values: &[Val]) -> Vec<BlockArg> {
        values.iter().flat_map(|value| self.values[value.index()].iter().map(|reg| BlockArg::Value(*reg))).collect()
    }

    fn block(&mut self, id: BlockId) {
        let func = self.func;
        for inst in &func.block(id).insts {
            let inst = func.inst(*inst);
            match inst.op {
                Op::For => self.for_loop(inst),
                Op::If => self.if_else(inst),
                Op::Store | Op::StorePart | Op::Scatter => self.write(inst),
                _ => {
                    let regs = self.value(inst);
                    self.values[inst.results[0].index()] = regs;
                }
            }
        }
    }

    /// Gives `values` the parameters of a new block.
    fn bind_params(&mut self, block: ir::Block, values: &[Val]) {
        for value in values {
            let ty = self.ty(*value);
            let regs = (0..lanes::count(ty)).map(|_| self.b.append_block_param(block, lanes::clif(ty)));
            self.values[value.index()] = regs.collect();
        }
    }

    /// Tests at the head: Cranelift folds a load into its only user, and a value that both the next turn and the exit
    /// took as an argument would count as used twice.
    fn for_loop(&mut self, inst: &Inst) {
        let body = self.func.block(inst.blocks[0]);
        let (start, end) = (self.scalar(inst.args[0]), self.scalar(inst.args[1]));
        let [head, turn, exit] = [0; 3].map(|_| self.b.create_block());
        self.bind_params(head, &body.params);
        let mut first = vec![BlockArg::Value(start)];
        first.extend(self.flat(&inst.args[2..]));
        self.b.ins().jump(head, &first);
        self.b.switch_to_block(head);
        let iv = self.scalar(body.params[0]);
        let runs = self.b.ins().icmp(IntCC::SignedLessThan, iv, end);
        self.b.ins().brif(runs, turn, &[], exit, &[]);
        self.b.switch_to_block(turn);
        self.block(inst.blocks[0]);
        let next = self.b.ins().iadd_imm_s(iv, inst.imms[0]);
        let mut again = vec![BlockArg::Value(next)];
        again.extend(self.flat(&body.yields));
        self.b.ins().jump(head, &again);
        self.b.switch_to_block(exit);
        for (result, carried) in inst.results.iter().zip(&body.params[1..]) {
            self.values[result.index()] = self.regs(*carried);
        }
    }

    fn if_else(&mut self, inst: &Inst) {
        let cond = self.scalar(inst.args[0]);
        let sides = [self.b.create_block(), self.b.create_block()];
        let join = self.b.create_block();
        self.b.ins().brif(cond, sides[0], &[], sides[1], &[]);
        for (side, block) in sides.into_iter().zip(&inst.blocks) {
            self.b.switch_to_block(side);
            self.block(*block);
            let yields = self.flat(&self.func.block(*block).yields);
            self.b.ins().jump(join, &yields);
        }
        self.bind_params(join, &inst.results);
        self.b.switch_to_block(join);
    }

    /// An instruction with one result.
    fn value(&mut self, inst: &Inst) -> Regs {
        let result = inst.results[0];
        let ty = self.ty(result);
        match (inst.op, inst.op.group()) {
            (Op::Const, _) => {
                self.sources[result.index()] = Some(Source::Const(inst.imms[0]));
                let reg = self.constant(ty, inst.imms[0]);
                vec![reg; lanes::count(ty)]
            }
            (Op::Splat, _) => {
                self.sources[result.index()] = Some(Source::Splat(inst.args[0]));
                let reg = match self.sources[inst.args[0].index()] {
                    Some(Source::Lane(vector, lane)) => self.splat_lane(vector, lane),
                    _ => {
                        let scalar = self.scalar(inst.args[0]);
                        self.splat(ty, scalar)
                    }
                };
                vec![reg; lanes::count(ty)]
            }
            (Op::Iota, _) => self.iota(ty),
            (Op::Bitcast, _) => self.bitcast(inst.args[0], ty),
            (Op::Load, _) => self.load(inst, ty),
            (Op::LoadPart, _) => self.load_part(inst, ty),
            (Op::Gather, _) => self.gather(inst, ty),
            (Op::Extract, _) => {
                let from = self.ty(inst.args[0]);
                let regs = self.regs(inst.args[0]);
                let lane = inst.imms[0] as usize;
                self.sources[result.index()] = Some(Source::Lane(inst.args[0], lane));
                vec![self.lane(&regs, from, lane)]
            }
            (Op::Insert, _) => {
                let mut regs = self.regs(inst.args[0]);
                let scalar = self.scalar(inst.args[1]);
                self.set_lane(&mut regs, ty, inst.imms[0] as usize, scalar);
                regs
            }
            (Op::Shuffle, _) => self.shuffle_lanes(inst),
            (Op::Lookup, _) => {
                let table = self.scalar(inst.args[0]);
                self.regs(inst.args[1]).into_iter().map(|index| self.b.ins().swizzle(table, index)).collect()
            }
            (Op::Select, _) => self.select(inst, ty),
            (Op::Fma, _) => {
                let (first, second) = self.factors(inst.args[0], inst.args[1]);
                let one = |e: &mut Self, i| {
                    let [a, b, c] = [first, second, inst.args[2]].map(|value| e.reg(value, i));
                    e.fma(a, b, c)
                };
                (0..lanes::count(ty)).map(|i| one(self, i)).collect()
            }
            (Op::DotBf16, _) => self.dot_bf16(inst),
            (op, Group::Convert) => self.convert(op, inst.args[0], ty),
            (op, Group::Binary) => self.binary(op, inst.args[0], inst.args[1]),
            (op, _) => self.unary(op, inst.args[0]),
        }
    }

    fn unary(&mut self, op: Op, arg: Val) -> Regs {
        let ty = self.ty(arg);
        let regs = self.regs(arg);
        if let Some(step) = lanes::combiner(op) {
            return vec![self.reduce(step, ty, regs)];
        }
        if !ty.is_scalar() && matches!(op, Op::Popcount | Op::Clz) {
            return self.lane_by_lane(ty, ty.elem, &[&regs], |e, lane| e.int_unary(op, ty.elem, lane[0]));
        }
        let one = |e: &mut Self, reg| match ty.elem.is_float() {
            true => e.float_unary(op, reg),
            false => e.int_unary(op, ty.elem, reg),
        };
        regs.into_iter().map(|reg| one(self, reg)).collect()
    }

    fn binary(&mut self, op: Op, a: Val, b: Val) -> Regs {
        let ty = self.ty(a);
        if ty.elem.is_float() && matches!(op, Op::Add | Op::Sub | Op::Mul) {
            let one = |e: &mut Self, i| {
                let [left, right] = [a, b].map(|value| e.reg(value, i));
                e.float_binary(op, left, right)
            };
            return (0..lanes::count(ty)).map(|i| one(self, i)).collect();
        }
        let (left, right) = (self.regs(a), self.regs(b));
        match op {
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::Ult | Op::Ule => {
                self.compare(op, ty, &left, &right)
            }
            Op::Shl | Op::Shr | Op::Ushr => self.shift(op, a, b),
            Op::Div | Op::Rem if ty.elem.is_int() => self.divide(op, a, b),
            _ => left.iter().zip(&right).map(|(a, b)| self.binary_reg(op, ty.elem, *a, *b)).collect(),
        }
    }

    /// A lane-wise operation on one register.
    fn binary_reg(&mut self, op: Op, elem: Elem, a: ir::Value, b: ir::Value) -> ir::Value {
        if elem.is_float() { self.float_binary(op, a, b) } else { self.int_binary(op, elem, a, b) }
    }

    fn select(&mut self, inst: &Inst, ty: Type) -> Regs {
        let [cond, a, b] = [0, 1, 2].map(|position| self.regs(inst.args[position]));
        if self.ty(inst.args[0]).is_scalar() {
            return a.into_iter().zip(b).map(|(a, b)| self.b.ins().select(cond[0], a, b)).collect();
        }
        let masks = self.mask_for(&cond, ty);
        (0..a.len()).map(|i| self.blend(masks[i], a[i], b[i])).collect()
    }
}
