//! The vocabulary of a Hugging Face directory: `tokenizer.json` and the small files around it.
//!
//! In: a directory and its `config.json`. Out: [`Vocabulary`].
//! Invariant: only `tokenizer.json` must exist; a file that exists and is malformed is an error.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;

use super::{VocabularyError, chat::ChatTemplate, codec::TextCodec};
use crate::model::{ModelError, map};

/// What a directory says about text.
pub(crate) struct Vocabulary {
    /// Text to ids and back.
    pub(crate) codec: TextCodec,
    /// The chat template, where there is one.
    pub(crate) chat: Option<ChatTemplate>,
    /// Ids that end a generation.
    pub(crate) stops: Vec<u32>,
}

/// Reads the vocabulary of a model whose embedding has `rows` rows; `config` is the text of `config.json`.
pub(crate) fn read(directory: &Path, config: &[u8], rows: u32) -> Result<Vocabulary, ModelError> {
    let path = directory.join("tokenizer.json");
    let bytes = map(&path)?;
    let tokenizer = tokenizer(&bytes)
        .map_err(|source| ModelError::Vocabulary { path, source: VocabularyError::Tokenizer(source.into()) })?;
    let settings = json(directory, "tokenizer_config.json")?;
    let generation = json(directory, "generation_config.json")?;
    let config = serde_json::from_slice(config).unwrap_or(Value::Null);
    let mut stops = [ids(&generation["eos_token_id"]), ids(&config["eos_token_id"])].concat();
    let eos = token_text(&settings["eos_token"]);
    stops.extend(tokenizer.token_to_id(&eos));
    stops.sort_unstable();
    stops.dedup();
    let chat = template(directory, &settings)?
        .map(|source| ChatTemplate::new(source, token_text(&settings["bos_token"]), eos));
    Ok(Vocabulary { codec: TextCodec::new(tokenizer, None, rows), chat, stops })
}

/// Reads `tokenizer.json`. Its syntax is read apart from its meaning, because the library panics on a decoder that is no JSON.
fn tokenizer(bytes: &[u8]) -> serde_json::Result<Tokenizer> {
    let tree: Value = serde_json::from_slice(bytes)?;
    serde_json::from_value(tree)
}

/// A JSON file of the directory; `Null` if there is none.
fn json(directory: &Path, name: &str) -> Result<Value, ModelError> {
    let path: PathBuf = directory.join(name);
    if !path.is_file() {
        return Ok(Value::Null);
    }
    let bytes = map(&path)?;
    serde_json::from_slice(&bytes).map_err(|source| ModelError::HuggingFace { path, source: source.into() })
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(values) => values.iter().filter_map(id).collect(),
        single => id(single).into_iter().collect(),
    }
}

/// A token given as its text or as an object with its text.
fn token_text(value: &Value) -> String {
    value.as_str().or_else(|| value["content"].as_str()).unwrap_or_default().to_owned()
}

/// The template: a file of its own, one string, or the one named `default` of several.
fn template(directory: &Path, settings: &Value) -> Result<Option<String>, ModelError> {
    let path = directory.join("chat_template.jinja");
    if path.is_file() {
        let text = std::fs::read_to_string(&path).map_err(|source| ModelError::Io { path, source })?;
        return Ok(Some(text));
    }
    let named =
        |value: &Value| (value["name"] == "default").then(|| value["template"].as_str().map(str::to_owned)).flatten();
    Ok(match &settings["chat_template"] {
        Value::String(source) => Some(source.clone()),
        Value::Array(templates) => templates.iter().find_map(named),
        _ => None,
    })
}
