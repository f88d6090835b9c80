//! Graph IR: tensor algebra over named axes.
//!
//! A [`Module`] holds functions and packed formats. A function's body is a list of equations: each defines a tensor, element
//! by element, as a tree of terms over the tensor's axes. A term's value depends on its free axes; reductions and folds
//! bind axes of their own; reads carry index maps. Nothing says how or when an equation is evaluated: the meaning of a
//! function is what `interp` computes in f64.
//!
//! Two forms of the same data:
//! - *as lowered* from the language: functions call each other, take closures, packed formats and element-type parameters;
//! - *linked* (after `link`): one function, no calls, no closures, no formats, every element type known. Everything after
//!   linking, and the interpreter, expects this form. Optimised functions (after extraction) are linked functions whose
//!   terms may also hold folds, and in which every definition is one that is stored.
//!
//! Absence: every element of a term is present or absent ([`Op::Where`], guarded [`Op::Read`]); operations are strict,
//! reductions skip absent elements, [`Op::OrElse`] fills them. Outputs, carries and appended values are present.

pub mod builder;
mod format;
#[cfg(feature = "interp")]
pub mod interp;
mod op;
pub mod ranges;
pub mod sizes;
pub mod text;
pub mod typing;
pub mod verify;

pub use op::{Arg, CallResult, Closure, Component, Const, Op, Repair, Term};

use crate::dtype::DType;
use crate::entity::Arena;
use crate::index::{AxisId, DimId, Index, TensorId};

crate::entity!(
    /// A term of a function.
    pub struct TermId("e")
);
crate::entity!(
    /// A closure parameter of a function.
    pub struct ClosureId("c")
);

/// Functions and formats that are joined by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// Packed formats, in order of definition.
    pub formats: Vec<Format>,
    /// Functions, in order of definition; a callee may come from another module.
    pub functions: Vec<Function>,
}

impl Module {
    /// The function called `name`.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|f| f.name == name)
    }
    /// The format called `name`.
    pub fn format(&self, name: &str) -> Option<&Format> {
        self.formats.iter().find(|f| f.name == name)
    }
}

/// A packed format: how one row of `length` values follows from stored fields.
///
/// In memory a row is a sequence of records; a record holds the elements of every field for one step of the fields' first
/// axis, field after field (so q4_1 is 2 bytes of `d`, 2 of `m`, 16 of `q` for each 32 values).
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    /// Its name, used as an element type.
    pub name: String,
    /// The equation as a function: one dim (the row's length), the fields as arguments, one output over one axis. The first
    /// axis of every field counts records: its size is the row's length over `record_values`.
    pub value: Function,
    /// Values per record: the row's length must be a multiple.
    pub record_values: u32,
}

/// A function: dims, tensors, equations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its name, unique in a module; `::` separates crates.
    pub name: String,
    /// Sizes.
    pub dims: Arena<DimId, Dim>,
    /// Element-type parameters; empty once linked.
    pub type_params: Vec<TypeParam>,
    /// What must hold of sizes; facts for every proof.
    pub requires: Vec<Require>,
    /// Axes of definitions, reductions and loops. An axis is bound in one place.
    pub axes: Arena<AxisId, Axis>,
    /// Arguments, definitions, carries.
    pub tensors: Arena<TensorId, Tensor>,
    /// Terms; operands come before users.
    pub terms: Arena<TermId, Term>,
    /// Closure parameters; empty once linked.
    pub closures: Arena<ClosureId, ClosureParam>,
    /// Arguments in the order of the signature.
    pub params: Vec<Param>,
    /// Equations and loops, in order.
    pub body: Vec<Stmt>,
    /// The outputs, in order. Outputs are definitions of the body.
    pub outputs: Vec<TensorId>,
}

/// A size.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// Its name.
    pub name: String,
    /// Known when compiling, or given by the call.
    pub kind: DimKind,
}

/// When a size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DimKind {
    /// A run-time size, 0 or more.
    Run,
    /// A compile-time parameter, at least 1, with its default; a value once specialised.
    Const(Option<i64>),
}

/// An element-type parameter, `type E: float`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeParam {
    /// Its name.
    pub name: String,
    /// Whether it ranges over integers (else floats and formats).
    pub int: bool,
}

/// A requirement on sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// Both are equal.
    Equal(Index, Index),
    /// The value is not negative.
    NonNegative(Index),
}

/// An axis: a position in `0..extent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Its name, for reading only.
    pub name: String,
    /// How many positions.
    pub extent: Index,
}

