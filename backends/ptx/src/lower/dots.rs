//! Products of a matrix and a vector, spelled out: elementwise products, then a reduction.
//!
//! In: a verified kernel, how many elements a tile may have. Out: a kernel of the same meaning. A sum over products whose one factor
//! has no axis but summed ones reuses nothing, so it needs no homes: each thread multiplies the elements of the matrix that it
//! holds, and a reduction adds up, in a loop after the last turn ([`super::defer`]).

use super::walk::rewritten;
use crate::layout::elements;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::tile::{Inst, Kernel, Op, Type, Value};

/// The kernel without products of vectors whose other factor has at most `most` elements.
pub(super) fn dots(kernel: &Kernel, most: u64) -> Kernel {
    rewritten(kernel, |kernel, inst| spelled_out(kernel, &inst, most).unwrap_or_else(|| vec![inst]))
}

/// A product of a matrix and a vector as its steps; `None` for anything else.
fn spelled_out(kernel: &mut Kernel, inst: &Inst, most: u64) -> Option<Vec<Inst>> {
    let Op::Mma { over } = &inst.op else { return None };
    let axes = |value: Value| &kernel.values[value].axes;
    let is_vector = |value: &Value| axes(*value).iter().all(|axis| over.contains(axis));
    let (vector, matrix) = match (is_vector(&inst.args[0]), is_vector(&inst.args[1])) {
        (true, _) => (inst.args[0], inst.args[1]),
        (false, true) => (inst.args[1], inst.args[0]),
        (false, false) => return None,
    };
    let covers = axes(vector).iter().all(|axis| axes(matrix).contains(axis));
    if elements(kernel, axes(matrix)) > most || !covers {
        return None;
    }
    let result = inst.results[0];
    let tile = Type { dtype: kernel.values[result].dtype, axes: axes(matrix).clone() };
    let product = kernel.values.push(tile);
    let plain = |op: Op, args: Vec<Value>, result: Value| Inst { results: vec![result], op, args, attrs: Vec::new() };
    let mut steps = vec![plain(Op::Elem(ElemOp::Mul), vec![matrix, vector], product)];
    let sum = Op::Reduce { op: ReduceOp::Sum, over: over.clone() };
    match inst.args.get(2) {
        None => steps.push(plain(sum, vec![product], result)),
        Some(acc) => {
            let part = kernel.values.push(kernel.values[result].clone());
            steps.push(plain(sum, vec![product], part));
            steps.push(plain(Op::Elem(ElemOp::Add), vec![*acc, part], result));
        }
    }
    Some(steps)
}
