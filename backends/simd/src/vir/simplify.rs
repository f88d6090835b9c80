//! Simplifies a function without changing what it computes.
//!
//! In: a verified function. Out: one without constant arithmetic, equal pure instructions in nested blocks, and unused
//! instructions, whose pure instructions stand outside of the loops that do not change their operands. Effects and everything
//! that is not moved keep their order, because that is the order of the machine code. Method: one walk with value numbering
//! over the open blocks (Click 1995, restricted to structured control), then a sweep.
//!
//! Invariants: nothing leaves a branch, so work of the rare side is not done always; constants leave one loop only, so that
//! they do not occupy registers through a whole function; argument words are never written and count as pure.

use rustc_hash::FxHashMap;
use sawmill_ir::index::{div_euclid, rem_euclid};

use super::func::{Block, BlockId, Function, Inst, InstId, Val};
use super::ops::{Op, Rule};
use super::types::{Elem, Type};

/// Simplifies; see the module.
pub fn simplify(func: &Function) -> Function {
    let mut walk = Walk::new(func);
    let entry = Block { params: (0..4).map(Val::at).collect(), ..Block::default() };
    for (old, new) in func.block(Function::ENTRY).params.iter().zip(&entry.params) {
        walk.map[old.index()] = Some(*new);
    }
    walk.open.push(Open { is_loop: false, block: entry, seen: FxHashMap::default() });
    walk.insts(Function::ENTRY);
    let entry = walk.open.pop().expect("invariant: the entry block stays open");
    walk.new.blocks[Function::ENTRY.index()] = entry.block;
    sweep(&walk.new)
}

/// What makes two pure instructions equal.
type Key = (Op, Vec<Val>, Vec<i64>, Type);

struct Open {
    is_loop: bool,
    block: Block,
    seen: FxHashMap<Key, Val>,
}

struct Walk<'a> {
    old: &'a Function,
    new: Function,
    /// New values of old ones.
    map: Vec<Option<Val>>,
    /// Of each new value: the open block it is defined in, and the instruction.
    levels: Vec<usize>,
    defs: Vec<Option<InstId>>,
    open: Vec<Open>,
}

impl<'a> Walk<'a> {
    fn new(old: &'a Function) -> Self {
        let new = Function {
            name: old.name.clone(),
            scratch_bytes: old.scratch_bytes,
            values: vec![Type::I64; 4],
            insts: Vec::new(),
            blocks: vec![Block::default()],
        };
        let map = vec![None; old.values.len()];
        Self { old, new, map, levels: vec![0; 4], defs: vec![None; 4], open: Vec::new() }
    }

    fn get(&self, value: Val) -> Val {
        self.map[value.index()].expect("invariant: a verified function defines values before it uses them")
    }
    fn define(&mut self, ty: Type, level: usize) -> Val {
        self.levels.push(level);
        self.defs.push(None);
        self.new.new_value(ty)
    }

    fn insts(&mut self, block: BlockId) {
        let old = self.old;
        for inst in &old.block(block).insts {
            let inst = old.inst(*inst);
            match inst.op {
                Op::For => self.for_loop(inst),
                Op::If => self.if_else(inst),
                _ => self.plain(inst),
            }
        }
    }

