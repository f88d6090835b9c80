//! Reductions of a loop's steps are made once, after the loop.
//!
//! In: a verified kernel, how many elements a carry may have. Out: a kernel of the same meaning, up to the order of combination. A
//! carry that each step combines with a reduction of a tile becomes a carry of tiles that are combined element by element; what is
//! left after the loop is reduced. Threads then exchange nothing inside of the loop.

use super::split::combination;
use super::walk::rewritten;
use crate::layout::elements;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{AxisId, Inst, Kernel, Op, Region, Type, Value};

/// The kernel with reductions behind loops, where the carries that this needs have at most `most` elements.
pub(super) fn defer(kernel: &Kernel, most: u64) -> Kernel {
    let deferring = |kernel: &mut Kernel, mut inst: Inst| {
        let (before, after) = deferred(kernel, &mut inst, most);
        before.into_iter().chain([inst]).chain(after).collect()
    };
    rewritten(kernel, deferring).compact()
}

/// A carry that can wait: what reduces, over which axes, what is reduced.
struct Waiting {
    op: ReduceOp,
    over: Vec<AxisId>,
    tile: Value,
    combine: ElemOp,
    nothing: Const,
    /// Where the next value is made, in the body.
    at: usize,
}

/// Changes a loop; gives what comes before and after it.
fn deferred(kernel: &mut Kernel, inst: &mut Inst, most: u64) -> (Vec<Inst>, Vec<Inst>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let carries = inst.args.len();
    for carry in 0..carries {
        let Op::For { params, body, .. } = &mut inst.op else { break };
        let Some(waiting) = waiting(kernel, params[2 + carry], body.yields[carry], body, most) else { continue };
        let ty = kernel.values[waiting.tile].clone();
        let mut value = |ty: Type| kernel.values.push(ty);
        let (param, next, end) = (value(ty.clone()), value(ty.clone()), value(ty.clone()));
        let (init, rest) = (value(Type::scalar(ty.dtype)), inst.results[carry]);
        let reduced = value(Type::tile(ty.dtype, ty.axes.iter().copied().filter(|a| !waiting.over.contains(a))));
        let plain =
            |op: Op, args: Vec<Value>, result: Value| Inst { results: vec![result], op, args, attrs: Vec::new() };
        before.push(plain(Op::Const(waiting.nothing), Vec::new(), init));
        body.insts[waiting.at] = plain(Op::Elem(waiting.combine), vec![param, waiting.tile], next);
        after.push(plain(Op::Reduce { op: waiting.op, over: waiting.over }, vec![end], reduced));
        after.push(plain(Op::Elem(waiting.combine), vec![inst.args[carry], reduced], rest));
        params[2 + carry] = param;
        body.yields[carry] = next;
        inst.args[carry] = init;
        inst.results[carry] = end;
    }
    (before, after)
}

/// The carry `param` whose next value is `next`, if it can wait: nothing else of the body sees it or the reduction.
fn waiting(kernel: &Kernel, param: Value, next: Value, body: &Region, most: u64) -> Option<Waiting> {
    let defines = |value: Value| body.insts.iter().position(|inst| inst.results == [value]);
    let at = defines(next)?;
    let Op::Elem(combine) = body.insts[at].op else { return None };
    let reduced = match body.insts[at].args.as_slice() {
        [a, b] if *a == param => *b,
        [a, b] if *b == param => *a,
        _ => return None,
    };
    let Op::Reduce { op, over } = &body.insts[defines(reduced)?].op else { return None };
    let tile = body.insts[defines(reduced)?].args[0];
    let ty = &kernel.values[tile];
    let (combined, nothing) = combination(*op, ty.dtype)?;
    let alone = [param, next, reduced].iter().all(|value| uses(body, *value) == 1);
    let same = kernel.values[param] == kernel.values[reduced];
    (combined == combine && alone && same && elements(kernel, &ty.axes) <= most).then(|| Waiting {
        op: *op,
        over: over.clone(),
        tile,
        combine,
        nothing,
        at,
    })
}

/// How often a region reads a value.
fn uses(region: &Region, value: Value) -> usize {
    let mut count = 0;
    region.each_use(&mut |used| count += usize::from(used == value));
    count
}
