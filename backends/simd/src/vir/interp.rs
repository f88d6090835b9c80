//! The interpreter of VIR: what a function means.
//!
//! In: a verified function, a [`Memory`], the argument words and the range of grid blocks. Out: the memory afterwards.
//! An access outside of memory, a use of too many steps and a block number out of order are errors with the instruction.

use sawmill_ir::error::VerifyError;

use super::func::{BlockId, Function, Inst, Val};
use super::memory::Memory;
use super::ops::{Group, Op};
use super::scalar;
use super::types::{Elem, Type};

/// How to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether `fma` rounds once, as a target with the instruction does.
    pub fused: bool,
    /// Instructions after which a run is given up.
    pub max_steps: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { fused: true, max_steps: 1 << 32 }
    }
}

/// Runs grid blocks `first..end` of a function.
///
/// # Errors
/// The instruction that reached outside of memory or exceeded `max_steps`.
pub fn interpret(
    func: &Function,
    memory: &mut Memory,
    args: &[u64],
    (first, end): (u64, u64),
    options: Options,
) -> Result<(), VerifyError> {
    let words = args.iter().flat_map(|word| word.to_le_bytes()).collect();
    // Scratch holds no promised contents; a pattern makes a read before a write visible.
    let scratch = usize::try_from(func.scratch_bytes).ok().map(|bytes| vec![0xa5; bytes]);
    let scratch = scratch.ok_or_else(|| error(func, "its scratch", "exceeds the address space"))?;
    let params = [memory.alloc(words), first, end, memory.alloc(scratch)];
    let mut run = Run { func, memory, values: vec![Vec::new(); func.value_count()], options, steps: 0 };
    run.bind(&func.block(Function::ENTRY).params, &params.map(|word| vec![word]));
    run.block(Function::ENTRY)
}

fn error(func: &Function, entity: impl Into<String>, message: impl Into<String>) -> VerifyError {
    VerifyError { function: func.name.clone(), entity: entity.into(), message: message.into() }
}

struct Run<'a> {
    func: &'a Function,
    memory: &'a mut Memory,
    values: Vec<Vec<u64>>,
    options: Options,
    steps: u64,
}

