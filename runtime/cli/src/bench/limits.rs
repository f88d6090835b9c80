//! What this machine can do at best: measured, not looked up.
//!
//! In: a number of threads. Out: [`MachineFigures`], stored for `generate`'s summary.
//! These loops measure the machine; no model's operator runs here.

use std::{hint::black_box, num::NonZeroUsize, path::Path, thread, time::Instant};

use crate::{
    bench::timing::median,
    error::Failure,
    machine::{self, MachineFigures},
};

/// Bytes that each thread reads: far beyond the caches.
const BUFFER: usize = 128 << 20;
/// Independent chains of multiply-adds: twelve 128-bit registers, enough to hide their latency.
const CHAINS: usize = 48;
/// Steps of each chain.
const STEPS: usize = 4_000_000;
/// Repetitions; the median counts.
const TIMES: usize = 5;

/// Measures with all of `threads` at once.
pub fn measure(threads: NonZeroUsize) -> MachineFigures {
    let buffers: Vec<Vec<u64>> = (0..threads.get()).map(|_| vec![1; BUFFER / size_of::<u64>()]).collect();
    let bytes = (BUFFER * threads.get()) as f64;
    let operations = (2 * CHAINS * STEPS * threads.get()) as f64;
    let rate =
        |work: f64, run: &(dyn Fn(usize) + Sync)| work / median((0..TIMES).map(|_| together(threads, run)).collect());
    MachineFigures {
        streaming_read: rate(bytes, &|thread| stream(&buffers[thread])),
        multiply_adds: rate(operations, &|_| chains()),
    }
}

/// Measures and stores the figures where `generate` finds them.
///
/// # Errors
/// An environment error if they cannot be stored.
pub fn measure_and_store(threads: NonZeroUsize) -> Result<MachineFigures, Failure> {
    let figures = measure(threads);
    let Some(path) = machine::figures_path() else { return Ok(figures) };
    store(&path, &figures).map_err(|error| {
        Failure::environment(format!("cannot store the machine's figures in {}: {error}", path.display()))
    })?;
    Ok(figures)
}

/// Replaces the file in one step, so that a reader never sees half of it.
fn store(path: &Path, figures: &MachineFigures) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    std::fs::create_dir_all(directory)?;
    let file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&file, figures)?;
    file.persist(path)?;
    Ok(())
}

/// Seconds that all threads together take.
fn together(threads: NonZeroUsize, run: &(dyn Fn(usize) + Sync)) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads.get() {
            scope.spawn(move || run(thread));
        }
    });
    start.elapsed().as_secs_f64()
}

fn stream(buffer: &[u64]) {
    let mut sums = [0_u64; 8];
    let (chunks, _) = buffer.as_chunks::<8>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*value);
        }
    }
    black_box(sums);
}

/// Multiplication and addition are separate instructions here: the baseline has no fused one, and processors that have
/// pipes for both reach the same rate.
fn chains() {
    let mut values = black_box([1.0_f32; CHAINS]);
    let (factor, term) = black_box((0.999_f32, 0.001_f32));
    for _ in 0..STEPS {
        for value in &mut values {
            *value = *value * factor + term;
        }
    }
    black_box(values);
}
