//! How many threads a kernel's CTAs have.
//!
//! In: a kernel, the usual number. Out: that number, or more where a tile of many elements is only streamed, so that it stays in
//! registers and other CTAs of the multiprocessor have room. Products keep the number that their tiles were chosen for.

use crate::layout::elements;
use sawmill_ir::tile::{Kernel, Op, Region};

/// Elements of one tile that a thread should hold at most where rows are kept and reduced: fewer threads have less to exchange.
const KEPT: u64 = 32;
/// The same elsewhere.
const PASSING: u64 = 8;
/// Threads that a barrier should gather at most.
const MOST: u32 = 512;

/// The threads of a CTA of `kernel`, at least `usual`.
pub fn threads(kernel: &Kernel, usual: u32) -> u32 {
    if has(&kernel.body, &|op| matches!(op, Op::Mma { .. })) {
        return usual;
    }
    let share = if has(&kernel.body, &|op| matches!(op, Op::Reduce { .. })) { KEPT } else { PASSING };
    let largest = kernel.values.values().map(|ty| elements(kernel, &ty.axes)).max().unwrap_or(1);
    let wanted = (largest / share).next_power_of_two();
    u32::try_from(wanted).unwrap_or(MOST).min(MOST).max(usual)
}

/// Whether some instruction has such an operation.
fn has(region: &Region, such: &dyn Fn(&Op) -> bool) -> bool {
    region.insts.iter().any(|inst| such(&inst.op) || inst.regions().into_iter().any(|inner| has(inner, such)))
}
