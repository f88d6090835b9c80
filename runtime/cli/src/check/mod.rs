//! `sawmill check`: functions of the zoo against independent outputs.
//!
//! In: a directory with a manifest and tensors, written by other people's reference code. Out: one line a fixture, and
//! the count.
//! Invariant: nothing here knows any fixture; a directory of the same form is checked the same way.

pub mod adversarial;
pub mod array;
pub mod binding;
pub mod compare;
pub mod fixtures;
pub mod manifest;
pub mod signature;
pub mod sizes;
pub mod values;
pub mod work;
pub mod zoo;

use std::{
    fmt,
    io::{self, Write},
};

use crate::{
    args::{CheckArgs, FloatName},
    engine,
    error::Failure,
};

/// Exit code of a check that ran and found something wrong.
const FOUND_EXIT: u8 = 1;

/// Runs the command and returns its exit code: 1 if a fixture or a round failed.
///
/// # Errors
/// [`Failure`] if the check could not be made.
pub fn command(args: &CheckArgs) -> Result<u8, Failure> {
    let device = engine::device(args.engine, args.threads)?;
    let mut stdout = io::stdout().lock();
    // Where nobody reads any more, the exit code still tells.
    let mut print = |line: &dyn fmt::Display| drop(writeln!(stdout, "{line}"));
    let failed = match (&args.fixtures, &args.name) {
        (Some(directory), _) => {
            let runner = zoo::Zoo::new(device);
            let candidates = zoo::candidates()?;
            let count = fixtures::run(directory, args.row.as_deref(), &candidates, &runner, &mut |line| print(line))?;
            print(&count);
            count.failed
        }
        (None, Some(name)) => {
            let show = &mut |line: &str| print(&line);
            let function = adversarial::find(name)?;
            if args.floats != FloatName::F32 && !adversarial::is_generic(function)? {
                return Err(Failure::user(format!("the types of {name}'s floats are not the caller's to choose")));
            }
            adversarial::run(function, &device, args.floats.into(), adversarial::ROUNDS, show)?
        }
        (None, None) => return Err(Failure::user("name a function, or a directory with --fixtures")),
    };
    Ok(if failed > 0 { FOUND_EXIT } else { 0 })
}