impl Run<'_> {
    fn bind(&mut self, names: &[Val], values: &[Vec<u64>]) {
        for (name, value) in names.iter().zip(values) {
            self.values[name.index()].clone_from(value);
        }
    }

    fn take(&self, names: &[Val]) -> Vec<Vec<u64>> {
        names.iter().map(|name| self.values[name.index()].clone()).collect()
    }

    fn lanes(&self, value: Val) -> &[u64] {
        &self.values[value.index()]
    }

    fn scalar(&self, value: Val) -> i64 {
        scalar::to_int(self.func.ty(value).elem, self.lanes(value)[0])
    }

    fn block(&mut self, id: BlockId) -> Result<(), VerifyError> {
        let func = self.func;
        for inst in &func.block(id).insts {
            let inst = func.inst(*inst);
            self.steps += 1;
            if self.steps > self.options.max_steps {
                return Err(error(func, func.head_text(inst), "too many steps"));
            }
            match inst.op {
                Op::For => self.for_loop(inst)?,
                Op::If => self.if_else(inst)?,
                Op::Store | Op::StorePart | Op::Scatter => self.write(inst)?,
                Op::Load | Op::LoadPart | Op::Gather => {
                    let lanes = self.read(inst)?;
                    self.bind(&inst.results, &[lanes]);
                }
                _ => {
                    let lanes = self.compute(inst).ok_or_else(|| {
                        error(func, func.head_text(inst), "the interpreter has no meaning for this element")
                    })?;
                    self.bind(&inst.results, &[lanes]);
                }
            }
        }
        Ok(())
    }

    fn for_loop(&mut self, inst: &Inst) -> Result<(), VerifyError> {
        let body = self.func.block(inst.blocks[0]);
        let mut carried = self.take(&inst.args[2..]);
        let (mut iv, end) = (self.scalar(inst.args[0]), self.scalar(inst.args[1]));
        while iv < end {
            self.bind(&body.params[..1], &[vec![iv.cast_unsigned()]]);
            self.bind(&body.params[1..], &carried);
            self.block(inst.blocks[0])?;
            carried = self.take(&body.yields);
            iv = iv.wrapping_add(inst.imms[0]);
        }
        self.bind(&inst.results, &carried);
        Ok(())
    }

    fn if_else(&mut self, inst: &Inst) -> Result<(), VerifyError> {
        let side = inst.blocks[usize::from(self.scalar(inst.args[0]) == 0)];
        self.block(side)?;
        let values = self.take(&self.func.block(side).yields);
        self.bind(&inst.results, &values);
        Ok(())
    }

    /// Addresses of the lanes of an access, `None` for lanes that are left out. `args` start with the base.
    fn places(&self, op: Op, args: &[Val], imms: &[i64], ty: Type, count: Option<Val>) -> Vec<Option<u64>> {
        let base = self.scalar(args[0]).wrapping_add(imms[1]);
        let lane_place = |lane: usize| -> i64 {
            let scaled = |index: i64| index.wrapping_mul(imms[0]);
            match (op, args.get(1)) {
                (Op::Gather | Op::Scatter, Some(indices)) => {
                    scaled(scalar::to_int(self.func.ty(*indices).elem, self.lanes(*indices)[lane]))
                }
                (_, index) => {
                    index.map_or(0, |index| scaled(self.scalar(*index))) + lane as i64 * i64::from(ty.elem.bytes())
                }
            }
        };
        let active = |lane: usize| match (op, args.get(2), count) {
            (Op::Gather | Op::Scatter, Some(mask), _) => self.lanes(*mask)[lane] != 0,
            (_, _, Some(count)) => (lane as i64) < self.scalar(count),
            _ => true,
        };
        let place = |lane| active(lane).then(|| base.wrapping_add(lane_place(lane)).cast_unsigned());
        (0..usize::from(ty.lanes)).map(place).collect()
    }

    fn read(&self, inst: &Inst) -> Result<Vec<u64>, VerifyError> {
        let ty = self.func.ty(inst.results[0]);
        let (count, args) = match inst.op {
            Op::LoadPart => (Some(inst.args[0]), &inst.args[1..]),
            _ => (None, &inst.args[..]),
        };
        let read = |place: Option<u64>| match place {
            None => Ok(0),
            Some(address) => {
                let bits = self.memory.read(address, ty.elem.bytes()).ok_or_else(|| self.outside(inst, address))?;
                Ok(if ty.elem == Elem::Bool { u64::from(bits != 0) } else { bits })
            }
        };
        self.places(inst.op, args, &inst.imms, ty, count).into_iter().map(read).collect()
    }

    fn write(&mut self, inst: &Inst) -> Result<(), VerifyError> {
        let ty = self.func.ty(inst.args[0]);
        let (count, args) = match inst.op {
            Op::StorePart => (Some(inst.args[1]), &inst.args[2..]),
            _ => (None, &inst.args[1..]),
        };
        let places = self.places(inst.op, args, &inst.imms, ty, count);
        for (lane, place) in places.into_iter().enumerate() {
            let Some(address) = place else { continue };
            let bits = self.lanes(inst.args[0])[lane];
            self.memory.write(address, ty.elem.bytes(), bits).ok_or_else(|| self.outside(inst, address))?;
        }
        Ok(())
    }

    fn outside(&self, inst: &Inst, address: u64) -> VerifyError {
        error(self.func, self.func.head_text(inst), format!("address {address:#x} is outside of memory"))
    }

    /// An operation without effects; `None` if the element has no such operation.
    fn compute(&self, inst: &Inst) -> Option<Vec<u64>> {
        let to = self.func.ty(*inst.results.first()?);
        let from = inst.args.first().map_or(to, |arg| self.func.ty(*arg));
        let arg = |position: usize| self.lanes(inst.args[position]);
        match (inst.op, inst.op.group()) {
            (Op::Const, _) => Some(vec![scalar::from_int(to.elem, inst.imms[0]); usize::from(to.lanes)]),
            (Op::Iota, _) => Some((0..i64::from(to.lanes)).map(|lane| scalar::from_int(to.elem, lane)).collect()),
            (Op::Splat, _) => Some(vec![arg(0)[0]; usize::from(to.lanes)]),
            (Op::Bitcast, _) => Some(bitcast(arg(0), from, to)),
            (Op::Extract, _) => Some(vec![arg(0)[inst.imms[0] as usize]]),
            (Op::Insert, _) => {
                let mut lanes = arg(0).to_vec();
                lanes[inst.imms[0] as usize] = arg(1)[0];
                Some(lanes)
            }
            (Op::Shuffle, _) => {
                let both = [arg(0), arg(1)].concat();
                Some(inst.imms.iter().map(|lane| both[*lane as usize]).collect())
            }
            (Op::Lookup, _) => {
                let table = arg(0);
                Some(arg(1).iter().map(|index| table.get(*index as usize).copied().unwrap_or(0)).collect())
            }
            (Op::Select, _) => {
                let cond = arg(0);
                let side = |lane: usize| arg(if cond[lane % cond.len()] != 0 { 1 } else { 2 })[lane];
                Some((0..usize::from(to.lanes)).map(side).collect())
            }
            (Op::Fma, _) => {
                let lane = |i: usize| scalar::fma(to.elem, [arg(0)[i], arg(1)[i], arg(2)[i]], self.options.fused);
                Some((0..usize::from(to.lanes)).map(lane).collect())
            }
            (Op::DotBf16, _) => {
                let term = |i: usize, sum: u64| {
                    scalar::fma(to.elem, [arg(0)[i] << 16, arg(1)[i] << 16, sum], self.options.fused)
                };
                Some((0..usize::from(to.lanes)).map(|i| term(2 * i, term(2 * i + 1, arg(2)[i]))).collect())
            }
            (op, Group::Convert) => arg(0).iter().map(|bits| scalar::convert(op, from.elem, to.elem, *bits)).collect(),
            (op, Group::Binary) => {
                arg(0).iter().zip(arg(1)).map(|(a, b)| scalar::binary(op, from.elem, *a, *b)).collect()
            }
            (op, _) => match combiner(op) {
                Some(step) => reduce(step, from.elem, arg(0)).map(|bits| vec![bits]),
                None => arg(0).iter().map(|bits| scalar::unary(op, from.elem, *bits)).collect(),
            },
        }
    }
}

/// The operation that a reduction repeats.
fn combiner(op: Op) -> Option<Op> {
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

/// Combines the two halves lane by lane until one lane is left.
fn reduce(op: Op, elem: Elem, lanes: &[u64]) -> Option<u64> {
    let mut lanes = lanes.to_vec();
    while lanes.len() > 1 {
        let (low, high) = lanes.split_at(lanes.len() / 2);
        lanes = low.iter().zip(high).map(|(a, b)| scalar::binary(op, elem, *a, *b)).collect::<Option<_>>()?;
    }
    lanes.first().copied()
}

fn bitcast(lanes: &[u64], from: Type, to: Type) -> Vec<u64> {
    let width = |ty: Type| ty.elem.bytes() as usize;
    let bytes: Vec<u8> = lanes.iter().flat_map(|bits| bits.to_le_bytes()[..width(from)].to_vec()).collect();
    let word = |chunk: &[u8]| chunk.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    bytes.chunks(width(to)).map(word).collect()
}
