//! The tree as text of the language: signatures for documentation and export, closures for the run time.
//!
//! `parse(print(x))` is `x` up to places. Operands are put in parentheses wherever they are no single read, call or literal.

use crate::ast::{
    Argument, Closure, Dim, DimKind, Expr, ExprKind, Field, Index, Name, Param, ParamType, Range, Signature, Subscript,
    Type, TypeClass, UnaryOp,
};

/// A closure; captures are `{0}`, `{1}`, ..
pub fn closure(closure: &Closure) -> String {
    let params: Vec<&str> = closure.params.iter().map(|p| p.as_ref().map_or("_", |name| name.text.as_str())).collect();
    format!("|{}| {}", params.join(", "), expr(&closure.body))
}

/// A signature, on one line.
pub fn signature(signature: &Signature) -> String {
    let params: Vec<String> = signature.params.iter().map(param).collect();
    let outputs: Vec<String> = signature.outputs.iter().map(field).collect();
    let mut text = format!("fn {}{}({}) -> ", signature.name.text, dims(&signature.dims), params.join(", "));
    text.push_str(&if outputs.len() == 1 { outputs[0].clone() } else { format!("({})", outputs.join(", ")) });
    text.push_str(&requirements(&signature.requirements));
    text
}

/// ` where a, b`, or nothing.
pub fn requirements(exprs: &[Expr]) -> String {
    if exprs.is_empty() {
        return String::new();
    }
    format!(" where {}", exprs.iter().map(expr).collect::<Vec<_>>().join(", "))
}

/// `<A, const B = 2>`, or nothing.
pub fn dims(dims: &[Dim]) -> String {
    if dims.is_empty() {
        return String::new();
    }
    let dim = |dim: &Dim| match dim.kind {
        DimKind::Size => dim.name.text.clone(),
        DimKind::Const(None) => format!("const {}", dim.name.text),
        DimKind::Const(Some(value)) => format!("const {} = {value}", dim.name.text),
        DimKind::Type(TypeClass::Float) => format!("type {}: float", dim.name.text),
        DimKind::Type(TypeClass::Int) => format!("type {}: int", dim.name.text),
    };
    format!("<{}>", dims.iter().map(dim).collect::<Vec<_>>().join(", "))
}

/// `name: type`
pub fn field(field: &Field) -> String {
    format!("{}: {}", field.name.text, ty(&field.ty))
}

fn param(param: &Param) -> String {
    let of = match &param.ty {
        ParamType::Value(value) => ty(value),
        ParamType::Closure(closure) => {
            let params: Vec<&str> = closure.params.iter().map(|p| p.text.as_str()).collect();
            format!("|{}| -> {}", params.join(", "), closure.result.text)
        }
    };
    let default = param.default.as_ref().map_or_else(String::new, |value| format!(" = {}", argument(value)));
    format!("{}: {of}{default}", param.name.text)
}

/// A type.
pub fn ty(value: &Type) -> String {
    match value {
        Type::Tensor { element, axes, promise } => {
            let mut text = element.text.clone();
            if !axes.is_empty() {
                text.push_str(&format!("[{}]", axes.iter().map(expr).collect::<Vec<_>>().join(", ")));
            }
            if let Some(promise) = promise {
                text.push_str(&format!(" in {}", range(&promise.range)));
                text.push_str(if promise.ascending.is_some() { " ascending" } else { "" });
            }
            text
        }
        Type::Record { name, args } => format!("{}<{}>", name.text, names(args)),
        Type::List { item, len, .. } => format!("[{}; {}]", ty(item), expr(len)),
    }
}

