//! Composite reductions written out in primitive ones, by the language's conventions.
//!
//! In: an element and where it is present. Out: terms over primitive reductions. Maxima are taken off before
//! exponentials; where a maximum is -inf nothing is taken off, so a row of -inf has sum 0 and softmax 0.

use super::{Normaliser, Split};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Op, TermId};
use sawmill_ir::index::{AxisId, Index};

impl Normaliser<'_> {
    /// A reduction of the present elements.
    pub(super) fn reduce(&mut self, op: ReduceOp, axes: Vec<AxisId>, x: Split) -> TermId {
        let dtype = self.terms.get(x.value).dtype;
        let element = match x.present {
            Some(c) => self.terms.add(Op::Where, vec![x.value, c], dtype),
            None => x.value,
        };
        let dtype = if op.gives_position() { DType::I64 } else { dtype };
        self.terms.add(Op::Reduce { op, axes, segment: None }, vec![element], dtype)
    }

    /// Sum over number of elements; 0 of nothing.
    pub(super) fn mean(&mut self, axes: &[AxisId], x: Split) -> TermId {
        let dtype = self.terms.get(x.value).dtype;
        let sum = self.reduce(ReduceOp::Sum, axes.to_vec(), x);
        let count = match x.present {
            None => {
                let size = axes.iter().fold(Index::int(1), |n, a| n.mul(&self.out.axes[*a].extent));
                let size = self.terms.index(size);
                self.terms.cast(size, dtype)
            }
            Some(c) => {
                let (positions, fresh) = self.refresh(axes, &super::Positions::new());
                let present = self.substitute(c, &positions);
                let value = self.terms.number(1.0, dtype);
                self.reduce(ReduceOp::Sum, fresh, Split { value, present: Some(present) })
            }
        };
        let one = self.terms.number(1.0, dtype);
        let count = match &self.terms.get(count).op {
            Op::Const(_) => count,
            _ => self.terms.elem(ElemOp::Max, vec![count, one]),
        };
        self.terms.elem(ElemOp::Div, vec![sum, count])
    }

    /// The shift of a row: its maximum, or 0 where that is -inf.
    fn shift(&mut self, axes: &[AxisId], x: Split) -> TermId {
        let dtype = self.terms.get(x.value).dtype;
        let max = self.reduce(ReduceOp::Max, axes.to_vec(), x);
        let bottom = self.terms.number(f64::NEG_INFINITY, dtype);
        let zero = self.terms.number(0.0, dtype);
        let empty = self.terms.elem(ElemOp::Eq, vec![max, bottom]);
        self.terms.elem(ElemOp::Select, vec![empty, zero, max])
    }

    /// The shift of a row and the sum of its shifted exponentials. The element is given once for each reduction, over axes
    /// of its own.
    fn exponentials(&mut self, axes: &[AxisId], x: Split) -> (TermId, TermId) {
        let (max_axes, of_max) = self.again(axes, x);
        let shift = self.shift(&max_axes, of_max);
        let (sum_axes, of_sum) = self.again(axes, x);
        let value = self.shifted_exp(of_sum.value, shift);
        let sum = self.reduce(ReduceOp::Sum, sum_axes, Split { value, present: of_sum.present });
        (shift, sum)
    }

    /// The element over fresh axes.
    fn again(&mut self, axes: &[AxisId], x: Split) -> (Vec<AxisId>, Split) {
        let (positions, fresh) = self.refresh(axes, &super::Positions::new());
        let value = self.substitute(x.value, &positions);
        let present = x.present.map(|c| self.substitute(c, &positions));
        (fresh, Split { value, present })
    }

    fn shifted_exp(&mut self, x: TermId, shift: TermId) -> TermId {
        let difference = self.terms.elem(ElemOp::Sub, vec![x, shift]);
        self.terms.elem(ElemOp::Exp, vec![difference])
    }

    /// Logarithm of the sum of exponentials; -inf of nothing.
    pub(super) fn log_sum_exp(&mut self, axes: &[AxisId], x: Split) -> TermId {
        let (shift, sum) = self.exponentials(axes, x);
        let log = self.terms.elem(ElemOp::Log, vec![sum]);
        self.terms.elem(ElemOp::Add, vec![shift, log])
    }

    /// The row's softmax at the element itself.
    pub(super) fn softmax(&mut self, axes: &[AxisId], x: Split) -> TermId {
        let dtype = self.terms.get(x.value).dtype;
        let (shift, sum) = self.exponentials(axes, x);
        let here = self.shifted_exp(x.value, shift);
        let zero = self.terms.number(0.0, dtype);
        let empty = self.terms.elem(ElemOp::Eq, vec![sum, zero]);
        let inverse = self.terms.elem(ElemOp::Recip, vec![sum]);
        let inverse = self.terms.elem(ElemOp::Select, vec![empty, zero, inverse]);
        self.terms.elem(ElemOp::Mul, vec![here, inverse])
    }
}
