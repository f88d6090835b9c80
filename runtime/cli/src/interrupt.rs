//! Ctrl-C: the first asks the running command to end in order, the second ends the process.
//!
//! In: the signal. Out: a flag that loops ask between steps.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Failure, INTERRUPTED_EXIT};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens from now on.
///
/// # Errors
/// An environment error if the system refuses a handler.
pub fn listen() -> Result<(), Failure> {
    let handler = || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED_EXIT.into());
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::environment(format!("cannot listen for Ctrl-C: {error}")))
}

/// Whether Ctrl-C was pressed.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
