//! Checkpoints of llama-family models: one description in memory for every file format.
//!
//! In: a GGUF file or a Hugging Face directory. Out: [`ModelFile`], whose tensors are ranges of mapped files in the
//! encoding that the file stores; nothing is unpacked, converted or permuted here.
//! Invariant: every tensor of [`parameters`](llama::parameters) is present with its shape and inside its file.

pub mod config;
pub mod gguf;
pub mod huggingface;
pub mod llama;
pub mod tensor;

use std::{collections::BTreeMap, io, path::Path, path::PathBuf};

use sawmill::FileBytes;

use crate::{
    error::Failure,
    text::{chat::ChatTemplate, codec::TextCodec},
};
use config::{ConfigError, LlamaConfig};
use tensor::{ShapeError, WeightTensor};

/// One loaded checkpoint.
#[derive(Debug)]
pub struct ModelFile {
    /// Sizes and constants of the architecture.
    pub config: LlamaConfig,
    /// Tensors by their Hugging Face name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub tensors: BTreeMap<String, WeightTensor>,
    /// Text to token ids and back.
    pub codec: TextCodec,
    /// The file's chat template, where it has one.
    pub chat: Option<ChatTemplate>,
    /// Token ids that end a generation.
    pub stops: Vec<u32>,
}

impl ModelFile {
    /// Bytes of all weights as stored: what one decoded token has to read.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.bytes().len() as u64).sum()
    }
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A GGUF file is malformed.
    #[error("{}: {source}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: gguf::GgufError,
    },
    /// A Hugging Face directory is malformed.
    #[error("{}: {source}", path.display())]
    HuggingFace {
        /// The file inside the directory, or the directory.
        path: PathBuf,
        /// The reason.
        source: huggingface::HuggingFaceError,
    },
    /// The architecture's sizes make no sense or ask for what the llama family lacks.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: ConfigError,
    },
    /// A tensor is missing, or is not what the configuration says.
    #[error("{}: {source}", path.display())]
    Tensor {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: ShapeError,
    },
    /// The vocabulary cannot be used.
    #[error("{}: {source}", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: crate::text::VocabularyError,
    },
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Failure::user(error).help("--model takes a GGUF file or a Hugging Face directory of a llama-family model")
    }
}

/// Opens the checkpoint at `path`: a directory is read as Hugging Face's layout, a file as GGUF.
///
/// # Errors
/// [`ModelError`], which names the file.
pub fn open(path: &Path) -> Result<ModelFile, ModelError> {
    let metadata = std::fs::metadata(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    if metadata.is_dir() { huggingface::load(path) } else { gguf::load(path, map(path)?) }
}

/// Maps a file, naming it in the error.
pub(crate) fn map(path: &Path) -> Result<FileBytes, ModelError> {
    FileBytes::map(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}
