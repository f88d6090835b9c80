//! What memory says of layouts: how many neighbours a thread should hold, and which scalars are round numbers.
//!
//! In: a kernel. Out: the number of lowest bits of the innermost axis that a thread holds, so that 16 bytes of the narrowest memory
//! go at once; and for each scalar a power of two that it is a multiple of.

use super::order::{collect, memory_order};
use sawmill_ir::elem::ElemOp;
use sawmill_ir::entity::Entity as _;
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{AxisId, Inst, Kernel, Op, Region, Subscript, Value};

/// Bits of the longest access.
const MOST_BITS: u32 = 128;
/// The power of a number that every power of two divides.
const ALL: u32 = 62;

/// Bits of the innermost axis that lie in registers. None in a kernel whose tiles have homes: there lanes that are next to each
/// other read and write shared memory without conflicts; none either if accesses of more than one axis disagree about which one
/// is innermost.
pub(super) fn vector_bits(kernel: &Kernel) -> usize {
    let mut insts = Vec::new();
    collect(&kernel.body, &mut insts);
    if insts.iter().any(|inst| matches!(inst.op, Op::Mma { .. } | Op::Slice(_))) {
        return 0;
    }
    let mut narrowest = MOST_BITS;
    let mut inner: Vec<AxisId> = Vec::new();
    let mut several: Vec<Vec<AxisId>> = Vec::new();
    for inst in insts {
        let order = memory_order(kernel, inst);
        let Some((axis, bits)) = neighbours(kernel, inst, &order) else { continue };
        narrowest = narrowest.min(bits);
        if order.len() > 1 {
            inner.push(axis);
            several.push(order);
        }
    }
    let agree = |order: &Vec<AxisId>| order.iter().rev().skip(1).all(|axis| !inner.contains(axis));
    if several.iter().all(agree) { (MOST_BITS / narrowest).trailing_zeros() as usize } else { 0 }
}

/// The axis whose neighbours lie next to each other in an access, and the bits of an element.
fn neighbours(kernel: &Kernel, inst: &Inst, order: &[AxisId]) -> Option<(AxisId, u32)> {
    let (Op::Load { mem, subs, .. } | Op::Store { mem, subs, .. }) = &inst.op else { return None };
    let axis = *order.last()?;
    let Subscript::Affine(terms) = subs.last()? else { return None };
    let bits = kernel.memory[*mem].dtype.bits();
    (terms.contains(&(axis, 1)) && (8..=32).contains(&bits)).then_some((axis, bits))
}

/// For each value, the power of a power of two that it is a multiple of, as far as its definition tells.
pub(super) fn powers(kernel: &Kernel) -> Vec<u32> {
    let mut powers = vec![0; kernel.values.len()];
    region(&kernel.body, &mut powers);
    powers
}

fn region(of: &Region, powers: &mut [u32]) {
    for inst in &of.insts {
        let arg = |at: usize| inst.args.get(at).map_or(0, |v: &Value| powers[v.index()]);
        let power = match &inst.op {
            Op::Const(Const::Int(value)) => power(*value),
            Op::Size(size) => size.terms().map(|(_, coefficient)| power(coefficient)).min().unwrap_or(ALL),
            Op::Elem(ElemOp::Add | ElemOp::Sub | ElemOp::Min | ElemOp::Max) => {
                (0..inst.args.len()).map(arg).min().unwrap_or(0)
            }
            Op::Elem(ElemOp::Mul) => (0..inst.args.len()).map(arg).sum::<u32>().min(ALL),
            Op::For { step, phases, params, body } => {
                let starts = phases.iter().map(|phase| powers[phase.lo.index()]).min().unwrap_or(ALL);
                powers[params[0].index()] = power(*step).min(starts);
                region(body, powers);
                continue;
            }
            Op::If { then, otherwise } => {
                region(then, powers);
                region(otherwise, powers);
                continue;
            }
            _ => 0,
        };
        if let [result] = inst.results.as_slice() {
            powers[result.index()] = power;
        }
    }
}

fn power(value: i64) -> u32 {
    if value == 0 { ALL } else { value.trailing_zeros().min(ALL) }
}
