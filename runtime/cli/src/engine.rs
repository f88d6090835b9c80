//! From a checkpoint to a running model.
//!
//! In: a [`ModelFile`] and the engine's name. Out: a [`LanguageModel`].

use std::num::NonZeroUsize;

use crate::{args::EngineName, error::Failure, generate::language_model::LanguageModel, model::ModelFile};

/// Compiles the model for an engine.
///
/// # Errors
/// An environment error if this build holds no such engine.
pub fn load(
    _file: &ModelFile,
    engine: EngineName,
    _threads: Option<NonZeroUsize>,
) -> Result<Box<dyn LanguageModel>, Failure> {
    Err(Failure::environment(format!("this build of sawmill cannot run a llama-family model on {engine:?} yet")))
}