    fn for_loop(&mut self, inst: &Inst) {
        let args: Vec<Val> = inst.args.iter().map(|v| self.get(*v)).collect();
        if let (Some(start), Some(end)) = (self.constant(args[0]), self.constant(args[1])) {
            if start >= end {
                for (result, init) in inst.results.iter().zip(&args[2..]) {
                    self.map[result.index()] = Some(*init);
                }
                return;
            }
        }
        let block = self.nested(inst.blocks[0], true);
        self.structured(inst, args, vec![block]);
    }
    fn if_else(&mut self, inst: &Inst) {
        let condition = self.get(inst.args[0]);
        if let Some(known) = self.constant(condition) {
            let side = inst.blocks[usize::from(known == 0)];
            self.insts(side);
            let old = self.old;
            for (result, yielded) in inst.results.iter().zip(&old.block(side).yields) {
                self.map[result.index()] = Some(self.get(*yielded));
            }
            return;
        }
        let blocks = inst.blocks.iter().map(|side| self.nested(*side, false)).collect();
        self.structured(inst, vec![condition], blocks);
    }
    /// Rebuilds a nested block.
    fn nested(&mut self, id: BlockId, is_loop: bool) -> BlockId {
        let old = self.old;
        let level = self.open.len();
        let mut params = Vec::new();
        for param in &old.block(id).params {
            let new = self.define(old.ty(*param), level);
            self.map[param.index()] = Some(new);
            params.push(new);
        }
        let block = Block { params, ..Block::default() };
        self.open.push(Open { is_loop, block, seen: FxHashMap::default() });
        self.insts(id);
        let mut done = self.open.pop().expect("invariant: the block opened above").block;
        done.yields = old.block(id).yields.iter().map(|v| self.get(*v)).collect();
        self.new.new_block(done)
    }
    fn structured(&mut self, inst: &Inst, args: Vec<Val>, blocks: Vec<BlockId>) {
        let level = self.open.len() - 1;
        let results: Vec<Val> = inst.results.iter().map(|v| self.define(self.old.ty(*v), level)).collect();
        for (old, new) in inst.results.iter().zip(&results) {
            self.map[old.index()] = Some(*new);
        }
        self.append(Inst { op: inst.op, args, imms: inst.imms.clone(), blocks, results }, level);
    }
    fn append(&mut self, inst: Inst, level: usize) {
        let results = inst.results.clone();
        let id = self.new.new_inst(inst);
        for result in results {
            self.defs[result.index()] = Some(id);
        }
        self.open[level].block.insts.push(id);
    }

    fn plain(&mut self, inst: &Inst) {
        let args: Vec<Val> = inst.args.iter().map(|v| self.get(*v)).collect();
        let mut next = Inst { args, results: Vec::new(), ..inst.clone() };
        fold_address(self, &mut next);
        let Some(result) = inst.results.first() else {
            let level = self.open.len() - 1;
            return self.append(next, level);
        };
        let ty = self.old.ty(*result);
        let new = if is_pure(&next) { self.pure(next.op, next.args, next.imms, ty) } else { self.place(next, ty) };
        self.map[result.index()] = Some(new);
    }
    fn place(&mut self, mut inst: Inst, ty: Type) -> Val {
        let level = self.open.len() - 1;
        let value = self.define(ty, level);
        inst.results = vec![value];
        self.append(inst, level);
        value
    }

    /// A pure instruction: folded, found, or placed as far out as it may go.
    fn pure(&mut self, op: Op, args: Vec<Val>, imms: Vec<i64>, ty: Type) -> Val {
        if let Some(value) = self.fold(op, &args, ty) {
            return value;
        }
        let key = (op, args, imms, ty);
        if let Some(known) = self.open.iter().rev().find_map(|open| open.seen.get(&key)) {
            return *known;
        }
        let needed = key.1.iter().map(|v| self.levels[v.index()]).max().unwrap_or(0);
        let mut level = self.open.len() - 1;
        let mut loops_left = if op == Op::Const || op == Op::Iota { 1 } else { usize::MAX };
        while level > needed && self.open[level].is_loop && loops_left > 0 {
            level -= 1;
            loops_left -= 1;
        }
        let value = self.define(ty, level);
        let (op, args, imms, _) = key.clone();
        self.append(Inst { op, args, imms, blocks: Vec::new(), results: vec![value] }, level);
        self.open[level].seen.insert(key, value);
        value
    }

    /// The bits of a constant; every lane has them.
    fn constant(&self, value: Val) -> Option<i64> {
        let inst = self.new.inst(self.defs[value.index()]?);
        (inst.op == Op::Const).then(|| inst.imms[0])
    }
    /// `value` as a sum with a constant.
    fn sum_with_constant(&self, value: Val) -> Option<(Val, i64)> {
        let inst = self.new.inst(self.defs[value.index()]?);
        if inst.op != Op::Add || self.new.ty(value) != Type::I64 {
            return None;
        }
        Some((inst.args[0], self.constant(inst.args[1])?))
    }
    fn number(&mut self, ty: Type, value: i64) -> Val {
        let unused = 64 - ty.elem.bits();
        self.pure(Op::Const, Vec::new(), vec![value << unused >> unused], ty)
    }

