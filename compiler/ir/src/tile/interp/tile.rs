//! Tiles as the interpreter holds them: elements over sorted axes, and which of them are undefined.

use super::array::{Data, Scalar};
use crate::tile::{AxisId, Kernel};

/// A tile.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    /// Sorted.
    pub(super) axes: Vec<AxisId>,
    /// Over `axes`, the last one fastest.
    pub(super) data: Data,
    /// Which elements are undefined; empty if none is.
    pub(super) undefined: Vec<bool>,
}

impl Tile {
    /// A tile over no axes.
    pub(super) fn scalar(data: Data) -> Self {
        Self { axes: Vec::new(), data, undefined: Vec::new() }
    }
    /// The one element of a scalar, if it is defined.
    pub(super) fn as_scalar(&self) -> Result<Scalar, String> {
        if self.undefined.first() == Some(&true) {
            return Err("an undefined value decides a bound, a base or a branch".to_owned());
        }
        Ok(self.data.get(0))
    }
    /// A scalar integer.
    pub(super) fn as_int(&self) -> Result<i64, String> {
        match self.as_scalar()? {
            Scalar::Int(value) => Ok(value),
            other => Err(format!("{other:?} is no integer")),
        }
    }
    /// Whether an element is undefined.
    pub(super) fn is_undefined(&self, at: usize) -> bool {
        self.undefined.get(at).copied().unwrap_or(false)
    }
    /// The tile repeated over `axes`, which include its own.
    pub(super) fn over(&self, axes: &[AxisId], kernel: &Kernel) -> Self {
        if self.axes == axes {
            return self.clone();
        }
        let places = places(axes, &self.axes, kernel);
        let undefined =
            if self.undefined.is_empty() { Vec::new() } else { places.iter().map(|i| self.undefined[*i]).collect() };
        Self { axes: axes.to_vec(), data: self.data.pick(&places), undefined }
    }
}

/// The extent of an axis.
pub(super) fn extent(axis: AxisId, kernel: &Kernel) -> usize {
    kernel.axes[axis].extent as usize
}

/// How many elements a tile over `axes` has.
pub(super) fn count(axes: &[AxisId], kernel: &Kernel) -> usize {
    axes.iter().map(|a| extent(*a, kernel)).product()
}

/// For each element over `axes`, its place in a tile over `of`; axes of only one side are ignored or fixed at 0.
pub(super) fn places(axes: &[AxisId], of: &[AxisId], kernel: &Kernel) -> Vec<usize> {
    let mut stride = 1;
    let mut strides = vec![0; of.len()];
    for (at, axis) in of.iter().enumerate().rev() {
        strides[at] = stride;
        stride *= extent(*axis, kernel);
    }
    let steps: Vec<usize> = axes.iter().map(|a| of.iter().position(|b| a == b).map_or(0, |i| strides[i])).collect();
    let mut places = vec![0];
    for (axis, step) in axes.iter().zip(steps) {
        let n = extent(*axis, kernel);
        places = places.iter().flat_map(|base| (0..n).map(move |i| base + i * step)).collect();
    }
    places
}

/// The position along `axis` of each element over `axes`.
pub(super) fn positions(axes: &[AxisId], axis: AxisId, kernel: &Kernel) -> Vec<usize> {
    places(axes, &[axis], kernel)
}
