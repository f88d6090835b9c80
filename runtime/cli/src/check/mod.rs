//! `sawmill check`: functions of the zoo against independent outputs.
//!
//! In: a directory with a manifest and tensors, written by other people's reference code. Out: one line a fixture, and
//! the count.
//! Invariant: nothing here knows any fixture; a directory of the same form is checked the same way.

pub mod array;
pub mod binding;
pub mod compare;
pub mod fixtures;
pub mod manifest;
pub mod signature;
pub mod zoo;

use std::io::{self, Write};

use crate::{args::CheckArgs, engine, error::Failure};

/// Exit code of a check that ran and found something wrong.
const FOUND_EXIT: u8 = 1;

/// Runs the command and returns its exit code: 1 if a fixture failed.
///
/// # Errors
/// [`Failure`] if the check could not be made.
pub fn command(args: &CheckArgs) -> Result<u8, Failure> {
    let device = engine::device(args.engine, args.threads)?;
    let runner = zoo::Zoo::new(device);
    let mut stdout = io::stdout().lock();
    // Nobody reads any more: the exit code still tells.
    let mut show = |line: &fixtures::Line| drop(writeln!(stdout, "{line}"));
    let count = fixtures::run(&args.fixtures, args.row.as_deref(), &zoo::candidates()?, &runner, &mut show)?;
    drop(writeln!(stdout, "{count}"));
    Ok(if count.failed > 0 { FOUND_EXIT } else { 0 })
}
