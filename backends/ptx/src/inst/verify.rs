//! Checks a module against the table and the rules of the data.
//!
//! In: a module. Out: nothing, or the first broken rule with its entry, its block, the position in it and the instruction as
//! text. Every register is written on every path to where it is read; a write under a guard counts, whether the guard held is
//! for the interpreter to see.

use super::flow::{self, reads, writes};
use super::form::{Count, Form, Slot, Space, Ty};
use super::print::{InstText, Label};
use super::program::{Arg, Base, BlockId, Entry, Inst, Module, Needs};
use super::reg::{Class, Reg};
use super::table::Op;
use super::word::Word;
use sawmill_ir::error::VerifyError;
use std::collections::BTreeSet;

/// Static shared memory of a CTA; more is had by asking at the launch.
const STATIC_SHARED_BYTES: u32 = 48 * 1024;
const BARRIERS: u64 = 16;
const WARP: u64 = 32;
const MAX_THREADS: u32 = 1024;
const MAX_PARAM_BYTES: u32 = 4096;

type Checked = Result<(), String>;

/// Checks every rule of every entry.
///
/// # Errors
/// The first broken rule.
pub fn verify(module: &Module) -> Result<(), VerifyError> {
    let at = |function: &str, message: String| VerifyError {
        function: function.to_owned(),
        entity: "module".to_owned(),
        message,
    };
    if module.version < module.sm.version() {
        return Err(at("module", format!("{} needs PTX {}, not {}", module.sm, module.sm.version(), module.version)));
    }
    let mut names = BTreeSet::new();
    for entry in &module.entries {
        check_name(&entry.name).map_err(|message| at(&entry.name, message))?;
        if !names.insert(&entry.name) {
            return Err(at(&entry.name, "two entries have this name".into()));
        }
        verify_entry(module, entry)?;
    }
    Ok(())
}

fn verify_entry(module: &Module, entry: &Entry) -> Result<(), VerifyError> {
    let at = |entity: String, message| VerifyError { function: entry.name.clone(), entity, message };
    check_declarations(entry).map_err(|message| at("declarations".into(), message))?;
    check_layout(entry).map_err(|message| at("layout".into(), message))?;
    let needs = Needs { version: module.version, sm: module.sm };
    for id in &entry.layout {
        let block = &entry.blocks[*id];
        for (n, inst) in block.insts.iter().enumerate() {
            check_inst(entry, inst, needs).map_err(|message| at(entry.place_of(*id, n), message))?;
        }
        check_control(entry, *id).map_err(|message| at(Label(entry, *id).to_string(), message))?;
    }
    match flow::first_unwritten(entry) {
        None => Ok(()),
        Some((id, n, reg)) => {
            Err(at(entry.place_of(id, n), format!("{reg} is read, but some path here has not written it")))
        }
    }
}

fn check_name(name: &str) -> Checked {
    let starts = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let goes_on = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$');
    // PTX means nothing by `_` alone, and the lanes of a warp by the other.
    if starts && goes_on && !["_", "WARP_SZ"].contains(&name) {
        Ok(())
    } else {
        Err(format!("`{name}` is no name in PTX"))
    }
}

fn check_declarations(entry: &Entry) -> Checked {
    let mut names = BTreeSet::from([&entry.name]);
    let declared =
        entry.params.values().map(|param| &param.name).chain(entry.shared.values().map(|shared| &shared.name));
    for name in declared {
        check_name(name)?;
        if !names.insert(name) {
            return Err(format!("`{name}` is declared twice"));
        }
    }
    if let Some(param) = entry.params.values().find(|param| !matches!(param.ty.bits(), 32 | 64)) {
        return Err(format!("parameter `{}` has the type {}, which has neither 32 nor 64 bits", param.name, param.ty));
    }
    let param_bytes: u32 = entry.params.values().map(|param| param.ty.bits() / 8).sum();
    if param_bytes > MAX_PARAM_BYTES {
        return Err(format!("the parameters take {param_bytes} bytes of at most {MAX_PARAM_BYTES}"));
    }
    let threads = entry.threads.iter().try_fold(1_u32, |product, extent| product.checked_mul(*extent));
    if !threads.is_some_and(|threads| (1..=MAX_THREADS).contains(&threads)) || entry.threads[2] > 64 {
        return Err(format!("a CTA cannot have {:?} threads", entry.threads));
    }
    check_shared(entry)
}

