//! The language of the e-graph.

use super::AxisSet;
use egg::{Id, Language};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Const, Repair};
use sawmill_ir::index::{AxisId, Index, TensorId};
use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

/// Axes in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AxisList(Arc<[AxisId]>);

impl AxisList {
    /// The axes of a set.
    pub(crate) fn new(set: AxisSet) -> Self {
        Self(set.iter().collect())
    }
    /// As a set.
    pub(crate) fn set(&self) -> AxisSet {
        AxisSet::of(&self.0)
    }
}

/// A read of a stored tensor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReadAt {
    /// The tensor.
    pub(crate) tensor: TensorId,
    /// Index maps, one per dimension.
    pub(crate) subs: Vec<Index>,
    /// Whether they may leave the range, where the value is unused.
    pub(crate) guarded: bool,
    /// What must be 0 or more for them to be in range, if they may leave it.
    pub(crate) needs: Vec<Index>,
    /// The type after widening.
    pub(crate) dtype: DType,
}

/// Where the axes of a viewed class go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Map(Arc<[(AxisId, Index)]>);

impl Map {
    /// A map of axes.
    pub(crate) fn new(pairs: Vec<(AxisId, Index)>) -> Self {
        Self(pairs.into())
    }
    /// Where `axis` goes.
    pub(crate) fn get(&self, axis: AxisId) -> Option<&Index> {
        self.0.iter().find(|(a, _)| *a == axis).map(|(_, index)| index)
    }
    /// The pairs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(AxisId, Index)> {
        self.0.iter()
    }
    /// The free axes of the view of a term over `below`.
    pub(crate) fn free(&self, below: AxisSet) -> AxisSet {
        let mapped = self.0.iter().filter(|(axis, _)| below.has(*axis));
        let moved = mapped.fold(AxisSet::EMPTY, |free, (_, index)| free.union(AxisSet::of_index(index)));
        let kept = self.0.iter().fold(below, |kept, (axis, _)| kept.minus(AxisSet::EMPTY.with(*axis)));
        moved.union(kept)
    }
}

/// What a node is, without its operands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Head {
    /// `()`: a constant.
    Const(Const, DType),
    /// `()`: an integer expression as `i64`.
    Index(Arc<Index>),
    /// `()`: an element of a stored tensor.
    Read(Arc<ReadAt>),
    /// `(x)`: the stored `x` at other positions.
    View {
        /// Where its axes go.
        map: Map,
        /// Whether that may leave the range, where the value is unused.
        guarded: bool,
        /// What must be 0 or more for it to be in range, if it may leave it.
        needs: Arc<[Index]>,
    },
    /// `(x, ..)`: elementwise.
    Elem(ElemOp),
    /// `(x)`: to another computing type.
    Cast(DType),
    /// `(x)`: rounded to a storage type.
    Round(DType),
    /// `(x)` or, if `masked`, `(x, c)`: combines the elements where `c`.
    Reduce {
        /// How.
        op: ReduceOp,
        /// Over what.
        axes: AxisList,
        /// Whether a condition follows.
        masked: bool,
    },
    /// `(x [, c] [, phi])`: a component of a fold: element, condition, repair.
    Component {
        /// How elements combine.
        op: ReduceOp,
        /// Whether a condition follows the element.
        masked: bool,
        /// How `phi` repairs the state; with `None` there is no `phi`.
        repair: Repair,
    },
    /// `(component, ..)`: the streaming fold of a set of components.
    Fold {
        /// Over what.
        axes: AxisList,
    },
    /// `(fold, component)`: the final value of a component.
    Proj,
    /// `(component)`: its value after (`new`) or before this step of the fold over `axes` that it is in.
    Running {
        /// After or before.
        new: bool,
        /// The fold's axes.
        axes: AxisList,
    },
}

/// A node: what it is, and of what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) head: Head,
    /// Of what.
    pub(crate) args: Vec<Id>,
}

impl Node {
    /// A node.
    pub(crate) fn new(head: Head, args: Vec<Id>) -> Self {
        Self { head, args }
    }
    /// Whether this is the elementwise operation `op`.
    pub(crate) fn is(&self, op: ElemOp) -> bool {
        self.head == Head::Elem(op)
    }
}

impl Language for Node {
    type Discriminant = (Discriminant<Head>, Option<ElemOp>);

    fn discriminant(&self) -> Self::Discriminant {
        let elem = match self.head {
            Head::Elem(op) => Some(op),
            _ => None,
        };
        (discriminant(&self.head), elem)
    }
    fn matches(&self, other: &Self) -> bool {
        self.args.len() == other.args.len() && self.head == other.head
    }
    fn children(&self) -> &[Id] {
        &self.args
    }
    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.args
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.head)
    }
}
