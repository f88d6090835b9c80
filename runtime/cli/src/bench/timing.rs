//! Medians of repeated runs, by this process's clock or by a device's.
//!
//! In: something to run. Out: seconds.
//! Invariant: the first run, which compiles and touches memory for the first time, is not counted.

use std::time::{Duration, Instant};

use sawmill::{Device, Error};

use crate::{engine::failure, error::Failure};

/// Runs at most so many times.
const MOST: usize = 50;
/// Begins no run after this time, but for the first.
const BUDGET: Duration = Duration::from_secs(3);
/// Calls that a device makes before its time is taken: the first compiles, the next ones find memory and settle.
const WARM: usize = 3;
/// Times taken of a device.
const SAMPLES: usize = 7;
/// Seconds of calls that a time is taken of.
const SAMPLE: f64 = 0.02;
/// Calls of one sample at most.
const MOST_CALLS: usize = 500;

/// The median of a list that is not empty; the mean of the middle two where there are two.
pub fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "the median of nothing");
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

/// The median time of `run` in seconds, after one run that is not counted.
///
/// # Errors
/// The first error of `run`.
pub fn median_seconds<E>(mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    run()?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < MOST && begun.elapsed() < BUDGET) {
        times.push(seconds(&mut run)?);
    }
    Ok(median(times))
}

/// The median time of `call` in seconds by the clock of `device`: of several samples of calls that are given one after the other.
///
/// # Errors
/// The first error of `call`, or the device's.
pub fn on_device(device: &Device, call: impl Fn() -> Result<(), Error>) -> Result<f64, Failure> {
    let calls = |count: usize| device.seconds(|| (0..count).try_for_each(|_| call())).map_err(failure);
    calls(WARM)?;
    let once = calls(1)?;
    let count = ((SAMPLE / once.max(1e-9)).ceil() as usize).clamp(1, MOST_CALLS);
    let samples = (0..SAMPLES).map(|_| Ok(calls(count)? / count as f64)).collect::<Result<_, Failure>>()?;
    Ok(median(samples))
}

/// The time of one run in seconds.
///
/// # Errors
/// The error of `run`.
pub fn seconds<E>(run: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{MOST, median, median_seconds};

    #[test]
    fn the_middle_is_found() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn quick_runs_are_repeated_and_a_failure_ends_the_measurement() {
        let mut runs = 0;
        let mut count = |limit: usize| {
            runs = 0;
            let result = median_seconds(|| {
                runs += 1;
                if runs <= limit { Ok(()) } else { Err("enough") }
            });
            (result.err(), runs)
        };
        assert_eq!(count(3), (Some("enough"), 4));
        assert_eq!(count(usize::MAX), (None, MOST + 1));
    }
}
