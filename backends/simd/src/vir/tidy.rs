//! Tidies a function: shares equal values, moves what does not change out of loops, folds constants and addresses.
//!
//! In: a verified function. Out: a function with the same effects, bit for bit, verified by construction. Method: one
//! walk that builds the function anew. An operation without effects is simplified, looked up among the values in scope
//! (value numbering over the dominator tree, which here is the nesting of blocks), and placed outside of every loop that
//! does not change its operands. Memory accesses stay where they are and in order, but for argument
//! words, which nobody writes. Operations never trap, so moving one
//! out of a branch is allowed; it is done only where that leaves a loop too.
//!
//! Constants are not values of the whole function: each block has its own copy before the first use, because a vector
//! constant is read from memory at no cost while a register that holds it through a loop is missing elsewhere. For the
//! same reason a value of more than one register stays in its loop, and a vector leaves the innermost loop only.

mod simplify;

use rustc_hash::FxHashMap;

use super::func::{Block, BlockId, Function, Inst, Val};
use super::ops::Op;
use super::types::Type;

/// Widest vector that is moved out of a loop, in bytes.
const WIDEST_MOVED: u32 = 16;

/// What makes two operations equal.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    op: Op,
    args: Vec<Val>,
    imms: Vec<i64>,
    ty: Type,
}

/// A block being built.
struct Scope {
    block: BlockId,
    /// Whether a loop owns it.
    is_loop: bool,
    known: FxHashMap<Key, Val>,
    /// Copies of constants.
    constants: FxHashMap<Val, Val>,
}

struct Tidy<'a> {
    old: &'a Function,
    new: Function,
    /// New values of old ones.
    map: Vec<Option<Val>>,
    /// For each new value the nesting of its block; 0 for constants.
    depth: Vec<usize>,
    /// For each new value without effects how it is computed; a constant has operation `Const`.
    made_by: Vec<Option<Key>>,
    /// Stand-ins for constants, which are copied to the blocks that use them.
    stand_ins: FxHashMap<(Type, i64), Val>,
    scopes: Vec<Scope>,
}

/// Tidies a function; see the module.
pub fn tidy(func: &Function) -> Function {
    let new = Function {
        name: func.name.clone(),
        scratch_bytes: func.scratch_bytes,
        values: Vec::new(),
        insts: Vec::new(),
        blocks: Vec::new(),
    };
    let mut tidy = Tidy {
        old: func,
        new,
        map: vec![None; func.value_count()],
        depth: Vec::new(),
        made_by: Vec::new(),
        stand_ins: FxHashMap::default(),
        scopes: Vec::new(),
    };
    let entry = func.block(Function::ENTRY);
    let params: Vec<Val> = entry.params.iter().map(|_| tidy.fresh(Type::I64, 0, None)).collect();
    tidy.bind(&entry.params, &params);
    tidy.open(params, false);
    tidy.insts(Function::ENTRY);
    tidy.close(&[]);
    without_unused(&tidy.new)
}

