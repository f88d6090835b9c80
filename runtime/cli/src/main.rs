//! The `sawmill` command: parses the command line, starts logging, prints what fails.
//!
//! In: arguments. Out: an exit code (0, or those of `sawmill_cli::error`).

#![forbid(unsafe_code)]

use std::{io, process::ExitCode};

use clap::Parser;
use sawmill_cli::{args::CommandLine, run, terminal::say};
use tracing_subscriber::EnvFilter;

/// Overrides `--verbose` with a filter of its own.
const FILTER: &str = "SAWMILL_LOG";

fn main() -> ExitCode {
    let line = CommandLine::parse();
    log(line.verbose);
    match run(&line) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            say(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn log(verbose: u8) {
    let level = ["warn", "info", "debug"].get(usize::from(verbose)).unwrap_or(&"trace");
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).without_time().init();
}
