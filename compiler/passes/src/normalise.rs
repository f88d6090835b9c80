//! Normalisation: primitive reductions only, absence made explicit, known sizes put in.
//!
//! In: a linked function. Out: a linked function with the same values, in which
//! - reductions are primitive, softmax, mean and logsumexp are written out;
//! - every term is present but for the operand of a reduction, which may be `where(x, c)`: the reduction skips what fails `c`;
//! - a guarded read is used only where its subscripts are in range: its value elsewhere never reaches a result;
//! - `or` is a choice on the condition under which its left side is present;
//! - compile-time sizes are numbers, arithmetic on positions is inside index expressions.
//!
//! Presence is carried beside the value through every term, as a condition over its axes; a definition with absent elements
//! is stored as zero there, and its condition travels to its readers.

mod composite;
mod prove;
mod substitute;
mod terms;

pub(crate) use prove::{is_natural, least};
use substitute::Positions;
pub(crate) use terms::Terms;

use rustc_hash::FxHashMap;
use sawmill_ir::backend::CompileError;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Const, DimKind, Elem, Function, Op, Stmt, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use std::collections::BTreeMap;

/// A value and where it is present; `None` is everywhere.
#[derive(Clone, Copy)]
struct Split {
    value: TermId,
    present: Option<TermId>,
}

struct Normaliser<'a> {
    source: &'a Function,
    out: Function,
    terms: Terms,
    /// Where definitions with absent elements are present, over their axes.
    presence: BTreeMap<TensorId, TermId>,
    memo: FxHashMap<TermId, Split>,
}

/// Writes `function` (linked) in primitive reductions and explicit conditions.
pub fn normalise(function: &Function) -> Result<Function, CompileError> {
    let mut out = function.clone();
    out.terms = Default::default();
    let mut pass = Normaliser {
        source: function,
        out,
        terms: Terms::default(),
        presence: BTreeMap::new(),
        memo: FxHashMap::default(),
    };
    pass.put_in_sizes();
    pass.defaults()?;
    pass.block(&function.body)?;
    let Normaliser { mut out, terms, .. } = pass;
    out.terms = terms.finish();
    Ok(out)
}

/// The value of a compile-time size.
fn known(function: &Function, atom: &Atom) -> Option<Index> {
    match atom {
        Atom::Dim(dim) => match function.dims[*dim].kind {
            DimKind::Const(Some(value)) => Some(Index::int(value)),
            _ => None,
        },
        _ => None,
    }
}