fn names(names: &[Name]) -> String {
    names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn range(value: &Range) -> String {
    format!("{}..{}", expr(&value.lo), expr(&value.hi))
}

fn argument(value: &Argument) -> String {
    match value {
        Argument::Expr(e) => expr(e),
        Argument::Closure(c) => closure(c),
    }
}

fn index(value: &Index) -> String {
    match &value.range {
        Some(stated) => format!("{} in {}", value.name.text, range(stated)),
        None => value.name.text.clone(),
    }
}

/// An operand: in parentheses unless it is one piece.
fn operand(value: &Expr) -> String {
    let text = expr(value);
    let whole = matches!(
        value.kind,
        ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Inf
            | ExprKind::Pi
            | ExprKind::Bool(_)
            | ExprKind::Name(_)
            | ExprKind::Read(..)
            | ExprKind::Member(..)
            | ExprKind::List(_)
            | ExprKind::Bracketed { .. }
            | ExprKind::Grad(..)
            | ExprKind::Call(..)
            | ExprKind::Capture(_)
    );
    if whole { text } else { format!("({text})") }
}

/// An expression.
pub fn expr(value: &Expr) -> String {
    match &value.kind {
        ExprKind::Int(number) => number.to_string(),
        ExprKind::Float(number) => format!("{number:?}"),
        ExprKind::Inf => "inf".into(),
        ExprKind::Pi => "pi".into(),
        ExprKind::Bool(truth) => truth.to_string(),
        ExprKind::Name(name) => name.text.clone(),
        ExprKind::Binary(op, _, a, b) => format!("{} {} {}", operand(a), op.symbol(), operand(b)),
        ExprKind::Unary(UnaryOp::Neg, e) => format!("-{}", operand(e)),
        ExprKind::Unary(UnaryOp::Not, e) => format!("!{}", operand(e)),
        ExprKind::Cast(e, dtype) => format!("{} as {}", operand(e), dtype.text),
        ExprKind::Or(a, b) => format!("{} or {}", operand(a), operand(b)),
        ExprKind::Where { value, cond, other } => {
            let rest = other.as_ref().map_or_else(String::new, |e| format!(" else {}", operand(e)));
            format!("{} where {}{rest}", operand(value), operand(cond))
        }
        ExprKind::If { cond, then, other } => {
            let tail = match other.kind {
                ExprKind::If { .. } => expr(other),
                _ => format!("{{ {} }}", expr(other)),
            };
            format!("if {} {{ {} }} else {tail}", operand(cond), expr(then))
        }
        ExprKind::Read(base, subs) => {
            let subs: Vec<String> = subs.iter().map(subscript).collect();
            format!("{}[{}]", operand(base), subs.join(", "))
        }
        ExprKind::Member(base, name) => format!("{}.{}", operand(base), name.text),
        ExprKind::List(parts) => format!("[{}]", parts.iter().map(expr).collect::<Vec<_>>().join(", ")),
        ExprKind::Bracketed { op, indices, options, body } => {
            let mut bracket = indices.iter().map(index).collect::<Vec<_>>().join(", ");
            if !options.is_empty() {
                bracket.push_str(&format!("; {}", options.iter().map(expr).collect::<Vec<_>>().join(", ")));
            }
            format!("{}[{bracket}]({})", op.text, expr(body))
        }
        ExprKind::Grad(_, e, target) => format!("grad({}; {})", expr(e), expr(target)),
        ExprKind::Call(name, args) => {
            let arg = |arg: &crate::ast::Arg| {
                let label = arg.name.as_ref().map_or_else(String::new, |label| format!("{} = ", label.text));
                format!("{label}{}", argument(&arg.value))
            };
            format!("{}({})", name.text, args.iter().map(arg).collect::<Vec<_>>().join(", "))
        }
        ExprKind::Capture(number) => format!("{{{number}}}"),
    }
}

fn subscript(value: &Subscript) -> String {
    match value {
        Subscript::At(e) => expr(e),
        Subscript::All(_) => "..".into(),
        Subscript::Part(lo, hi, _) => {
            let side = |e: &Option<Expr>| e.as_ref().map_or_else(String::new, operand);
            format!("{}..{}", side(lo), side(hi))
        }
    }
}
