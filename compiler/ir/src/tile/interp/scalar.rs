//! Scalar semantics of the shared table of elementwise operations, in f64 and wrapping integers.

use super::array::Scalar;
use crate::dtype::{DType, Kind};
use crate::elem::{ElemOp, ReduceOp};
use crate::graph::Const;
use crate::index::{bit_length, div_euclid, rem_euclid};

/// `value` as an integer of type `dtype`, modulo its range.
pub(super) fn wrap(value: i64, dtype: DType) -> i64 {
    let bits = dtype.bits();
    if bits >= 64 {
        return value;
    }
    let unused = 64 - bits;
    match dtype.kind() {
        Kind::Unsigned => ((value as u64) << unused >> unused) as i64,
        _ => value << unused >> unused,
    }
}

/// `value` rounded to a float type: to nearest, ties to even; too large is infinite, or the largest number of 8 and 4 bits.
pub(super) fn round_float(value: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F16 => half::f16::from_f64(value).to_f64(),
        DType::BF16 => half::bf16::from_f64(value).to_f64(),
        _ => crate::graph::interp::round_float(dtype, value),
    }
}

/// A constant.
pub(super) fn constant(value: Const) -> Scalar {
    match value {
        Const::Float(bits) => Scalar::Float(f64::from_bits(bits)),
        Const::Int(value) => Scalar::Int(value),
        Const::Bool(value) => Scalar::Bool(value),
    }
}

/// A cast; floats to integers truncate and saturate, NaN to 0.
pub(super) fn cast(value: Scalar, to: DType) -> Scalar {
    let truth = |b: bool| i64::from(b);
    match (value, to.kind()) {
        (Scalar::Float(v), Kind::Float | Kind::Complex) => Scalar::Float(v),
        (Scalar::Int(v), Kind::Float | Kind::Complex) => Scalar::Float(v as f64),
        (Scalar::Bool(v), Kind::Float | Kind::Complex) => Scalar::Float(truth(v) as f64),
        (Scalar::Float(v), Kind::Signed | Kind::Unsigned) => Scalar::Int(saturate(v, to)),
        (Scalar::Int(v), Kind::Signed | Kind::Unsigned) => Scalar::Int(wrap(v, to)),
        (Scalar::Bool(v), Kind::Signed | Kind::Unsigned) => Scalar::Int(truth(v)),
        (Scalar::Float(v), Kind::Bool) => Scalar::Bool(v != 0.0),
        (Scalar::Int(v), Kind::Bool) => Scalar::Bool(v != 0),
        (Scalar::Bool(v), Kind::Bool) => Scalar::Bool(v),
    }
}

fn saturate(value: f64, to: DType) -> i64 {
    match to {
        DType::I32 => i64::from(value as i32),
        DType::U32 => i64::from(value as u32),
        _ => value as i64,
    }
}

/// An elementwise operation on operands of one kind; integer results are of type `dtype`.
pub(super) fn elem(op: ElemOp, args: &[Scalar], dtype: DType) -> Result<Scalar, String> {
    match args {
        [Scalar::Bool(c), a, b] if op == ElemOp::Select => Some(if *c { *a } else { *b }),
        [Scalar::Float(_), ..] => {
            let x: Vec<f64> = args.iter().map(|a| if let Scalar::Float(v) = a { *v } else { f64::NAN }).collect();
            float(op, &x)
        }
        [Scalar::Int(_), ..] => {
            let x: Vec<i64> = args.iter().map(|a| if let Scalar::Int(v) = a { *v } else { 0 }).collect();
            int(op, &x, dtype)
        }
        [Scalar::Bool(_), ..] => {
            let x: Vec<bool> = args.iter().map(|a| *a == Scalar::Bool(true)).collect();
            logic(op, &x)
        }
        [] => None,
    }
    .ok_or_else(|| format!("`{op}` on {args:?}"))
}

