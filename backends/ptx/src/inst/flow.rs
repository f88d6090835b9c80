//! Control flow and registers of an entry: which block follows which, what is read and written where, how much is live.

use super::form::Slot;
use super::program::{Arg, Base, Block, BlockId, Entry, Inst};
use super::reg::{Class, Reg};
use super::table::Op;
use sawmill_ir::entity::Entity as _;

/// Whether control can reach the end of a block and go on behind it.
pub(crate) fn falls_through(block: &Block) -> bool {
    !block.insts.last().is_some_and(|inst| inst.op.is_control() && inst.guard.is_none())
}

/// The blocks that may follow the one at `position` of the layout.
pub(crate) fn successors(entry: &Entry, position: usize) -> Vec<BlockId> {
    let block = &entry.blocks[entry.layout[position]];
    let targets = block.insts.iter().filter(|inst| inst.op == Op::Bra).filter_map(|inst| match inst.args.first() {
        Some(Arg::Target(target)) => Some(*target),
        _ => None,
    });
    let next = entry.layout.get(position + 1).filter(|_| falls_through(block));
    targets.chain(next.copied()).collect()
}

fn registers_of(arg: &Arg) -> &[Reg] {
    match arg {
        Arg::Reg(reg) | Arg::Mem(Base::Reg(reg), _) => std::slice::from_ref(reg),
        Arg::Regs(regs) => regs,
        _ => &[],
    }
}

fn defs(inst: &Inst) -> usize {
    let form = inst.op.form(&inst.words);
    form.map_or(0, |form| form.slots.iter().filter(|slot: &&Slot| slot.is_def()).count()).min(inst.args.len())
}

/// The registers an instruction reads, the guard among them.
pub(crate) fn reads(inst: &Inst) -> impl Iterator<Item = Reg> {
    let operands = inst.args[defs(inst)..].iter().flat_map(registers_of).copied();
    inst.guard.map(|guard| guard.reg).into_iter().chain(operands)
}

/// The registers an instruction writes.
pub(crate) fn writes(inst: &Inst) -> impl Iterator<Item = Reg> {
    inst.args[..defs(inst)].iter().flat_map(registers_of).copied()
}

/// A set of an entry's registers.
#[derive(Clone, PartialEq)]
struct Registers {
    bits: Vec<u64>,
    first: [usize; 6],
}

impl Registers {
    fn new(entry: &Entry, full: bool) -> Self {
        let mut first = [0; 6];
        let mut total = 0;
        for class in Class::ALL {
            first[class as usize] = total;
            total += entry.registers[class as usize] as usize;
        }
        Self { bits: vec![if full { u64::MAX } else { 0 }; total.div_ceil(64)], first }
    }
    fn place(&self, reg: Reg) -> (usize, u64) {
        let index = self.first[reg.class() as usize] + reg.number() as usize;
        (index / 64, 1 << (index % 64))
    }
    fn insert(&mut self, reg: Reg) {
        let (word, bit) = self.place(reg);
        self.bits[word] |= bit;
    }
    fn remove(&mut self, reg: Reg) {
        let (word, bit) = self.place(reg);
        self.bits[word] &= !bit;
    }
    fn unite(&mut self, other: &Self) {
        self.bits.iter_mut().zip(&other.bits).for_each(|(word, with)| *word |= with);
    }
    fn contains(&self, reg: Reg) -> bool {
        let (word, bit) = self.place(reg);
        self.bits[word] & bit != 0
    }
    fn intersect(&mut self, other: &Self) -> bool {
        let before = self.bits.clone();
        self.bits.iter_mut().zip(&other.bits).for_each(|(word, with)| *word &= with);
        self.bits != before
    }
}

/// The first instruction that reads a register which a path to it has not written. Blocks that nothing reaches are fine.
pub(crate) fn first_unwritten(entry: &Entry) -> Option<(BlockId, usize, Reg)> {
    let written = written_at_start(entry);
    for id in &entry.layout {
        let mut live = written[id.index()].clone();
        for (n, inst) in entry.blocks[*id].insts.iter().enumerate() {
            if let Some(reg) = reads(inst).find(|reg| !live.contains(*reg)) {
                return Some((*id, n, reg));
            }
            writes(inst).for_each(|reg| live.insert(reg));
        }
    }
    None
}

/// For each block, what is written on every path to it: the greatest solution of the forward equations.
fn written_at_start(entry: &Entry) -> Vec<Registers> {
    let mut start = vec![Registers::new(entry, true); entry.blocks.len()];
    start[entry.layout[0].index()] = Registers::new(entry, false);
    let mut changed = true;
    while changed {
        changed = false;
        for (position, id) in entry.layout.iter().enumerate() {
            let mut end = start[id.index()].clone();
            entry.blocks[*id].insts.iter().flat_map(writes).for_each(|reg| end.insert(reg));
            for next in successors(entry, position) {
                changed |= start[next.index()].intersect(&end);
            }
        }
    }
    start
}

/// The most 32-bit registers that are live at once, in the order in which the instructions stand: what the assembler has to place,
/// unless it moves them. Predicates have registers of their own.
pub(crate) fn pressure(entry: &Entry) -> u32 {
    let live = live_at_start(entry);
    let width = |class: Class| match class {
        Class::Pred => 0,
        Class::B16 | Class::B32 | Class::F32 => 1,
        Class::B64 | Class::F64 => 2,
    };
    let all =
        Class::ALL.into_iter().flat_map(|class| (0..entry.registers[class as usize]).map(move |n| Reg::new(class, n)));
    let all: Vec<Reg> = all.collect();
    let mut most = 0;
    for (position, id) in entry.layout.iter().enumerate() {
        let mut now = live_at_end(entry, position, &live);
        let mut count: u32 = all.iter().filter(|reg| now.contains(**reg)).map(|reg| width(reg.class())).sum();
        most = most.max(count);
        for inst in entry.blocks[*id].insts.iter().rev() {
            for reg in writes(inst).filter(|_| inst.guard.is_none()) {
                count -= if now.contains(reg) { width(reg.class()) } else { 0 };
                now.remove(reg);
            }
            for reg in reads(inst) {
                count += if now.contains(reg) { 0 } else { width(reg.class()) };
                now.insert(reg);
            }
            most = most.max(count);
        }
    }
    most
}

/// For each block, what some path from it reads before it writes it: the least solution of the backward equations.
fn live_at_start(entry: &Entry) -> Vec<Registers> {
    let mut start = vec![Registers::new(entry, false); entry.blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for (position, id) in entry.layout.iter().enumerate().rev() {
            let mut live = live_at_end(entry, position, &start);
            for inst in entry.blocks[*id].insts.iter().rev() {
                // A guarded write may not happen.
                writes(inst).filter(|_| inst.guard.is_none()).for_each(|reg| live.remove(reg));
                reads(inst).for_each(|reg| live.insert(reg));
            }
            changed |= start[id.index()] != live;
            start[id.index()] = live;
        }
    }
    start
}

fn live_at_end(entry: &Entry, position: usize, start: &[Registers]) -> Registers {
    let mut live = Registers::new(entry, false);
    successors(entry, position).into_iter().for_each(|next| live.unite(&start[next.index()]));
    live
}
