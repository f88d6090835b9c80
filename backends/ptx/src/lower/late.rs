//! Loads of tiles that are needed only behind a reduction wait for it.
//!
//! In: a kernel. Out: a kernel of the same meaning. What a reduction reads is on its way first then, and registers hold nothing of
//! the rest while threads exchange: a norm's weights come after the sum over its row. Vectors are unpacked where their ways join
//! ([`super::vector`]), so a load in front of the row's would hold that one up. In kernels with products the assembler orders loads.

use sawmill_ir::tile::{Access, Inst, Kernel, Op, Region, Value};

/// The kernel with such loads right before their first use.
pub(super) fn late(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    if has_products(&kernel.body) {
        return kernel;
    }
    let mut body = std::mem::take(&mut kernel.body);
    region(&kernel, &mut body);
    kernel.body = body;
    kernel
}

fn regions(inst: &Inst) -> Vec<&Region> {
    match &inst.op {
        Op::For { body, .. } => vec![body],
        Op::If { then, otherwise } => vec![then, otherwise],
        _ => Vec::new(),
    }
}

fn has_products(region: &Region) -> bool {
    let product = |inst: &Inst| matches!(inst.op, Op::Mma { .. } | Op::Slice(_));
    region.insts.iter().any(|inst| product(inst) || regions(inst).into_iter().any(has_products))
}

fn region(kernel: &Kernel, of: &mut Region) {
    for inst in &mut of.insts {
        match &mut inst.op {
            Op::For { body, .. } => region(kernel, body),
            Op::If { then, otherwise } => {
                region(kernel, then);
                region(kernel, otherwise);
            }
            _ => {}
        }
    }
    for at in (0..of.insts.len()).rev() {
        let Op::Load { mem, .. } = &of.insts[at].op else { continue };
        let value = of.insts[at].results[0];
        if kernel.memory[*mem].access != Access::In || kernel.values[value].axes.is_empty() {
            continue;
        }
        let Some(first) = (at + 1..of.insts.len()).find(|later| uses(&of.insts[*later], value)) else { continue };
        if of.insts[at..first].iter().any(|inst| matches!(inst.op, Op::Reduce { .. })) {
            let load = of.insts.remove(at);
            of.insts.insert(first - 1, load);
        }
    }
}

fn uses(inst: &Inst, value: Value) -> bool {
    let inside = |region: &Region| region.yields.contains(&value) || region.insts.iter().any(|inst| uses(inst, value));
    inst.args.contains(&value) || regions(inst).into_iter().any(inside)
}