impl Tidy<'_> {
    fn fresh(&mut self, ty: Type, depth: usize, made_by: Option<Key>) -> Val {
        self.depth.push(depth);
        self.made_by.push(made_by);
        self.new.new_value(ty)
    }

    fn bind(&mut self, old: &[Val], new: &[Val]) {
        for (old, new) in old.iter().zip(new) {
            self.map[old.index()] = Some(*new);
        }
    }

    fn mapped(&self, old: &[Val]) -> Vec<Val> {
        let new =
            |value: &Val| self.map[value.index()].expect("invariant: the verifier saw a definition before each use");
        old.iter().map(new).collect()
    }

    fn level(&self) -> usize {
        self.scopes.len() - 1
    }

    fn open(&mut self, params: Vec<Val>, is_loop: bool) {
        let block = self.new.new_block(Block { params, ..Block::default() });
        self.scopes.push(Scope { block, is_loop, known: FxHashMap::default(), constants: FxHashMap::default() });
    }

    fn close(&mut self, yields: &[Val]) -> BlockId {
        let yields = self.local(yields, self.level());
        let scope = self.scopes.pop().expect("invariant: a block is closed once");
        self.new.blocks[scope.block.index()].yields = yields;
        scope.block
    }

    fn insts(&mut self, block: BlockId) {
        let old = self.old;
        for inst in &old.block(block).insts {
            let inst = old.inst(*inst);
            match inst.op {
                Op::For => self.for_loop(inst),
                Op::If => self.if_else(inst),
                op if op.touches_memory() && !self.reads_argument(inst) => self.access(inst),
                _ => {
                    let ty = old.ty(inst.results[0]);
                    let args = self.mapped(&inst.args);
                    let value = self.value(Key { op: inst.op, args, imms: inst.imms.clone(), ty });
                    self.bind(&inst.results, &[value]);
                }
            }
        }
    }

    /// Whether the instruction reads an argument word: nobody writes those, so the place does not matter.
    fn reads_argument(&self, inst: &Inst) -> bool {
        let args = self.old.block(Function::ENTRY).params[0];
        inst.op == Op::Load && inst.args == [args]
    }

    fn for_loop(&mut self, inst: &Inst) {
        let args = self.mapped(&inst.args);
        let body = self.old.block(inst.blocks[0]);
        let bounds = [self.constant_of(args[0]), self.constant_of(args[1])];
        if let [Some(start), Some(end)] = bounds
            && start < end
            && start.checked_add(inst.imms[0]).is_some_and(|next| next >= end)
        {
            // A single turn.
            self.bind(&body.params[..1], &args[..1]);
            self.bind(&body.params[1..], &args[2..]);
            self.insts(inst.blocks[0]);
            let yields = self.mapped(&body.yields);
            return self.bind(&inst.results, &yields);
        }
        let depth = self.level() + 1;
        let params: Vec<Val> = body.params.iter().map(|param| self.fresh(self.old.ty(*param), depth, None)).collect();
        self.bind(&body.params, &params);
        self.open(params, true);
        self.insts(inst.blocks[0]);
        let yields = self.mapped(&body.yields);
        let block = self.close(&yields);
        self.owner(inst, &args, vec![block]);
    }

    fn if_else(&mut self, inst: &Inst) {
        let args = self.mapped(&inst.args);
        if let Some(cond) = self.constant_of(args[0]) {
            let side = inst.blocks[usize::from(cond == 0)];
            self.insts(side);
            let yields = self.mapped(&self.old.block(side).yields);
            return self.bind(&inst.results, &yields);
        }
        let mut blocks = Vec::new();
        for side in &inst.blocks {
            self.open(Vec::new(), false);
            self.insts(*side);
            let yields = self.mapped(&self.old.block(*side).yields);
            blocks.push(self.close(&yields));
        }
        self.owner(inst, &args, blocks);
    }

    /// Places an instruction with blocks.
    fn owner(&mut self, inst: &Inst, args: &[Val], blocks: Vec<BlockId>) {
        let level = self.level();
        let results: Vec<Val> =
            inst.results.iter().map(|result| self.fresh(self.old.ty(*result), level, None)).collect();
        self.bind(&inst.results, &results);
        let args = self.local(args, level);
        self.place(level, Inst { op: inst.op, args, imms: inst.imms.clone(), blocks, results });
    }

    fn access(&mut self, inst: &Inst) {
        let (args, imms) = self.folded_address(inst.op, self.mapped(&inst.args), &inst.imms);
        let level = self.level();
        let results: Vec<Val> =
            inst.results.iter().map(|result| self.fresh(self.old.ty(*result), level, None)).collect();
        self.bind(&inst.results, &results);
        let args = self.local(&args, level);
        self.place(level, Inst { op: inst.op, args, imms, blocks: Vec::new(), results });
    }

    /// An operation without effects: a value that is there already, or a new one.
    fn value(&mut self, key: Key) -> Val {
        let key = match self.simplify(key) {
            Ok(value) => return value,
            Err(key) => key,
        };
        if key.op == Op::Const {
            return self.constant(key.ty, key.imms[0]);
        }
        if let Some(known) = self.scopes.iter().rev().find_map(|scope| scope.known.get(&key)) {
            return *known;
        }
        let level = self.level_for(&key);
        let args = self.local(&key.args, level);
        let value = self.fresh(key.ty, level, Some(key.clone()));
        let inst = Inst { op: key.op, args, imms: key.imms.clone(), blocks: Vec::new(), results: vec![value] };
        self.place(level, inst);
        self.scopes[level].known.insert(key, value);
        value
    }

    /// The nesting at which an operation is placed: outside of the loops that leave its operands alone.
    fn level_for(&self, key: &Key) -> usize {
        let here = self.level();
        let is_narrow = key.ty.is_scalar() || key.op == Op::Splat || key.ty.bytes() <= WIDEST_MOVED;
        if !is_narrow || key.op == Op::Iota {
            return here;
        }
        let needed = key.args.iter().map(|arg| self.depth[arg.index()]).max().unwrap_or(0);
        let mut loops = (needed + 1..=here).filter(|level| self.scopes[*level].is_loop);
        let left = if key.ty.is_scalar() { loops.next() } else { loops.next_back() };
        left.map_or(here, |level| level - 1)
    }

    fn place(&mut self, level: usize, inst: Inst) {
        let id = self.new.new_inst(inst);
        let block = self.scopes[level].block;
        self.new.blocks[block.index()].insts.push(id);
    }

    /// The stand-in for a constant.
    fn constant(&mut self, ty: Type, bits: i64) -> Val {
        if let Some(known) = self.stand_ins.get(&(ty, bits)) {
            return *known;
        }
        let key = Key { op: Op::Const, args: Vec::new(), imms: vec![bits], ty };
        let value = self.fresh(ty, 0, Some(key));
        self.stand_ins.insert((ty, bits), value);
        value
    }

    fn constant_of(&self, value: Val) -> Option<i64> {
        self.made_by[value.index()].as_ref().filter(|key| key.op == Op::Const).map(|key| key.imms[0])
    }

    /// The values as operands in the block at `level`: stand-ins become copies there.
    fn local(&mut self, values: &[Val], level: usize) -> Vec<Val> {
        let mut local = Vec::with_capacity(values.len());
        for value in values {
            local.push(match self.constant_of(*value) {
                Some(bits) => self.copy_of(*value, bits, level),
                None => *value,
            });
        }
        local
    }

    fn copy_of(&mut self, stand_in: Val, bits: i64, level: usize) -> Val {
        if let Some(copy) = self.scopes[level].constants.get(&stand_in) {
            return *copy;
        }
        let copy = self.fresh(self.new.ty(stand_in), level, None);
        let inst = Inst { op: Op::Const, args: Vec::new(), imms: vec![bits], blocks: Vec::new(), results: vec![copy] };
        self.place(level, inst);
        self.scopes[level].constants.insert(stand_in, copy);
        copy
    }
}

