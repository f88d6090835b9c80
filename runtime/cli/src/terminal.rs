//! Lines and progress on stderr; a closed stderr is nobody's error.
//!
//! In: text and counts. Out: stderr.

use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Writes one line to stderr. `eprintln` would panic where stderr is closed.
pub fn say(line: impl fmt::Display) {
    let _closed = writeln!(io::stderr(), "{line}");
}

/// A bar of bytes, drawn only where stderr is a terminal.
pub fn bytes_bar(message: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(message);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