    /// The value of an instruction whose operands are known, or that an identity makes another one.
    fn fold(&mut self, op: Op, args: &[Val], ty: Type) -> Option<Val> {
        let constants: Vec<Option<i64>> = args.iter().map(|v| self.constant(*v)).collect();
        match (op, constants.as_slice()) {
            (Op::Splat, [Some(bits)]) => Some(self.pure(Op::Const, Vec::new(), vec![*bits], ty)),
            (Op::Select, [Some(condition), ..]) => Some(args[if *condition == 0 { 2 } else { 1 }]),
            (Op::And, [Some(1), _]) | (Op::Or, [Some(0), _]) if ty.elem == Elem::Bool => Some(args[1]),
            (Op::And, [_, Some(1)]) | (Op::Or, [_, Some(0)]) if ty.elem == Elem::Bool => Some(args[0]),
            _ if ty == Type::I64 => self.fold_integer(op, args, &constants),
            (Op::Narrow, [Some(value)]) if ty.is_scalar() => Some(self.number(ty, *value)),
            (_, [Some(a), Some(b)]) if ty == Type::BOOL && self.new.ty(args[0]) == Type::I64 => {
                compare(op, *a, *b).map(|holds| self.number(ty, i64::from(holds)))
            }
            _ => None,
        }
    }
    fn fold_integer(&mut self, op: Op, args: &[Val], constants: &[Option<i64>]) -> Option<Val> {
        let ty = Type::I64;
        match (op, constants) {
            (_, [Some(a), Some(b)]) => arithmetic(op, *a, *b).map(|value| self.number(ty, value)),
            (Op::Add | Op::Mul, [Some(_), None]) => Some(self.pure(op, vec![args[1], args[0]], Vec::new(), ty)),
            (Op::Add | Op::Sub | Op::Shl, [None, Some(0)]) | (Op::Mul | Op::Div, [None, Some(1)]) => Some(args[0]),
            (Op::Mul, [None, Some(0)]) => Some(args[1]),
            (Op::Sub, [None, Some(by)]) => {
                let minus = self.number(ty, by.wrapping_neg());
                Some(self.pure(Op::Add, vec![args[0], minus], Vec::new(), ty))
            }
            (Op::Add, [None, Some(by)]) => {
                let (inner, first) = self.sum_with_constant(args[0])?;
                let sum = self.number(ty, first.wrapping_add(*by));
                Some(self.pure(Op::Add, vec![inner, sum], Vec::new(), ty))
            }
            (Op::Mul, [None, Some(by)]) if by.count_ones() == 1 && *by > 0 => {
                let count = self.number(ty, i64::from(by.trailing_zeros()));
                Some(self.pure(Op::Shl, vec![args[0], count], Vec::new(), ty))
            }
            _ => None,
        }
    }
}

fn arithmetic(op: Op, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        Op::Add => a.wrapping_add(b),
        Op::Sub => a.wrapping_sub(b),
        Op::Mul => a.wrapping_mul(b),
        Op::Div => div_euclid(a, b),
        Op::Rem => rem_euclid(a, b),
        Op::Min => a.min(b),
        Op::Max => a.max(b),
        _ => return None,
    })
}

fn compare(op: Op, a: i64, b: i64) -> Option<bool> {
    Some(match op {
        Op::Eq => a == b,
        Op::Ne => a != b,
        Op::Lt => a < b,
        Op::Le => a <= b,
        Op::Gt => a > b,
        Op::Ge => a >= b,
        Op::Ult => a.cast_unsigned() < b.cast_unsigned(),
        Op::Ule => a.cast_unsigned() <= b.cast_unsigned(),
        _ => return None,
    })
}

/// Whether an instruction depends on its operands only. Argument words never change.
fn is_pure(inst: &Inst) -> bool {
    match inst.op.rule() {
        Rule::Load => inst.args == [Val::at(0)],
        Rule::LoadPart | Rule::Gather => false,
        _ => true,
    }
}

