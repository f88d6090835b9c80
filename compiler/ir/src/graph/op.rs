//! Terms of graph IR: what an element is computed from.
//!
//! Elementwise operations come from the shared table in `elem`; this file adds what only graphs have: leaves, presence,
//! reductions, row operators, calls, folds. A term knows its computing type.

use super::{ClosureId, TermId};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::index::{AxisId, Index, TensorId};

/// A term: an operation on earlier terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The operation.
    pub op: Op,
    /// Its operands.
    pub args: Vec<TermId>,
    /// The type it computes in (never a storage type).
    pub dtype: DType,
}

/// A constant. Floats compare by bits, so that terms can be compared and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Const {
    /// The bits of an f64.
    Float(u64),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

impl Const {
    /// A float constant.
    pub fn float(value: f64) -> Self {
        Self::Float(value.to_bits())
    }
}

/// An operation of graph IR. Operand lists are given as `(a, b)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `()`: a constant.
    Const(Const),
    /// `()`: the value of an integer expression over axes, dims and integer tensors, as `i64`.
    Index(Index),
    /// `()`: an element, widened. If `guarded`, a subscript that leaves its range makes it absent; otherwise subscripts are
    /// in range (proved, or promised and then clamped).
    Read {
        /// The tensor.
        tensor: TensorId,
        /// One subscript per dimension.
        subs: Vec<Index>,
        /// Whether it may leave the range.
        guarded: bool,
    },
    /// Elementwise, by the shared table.
    Elem(ElemOp),
    /// `(x)`: to another computing type. Float to integer truncates and saturates, NaN to 0.
    Cast(DType),
    /// `(x)`: rounded to a storage type of the same kind, then widened.
    Round(DType),
    /// `(x)`: rounded to what the type parameter stands for, then widened. Gone after linking.
    RoundParam(u32),
    /// `(x, c)`: `x` where `c` holds, else absent. An absent condition is false.
    Where,
    /// `(a, b)`: `a` where present, else `b`.
    OrElse,
    /// `(x)` or `(x, initial)`: combines the present elements over `axes`, starting from `initial`.
    Reduce {
        /// How.
        op: ReduceOp,
        /// The axes it binds.
        axes: Vec<AxisId>,
        /// An ascending offsets tensor: the (one) axis then runs over `offsets[s]..offsets[s + 1]` of the given segment.
        segment: Option<(TensorId, Index)>,
    },
    /// `(x)`: exp(x) over the sum of exp(x) along `axes`, which stay free: the value at a position is the row's softmax there.
    /// Absent elements stay absent; a row whose maximum is -inf is 0.
    Softmax {
        /// The axes of a row.
        axes: Vec<AxisId>,
    },
    /// `(x)`: running reduction along `axis`, which stays free.
    Running {
        /// How.
        op: ReduceOp,
        /// Along which axis.
        axis: AxisId,
        /// From the end.
        rev: bool,
        /// Without the element itself.
        exclusive: bool,
    },
    /// An element of an output of a function, called for each value of the free axes. Operands are the scalar arguments;
    /// bodies of closures are terms of this function as well, reached through `args`.
    Call {
        /// The function's name.
        function: String,
        /// What of the call.
        output: CallResult,
        /// Subscripts into the output.
        subs: Vec<Index>,
        /// Arguments by parameter name; parameters left out take their defaults.
        args: Vec<(String, Arg)>,
        /// Dims given by name.
        dims: Vec<(String, Index)>,
    },
    /// `(x, ..)`: the closure parameter applied.
    Apply(ClosureId),
    /// `()`: a parameter of the closure whose body this is, or of one around it, by position, outermost first. Integer parameters may also stand in subscripts
    /// ([`crate::index::Atom::Param`]).
    ClosureParam(u32),
    /// `(x, body)`: `body`, in which the integer `x` is the closure parameter of this number: a computed position inside of a closure's
    /// body. Gone after linking.
    Bind(u32),
    /// `(x0, .., r0, ..)`: a streaming fold of several components over `axes`, as elements then repairs in order of the
    /// components that have one; a tuple, read by [`Op::Proj`].
    Fold {
        /// The axes it binds.
        axes: Vec<AxisId>,
        /// Its components.
        components: Vec<Component>,
    },
    /// `(fold)`: the final value of a component.
    Proj(u32),
    /// `()`: inside a fold's operands, a component's running value after this step.
    New(u32),
    /// `()`: inside a fold's operands, a component's running value before this step.
    Old(u32),
}

/// What an element of a call belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallResult {
    /// An output, by number.
    Output(u32),
    /// A tensor of a cache parameter, by its dotted name, as the call leaves it.
    After(String),
}

/// One component of a fold: `state = (state repaired) op element`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Component {
    /// How elements combine.
    pub op: ReduceOp,
    /// How the state moves when the components it depends on move; skipped while the state is the identity.
    pub repair: Repair,
}

/// How a fold's state is repaired at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repair {
    /// It does not depend on others.
    None,
    /// Multiplied by the repair operand.
    Scale,
    /// The repair operand is added.
    Shift,
}

impl Op {
    /// The word that opens the operation in text; elementwise operations and reductions have theirs from the tables.
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Const(_) => "const",
            Self::Index(_) => "index",
            Self::Read { .. } => "read",
            Self::Elem(op) => op.text(),
            Self::Cast(_) => "cast",
            Self::Round(_) | Self::RoundParam(_) => "round_to",
            Self::Where => "where",
            Self::OrElse => "or_else",
            Self::Reduce { op, .. } => op.text(),
            Self::Softmax { .. } => "softmax",
            Self::Running { .. } => "running",
            Self::Call { .. } => "call",
            Self::Apply(_) => "apply",
            Self::ClosureParam(_) => "param",
            Self::Bind(_) => "bind",
            Self::Fold { .. } => "fold",
            Self::Proj(_) => "proj",
            Self::New(_) => "new",
            Self::Old(_) => "old",
        }
    }
    /// The axes the operation binds; [`Op::Softmax`] and [`Op::Running`] bind none.
    pub fn binds(&self) -> &[AxisId] {
        match self {
            Self::Reduce { axes, .. } | Self::Fold { axes, .. } => axes,
            _ => &[],
        }
    }
    /// Calls `visit` with every closure written at this operation.
    pub fn for_each_closure(&self, visit: &mut dyn FnMut(&Closure)) {
        if let Self::Call { args, .. } = self {
            for (_, arg) in args {
                if let Arg::Closure(closure) = arg {
                    visit(closure);
                }
            }
        }
    }
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arg {
    /// A tensor with some dimensions fixed: `None` is a dimension of the callee's parameter, in order.
    Slice(TensorId, Vec<Option<Index>>),
    /// A scalar: operand number of the call.
    Scalar(u32),
    /// A closure.
    Closure(Closure),
}

/// A closure given at a call or as a default: `body` reads its parameters by [`Op::ClosureParam`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Closure {
    /// Names of the parameters, for reading only.
    pub params: Vec<String>,
    /// How many parameters closures around this one have: its own are numbered after them.
    pub outer: u32,
    /// The body, a term of the function where the closure is written.
    pub body: TermId,
}
