//! Computing types of terms, by the tables of operations.
//!
//! In: an operation, its operands, and what only the surroundings know ([`Scope`]). Out: the type the term computes in, or
//! what is wrong with the operands. Builder, parser, printer and verifier all ask here, so that they cannot disagree.

use super::{Elem, Function, Op, TermId};
use crate::dtype::{DType, Kind};
use crate::elem::ReduceOp;

/// Types that a term takes from what encloses it.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Types of the components of the innermost fold, as far as they are known.
    pub fold: Vec<DType>,
    /// Types of the parameters of the innermost closure; `i64` where nothing is known.
    pub closure: Vec<DType>,
}

/// The type a read of `elem` computes in. A type parameter counts as the narrowest type of its kind, a format as `f32`.
pub fn read_dtype(function: &Function, elem: &Elem) -> DType {
    match elem {
        Elem::Type(dtype) => dtype.widened(),
        Elem::Format(_) => DType::F32,
        Elem::Param(at) => match function.type_params.get(*at as usize) {
            Some(param) if param.int => DType::I32,
            _ => DType::F32,
        },
    }
}

/// The type of a reduction of elements of type `of`.
///
/// # Errors
/// If the reduction does not take such elements.
pub fn reduce_dtype(op: ReduceOp, of: DType) -> Result<DType, String> {
    let (fits, result) = match op {
        ReduceOp::Sum | ReduceOp::Prod => (of.is_compute() && of != DType::Bool, of),
        ReduceOp::Max | ReduceOp::Min => (is_ordered(of), of),
        ReduceOp::Mean | ReduceOp::LogSumExp => (of.is_compute() && of.is_float(), of),
        ReduceOp::Any | ReduceOp::All => (of == DType::Bool, of),
        ReduceOp::ArgMax | ReduceOp::ArgMin => (is_ordered(of), DType::I64),
        ReduceOp::First | ReduceOp::Last => (of.is_compute(), of),
    };
    if fits { Ok(result) } else { Err(format!("`{op}` does not combine elements of type {of}")) }
}

fn is_ordered(of: DType) -> bool {
    of.is_compute() && (of.is_float() || of.is_int())
}

/// The computing type of `op` on `args` (terms of `function`).
///
/// # Errors
/// If the operands do not fit, or name what `function` does not have.
pub fn infer(function: &Function, op: &Op, args: &[TermId], scope: &Scope) -> Result<DType, String> {
    let types = arg_types(function, args)?;
    let one = || exactly(op, &types, 1).map(|()| types[0]);
    match op {
        Op::Const(super::Const::Float(_)) => Ok(DType::F32),
        Op::Const(super::Const::Int(_)) | Op::Index(_) => Ok(DType::I64),
        Op::Const(super::Const::Bool(_)) => Ok(DType::Bool),
        Op::Read { tensor, .. } => {
            let tensor = function.tensors.get(*tensor).ok_or("a read of an unknown tensor")?;
            Ok(read_dtype(function, &tensor.elem))
        }
        Op::Elem(elem) => elem.result(&types),
        Op::Cast(to) => one().and_then(|from| cast_dtype(from, *to)),
        Op::Round(to) => one().and_then(|from| round_dtype(from, *to)),
        Op::RoundParam(at) => {
            let (from, wide) = (one()?, read_dtype(function, &Elem::Param(*at)));
            if from == wide { Ok(wide) } else { Err(format!("{from} is rounded to a type that computes in {wide}")) }
        }
        Op::Where => {
            exactly(op, &types, 2)?;
            if types[1] == DType::Bool {
                Ok(types[0])
            } else {
                Err(format!("`where` on a condition of type {}", types[1]))
            }
        }
        Op::OrElse => {
            exactly(op, &types, 2)?;
            if types[0] == types[1] { Ok(types[0]) } else { Err(format!("`or_else` of {} and {}", types[0], types[1])) }
        }
        Op::Reduce { op: reduce, .. } => {
            if types.len() == 2 && types[0] != types[1] {
                return Err(format!("`{reduce}` of {} starting from {}", types[0], types[1]));
            }
            if types.is_empty() || types.len() > 2 {
                return Err(format!("`{reduce}` does not take {} operands", types.len()));
            }
            reduce_dtype(*reduce, types[0])
        }
        Op::Softmax { .. } => one().and_then(|of| match of.kind() {
            Kind::Float => Ok(of),
            _ => Err(format!("`softmax` of {of}")),
        }),
        Op::Running { op: reduce, .. } => one().and_then(|of| reduce_dtype(*reduce, of)),
        Op::Call { .. } => Ok(DType::F32),
        Op::Apply(closure) => {
            let closure = function.closures.get(*closure).ok_or("an unknown closure is applied")?;
            exactly(op, &types, closure.params.len())?;
            Ok(closure.result.widened())
        }
        Op::ClosureParam(at) => Ok(scope.closure.get(*at as usize).copied().unwrap_or(DType::I64)),
        Op::Bind(_) => {
            exactly(op, &types, 2)?;
            if types[0].is_int() { Ok(types[1]) } else { Err(format!("`bind` of {}, which is no integer", types[0])) }
        }
        Op::Fold { components, .. } => {
            let first = components.first().ok_or("a fold without components")?;
            let of = types.first().ok_or("a fold without operands")?;
            reduce_dtype(first.op, *of)
        }
        Op::Proj(at) => {
            exactly(op, &types, 1)?;
            component_dtype(function, args[0], *at)
        }
        Op::New(at) | Op::Old(at) => {
            let known = scope.fold.get(*at as usize).copied();
            known.ok_or_else(|| format!("component {at} is not an earlier component of an enclosing fold"))
        }
    }
}

fn arg_types(function: &Function, args: &[TermId]) -> Result<Vec<DType>, String> {
    let types = args.iter().map(|a| function.terms.get(*a).map(|t| t.dtype));
    types.collect::<Option<Vec<_>>>().ok_or_else(|| "an operand is not a term of the function".to_owned())
}

fn exactly(op: &Op, types: &[DType], count: usize) -> Result<(), String> {
    if types.len() == count {
        Ok(())
    } else {
        Err(format!("`{}` takes {count} operands, not {}", op.text(), types.len()))
    }
}

fn cast_dtype(from: DType, to: DType) -> Result<DType, String> {
    let plain = |t: DType| t.is_compute() && t.kind() != Kind::Complex;
    if plain(from) && plain(to) { Ok(to) } else { Err(format!("`cast` from {from} to {to}")) }
}

fn round_dtype(from: DType, to: DType) -> Result<DType, String> {
    let kind = |t: DType| (t.is_float(), t.is_int());
    let fits = from.is_compute() && kind(from) == kind(to) && from.kind() != Kind::Complex;
    if fits { Ok(to.widened()) } else { Err(format!("`round_to` from {from} to {to}")) }
}

/// The type of component `at` of the fold `fold`.
fn component_dtype(function: &Function, fold: TermId, at: u32) -> Result<DType, String> {
    let fold = &function.terms[fold];
    let Op::Fold { components, .. } = &fold.op else {
        return Err("`proj` of a term that is not a fold".to_owned());
    };
    let component = components.get(at as usize).ok_or_else(|| format!("the fold has no component {at}"))?;
    let element = fold.args.get(at as usize).and_then(|a| function.terms.get(*a)).ok_or("a fold lacks operands")?;
    reduce_dtype(component.op, element.dtype)
}