fn check_shared(entry: &Entry) -> Checked {
    for shared in entry.shared.values() {
        if !shared.align.is_power_of_two() || shared.align > 1024 {
            return Err(format!(
                "`{}` is aligned to {}, which is no power of two up to 1024",
                shared.name, shared.align
            ));
        }
    }
    if entry.shared.values().filter(|shared| shared.bytes.is_none()).count() > 1 {
        return Err("two shared variables have the size that the launch gives, so they would be the same memory".into());
    }
    let bytes = entry.shared.values().filter_map(|shared| shared.bytes).map(u64::from).sum::<u64>();
    if bytes > STATIC_SHARED_BYTES.into() {
        return Err(format!("static shared memory is {bytes} bytes of at most {STATIC_SHARED_BYTES}"));
    }
    Ok(())
}

fn check_layout(entry: &Entry) -> Checked {
    let mut placed = BTreeSet::new();
    for id in &entry.layout {
        let block = entry.blocks.get(*id).ok_or_else(|| format!("{id} does not exist"))?;
        if !placed.insert(*id) {
            return Err(format!("{} stands twice", Label(entry, *id)));
        }
        if !block.name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return Err(format!("`{}` is no name of a block", block.name));
        }
        if block.notes.iter().any(|(_, text)| text.contains('\n')) {
            return Err(format!("a note of {} has more than one line", Label(entry, *id)));
        }
    }
    let last = entry.layout.last().ok_or("there is no block")?;
    if flow::falls_through(&entry.blocks[*last]) { Err("the last block runs off the end".into()) } else { Ok(()) }
}

/// Control leaves at the end only.
fn check_control(entry: &Entry, id: BlockId) -> Checked {
    let insts = &entry.blocks[id].insts;
    let tail = insts.iter().position(|inst| inst.op.is_control()).unwrap_or(insts.len());
    if let Some(inst) = insts[tail..].iter().find(|inst| !inst.op.is_control()) {
        return Err(format!("`{}` stands behind a branch of its block", InstText(entry, inst)));
    }
    match insts[tail..].split_last() {
        Some((_, before)) if before.iter().any(|inst| inst.guard.is_none()) => {
            Err("a branch stands behind one that is always taken".into())
        }
        _ => Ok(()),
    }
}

fn check_inst(entry: &Entry, inst: &Inst, has: Needs) -> Checked {
    let Some(form) = inst.op.form(&inst.words) else {
        return Err("the table has no such instruction".into());
    };
    if form.needs.version > has.version || form.needs.sm > has.sm {
        let Needs { version, sm } = form.needs;
        return Err(format!("needs PTX {version} and {sm}, the module is PTX {} for {}", has.version, has.sm));
    }
    if let Some(guard) = inst.guard
        && guard.reg.class() != Class::Pred
    {
        return Err(format!("{} guards, but is no predicate", guard.reg));
    }
    if let Some(reg) = reads(inst).chain(writes(inst)).find(|reg| !entry.owns(*reg)) {
        return Err(format!("{reg} is not a register of this entry"));
    }
    check_args(entry, inst, form)?;
    check_limits(entry, inst)
}

fn check_args(entry: &Entry, inst: &Inst, form: &Form) -> Checked {
    let least = form.slots.iter().filter(|slot| !matches!(slot, Slot::Maybe(_))).count();
    if !(least..=form.slots.len()).contains(&inst.args.len()) {
        return Err(format!("has {} operands, not {least} to {}", inst.args.len(), form.slots.len()));
    }
    for (n, (slot, arg)) in form.slots.iter().zip(&inst.args).enumerate() {
        check_arg(entry, inst, *slot, arg).map_err(|message| format!("operand {n}: {message}"))?;
    }
    Ok(())
}

fn check_arg(entry: &Entry, inst: &Inst, slot: Slot, arg: &Arg) -> Checked {
    let words = &inst.words;
    match (slot, arg) {
        (Slot::Def(ty) | Slot::Use(ty) | Slot::Value(ty) | Slot::Maybe(ty), Arg::Reg(reg)) => {
            check_class(*reg, ty, words)
        }
        (Slot::Defs(ty, count) | Slot::Uses(ty, count), Arg::Regs(regs)) => check_group(regs, ty, count, words),
        (Slot::Value(ty) | Slot::Maybe(ty), Arg::Imm(bits)) => check_immediate(*bits, ty.word(words)),
        (Slot::OneOf(list), Arg::Imm(bits)) if list.contains(&bits.cast_signed()) => Ok(()),
        (Slot::OneOf(list), Arg::Imm(_)) => Err(format!("is none of {list:?}")),
        (Slot::Const(low, high), Arg::Imm(bits)) if (low..=high).contains(&bits.cast_signed()) => Ok(()),
        (Slot::Const(low, high), Arg::Imm(_)) => Err(format!("is not in {low}..={high}")),
        (Slot::Special(ty), Arg::Special(special)) if special.word() == ty.word(words) => Ok(()),
        (Slot::Special(ty), Arg::Special(special)) => Err(format!("{special} is not read as {}", ty.word(words))),
        (Slot::Symbol, Arg::Symbol(shared)) if entry.shared.get(*shared).is_some() => Ok(()),
        (Slot::Target, Arg::Target(block)) if entry.layout.contains(block) => Ok(()),
        (Slot::Target, Arg::Target(block)) => Err(format!("{} stands nowhere", Label(entry, *block))),
        (Slot::Mem(_) | Slot::MemOfWord, Arg::Mem(base, offset)) => {
            let space = slot.space(words).ok_or("no space is named")?;
            check_address(entry, space, *base, *offset, access_bytes(inst.op, words))
        }
        _ => Err(format!("the form wants {slot:?}")),
    }
}

