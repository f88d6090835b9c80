//! Operations of tile IR.
//!
//! Elementwise operations come from the shared table in `elem` and broadcast over axes by name. A backend may lower any of
//! them however it likes; the order of summation in `Mma` and `Reduce` is free but fixed for a compiled kernel.

use super::{AxisId, MemId, Phase, Region, Value};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::graph::Const;
use crate::index::Index;

/// An instruction: results, operation, operands, attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct Inst {
    /// Values it defines; stores have none, loops one for each carry.
    pub results: Vec<Value>,
    /// The operation.
    pub op: Op,
    /// Operand values, in the order the operation's documentation gives.
    pub args: Vec<Value>,
    /// Droppable hints.
    pub attrs: Vec<Attr>,
}

impl Inst {
    /// The regions inside: a loop's body, the sides of a branch.
    pub fn regions(&self) -> Vec<&Region> {
        match &self.op {
            Op::For { body, .. } => vec![body],
            Op::If { then, otherwise } => vec![then, otherwise],
            _ => Vec::new(),
        }
    }
    /// Calls `visit` with every value that it reads, bounds of loops and what regions inside read among them, as often as it is read.
    pub fn each_use(&self, visit: &mut dyn FnMut(Value)) {
        self.args.iter().for_each(|arg| visit(*arg));
        if let Op::For { phases, .. } = &self.op {
            phases.iter().flat_map(|phase| [phase.lo, phase.hi]).for_each(&mut *visit);
        }
        self.regions().into_iter().for_each(|region| region.each_use(visit));
    }
}

impl Region {
    /// Calls `visit` with every value that its instructions read or that it yields, as often as it is read.
    pub fn each_use(&self, visit: &mut dyn FnMut(Value)) {
        self.insts.iter().for_each(|inst| inst.each_use(visit));
        self.yields.iter().for_each(|value| visit(*value));
    }
}

/// A droppable hint: removing it never changes a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Its name, printed as `#name(value)`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An operation of tile IR. Operand lists are given as `(a, b)`.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `()`: a scalar constant.
    Const(Const),
    /// `()`: a scalar `i64`: the value of an expression over the kernel's dims.
    Size(Index),
    /// `()`: a scalar `i64`: this block's position along a grid axis.
    Grid(u32),
    /// `(base)`: an `i64` tile over `axis`: base, base + 1, ...
    Coord(AxisId),
    /// `(x, ..)`: elementwise; operands broadcast by axis name.
    Elem(ElemOp),
    /// `(a, b, c)`: a * b + c, rounded once where the target can.
    Fma,
    /// `(x)`: to another computing type.
    Cast(DType),
    /// `(x)`: rounded to a storage type, then widened.
    Round(DType),
    /// `(x)`: axis `from` is called `to` (same extent).
    Rename(Vec<(AxisId, AxisId)>),
    /// `(x)`: the value at a scalar position of an axis: `(x, position)`.
    Slice(AxisId),
    /// `(a, b)` or `(a, b, acc)`: sum over `over` of a * b, added to `acc`. Axes in both operands and in the result are batch
    /// axes.
    Mma {
        /// The contracted axes, in both operands.
        over: Vec<AxisId>,
    },
    /// `(x)`: combines over axes.
    Reduce {
        /// How; a primitive reduction.
        op: ReduceOp,
        /// Which axes vanish.
        over: Vec<AxisId>,
    },
    /// `(subscript values..)` and, if `masked`, a last bool tile: elements outside of the memory or where the mask is false are
    /// the pad. Widens.
    Load {
        /// From where.
        mem: MemId,
        /// One per dimension; their operands follow in order.
        subs: Vec<Subscript>,
        /// What is read outside.
        pad: Pad,
        /// Whether a mask operand follows the subscripts.
        masked: bool,
    },
    /// `(x, subscript values..)` and, if `masked`, a last bool tile: rounds to the memory's type and stores; elements outside
    /// of the memory or where the mask is false are not stored.
    Store {
        /// Where to.
        mem: MemId,
        /// One per dimension; their operands follow in order.
        subs: Vec<Subscript>,
        /// Whether a mask operand follows the subscripts.
        masked: bool,
    },
    /// `(initial carries..)`: the phases in order. The body's parameters are the position (scalar `i64`), the phase's edge flag
    /// (scalar `bool`, constant in a phase), then the carries; it yields the next carries. An initial carry may lack axes of its
    /// carry: it is repeated over them.
    For {
        /// Distance between positions, positive.
        step: i64,
        /// Where it runs.
        phases: Vec<Phase>,
        /// Position, edge flag, carries.
        params: Vec<Value>,
        /// A step.
        body: Region,
    },
    /// `(condition)`: a scalar `bool` chooses; both regions yield the results.
    If {
        /// If it holds.
        then: Region,
        /// If not.
        otherwise: Region,
    },
}

impl Op {
    /// The operation's name in the text form.
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Const(_) => "const",
            Self::Size(_) => "size",
            Self::Grid(_) => "grid",
            Self::Coord(_) => "coord",
            Self::Elem(op) => op.text(),
            Self::Fma => "fma",
            Self::Cast(_) => "cast",
            Self::Round(_) => "round_to",
            Self::Rename(_) => "rename",
            Self::Slice(_) => "slice",
            Self::Mma { .. } => "mma",
            Self::Reduce { .. } => "reduce",
            Self::Load { .. } => "load",
            Self::Store { .. } => "store",
            Self::For { .. } => "for",
            Self::If { .. } => "if",
        }
    }
}

/// How a memory dimension is addressed. The coordinate is `base + sum of coefficient * axis position`, or taken from a tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscript {
    /// One operand, a scalar `i64` base; the terms make a slice (one axis, coefficient 1) or any affine access.
    Affine(Vec<(AxisId, i64)>),
    /// One operand, an integer tile of coordinates: a gather or scatter.
    Gather,
}

/// What a load gives outside of the memory, or where its mask is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pad {
    /// Anything: the elements must not reach a store.
    Undef,
    /// This value.
    Value(Const),
}
