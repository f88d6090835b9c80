//! What this machine can do at best: measured, not looked up.
//!
//! In: a device, a number of threads. Out: [`MachineFigures`], stored for `generate`'s summary.
//! These loops measure the machine; no model's operator runs here. The best of several runs counts: a limit is what the
//! machine does when nothing else runs.

use std::{hint::black_box, num::NonZeroUsize, path::Path, thread};

use sawmill::Device;

use crate::{
    bench::timing::seconds,
    engine::failure,
    error::Failure,
    machine::{self, MachineFigures},
};

/// Bytes that each thread reads: far beyond the caches.
const BUFFER: usize = 128 << 20;
/// Turns of the loop of multiply-adds: some tens of milliseconds.
const TURNS: u32 = 2_000_000;
/// Repetitions.
const TIMES: usize = 7;

/// Measures with all of `threads` at once, by code of the device's engine.
///
/// # Errors
/// An environment error if there is no code for this processor.
pub fn measure(device: &Device, threads: NonZeroUsize) -> Result<MachineFigures, Failure> {
    let mut buffers: Vec<Vec<u64>> = (0..threads.get()).map(|_| vec![1; BUFFER / size_of::<u64>()]).collect();
    let bytes = (BUFFER * threads.get()) as f64;
    let streaming_read = bytes / best(&mut buffers, |buffer| stream(buffer));
    drop(buffers);
    let mut loops = Vec::new();
    for _ in 0..threads.get() {
        loops.extend(device.multiply_adds().map_err(failure)?);
    }
    if loops.is_empty() {
        // An engine that generates no code has no limit of its own: the default engine's is shown.
        return measure(&Device::cpu_with(threads.get(), None).map_err(failure)?, threads);
    }
    let operations = (loops[0].run(1) * u64::from(TURNS)) as f64 * threads.get() as f64;
    let seconds = best(&mut loops, |chains| {
        black_box(chains.run(TURNS));
    });
    Ok(MachineFigures { streaming_read, multiply_adds: operations / seconds })
}

/// Measures and stores the figures where `generate` finds them.
///
/// # Errors
/// An environment error if they cannot be measured or stored.
pub fn measure_and_store(device: &Device, threads: NonZeroUsize) -> Result<MachineFigures, Failure> {
    let figures = measure(device, threads)?;
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

/// The fewest seconds that a thread for each of `states`, all at once, take to `run`.
fn best<T: Send>(states: &mut [T], run: impl Fn(&mut T) + Sync) -> f64 {
    let mut together = || {
        thread::scope(|scope| {
            for state in &mut *states {
                let run = &run;
                scope.spawn(move || run(state));
            }
        });
        Ok::<(), std::convert::Infallible>(())
    };
    let times = (0..TIMES).map(|_| seconds(&mut together).unwrap_or_else(|never| match never {}));
    times.fold(f64::INFINITY, f64::min)
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

#[cfg(test)]
mod tests {
    use super::best;

    #[test]
    fn every_thread_runs_with_its_own_state_in_every_repetition() {
        let mut counts = [0; 3];
        let seconds = best(&mut counts, |count| *count += 1);
        assert!(seconds.is_finite() && seconds > 0.0);
        assert_eq!(counts, [super::TIMES; 3]);
    }
}
