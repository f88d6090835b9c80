//! Small tensors on the host, as exact numbers, and their reading from safetensors.
//!
//! In: bytes of a safetensors file. Out: [`Array`].
//! Invariant: the number of elements is the product of the shape; f32 and integers up to 64 bits are held exactly.

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// Elements, exact.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Floats; f32 and narrower fit without rounding.
    Float(Vec<f64>),
    /// Integers, and booleans as 0 and 1.
    Integer(Vec<i64>),
}

/// A tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes, slowest axis first.
    pub shape: Vec<usize>,
    /// Elements.
    pub numbers: Numbers,
}

/// Why a tensor cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// The file is malformed or lacks the tensor.
    #[error("{0}")]
    SafeTensors(#[from] safetensors::SafeTensorError),
    /// An element type that is not read.
    #[error("the element type {0:?} is not read")]
    Dtype(Dtype),
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Integer(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers in another order: `order[i]` is the place that the new i-th comes from.
    fn gathered(&self, order: &[usize]) -> Self {
        match self {
            Self::Float(values) => Self::Float(order.iter().map(|&at| values[at]).collect()),
            Self::Integer(values) => Self::Integer(order.iter().map(|&at| values[at]).collect()),
        }
    }
}

impl Array {
    /// The tensor `name` of a safetensors file.
    ///
    /// # Errors
    /// [`ArrayError`].
    pub fn read(file: &SafeTensors<'_>, name: &str) -> Result<Self, ArrayError> {
        let view = file.tensor(name)?;
        Ok(Self { shape: view.shape().to_vec(), numbers: numbers(&view)? })
    }

    /// The same elements with axes in another order: the new i-th axis is the old `axes[i]`-th.
    ///
    /// # Panics
    /// If `axes` is no permutation of the axes.
    #[must_use]
    pub fn transposed(&self, axes: &[usize]) -> Self {
        let strides: Vec<usize> = (0..self.shape.len()).map(|axis| self.shape[axis + 1..].iter().product()).collect();
        let shape: Vec<usize> = axes.iter().map(|&axis| self.shape[axis]).collect();
        let mut order = vec![0];
        for &axis in axes {
            let steps = (0..self.shape[axis]).map(|step| step * strides[axis]);
            let steps: Vec<usize> = steps.collect();
            order = order.iter().flat_map(|&at| steps.iter().map(move |step| at + step)).collect();
        }
        Self { shape, numbers: self.numbers.gathered(&order) }
    }
}

fn numbers(view: &TensorView<'_>) -> Result<Numbers, ArrayError> {
    fn each<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|chunk| read(*chunk)).collect()
    }
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::F64 => Numbers::Float(each(bytes, f64::from_le_bytes)),
        Dtype::F32 => Numbers::Float(each(bytes, |raw| f64::from(f32::from_le_bytes(raw)))),
        Dtype::I64 => Numbers::Integer(each(bytes, i64::from_le_bytes)),
        Dtype::I32 => Numbers::Integer(each(bytes, |raw| i64::from(i32::from_le_bytes(raw)))),
        Dtype::U8 | Dtype::BOOL => Numbers::Integer(each(bytes, |raw: [u8; 1]| i64::from(raw[0]))),
        other => return Err(ArrayError::Dtype(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::{Array, Numbers};

    #[test]
    fn axes_are_reordered_as_asked() {
        let array = Array { shape: vec![2, 3, 1], numbers: Numbers::Integer(vec![0, 1, 2, 10, 11, 12]) };
        let turned = array.transposed(&[1, 2, 0]);
        assert_eq!(turned.shape, [3, 1, 2]);
        assert_eq!(turned.numbers, Numbers::Integer(vec![0, 10, 1, 11, 2, 12]));
        // The inverse permutation undoes it.
        assert_eq!(turned.transposed(&[2, 0, 1]), array);
    }
}
