//! Elementary functions as expansions in VIR, so that they run in whatever lanes the kernel has and call no library.
//!
//! In: an elementwise operation and operands of f32 or f64. Out: the value, or `None` where VIR has the operation itself. Method: range
//! reduction and a polynomial whose coefficients come from a Remez exchange in 60 digits (Remez 1934) for f32, and from that or
//! Taylor series for f64.
//!
//! Greatest errors in f32 with fused multiply-add, in units in the last place (ulp) of the exact result. A result below
//! the least normal f32 (exp, exp2, softplus, logsigmoid: below twice that; silu: below 5e-37) counts by its absolute
//! error instead, which is less than that number. The emitter's tests hold the functions to these bounds, against the
//! system's f64 library:
//!
//! | function | bound |
//! |---|---|
//! | recip | 0.5 |
//! | pow | 0.51 |
//! | log | 1 |
//! | exp, exp2 | 1.1 (found: exp 1.009) |
//! | expm1, elu, rsqrt, erf | 1.5 |
//! | log2, sin, cos | 2 |
//! | log1p, tanh, sigmoid, silu, softplus, logsigmoid | 2.5 (found: tanh 2.419, silu 2.443) |
//! | atan2 | 3 |
//! | tan | 3.5 |
//! | rem | 0 |
//! | gelu | 2 ulp of x / 2: its negative tail is what cancellation leaves |
//!
//! In f64, relative to the exact result and in units of 2^-52: 6 (found: 2), of powers 2, of angles 3; remainders are exact there, too. The
//! sine of any number is that of all its quarter turns, however large it is.
//!
//! Found: over all inputs between magnitudes 2^-30 and 92; the rest is a sample in every run of the tests, and all of it in
//! an ignored one. NaN gives NaN, an overflow gives infinity, a result below the least normal number may be flushed to 0.

mod erf;
mod exp;
mod log;
mod pow;
mod rem;
mod trig;
mod turns;

pub use erf::{erf, gelu};
pub use exp::{elu, exp, exp2, expm1, sigmoid, silu, tanh};
pub use log::{log, log1p, log2, logsigmoid, softplus};
pub use pow::pow;
pub use rem::rem;
pub use trig::{atan2, cos, sin, tan};

use sawmill_ir::elem::ElemOp;

use crate::vir::{Builder, Elem, Type, Val};

/// Expands an elementwise operation on floats that VIR itself does not have. `None`: VIR has it.
pub fn call(b: &mut Builder, op: ElemOp, args: &[Val]) -> Option<Val> {
    let first = *args.first()?;
    let elem = b.ty(first).elem;
    match (op, args) {
        _ if !elem.is_float() => None,
        (ElemOp::Exp, [x]) => Some(exp(b, *x)),
        (ElemOp::Exp2, [x]) => Some(exp2(b, *x)),
        (ElemOp::Expm1, [x]) => Some(expm1(b, *x)),
        (ElemOp::Log, [x]) => Some(log(b, *x)),
        (ElemOp::Log2, [x]) => Some(log2(b, *x)),
        (ElemOp::Log1p, [x]) => Some(log1p(b, *x)),
        (ElemOp::Rsqrt, [x]) => {
            let root = b.sqrt(*x);
            Some(reciprocal(b, root))
        }
        (ElemOp::Recip, [x]) => Some(reciprocal(b, *x)),
        (ElemOp::Tanh, [x]) => Some(tanh(b, *x)),
        (ElemOp::Sigmoid, [x]) => Some(sigmoid(b, *x)),
        (ElemOp::LogSigmoid, [x]) => Some(logsigmoid(b, *x)),
        (ElemOp::Silu, [x]) => Some(silu(b, *x)),
        (ElemOp::Relu, [x]) => {
            let zero = number(b, *x, 0.0);
            Some(b.max(*x, zero))
        }
        (ElemOp::Elu, [x]) => Some(elu(b, *x)),
        (ElemOp::Softplus, [x]) => Some(softplus(b, *x)),
        (ElemOp::Sign, [x]) => Some(sign(b, *x)),
        (ElemOp::Fract, [x]) => {
            let whole = b.floor(*x);
            Some(b.sub(*x, whole))
        }
        (ElemOp::Gelu, [x]) => Some(gelu(b, *x)),
        (ElemOp::Erf, [x]) => Some(erf(b, *x)),
        (ElemOp::Sin, [x]) => Some(sin(b, *x)),
        (ElemOp::Cos, [x]) => Some(cos(b, *x)),
        (ElemOp::Tan, [x]) => Some(tan(b, *x)),
        (ElemOp::Atan2, [y, x]) => Some(atan2(b, *y, *x)),
        (ElemOp::Pow, [x, y]) => Some(pow(b, *x, *y)),
        (ElemOp::Rem, [x, y]) => Some(rem(b, *x, *y)),
        _ => None,
    }
}

/// The number in the type of `like`.
fn number(b: &mut Builder, like: Val, value: f64) -> Val {
    let ty = b.ty(like);
    b.float(ty, value)
}

/// The integer type whose lanes have the bits of a float type's.
fn bits_type(ty: Type) -> Type {
    ty.with_elem(if ty.elem == Elem::F32 { Elem::I32 } else { Elem::I64 })
}

/// Whether a truth value holds in some lane.
fn any(b: &mut Builder, truth: Val) -> Val {
    if b.ty(truth).lanes == 1 { truth } else { b.reduce_or(truth) }
}

/// Horner's rule; coefficients from the constant term on.
fn polynomial(b: &mut Builder, x: Val, coefficients: &[f64]) -> Val {
    let mut sum = None;
    for coefficient in coefficients.iter().rev() {
        let coefficient = number(b, x, *coefficient);
        sum = Some(match sum {
            None => coefficient,
            Some(sum) => b.fma(sum, x, coefficient),
        });
    }
    sum.unwrap_or(x)
}

/// The lesser of `x` and a constant; `x` if it is NaN. One instruction on x86-64.
fn at_most(b: &mut Builder, x: Val, limit: f64) -> Val {
    let limit = number(b, x, limit);
    let beyond = b.lt(limit, x);
    b.select(beyond, limit, x)
}

/// The greater of `x` and a constant; `x` if it is NaN. One instruction on x86-64.
fn at_least(b: &mut Builder, x: Val, limit: f64) -> Val {
    let limit = number(b, x, limit);
    let beyond = b.lt(x, limit);
    b.select(beyond, limit, x)
}

/// The magnitude of `magnitude` (not negative) with the sign of `sign`.
fn with_sign(b: &mut Builder, magnitude: Val, sign: Val) -> Val {
    let ty = b.ty(sign);
    let bits = bits_type(ty);
    let mask = b.int(bits, 1 << (bits.elem.bits() - 1));
    let sign = b.bitcast(sign, bits);
    let sign = b.and(sign, mask);
    let magnitude = b.bitcast(magnitude, bits);
    let signed = b.or(magnitude, sign);
    b.bitcast(signed, ty)
}

fn reciprocal(b: &mut Builder, x: Val) -> Val {
    let one = number(b, x, 1.0);
    b.div(one, x)
}

/// -1, 0 or 1; NaN stays.
fn sign(b: &mut Builder, x: Val) -> Val {
    let [zero, one] = [0.0, 1.0].map(|value| number(b, x, value));
    let unit = with_sign(b, one, x);
    let magnitude = b.abs(x);
    let is_nonzero = b.gt(magnitude, zero);
    // Zero stays; so does NaN, which is not greater.
    b.select(is_nonzero, unit, x)
}
