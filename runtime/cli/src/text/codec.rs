//! A tokenizer and what surrounds it: the token that begins a text and the bound on ids.
//!
//! In: text, or ids. Out: ids, or text.
//! Invariant: every id that `encode` returns has a row in the model's embedding.

use std::fmt;

use tokenizers::Tokenizer;

use super::VocabularyError;

/// Text to token ids and back.
pub struct TextCodec {
    tokenizer: Tokenizer,
    /// Put before a text that begins a sequence, where the tokenizer does not do so itself.
    begin: Option<u32>,
    rows: u32,
}

impl TextCodec {
    /// A codec for a model whose embedding has `rows` rows.
    pub fn new(tokenizer: Tokenizer, begin: Option<u32>, rows: u32) -> Self {
        Self { tokenizer, begin, rows }
    }

    /// The ids of `text`; control tokens spelled out in it are recognised. `begin` adds the tokens that the model
    /// expects at the start of a sequence, which a chat template writes itself.
    ///
    /// # Errors
    /// [`VocabularyError`] if the tokenizer refuses or gives an id that the model has no row for.
    pub fn encode(&self, text: &str, begin: bool) -> Result<Vec<u32>, VocabularyError> {
        let encoding = self.tokenizer.encode_fast(text, begin).map_err(VocabularyError::Tokenizer)?;
        let prefix = self.begin.filter(|_| begin);
        let ids: Vec<u32> = prefix.into_iter().chain(encoding.get_ids().iter().copied()).collect();
        match ids.iter().find(|&&id| id >= self.rows) {
            Some(&id) => {
                Err(VocabularyError::Id { what: format!("a part of {text:?}"), id, tokens: self.rows as usize })
            }
            None => Ok(ids),
        }
    }

    /// The text of `ids`, without control tokens. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`VocabularyError::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, VocabularyError> {
        self.tokenizer.decode(ids, true).map_err(VocabularyError::Tokenizer)
    }
}

impl fmt::Debug for TextCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextCodec").field("begin", &self.begin).field("rows", &self.rows).finish_non_exhaustive()
    }
}
