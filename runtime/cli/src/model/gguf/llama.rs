//! A GGUF file of architecture `llama`, read as a model.
//!
//! In: a parsed file. Out: [`ModelFile`].
//! Invariant: q and k rows stay in the file's order, which llama.cpp's converter permutes for interleaved RoPE.

use std::{collections::BTreeMap, path::Path};

use sawmill::FileBytes;

use super::{Gguf, GgufError, Value, parse};
use crate::{
    model::{
        ModelError, ModelFile,
        config::{ConfigError, LlamaConfig, RopeStyle},
        llama::{GGUF_HEAD, Parameter, parameters},
        tensor::{ShapeError, WeightTensor},
    },
    text::{chat::ChatTemplate, gguf_vocabulary},
};

/// Reads the model in `file`; `path` is for messages.
///
/// # Errors
/// [`ModelError`], which names `path`.
pub fn load(path: &Path, file: FileBytes) -> Result<ModelFile, ModelError> {
    let in_gguf = |source| ModelError::Gguf { path: path.to_owned(), source };
    let in_config = |source| ModelError::Config { path: path.to_owned(), source };
    let gguf = parse(&file).map_err(in_gguf)?;
    let architecture = gguf.text("general.architecture").map_err(in_gguf)?;
    if architecture != "llama" {
        return Err(in_config(ConfigError::Architecture(architecture.to_owned())));
    }
    unsupported(&gguf).map_err(in_config)?;
    let config = config(&gguf).map_err(in_gguf)?.checked().map_err(in_config)?;
    let mut tensors = BTreeMap::new();
    for parameter in parameters(&config) {
        let tensor = tensor(&gguf, &file, &parameter);
        let tensor = tensor.map_err(|source| ModelError::Tensor { path: path.to_owned(), source })?;
        tensors.insert(parameter.name, tensor);
    }
    let vocabulary = gguf_vocabulary::read(&gguf, config.vocab)
        .map_err(|source| ModelError::Vocabulary { path: path.to_owned(), source })?;
    let chat = match gguf.metadata.get("tokenizer.chat_template") {
        Some(Value::Text(source)) => Some(ChatTemplate::new(*source, vocabulary.bos_text, vocabulary.eos_text)),
        _ => None,
    };
    Ok(ModelFile { config, tensors, codec: vocabulary.codec, chat, stops: vocabulary.stops })
}

/// Parts of the architecture that would change results and are not built.
fn unsupported(gguf: &Gguf<'_>) -> Result<(), ConfigError> {
    let scaling = match gguf.metadata.get("llama.rope.scaling.type") {
        Some(Value::Text("none")) | None => None,
        Some(other) => Some(format!("the rotary scaling {other:?}")),
    };
    let factors = gguf.tensors.contains_key("rope_freqs.weight").then(|| "a rotary scaling by factors".to_owned());
    let experts = gguf.metadata.get("llama.expert_count").and_then(Value::as_u32);
    let experts = experts.filter(|&count| count > 0).map(|count| format!("a mixture of {count} experts"));
    let bias = gguf.tensors.keys().find(|name| name.starts_with("blk.") && name.ends_with(".bias"));
    let bias = bias.map(|name| format!("the bias `{name}`"));
    match scaling.or(factors).or(experts).or(bias) {
        Some(what) => Err(ConfigError::Unsupported(what)),
        None => Ok(()),
    }
}

fn config(gguf: &Gguf<'_>) -> Result<LlamaConfig, GgufError> {
    let d_model = gguf.u32("llama.embedding_length")?;
    let n_heads = gguf.u32("llama.attention.head_count")?;
    let head_dim = match gguf.u32_or("llama.attention.key_length", 0)? {
        0 => d_model.checked_div(n_heads).unwrap_or(0),
        given => given,
    };
    let rotated = gguf.u32_or("llama.rope.dimension_count", head_dim)?;
    if rotated != head_dim {
        return Err(GgufError::KeyType { key: "llama.rope.dimension_count".to_owned(), wanted: "the head size" });
    }
    let tokens = match gguf.metadata.get("tokenizer.ggml.tokens") {
        Some(Value::Texts(tokens)) => tokens.len() as u32,
        _ => return Err(GgufError::MissingKey("tokenizer.ggml.tokens".to_owned())),
    };
    Ok(LlamaConfig {
        vocab: gguf.u32_or("llama.vocab_size", tokens)?,
        d_model,
        n_layers: gguf.u32("llama.block_count")?,
        n_heads,
        n_kv_heads: gguf.u32_or("llama.attention.head_count_kv", n_heads)?,
        head_dim,
        ffn: gguf.u32("llama.feed_forward_length")?,
        rope_theta: gguf.f64_or("llama.rope.freq_base", 10_000.0)?,
        rope_style: RopeStyle::Interleaved,
        rms_eps: gguf.f64("llama.attention.layer_norm_rms_epsilon")?,
        context: gguf.u32("llama.context_length")?,
        tied: !gguf.tensors.contains_key(GGUF_HEAD),
    })
}

fn tensor(gguf: &Gguf<'_>, file: &FileBytes, parameter: &Parameter) -> Result<WeightTensor, ShapeError> {
    let name = || parameter.gguf.clone();
    let info = gguf.tensors.get(parameter.gguf.as_str()).ok_or_else(|| ShapeError::Missing(name()))?;
    if info.shape != parameter.shape {
        return Err(ShapeError::Shape { name: name(), found: info.shape.clone(), wanted: parameter.shape.clone() });
    }
    let stored = info.stored.name.to_owned();
    let Some(encoding) = info.stored.encoding else { return Err(ShapeError::Encoding { name: name(), stored }) };
    WeightTensor::new(file.clone(), info.start, encoding, info.shape.clone())
        .ok_or_else(|| ShapeError::Range { name: name(), stored })
}

impl Gguf<'_> {
    fn key(&self, key: &str) -> Result<&Value<'_>, GgufError> {
        self.metadata.get(key).ok_or_else(|| GgufError::MissingKey(key.to_owned()))
    }

    /// A string that must be there.
    pub(crate) fn text(&self, key: &str) -> Result<&str, GgufError> {
        match self.key(key)? {
            Value::Text(text) => Ok(text),
            _ => Err(GgufError::KeyType { key: key.to_owned(), wanted: "a string" }),
        }
    }

    /// An integer that must be there.
    pub(crate) fn u32(&self, key: &str) -> Result<u32, GgufError> {
        self.key(key)?.as_u32().ok_or_else(|| GgufError::KeyType { key: key.to_owned(), wanted: "a 32-bit integer" })
    }

    /// An integer with a default.
    pub(crate) fn u32_or(&self, key: &str, default: u32) -> Result<u32, GgufError> {
        if self.metadata.contains_key(key) { self.u32(key) } else { Ok(default) }
    }

    fn f64(&self, key: &str) -> Result<f64, GgufError> {
        self.key(key)?.as_f64().ok_or_else(|| GgufError::KeyType { key: key.to_owned(), wanted: "a number" })
    }

    fn f64_or(&self, key: &str, default: f64) -> Result<f64, GgufError> {
        if self.metadata.contains_key(key) { self.f64(key) } else { Ok(default) }
    }
}