fn check_class(reg: Reg, ty: Ty, words: &[Word]) -> Checked {
    let classes = ty.classes(words);
    if classes.contains(&reg.class()) { Ok(()) } else { Err(format!("{reg} does not hold {}", ty.word(words))) }
}

fn check_group(regs: &[Reg], ty: Ty, count: Count, words: &[Word]) -> Checked {
    let wanted = count.of(words).unwrap_or(1);
    if regs.len() != wanted {
        return Err(format!("has {} registers, not {wanted}", regs.len()));
    }
    regs.iter().try_for_each(|reg| check_class(*reg, ty, words))
}

/// An immediate must be a value of its type, of either sign.
fn check_immediate(bits: u64, ty: Word) -> Checked {
    let width = ty.bits();
    let fits = match width {
        64 => true,
        1 => false,
        _ => bits >> width == 0 || bits.cast_signed() >> (width - 1) == -1,
    };
    if fits { Ok(()) } else { Err(format!("{bits:#x} is no immediate of type {ty}")) }
}

fn check_address(entry: &Entry, space: Space, base: Base, offset: i32, bytes: u32) -> Checked {
    let unsigned = u64::try_from(offset).map_err(|_| "the offset is before the variable".to_owned());
    let inside = |size: u64, align: u32| {
        let offset = unsigned.clone()?;
        if offset + u64::from(bytes) > size {
            return Err(format!("bytes {offset}..{} of {size}", offset + u64::from(bytes)));
        }
        if align >= bytes && offset % u64::from(bytes.max(1)) != 0 {
            return Err(format!("offset {offset} is not aligned to {bytes} bytes"));
        }
        Ok(())
    };
    match (space, base) {
        (Space::Global, Base::Reg(reg)) if reg.class() == Class::B64 => Ok(()),
        (Space::Shared, Base::Reg(reg)) if reg.class() == Class::B32 => Ok(()),
        (Space::Shared, Base::Shared(id)) => {
            let shared = entry.shared.get(id).ok_or_else(|| format!("{id} does not exist"))?;
            inside(shared.bytes.map_or(u64::MAX, u64::from), shared.align)
        }
        (Space::Param, Base::Param(id)) => {
            let param = entry.params.get(id).ok_or_else(|| format!("{id} does not exist"))?;
            let size = param.ty.bits() / 8;
            inside(size.into(), size)
        }
        (_, Base::Reg(reg)) => Err(format!("{reg} holds no address in {space:?}")),
        _ => Err(format!("the address is not in {space:?}")),
    }
}

/// Bytes that one lane accesses at an address, as far as alignment goes.
pub(crate) fn access_bytes(op: Op, words: &[Word]) -> u32 {
    match op {
        Op::Ld | Op::St => {
            let count = Count::Word.of(words).unwrap_or(1);
            Ty::T.word(words).bits() / 8 * u32::try_from(count).unwrap_or(1)
        }
        Op::Atom | Op::Red => Ty::T.word(words).bits() / 8,
        Op::Ldmatrix | Op::Stmatrix => 16,
        // Each copy says its size in an operand.
        _ => 1,
    }
}

/// What the hardware limits beyond the types of operands.
fn check_limits(entry: &Entry, inst: &Inst) -> Checked {
    let named = matches!(inst.op, Op::Bar | Op::Barrier) && !inst.words.contains(&Word::Warp);
    if !named {
        return Ok(());
    }
    if let Some(Arg::Imm(id)) = inst.args.first()
        && *id >= BARRIERS
    {
        return Err(format!("there are {BARRIERS} barriers, {id} is none of them"));
    }
    if let Some(Arg::Imm(count)) = inst.args.get(1)
        && (*count == 0 || *count % WARP != 0 || *count > u64::from(entry.thread_count()).next_multiple_of(WARP))
    {
        return Err(format!("{count} threads at a barrier are no number of whole warps of this CTA"));
    }
    Ok(())
}
