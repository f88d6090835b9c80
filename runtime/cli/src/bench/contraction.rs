//! The suite `contraction`: the product of two square matrices, written as a sum.
//!
//! In: a device. Out: a row in GFLOP/s beside the machine's multiply-add rate. Operations counted: 2 M N K.

use sawmill::{Call, Typed, Value, arch};

use super::{Bench, rows::Row, timing};
use crate::{engine::failure, error::Failure};

arch! {
    /// A matrix product.
    fn product<M, const N, const K>(a: f32[M, K], b: f32[K, N]) -> c: f32[M, N] {
        c[m, n] = sum[k](a[m, k] * b[k, n]);
    }
}

/// Rows and columns.
const SIZE: usize = 2048;

/// Runs the suite.
///
/// # Errors
/// What the engine reports.
pub fn run(bench: &Bench, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    let matrix = |phase: f32| {
        let values: Vec<f32> = (0..SIZE * SIZE).map(|at| (at as f32 * 0.731 + phase).sin()).collect();
        Typed::<f32, 2>::from_slice(&values, [SIZE, SIZE]).map(Typed::into_dyn).map_err(failure)
    };
    let (a, b) = (matrix(0.0)?, matrix(1.0)?);
    let once = || -> Result<(), Failure> {
        let mut call = Call::on(product::DEF, &bench.device);
        call.value("a", Value::Tensor(a.view()));
        call.value("b", Value::Tensor(b.view()));
        call.run_named().map(drop).map_err(failure)
    };
    let seconds = timing::median_seconds(once)?;
    let rate = 2.0 * (SIZE as f64).powi(3) / seconds;
    let row = bench.row("contraction", ("product", format!("{SIZE}^3"), "f32"), seconds, (rate / 1e9, "GFLOP/s"));
    show(row.limited(Some(bench.limits()?.multiply_adds / 1e9)));
    Ok(())
}
