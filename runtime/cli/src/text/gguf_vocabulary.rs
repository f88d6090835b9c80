//! The vocabulary inside a GGUF file, byte-level BPE or SentencePiece.
//!
//! In: a parsed file. Out: [`Vocabulary`].
//! Invariant: ids agree with llama.cpp's tokenizer for the same file, or reading it is an error.

use tokenizers::{AddedToken, Tokenizer};

use super::{VocabularyError, byte_level, codec::TextCodec, sentence_piece};
use crate::model::gguf::{Gguf, GgufError, Value};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";

/// Token types of the format that are found in text before it is split.
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;
/// The type of ordinary tokens.
const NORMAL: u32 = 1;

/// Tokens that end a turn or a text, beside the one that the file names: files name one and models use several. They
/// are control tokens also where the file's types forget to say so, as in llama.cpp.
const ENDS: [&str; 8] =
    ["<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>", "<EOT>", "</s>"];

/// What a file says about text.
pub(crate) struct Vocabulary {
    /// Text to ids and back.
    pub(crate) codec: TextCodec,
    /// Text of the token that begins a sequence.
    pub(crate) bos_text: String,
    /// Text of the token that ends one.
    pub(crate) eos_text: String,
    /// Ids that end a generation.
    pub(crate) stops: Vec<u32>,
}

/// Reads the vocabulary of a model whose embedding has `rows` rows.
pub(crate) fn read(gguf: &Gguf<'_>, rows: u32) -> Result<Vocabulary, VocabularyError> {
    let tokens = texts(gguf, TOKENS)?;
    if tokens.len() > rows as usize {
        return Err(VocabularyError::Size { tokens: tokens.len(), rows });
    }
    let (mut tokenizer, begins) = tokenizer(gguf, tokens)?;
    let specials = specials(gguf, tokens)?;
    let added: Vec<AddedToken> =
        specials.iter().map(|&(id, control)| AddedToken::from(tokens[id], control).normalized(false)).collect();
    tokenizer.add_special_tokens(&added);
    let begin = special_id(gguf, "tokenizer.ggml.bos_token_id", tokens)?;
    let end = special_id(gguf, "tokenizer.ggml.eos_token_id", tokens)?;
    let turn = special_id(gguf, "tokenizer.ggml.eot_token_id", tokens)?;
    let begins = flag(gguf, "tokenizer.ggml.add_bos_token").unwrap_or(begins);
    let named = specials.iter().filter(|&&(id, _)| ENDS.contains(&tokens[id])).map(|&(id, _)| id as u32);
    let mut stops: Vec<u32> = end.into_iter().chain(turn).chain(named).collect();
    stops.sort_unstable();
    stops.dedup();
    let text = |id: Option<u32>| id.map(|id| tokens[id as usize].to_owned()).unwrap_or_default();
    Ok(Vocabulary {
        codec: TextCodec::new(tokenizer, begin.filter(|_| begins), rows),
        bos_text: text(begin),
        eos_text: text(end),
        stops,
    })
}

/// The tokenizer, and whether a text begins with the beginning token where the file does not say.
fn tokenizer(gguf: &Gguf<'_>, tokens: &[&str]) -> Result<(Tokenizer, bool), VocabularyError> {
    match gguf.text("tokenizer.ggml.model")? {
        "gpt2" => {
            let row = byte_level::split_row(gguf.text("tokenizer.ggml.pre")?)?;
            Ok((byte_level::tokenizer(tokens, texts(gguf, MERGES)?, row)?, row.begins))
        }
        "llama" => {
            let scores = match gguf.metadata.get(SCORES) {
                Some(Value::Scalars(scores)) => scores.iter().map(|score| score.as_f64().unwrap_or(0.0)),
                _ => return Err(GgufError::MissingKey(SCORES.to_owned()).into()),
            };
            let scores: Vec<f64> = scores.collect();
            let types = types(gguf)?;
            let mergeable = |id: usize| types.get(id).is_none_or(|&kind| kind == NORMAL || kind == USER_DEFINED);
            let prefix = flag(gguf, "tokenizer.ggml.add_space_prefix").unwrap_or(true);
            Ok((sentence_piece::tokenizer(tokens, &scores, mergeable, prefix)?, true))
        }
        other => Err(VocabularyError::Model(other.to_owned())),
    }
}

fn flag(gguf: &Gguf<'_>, key: &str) -> Option<bool> {
    match gguf.metadata.get(key) {
        Some(&Value::Bool(flag)) => Some(flag),
        _ => None,
    }
}

fn texts<'g>(gguf: &'g Gguf<'_>, key: &str) -> Result<&'g [&'g str], GgufError> {
    match gguf.metadata.get(key) {
        Some(Value::Texts(texts)) => Ok(texts),
        Some(_) => Err(GgufError::KeyType { key: key.to_owned(), wanted: "an array of strings" }),
        None => Err(GgufError::MissingKey(key.to_owned())),
    }
}

/// The types of the tokens, where the file has them.
fn types(gguf: &Gguf<'_>) -> Result<Vec<u32>, GgufError> {
    match gguf.metadata.get(TYPES) {
        Some(Value::Scalars(types)) => Ok(types.iter().map(|kind| kind.as_u32().unwrap_or(NORMAL)).collect()),
        Some(_) => Err(GgufError::KeyType { key: TYPES.to_owned(), wanted: "an array of integers" }),
        None => Ok(Vec::new()),
    }
}

/// Tokens that are found in text as they are written: their ids, and whether they are control tokens.
fn specials(gguf: &Gguf<'_>, tokens: &[&str]) -> Result<Vec<(usize, bool)>, GgufError> {
    let types = types(gguf)?;
    let kind = |id: usize| types.get(id).copied().unwrap_or(NORMAL);
    let found = tokens.iter().enumerate().filter_map(|(id, token)| match kind(id) {
        _ if ENDS.contains(token) => Some((id, true)),
        // An empty text would be found everywhere.
        CONTROL | USER_DEFINED if !token.is_empty() => Some((id, kind(id) == CONTROL)),
        _ => None,
    });
    Ok(found.collect())
}

fn special_id(gguf: &Gguf<'_>, key: &str, tokens: &[&str]) -> Result<Option<u32>, VocabularyError> {
    if !gguf.metadata.contains_key(key) {
        return Ok(None);
    }
    let id = gguf.u32(key)?;
    if (id as usize) < tokens.len() {
        Ok(Some(id))
    } else {
        Err(VocabularyError::Id { what: key.to_owned(), id, tokens: tokens.len() })
    }
}
