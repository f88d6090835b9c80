//! Terms as tiles.

use super::emit::Emit;
use super::{Lowered, Stop};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Const, Op, Term, TermId};
use sawmill_ir::tile::Value;

impl Emit<'_> {
    /// The value of a term under the placements of now.
    pub(super) fn term(&mut self, id: TermId) -> Lowered<Value> {
        Ok(self.terms(id)?[0])
    }

    /// The values of a term: one, or one for each component of a fold.
    fn terms(&mut self, id: TermId) -> Lowered<Vec<Value>> {
        let id = self.shared.get(&id).copied().unwrap_or(id);
        let stamp = self.stamp(&[id]).ok_or_else(|| Stop::Bug(format!("an axis of {id} is not bound here")))?;
        if let Some(values) = self.recall(&[id], &stamp) {
            return Ok(values);
        }
        let values = self.compute(id)?;
        self.remember(&[id], stamp, values.clone());
        Ok(values)
    }

    fn compute(&mut self, id: TermId) -> Lowered<Vec<Value>> {
        let function = self.program.function;
        let term = &function.terms[id];
        Ok(vec![match &term.op {
            Op::Const(value) => self.constant(*value, term.dtype)?,
            Op::Index(index) => self.index(index)?,
            Op::Read { tensor, subs, guarded } => {
                let subs = subs.iter().map(|s| self.symbolic(s)).collect::<Lowered<Vec<_>>>()?;
                self.load(*tensor, &subs, *guarded)?
            }
            Op::Elem(op) => self.elementwise(*op, term)?,
            Op::Cast(to) => {
                let mut x = self.term(term.args[0])?;
                if !self.fits(term.args[0], *to) {
                    x = self.saturated(x, *to)?;
                }
                self.b.cast(x, *to)?
            }
            Op::Round(to) => {
                let x = self.term(term.args[0])?;
                let x = self.saturated(x, *to)?;
                self.b.round(x, *to)?
            }
            Op::Reduce { op, axes, segment: None } if (op.is_primitive() || op.chooses()) && term.args.len() == 1 => {
                self.reduction(*op, axes, term.args[0])?
            }
            Op::Fold { axes, components } => return self.fold(axes, components, &term.args),
            Op::Proj(component) => {
                let all = self.terms(term.args[0])?;
                *all.get(*component as usize).ok_or_else(|| Stop::Bug(format!("{id}: a fold has no such component")))?
            }
            Op::Old(component) => self.state(*component)?.0,
            Op::New(component) => {
                let new = self.state(*component)?.1;
                new.ok_or_else(|| Stop::Bug(format!("{id}: a component of a fold reads what is computed after it")))?
            }
            other => return Err(Stop::Unsupported(format!("{other:?} is not lowered yet"))),
        }])
    }

    /// Whether a term is a position that an integer type holds wherever it is computed here.
    fn fits(&self, id: TermId, to: DType) -> bool {
        let Op::Index(index) = &self.program.function.terms[id].op else { return false };
        let range = self.space.over_symbols(index).and_then(|index| self.space.range(&index));
        range.zip(to.int_bounds()).is_some_and(|((low, high), (least, greatest))| least <= low && high <= greatest)
    }

    /// An integer brought into the range of another integer type, as a conversion to it does; anything else as it is.
    pub(super) fn saturated(&mut self, x: Value, to: DType) -> Lowered<Value> {
        let from = self.b.type_of(x).dtype;
        let (Some((least, greatest)), Some((low, high))) = (from.int_bounds(), to.int_bounds()) else { return Ok(x) };
        let mut x = x;
        for (op, bound, needed) in [(ElemOp::Max, low, least < low), (ElemOp::Min, high, greatest > high)] {
            if needed {
                let bound = self.b.constant(Const::Int(bound), from)?;
                x = self.b.elem(op, &[x, bound])?;
            }
        }
        Ok(x)
    }

    fn state(&self, component: u32) -> Lowered<(Value, Option<Value>)> {
        let state = self.folds.last().ok_or_else(|| Stop::Bug("the state of a fold outside of it".to_owned()))?;
        let at = component as usize;
        match (state.old.get(at), state.new.get(at)) {
            (Some(old), Some(new)) => Ok((*old, *new)),
            _ => Err(Stop::Bug("the state of a component that the fold does not have".to_owned())),
        }
    }

    fn elementwise(&mut self, op: ElemOp, term: &Term) -> Lowered<Value> {
        if op == ElemOp::Sub {
            let x = self.term(term.args[0])?;
            let shift = self.shift(term.args[1])?;
            return self.elem(op, &[x, shift]);
        }
        if let (ElemOp::Add, [a, b]) = (op, term.args.as_slice())
            && term.dtype.is_float()
        {
            for (product, addend) in [(*a, *b), (*b, *a)] {
                let inner = &self.program.function.terms[product];
                if let (Op::Elem(ElemOp::Mul), [x, y]) = (&inner.op, inner.args.as_slice()) {
                    let args = [self.term(*x)?, self.term(*y)?, self.term(addend)?];
                    return Ok(self.b.fma(args[0], args[1], args[2])?);
                }
            }
        }
        let args = term.args.iter().map(|a| self.term(*a)).collect::<Lowered<Vec<_>>>()?;
        self.elem(op, &args)
    }

    /// What is taken off. The running maximum of a row that has had only -inf is -inf; nothing is taken off then, for
    /// whatever it is taken off from is -inf as well.
    fn shift(&mut self, id: TermId) -> Lowered<Value> {
        let value = self.term(id)?;
        let function = self.program.function;
        let term = &function.terms[id];
        let maximum = match &term.op {
            Op::New(component) | Op::Old(component) => {
                self.folds.last().is_some_and(|s| s.maxima.get(*component as usize) == Some(&true))
            }
            Op::Reduce { op: ReduceOp::Max, .. } => true,
            Op::Proj(component) => match &function.terms[term.args[0]].op {
                Op::Fold { components, .. } => {
                    components.get(*component as usize).is_some_and(|c| c.op == ReduceOp::Max)
                }
                _ => false,
            },
            _ => false,
        };
        if !maximum || !term.dtype.is_float() {
            return Ok(value);
        }
        let bottom = self.constant(Const::float(f64::NEG_INFINITY), term.dtype)?;
        let zero = self.constant(Const::float(0.0), term.dtype)?;
        let empty = self.elem(ElemOp::Eq, &[value, bottom])?;
        self.elem(ElemOp::Select, &[empty, zero, value])
    }

    /// The product of several terms, computed once.
    pub(super) fn product(&mut self, factors: &[TermId]) -> Lowered<Value> {
        // Sorted, so that one set of factors is one product.
        let mut factors = factors.to_vec();
        factors.sort_unstable();
        let factors = factors.as_slice();
        let [first, rest @ ..] = factors else { return Err(Stop::Bug("a product of nothing".to_owned())) };
        if rest.is_empty() {
            return self.term(*first);
        }
        let stamp =
            self.stamp(factors).ok_or_else(|| Stop::Bug("an axis of a product is not bound here".to_owned()))?;
        if let Some(values) = self.recall(factors, &stamp) {
            return Ok(values[0]);
        }
        let args = factors.iter().map(|f| self.term(*f)).collect::<Lowered<Vec<_>>>()?;
        let value = self.elem(ElemOp::Mul, &args)?;
        self.remember(factors, stamp, vec![value]);
        Ok(value)
    }

    /// What combining nothing gives.
    pub(super) fn identity(&mut self, op: ReduceOp, dtype: DType) -> Lowered<Value> {
        let unsigned = matches!(dtype, DType::U32);
        let (least, greatest) = match dtype {
            DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            DType::U32 => (0, i64::from(u32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let float = dtype.is_float();
        let constant = match op {
            ReduceOp::Any => Const::Bool(false),
            ReduceOp::All => Const::Bool(true),
            ReduceOp::Prod if float => Const::float(1.0),
            ReduceOp::Prod => Const::Int(1),
            ReduceOp::Max | ReduceOp::ArgMax if float => Const::float(f64::NEG_INFINITY),
            ReduceOp::Min | ReduceOp::ArgMin if float => Const::float(f64::INFINITY),
            ReduceOp::Max | ReduceOp::ArgMax if unsigned => Const::Int(0),
            ReduceOp::Max | ReduceOp::ArgMax => Const::Int(least),
            ReduceOp::Min | ReduceOp::ArgMin => Const::Int(greatest),
            _ if float => Const::float(0.0),
            _ => Const::Int(0),
        };
        self.constant(constant, dtype)
    }
}
