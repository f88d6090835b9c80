//! How long a call takes that is the first of its function, and one that is not.
//!
//! In: a device. Out: seconds of a first call with nothing kept, of a first call with kernels kept in a folder, and of the process for
//! each of many further calls, which it gives and goes on.

use std::path::Path;
use std::time::Instant;

use sawmill_zoo::attention;

use super::{Noise, Subject};
use crate::bench::{Bench, rows::Row, timing};
use crate::{engine::failure, error::Failure};

/// First calls measured of each kind.
const FIRST: usize = 3;
/// Further calls.
const FURTHER: usize = 500;
const SHAPE: [usize; 4] = [1, 512, 4, 128];

/// Shows the three.
///
/// # Errors
/// What the engine reports.
pub fn run(bench: &Bench, noise: &Noise, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    let kernels = tempfile::tempdir().map_err(Failure::environment)?;
    let first_call = |kernels: Option<&Path>| -> Result<f64, Failure> {
        let device = bench.device_with(kernels)?;
        let subject =
            Subject::new(attention::causal::DEF, &device, noise, &[("q", &SHAPE), ("k", &SHAPE), ("v", &SHAPE)])?;
        device.synchronize().map_err(failure)?;
        timing::seconds(|| subject.call(&device).and_then(|()| device.synchronize()).map_err(failure))
    };
    first_call(Some(kernels.path()))?;
    let [batch, positions, heads, channels] = SHAPE;
    let shape = || format!("B{batch} S{positions} D{channels} H{heads}");
    for (op, kernels) in [("first call of causal, cold", None), ("first call of causal, warm", Some(kernels.path()))] {
        let seconds = timing::median((0..FIRST).map(|_| first_call(kernels)).collect::<Result<_, _>>()?);
        show(bench.row("attention", (op, shape(), "bf16"), seconds, (seconds, "s")));
    }
    let subject =
        Subject::new(attention::causal::DEF, &bench.device, noise, &[("q", &SHAPE), ("k", &SHAPE), ("v", &SHAPE)])?;
    subject.call(&bench.device).map_err(failure)?;
    bench.device.synchronize().map_err(failure)?;
    let start = Instant::now();
    (0..FURTHER).try_for_each(|_| subject.call(&bench.device)).map_err(failure)?;
    let seconds = start.elapsed().as_secs_f64() / FURTHER as f64;
    show(bench.row("attention", ("further call, given", shape(), "bf16"), seconds, (1e6 * seconds, "us")));
    Ok(())
}
