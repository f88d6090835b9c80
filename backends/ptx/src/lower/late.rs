//! What is needed late is computed late.
//!
//! In: a kernel. Out: a kernel of the same meaning. Without products, loads of tiles that are needed only behind a reduction wait for
//! it: what the reduction reads is on its way first then, and registers hold nothing of the rest while threads exchange, so a norm's
//! weights come after the sum over its row. Vectors are unpacked where their ways join ([`super::vector`]), so a load in front of the
//! row's would hold that one up. With products, whose loads the assembler orders as far as a barrier, reductions wait for their first
//! use: factors are on their way while threads exchange.

use sawmill_ir::tile::{Access, Inst, Kernel, Op, Region, Value};

/// The kernel with such loads or reductions right before their first use.
pub(super) fn late(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    let mut body = std::mem::take(&mut kernel.body);
    let products = has_products(&body);
    region(&kernel, &mut body, products);
    kernel.body = body;
    kernel
}

fn has_products(region: &Region) -> bool {
    let product = |inst: &Inst| matches!(inst.op, Op::Mma { .. } | Op::Slice(_));
    region.insts.iter().any(|inst| product(inst) || inst.regions().into_iter().any(has_products))
}

fn region(kernel: &Kernel, of: &mut Region, products: bool) {
    for inst in &mut of.insts {
        match &mut inst.op {
            Op::For { body, .. } => region(kernel, body, products),
            Op::If { then, otherwise } => {
                region(kernel, then, products);
                region(kernel, otherwise, products);
            }
            _ => {}
        }
    }
    for at in (0..of.insts.len()).rev() {
        let [value] = of.insts[at].results.as_slice() else { continue };
        let waits = match &of.insts[at].op {
            Op::Load { mem, .. } => !products && kernel.memory[*mem].access == Access::In,
            Op::Reduce { .. } => products,
            _ => false,
        };
        if !waits || !products && kernel.values[*value].axes.is_empty() {
            continue;
        }
        let Some(first) = (at + 1..of.insts.len()).find(|later| uses(&of.insts[*later], *value)) else { continue };
        let over = |inst: &Inst| match inst.op {
            Op::Mma { .. } => products,
            Op::Reduce { .. } => !products,
            _ => false,
        };
        if of.insts[at + 1..first].iter().any(over) {
            let inst = of.insts.remove(at);
            of.insts.insert(first - 1, inst);
        }
    }
}

fn uses(inst: &Inst, value: Value) -> bool {
    let mut found = false;
    inst.each_use(&mut |used| found |= used == value);
    found
}
