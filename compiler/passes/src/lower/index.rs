//! Index expressions as values: scalars, tiles, subscripts.

use super::emit::{Emit, Stored};
use super::plan::entry;
use super::space::Symbol;
use super::{Lowered, Stop};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::{Const, Elem, TensorKind};
use sawmill_ir::index::{Atom, Index, TensorId};
use sawmill_ir::tile::builder::Sub;
use sawmill_ir::tile::{Access, Pad, Value};

impl Emit<'_> {
    /// An index over graph axes, over symbols.
    pub(super) fn symbolic(&self, index: &Index) -> Lowered<Index> {
        self.space.over_symbols(index).ok_or_else(|| Stop::Bug(format!("an axis of {index:?} is not bound here")))
    }

    /// The value of an index over graph axes, as `i64`.
    pub(super) fn index(&mut self, index: &Index) -> Lowered<Value> {
        let index = self.symbolic(index)?;
        self.index_value(&index)
    }

    /// The value of an index over symbols, as `i64`.
    pub(super) fn index_value(&mut self, index: &Index) -> Lowered<Value> {
        self.sized(index, |e| e.compute_index(index))
    }

    fn compute_index(&mut self, index: &Index) -> Lowered<Value> {
        // What only dims decide is one size; the rest is added to it.
        let mut size = Index::default();
        let mut rest = Vec::new();
        for (monomial, coefficient) in index.terms() {
            let term = product(monomial, coefficient);
            if is_size(&term) {
                size = size.add(&term);
            } else {
                rest.push((monomial.to_vec(), coefficient));
            }
        }
        let mut parts = Vec::new();
        for (monomial, coefficient) in rest {
            parts.push(self.monomial(&monomial, coefficient)?);
        }
        if size.as_int() != Some(0) || parts.is_empty() {
            parts.push(self.b.size(size)?);
        }
        if parts.len() == 1 { Ok(parts[0]) } else { self.elem(ElemOp::Add, &parts) }
    }

    fn monomial(&mut self, monomial: &[Atom], coefficient: i64) -> Lowered<Value> {
        let mut factors = Vec::new();
        for atom in monomial {
            factors.push(self.atom(atom)?);
        }
        if coefficient != 1 {
            factors.push(self.int(coefficient)?);
        }
        if factors.len() == 1 { Ok(factors[0]) } else { self.elem(ElemOp::Mul, &factors) }
    }

    fn atom(&mut self, atom: &Atom) -> Lowered<Value> {
        let pair = |e: &mut Self, op, a: &Index, b: &Index| {
            let args = [e.index_value(a)?, e.index_value(b)?];
            e.elem(op, &args)
        };
        match atom {
            Atom::Dim(_) => Ok(self.b.size(Index::atom(atom.clone()))?),
            Atom::Axis(axis) => match self.space.symbol_of(*axis) {
                Some(Symbol::Scalar(value)) => Ok(value),
                Some(Symbol::Tile(axis, _)) => {
                    let zero = self.int(0)?;
                    Ok(self.b.coord(axis, zero)?)
                }
                Some(Symbol::Free) | None => Err(Stop::Bug(format!("{axis} is not bound here"))),
            },
            Atom::Param(_) => Err(Stop::Bug("a closure's parameter in a linked function".to_owned())),
            Atom::Div(a, b) => pair(self, ElemOp::Div, a, b),
            Atom::Rem(a, b) => pair(self, ElemOp::Rem, a, b),
            Atom::Min(a, b) => pair(self, ElemOp::Min, a, b),
            Atom::Max(a, b) => pair(self, ElemOp::Max, a, b),
            Atom::BitLength(a) => {
                let x = self.index_value(a)?;
                let bits = self.elem(ElemOp::BitLength, &[x])?;
                Ok(self.b.cast(bits, DType::I64)?)
            }
            Atom::Read(tensor, subs) => {
                let value = self.load(*tensor, subs, false)?;
                Ok(self.b.cast(value, DType::I64)?)
            }
        }
    }

    /// An element of a tensor at subscripts over symbols. Unless `guarded`, data-dependent subscripts are clamped.
    pub(super) fn load(&mut self, tensor: TensorId, subs: &[Index], guarded: bool) -> Lowered<Value> {
        if let Some(local) = self.locals.get(&tensor).cloned() {
            return self.local(tensor, &local, subs);
        }
        let (stored, subs) = self.stored(tensor, subs)?;
        let mem = self.memory_of(stored.buffer, stored.at, Access::In);
        let shape = self.shape_of(tensor, stored.lists);
        let mut places = Vec::new();
        for (sub, size) in subs.iter().zip(&shape) {
            places.push(self.subscript(sub, size, guarded)?);
        }
        let dtype = self.b.kernel().memory[mem].dtype.widened();
        let pad = match dtype {
            DType::Bool => Const::Bool(false),
            d if d.is_float() => Const::float(0.0),
            _ => Const::Int(0),
        };
        Ok(self.b.load(mem, places, Pad::Value(pad), None)?)
    }

    /// Sizes of a tensor's own dimensions, without a list's.
    fn shape_of(&self, tensor: TensorId, lists: usize) -> Vec<Index> {
        self.program.function.tensors[tensor].shape[lists..].to_vec()
    }

    /// Where a tensor is; a list's element is chosen by the first subscripts.
    fn stored(&mut self, tensor: TensorId, subs: &[Index]) -> Lowered<(Stored, Vec<Index>)> {
        let function = self.program.function;
        let named = || function.tensors[tensor].name.clone();
        let stored = self.program.stored.get(&tensor).cloned();
        let mut stored = stored.ok_or_else(|| Stop::Bug(format!("`{}` is read before it is stored", named())))?;
        if stored.lists == 0 {
            stored.at = match &stored.at {
                Some(at) => Some(self.symbolic(at)?),
                None => None,
            };
            return Ok((stored, subs.to_vec()));
        }
        let split = subs.split_at_checked(stored.lists);
        let (at, rest) = split.ok_or_else(|| Stop::Bug(format!("`{}` is read without subscripts", named())))?;
        let at = entry(at, &function.tensors[tensor].shape);
        if !is_size(&at) {
            let what = format!("an element of the list `{}` chosen inside of a kernel", named());
            return Err(Stop::Unsupported(what));
        }
        stored.at = Some(at);
        Ok((stored, rest.to_vec()))
    }

    /// One subscript over symbols: a slice if it is affine, else a gather.
    pub(super) fn subscript(&mut self, sub: &Index, size: &Index, guarded: bool) -> Lowered<Sub> {
        let data = sub.reads_tensors();
        if let Some(affine) = self.space.affine(sub) {
            let mut base = self.index_value(&affine.base)?;
            if data && !guarded {
                base = self.clamp(base, size)?;
            }
            return Ok(Sub::Affine(base, affine.terms));
        }
        let mut at = self.index_value(sub)?;
        if data && !guarded {
            at = self.clamp(at, size)?;
        }
        Ok(Sub::Gather(at))
    }

    pub(super) fn clamp(&mut self, at: Value, size: &Index) -> Lowered<Value> {
        let last = self.index_value(&size.sub(&Index::int(1)))?;
        let zero = self.int(0)?;
        let below = self.elem(ElemOp::Min, &[at, last])?;
        self.elem(ElemOp::Max, &[below, zero])
    }

    /// The type a tensor is stored in.
    pub(super) fn storage(&self, tensor: TensorId) -> Lowered<DType> {
        storage(self.program.function, tensor)
    }
}

/// The type a tensor is stored in.
pub(super) fn storage(function: &sawmill_ir::graph::Function, tensor: TensorId) -> Lowered<DType> {
    let tensor = &function.tensors[tensor];
    match (&tensor.elem, &tensor.kind) {
        (Elem::Type(dtype), _) => Ok(*dtype),
        (_, TensorKind::Input(_)) => Err(Stop::Bug(format!("`{}` is still packed", tensor.name))),
        _ => Err(Stop::Bug(format!("`{}` has no element type", tensor.name))),
    }
}

fn product(monomial: &[Atom], coefficient: i64) -> Index {
    monomial.iter().fold(Index::int(coefficient), |p, a| p.mul(&Index::atom(a.clone())))
}

/// Whether only dims and constants occur.
pub(super) fn is_size(index: &Index) -> bool {
    let mut size = true;
    index.for_each_atom(&mut |atom| size &= !matches!(atom, Atom::Axis(_) | Atom::Param(_) | Atom::Read(..)));
    size
}