/// The element type of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Elem {
    /// A plain type.
    Type(DType),
    /// A type parameter, by position.
    Param(u32),
    /// A packed format, by name; the tensor's last axis is the packed row.
    Format(String),
}

/// A tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name; fields of structs are dotted (`w.q`).
    pub name: String,
    /// What is stored, or, of a definition that is not stored, what it computes in.
    pub elem: Elem,
    /// Its sizes; the first is the list's length if `list`.
    pub shape: Vec<Index>,
    /// Where it comes from.
    pub kind: TensorKind,
}

/// Where a tensor comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorKind {
    /// An argument.
    Input(Input),
    /// `name[axes] = value`. Its `elem` is a storage type only if `rounded`, or if it is an output.
    Def {
        /// One axis per dimension.
        axes: Vec<AxisId>,
        /// The element, over the axes.
        value: TermId,
        /// A typed `let`: the value is rounded to `elem` on every engine.
        rounded: bool,
    },
    /// `base` with `value` appended along dimension `dim`: a cache after a push. In place where `base` is an argument.
    Append {
        /// The cache before.
        base: TensorId,
        /// Which element of a list; empty for a lone cache.
        at: Vec<Index>,
        /// The growing dimension of this tensor.
        dim: u32,
        /// One axis per dimension of the appended slab.
        axes: Vec<AxisId>,
        /// The appended element, over the axes.
        value: TermId,
    },
    /// The value of a carry at the start of a step of the loop that declares it.
    Carry,
    /// The value of a carry after the loop that declares it.
    Final,
}

/// An argument's particulars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// Fills every element when the caller gives nothing; closed over scalars and dims.
    pub default: Option<TermId>,
    /// Integer values are promised to lie in `0` <= lo `..` hi.
    pub promise: Option<(Index, Index)>,
    /// How many leading dimensions count separate buffers: one for `[Layer; L]`, more for lists in lists.
    pub lists: u32,
    /// The dimension along which the argument grows: it is a cache, updated in place by an append. Its size is the length
    /// before the call.
    pub grows: Option<u32>,
    /// The packed argument this one is a field of: its records and where in a record.
    pub field: Option<Field>,
}

/// A field of a packed argument, after linking.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The packed argument's name.
    pub of: String,
    /// Its format.
    pub format: String,
    /// Bytes from the start of a record.
    pub offset: u32,
    /// Bytes of a record: the stride of the dimension that counts records.
    pub record: u32,
    /// Which dimension counts records; those after it are packed in the record, those before it are the caller's.
    pub record_dim: u32,
}

/// One argument of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// A tensor or, at rank 0, a scalar.
    Tensor(TensorId),
    /// A closure.
    Closure(ClosureId),
}

/// A closure parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosureParam {
    /// Its name.
    pub name: String,
    /// Types of the parameters; positions come as `i64`.
    pub params: Vec<DType>,
    /// Type of the result.
    pub result: DType,
    /// Used when the caller gives none.
    pub default: Option<Closure>,
}

/// An equation or a loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// A definition or an append.
    Define(TensorId),
    /// A counted loop.
    Loop(Loop),
}

/// `for index carry .. { body }`: steps in order, `index` in `0..extent` of its axis, or from the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// The position of a step, usable as an index in the body.
    pub index: AxisId,
    /// Steps go from the last position to the first.
    pub rev: bool,
    /// What is carried from step to step.
    pub carries: Vec<Carry>,
    /// Definitions of a step.
    pub body: Vec<Stmt>,
}

/// A carried tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    /// The value before the first step.
    pub init: TensorId,
    /// The value at the start of a step, seen by the body ([`TensorKind::Carry`]).
    pub inside: TensorId,
    /// The value at the end of a step, defined by the body.
    pub next: TensorId,
    /// The value after the loop ([`TensorKind::Final`]).
    pub result: TensorId,
}

impl Function {
    /// The terms that no other term uses as an operand: defaults, closures and values of tensors, in order of the tensors.
    pub fn roots(&self) -> Vec<TermId> {
        let mut roots = Vec::new();
        for closure in self.closures.values() {
            roots.extend(closure.default.as_ref().map(|c| c.body));
        }
        for tensor in self.tensors.values() {
            match &tensor.kind {
                TensorKind::Input(input) => roots.extend(input.default),
                TensorKind::Def { value, .. } | TensorKind::Append { value, .. } => roots.push(*value),
                TensorKind::Carry | TensorKind::Final => {}
            }
        }
        roots
    }
}
