//! Hugging Face directories: `config.json`, `tokenizer.json` and `*.safetensors`, sharded or not.
//!
//! In: a directory. Out: [`ModelFile`].
//! Invariant: an index names files inside the directory only; shards are mapped, not read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors};
use sawmill::FileBytes;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ModelError, ModelFile,
    config::{ConfigError, LlamaConfig, RopeStyle},
    llama::{Parameter, parameters},
    map,
    tensor::{Encoding, ShapeError, WeightTensor},
};
use crate::text::huggingface_vocabulary;

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
const EXTENSION: &str = "safetensors";

/// A malformed directory.
#[derive(Debug, thiserror::Error)]
pub enum HuggingFaceError {
    /// A file is not the JSON that it should be.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A file is not a safetensors file.
    #[error("malformed or truncated safetensors file: {0}")]
    SafeTensors(#[from] safetensors::SafeTensorError),
    /// The index names something that is no file of the directory.
    #[error("the index names the file `{0}`, which is no plain file name")]
    FileName(String),
    /// No weights.
    #[error("the directory holds no *.safetensors file")]
    NoWeights,
    /// A tensor that two shards hold.
    #[error("the tensor `{0}` is in two shards")]
    Twice(String),
}

#[derive(Deserialize)]
struct Config {
    model_type: String,
    vocab_size: u32,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    max_position_embeddings: u32,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    rope_interleaved: bool,
    hidden_act: Option<String>,
}

#[derive(Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads the model in the directory `path`.
pub(crate) fn load(path: &Path) -> Result<ModelFile, ModelError> {
    let config_path = path.join(CONFIG);
    let raw = map(&config_path)?;
    let config = parse_config(&raw).map_err(|error| match error {
        ConfigFileError::Json(source) => ModelError::HuggingFace { path: config_path.clone(), source: source.into() },
        ConfigFileError::Config(source) => ModelError::Config { path: config_path.clone(), source },
    })?;
    let found = shards(path)?;
    let mut tensors = BTreeMap::new();
    for parameter in parameters(&config) {
        let tensor = tensor(&found, &parameter);
        let tensor = tensor.map_err(|source| ModelError::Tensor { path: path.to_owned(), source })?;
        tensors.insert(parameter.name, tensor);
    }
    let vocabulary = huggingface_vocabulary::read(path, &raw, config.vocab)?;
    Ok(ModelFile { config, tensors, codec: vocabulary.codec, chat: vocabulary.chat, stops: vocabulary.stops })
}

enum ConfigFileError {
    Json(serde_json::Error),
    Config(ConfigError),
}

fn parse_config(bytes: &[u8]) -> Result<LlamaConfig, ConfigFileError> {
    // The type first: other architectures lack keys, and the user should hear of the architecture.
    let value: Value = serde_json::from_slice(bytes).map_err(ConfigFileError::Json)?;
    if let Some(other) = value.get("model_type").and_then(Value::as_str).filter(|&kind| kind != "llama") {
        return Err(ConfigFileError::Config(ConfigError::Architecture(other.to_owned())));
    }
    let raw = Config::deserialize(value).map_err(ConfigFileError::Json)?;
    raw.meaning().map_err(ConfigFileError::Config)
}

impl Config {
    fn meaning(self) -> Result<LlamaConfig, ConfigError> {
        if self.model_type != "llama" {
            return Err(ConfigError::Architecture(self.model_type));
        }
        if let Some(what) = self.unsupported() {
            return Err(ConfigError::Unsupported(what));
        }
        let rope_theta = self.rope_parameters.and_then(|rope| rope.rope_theta).or(self.rope_theta);
        let config = LlamaConfig {
            vocab: self.vocab_size,
            d_model: self.hidden_size,
            n_layers: self.num_hidden_layers,
            n_heads: self.num_attention_heads,
            n_kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim: self.head_dim.or_else(|| self.hidden_size.checked_div(self.num_attention_heads)).unwrap_or(0),
            ffn: self.intermediate_size,
            rope_theta: rope_theta.unwrap_or(10_000.0),
            rope_style: RopeStyle::HalfSplit,
            rms_eps: self.rms_norm_eps,
            context: self.max_position_embeddings,
            tied: self.tie_word_embeddings,
        };
        config.checked()
    }