fn compare<T: PartialOrd>(op: ElemOp, a: T, b: T) -> Option<Scalar> {
    Some(Scalar::Bool(match op {
        ElemOp::Eq => a == b,
        ElemOp::Ne => a != b,
        ElemOp::Lt => a < b,
        ElemOp::Le => a <= b,
        ElemOp::Gt => a > b,
        ElemOp::Ge => a >= b,
        _ => return None,
    }))
}

fn logic(op: ElemOp, x: &[bool]) -> Option<Scalar> {
    Some(Scalar::Bool(match op {
        ElemOp::And => x.iter().all(|b| *b),
        ElemOp::Or => x.iter().any(|b| *b),
        ElemOp::Not => !x[0],
        _ => return compare(op, *x.first()?, *x.get(1)?),
    }))
}

fn int(op: ElemOp, x: &[i64], dtype: DType) -> Option<Scalar> {
    let (a, b) = (*x.first()?, x.get(1).copied().unwrap_or(0));
    let bits = i64::from(dtype.bits());
    let unsigned = dtype.kind() == Kind::Unsigned;
    let value = match op {
        ElemOp::Add => x.iter().fold(0_i64, |s, v| s.wrapping_add(*v)),
        ElemOp::Mul => x.iter().fold(1_i64, |s, v| s.wrapping_mul(*v)),
        ElemOp::Sub => a.wrapping_sub(b),
        ElemOp::Div => div_euclid(a, b),
        ElemOp::Rem => rem_euclid(a, b),
        ElemOp::Neg => a.wrapping_neg(),
        ElemOp::Min => a.min(b),
        ElemOp::Max => a.max(b),
        ElemOp::Abs => a.wrapping_abs(),
        ElemOp::Sign => a.signum(),
        ElemOp::Relu => a.max(0),
        ElemOp::Popcount if bits < 64 => i64::from((a & ((1 << bits) - 1)).count_ones()),
        ElemOp::Popcount => i64::from(a.count_ones()),
        ElemOp::BitLength => bit_length(a),
        ElemOp::BitAnd => a & b,
        ElemOp::BitOr => a | b,
        ElemOp::BitXor => a ^ b,
        ElemOp::Shl if (0..bits).contains(&b) => a << b,
        ElemOp::Shr if (0..bits).contains(&b) => a >> b,
        ElemOp::Shl => 0,
        ElemOp::Shr => {
            if unsigned || a >= 0 {
                0
            } else {
                -1
            }
        }
        _ => return compare(op, a, b),
    };
    Some(Scalar::Int(wrap(value, dtype)))
}