/// Moves the constant part of an address to the displacement.
fn fold_address(walk: &Walk<'_>, inst: &mut Inst) {
    let base = match inst.op.rule() {
        Rule::Load | Rule::Gather => 0,
        Rule::Store | Rule::LoadPart | Rule::Scatter => 1,
        Rule::StorePart => 2,
        _ => return,
    };
    while let Some((inner, by)) = walk.sum_with_constant(inst.args[base]) {
        let Some(disp) = inst.imms[1].checked_add(by).filter(|d| i32::try_from(*d).is_ok()) else { return };
        (inst.args[base], inst.imms[1]) = (inner, disp);
    }
    if matches!(inst.op.rule(), Rule::Gather | Rule::Scatter) || inst.args.len() <= base + 1 {
        return;
    }
    while let Some((inner, by)) = walk.sum_with_constant(inst.args[base + 1]) {
        let disp = by.checked_mul(inst.imms[0]).and_then(|by| inst.imms[1].checked_add(by));
        let Some(disp) = disp.filter(|d| i32::try_from(*d).is_ok()) else { return };
        (inst.args[base + 1], inst.imms[1]) = (inner, disp);
    }
    if let Some(index) = walk.constant(inst.args[base + 1]) {
        let disp = index.checked_mul(inst.imms[0]).and_then(|by| inst.imms[1].checked_add(by));
        if let Some(disp) = disp.filter(|d| i32::try_from(*d).is_ok()) {
            inst.args.remove(base + 1);
            inst.imms = vec![1, disp];
        }
    }
}

/// The function without instructions that nothing needs.
fn sweep(func: &Function) -> Function {
    let mut needed = vec![false; func.values.len()];
    mark(func, Function::ENTRY, &mut needed);
    let mut copy = Copy { old: func, needed, map: vec![None; func.values.len()], new: Vec::new() };
    let mut new = Function {
        name: func.name.clone(),
        scratch_bytes: func.scratch_bytes,
        values: Vec::new(),
        insts: Vec::new(),
        blocks: vec![Block::default()],
    };
    let entry = copy.block(Function::ENTRY, &mut new);
    new.blocks[Function::ENTRY.index()] = entry;
    new.values = copy.new;
    new
}

/// Marks the values that effects depend on.
fn mark(func: &Function, block: BlockId, needed: &mut [bool]) {
    let block = func.block(block);
    block.yields.iter().for_each(|v| needed[v.index()] = true);
    for inst in block.insts.iter().rev() {
        let inst = func.inst(*inst);
        if is_live(func, inst, needed) {
            for nested in &inst.blocks {
                mark(func, *nested, needed);
            }
            inst.args.iter().for_each(|v| needed[v.index()] = true);
        }
    }
}

fn is_live(func: &Function, inst: &Inst, needed: &[bool]) -> bool {
    inst.results.iter().any(|v| needed[v.index()]) || has_effect(func, inst)
}

fn has_effect(func: &Function, inst: &Inst) -> bool {
    let writes = matches!(inst.op.rule(), Rule::Store | Rule::StorePart | Rule::Scatter);
    writes || inst.blocks.iter().any(|b| func.block(*b).insts.iter().any(|i| has_effect(func, func.inst(*i))))
}

struct Copy<'a> {
    old: &'a Function,
    needed: Vec<bool>,
    map: Vec<Option<Val>>,
    new: Vec<Type>,
}

impl Copy<'_> {
    fn define(&mut self, value: Val) -> Val {
        let new = Val::at(self.new.len());
        self.new.push(self.old.ty(value));
        self.map[value.index()] = Some(new);
        new
    }
    fn get(&self, value: Val) -> Val {
        self.map[value.index()].expect("invariant: what is needed was marked")
    }
    fn block(&mut self, id: BlockId, into: &mut Function) -> Block {
        let old = self.old;
        let source = old.block(id);
        let mut block = Block { params: source.params.iter().map(|v| self.define(*v)).collect(), ..Block::default() };
        for inst in &source.insts {
            let inst = old.inst(*inst);
            if !is_live(old, inst, &self.needed) {
                continue;
            }
            let args = inst.args.iter().map(|v| self.get(*v)).collect();
            let mut blocks = Vec::new();
            for nested in &inst.blocks {
                let nested = self.block(*nested, into);
                blocks.push(into.new_block(nested));
            }
            let results = inst.results.iter().map(|v| self.define(*v)).collect();
            block.insts.push(into.new_inst(Inst { op: inst.op, args, imms: inst.imms.clone(), blocks, results }));
        }
        block.yields = source.yields.iter().map(|v| self.get(*v)).collect();
        block
    }
}
