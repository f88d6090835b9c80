//! Rows of figures: a table for people, JSON for programs.
//!
//! In: measured values. Out: text.
//! Invariant: `share` is value / limit where both are rates, and limit / value where they are times or sizes, so that 1
//! is the machine's best in both cases.

use std::fmt;

use serde::Serialize;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `llm`, `attention`, `contraction`, `stream`.
    pub suite: String,
    /// What was measured.
    pub op: String,
    /// Sizes, as text.
    pub shape: String,
    /// Element types, as text.
    pub dtype: String,
    /// What ran it.
    pub engine: String,
    /// The processor, or the GPU.
    pub device: String,
    /// Median time in milliseconds.
    pub median_ms: f64,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What the machine could do at best, in the same unit, where that is known.
    pub limit: Option<f64>,
    /// How near the figure is to it.
    pub share: Option<f64>,
}

impl Row {
    /// The row with a limit on a rate.
    #[must_use]
    pub fn limited(mut self, limit: Option<f64>) -> Self {
        self.limit = limit;
        self.share = limit.filter(|limit| *limit > 0.0).map(|limit| self.value / limit);
        self
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9} {:<28} {:<22} {:<10}", self.suite, self.op, self.shape, self.dtype)?;
        write!(f, " {:>10.3} ms {:>10.2} {:<10}", self.median_ms, self.value, self.unit)?;
        match (self.limit, self.share) {
            (Some(limit), Some(share)) => write!(f, " {:.0}% of {limit:.1}", 100.0 * share),
            _ => Ok(()),
        }
    }
}
