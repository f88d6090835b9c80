//! What the suites measure on a GPU: the same functions at the sizes that fill one, on tensors that lie there.
//!
//! In: a device. Out: rows whose times are the GPU's own (events around calls that copy nothing, a median of several), in TFLOP/s or
//! as a share of what a copy on the same GPU moves.

pub mod attention;
pub mod contraction;
pub mod first;
pub mod stream;

use std::sync::Arc;

use sawmill::{Call, Device, Error, Function, RuntimeElem, Tensor, Typed, Value, ir::dtype::DType};

use crate::{engine::failure, error::Failure};

/// Elements of bf16 without pattern, between -1 and 1, in host memory: tensors are parts of them, so nothing is copied before
/// the device is.
pub struct Noise(Arc<Vec<u8>>);

impl Noise {
    /// As many elements as the largest tensor has.
    pub fn new(elements: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(2 * elements);
        for _ in 0..elements {
            // xorshift64 (Marsaglia 2003); 16 of its bits as a number below 1, of either sign.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = (f32::from((state >> 48) as u16) - 32_768.0) / 32_768.0;
            bytes.extend(sawmill::bf16::from_f32(value).to_le_bytes());
        }
        Self(Arc::new(bytes))
    }

    /// A tensor of the first elements.
    ///
    /// # Errors
    /// There are fewer.
    pub fn tensor(&self, shape: &[usize]) -> Result<Tensor, Error> {
        Tensor::from_shared(Arc::new(Shared(Arc::clone(&self.0))), 0, RuntimeElem::Type(DType::BF16), shape)
    }
}

/// Bytes that tensors share.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A scalar argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// An integer.
    Whole(i64),
    /// A float.
    Real(f64),
}

/// A tensor argument: its name and shape.
pub type Shaped<'s> = (&'static str, &'s [usize]);

/// A function and its arguments on a device.
pub struct Subject {
    function: &'static Function,
    tensors: Vec<(&'static str, Tensor)>,
    scalars: Vec<(&'static str, Scalar)>,
}

impl Subject {
    /// `function` on tensors of these shapes, moved to `device`.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn new(
        function: &'static Function,
        device: &Device,
        noise: &Noise,
        shapes: &[Shaped<'_>],
    ) -> Result<Self, Failure> {
        let moved = |(name, shape): &Shaped<'_>| Ok((*name, noise.tensor(shape)?.to(device)?));
        let tensors = shapes.iter().map(moved).collect::<Result<_, Error>>().map_err(failure)?;
        Ok(Self { function, tensors, scalars: Vec::new() })
    }

    /// The same with a scalar.
    #[must_use]
    pub fn scalar(mut self, name: &'static str, value: Scalar) -> Self {
        self.scalars.push((name, value));
        self
    }

    /// The same with integers, moved to `device`.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn integers<const R: usize>(
        mut self,
        device: &Device,
        name: &'static str,
        values: &[i32],
        shape: [usize; R],
    ) -> Result<Self, Failure> {
        let tensor =
            Typed::<i32, R>::from_slice(values, shape).and_then(|tensor| tensor.to(device)).map_err(failure)?;
        self.tensors.push((name, tensor.into_dyn()));
        Ok(self)
    }

    /// One call; what it gives is dropped.
    ///
    /// # Errors
    /// What the engine reports.
    pub fn call(&self, device: &Device) -> Result<(), Error> {
        let mut call = Call::on(self.function, device);
        for (name, tensor) in &self.tensors {
            call.value(name, Value::Tensor(tensor.view()));
        }
        for (name, scalar) in &self.scalars {
            call.value(
                name,
                match scalar {
                    Scalar::Whole(value) => Value::Int(*value),
                    Scalar::Real(value) => Value::Float(*value),
                },
            );
        }
        call.run_named().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::Noise;

    #[test]
    fn noise_has_no_zeros_in_rows_and_fills_its_range() {
        let values: Vec<f32> = {
            let tensor = Noise::new(4096).tensor(&[4096]).expect("as many elements");
            tensor.to_vec::<sawmill::bf16>().expect("bf16").into_iter().map(f32::from).collect()
        };
        let mean = values.iter().sum::<f32>() / 4096.0;
        assert!(mean.abs() < 0.05 && values.iter().all(|value| value.abs() <= 1.0), "{mean}");
        assert!(values.iter().any(|value| *value > 0.9) && values.iter().any(|value| *value < -0.9));
        assert!(Noise::new(10).tensor(&[11]).is_err());
    }
}
