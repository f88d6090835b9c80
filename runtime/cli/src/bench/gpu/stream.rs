//! The suite `stream`: functions that read and write large arrays and compute little, beside what a copy moves.
//!
//! Bytes counted: each input once, each output once.

use sawmill::{Function, arch};

use super::{Noise, Shaped, Subject};
use crate::bench::{Bench, rows::Row, timing};
use crate::error::Failure;

arch! {
    use sawmill_zoo::norm::{layer_norm, rms_norm};

    /// RMS norms of rows.
    pub fn rms_rows<N, const D, type E: float>(x: E[N, D], w: E[D]) -> y: E[N, D] {
        y[n, d] = rms_norm(x[n, ..], w)[d];
    }

    /// Layer norms of rows.
    pub fn layer_rows<N, const D, type E: float>(x: E[N, D], w, b: E[D]) -> y: E[N, D] {
        y[n, d] = layer_norm(x[n, ..], w, b)[d];
    }

    /// The gate of a SwiGLU.
    pub fn gate<N, D, type E: float>(g, u: E[N, D]) -> y: E[N, D] {
        y[n, d] = silu(g[n, d]) * u[n, d];
    }

    /// A sum.
    pub fn add<N, D, type E: float>(a, b: E[N, D]) -> y: E[N, D] {
        y[n, d] = a[n, d] + b[n, d];
    }
}

/// Rows.
const ROWS: usize = 16_384;
/// Elements of a row.
const WIDTH: usize = 8192;

/// Runs the suite.
///
/// # Errors
/// What the engine reports.
pub fn run(bench: &Bench, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    let noise = Noise::new(ROWS * WIDTH);
    let (whole, row) = ([ROWS, WIDTH], [WIDTH]);
    let cases: [(&'static Function, &[Shaped<'_>], usize); 4] = [
        (rms_rows::DEF, &[("x", &whole), ("w", &row)], 2),
        (layer_rows::DEF, &[("x", &whole), ("w", &row), ("b", &row)], 2),
        (gate::DEF, &[("g", &whole), ("u", &whole)], 3),
        (add::DEF, &[("a", &whole), ("b", &whole)], 3),
    ];
    let copy = bench.copy_rate()?;
    for (function, shapes, arrays) in cases {
        let subject = Subject::new(function, &bench.device, &noise, shapes)?;
        let seconds = timing::on_device(&bench.device, || subject.call(&bench.device))?;
        let rate = (arrays * 2 * ROWS * WIDTH) as f64 / seconds;
        let row =
            bench.row("stream", (function.name, format!("{ROWS}x{WIDTH}"), "bf16"), seconds, (rate / 1e9, "GB/s"));
        show(row.limited(copy.map(|copy| copy / 1e9)));
    }
    Ok(())
}
