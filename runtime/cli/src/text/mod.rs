//! Text to token ids and back, and chat templates.
//!
//! In: a vocabulary from a checkpoint. Out: [`codec::TextCodec`], [`stream::TextStream`], [`chat::ChatTemplate`].
//! Invariant: token ids are below the model's vocabulary size, or encoding is an error.

mod byte_level;
pub mod chat;
pub mod codec;
pub(crate) mod gguf_vocabulary;
pub(crate) mod huggingface_vocabulary;
mod sentence_piece;
pub mod stream;

/// A vocabulary that cannot be used, or text that it cannot express.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// A key of a GGUF file.
    #[error("{0}")]
    Gguf(#[from] crate::model::gguf::GgufError),
    /// A kind of vocabulary that is not built.
    #[error("the tokenizer model `{0}` is not supported; `gpt2` (byte-level BPE) and `llama` (SentencePiece) are")]
    Model(String),
    /// A way to split text before merging that is not known; guessing would give other token ids.
    #[error("the pre-tokenizer `{0}` is not known; known are {known}", known = byte_level::known_splits())]
    Split(String),
    /// More tokens than the model has.
    #[error("the vocabulary has {tokens} tokens, the model's embedding {rows} rows")]
    Size {
        /// Tokens.
        tokens: usize,
        /// Rows of the embedding.
        rows: u32,
    },
    /// A merge that is not two tokens.
    #[error("the merge `{0}` is not two tokens separated by a space")]
    Merge(String),
    /// A token id outside of the vocabulary.
    #[error("{what} is the token {id}, but the vocabulary has {tokens}")]
    Id {
        /// What names it.
        what: String,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        tokens: usize,
    },
    /// The tokenizer library's own error.
    #[error("tokenizer: {0}")]
    Tokenizer(tokenizers::Error),
}
