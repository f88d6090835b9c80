//! The data of a PTX module: entries, parameters, shared memory, blocks and instructions.
//!
//! Registers are mutable, as in PTX: a loop variable is assigned, there are no phis. Control flow leaves a block at its end
//! only: guarded branches, then at most one branch, `ret` or `trap` without guard; without one it goes on to the next block
//! of the layout.

use super::flow;
use super::reg::{Class, Reg, Special};
use super::table::Op;
use super::word::Word;
use sawmill_ir::entity;
use sawmill_ir::entity::Arena;
use std::fmt;

/// A version of the PTX ISA: major, minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u8, pub u8);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// An architecture. Each runs the programs of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sm {
    /// Ampere.
    Sm80,
    /// Hopper, without what needs an `a` target.
    Sm90,
}

impl Sm {
    /// All architectures, oldest first.
    pub const ALL: [Self; 2] = [Self::Sm80, Self::Sm90];

    /// The name in `.target`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm90 => "sm_90",
        }
    }
    /// The architecture called `text`.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sm| sm.text() == text)
    }
    /// The version that modules for it are written in: the oldest that has what they use, so that old drivers take them.
    pub const fn version(self) -> Version {
        match self {
            Self::Sm80 => Version(7, 4),
            Self::Sm90 => Version(7, 8),
        }
    }
    /// Bytes of shared memory that one CTA can have when it asks at its launch.
    pub const fn shared_bytes(self) -> u32 {
        match self {
            Self::Sm80 => 163 * 1024,
            Self::Sm90 => 227 * 1024,
        }
    }
}

impl fmt::Display for Sm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What a construct needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The first version that has it.
    pub version: Version,
    /// The first architecture that has it.
    pub sm: Sm,
}

entity!(
    /// A basic block of an entry.
    pub struct BlockId("B")
);
entity!(
    /// A parameter of an entry.
    pub struct ParamId("P")
);
entity!(
    /// A shared variable of an entry.
    pub struct SharedId("S")
);

/// A module: what one file of PTX holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// `.version`.
    pub version: Version,
    /// `.target`.
    pub sm: Sm,
    /// The kernels, in the order of the text.
    pub entries: Vec<Entry>,
}

impl Module {
    /// An empty module for `sm`, in the version we write for it.
    pub fn new(sm: Sm) -> Self {
        Self { version: sm.version(), sm, entries: Vec::new() }
    }
    /// The entry called `name`.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// A parameter of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name, unique in the entry.
    pub name: String,
    /// `u64` for addresses, or another type of 32 or 64 bits.
    pub ty: Word,
}

/// A shared variable of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Its name, unique in the entry.
    pub name: String,
    /// Its alignment in bytes, a power of two.
    pub align: u32,
    /// Its size, or `None` for the memory whose size the launch gives. An entry has at most one of those.
    pub bytes: Option<u32>,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, unique in the module.
    pub name: String,
    /// Its parameters, in the order in which a launch passes them.
    pub params: Arena<ParamId, Param>,
    /// Its shared memory.
    pub shared: Arena<SharedId, Shared>,
    /// Threads of a CTA along x, y, z; the launch must use exactly these.
    pub threads: [u32; 3],
    /// For how many CTAs a multiprocessor has to have room. Without a number the assembler may keep registers in memory to have room
    /// for one more.
    pub residents: Option<u32>,
    /// Registers that a thread may have, if not as many as the assembler finds best.
    pub most_registers: Option<u32>,
    /// How many registers there are of each class, in the order of [`Class::ALL`].
    pub registers: [u32; 6],
    /// The blocks.
    pub blocks: Arena<BlockId, Block>,
    /// The order of the blocks in the text; the first is where threads start.
    pub layout: Vec<BlockId>,
}

impl Entry {
    /// Threads of a CTA.
    pub const fn thread_count(&self) -> u32 {
        self.threads[0] * self.threads[1] * self.threads[2]
    }
    /// The most 32-bit registers that a thread's live values need, in the order in which the instructions stand.
    pub fn pressure(&self) -> u32 {
        flow::pressure(self)
    }
    /// Whether `reg` was made by this entry.
    pub fn owns(&self, reg: Reg) -> bool {
        reg.number() < self.registers[reg.class() as usize]
    }
    /// The registers of a class.
    pub fn registers_of(&self, class: Class) -> impl Iterator<Item = Reg> + use<> {
        (0..self.registers[class as usize]).map(move |number| Reg::new(class, number))
    }
}

/// A basic block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// What it is, for readers; letters, digits and `_`. May be empty.
    pub name: String,
    /// The instructions.
    pub insts: Vec<Inst>,
    /// Comments: before which instruction, and the text of one line.
    pub notes: Vec<(u32, String)>,
}

/// `@p` or `@!p`: the instruction happens in the lanes where the predicate is as said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The predicate.
    pub reg: Reg,
    /// Whether it happens where the predicate is false.
    pub negated: bool,
}

impl Guard {
    /// Where `reg` holds.
    pub const fn when(reg: Reg) -> Self {
        Self { reg, negated: false }
    }
    /// Where `reg` does not hold.
    pub const fn unless(reg: Reg) -> Self {
        Self { reg, negated: true }
    }
}

/// One instruction. Its row in the table of [`Op`] says what `words` and `args` may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inst {
    /// Where it happens; everywhere without a guard.
    pub guard: Option<Guard>,
    /// The row of the table.
    pub op: Op,
    /// The mnemonic after the first word.
    pub words: Vec<Word>,
    /// The operands, in the order of the text: what is written first.
    pub args: Vec<Arg>,
}

/// An operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A register.
    Reg(Reg),
    /// The bits of an immediate; integers narrower than 64 bits are extended by their sign or by zeros, alike.
    Imm(u64),
    /// Registers in braces.
    Regs(Vec<Reg>),
    /// A special register.
    Special(Special),
    /// The address of a shared variable.
    Symbol(SharedId),
    /// The memory at a base and an offset in bytes.
    Mem(Base, i32),
    /// A block to go to.
    Target(BlockId),
}

/// What an address starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A register: 64 bits for global, 32 bits for shared memory.
    Reg(Reg),
    /// A shared variable.
    Shared(SharedId),
    /// A parameter.
    Param(ParamId),
}

impl From<Reg> for Arg {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}
impl From<Vec<Reg>> for Arg {
    fn from(regs: Vec<Reg>) -> Self {
        Self::Regs(regs)
    }
}
impl From<Special> for Arg {
    fn from(special: Special) -> Self {
        Self::Special(special)
    }
}
impl From<SharedId> for Arg {
    fn from(shared: SharedId) -> Self {
        Self::Symbol(shared)
    }
}
impl From<BlockId> for Arg {
    fn from(block: BlockId) -> Self {
        Self::Target(block)
    }
}
impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Imm(value.cast_unsigned())
    }
}
impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self::Imm(value.into())
    }
}
impl From<i32> for Arg {
    fn from(value: i32) -> Self {
        Self::from(i64::from(value))
    }
}
impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Self::Imm(value.to_bits().into())
    }
}
impl From<f64> for Arg {
    fn from(value: f64) -> Self {
        Self::Imm(value.to_bits())
    }
}
