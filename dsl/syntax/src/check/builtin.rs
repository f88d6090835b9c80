//! Elementwise functions of the language.

use super::elab::Elab;
use super::exact::exact_call;
use super::formula::Formula;
use super::value::{Ty, Value};
use crate::ast::{Arg, Argument, Name};
use crate::errors::{Loc, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;

/// What a function takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Floats; weak integers become `f32`.
    Floats,
    /// Numbers of one type.
    Numbers,
    /// Integers.
    Integers,
}

/// Name, operation, number of operands, what they are.
const FUNCTIONS: &[(&str, ElemOp, usize, Takes)] = &[
    ("exp", ElemOp::Exp, 1, Takes::Floats),
    ("exp2", ElemOp::Exp2, 1, Takes::Floats),
    ("expm1", ElemOp::Expm1, 1, Takes::Floats),
    ("log", ElemOp::Log, 1, Takes::Floats),
    ("log2", ElemOp::Log2, 1, Takes::Floats),
    ("log1p", ElemOp::Log1p, 1, Takes::Floats),
    ("sqrt", ElemOp::Sqrt, 1, Takes::Floats),
    ("rsqrt", ElemOp::Rsqrt, 1, Takes::Floats),
    ("tanh", ElemOp::Tanh, 1, Takes::Floats),
    ("sigmoid", ElemOp::Sigmoid, 1, Takes::Floats),
    ("logsigmoid", ElemOp::LogSigmoid, 1, Takes::Floats),
    ("silu", ElemOp::Silu, 1, Takes::Floats),
    ("gelu", ElemOp::Gelu, 1, Takes::Floats),
    ("elu", ElemOp::Elu, 1, Takes::Floats),
    ("softplus", ElemOp::Softplus, 1, Takes::Floats),
    ("sin", ElemOp::Sin, 1, Takes::Floats),
    ("cos", ElemOp::Cos, 1, Takes::Floats),
    ("tan", ElemOp::Tan, 1, Takes::Floats),
    ("atan2", ElemOp::Atan2, 2, Takes::Floats),
    ("erf", ElemOp::Erf, 1, Takes::Floats),
    ("floor", ElemOp::Floor, 1, Takes::Floats),
    ("round", ElemOp::Round, 1, Takes::Floats),
    ("fract", ElemOp::Fract, 1, Takes::Floats),
    ("pow", ElemOp::Pow, 2, Takes::Floats),
    ("abs", ElemOp::Abs, 1, Takes::Numbers),
    ("sign", ElemOp::Sign, 1, Takes::Numbers),
    ("relu", ElemOp::Relu, 1, Takes::Numbers),
    ("min", ElemOp::Min, 2, Takes::Numbers),
    ("max", ElemOp::Max, 2, Takes::Numbers),
    ("popcount", ElemOp::Popcount, 1, Takes::Integers),
    ("bit_length", ElemOp::BitLength, 1, Takes::Integers),
];

/// Functions that are not built yet.
const LATER: [&str; 8] = ["uniform", "normal", "gumbel", "detach", "re", "im", "conj", "cis"];

