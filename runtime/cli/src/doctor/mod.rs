//! `sawmill doctor`: what this machine offers, what is missing and how to get it.
//!
//! In: the machine. Out: a row for the processor, each engine, each GPU, and what is kept, on stdout. The exit code is 0 if some
//! engine compiles here, else that of an environment error.

mod processor;

use std::{
    fmt::Display,
    fs,
    io::{self, Write},
    num::NonZeroUsize,
    path::PathBuf,
};

use sawmill::Device;

use crate::{
    args::EngineName,
    engine::device_with,
    error::{ENVIRONMENT_EXIT, Failure},
    machine::{cache_directory, kernels_directory, stored_figures},
};

/// Names where NVIDIA's assembler is; only tests use it.
const PTXAS_VARIABLE: &str = "SAWMILL_PTXAS";
/// What a running NVIDIA driver says of itself.
#[cfg(not(feature = "cuda"))]
const DRIVER_FILE: &str = "/proc/driver/nvidia/version";

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there and works.
    Works,
    /// The machine, or this build, lacks it.
    Missing,
}

/// One thing that a machine may offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub standing: Standing,
    /// What it is, or what is missing and how to get it.
    pub text: String,
}

impl Row {
    fn works(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), standing: Standing::Works, text: text.into() }
    }
    fn missing(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), standing: Standing::Missing, text: text.into() }
    }
}

/// Runs the command and returns its exit code.
///
/// # Errors
/// Stdout cannot be written.
pub fn command() -> Result<u8, Failure> {
    let engines = engines();
    let compiles = engines.iter().any(|row| row.name != "interpreter" && row.standing == Standing::Works);
    let mut rows = vec![processor_row()];
    rows.extend(engines);
    rows.extend(kept());
    match print(&mut io::stdout().lock(), &rows) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::environment(format!("cannot write the output: {error}")));
        }
        _ => {}
    }
    Ok(if compiles { 0 } else { ENVIRONMENT_EXIT })
}

/// Writes the rows, their names in a column of their own.
///
/// # Errors
/// What writing gives.
pub fn print(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for Row { name, standing, text } in rows {
        let mark = if *standing == Standing::Works { " " } else { "-" };
        writeln!(out, "{mark} {name:width$}  {text}")?;
    }
    Ok(())
}

fn processor_row() -> Row {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let name = processor::name().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = processor::memory_bytes().map(|bytes| format!(", {} of memory", gibibytes(bytes)));
    let text = format!("{name}, {threads} threads{}; {}", memory.unwrap_or_default(), processor::level());
    Row::works("processor", text)
}

fn gibibytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for reading")]
    let size = bytes as f64 / f64::from(1 << 30);
    format!("{size:.1} GiB")
}

/// The engines, built in or not, and the GPUs.
pub fn engines() -> Vec<Row> {
    let mut rows =
        vec![engine_row("interpreter", EngineName::Interpreter), engine_row("cranelift", EngineName::Cranelift)];
    #[cfg(feature = "llvm")]
    rows.push(engine_row("llvm", EngineName::Llvm));
    #[cfg(not(feature = "llvm"))]
    rows.push(Row::missing(
        "llvm",
        "not built in: install LLVM 22 (Debian: llvm-22-dev) and build with `--features llvm`",
    ));
    rows.extend(gpus());
    rows
}

fn engine_row(name: &str, engine: EngineName) -> Row {
    match device_with(engine, NonZeroUsize::MIN, None) {
        Ok(device) => Row::works(name, level(&device)),
        Err(failure) => Row::missing(name, one_line(failure)),
    }
}

/// What the code of a device may use.
fn level(device: &Device) -> String {
    device.level().map_or_else(|| "works".to_owned(), |level| format!("works: {level}"))
}

/// A message as one line.
fn one_line(message: impl Display) -> String {
    message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(feature = "cuda")]
fn gpus() -> Vec<Row> {
    use sawmill::cuda::{Gpu, driver};
    let driver = match driver::probe() {
        Ok(driver) => driver,
        Err(missing) => return vec![Row::missing("cuda", one_line(missing))],
    };
    let newest = driver::newest_ptx(driver.cuda).map(|(major, minor)| format!(", PTX up to {major}.{minor}"));
    let text = format!("works: driver for CUDA {}.{}{}", driver.cuda.0, driver.cuda.1, newest.unwrap_or_default());
    let mut rows = vec![Row::works("cuda", text)];
    for number in 0..driver.gpus {
        let name = format!("gpu {number}");
        rows.push(match Gpu::open(number) {
            Ok(gpu) => Row::works(name, facts(gpu.facts())),
            Err(missing) => Row::missing(name, one_line(missing)),
        });
    }
    rows
}

#[cfg(feature = "cuda")]
fn facts(facts: &sawmill::cuda::Facts) -> String {
    format!(
        "{}, compute capability {}.{}, {} multiprocessors, {}",
        facts.name,
        facts.capability.0,
        facts.capability.1,
        facts.multiprocessors,
        gibibytes(facts.memory_bytes)
    )
}

#[cfg(not(feature = "cuda"))]
fn gpus() -> Vec<Row> {
    let driver = fs::read_to_string(DRIVER_FILE).ok();
    let seen = driver.as_deref().and_then(|text| text.lines().next()).map(|line| format!(" ({})", one_line(line)));
    let text = match seen {
        Some(seen) => format!("not built in, but there is an NVIDIA driver{seen}: build with `--features cuda`"),
        None => {
            "not built in, and no NVIDIA driver is running: install the driver and build with `--features cuda`".into()
        }
    };
    vec![Row::missing("cuda", text)]
}

/// What is kept between runs, and tools of the tests.
fn kept() -> Vec<Row> {
    let kernels = match kernels_directory() {
        Some(directory) => Row::works("kernels", format!("kept in {}", directory.display())),
        None => Row::missing(
            "kernels",
            "kept nowhere: every process compiles anew (SAWMILL_CACHE_DIR is empty, or there is no HOME)",
        ),
    };
    let figures = match stored_figures() {
        Some(figures) => Row::works(
            "measured",
            format!("{:.1} GB/s read, {:.0} GFLOP/s", figures.streaming_read / 1e9, figures.multiply_adds / 1e9),
        ),
        None => Row::missing("measured", "nothing yet: `sawmill bench` measures the machine and keeps the figures"),
    };
    let ptxas = match ptxas() {
        Some(path) => Row::works("ptxas", path.display().to_string()),
        None => Row::missing("ptxas", "only the tests need it: `tests/run` fetches it from PyPI"),
    };
    vec![kernels, figures, ptxas]
}

/// NVIDIA's assembler, where the tests look for it.
fn ptxas() -> Option<PathBuf> {
    if let Some(stated) = std::env::var_os(PTXAS_VARIABLE) {
        return Some(PathBuf::from(stated)).filter(|path| path.is_file());
    }
    let entries = fs::read_dir(cache_directory()?).ok()?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ptxas-")))
        .map(|path| path.join("ptxas"))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}
