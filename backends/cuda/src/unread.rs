//! Which parameters an entry never looks at.
//!
//! In: an entry. Out: their numbers. Every kernel is passed all sizes and strides of its memories and every dim; most entries use few of them.
//! What is not read need not be passed anew, so a node of a graph stays as it is when only such a size has changed.

use std::collections::BTreeSet;

use sawmill_ptx::inst::{Arg, Base, Entry, Inst, Op, ParamId, Reg};

/// The parameters of which no instruction uses what was loaded, ascending.
pub(crate) fn unread(entry: &Entry) -> Vec<u32> {
    let insts = || entry.layout.iter().flat_map(|block| &entry.blocks[*block].insts);
    let used: BTreeSet<Reg> = insts().flat_map(used_registers).collect();
    let read: BTreeSet<ParamId> =
        insts().filter_map(loaded).filter(|(_, to)| used.contains(to)).map(|(param, _)| param).collect();
    let odd: BTreeSet<ParamId> = insts().filter(|inst| loaded(inst).is_none()).flat_map(parameters).collect();
    let numbered = (0..).zip(entry.params.keys());
    numbered.filter(|(_, param)| !read.contains(param) && !odd.contains(param)).map(|(number, _)| number).collect()
}

/// The parameter that an instruction loads to a register, if that is all it does.
fn loaded(inst: &Inst) -> Option<(ParamId, Reg)> {
    match (inst.op, inst.args.as_slice()) {
        (Op::Ld, [Arg::Reg(to), Arg::Mem(Base::Param(param), 0)]) => Some((*param, *to)),
        _ => None,
    }
}

/// The parameters that an instruction names.
fn parameters(inst: &Inst) -> impl Iterator<Item = ParamId> {
    inst.args.iter().filter_map(|arg| match arg {
        Arg::Mem(Base::Param(param), _) => Some(*param),
        _ => None,
    })
}

/// The registers that an instruction names, but for the target of a load of a parameter.
fn used_registers(inst: &Inst) -> Vec<Reg> {
    let mut used: Vec<Reg> = inst.guard.iter().map(|guard| guard.reg).collect();
    if loaded(inst).is_some() {
        return used;
    }
    for arg in &inst.args {
        match arg {
            Arg::Reg(reg) | Arg::Mem(Base::Reg(reg), _) => used.push(*reg),
            Arg::Regs(regs) => used.extend(regs),
            Arg::Imm(_) | Arg::Special(_) | Arg::Symbol(_) | Arg::Target(_) => {}
            Arg::Mem(Base::Shared(_) | Base::Param(_), _) => {}
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::unread;
    use sawmill_ptx::inst::{Arg, Base, Builder, Guard, Op, Word, at};

    #[test]
    fn what_no_instruction_uses_is_unread() {
        let mut b = Builder::new("k", [32, 1, 1]);
        let params = ["address", "size", "value", "limit", "half"].map(|name| b.param(name, Word::U64));
        let [address, _size, value, limit, _half] = params.map(|param| b.load_param(param));
        // Half of the last parameter, loaded in another way.
        b.op(Op::Ld, &[Word::Param, Word::U32], &[Arg::Mem(Base::Param(params[4]), 4)]);
        let below = b.op(Op::Setp, &[Word::Lt, Word::U64], &[limit.into(), Arg::Imm(7)]);
        b.under(Guard::when(below), |b| b.run(Op::St, &[Word::Global, Word::U64], &[at(address, 0), value.into()]));
        b.ret();
        assert_eq!(unread(&b.finish()), [1]);
    }
}
