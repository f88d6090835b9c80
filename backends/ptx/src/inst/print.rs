//! PTX text.
//!
//! In: a module. Out: the text that `ptxas` and drivers take, one instruction a line, the same bytes every time. Immediates
//! print by the type of their operand: floats as the hexadecimal of their bits, untyped bits as hexadecimal integers.

use super::form::{Form, Slot, Ty};
use super::program::{Arg, Base, BlockId, Entry, Inst, Module, Shared, SharedId};
use super::reg::{Class, Reg};
use super::word::Word;
use std::fmt::{self, Display, Formatter};

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, ".version {}\n.target {}\n.address_size 64", self.version, self.sm)?;
        for entry in &self.entries {
            writeln!(f)?;
            write_entry(f, entry)?;
        }
        Ok(())
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_entry(f, self)
    }
}

fn write_entry(f: &mut Formatter<'_>, entry: &Entry) -> fmt::Result {
    for (id, shared) in entry.shared.iter().filter(|(_, shared)| shared.bytes.is_none()) {
        writeln!(f, ".extern .shared .align {} .b8 {}[];", shared.align, SharedName(entry, id))?;
    }
    write!(f, ".visible .entry {}(", entry.name)?;
    for (n, param) in entry.params.values().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        write!(f, "{comma}\n    .param .{} {}", param.ty, param.name)?;
    }
    let [x, y, z] = entry.threads;
    writeln!(f, ")\n.reqntid {x}, {y}, {z}")?;
    if let Some(count) = entry.residents {
        writeln!(f, ".minnctapersm {count}")?;
    }
    if let Some(count) = entry.most_registers {
        writeln!(f, ".maxnreg {count}")?;
    }
    writeln!(f, "{{")?;
    for class in Class::ALL {
        let count = entry.registers[class as usize];
        if count > 0 {
            writeln!(f, "    .reg .{} {}<{count}>;", class.word(), class.prefix())?;
        }
    }
    for shared in entry.shared.values() {
        if let Shared { name, align, bytes: Some(bytes) } = shared {
            writeln!(f, "    .shared .align {align} .b8 {name}[{bytes}];")?;
        }
    }
    for id in &entry.layout {
        write_block(f, entry, *id)?;
    }
    writeln!(f, "}}")
}

fn write_block(f: &mut Formatter<'_>, entry: &Entry, id: BlockId) -> fmt::Result {
    writeln!(f, "{}:", Label(entry, id))?;
    let block = &entry.blocks[id];
    let mut notes = block.notes.iter().peekable();
    for (at, inst) in block.insts.iter().enumerate() {
        while let Some((_, text)) = notes.next_if(|(before, _)| *before as usize <= at) {
            writeln!(f, "    // {text}")?;
        }
        writeln!(f, "    {};", InstText(entry, inst))?;
    }
    notes.try_for_each(|(_, text)| writeln!(f, "    // {text}"))
}

/// The name of a shared variable; memory whose size the launch gives is named in the module, so by its entry, too.
struct SharedName<'a>(&'a Entry, SharedId);

impl Display for SharedName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.shared.get(self.1) {
            Some(Shared { name, bytes: Some(_), .. }) => f.write_str(name),
            Some(Shared { name, bytes: None, .. }) => write!(f, "{}_{name}", self.0.name),
            None => write!(f, "?{}", self.1),
        }
    }
}

/// The label of a block.
pub(crate) struct Label<'a>(pub(crate) &'a Entry, pub(crate) BlockId);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.blocks.get(self.1).map(|block| block.name.as_str()) {
            None | Some("") => write!(f, "${}", self.1),
            Some(name) => write!(f, "${}_{name}", self.1),
        }
    }
}

/// An instruction as its line has it.
pub(crate) struct InstText<'a>(pub(crate) &'a Entry, pub(crate) &'a Inst);

impl Display for InstText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(entry, inst) = self;
        if let Some(guard) = inst.guard {
            write!(f, "@{}{} ", if guard.negated { "!" } else { "" }, guard.reg)?;
        }
        write!(f, "{}", inst.op)?;
        for word in &inst.words {
            write!(f, ".{word}")?;
        }
        let form = inst.op.form(&inst.words);
        for (n, arg) in inst.args.iter().enumerate() {
            f.write_str(if n == 0 { " " } else { ", " })?;
            write_arg(f, entry, arg, immediate_type(form, n, &inst.words))?;
        }
        Ok(())
    }
}

/// The type by which operand `n` prints if it is an immediate.
fn immediate_type(form: Option<&Form>, n: usize, words: &[Word]) -> Word {
    match form.and_then(|form| form.slots.get(n)) {
        Some(Slot::Value(ty) | Slot::Maybe(ty)) => ty.word(words),
        _ => Ty::Is(Word::S64).word(words),
    }
}

fn write_arg(f: &mut Formatter<'_>, entry: &Entry, arg: &Arg, ty: Word) -> fmt::Result {
    match arg {
        Arg::Reg(reg) => write!(f, "{reg}"),
        Arg::Imm(bits) => write_immediate(f, *bits, ty),
        Arg::Regs(regs) => write_registers(f, regs),
        Arg::Special(special) => write!(f, "{special}"),
        Arg::Symbol(shared) => write!(f, "{}", SharedName(entry, *shared)),
        Arg::Target(block) => write!(f, "{}", Label(entry, *block)),
        Arg::Mem(base, offset) => write_address(f, entry, *base, *offset),
    }
}

fn write_registers(f: &mut Formatter<'_>, regs: &[Reg]) -> fmt::Result {
    f.write_str("{")?;
    for (n, reg) in regs.iter().enumerate() {
        write!(f, "{}{reg}", if n == 0 { "" } else { ", " })?;
    }
    f.write_str("}")
}

fn write_address(f: &mut Formatter<'_>, entry: &Entry, base: Base, offset: i32) -> fmt::Result {
    match base {
        Base::Reg(reg) => write!(f, "[{reg}")?,
        Base::Shared(shared) => write!(f, "[{}", SharedName(entry, shared))?,
        Base::Param(param) => match entry.params.get(param) {
            Some(param) => write!(f, "[{}", param.name)?,
            None => write!(f, "[?{param}")?,
        },
    }
    if offset != 0 {
        write!(f, "+{offset}")?;
    }
    f.write_str("]")
}

fn write_immediate(f: &mut Formatter<'_>, bits: u64, ty: Word) -> fmt::Result {
    let width = ty.bits();
    let unsigned = if width == 64 { bits } else { bits & ((1 << width) - 1) };
    let signed = (bits << (64 - width)).cast_signed() >> (64 - width);
    match ty {
        Word::F32 => write!(f, "0f{unsigned:08X}"),
        Word::F64 => write!(f, "0d{unsigned:016X}"),
        Word::B8 | Word::B16 | Word::B32 | Word::B64 if unsigned > 9 => write!(f, "0x{unsigned:x}"),
        _ if ty.is_signed() => write!(f, "{signed}"),
        _ => write!(f, "{unsigned}"),
    }
}

impl Entry {
    /// Where an instruction stands and what it is, for messages.
    pub fn place_of(&self, block: BlockId, position: usize) -> String {
        match self.blocks.get(block).and_then(|block| block.insts.get(position)) {
            Some(inst) => format!("{}:{position} `{}`", Label(self, block), InstText(self, inst)),
            None => format!("{}:{position}", Label(self, block)),
        }
    }
}
