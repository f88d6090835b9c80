//! Frames: what the names of a function mean while it is linked into another.

use super::{LinkError, Linker};
use rustc_hash::FxHashMap;
use sawmill_ir::graph::{Closure, ClosureId, Elem, Format, Function, Op, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use std::collections::BTreeMap;

sawmill_ir::entity!(
    /// A function instance being linked, or the surroundings of a closure.
    pub(super) struct FrameId("f")
);

/// What the names of a function mean in the linked one.
#[derive(Clone, Debug)]
pub(super) struct Frame<'m> {
    pub(super) function: &'m Function,
    pub(super) dims: Vec<Option<Index>>,
    pub(super) types: Vec<Elem>,
    pub(super) tensors: FxHashMap<TensorId, Bound<'m>>,
    /// Closures and the frame their body is written in.
    pub(super) closures: FxHashMap<ClosureId, (FrameId, Closure)>,
    pub(super) axes: FxHashMap<AxisId, Index>,
    /// Values of the parameters, in the frame of a closure's body.
    pub(super) params: Vec<TermId>,
    /// The axes this instance is made for each value of.
    pub(super) lead: Vec<AxisId>,
    /// How many calls deep: 0 for the function that is linked.
    pub(super) depth: u32,
}

/// What a tensor of a frame is.
#[derive(Clone, Debug)]
pub(super) enum Bound<'m> {
    /// A tensor of the linked function with some dimensions fixed; `None` are this tensor's dimensions.
    Tensor { id: TensorId, subs: Vec<Option<Index>> },
    /// A packed argument: its fields, its logical sizes, and which dimensions are fixed.
    Packed { format: &'m Format, fields: Vec<TensorId>, shape: Vec<Index>, subs: Vec<Option<Index>> },
    /// Every element is this term.
    Fill(TermId),
}

/// What axes become.
pub(super) type Renaming = BTreeMap<AxisId, Index>;

impl<'m> Frame<'m> {
    /// A frame in which nothing is bound.
    pub(super) fn new(function: &'m Function) -> Self {
        Self {
            function,
            dims: vec![None; function.dims.len()],
            types: Vec::new(),
            tensors: FxHashMap::default(),
            closures: FxHashMap::default(),
            axes: FxHashMap::default(),
            params: Vec::new(),
            lead: Vec::new(),
            depth: 0,
        }
    }
}

impl Bound<'_> {
    /// The subscripts, some fixed; none of a fill.
    pub(super) fn subs(&self) -> &[Option<Index>] {
        match self {
            Self::Tensor { subs, .. } | Self::Packed { subs, .. } => subs,
            Self::Fill(_) => &[],
        }
    }
    /// The same tensor with its open dimensions taken by `inner`, in order: a slice of a slice.
    pub(super) fn slice(&self, inner: &[Option<Index>]) -> Self {
        let mut inner = inner.iter().cloned();
        let mut compose = |subs: &[Option<Index>]| {
            subs.iter().map(|sub| sub.clone().or_else(|| inner.next().flatten())).collect::<Vec<_>>()
        };
        match self {
            Self::Tensor { id, subs } => Self::Tensor { id: *id, subs: compose(subs) },
            Self::Packed { format, fields, shape, subs } => {
                Self::Packed { format, fields: fields.clone(), shape: shape.clone(), subs: compose(subs) }
            }
            Self::Fill(term) => Self::Fill(*term),
        }
    }
}

/// `index` with axes replaced.
pub(super) fn rename_index(index: &Index, renaming: &Renaming) -> Index {
    index.substitute(&mut |atom| match atom {
        Atom::Axis(axis) => renaming.get(axis).cloned(),
        _ => None,
    })
}

