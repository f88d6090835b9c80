//! Between which numbers the scalars of a kernel stay.
//!
//! In: a verified kernel. Out: for each scalar integer the least and the greatest value it can have in any block, as far as its
//! definition tells without the sizes of a run. Interval arithmetic; what overflows is not known.

use sawmill_ir::elem::ElemOp;
use sawmill_ir::entity::Entity as _;
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{Inst, Kernel, Op, Region, Value};

/// The least and the greatest value.
pub(crate) type Range = (i64, i64);

/// The ranges of all values; `None` where nothing is known.
pub(super) fn ranges(kernel: &Kernel) -> Vec<Option<Range>> {
    let mut known = vec![None; kernel.values.len()];
    region(kernel, &kernel.body, &mut known);
    known
}

fn region(kernel: &Kernel, of: &Region, known: &mut [Option<Range>]) {
    for inst in &of.insts {
        match &inst.op {
            Op::For { step, phases, params, body } => {
                let turns = phases.iter().map(|phase| {
                    let (lo, hi) = (known[phase.lo.index()]?, known[phase.hi.index()]?);
                    Some((lo.0, last(lo, hi.1, *step)?))
                });
                let turns: Option<Vec<Range>> = turns.collect();
                known[params[0].index()] = turns.and_then(|turns| turns.into_iter().reduce(union));
                region(kernel, body, known);
            }
            Op::If { then, otherwise } => {
                region(kernel, then, known);
                region(kernel, otherwise, known);
            }
            _ => {
                if let [result] = inst.results.as_slice() {
                    known[result.index()] = of_inst(kernel, inst, known);
                }
            }
        }
    }
}

/// The last position of a loop from `lo` below `end`.
fn last(lo: Range, end: i64, step: i64) -> Option<i64> {
    let most = end.checked_sub(1)?.max(lo.0);
    if lo.0 == lo.1 { Some(lo.0 + (most - lo.0) / step.max(1) * step.max(1)) } else { Some(most) }
}

fn union(a: Range, b: Range) -> Range {
    (a.0.min(b.0), a.1.max(b.1))
}

fn of_inst(kernel: &Kernel, inst: &Inst, known: &[Option<Range>]) -> Option<Range> {
    let args = || inst.args.iter().map(|v: &Value| known[v.index()]);
    match &inst.op {
        Op::Const(Const::Int(value)) => Some((*value, *value)),
        Op::Grid(axis) => {
            let (_, blocks) = kernel.grid.get(usize::try_from(*axis).ok()?)?;
            blocks.as_int().filter(|n| *n > 0).map(|n| (0, n - 1))
        }
        Op::Elem(ElemOp::Add) => args().try_fold((0, 0), |a: Range, b| both(a, b?, i64::checked_add)),
        Op::Elem(ElemOp::Mul) => args().try_fold((1, 1), |a, b| product(a, b?)),
        Op::Elem(ElemOp::Min) => reduced(args(), |a, b| (a.0.min(b.0), a.1.min(b.1))),
        Op::Elem(ElemOp::Max) => reduced(args(), |a, b| (a.0.max(b.0), a.1.max(b.1))),
        Op::Elem(ElemOp::Div) => {
            let (a, b) = (known[inst.args[0].index()]?, known[inst.args[1].index()]?);
            (b.0 == b.1 && b.0 > 0).then(|| (a.0.div_euclid(b.0), a.1.div_euclid(b.0)))
        }
        _ => None,
    }
}

fn both(a: Range, b: Range, op: fn(i64, i64) -> Option<i64>) -> Option<Range> {
    Some((op(a.0, b.0)?, op(a.1, b.1)?))
}

fn product(a: Range, b: Range) -> Option<Range> {
    let corner = |x: i64, y: i64| x.checked_mul(y).map(|p| (p, p));
    let corners = [corner(a.0, b.0)?, corner(a.0, b.1)?, corner(a.1, b.0)?, corner(a.1, b.1)?];
    corners.into_iter().reduce(union)
}

fn reduced(mut args: impl Iterator<Item = Option<Range>>, op: fn(Range, Range) -> Range) -> Option<Range> {
    let first = args.next()??;
    args.try_fold(first, |a, b| Some(op(a, b?)))
}
