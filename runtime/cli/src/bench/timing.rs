//! Medians of repeated runs.
//!
//! In: something to run. Out: seconds.
//! Invariant: the first run, which compiles and touches memory for the first time, is not counted.

use std::time::{Duration, Instant};

/// Runs at most so many times.
const MOST: usize = 50;
/// Begins no run after this time, but for the first.
const BUDGET: Duration = Duration::from_secs(3);

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