impl<'m> Linker<'m> {
    /// `bound` with axes of the linked function replaced.
    pub(super) fn rename_bound(&mut self, bound: &Bound<'m>, renaming: &Renaming) -> Bound<'m> {
        let rename = |subs: &[Option<Index>]| {
            subs.iter().map(|sub| sub.as_ref().map(|index| rename_index(index, renaming))).collect::<Vec<_>>()
        };
        match bound {
            Bound::Tensor { id, subs } => Bound::Tensor { id: *id, subs: rename(subs) },
            Bound::Packed { format, fields, shape, subs } => {
                Bound::Packed { format, fields: fields.clone(), shape: shape.clone(), subs: rename(subs) }
            }
            Bound::Fill(term) => Bound::Fill(self.rename_term(*term, renaming)),
        }
    }
    /// A frame like `frame` with axes of the linked function replaced in everything it binds.
    pub(super) fn rename_frame(&mut self, frame: FrameId, renaming: &Renaming) -> FrameId {
        self.rename_frames(frame, renaming, &mut BTreeMap::new())
    }
    /// As [`Linker::rename_frame`]; `done` are the copies so far, since a default closure is written in the frame it is bound in.
    fn rename_frames(&mut self, frame: FrameId, renaming: &Renaming, done: &mut BTreeMap<FrameId, FrameId>) -> FrameId {
        if let Some(copy) = done.get(&frame) {
            return *copy;
        }
        let mut copy = self.frames[frame].clone();
        let id = self.frames.push(copy.clone());
        done.insert(frame, id);
        for index in copy.axes.values_mut() {
            *index = rename_index(index, renaming);
        }
        for dim in copy.dims.iter_mut().flatten() {
            *dim = rename_index(dim, renaming);
        }
        for bound in copy.tensors.values_mut() {
            *bound = self.rename_bound(bound, renaming);
        }
        for param in &mut copy.params {
            *param = self.rename_term(*param, renaming);
        }
        for (environment, _) in copy.closures.values_mut() {
            *environment = self.rename_frames(*environment, renaming, done);
        }
        self.frames[id] = copy;
        id
    }

    /// An integer expression of a frame's function in the linked one.
    pub(super) fn index(&mut self, frame: FrameId, index: &Index) -> Result<Index, LinkError> {
        let mut failure = None;
        let linked = index.substitute(&mut |atom| match self.atom(frame, atom) {
            Ok(replacement) => replacement,
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        });
        failure.map_or(Ok(linked), Err)
    }
    /// Integer expressions of a frame's function in the linked one.
    pub(super) fn indices(&mut self, frame: FrameId, list: &[Index]) -> Result<Vec<Index>, LinkError> {
        list.iter().map(|index| self.index(frame, index)).collect()
    }
    fn atom(&mut self, frame: FrameId, atom: &Atom) -> Result<Option<Index>, LinkError> {
        let names = &self.frames[frame];
        match atom {
            Atom::Dim(dim) => {
                let index = names.dims[sawmill_ir::entity::Entity::index(*dim)].clone();
                let name = &names.function.dims[*dim].name;
                index.map(Some).ok_or_else(|| self.error(format!("dim `{name}` is not determined")))
            }
            Atom::Axis(axis) => {
                let index = names.axes.get(axis).cloned();
                index.map(Some).ok_or_else(|| self.error(format!("axis {axis} is out of scope")))
            }
            Atom::Param(at) => {
                let term = names.params.get(*at as usize).copied();
                let term = term.ok_or_else(|| self.error(format!("closure parameter {at} is out of scope")))?;
                self.as_index(term).map(Some)
            }
            Atom::Read(tensor, subs) => match names.tensors.get(tensor).cloned() {
                Some(Bound::Tensor { id, subs: fixed }) => {
                    let open: Vec<Option<Index>> = subs.iter().cloned().map(Some).collect();
                    let full = Bound::Tensor { id, subs: fixed }.slice(&open);
                    Ok(Some(Index::atom(Atom::Read(id, full.subs().iter().flatten().cloned().collect()))))
                }
                Some(Bound::Fill(term)) => self.as_index(term).map(Some),
                Some(Bound::Packed { .. }) => Err(self.error("a packed value cannot be a subscript")),
                None => Err(self.error(format!("a subscript reads {tensor}, which is not bound"))),
            },
            _ => Ok(None),
        }
    }
    /// An integer term of the linked function as an integer expression; what is none becomes a definition of its own.
    pub(super) fn as_index(&mut self, term: TermId) -> Result<Index, LinkError> {
        let known = self.out.terms[term].clone();
        match known.op {
            Op::Index(index) => Ok(index),
            Op::Const(sawmill_ir::graph::Const::Int(value)) => Ok(Index::int(value)),
            Op::Cast(to) if to.is_int() && self.out.terms[known.args[0]].dtype.is_int() => self.as_index(known.args[0]),
            Op::Read { tensor, subs, guarded: false } => Ok(Index::atom(Atom::Read(tensor, subs))),
            _ => {
                let (id, subs) = self.define("index", term);
                Ok(Index::atom(Atom::Read(id, subs)))
            }
        }
    }
}
