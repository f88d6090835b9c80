//! The suite `llm`: a language model from its file to its tokens.
//!
//! In: a checkpoint and a device. Out: rows for starting, compiling, prefill, decoding and memory; on a GPU also what each kernel takes of a
//! token.
//! Limits: a decoded token reads every weight once, so decoding is bounded by memory bandwidth; prefill does two operations
//! a weight and token, so it is bounded by the multiply-add rate where that was measured.

use std::path::Path;

use sawmill::Device;

use super::{
    Bench,
    rows::Row,
    start,
    timing::{median, seconds},
};
use crate::{
    acquire,
    engine::{failure, llama::Llama},
    error::Failure,
    generate::{language_model::LanguageModel, summary},
    model::{self, ModelFile},
};

/// Tokens of the prompt before decoding.
const SHORT: usize = 32;
/// Tokens decoded.
const DECODED: usize = 128;
/// Tokens of the prompt whose prefill is measured.
const LONG: usize = 521;
/// Prefills measured.
const PREFILLS: usize = 3;
/// Warm starts measured.
const STARTS: usize = 5;
/// Tokens decoded to see what each kernel takes.
const PROFILED: usize = 16;

/// A checkpoint that is measured.
struct Subject<'a> {
    bench: &'a Bench,
    /// As named on the command line.
    path: Option<&'a Path>,
    file: ModelFile,
    weights: &'static str,
    ids: Vec<u32>,
}

/// Runs the suite on the model at `path`, or on the default model.
///
/// # Errors
/// What opening the model and running it report.
pub fn run(bench: &Bench, path: Option<&Path>, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    let file = match path {
        Some(path) => model::open(path)?,
        None => model::open(&acquire::default_model()?)?,
    };
    let weights = file.tensors["model.layers.0.mlp.down_proj.weight"].encoding().name();
    let ids: Vec<u32> = (0..LONG as u32).map(|at| at * 7919 % file.config.vocab).collect();
    let subject = Subject { bench, path, file, weights, ids };
    let compiles = bench.device.engine().compiles();
    let kernels = tempfile::tempdir().map_err(Failure::environment)?;
    if compiles {
        subject.starts(kernels.path(), show)?;
    }
    // Kernels come from the folder that the first start has filled, so that compiling does not count as memory of a run.
    let device = if compiles { subject.device(Some(kernels.path()))? } else { bench.device.clone() };
    let decoding = subject.decoding(&device)?;
    let prefill = subject.prefill(&device)?;
    // Before the limits are measured, which takes more memory.
    let peak = summary::peak_memory();
    let (bandwidth, operations) = match bench.copy_rate()? {
        Some(copy) => (copy, None),
        None => (bench.limits()?.streaming_read, Some(bench.limits()?.multiply_adds)),
    };
    show(decoding.limited(Some(bandwidth / subject.file.weight_bytes() as f64)));
    show(prefill.limited(operations.map(|rate| rate / subject.operations_per_token())));
    subject.kernels(&device, show)?;
    if let Some(peak) = peak {
        show(subject.row("peak memory", format!("{LONG} + {DECODED} tokens"), 0.0, (peak as f64 / 1e6, "MB")));
    }
    if compiles {
        let model = Llama::new(&subject.file, &subject.device(None)?, SHORT + DECODED)?;
        let compile = model.compiled().time.as_secs_f64();
        let shape = format!("{} kernels", model.compiled().kernels);
        show(subject.row("compile, cold", shape, compile, (compile, "s")));
    }
    Ok(())
}

