//! Tile IR: an explicit program over tiles.
//!
//! A [`Module`] holds kernels and the plan that launches them. A kernel is a sequential program that runs once for each block
//! of its grid. Its values are *tiles*, functions over named axes of constant extent (a scalar is a tile over no axes); the
//! order of axes has no meaning, so orientation is a backend's choice. Only memory has addresses. Asynchrony, rings and roles
//! are attributes that can be dropped without changing a result.
//!
//! Invariants (see `verify`): SSA with structured control; an axis occurs once in a tile and has one extent in a kernel;
//! `in` memory is never stored to; two blocks never store to one element; bounds, conditions and scalar subscripts are
//! scalars. Reading outside of a memory's extents gives the load's pad; storing outside does nothing.

pub mod builder;
mod compact;
#[cfg(feature = "interp")]
pub mod interp;
mod op;
pub mod text;
mod typing;
pub mod verify;

pub use op::{Attr, Inst, Op, Pad, Subscript};

use crate::dtype::DType;
use crate::entity::Arena;
use crate::index::{DimId, Index};

crate::entity!(
    /// An axis of a kernel.
    pub struct AxisId("x")
);
crate::entity!(
    /// A value of a kernel: a tile, or a scalar if it has no axes.
    pub struct Value("%")
);
crate::entity!(
    /// A memory parameter of a kernel.
    pub struct MemId("m")
);
crate::entity!(
    /// A buffer of a plan: an argument of the program or a temporary.
    pub struct BufferId("b")
);

/// What one program lowers to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// The program's name.
    pub name: String,
    /// Names of the run-time sizes and integer scalars; `Index` expressions of the module are over these dims only.
    pub dims: Arena<DimId, String>,
    /// Kernels, in order of first launch.
    pub kernels: Vec<Kernel>,
    /// Arguments and temporaries.
    pub buffers: Arena<BufferId, Buffer>,
    /// What a call does.
    pub plan: Vec<Step>,
}

/// A buffer of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// The argument's name, or a temporary's.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Sizes, over the module's dims (and, for a temporary inside a plan loop, constant through it).
    pub shape: Vec<Index>,
    /// Who owns it.
    pub kind: BufferKind,
}

/// Who owns a buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum BufferKind {
    /// Given by the caller, read only. A list is one buffer per element, chosen at the launch.
    Input {
        /// Whether this is a list; its length is not part of `shape`.
        list: bool,
    },
    /// Given by the caller, updated in place; `shape` is the shape after the call.
    InOut {
        /// Whether this is a list; its length is not part of `shape`.
        list: bool,
    },
    /// Allocated by the call, returned.
    Output,
    /// Allocated by the plan, dead after the call.
    Temp,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Runs every block of a kernel.
    Launch(Launch),
    /// Runs `body` for `var` from 0 below `count`; `var` is a dim of the module, usable in `Index` expressions inside.
    Loop {
        /// The loop's variable.
        var: DimId,
        /// Number of steps.
        count: Index,
        /// What a step does.
        body: Vec<Step>,
    },
    /// Chooses by a run-time size.
    If {
        /// Holds if this is 0 or more.
        nonnegative: Index,
        /// Then.
        then: Vec<Step>,
        /// Else.
        otherwise: Vec<Step>,
    },
    /// Exchanges the storage of two temporaries (or a temporary and an output) of one size: how a loop hands on its carries.
    Swap(BufferId, BufferId),
    /// Gives `dim`, a dim of the module, the value of a buffer that is one integer: how a number of steps comes from data.
    Scalar {
        /// The dim, usable in `Index` expressions of later steps.
        dim: DimId,
        /// An integer without axes.
        buffer: BufferId,
    },
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Position in [`Module::kernels`].
    pub kernel: usize,
    /// One buffer for each memory parameter; for a list, which element.
    pub args: Vec<(BufferId, Option<Index>)>,
    /// One value for each dim parameter of the kernel.
    pub dims: Vec<Index>,
}

/// A kernel: one sequential program per block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kernel {
    /// Its name, unique in the module.
    pub name: String,
    /// Run-time integers it needs; `Index` expressions of the kernel are over these.
    pub dims: Arena<DimId, String>,
    /// Memory parameters.
    pub memory: Arena<MemId, Memory>,
    /// Number of blocks along each grid axis, outermost first, and its name.
    pub grid: Vec<(String, Index)>,
    /// Axes of tiles.
    pub axes: Arena<AxisId, TileAxis>,
    /// Types of values.
    pub values: Arena<Value, Type>,
    /// The program of a block.
    pub body: Region,
}

/// A memory parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Its name.
    pub name: String,
    /// Element type in memory.
    pub dtype: DType,
    /// Sizes, over the kernel's dims. Strides are the call's, in bytes.
    pub shape: Vec<Index>,
    /// What the kernel does with it.
    pub access: Access,
}

/// What a kernel does with a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads.
    In,
    /// Writes every element; never reads.
    Out,
    /// Writes some elements, others are written by other launches; never reads.
    Part,
    /// Reads and writes; a block reads only what no other block writes.
    InOut,
}

/// An axis of tiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileAxis {
    /// Its name, for reading only.
    pub name: String,
    /// Its extent.
    pub extent: u32,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    /// Element type; loads widen, so this is a computing type or `bool`.
    pub dtype: DType,
    /// Axes, sorted; none for a scalar.
    pub axes: Vec<AxisId>,
}

/// Instructions and what they hand to their owner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Region {
    /// In order.
    pub insts: Vec<Inst>,
    /// The region's results: a loop's next carries, the results of a branch.
    pub yields: Vec<Value>,
}

/// A phase of a loop: visits lo, lo + step, .. below hi.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// First position, a scalar `i64`.
    pub lo: Value,
    /// Where it ends, a scalar `i64`.
    pub hi: Value,
    /// The static parameter of the phase: whether tiles may be partial (the body tests it).
    pub edge: bool,
}