/// Drops what nobody uses (loads too), and numbers the values anew in the order of the text.
fn without_unused(func: &Function) -> Function {
    let mut used = vec![false; func.value_count()];
    mark(func, Function::ENTRY, &mut used);
    let mut sweep = Sweep { func, used, map: vec![Val(0); func.value_count()], new: empty_like(func) };
    sweep.block(Function::ENTRY);
    sweep.new
}

fn empty_like(func: &Function) -> Function {
    Function { values: Vec::new(), insts: Vec::new(), blocks: Vec::new(), ..func.clone() }
}

/// Marks the operands of what is needed, from the end of a block to its start.
fn mark(func: &Function, block: BlockId, used: &mut [bool]) {
    let block = func.block(block);
    for value in &block.yields {
        used[value.index()] = true;
    }
    for inst in block.insts.iter().rev() {
        let inst = func.inst(*inst);
        if !is_needed(inst, used) {
            continue;
        }
        for arg in &inst.args {
            used[arg.index()] = true;
        }
        for inner in inst.blocks.iter().rev() {
            mark(func, *inner, used);
        }
    }
}

fn is_needed(inst: &Inst, used: &[bool]) -> bool {
    inst.results.is_empty() || !inst.blocks.is_empty() || inst.results.iter().any(|result| used[result.index()])
}

struct Sweep<'a> {
    func: &'a Function,
    used: Vec<bool>,
    map: Vec<Val>,
    new: Function,
}

impl Sweep<'_> {
    fn define(&mut self, values: &[Val]) -> Vec<Val> {
        let mut new = Vec::with_capacity(values.len());
        for value in values {
            let fresh = self.new.new_value(self.func.ty(*value));
            self.map[value.index()] = fresh;
            new.push(fresh);
        }
        new
    }

    fn uses(&self, values: &[Val]) -> Vec<Val> {
        values.iter().map(|value| self.map[value.index()]).collect()
    }

    fn block(&mut self, id: BlockId) -> BlockId {
        let func = self.func;
        let old = func.block(id);
        let params = self.define(&old.params);
        let block = self.new.new_block(Block { params, ..Block::default() });
        for inst in &old.insts {
            let inst = func.inst(*inst);
            if !is_needed(inst, &self.used) {
                continue;
            }
            let args = self.uses(&inst.args);
            let results = self.define(&inst.results);
            let blocks = inst.blocks.iter().map(|inner| self.block(*inner)).collect();
            let inst = self.new.new_inst(Inst { op: inst.op, args, imms: inst.imms.clone(), blocks, results });
            self.new.blocks[block.index()].insts.push(inst);
        }
        self.new.blocks[block.index()].yields = self.uses(&old.yields);
        block
    }
}
