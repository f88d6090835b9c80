//! Rewriting a kernel instruction by instruction, those of inner regions first.
//!
//! In: a kernel, what becomes of an instruction. Out: the kernel with these instructions in its place.

use sawmill_ir::tile::{Inst, Kernel, Op, Region};

/// The kernel in which every instruction is replaced by what `change` makes of it.
pub(super) fn rewritten(kernel: &Kernel, mut change: impl FnMut(&mut Kernel, Inst) -> Vec<Inst>) -> Kernel {
    let mut kernel = kernel.clone();
    let mut body = std::mem::take(&mut kernel.body);
    region(&mut kernel, &mut body, &mut change);
    kernel.body = body;
    kernel
}

fn region(kernel: &mut Kernel, of: &mut Region, change: &mut impl FnMut(&mut Kernel, Inst) -> Vec<Inst>) {
    let mut insts = Vec::new();
    for mut inst in std::mem::take(&mut of.insts) {
        match &mut inst.op {
            Op::For { body, .. } => region(kernel, body, change),
            Op::If { then, otherwise } => {
                region(kernel, then, change);
                region(kernel, otherwise, change);
            }
            _ => {}
        }
        insts.extend(change(kernel, inst));
    }
    of.insts = insts;
}
