//! From names on the command line to devices and running models.
//!
//! In: an engine's name, a number of threads, a checkpoint. Out: a [`Device`], a [`LanguageModel`](crate::generate::language_model::LanguageModel).

pub mod llama;

use std::num::NonZeroUsize;

use sawmill::{Device, Error};

use crate::{args::EngineName, error::Failure, machine};

/// The device of an engine, with `threads` workers or one for each processor.
///
/// # Errors
/// An environment error if the engine does not work on this machine.
pub fn device(engine: EngineName, threads: Option<NonZeroUsize>) -> Result<Device, Failure> {
    let device = match engine {
        EngineName::Interpreter => Device::interpreter(),
        EngineName::Cranelift => Device::cpu_with(all_threads(threads).get(), machine::kernels_directory()),
    };
    device.map_err(failure)
}

/// The number of threads: as asked, or as many as processors.
pub fn all_threads(threads: Option<NonZeroUsize>) -> NonZeroUsize {
    threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// A failed call, as the command's failure of the same kind.
pub fn failure(error: Error) -> Failure {
    match &error {
        Error::Argument { .. } | Error::Requirement { .. } | Error::Tensor(_) | Error::Unsupported { .. } => {
            Failure::user(error)
        }
        Error::OutOfMemory { .. } | Error::Environment(_) => Failure::environment(error),
        Error::Bug { .. } | Error::Worker { .. } => Failure::defect(error),
    }
}
