//! From names on the command line to devices and running models.
//!
//! In: an engine's name, a number of threads, a checkpoint. Out: a [`Device`], a [`LanguageModel`](crate::generate::language_model::LanguageModel).

pub mod llama;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use sawmill::{Device, Error};

use crate::{args::EngineName, error::Failure, machine};

/// The device of an engine, with `threads` workers or one for each processor, and the user's folder for kernels.
///
/// # Errors
/// An environment error if the engine does not work on this machine.
pub fn device(engine: EngineName, threads: Option<NonZeroUsize>) -> Result<Device, Failure> {
    device_with(engine, all_threads(threads), machine::kernels_directory())
}

/// The same with a number of threads and with kernels kept in a folder, or nowhere.
///
/// # Errors
/// An environment error if the engine does not work on this machine.
pub fn device_with(engine: EngineName, threads: NonZeroUsize, kernels: Option<PathBuf>) -> Result<Device, Failure> {
    let device = match engine {
        EngineName::Interpreter => Device::interpreter(),
        EngineName::Cranelift => Device::cpu_with(threads.get(), kernels),
        #[cfg(feature = "llvm")]
        EngineName::Llvm => Device::llvm_with(threads.get(), kernels),
        #[cfg(feature = "cuda")]
        EngineName::Cuda => Device::cuda_with(0, threads.get(), kernels),
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
        // The command says the kind of a failure itself.
        Error::Environment(what) => Failure::environment(what),
        Error::OutOfMemory { .. } | Error::Device { .. } => Failure::environment(error),
        Error::Bug { .. } | Error::Worker { .. } => Failure::defect(error),
    }
}
