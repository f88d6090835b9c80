//! The suite `attention`: functions of the zoo on sizes of interest.
//!
//! In: a device. Out: rows in GFLOP/s beside the machine's multiply-add rate; the time of first calls, which compile or load.
//! Operations counted: 4 S T D for each head, half of it where the mask is causal (the tiles that are skipped).

use std::path::Path;

use sawmill::{Call, Device, Function, Tensor, Typed, Value};
use sawmill_zoo::attention;

use super::{Bench, rows::Row, timing};
use crate::{engine::failure, error::Failure};

struct Case {
    function: &'static Function,
    positions: usize,
    heads: usize,
    channels: usize,
    /// Part of the scores that the mask leaves.
    part: f64,
}

const fn case(function: &'static Function, positions: usize, heads: usize, channels: usize, part: f64) -> Case {
    Case { function, positions, heads, channels, part }
}

/// First calls measured of each kind.
const FIRST_CALLS: usize = 5;

/// The last is there for its memory: scores of 65,536 positions would take 17 GB.
const CASES: [Case; 5] = [
    case(attention::causal::DEF, 2048, 8, 64, 0.5),
    case(attention::bidirectional::DEF, 2048, 8, 64, 1.0),
    case(attention::alibi::DEF, 2048, 8, 64, 0.5),
    case(attention::causal::DEF, 2048, 4, 128, 0.5),
    case(attention::causal::DEF, 65_536, 1, 64, 0.5),
];

/// Runs the suite.
///
/// # Errors
/// What the engine reports.
pub fn run(bench: &Bench, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    first_calls(bench, show)?;
    for case in &CASES {
        let inputs = Inputs::new(case)?;
        let seconds = timing::median_seconds(|| inputs.call(case.function, &bench.device))?;
        let scores = case.positions as f64 * case.positions as f64 * case.heads as f64 * case.part;
        let rate = 4.0 * scores * case.channels as f64 / seconds;
        let row = bench.row("attention", (case.function.name, shape(case), "f32"), seconds, (rate / 1e9, "GFLOP/s"));
        show(row.limited(Some(bench.limits()?.multiply_adds / 1e9)));
    }
    Ok(())
}

fn shape(case: &Case) -> String {
    format!("S{} D{} H{}", case.positions, case.channels, case.heads)
}

/// First calls of a function in a process: nothing has been compiled for it, or its kernels are in a folder.
fn first_calls(bench: &Bench, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    if !bench.device.engine().compiles() {
        return Ok(());
    }
    let case = case(attention::causal::DEF, 64, 1, 64, 0.5);
    let inputs = Inputs::new(&case)?;
    let kernels = tempfile::tempdir().map_err(Failure::environment)?;
    let first_call = |kernels: Option<&Path>| {
        let device = bench.device_with(kernels)?;
        timing::seconds(|| inputs.call(case.function, &device))
    };
    first_call(Some(kernels.path()))?;
    for (op, kernels) in [("first call of causal, cold", None), ("first call of causal, warm", Some(kernels.path()))] {
        let seconds = timing::median((0..FIRST_CALLS).map(|_| first_call(kernels)).collect::<Result<_, _>>()?);
        show(bench.row("attention", (op, shape(&case), "f32"), seconds, (seconds, "s")));
    }
    Ok(())
}

struct Inputs {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Inputs {
    fn new(case: &Case) -> Result<Self, Failure> {
        let shape = [1, case.positions, case.heads, case.channels];
        let tensor = |phase: f32| {
            let value = |at: usize| (at as f32 * 0.731 + phase).sin();
            let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            Typed::<f32, 4>::from_slice(&values, shape).map(Typed::into_dyn).map_err(failure)
        };
        Ok(Self { q: tensor(0.0)?, k: tensor(1.0)?, v: tensor(2.0)? })
    }

    fn call(&self, function: &'static Function, device: &Device) -> Result<(), Failure> {
        let mut call = Call::on(function, device);
        for (name, tensor) in [("q", &self.q), ("k", &self.k), ("v", &self.v)] {
            call.value(name, Value::Tensor(tensor.view()));
        }
        call.run_named().map(drop).map_err(failure)
    }
}