    /// Parts of the architecture that would change results and are not built.
    fn unsupported(&self) -> Option<String> {
        let ropes = [&self.rope_scaling, &self.rope_parameters];
        let scaling = ropes.into_iter().flatten().filter_map(|rope| rope.rope_type.as_deref());
        if let Some(kind) = scaling.into_iter().find(|&kind| kind != "default") {
            return Some(format!("the rotary scaling `{kind}`"));
        }
        if let Some(act) = self.hidden_act.as_deref().filter(|&act| act != "silu") {
            return Some(format!("the activation `{act}`"));
        }
        let flags = [
            (self.attention_bias, "a bias in attention"),
            (self.mlp_bias, "a bias in the feed-forward layer"),
            (self.rope_interleaved, "interleaved rotary embedding in a Hugging Face checkpoint"),
        ];
        flags.into_iter().find(|&(set, _)| set).map(|(_, what)| what.to_owned())
    }
}

/// A tensor as its shard's header has it.
struct Found {
    file: FileBytes,
    start: usize,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// All tensors of all shards by name.
fn shards(directory: &Path) -> Result<BTreeMap<String, Found>, ModelError> {
    let mut found = BTreeMap::new();
    for path in shard_paths(directory)? {
        let in_shard = |source| ModelError::HuggingFace { path: path.clone(), source };
        let file = map(&path)?;
        for (name, tensor) in header(&file).map_err(in_shard)? {
            if found.contains_key(&name) {
                return Err(in_shard(HuggingFaceError::Twice(name)));
            }
            found.insert(name, tensor);
        }
    }
    Ok(found)
}

fn header(file: &FileBytes) -> Result<Vec<(String, Found)>, HuggingFaceError> {
    let (header_bytes, metadata) = SafeTensors::read_metadata(file)?;
    // The header's own length stands before it in eight bytes.
    let data = header_bytes + size_of::<u64>();
    let tensors = metadata.tensors().into_iter().map(|(name, info)| {
        let start = data + info.data_offsets.0;
        (name, Found { file: file.clone(), start, dtype: info.dtype, shape: info.shape.clone() })
    });
    Ok(tensors.collect())
}

fn shard_paths(directory: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let index_path = directory.join(INDEX);
    if index_path.is_file() {
        let names = index_files(&map(&index_path)?)
            .map_err(|source| ModelError::HuggingFace { path: index_path.clone(), source })?;
        return Ok(names.into_iter().map(|name| directory.join(name)).collect());
    }
    let io = |source| ModelError::Io { path: directory.to_owned(), source };
    let entries = std::fs::read_dir(directory).map_err(io)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(io)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    paths.sort();
    if paths.is_empty() {
        return Err(ModelError::HuggingFace { path: directory.to_owned(), source: HuggingFaceError::NoWeights });
    }
    Ok(paths)
}

fn index_files(bytes: &[u8]) -> Result<BTreeSet<String>, HuggingFaceError> {
    let index: Index = serde_json::from_slice(bytes)?;
    let files: BTreeSet<String> = index.weight_map.into_values().collect();
    let plain = |name: &String| Path::new(name).file_name().is_some_and(|last| last == name.as_str());
    match files.iter().find(|name| !plain(name)) {
        Some(name) => Err(HuggingFaceError::FileName(name.clone())),
        None => Ok(files),
    }
}

fn tensor(found: &BTreeMap<String, Found>, parameter: &Parameter) -> Result<WeightTensor, ShapeError> {
    let name = || parameter.name.clone();
    let tensor = found.get(&parameter.name).ok_or_else(|| ShapeError::Missing(name()))?;
    if tensor.shape != parameter.shape {
        return Err(ShapeError::Shape { name: name(), found: tensor.shape.clone(), wanted: parameter.shape.clone() });
    }
    let stored = format!("{:?}", tensor.dtype);
    let encoding = match tensor.dtype {
        Dtype::F32 => Encoding::F32,
        Dtype::F16 => Encoding::F16,
        Dtype::BF16 => Encoding::Bf16,
        _ => return Err(ShapeError::Encoding { name: name(), stored }),
    };
    WeightTensor::new(tensor.file.clone(), tensor.start, encoding, tensor.shape.clone())
        .ok_or_else(|| ShapeError::Range { name: name(), stored })
}
