//! Builds entries.
//!
//! In: operations, words and operands that are read. Out: instructions appended to the current block, and the registers they
//! write, of the class that the table gives. What does not fit the table is written down as it is; the verifier names it.

use super::form::{Form, Slot};
use super::program::{Arg, Base, Block, BlockId, Entry, Guard, Inst, Param, ParamId, Shared, SharedId};
use super::reg::{Class, Reg, Special};
use super::table::Op;
use super::word::Word;
use sawmill_ir::entity::Arena;

/// An entry under construction, and the block that instructions go to.
#[derive(Clone, Debug)]
pub struct Builder {
    entry: Entry,
    current: BlockId,
    guard: Option<Guard>,
}

impl Builder {
    /// An entry called `name` whose CTAs have these threads along x, y, z.
    pub fn new(name: impl Into<String>, threads: [u32; 3]) -> Self {
        let mut blocks = Arena::new();
        let current = blocks.push(Block { name: "entry".into(), ..Block::default() });
        let entry = Entry {
            name: name.into(),
            params: Arena::new(),
            shared: Arena::new(),
            threads,
            residents: None,
            most_registers: None,
            registers: [0; 6],
            blocks,
            layout: vec![current],
        };
        Self { entry, current, guard: None }
    }

    /// The entry, done.
    pub fn finish(self) -> Entry {
        self.entry
    }

    /// A parameter of type `ty`.
    pub fn param(&mut self, name: impl Into<String>, ty: Word) -> ParamId {
        self.entry.params.push(Param { name: name.into(), ty })
    }

    /// Shared memory of `bytes`, or of the size that the launch gives.
    pub fn shared(&mut self, name: impl Into<String>, align: u32, bytes: Option<u32>) -> SharedId {
        self.entry.shared.push(Shared { name: name.into(), align, bytes })
    }

    /// Gives a shared variable another size, which is often known last.
    pub fn resize(&mut self, shared: SharedId, bytes: Option<u32>) {
        self.entry.shared[shared].bytes = bytes;
    }

    /// A new register.
    pub fn reg(&mut self, class: Class) -> Reg {
        let count = &mut self.entry.registers[class as usize];
        *count += 1;
        Reg::new(class, *count - 1)
    }

    /// A new block, which stands nowhere yet.
    pub fn block(&mut self, name: impl Into<String>) -> BlockId {
        self.entry.blocks.push(Block { name: name.into(), ..Block::default() })
    }

    /// Places `block` behind all others and goes on there.
    pub fn place(&mut self, block: BlockId) {
        self.entry.layout.push(block);
        self.current = block;
    }

    /// The block that instructions go to.
    pub fn current(&self) -> BlockId {
        self.current
    }

    /// A comment before the next instruction.
    pub fn note(&mut self, text: impl Into<String>) {
        self.leave_ended();
        let block = &mut self.entry.blocks[self.current];
        let at = u32::try_from(block.insts.len()).expect("fewer than 2^32 instructions");
        block.notes.push((at, text.into()));
    }

    /// What `build` appends happens under `guard`.
    pub fn under<R>(&mut self, guard: Guard, build: impl FnOnce(&mut Self) -> R) -> R {
        let outer = self.guard.replace(guard);
        let result = build(self);
        self.guard = outer;
        result
    }

    fn leave_ended(&mut self) {
        let last = self.entry.blocks[self.current].insts.last();
        if last.is_some_and(|last| last.op.is_control()) {
            let next = self.block("");
            self.place(next);
        }
    }

    /// Appends an instruction as it is. What comes after a branch begins a block of its own.
    pub fn push(&mut self, inst: Inst) {
        if !inst.op.is_control() {
            self.leave_ended();
        }
        self.entry.blocks[self.current].insts.push(inst);
    }

    fn append(&mut self, op: Op, words: &[Word], args: Vec<Arg>) {
        self.push(Inst { guard: self.guard, op, words: words.to_vec(), args });
    }

    /// Appends an instruction that writes to `dest`.
    pub fn assign(&mut self, op: Op, words: &[Word], dest: impl Into<Arg>, uses: &[Arg]) {
        let args = std::iter::once(dest.into()).chain(uses.iter().cloned()).collect();
        self.append(op, words, args);
    }

    /// Appends an instruction that writes nothing.
    pub fn run(&mut self, op: Op, words: &[Word], uses: &[Arg]) {
        self.append(op, words, uses.to_vec());
    }

    /// Appends an instruction that writes one register, a new one.
    pub fn op(&mut self, op: Op, words: &[Word], uses: &[Arg]) -> Reg {
        let class = match op.form(words).and_then(first_def) {
            Some(Slot::Def(ty) | Slot::Defs(ty, _)) => ty.classes(words)[0],
            _ => Class::B32,
        };
        let dest = self.reg(class);
        self.assign(op, words, dest, uses);
        dest
    }

    /// Appends an instruction that writes registers in braces, new ones.
    pub fn ops(&mut self, op: Op, words: &[Word], uses: &[Arg]) -> Vec<Reg> {
        let (class, count) = match op.form(words).and_then(first_def) {
            Some(Slot::Defs(ty, count)) => (ty.classes(words)[0], count.of(words).unwrap_or(1)),
            Some(Slot::Def(ty)) => (ty.classes(words)[0], 1),
            _ => (Class::B32, 1),
        };
        let dests: Vec<Reg> = (0..count).map(|_| self.reg(class)).collect();
        self.assign(op, words, dests.clone(), uses);
        dests
    }

    /// Reads a special register.
    pub fn special(&mut self, special: Special) -> Reg {
        self.op(Op::ReadSpecial, &[special.word()], &[special.into()])
    }

    /// Reads a parameter.
    pub fn load_param(&mut self, param: ParamId) -> Reg {
        let ty = self.entry.params[param].ty;
        self.op(Op::Ld, &[Word::Param, ty], &[Arg::Mem(Base::Param(param), 0)])
    }

    /// The 32-bit address of a shared variable.
    pub fn address(&mut self, shared: SharedId) -> Reg {
        self.op(Op::AddressOf, &[Word::U32], &[shared.into()])
    }

    /// A copy of a value in a new register of type `ty`.
    pub fn mov(&mut self, ty: Word, value: impl Into<Arg>) -> Reg {
        self.op(Op::Mov, &[ty], &[value.into()])
    }

    /// Goes to `block`.
    pub fn bra(&mut self, block: BlockId) {
        self.run(Op::Bra, &[], &[block.into()]);
    }

    /// Goes to `block` where the guard says so.
    pub fn branch(&mut self, guard: Guard, block: BlockId) {
        self.under(guard, |b| b.bra(block));
    }

    /// Ends the thread.
    pub fn ret(&mut self) {
        self.run(Op::Ret, &[], &[]);
    }

    /// Waits for all threads of the CTA.
    pub fn sync(&mut self) {
        self.run(Op::Bar, &[Word::Sync], &[0_u32.into()]);
    }
}

fn first_def(form: &'static Form) -> Option<Slot> {
    form.slots.first().copied().filter(|slot| slot.is_def())
}

/// The memory at a register and an offset in bytes.
pub fn at(base: Reg, offset: i32) -> Arg {
    Arg::Mem(Base::Reg(base), offset)
}

/// The memory at an offset in bytes of a shared variable.
pub fn in_shared(shared: SharedId, offset: i32) -> Arg {
    Arg::Mem(Base::Shared(shared), offset)
}
