//! The `sawmill` command as a library, so that its parts can be tested without processes.
//!
//! In: a parsed command line. Out: an exit code, or a [`Failure`] with one.

#![forbid(unsafe_code)]

pub mod acquire;
pub mod args;
pub mod bench;
pub mod build;
pub mod check;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod explain;
pub mod generate;
pub mod interrupt;
pub mod machine;
pub mod model;
pub mod terminal;
pub mod text;

use args::{Command, CommandLine};
use error::Failure;

/// Runs a command and returns its exit code.
///
/// # Errors
/// [`Failure`], which knows its exit code.
pub fn run(line: &CommandLine) -> Result<u8, Failure> {
    interrupt::listen()?;
    match &line.command {
        Command::Generate(args) => generate::command(args),
        Command::Check(args) => check::command(args),
        Command::Explain(args) => explain::command(args),
        Command::Build(args) => build::command(args),
        Command::Bench(args) => bench::command(args),
        Command::Doctor => doctor::command(),
    }
}
