//! `sawmill bench`: figures of whole paths, beside the limit that the machine sets.
//!
//! In: a suite's name. Out: a table on stdout, and the same rows as JSON.

pub mod attention;
pub mod contraction;
pub mod gpu;
pub mod limits;
pub mod llm;
pub mod rows;
pub mod start;
pub mod timing;

use std::{
    cell::OnceCell,
    io::{self, Write},
    num::NonZeroUsize,
    path::Path,
};

use sawmill::{Device, Engine};

use crate::{
    args::{BenchArgs, EngineName, Suite},
    engine,
    error::Failure,
    machine::MachineFigures,
    terminal::say,
};
use rows::Row;

/// Bytes of a copy whose rate is measured.
#[cfg(feature = "cuda")]
const COPIED: u64 = 1 << 30;
/// Copies measured.
#[cfg(feature = "cuda")]
const COPIES: usize = 20;

/// What every suite measures with.
pub struct Bench {
    /// What runs the kernels.
    pub engine: EngineName,
    /// Its device, with the user's folder for kernels.
    pub device: Device,
    /// Threads.
    pub threads: NonZeroUsize,
    limits: OnceCell<MachineFigures>,
    copy: OnceCell<f64>,
    /// The processor or the GPU, for rows.
    pub name: String,
}

/// Runs the command and returns its exit code.
///
/// # Errors
/// [`Failure`] of any kind.
pub fn command(args: &BenchArgs) -> Result<u8, Failure> {
    let threads = engine::all_threads(args.threads);
    let device = engine::device(args.engine, args.threads)?;
    let name = gpu_name(&device)?.unwrap_or_else(|| format!("{}, {threads} threads", processor()));
    let bench = Bench { engine: args.engine, device, threads, limits: OnceCell::new(), copy: OnceCell::new(), name };
    let mut rows = Vec::new();
    let mut stdout = io::stdout().lock();
    let mut show = |row: Row| {
        // Nobody reads any more: the file, if one is written, still gets every row.
        drop(writeln!(stdout, "{row}"));
        rows.push(row);
    };
    match args.suite {
        Suite::Llm => llm::run(&bench, args.model.as_deref(), &mut show)?,
        Suite::Attention if bench.on_gpu() => gpu::attention::run(&bench, &mut show)?,
        Suite::Attention => attention::run(&bench, &mut show)?,
        Suite::Contraction if bench.on_gpu() => gpu::contraction::run(&bench, &mut show)?,
        Suite::Contraction => contraction::run(&bench, &mut show)?,
        Suite::Stream => gpu::stream::run(&bench, &mut show)?,
    }
    if let Some(path) = &args.json {
        let failed =
            |error: &dyn std::fmt::Display| Failure::environment(format!("cannot write {}: {error}", path.display()));
        let text = serde_json::to_string_pretty(&rows).map_err(|error| failed(&error))?;
        std::fs::write(path, text + "\n").map_err(|error| failed(&error))?;
    }
    Ok(0)
}

/// The processor's name, where the system tells.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The GPU's name, if the device is one.
fn gpu_name(device: &Device) -> Result<Option<String>, Failure> {
    if device.engine() != Engine::Cuda {
        return Ok(None);
    }
    #[cfg(feature = "cuda")]
    return sawmill::cuda::Gpu::open(0).map(|gpu| Some(gpu.facts().name.clone())).map_err(Failure::environment);
    #[cfg(not(feature = "cuda"))]
    Ok(None)
}

/// Bytes a second that copies on the GPU move, read and written.
fn measured_copy_rate() -> Result<f64, Failure> {
    #[cfg(feature = "cuda")]
    {
        let gpu = sawmill::cuda::Gpu::open(0).map_err(Failure::environment)?;
        gpu.copy_rate(COPIED, COPIES).map_err(Failure::environment)
    }
    #[cfg(not(feature = "cuda"))]
    Err(Failure::environment("this command was built without GPUs: build with `--features cuda`"))
}

impl Bench {
    /// Whether the device is a GPU.
    pub fn on_gpu(&self) -> bool {
        self.device.engine() == Engine::Cuda
    }

    /// Bytes a second that a copy from memory of the GPU to memory of the GPU moves, read and written, measured when it is first asked for;
    /// `None` for engines of the processor.
    ///
    /// # Errors
    /// An environment error if the GPU fails.
    pub fn copy_rate(&self) -> Result<Option<f64>, Failure> {
        if !self.on_gpu() {
            return Ok(None);
        }
        if let Some(known) = self.copy.get() {
            return Ok(Some(*known));
        }
        let measured = measured_copy_rate()?;
        say(format_args!("{}: a copy moves {:.0} GB/s, read and written", self.name, measured / 1e9));
        Ok(Some(*self.copy.get_or_init(|| measured)))
    }

    /// Another device of the same engine, with kernels in a folder, or nowhere.
    ///
    /// # Errors
    /// An environment error if the engine does not work on this machine.
    pub fn device_with(&self, kernels: Option<&Path>) -> Result<Device, Failure> {
        engine::device_with(self.engine, self.threads, kernels.map(Path::to_owned))
    }

    /// What the machine can do, measured when it is first asked for: the buffers that this takes are larger than the
    /// small models whose peak memory a suite reports.
    ///
    /// # Errors
    /// An environment error if the figures cannot be stored for `generate`.
    pub fn limits(&self) -> Result<MachineFigures, Failure> {
        if let Some(known) = self.limits.get() {
            return Ok(*known);
        }
        let measured = limits::measure_and_store(&self.device, self.threads)?;
        say(format_args!(
            "this machine with {} threads: streaming read {:.1} GB/s, multiply-adds {:.0} GFLOP/s",
            self.threads,
            measured.streaming_read / 1e9,
            measured.multiply_adds / 1e9,
        ));
        Ok(*self.limits.get_or_init(|| measured))
    }

    /// A row without a limit; `seconds` is its time.
    pub fn row(
        &self,
        suite: &str,
        (op, shape, dtype): (&str, String, &str),
        seconds: f64,
        (value, unit): (f64, &str),
    ) -> Row {
        Row {
            suite: suite.to_owned(),
            op: op.to_owned(),
            shape,
            dtype: dtype.to_owned(),
            engine: self.device.engine().name().to_owned(),
            device: self.name.clone(),
            median_ms: 1e3 * seconds,
            value,
            unit: unit.to_owned(),
            limit: None,
            share: None,
        }
    }
}
