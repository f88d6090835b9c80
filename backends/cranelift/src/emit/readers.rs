//! Which values nothing needs after their only reader, and which loads can wait for it.
//!
//! In: a verified function. Out: [`Readers`]. The instruction that overwrites such a value needs no copy of it. A load of
//! several registers that waits is folded into its reader register by register, where nothing lies in between; one of narrow
//! integers extends them.

use sawmill_simd::vir::{BlockId, Elem, Function, Inst, Op, Val};

/// For each value, what is known of its readers.
pub(super) struct Readers {
    facts: Vec<Facts>,
    /// Writes to memory so far, and blocks, which may write.
    writes: u32,
}

#[derive(Clone, Copy, Default)]
struct Facts {
    /// Readers, counting a block that yields the value.
    count: u32,
    /// Whether a reader is in the block that defines the value: no loop in between reads it again.
    near: bool,
    /// The block that defines it.
    block: Option<BlockId>,
    /// If it is loaded, how many writes came before.
    loaded_after: Option<u32>,
    /// How an operation takes the load before the next write.
    waits: Option<Wait>,
}

/// How an operation takes a load that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// As a float operand, register by register.
    Folded,
    /// As narrow integers, which the load extends.
    Extended,
}

impl Wait {
    fn of(func: &Function, inst: &Inst) -> Option<Wait> {
        let ty = |value: &Val| func.ty(*value);
        match inst.op {
            Op::Fma | Op::Add | Op::Sub | Op::Mul if inst.results.iter().all(|r| ty(r).elem == Elem::F32) => {
                Some(Wait::Folded)
            }
            // An extending load reads 8 bytes.
            Op::Sext | Op::Zext | Op::FromF16 | Op::FromBf16
                if inst.args.iter().all(|a| !ty(a).is_scalar() && ty(a).elem.bits() < 32 && ty(a).bytes() % 8 == 0) =>
            {
                Some(Wait::Extended)
            }
            _ => None,
        }
    }
}

impl Readers {
    pub(super) fn of(func: &Function) -> Readers {
        let mut readers = Readers { facts: vec![Facts::default(); func.value_count()], writes: 0 };
        readers.visit(func, Function::ENTRY);
        readers
    }

    fn visit(&mut self, func: &Function, id: BlockId) {
        let block = func.block(id);
        for param in &block.params {
            self.facts[param.index()].block = Some(id);
        }
        for inst in block.insts.iter().map(|inst| func.inst(*inst)) {
            let wait = Wait::of(func, inst);
            inst.args.iter().for_each(|arg| self.read(*arg, id, wait));
            let loaded_after = (inst.op == Op::Load).then_some(self.writes);
            for result in &inst.results {
                self.facts[result.index()] = Facts { block: Some(id), loaded_after, ..Facts::default() };
            }
            self.writes += u32::from(matches!(inst.op, Op::Store | Op::StorePart | Op::Scatter | Op::For | Op::If));
            inst.blocks.iter().for_each(|inner| self.visit(func, *inner));
        }
        block.yields.iter().for_each(|value| self.read(*value, id, None));
    }

    fn read(&mut self, value: Val, from: BlockId, wait: Option<Wait>) {
        let writes = self.writes;
        let facts = &mut self.facts[value.index()];
        facts.count += 1;
        facts.near |= facts.block == Some(from);
        if facts.loaded_after == Some(writes) {
            facts.waits = wait;
        }
    }

    /// Whether the value has one reader, which runs once for each time that the value is computed.
    pub(super) fn one(&self, value: Val) -> bool {
        let facts = self.facts[value.index()];
        facts.count == 1 && facts.near
    }

    /// Whether the value comes straight from memory.
    pub(super) fn is_load(&self, value: Val) -> bool {
        self.facts[value.index()].loaded_after.is_some()
    }

    /// How the value's only reader takes it, if it can be loaded there.
    pub(super) fn waits(&self, value: Val) -> Option<Wait> {
        self.facts[value.index()].waits.filter(|_| self.one(value))
    }
}
