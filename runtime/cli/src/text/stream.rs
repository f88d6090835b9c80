//! Text of a growing sequence of tokens, piece by piece.
//!
//! In: one token id after another. Out: the text that each one completes.
//! Invariant: the pieces, concatenated, are the decoded whole; a piece never ends inside a UTF-8 sequence.
//! Source: the two-window scheme of Hugging Face's text-generation-inference: a token's text is the difference between
//! decoding a short window with it and without it, because decoders treat the first token of a text specially.

use super::{VocabularyError, codec::TextCodec};

/// What an unfinished UTF-8 sequence decodes to.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Decodes a sequence while it grows.
#[derive(Debug)]
pub struct TextStream<'a> {
    codec: &'a TextCodec,
    /// The window: ids whose text is not yet certain, after the ids that were written last.
    window: Vec<u32>,
    /// How many ids of the window are written.
    written: usize,
}

impl<'a> TextStream<'a> {
    /// A stream that continues after `context`, whose last tokens decide whether a leading space is written.
    pub fn after(codec: &'a TextCodec, context: &[u32]) -> Self {
        let tail = context.len().saturating_sub(4);
        Self { codec, window: context[tail..].to_vec(), written: context.len() - tail }
    }

    /// The text that `id` completes; empty while a UTF-8 sequence is unfinished.
    ///
    /// # Errors
    /// [`VocabularyError::Tokenizer`].
    pub fn push(&mut self, id: u32) -> Result<String, VocabularyError> {
        self.window.push(id);
        let (before, now) = self.texts()?;
        // A character has at most four bytes: after four tokens without an end the bytes are no UTF-8.
        let unfinished = now.ends_with(REPLACEMENT) && self.window.len() - self.written < 4;
        if unfinished {
            return Ok(String::new());
        }
        self.window.drain(..self.written);
        self.written = self.window.len();
        Ok(added(&before, now))
    }

    /// What is left at the end: an unfinished UTF-8 sequence as U+FFFD.
    ///
    /// # Errors
    /// [`VocabularyError::Tokenizer`].
    pub fn finish(self) -> Result<String, VocabularyError> {
        let (before, now) = self.texts()?;
        Ok(added(&before, now))
    }

    fn texts(&self) -> Result<(String, String), VocabularyError> {
        Ok((self.codec.decode(&self.window[..self.written])?, self.codec.decode(&self.window)?))
    }
}

/// The part of `now` after its common beginning with `before`.
fn added(before: &str, mut now: String) -> String {
    let common = before.char_indices().zip(now.chars()).find(|&((_, old), new)| old != new);
    let from = common.map_or(before.len().min(now.len()), |((at, _), _)| at);
    now.split_off(from)
}
