//! Sizes and rates that costs are computed from.
//!
//! In: canonical axes, the function's dims, a target. Out: how many positions an axis has (run-time sizes are assumed),
//! how fast a shape grows with the run-time sizes, how long operations and bytes take. Figures rank plans; they predict
//! nothing.

use crate::egraph::{Axes, AxisSet};
use sawmill_ir::elem::ElemOp;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::{Function, TensorKind};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use sawmill_ir::target::Target;

/// What a run-time size is taken to be.
const ASSUMED_SIZE: i64 = 256;
/// Positions along an axis that one block of a kernel covers.
pub(super) const BLOCK: f64 = 64.0;
/// A constant axis up to this extent is covered whole.
const WHOLE: f64 = 256.0;

/// Sizes of axes and tensors, and rates.
pub(crate) struct Sizes {
    extents: Vec<f64>,
    blocks: Vec<f64>,
    degrees: Vec<u32>,
    tensors: Vec<(f64, f64)>,
    tensor_degrees: Vec<u32>,
    /// The largest growth of an output, a carry or a cache.
    pub(super) degree_bound: u32,
    pub(super) fma: f64,
    pub(super) op: f64,
    pub(super) byte: f64,
    pub(super) launch: f64,
    /// Whether an axis that no reduction of a kernel has stays in one block.
    pub(super) rows: bool,
}

impl Sizes {
    /// The sizes of a block of `function` on `target`.
    pub(crate) fn new(function: &Function, axes: &Axes, target: &Target) -> Self {
        let all: Vec<&Index> = (0..axes.len()).map(|a| &axes.get(AxisId::new(a)).extent).collect();
        let extents: Vec<f64> = all.iter().map(|e| assumed(e)).collect();
        let degrees: Vec<u32> = all.iter().map(|e| degree(e)).collect();
        let parts = |(extent, degree): (&f64, &u32)| {
            if *degree == 0 && *extent <= WHOLE { 1.0 } else { (extent / BLOCK).ceil().max(1.0) }
        };
        let blocks = extents.iter().zip(&degrees).map(parts).collect();
        let tensors = function.tensors.values().map(|t| {
            let elements: f64 = t.shape.iter().map(assumed).product();
            (elements, element_bytes(&t.elem))
        });
        let tensor_degrees = function.tensors.values().map(|t| t.shape.iter().map(degree).sum());
        let tensor_degrees: Vec<u32> = tensor_degrees.collect();
        let kept = function.tensors.iter().filter(|(id, t)| {
            matches!(t.kind, TensorKind::Append { .. } | TensorKind::Carry) || function.outputs.contains(id)
        });
        let bound = kept.map(|(id, _)| tensor_degrees[id.index()]).max().unwrap_or(0);
        let cores = f64::from(target.cores);
        Self {
            extents,
            blocks,
            degrees,
            tensors: tensors.collect(),
            tensor_degrees,
            degree_bound: bound,
            fma: 1e-9 / (target.fma_rate * cores),
            op: 1e-9 / (target.op_rate * cores),
            byte: 1e-9 / target.memory_rate,
            launch: 1e-6 * target.launch_us,
            rows: target.row_elements > 0,
        }
    }
    /// Positions of all axes of a set.
    pub(super) fn volume(&self, axes: AxisSet) -> f64 {
        axes.iter().map(|a| self.extents[a.index()]).product()
    }
    /// Blocks that cover all axes of a set.
    pub(super) fn blocks(&self, axes: AxisSet) -> f64 {
        axes.iter().map(|a| self.blocks[a.index()]).product()
    }
    /// How fast a shape grows with the run-time sizes.
    pub(super) fn degree(&self, axes: AxisSet) -> u32 {
        axes.iter().map(|a| self.degrees[a.index()]).sum()
    }
    /// How fast a tensor grows with the run-time sizes.
    pub(super) fn tensor_degree(&self, tensor: TensorId) -> u32 {
        self.tensor_degrees[tensor.index()]
    }
    /// Seconds to read the part of a tensor that positions over `axes` reach.
    pub(super) fn read(&self, tensor: TensorId, axes: AxisSet) -> f64 {
        let (elements, bytes) = self.tensors[tensor.index()];
        self.volume(axes).min(elements) * bytes * self.byte
    }
}

fn element_bytes(elem: &sawmill_ir::graph::Elem) -> f64 {
    match elem {
        sawmill_ir::graph::Elem::Type(dtype) => f64::from(dtype.bits()) / 8.0,
        _ => 4.0,
    }
}

/// The value of an extent with run-time sizes assumed.
fn assumed(extent: &Index) -> f64 {
    let value = extent.eval(&mut |atom, _| match atom {
        Atom::Dim(_) | Atom::Read(..) => Some(ASSUMED_SIZE),
        _ => Some(0),
    });
    value.map_or(f64::from(u32::MAX), |v| v.max(1) as f64)
}

/// The degree of an extent as a polynomial in run-time sizes.
fn degree(extent: &Index) -> u32 {
    let of_atom = |atom: &Atom| match atom {
        Atom::Dim(_) | Atom::Read(..) => 1,
        Atom::Div(a, b) => degree(a).saturating_sub(degree(b)),
        Atom::Rem(_, b) => degree(b),
        Atom::Min(a, b) => degree(a).min(degree(b)),
        Atom::Max(a, b) => degree(a).max(degree(b)),
        Atom::Axis(_) | Atom::Param(_) | Atom::BitLength(_) => 0,
    };
    extent.terms().map(|(monomial, _)| monomial.iter().map(of_atom).sum()).max().unwrap_or(0)
}

/// Vector operations that an elementwise operation costs.
pub(super) fn weight(op: ElemOp) -> f64 {
    match op {
        ElemOp::Exp | ElemOp::Exp2 | ElemOp::Expm1 | ElemOp::Log | ElemOp::Log2 | ElemOp::Log1p => 12.0,
        ElemOp::Tanh | ElemOp::Sigmoid | ElemOp::LogSigmoid | ElemOp::Silu | ElemOp::Gelu => 16.0,
        ElemOp::Elu | ElemOp::Softplus | ElemOp::Erf | ElemOp::Pow | ElemOp::Atan2 => 20.0,
        ElemOp::Sin | ElemOp::Cos | ElemOp::Tan => 24.0,
        ElemOp::Div | ElemOp::Rem | ElemOp::Sqrt | ElemOp::Rsqrt | ElemOp::Recip => 4.0,
        _ => 1.0,
    }
}