impl Subject<'_> {
    fn row(&self, op: &str, shape: String, seconds: f64, value: (f64, &str)) -> Row {
        self.bench.row("llm", (op, shape, self.weights), seconds, value)
    }

    fn device(&self, kernels: Option<&Path>) -> Result<Device, Failure> {
        self.bench.device_with(kernels)
    }

    /// From the start of a process to its first token: with an empty folder of kernels, then with what is in it after that.
    fn starts(&self, kernels: &Path, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
        let start = || start::seconds_to_text(self.path, self.bench.engine, self.bench.threads, kernels);
        let shape = || "process to first token".to_owned();
        let cold = start()?;
        show(self.row("start, cold", shape(), cold, (cold, "s")));
        if let Some(peak) = summary::peak_memory_of_children() {
            show(self.row("peak memory, cold start", shape(), 0.0, (peak as f64 / 1e6, "MB")));
        }
        let warm = median((0..STARTS).map(|_| start()).collect::<Result<_, _>>()?);
        show(self.row("start, warm", shape(), warm, (warm, "s")));
        Ok(())
    }

    fn decoding(&self, device: &Device) -> Result<Row, Failure> {
        let mut model = Llama::new(&self.file, device, SHORT + DECODED)?;
        model.prefill(&self.ids[..SHORT])?;
        let mut steps = Vec::with_capacity(DECODED);
        for id in &self.ids[..DECODED] {
            steps.push(seconds(|| model.step(*id).map(drop))?);
        }
        let total: f64 = steps.iter().sum();
        let shape = format!("{DECODED} after {SHORT}");
        Ok(self.row("decode", shape, median(steps), (DECODED as f64 / total, "tokens/s")))
    }

    /// What each kernel takes of a decoded token and of a prefill, the longest first, where the device tells.
    fn kernels(&self, device: &Device, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
        if self.bench.copy_rate()?.is_none() {
            return Ok(());
        }
        let mut model = Llama::new(&self.file, device, SHORT + 3 * PROFILED)?;
        model.prefill(&self.ids[..SHORT])?;
        self.ids[..PROFILED].iter().try_for_each(|id| model.step(*id).map(drop))?;
        // The process's share: the GPU is given these one after the other and is waited for by nobody.
        let given = seconds(|| self.ids[..PROFILED].iter().try_for_each(|id| model.give(*id)))? / PROFILED as f64;
        show(self.row("a step, given", format!("{PROFILED} steps"), given, (1e6 * given, "us")));
        device.synchronize().map_err(failure)?;
        let steps = || self.ids[..PROFILED].iter().try_for_each(|id| model.step(*id).map(drop));
        self.profile(device, ("kernels of a token", PROFILED), steps, show)?;
        let mut model = Llama::new(&self.file, device, LONG)?;
        self.profile(device, ("kernels of a prefill", 1), || model.prefill(&self.ids).map(drop), show)
    }

    /// What each kernel takes of each of `times` pieces of work.
    fn profile(
        &self,
        device: &Device,
        (op, times): (&str, usize),
        work: impl FnOnce() -> Result<(), Failure>,
        show: &mut dyn FnMut(Row),
    ) -> Result<(), Failure> {
        let mut outcome = Ok(());
        let profile = device.profile(|| {
            outcome = work();
            Ok(())
        });
        let mut kernels = profile.map_err(failure)?;
        outcome?;
        kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let each = |count: f64| count / times as f64;
        let all: f64 = each(kernels.iter().map(|kernel| kernel.seconds).sum());
        let launches = |count: usize| format!("{:.1} launches", each(count as f64));
        let count = kernels.iter().map(|kernel| kernel.launches).sum();
        show(self.row(op, launches(count), all, (1e6 * all, "us")));
        for kernel in &kernels {
            let seconds = each(kernel.seconds);
            show(self.row(&format!("- {}", kernel.kernel), launches(kernel.launches), seconds, (1e6 * seconds, "us")));
        }
        Ok(())
    }

    /// Prefills, the last of which goes on to decode as many tokens as a run of usual length, for its memory.
    fn prefill(&self, device: &Device) -> Result<Row, Failure> {
        let mut prefills = Vec::with_capacity(PREFILLS);
        for turn in 1..=PREFILLS {
            let mut model = Llama::new(&self.file, device, LONG + DECODED)?;
            prefills.push(seconds(|| model.prefill(&self.ids).map(drop))?);
            let further = if turn == PREFILLS { DECODED } else { 0 };
            self.ids[..further].iter().try_for_each(|id| model.step(*id).map(drop))?;
        }
        let seconds = median(prefills);
        Ok(self.row("prefill", format!("{LONG} tokens"), seconds, (LONG as f64 / seconds, "tokens/s")))
    }

    /// Two for every weight but those of the head, which computes the last position only.
    fn operations_per_token(&self) -> f64 {
        let head = f64::from(self.file.config.vocab) * f64::from(self.file.config.d_model);
        let sizes = self.file.tensors.values().map(|tensor| tensor.shape().iter().product::<usize>() as f64);
        2.0 * (sizes.sum::<f64>() - head)
    }
}
