//! The product of two large matrices of bf16, accumulated and given in f32 and rounded to bf16. Operations counted: 2 M N K.

use sawmill::arch;

use super::{Noise, Subject};
use crate::bench::{Bench, rows::Row, timing};
use crate::error::Failure;

arch! {
    /// A matrix product.
    pub fn large_product<M, N, const K, type E: float>(a: E[M, K], b: E[K, N]) -> c: E[M, N] {
        c[m, n] = sum[k](a[m, k] * b[k, n]);
    }
}

/// Rows and columns.
const SIZE: usize = 8192;

/// Runs the suite.
///
/// # Errors
/// What the engine reports.
pub fn run(bench: &Bench, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    let shape = [SIZE, SIZE];
    let noise = Noise::new(SIZE * SIZE);
    let subject = Subject::new(large_product::DEF, &bench.device, &noise, &[("a", &shape), ("b", &shape)])?;
    let seconds = timing::on_device(&bench.device, || subject.call(&bench.device))?;
    let rate = 2.0 * (SIZE as f64).powi(3) / seconds;
    show(bench.row("contraction", ("product", format!("{SIZE}^3"), "bf16"), seconds, (rate / 1e12, "TFLOP/s")));
    Ok(())
}