impl Normaliser<'_> {
    fn sized(&self, index: &Index) -> Index {
        index.substitute(&mut |atom| known(self.source, atom))
    }
    fn put_in_sizes(&mut self) {
        for axis in self.source.axes.keys() {
            self.out.axes[axis].extent = self.sized(&self.source.axes[axis].extent);
        }
        for tensor in self.source.tensors.keys() {
            let shape = self.source.tensors[tensor].shape.iter().map(|s| self.sized(s)).collect();
            self.out.tensors[tensor].shape = shape;
        }
    }
    fn defaults(&mut self) -> Result<(), CompileError> {
        for tensor in self.source.tensors.keys() {
            if let TensorKind::Input(input) = &self.source.tensors[tensor].kind
                && let Some(term) = input.default
            {
                let value = self.split(term)?.value;
                if let TensorKind::Input(input) = &mut self.out.tensors[tensor].kind {
                    input.default = Some(value);
                }
            }
        }
        Ok(())
    }
    fn block(&mut self, body: &[Stmt]) -> Result<(), CompileError> {
        for stmt in body {
            match stmt {
                Stmt::Define(tensor) => self.define(*tensor)?,
                Stmt::Loop(inner) => self.block(&inner.body)?,
            }
        }
        Ok(())
    }
    fn define(&mut self, tensor: TensorId) -> Result<(), CompileError> {
        let old = &self.source.tensors[tensor];
        match &old.kind {
            TensorKind::Def { value, rounded, .. } => {
                let mut split = self.split(*value)?;
                let is_output = self.source.outputs.contains(&tensor);
                if let (true, Elem::Type(to)) = (*rounded || is_output, &old.elem) {
                    split.value = self.round(split.value, *to);
                    // Elements that share bytes cannot be written by themselves: what is no output is kept in a wider type.
                    if to.bits() < 8 && !is_output {
                        self.out.tensors[tensor].elem = Elem::Type(to.in_bytes());
                    }
                }
                let new_value = self.filled(tensor, split);
                if let TensorKind::Def { value, .. } = &mut self.out.tensors[tensor].kind {
                    *value = new_value;
                }
            }
            TensorKind::Append { value, at, .. } => {
                let split = self.split(*value)?;
                let position = at.iter().map(|s| self.sized(s)).collect();
                if let TensorKind::Append { value, at, .. } = &mut self.out.tensors[tensor].kind {
                    (*value, *at) = (split.value, position);
                }
            }
            _ => return Err(self.bug(format!("{tensor} is defined in the body but is no definition"))),
        }
        Ok(())
    }
    /// The value with zeros where it is absent; the condition is kept for readers.
    fn filled(&mut self, tensor: TensorId, split: Split) -> TermId {
        let Some(present) = split.present else { return split.value };
        self.presence.insert(tensor, present);
        let dtype = self.terms.get(split.value).dtype;
        let zero = match dtype {
            DType::Bool => self.terms.truth(false),
            other => self.terms.number(0.0, other),
        };
        self.terms.elem(ElemOp::Select, vec![present, split.value, zero])
    }
    fn round(&mut self, x: TermId, to: DType) -> TermId {
        if to == self.terms.get(x).dtype { x } else { self.terms.add(Op::Round(to), vec![x], to.widened()) }
    }

    fn split(&mut self, id: TermId) -> Result<Split, CompileError> {
        if let Some(done) = self.memo.get(&id) {
            return Ok(*done);
        }
        let done = self.split_term(id)?;
        self.memo.insert(id, done);
        Ok(done)
    }
    fn split_term(&mut self, id: TermId) -> Result<Split, CompileError> {
        let term = &self.source.terms[id];
        let args = &term.args;
        let whole = |value| Split { value, present: None };
        Ok(match &term.op {
            Op::Const(c) => whole(self.terms.add(Op::Const(*c), Vec::new(), term.dtype)),
            Op::Index(index) => {
                let index = self.sized(index);
                whole(self.terms.index(index))
            }
            Op::Read { tensor, subs, guarded } => {
                let subs: Vec<Index> = subs.iter().map(|s| self.sized(s)).collect();
                self.read(*tensor, subs, *guarded, term.dtype)
            }
            Op::Elem(ElemOp::Select) => self.select(args)?,
            Op::Elem(op) => {
                let parts = self.split_all(args)?;
                let present = self.all_present(&parts);
                Split { value: self.terms.elem(*op, parts.iter().map(|p| p.value).collect()), present }
            }
            Op::Cast(to) => {
                let x = self.split(args[0])?;
                Split { value: self.terms.cast(x.value, *to), ..x }
            }
            Op::Round(to) => {
                let x = self.split(args[0])?;
                Split { value: self.round(x.value, *to), ..x }
            }
            Op::Where => {
                let (x, c) = (self.split(args[0])?, self.split(args[1])?);
                let holds = self.terms.guarded(c.present, c.value);
                let holds = if self.terms.get(holds).op == Op::Const(Const::Bool(true)) { None } else { Some(holds) };
                let before = match holds {
                    Some(c) => x.present.and_then(|p| self.needed(p, c, true)),
                    None => x.present,
                };
                Split { value: x.value, present: self.terms.both(before, holds) }
            }
            Op::OrElse => self.or_else(args)?,
            Op::Reduce { op, axes, segment: None } => {
                let x = self.split(args[0])?;
                let mut result = self.reduction(*op, axes, x)?;
                if let Some(initial) = args.get(1) {
                    let initial = self.split(*initial)?;
                    let present = self.both_parts(&result, &initial);
                    result = Split { value: self.combine(*op, result.value, initial.value)?, present };
                }
                result
            }
            Op::Softmax { axes } => {
                let x = self.split(args[0])?;
                Split { value: self.softmax(axes, x), present: x.present }
            }
            other => return Err(CompileError::Unsupported(format!("{other:?} is not compiled yet"))),
        })
    }
    fn split_all(&mut self, args: &[TermId]) -> Result<Vec<Split>, CompileError> {
        args.iter().map(|a| self.split(*a)).collect()
    }
    fn all_present(&mut self, parts: &[Split]) -> Option<TermId> {
        parts.iter().fold(None, |all, part| self.terms.both(all, part.present))
    }
    fn both_parts(&mut self, a: &Split, b: &Split) -> Option<TermId> {
        self.terms.both(a.present, b.present)
    }
    fn select(&mut self, args: &[TermId]) -> Result<Split, CompileError> {
        let parts = self.split_all(args)?;
        let [c, a, b] = parts.as_slice() else {
            return Err(self.bug("a choice takes three operands".to_owned()));
        };
        let value = self.terms.elem(ElemOp::Select, vec![c.value, a.value, b.value]);
        let chosen = if a.present.is_none() && b.present.is_none() {
            None
        } else {
            let yes = self.terms.truth(true);
            let then = a.present.and_then(|p| self.needed(p, c.value, true));
            let otherwise = b.present.and_then(|p| self.needed(p, c.value, false));
            let arms = vec![c.value, then.unwrap_or(yes), otherwise.unwrap_or(yes)];
            Some(self.terms.elem(ElemOp::Select, arms))
        };
        let chosen = chosen.filter(|t| self.terms.get(*t).op != Op::Const(Const::Bool(true)));
        let present = match chosen {
            None => c.present,
            Some(chosen) => Some(self.terms.guarded(c.present, chosen)),
        };
        Ok(Split { value, present })
    }
    fn or_else(&mut self, args: &[TermId]) -> Result<Split, CompileError> {
        let (a, b) = (self.split(args[0])?, self.split(args[1])?);
        let Some(there) = a.present else { return Ok(a) };
        let value = self.terms.elem(ElemOp::Select, vec![there, a.value, b.value]);
        let present = b.present.map(|other| self.terms.elem(ElemOp::Or, vec![there, other]));
        Ok(Split { value, present })
    }
    fn read(&mut self, tensor: TensorId, subs: Vec<Index>, guarded: bool, dtype: DType) -> Split {
        let mut present = None;
        if guarded {
            let sizes = self.out.tensors[tensor].shape.clone();
            for (sub, size) in subs.iter().zip(&sizes) {
                let inside = self.in_range(sub, size);
                present = self.terms.both(present, inside);
            }
        }
        if let (Some(condition), TensorKind::Def { axes, .. }) =
            (self.presence.get(&tensor).copied(), &self.source.tensors[tensor].kind)
        {
            let positions: Positions = axes.iter().copied().zip(subs.iter().cloned()).collect();
            let there = self.substitute(condition, &positions);
            let there = self.terms.guarded(present, there);
            present = Some(there);
        }
        let guarded = guarded && present.is_some();
        Split { value: self.terms.add(Op::Read { tensor, subs, guarded }, Vec::new(), dtype), present }
    }
    /// The condition that `sub` lies in `0..size`, if it isn't plain.
    fn in_range(&mut self, sub: &Index, size: &Index) -> Option<TermId> {
        if sub.as_axis().is_some_and(|a| self.out.axes[a].extent == *size) {
            return None;
        }
        let (at, end, zero) =
            (self.terms.index(sub.clone()), self.terms.index(size.clone()), self.terms.index(0.into()));
        let above = (!self.is_nonnegative(sub, &[])).then(|| self.terms.elem(ElemOp::Le, vec![zero, at]));
        let room = size.sub(sub).sub(&Index::int(1));
        let below = (!self.is_nonnegative(&room, &[])).then(|| self.terms.elem(ElemOp::Lt, vec![at, end]));
        self.terms.both(above, below)
    }
    fn reduction(&mut self, op: ReduceOp, axes: &[AxisId], x: Split) -> Result<Split, CompileError> {
        let value = match op {
            ReduceOp::Mean => self.mean(axes, x),
            ReduceOp::LogSumExp => self.log_sum_exp(axes, x),
            primitive => self.reduce(primitive, axes.to_vec(), x),
        };
        let present = if op.chooses() { self.some_element(axes, x) } else { None };
        Ok(Split { value, present })
    }
    /// The condition that a row has an element.
    fn some_element(&mut self, axes: &[AxisId], x: Split) -> Option<TermId> {
        let size = axes.iter().fold(Index::int(1), |n, a| n.mul(&self.out.axes[*a].extent));
        let (zero, size) = (self.terms.index(0.into()), self.terms.index(size));
        let Some(c) = x.present else {
            let there = self.terms.elem(ElemOp::Lt, vec![zero, size]);
            return self
                .terms
                .both(None, Some(there))
                .filter(|t| self.terms.get(*t).op != Op::Const(Const::Bool(true)));
        };
        let (positions, fresh) = self.refresh(axes, &Positions::new());
        let value = self.substitute(c, &positions);
        Some(self.reduce(ReduceOp::Any, fresh, Split { value, present: None }))
    }
    /// A reduction's result with one more element.
    fn combine(&mut self, op: ReduceOp, a: TermId, b: TermId) -> Result<TermId, CompileError> {
        let elem = match op {
            ReduceOp::Sum => ElemOp::Add,
            ReduceOp::Prod => ElemOp::Mul,
            ReduceOp::Max => ElemOp::Max,
            ReduceOp::Min => ElemOp::Min,
            ReduceOp::Any => ElemOp::Or,
            ReduceOp::All => ElemOp::And,
            other => {
                let what = format!("an initial element of the reduction `{other}` is not compiled yet");
                return Err(CompileError::Unsupported(what));
            }
        };
        Ok(self.terms.elem(elem, vec![a, b]))
    }
    fn bug(&self, message: String) -> CompileError {
        CompileError::Bug { message, text: format!("{:#?}", self.source) }
    }
}
