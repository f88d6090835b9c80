//! Expressions, subscripts, arguments and operators.

use super::{Argument, Closure, Index, Name};
use crate::errors::Loc;
use proc_macro2::{Span, TokenStream};

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// From its first to its last token.
    pub loc: Loc,
    /// What it is.
    pub kind: ExprKind,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// An integer literal.
    Int(i64),
    /// A float literal.
    Float(f64),
    /// `inf`
    Inf,
    /// `pi`
    Pi,
    /// `true`, `false`
    Bool(bool),
    /// A name.
    Name(Name),
    /// `a + b`
    Binary(BinaryOp, Span, Box<Expr>, Box<Expr>),
    /// `-a`, `!a`
    Unary(UnaryOp, Box<Expr>),
    /// `a as f32`
    Cast(Box<Expr>, Name),
    /// `a or b`: `b` where `a` is absent.
    Or(Box<Expr>, Box<Expr>),
    /// `e where c`, `e where c else d`
    Where {
        /// The value.
        value: Box<Expr>,
        /// Where it is present.
        cond: Box<Expr>,
        /// The value elsewhere.
        other: Option<Box<Expr>>,
    },
    /// `if c { a } else { b }`
    If {
        /// The condition.
        cond: Box<Expr>,
        /// Where it holds.
        then: Box<Expr>,
        /// Where it doesn't.
        other: Box<Expr>,
    },
    /// `x[i, ..]`
    Read(Box<Expr>, Vec<Subscript>),
    /// `x.o`
    Member(Box<Expr>, Name),
    /// `[a, b, c]`
    List(Vec<Expr>),
    /// `sum[i](e)`, `softmax[j](e)`, `topk[e; K](x)`
    Bracketed {
        /// The reduction, row operator or selection.
        op: Name,
        /// The indices in the bracket.
        indices: Vec<Index>,
        /// What follows `;`.
        options: Vec<Expr>,
        /// The operand.
        body: Box<Expr>,
    },
    /// `grad(e; w[i])`
    Grad(Span, Box<Expr>, Box<Expr>),
    /// A function, a closure parameter or an elementwise function applied.
    Call(Name, Vec<Arg>),
    /// `{rust}`, in `closure!` only: the number of the capture.
    Capture(u32),
}

/// One subscript of a read.
#[derive(Clone, Debug)]
pub enum Subscript {
    /// `..`: the whole axis.
    All(Loc),
    /// `lo..hi`: a part of the axis.
    Part(Option<Expr>, Option<Expr>, Loc),
    /// One position.
    At(Expr),
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub struct Arg {
    /// The parameter's name where given.
    pub name: Option<Name>,
    /// The value.
    pub value: Argument,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl BinaryOp {
    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Rem => "%",
            BinaryOp::And => "&&",
            BinaryOp::Or => "||",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::Shl => "<<",
            BinaryOp::Shr => ">>",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
        }
    }
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}

/// The body of a `closure!` with its captured Rust expressions.
#[derive(Clone, Debug)]
pub struct HostClosure {
    /// The closure; captures are numbered.
    pub closure: Closure,
    /// The Rust expressions in the order of their numbers.
    pub captures: Vec<TokenStream>,
}
