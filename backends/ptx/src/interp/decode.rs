//! An entry as a list of steps with resolved operands: registers by their place in the file, blocks by their first step.

use super::number::{Shape, low};
use super::shared::SharedMemory;
use crate::inst::{Arg, Base, BlockId, Class, Entry, Inst, Reg, Slot, Space, Special, Ty, Word};
use sawmill_ir::entity::Entity as _;

/// An operand, resolved.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Reg(usize),
    Regs(Vec<usize>),
    Imm(u64),
    Special(Special),
    Mem(Address),
    Target(usize),
}

/// The parts of an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The register it starts from.
    pub(crate) reg: Option<usize>,
    /// What is added.
    pub(crate) offset: i64,
    pub(crate) space: Space,
}

/// One instruction.
#[derive(Clone, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) block: BlockId,
    pub(crate) position: usize,
    pub(crate) inst: &'a Inst,
    pub(crate) shape: Shape<'a>,
    pub(crate) slots: &'static [Slot],
    /// The predicate and whether it must be false.
    pub(crate) guard: Option<(usize, bool)>,
    pub(crate) args: Vec<Operand>,
}

impl Step<'_> {
    /// The type of the operand in a slot of registers.
    pub(crate) fn type_of(&self, n: usize) -> Word {
        match self.slots[n] {
            Slot::Def(ty)
            | Slot::Defs(ty, _)
            | Slot::Use(ty)
            | Slot::Value(ty)
            | Slot::Uses(ty, _)
            | Slot::Maybe(ty) => ty.word(self.shape.words),
            _ => Word::U32,
        }
    }
}

/// An entry ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Program<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) steps: Vec<Step<'a>>,
    /// Bits of each register of the file.
    pub(crate) widths: Vec<u32>,
}

struct Decoder<'a> {
    first_register: [usize; 6],
    first_step: Vec<usize>,
    params: Vec<i64>,
    shared: &'a SharedMemory,
}

/// Resolves a verified entry, whose shared variables lie as in `shared`.
pub(crate) fn decode<'a>(entry: &'a Entry, shared: &'a SharedMemory) -> Program<'a> {
    let mut widths = Vec::new();
    let mut first_register = [0; 6];
    for class in Class::ALL {
        first_register[class as usize] = widths.len();
        widths.resize(widths.len() + entry.registers[class as usize] as usize, class.word().bits());
    }
    let mut first_step = vec![0; entry.blocks.len()];
    let mut count = 0;
    for id in &entry.layout {
        first_step[id.index()] = count;
        count += entry.blocks[*id].insts.len();
    }
    // Each parameter is a word of the launch, whatever its type.
    let params = (0..).map(|n| 8 * n).take(entry.params.len()).collect();
    let decoder = Decoder { first_register, first_step, params, shared };
    let steps = entry
        .layout
        .iter()
        .flat_map(|id| entry.blocks[*id].insts.iter().enumerate().map(move |(n, inst)| (*id, n, inst)))
        .map(|(block, position, inst)| decoder.step(block, position, inst))
        .collect();
    Program { entry, steps, widths }
}

impl<'a> Decoder<'a> {
    fn register(&self, reg: Reg) -> usize {
        self.first_register[reg.class() as usize] + reg.number() as usize
    }

    fn step(&self, block: BlockId, position: usize, inst: &'a Inst) -> Step<'a> {
        let form = inst.op.form(&inst.words).expect("a verified instruction has a form");
        let mut types = inst.words.iter().copied().filter(|word| word.is_type());
        let t = types.next().unwrap_or(Word::B32);
        let shape = Shape { op: inst.op, words: &inst.words, t, s: types.next().unwrap_or(t) };
        let guard = inst.guard.map(|guard| (self.register(guard.reg), guard.negated));
        let args = form.slots.iter().zip(&inst.args).map(|(slot, arg)| self.operand(*slot, arg, &inst.words)).collect();
        Step { block, position, inst, shape, slots: form.slots, guard, args }
    }

    fn operand(&self, slot: Slot, arg: &Arg, words: &[Word]) -> Operand {
        match arg {
            Arg::Reg(reg) => Operand::Reg(self.register(*reg)),
            Arg::Regs(regs) => Operand::Regs(regs.iter().map(|reg| self.register(*reg)).collect()),
            Arg::Imm(bits) => Operand::Imm(match slot {
                Slot::Value(ty) | Slot::Maybe(ty) => low(*bits, Ty::word(ty, words).bits()),
                _ => *bits,
            }),
            Arg::Special(special) => Operand::Special(*special),
            Arg::Symbol(shared) => Operand::Imm(self.shared.base(*shared).into()),
            Arg::Target(block) => Operand::Target(self.first_step[block.index()]),
            Arg::Mem(base, offset) => {
                let space = slot.space(words).expect("a verified address has a space");
                let (reg, base) = match base {
                    Base::Reg(reg) => (Some(self.register(*reg)), 0),
                    Base::Shared(shared) => (None, self.shared.base(*shared).into()),
                    Base::Param(param) => (None, self.params[param.index()]),
                };
                Operand::Mem(Address { reg, offset: base + i64::from(*offset), space })
            }
        }
    }
}

impl Program<'_> {
    /// Block, position and text of a step.
    pub(crate) fn place(&self, at: usize) -> String {
        match self.steps.get(at) {
            Some(step) => self.entry.place_of(step.block, step.position),
            None => "the end".into(),
        }
    }
}
