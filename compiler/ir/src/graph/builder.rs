//! Builds functions of graph IR piece by piece.
//!
//! In: dims, axes, tensors and operations, in the order in which they depend on each other. Out: a [`Function`] whose terms
//! have the types that the tables give them. Leaves are shared: asking twice for one read gives one term. A mistake is an
//! error of the call that makes it; what needs the whole function (scopes, ranks, order) is left to `verify`.

use super::typing::{self, Scope};
use super::{Axis, ClosureId, ClosureParam};
use super::{
    Const, Dim, DimKind, Elem, Function, Input, Op, Param, Require, Stmt, Tensor, TensorKind, Term, TermId, TypeParam,
};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::index::{AxisId, DimId, Index, TensorId};
use rustc_hash::FxHashMap;

/// A function under construction.
#[derive(Debug, Default)]
pub struct Builder {
    function: Function,
    leaves: FxHashMap<(Op, DType), TermId>,
}

impl Builder {
    /// A function without arguments or equations.
    pub fn new(name: &str) -> Self {
        Self { function: Function { name: name.to_owned(), ..Function::default() }, leaves: FxHashMap::default() }
    }
    /// The function so far.
    pub fn function(&self) -> &Function {
        &self.function
    }
    /// Appends a size.
    pub fn dim(&mut self, name: &str, kind: DimKind) -> DimId {
        self.function.dims.push(Dim { name: name.to_owned(), kind })
    }
    /// Appends an element-type parameter.
    pub fn type_param(&mut self, name: &str, int: bool) -> Elem {
        self.function.type_params.push(TypeParam { name: name.to_owned(), int });
        Elem::Param(u32::try_from(self.function.type_params.len() - 1).expect("fewer than 2^32 type parameters"))
    }
    /// Adds a requirement on sizes.
    pub fn require(&mut self, require: Require) {
        self.function.requires.push(require);
    }
    /// Appends an axis over `0..extent`.
    pub fn axis(&mut self, name: &str, extent: Index) -> AxisId {
        self.function.axes.push(Axis { name: name.to_owned(), extent })
    }
    /// Appends an argument to the signature.
    pub fn input(&mut self, name: &str, elem: Elem, shape: Vec<Index>, input: Input) -> TensorId {
        let tensor = Tensor { name: name.to_owned(), elem, shape, kind: TensorKind::Input(input) };
        let id = self.function.tensors.push(tensor);
        self.function.params.push(Param::Tensor(id));
        id
    }
    /// Appends a closure to the signature.
    pub fn closure(&mut self, closure: ClosureParam) -> ClosureId {
        let id = self.function.closures.push(closure);
        self.function.params.push(Param::Closure(id));
        id
    }
    /// Gives an argument, appended earlier, its default.
    ///
    /// # Errors
    /// If `tensor` is not an argument.
    pub fn set_default(&mut self, tensor: TensorId, value: TermId) -> Result<(), String> {
        match self.function.tensors.get(tensor).map(|t| &t.kind) {
            Some(TensorKind::Input(_)) => {}
            _ => return Err("only an argument has a default".to_owned()),
        }
        if let TensorKind::Input(input) = &mut self.function.tensors[tensor].kind {
            input.default = Some(value);
        }
        Ok(())
    }
    /// Gives a closure parameter, appended earlier, its default.
    ///
    /// # Errors
    /// If there is no such closure.
    pub fn set_closure_default(&mut self, closure: ClosureId, value: super::Closure) -> Result<(), String> {
        if self.function.closures.get(closure).is_none() {
            return Err("an unknown closure has no default".to_owned());
        }
        self.function.closures[closure].default = Some(value);
        Ok(())
    }
    /// Appends a tensor without a statement: parts of a loop are put together by the caller.
    pub fn tensor(&mut self, tensor: Tensor) -> TensorId {
        self.function.tensors.push(tensor)
    }
    /// Appends `name[axes] = value`, without its statement. Without `elem` it holds what `value` computes in.
    ///
    /// # Errors
    /// If an axis or the value is unknown.
    pub fn define(
        &mut self,
        name: &str,
        elem: Option<Elem>,
        axes: Vec<AxisId>,
        value: TermId,
        rounded: bool,
    ) -> Result<TensorId, String> {
        let shape = self.extents(&axes)?;
        let dtype = self.dtype(value)?;
        let elem = elem.unwrap_or(Elem::Type(dtype));
        let kind = TensorKind::Def { axes, value, rounded };
        Ok(self.function.tensors.push(Tensor { name: name.to_owned(), elem, shape, kind }))
    }
    /// Appends `base` with `value` appended along `dim`, without its statement.
    ///
    /// # Errors
    /// If the slab does not fit the base.
    pub fn append(
        &mut self,
        name: &str,
        (base, at): (TensorId, Vec<Index>),
        dim: u32,
        axes: Vec<AxisId>,
        value: TermId,
    ) -> Result<TensorId, String> {
        let slab = self.extents(&axes)?;
        self.dtype(value)?;
        let tensor = self.function.tensors.get(base).ok_or("an append to an unknown tensor")?;
        let elem = tensor.elem.clone();
        let mut shape = tensor.shape.get(at.len()..).ok_or("an append to too deep an element")?.to_vec();
        match (shape.len() == slab.len(), shape.get_mut(dim as usize), slab.get(dim as usize)) {
            (true, Some(size), Some(more)) => *size = size.add(more),
            _ => {
                return Err(format!(
                    "a slab of rank {} is appended along dimension {dim} of rank {}",
                    slab.len(),
                    shape.len()
                ));
            }
        }
        let kind = TensorKind::Append { base, at, dim, axes, value };
        Ok(self.function.tensors.push(Tensor { name: name.to_owned(), elem, shape, kind }))
    }
    fn extents(&self, axes: &[AxisId]) -> Result<Vec<Index>, String> {
        let extents = axes.iter().map(|a| self.function.axes.get(*a).map(|a| a.extent.clone()));
        extents.collect::<Option<_>>().ok_or_else(|| "an unknown axis".to_owned())
    }
    /// The computing type of a term.
    ///
    /// # Errors
    /// If it is unknown.
    pub fn dtype(&self, term: TermId) -> Result<DType, String> {
        self.function.terms.get(term).map(|t| t.dtype).ok_or_else(|| "an unknown term".to_owned())
    }
    /// Appends a statement to the body.
    pub fn push(&mut self, stmt: Stmt) {
        self.function.body.push(stmt);
    }
    /// Appends an operation; its type follows from its operands.
    ///
    /// # Errors
    /// If the operands do not fit.
    pub fn term(&mut self, op: Op, args: Vec<TermId>) -> Result<TermId, String> {
        self.term_in(op, args, &Scope::default())
    }
    /// Appends an operation inside a fold or a closure.
    ///
    /// # Errors
    /// If the operands do not fit.
    pub fn term_in(&mut self, op: Op, args: Vec<TermId>, scope: &Scope) -> Result<TermId, String> {
        let dtype = typing::infer(&self.function, &op, &args, scope)?;
        Ok(self.typed(op, args, dtype))
    }
    /// Appends an operation of a stated type: constants, calls, parameters of closures. Leaves are shared.
    pub fn typed(&mut self, op: Op, args: Vec<TermId>, dtype: DType) -> TermId {
        if !args.is_empty() {
            return self.function.terms.push(Term { op, args, dtype });
        }
        let terms = &mut self.function.terms;
        *self.leaves.entry((op.clone(), dtype)).or_insert_with(|| terms.push(Term { op, args, dtype }))
    }
    /// An element of a tensor, in range.
    ///
    /// # Errors
    /// If the tensor is unknown.
    pub fn read(&mut self, tensor: TensorId, subs: Vec<Index>) -> Result<TermId, String> {
        self.term(Op::Read { tensor, subs, guarded: false }, Vec::new())
    }
    /// The value of an integer expression, as `i64`.
    pub fn index(&mut self, index: Index) -> TermId {
        self.typed(Op::Index(index), Vec::new(), DType::I64)
    }
    /// An `f32` constant.
    pub fn float(&mut self, value: f64) -> TermId {
        self.typed(Op::Const(Const::float(value)), Vec::new(), DType::F32)
    }
    /// An elementwise operation.
    ///
    /// # Errors
    /// If the operands do not fit.
    pub fn elem(&mut self, op: ElemOp, args: &[TermId]) -> Result<TermId, String> {
        self.term(Op::Elem(op), args.to_vec())
    }
    /// A reduction of `of` over `axes`.
    ///
    /// # Errors
    /// If the operand does not fit.
    pub fn reduce(&mut self, op: ReduceOp, axes: Vec<AxisId>, of: TermId) -> Result<TermId, String> {
        self.term(Op::Reduce { op, axes, segment: None }, vec![of])
    }
    /// The finished function, with these outputs.
    ///
    /// # Errors
    /// If an output is unknown.
    pub fn finish(mut self, outputs: Vec<TensorId>) -> Result<Function, String> {
        if outputs.iter().any(|o| self.function.tensors.get(*o).is_none()) {
            return Err("an unknown tensor is an output".to_owned());
        }
        self.function.outputs = outputs;
        Ok(self.function)
    }
}
