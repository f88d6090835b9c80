//! How long it takes from the start of a process to its first token: this command, run as a user runs it.
//!
//! In: options of `generate` and a folder for kernels. Out: seconds until the first byte of text.
//! Invariant: the kernels of a run come from that folder alone, so an empty one makes a cold start and a filled one a warm
//! one.

use std::{
    io::{self, Read},
    num::NonZeroUsize,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use clap::ValueEnum;

use crate::{args::EngineName, error::Failure, machine::KERNELS_VARIABLE};

/// What the model continues.
const PROMPT: &str = "The capital of France is";

/// Seconds from starting `sawmill generate` with kernels in `kernels` until it writes; `model` and `engine` as on the command line.
///
/// # Errors
/// An environment error if this program cannot be started again or fails.
pub fn seconds_to_text(
    model: Option<&Path>,
    engine: EngineName,
    threads: NonZeroUsize,
    kernels: &Path,
) -> Result<f64, Failure> {
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(program);
    command.args(["generate", PROMPT, "--tokens", "1", "--threads", &threads.to_string()]);
    if let Some(engine) = engine.to_possible_value() {
        command.arg("--engine").arg(engine.get_name());
    }
    if let Some(model) = model {
        command.arg("--model").arg(model);
    }
    command.env(KERNELS_VARIABLE, kernels);
    to_first_byte(command)
}

/// Seconds from the start of a program that succeeds to the first byte that it writes.
fn to_first_byte(mut command: Command) -> Result<f64, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let mut output = child.stdout.take().ok_or_else(|| failed(&"it has no output"))?;
    let read = output.read_exact(&mut [0]);
    let seconds = start.elapsed().as_secs_f64();
    let rest = io::copy(&mut output, &mut io::sink());
    let status = child.wait().map_err(|error| failed(&error))?;
    if !status.success() {
        return Err(failed(&status));
    }
    read.and(rest.map(drop)).map_err(|error| failed(&error))?;
    Ok(seconds)
}

fn failed(why: &dyn std::fmt::Display) -> Failure {
    Failure::environment(format!("cannot measure the start of `sawmill generate`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::to_first_byte;
    use std::{process::Command, time::Instant};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_first_byte_stops_the_clock_and_failures_are_reported() {
        // No upper bounds: a busy machine may keep any process waiting.
        let start = Instant::now();
        let seconds = to_first_byte(shell("sleep 0.1; echo text; sleep 0.2; echo more")).expect("it succeeds");
        let total = start.elapsed().as_secs_f64();
        assert!(seconds >= 0.1 && total > seconds && total >= 0.3, "{seconds} of {total}");
        assert!(to_first_byte(shell("echo text; exit 3")).is_err());
        assert!(to_first_byte(shell("exit 0")).is_err());
        assert!(to_first_byte(Command::new("/no/such/program")).is_err());
    }
}
