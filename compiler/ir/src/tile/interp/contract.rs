//! Contractions and reductions of the interpreter. Sums run in ascending order of the contracted positions.

use super::Precision;
use super::array::{Data, Scalar};
use super::scalar::{combine, elem, identity, round_float, wrap};
use super::tile::{Tile, count, places};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::tile::{AxisId, Kernel, Type};

/// The sum over `over` of `a * b`, added to `acc`; of type `ty`.
pub(super) fn mma(
    a: &Tile,
    b: &Tile,
    acc: Option<&Tile>,
    over: &[AxisId],
    ty: &Type,
    kernel: &Kernel,
    precision: Precision,
) -> Result<Tile, String> {
    let (out_a, out_b) = (places(&ty.axes, &a.axes, kernel), places(&ty.axes, &b.axes, kernel));
    let (sum_a, sum_b) = (places(over, &a.axes, kernel), places(over, &b.axes, kernel));
    let offsets = || sum_a.iter().zip(&sum_b);
    let narrow = precision == Precision::F32 && ty.dtype == DType::F32;
    let round = |x: f64| if narrow { round_float(x, DType::F32) } else { x };
    let data = match (&a.data, &b.data) {
        (Data::Float(x), Data::Float(y)) => {
            let start = |at: usize| match acc.map(|t| &t.data) {
                Some(Data::Float(v)) => v[at],
                _ => 0.0,
            };
            let element = |(at, (i, j)): (usize, (&usize, &usize))| {
                offsets().fold(start(at), |sum, (p, q)| round(sum + x[i + p] * y[j + q]))
            };
            Data::Float(out_a.iter().zip(&out_b).enumerate().map(element).collect())
        }
        (Data::Int(x), Data::Int(y)) => {
            let start = |at: usize| match acc.map(|t| &t.data) {
                Some(Data::Int(v)) => v[at],
                _ => 0,
            };
            let element = |(at, (i, j)): (usize, (&usize, &usize))| {
                let sum = offsets().fold(start(at), |s, (p, q)| s.wrapping_add(x[i + p].wrapping_mul(y[j + q])));
                wrap(sum, ty.dtype)
            };
            Data::Int(out_a.iter().zip(&out_b).enumerate().map(element).collect())
        }
        _ => return Err("`mma` on operands of two kinds".to_owned()),
    };
    let mut undefined = Vec::new();
    let poisoned = acc.into_iter().chain([a, b]).any(|t| !t.undefined.is_empty());
    if poisoned {
        let element = |(at, (i, j)): (usize, (&usize, &usize))| {
            let before = acc.is_some_and(|t| t.is_undefined(at));
            before || offsets().any(|(p, q)| a.is_undefined(i + p) || b.is_undefined(j + q))
        };
        undefined = out_a.iter().zip(&out_b).enumerate().map(element).collect();
    }
    Ok(Tile { axes: ty.axes.clone(), data, undefined })
}

/// A reduction of `x` over `over`; of type `ty`.
pub(super) fn reduce(
    op: ReduceOp,
    x: &Tile,
    from: DType,
    over: &[AxisId],
    ty: &Type,
    kernel: &Kernel,
    precision: Precision,
) -> Result<Tile, String> {
    let out = places(&ty.axes, &x.axes, kernel);
    let steps = places(over, &x.axes, kernel);
    let mut data = Data::zeros(ty.dtype, count(&ty.axes, kernel));
    for (at, base) in out.iter().enumerate() {
        let elements = steps.iter().map(|s| x.data.get(base + s));
        let value = match combine(op) {
            Some(with) => fold(with, identity(op, from), elements, from, precision)?,
            None => position(op, elements)?,
        };
        data.set(at, value);
    }
    let undefined = if x.undefined.is_empty() {
        Vec::new()
    } else {
        out.iter().map(|base| steps.iter().any(|s| x.is_undefined(base + s))).collect()
    };
    Ok(Tile { axes: ty.axes.clone(), data, undefined })
}

fn fold(
    with: ElemOp,
    start: Scalar,
    mut elements: impl Iterator<Item = Scalar>,
    dtype: DType,
    precision: Precision,
) -> Result<Scalar, String> {
    elements.try_fold(start, |state, element| {
        Ok(match elem(with, &[state, element], dtype)? {
            Scalar::Float(v) if precision == Precision::F32 && dtype == DType::F32 => {
                Scalar::Float(round_float(v, dtype))
            }
            other => other,
        })
    })
}

/// Position of the first largest or smallest.
fn position(op: ReduceOp, elements: impl Iterator<Item = Scalar>) -> Result<Scalar, String> {
    let better = match op {
        ReduceOp::ArgMax => ElemOp::Gt,
        ReduceOp::ArgMin => ElemOp::Lt,
        _ => return Err(format!("`{op}` is not a primitive reduction")),
    };
    let mut best: Option<(i64, Scalar)> = None;
    for (at, element) in (0_i64..).zip(elements) {
        let wins = match best {
            Some((_, held)) => elem(better, &[element, held], DType::I64)? == Scalar::Bool(true),
            None => true,
        };
        if wins {
            best = Some((at, element));
        }
    }
    Ok(Scalar::Int(best.map_or(0, |(at, _)| at)))
}
