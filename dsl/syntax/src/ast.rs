//! The tree of a parsed `arch!` block.
//!
//! Comes from [`crate::parse`]; goes to [`crate::check`]. Every node carries the place it was written at, so that any
//! later stage can point at the token that caused an error. The grammar is the whole language; what is not built yet is
//! refused by the checker, not by the parser.

mod expr;

pub use expr::{Arg, BinaryOp, Expr, ExprKind, HostClosure, Subscript, UnaryOp};

use crate::errors::Loc;
use proc_macro2::Span;

/// An identifier and where it stands.
#[derive(Clone, Debug)]
pub struct Name {
    /// The identifier, without `r#`.
    pub text: String,
    /// Its place.
    pub span: Span,
}

impl Name {
    /// The place of the identifier.
    pub fn loc(&self) -> Loc {
        Loc::at(self.span)
    }
}

/// A whole `arch!` block.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// The items in the order of the source.
    pub items: Vec<Item>,
}

/// One item with its documentation.
#[derive(Clone, Debug)]
pub struct Item {
    /// The lines of the doc comment.
    pub docs: Vec<String>,
    /// Written with `pub`.
    pub public: bool,
    /// What it is.
    pub kind: ItemKind,
}

/// What an item is.
#[derive(Clone, Debug)]
pub enum ItemKind {
    /// A function with a body.
    Function(Function),
    /// A record of parameters.
    Struct(Struct),
    /// A store that grows along one dim.
    Cache(Cache),
    /// A packed storage format declared as an equation.
    Format(Format),
    /// A host function with declared shapes.
    Extern(Signature),
    /// Imports from other blocks.
    Use(Vec<Import>),
}

impl ItemKind {
    /// The name that the item declares.
    pub fn name(&self) -> Option<&Name> {
        match self {
            ItemKind::Function(function) => Some(&function.signature.name),
            ItemKind::Struct(record) => Some(&record.name),
            ItemKind::Cache(cache) => Some(&cache.name),
            ItemKind::Format(format) => Some(&format.name),
            ItemKind::Extern(signature) => Some(&signature.name),
            ItemKind::Use(_) => None,
        }
    }
}

/// One imported name.
#[derive(Clone, Debug)]
pub struct Import {
    /// The segments of the path, the item's own name last; a leading `::` is an empty first segment.
    pub path: Vec<Name>,
    /// The name in this block.
    pub name: Name,
}

/// A function: its signature and its equations.
#[derive(Clone, Debug)]
pub struct Function {
    /// Name, dims, parameters, outputs and requirements.
    pub signature: Signature,
    /// The statements of the body.
    pub body: Vec<Stmt>,
    /// A statement of the body did not parse: names may be missing, so the body is not checked.
    pub broken: bool,
}

/// What a caller of a function sees.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The function's name.
    pub name: Name,
    /// The names between `<` and `>`.
    pub dims: Vec<Dim>,
    /// Parameters, one entry per name.
    pub params: Vec<Param>,
    /// Outputs in order.
    pub outputs: Vec<Field>,
    /// The `where` clause: requirements and equations on dims.
    pub requirements: Vec<Expr>,
}

/// One entry of `<..>`.
#[derive(Clone, Debug)]
pub struct Dim {
    /// The dim's or type parameter's name.
    pub name: Name,
    /// What it stands for.
    pub kind: DimKind,
}

/// What a name in `<..>` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DimKind {
    /// A size known at the call.
    Size,
    /// A size the code is specialised for, with a default if one is given.
    Const(Option<i64>),
    /// An element type of a class of dtypes.
    Type(TypeClass),
}

/// The class that a type parameter ranges over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeClass {
    /// Real floating point, or a format whose value is one.
    Float,
    /// Integers.
    Int,
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: Name,
    /// A value or a closure.
    pub ty: ParamType,
    /// The value where the caller gives none.
    pub default: Option<Argument>,
}

/// The type of a parameter.
#[derive(Clone, Debug)]
pub enum ParamType {
    /// A scalar, tensor, struct, cache or list.
    Value(Type),
    /// A closure over indices and scalars.
    Closure(ClosureType),
}

/// The type of a closure parameter: `|i, j| -> bool`.
#[derive(Clone, Debug)]
pub struct ClosureType {
    /// Names of the closure's own parameters.
    pub params: Vec<Name>,
    /// The dtype of its result.
    pub result: Name,
}

/// A value's type.
#[derive(Clone, Debug)]
pub enum Type {
    /// A scalar or tensor: dtype, format or type parameter, axes, promised range.
    Tensor {
        /// The element's dtype, format or type parameter.
        element: Name,
        /// Sizes of the axes; empty for a scalar.
        axes: Vec<Expr>,
        /// The promised range of the values.
        promise: Option<Box<Promise>>,
    },
    /// A struct or cache with its dims.
    Record {
        /// The struct's or cache's name.
        name: Name,
        /// Its dims and type parameters in order.
        args: Vec<Name>,
    },
    /// A list: `[Layer<..>; L]`.
    List {
        /// The type of one entry.
        item: Box<Type>,
        /// How many there are.
        len: Expr,
        /// The whole type.
        loc: Loc,
    },
}

