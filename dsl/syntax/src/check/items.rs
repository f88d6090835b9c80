//! What a block declares and imports: the tables that names in types and calls are looked up in.

use crate::ast::{Cache, Struct};
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{ClosureId, DimKind, Elem, Format, Function, Require};
use sawmill_ir::index::{Atom, DimId, Index, TensorId};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that a function of the block can name.
#[derive(Clone, Debug, Default)]
pub struct Items {
    /// Structs by name.
    pub structs: BTreeMap<String, Struct>,
    /// Caches by name.
    pub caches: BTreeMap<String, Cache>,
    /// Formats by name.
    pub formats: BTreeMap<String, Format>,
    /// Functions by name.
    pub functions: BTreeMap<String, Callable>,
}

/// Type of a value that a closure is given, and its range if it is a position with a known one.
pub type Given = (DType, Option<(Index, Index)>);

/// A function as its callers see it.
#[derive(Clone, Debug)]
pub struct Callable {
    /// Dims, requirements, inputs and closure parameters; no body.
    pub heading: Function,
    /// The parameters in order.
    pub params: Vec<Parameter>,
    /// The outputs in order.
    pub outputs: Vec<Output>,
    /// Of each closure parameter: type and range of what it is applied to.
    pub given: Vec<Vec<Given>>,
    /// Cache parameters that the function, or what it calls, appends to, each with the number of positions where a caller can
    /// know it.
    pub pushes: BTreeMap<String, Option<Index>>,
}

/// A parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The caller may leave it out.
    pub optional: bool,
    /// What it takes.
    pub kind: ParameterKind,
}

/// What a parameter takes.
#[derive(Clone, Debug)]
pub enum ParameterKind {
    /// A scalar or tensor.
    Tensor(TensorId),
    /// A struct or cache: its tensors by the name behind the parameter's own.
    Record {
        /// The struct's or cache's name; empty for lists of tensors.
        ty: String,
        /// How many lists are around one: 0 for one alone.
        lists: usize,
        /// It is a cache.
        cache: bool,
        /// The tensors, dotted names without the parameter's; of lists of tensors the one without a name.
        fields: Vec<(String, TensorId)>,
    },
    /// A closure.
    Closure(ClosureId),
}

/// An output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What is stored.
    pub elem: Elem,
    /// Its sizes.
    pub shape: Vec<Index>,
    /// The half-open range that its integers lie in.
    pub promise: Option<(Index, Index)>,
}

impl Callable {
    /// The first dim that has no default and follows from no required argument and no equation.
    pub fn free_dim(&self) -> Option<&str> {
        let mut bound: BTreeSet<DimId> = BTreeSet::new();
        for (id, dim) in self.heading.dims.iter() {
            if matches!(dim.kind, DimKind::Const(Some(_))) {
                bound.insert(id);
            }
        }
        for param in self.params.iter().filter(|param| !param.optional) {
            let tensors: Vec<TensorId> = match &param.kind {
                ParameterKind::Tensor(id) => vec![*id],
                ParameterKind::Record { fields, .. } => fields.iter().map(|(_, id)| *id).collect(),
                ParameterKind::Closure(_) => Vec::new(),
            };
            for size in tensors.iter().flat_map(|id| &self.heading.tensors[*id].shape) {
                if let Some(Atom::Dim(dim)) = size.as_atom() {
                    bound.insert(*dim);
                }
            }
        }
        self.bound_by_equations(&mut bound);
        self.heading.dims.iter().find(|(id, _)| !bound.contains(id)).map(|(_, dim)| dim.name.as_str())
    }

    fn bound_by_equations(&self, bound: &mut BTreeSet<DimId>) {
        let before = bound.len();
        for require in &self.heading.requires {
            let Require::Equal(a, b) = require else { continue };
            let mut open = BTreeSet::new();
            a.sub(b).for_each_atom(&mut |atom| {
                if let Atom::Dim(dim) = atom
                    && !bound.contains(dim)
                {
                    open.insert(*dim);
                }
            });
            if open.len() == 1 {
                bound.extend(open);
            }
        }
        if bound.len() > before {
            self.bound_by_equations(bound);
        }
    }

    /// The type in which an element of this type computes.
    pub fn computes_in(&self, elem: &Elem) -> DType {
        computes_in(&self.heading, elem)
    }
}

/// The type in which an element of `elem` computes: type parameters and formats stand for 32 bits.
pub(crate) fn computes_in(function: &Function, elem: &Elem) -> DType {
    match elem {
        Elem::Type(dtype) => dtype.widened(),
        Elem::Param(number) => match function.type_params.get(*number as usize) {
            Some(param) if param.int => DType::I32,
            _ => DType::F32,
        },
        Elem::Format(_) => DType::F32,
    }
}