impl Elab<'_> {
    /// An elementwise function applied, or an error for an unknown name.
    pub(crate) fn builtin(&mut self, name: &Name, args: &[Arg], loc: Loc) -> Value {
        if LATER.contains(&name.text.as_str()) {
            return self.poison(name.loc(), Problem::NotBuilt { what: format!("`{}`", name.text) });
        }
        let row = FUNCTIONS.iter().find(|row| row.0 == name.text);
        let count = match row {
            Some(row) => row.2,
            None if name.text == "clamp" => 3,
            None => return self.unknown_function(name),
        };
        if args.len() != count || args.iter().any(|arg| arg.name.is_some()) {
            let wanted = format!("{count} value{}", if count == 1 { "" } else { "s" });
            return self.poison(name.loc(), Problem::Arguments { name: name.text.clone(), wanted, found: args.len() });
        }
        let mut values: Vec<Value> = Vec::new();
        for arg in args {
            let present = values.iter().fold(Formula::True, |f, v| f.and(v.presence.clone()));
            match &arg.value {
                Argument::Expr(expr) => values.push(self.under(present, |elab| elab.value(expr))),
                Argument::Closure(closure) => {
                    let problem = Problem::ArgumentSort { name: name.text.clone(), wanted: "numbers".into() };
                    return self.poison(closure.loc, problem);
                }
            }
        }
        if values.iter().any(Value::is_poison) {
            return Value::poison(loc);
        }
        match row {
            Some((_, op, _, takes)) => self.function_of(name, *op, *takes, &values, loc),
            None => self.clamp(name, &values, loc),
        }
    }

    fn unknown_function(&mut self, name: &Name) -> Value {
        let known = FUNCTIONS.iter().map(|row| row.0).chain(self.items.functions.keys().map(String::as_str));
        let mut help = super::scope::similar(&name.text, known);
        if help.is_empty() {
            help = format!("define it in this block, or import it: `use path::{};`", name.text);
        }
        self.poison(name.loc(), Problem::Unknown { what: "function".into(), name: name.text.clone(), help })
    }

    fn function_of(&mut self, name: &Name, op: ElemOp, takes: Takes, values: &[Value], loc: Loc) -> Value {
        let presence = values.iter().fold(Formula::True, |f, v| f.and(v.presence.clone()));
        let index = exact_index(&name.text, values);
        if let (Some(index), true) = (&index, values.iter().all(|v| v.ty == Ty::Weak)) {
            let quotient = values.iter().any(|v| v.quotient);
            return Value { quotient, ..Value::weak(loc, index.clone()).present(presence) };
        }
        let Some(dtype) = self.common_of(name, takes, values) else { return Value::poison(loc) };
        let args = values.iter().map(|v| self.as_type(v, dtype)).collect();
        let result = if takes == Takes::Integers { DType::I32 } else { dtype };
        let term = self.elem(op, args, result);
        let weak = takes == Takes::Numbers && values.iter().all(|v| v.ty == Ty::Weak);
        let ty = if weak { Ty::Weak } else { Ty::Of(result) };
        Value { index, ..Value::of(loc, ty, term).present(presence) }
    }

    /// The one type of all operands.
    fn common_of(&mut self, name: &Name, takes: Takes, values: &[Value]) -> Option<DType> {
        if takes == Takes::Floats {
            let mut widest = DType::F32;
            for value in values {
                let (_, dtype) = self.as_float(value, &name.text)?;
                widest = if dtype == DType::F64 && value.float.is_none() { dtype } else { widest };
            }
            return Some(widest);
        }
        for value in values {
            let fits = value.ty.is_int() || takes == Takes::Numbers && value.ty.is_float();
            if !fits {
                let wanted = if takes == Takes::Numbers { "numbers" } else { "integers" };
                let problem =
                    Problem::WrongKind { op: name.text.clone(), wanted: wanted.into(), found: value.ty.text() };
                self.errors.report(value.loc, problem);
                return None;
            }
        }
        match values {
            [a, b] => self.common(a, b, name.loc()),
            _ => match values[0].ty {
                Ty::Of(dtype) => Some(dtype),
                _ => Some(DType::I64),
            },
        }
    }

    /// `clamp(x, lo, hi)` is `min(max(x, lo), hi)`.
    fn clamp(&mut self, name: &Name, values: &[Value], loc: Loc) -> Value {
        let max = Name { text: "max".into(), span: name.span };
        let min = Name { text: "min".into(), span: name.span };
        let lower = self.function_of(&max, ElemOp::Max, Takes::Numbers, &values[..2], loc);
        if lower.is_poison() {
            return lower;
        }
        self.function_of(&min, ElemOp::Min, Takes::Numbers, &[lower, values[2].clone()], loc)
    }
}

fn exact_index(name: &str, values: &[Value]) -> Option<sawmill_ir::index::Index> {
    let args: Option<Vec<_>> = values.iter().map(|value| value.index.clone()).collect();
    exact_call(name, &args?)
}