impl Type {
    /// The type of the innermost entries of a list, and the lengths of the lists around them, outermost first.
    pub fn innermost(&self) -> (&Type, Vec<&Expr>) {
        let (mut ty, mut lengths) = (self, Vec::new());
        while let Type::List { item, len, .. } = ty {
            lengths.push(len);
            ty = item;
        }
        (ty, lengths)
    }
}

/// `in lo..hi`, perhaps `ascending`.
#[derive(Clone, Debug)]
pub struct Promise {
    /// The values' range.
    pub range: Range,
    /// Where `ascending` stands, if it is promised.
    pub ascending: Option<Span>,
}

/// A half-open range.
#[derive(Clone, Debug)]
pub struct Range {
    /// First value.
    pub lo: Expr,
    /// One past the last value.
    pub hi: Expr,
}

/// A name with a type: an output or a field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: Type,
}

/// A record of parameters.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Its name.
    pub name: Name,
    /// Its dims and type parameters.
    pub dims: Vec<Dim>,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A store that grows along one dim.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Its name.
    pub name: Name,
    /// Its dims and type parameters.
    pub dims: Vec<Dim>,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The dim along which it grows.
    pub grow: Name,
}

/// A packed storage format for one row.
#[derive(Clone, Debug)]
pub struct Format {
    /// Its name, used as a dtype.
    pub name: Name,
    /// One dim: the length of the row.
    pub dims: Vec<Dim>,
    /// The packed fields.
    pub fields: Vec<Field>,
    /// Requirements on the dim.
    pub requirements: Vec<Expr>,
    /// The value of one element.
    pub value: Closure,
}

/// A closure written out: `|i, _| e`.
#[derive(Clone, Debug)]
pub struct Closure {
    /// Its parameters; `None` is `_`.
    pub params: Vec<Option<Name>>,
    /// Its body.
    pub body: Box<Expr>,
    /// The bars.
    pub loc: Loc,
}

/// What stands for a parameter: in a call or as a default.
#[derive(Clone, Debug)]
pub enum Argument {
    /// A value.
    Expr(Expr),
    /// A closure.
    Closure(Closure),
}

impl Argument {
    /// Where the argument stands.
    pub fn loc(&self) -> Loc {
        match self {
            Argument::Expr(e) => e.loc,
            Argument::Closure(c) => c.loc.to(c.body.loc),
        }
    }
}

/// A statement.
#[derive(Clone, Debug)]
pub enum Stmt {
    /// `let x[i] = e;`
    Let {
        /// What is defined.
        bind: Bind,
        /// `: bf16`, which rounds.
        ty: Option<Name>,
        /// The right side.
        value: Expr,
    },
    /// `o[i] = e;`: an output or a carry.
    Assign {
        /// What is assigned.
        bind: Bind,
        /// The right side.
        value: Expr,
    },
    /// `scan` or `for`.
    Loop(Loop),
    /// `push kv[s in 0..S] { .. }`
    Push(Push),
}

/// The left side of an equation.
#[derive(Clone, Debug)]
pub enum Bind {
    /// `_`
    Ignore(Span),
    /// One name.
    Place(Place),
    /// Several results of one call; trailing indices are shared.
    Tuple {
        /// The parts.
        parts: Vec<Bind>,
        /// Indices that every part has.
        shared: Option<Vec<Index>>,
        /// The parenthesis.
        loc: Loc,
    },
}

/// A name with its indices.
#[derive(Clone, Debug)]
pub struct Place {
    /// The tensor, scalar or record.
    pub name: Name,
    /// The indices; `None` where no bracket is written.
    pub indices: Option<Vec<Index>>,
}

/// An index where it is bound.
#[derive(Clone, Debug)]
pub struct Index {
    /// Its name.
    pub name: Name,
    /// Its stated range.
    pub range: Option<Range>,
}

/// `scan` or `for`.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The keyword.
    pub span: Span,
    /// A recurrence along a time axis, not a counted loop.
    pub scan: bool,
    /// From the end.
    pub reversed: bool,
    /// The loop's index.
    pub index: Name,
    /// The steps.
    pub range: Range,
    /// What is carried.
    pub carries: Vec<Carry>,
    /// `reset where c`.
    pub reset: Option<Expr>,
    /// The step.
    pub body: Vec<Stmt>,
}

/// A carried tensor and its first value.
#[derive(Clone, Debug)]
pub struct Carry {
    /// The carry and its indices.
    pub place: Place,
    /// The dtype it is stored in.
    pub ty: Option<Name>,
    /// Its value before the first step.
    pub init: Expr,
}

/// `push kv[s in 0..S] { k[h, s, c] = .., .. }`
#[derive(Clone, Debug)]
pub struct Push {
    /// The keyword.
    pub span: Span,
    /// The cache; an expression, since it may be an entry of a list.
    pub cache: Expr,
    /// The positions appended.
    pub index: Index,
    /// One equation per field.
    pub fields: Vec<(Place, Expr)>,
}