fn float(op: ElemOp, x: &[f64]) -> Option<Scalar> {
    let (a, b) = (*x.first()?, x.get(1).copied().unwrap_or(0.0));
    let value = match op {
        ElemOp::Add => x.iter().sum(),
        ElemOp::Mul => x.iter().product(),
        ElemOp::Sub => a - b,
        ElemOp::Div => a / b,
        ElemOp::Rem => a % b,
        ElemOp::Neg => -a,
        ElemOp::Min => {
            if a.is_nan() || b.is_nan() {
                f64::NAN
            } else {
                a.min(b)
            }
        }
        ElemOp::Max => {
            if a.is_nan() || b.is_nan() {
                f64::NAN
            } else {
                a.max(b)
            }
        }
        ElemOp::Abs => a.abs(),
        ElemOp::Sign => {
            if a == 0.0 || a.is_nan() {
                a
            } else {
                a.signum()
            }
        }
        ElemOp::Pow => a.powf(b),
        ElemOp::Exp => a.exp(),
        ElemOp::Exp2 => a.exp2(),
        ElemOp::Expm1 => a.exp_m1(),
        ElemOp::Log => a.ln(),
        ElemOp::Log2 => a.log2(),
        ElemOp::Log1p => a.ln_1p(),
        ElemOp::Sqrt => a.sqrt(),
        ElemOp::Rsqrt => 1.0 / a.sqrt(),
        ElemOp::Recip => 1.0 / a,
        ElemOp::Tanh => a.tanh(),
        ElemOp::Sigmoid => sigmoid(a),
        ElemOp::LogSigmoid => a.min(0.0) - (-a.abs()).exp().ln_1p(),
        ElemOp::Silu => {
            if a == f64::NEG_INFINITY {
                -0.0
            } else {
                a * sigmoid(a)
            }
        }
        ElemOp::Gelu => {
            if a == f64::NEG_INFINITY {
                -0.0
            } else {
                a * 0.5 * (1.0 + erf(a / std::f64::consts::SQRT_2))
            }
        }
        ElemOp::Relu => {
            if a.is_nan() {
                a
            } else {
                a.max(0.0)
            }
        }
        ElemOp::Elu => {
            if a > 0.0 {
                a
            } else {
                a.exp_m1()
            }
        }
        ElemOp::Softplus => a.max(0.0) + (-a.abs()).exp().ln_1p(),
        ElemOp::Sin => a.sin(),
        ElemOp::Cos => a.cos(),
        ElemOp::Tan => a.tan(),
        ElemOp::Atan2 => a.atan2(b),
        ElemOp::Erf => erf(a),
        ElemOp::Floor => a.floor(),
        ElemOp::Round => a.round_ties_even(),
        ElemOp::Fract => a - a.floor(),
        _ => return compare(op, a, b),
    };
    Some(Scalar::Float(value))
}

fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// The error function: its power series near 0, the continued fraction of its complement (Abramowitz and Stegun 7.1.14)
/// further out; about 1e-14.
fn erf(x: f64) -> f64 {
    let (a, scale) = (x.abs(), std::f64::consts::FRAC_2_SQRT_PI);
    if x.is_nan() || a > 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    if a < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return scale * sum;
    }
    let fraction = (1..120).rev().fold(a, |tail, n| a + f64::from(n) / 2.0 / tail);
    (1.0 - (-a * a).exp() * scale / 2.0 / fraction).copysign(x)
}

/// What a reduction starts from.
pub(super) fn identity(op: ReduceOp, dtype: DType) -> Scalar {
    let (least, greatest) = (wrapped_least(dtype), wrapped_greatest(dtype));
    match (op, dtype.kind()) {
        (ReduceOp::Any, _) => Scalar::Bool(false),
        (ReduceOp::All, _) => Scalar::Bool(true),
        (ReduceOp::Prod, Kind::Float) => Scalar::Float(1.0),
        (ReduceOp::Max, Kind::Float) => Scalar::Float(f64::NEG_INFINITY),
        (ReduceOp::Min, Kind::Float) => Scalar::Float(f64::INFINITY),
        (_, Kind::Float) => Scalar::Float(0.0),
        (ReduceOp::Prod, _) => Scalar::Int(1),
        (ReduceOp::Max, _) => Scalar::Int(least),
        (ReduceOp::Min, _) => Scalar::Int(greatest),
        _ => Scalar::Int(0),
    }
}

fn wrapped_least(dtype: DType) -> i64 {
    if dtype.kind() == Kind::Unsigned { 0 } else { -1_i64 << (dtype.bits().min(64) - 1) }
}

fn wrapped_greatest(dtype: DType) -> i64 {
    if dtype.kind() == Kind::Unsigned { wrap(-1, dtype) } else { !wrapped_least(dtype) }
}

/// The elementwise operation that combines two elements of a reduction.
pub(super) fn combine(op: ReduceOp) -> Option<ElemOp> {
    Some(match op {
        ReduceOp::Sum => ElemOp::Add,
        ReduceOp::Prod => ElemOp::Mul,
        ReduceOp::Max => ElemOp::Max,
        ReduceOp::Min => ElemOp::Min,
        ReduceOp::Any => ElemOp::Or,
        ReduceOp::All => ElemOp::And,
        _ => return None,
    })
}
