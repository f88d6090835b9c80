//! What generation needs of a model: logits of the next token.
//!
//! In: token ids. Out: logits `[vocabulary]` of the last position.
//! Invariant: the model remembers every token it was given; positions never exceed its context length.

use std::time::Duration;

use crate::error::Failure;

/// A model that continues a sequence.
pub trait LanguageModel {
    /// Most tokens of prompt and generation together.
    fn context(&self) -> usize;

    /// Appends the tokens of a prompt (at least one) and returns the logits after the last.
    ///
    /// # Errors
    /// What the engine reports.
    fn prefill(&mut self, ids: &[u32]) -> Result<Vec<f32>, Failure>;

    /// Appends one token and returns the logits after it.
    ///
    /// # Errors
    /// What the engine reports.
    fn step(&mut self, id: u32) -> Result<Vec<f32>, Failure>;

    /// What was spent on making the kernels, so far.
    fn compiled(&self) -> Compiled;
}

/// Kernels of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Compiled {
    /// Time spent compiling, or loading compiled kernels from the cache.
    pub time: Duration,
    /// Kernels of the plans in use; 0 on the interpreter.
    pub kernels: usize,
}
