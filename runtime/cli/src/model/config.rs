//! Sizes and constants of a llama-family model.
//!
//! In: numbers from a file's header, trusted by nobody. Out: a [`LlamaConfig`] that [`LlamaConfig::checked`] accepted.
//! Invariant: every size is at least 1 and fits 32 bits, query heads are a multiple of key-value heads, head dims are even.

/// Which two channels of a head RoPE rotates together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Channels 2i and 2i + 1: the order of q and k rows in llama-architecture GGUF files.
    Interleaved,
    /// Channels i and i + head_dim / 2: the order of Hugging Face checkpoints.
    HalfSplit,
}

/// Sizes and constants of a llama-family model.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Tokens of the vocabulary.
    pub vocab: u32,
    /// Channels of the residual stream.
    pub d_model: u32,
    /// Layers.
    pub n_layers: u32,
    /// Query heads.
    pub n_heads: u32,
    /// Key-value heads; divides `n_heads`.
    pub n_kv_heads: u32,
    /// Channels of a head.
    pub head_dim: u32,
    /// Channels of the feed-forward layer.
    pub ffn: u32,
    /// Base of RoPE's frequencies.
    pub rope_theta: f64,
    /// Order of the rotated channels.
    pub rope_style: RopeStyle,
    /// Constant under RMSNorm's root.
    pub rms_eps: f64,
    /// Most tokens of prompt and generation together.
    pub context: u32,
    /// Whether the output head is the embedding.
    pub tied: bool,
}

/// A configuration that no model of this family has.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The architecture is another one.
    #[error("model type `{0}` is not supported; the llama family is (model type `llama`)")]
    Architecture(String),
    /// A size is zero.
    #[error("{0} is 0")]
    Zero(&'static str),
    /// Grouped-query attention does not divide.
    #[error("{heads} query heads are not a multiple of {kv_heads} key-value heads")]
    Heads {
        /// Query heads.
        heads: u32,
        /// Key-value heads.
        kv_heads: u32,
    },
    /// RoPE rotates pairs.
    #[error("the head size {0} is odd, but rotary embedding rotates pairs of channels")]
    OddHead(u32),
    /// A constant is not a usable number.
    #[error("{what} is {value}")]
    Constant {
        /// Its name.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// Something of the llama family that is not built.
    #[error("{0} is not supported")]
    Unsupported(String),
}

impl LlamaConfig {
    /// Returns the configuration if it satisfies the invariants of this module.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let sizes = [
            ("the vocabulary size", self.vocab),
            ("the model width", self.d_model),
            ("the number of layers", self.n_layers),
            ("the number of heads", self.n_heads),
            ("the number of key-value heads", self.n_kv_heads),
            ("the head size", self.head_dim),
            ("the feed-forward width", self.ffn),
            ("the context length", self.context),
        ];
        if let Some((what, _)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return Err(ConfigError::Zero(what));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(ConfigError::Heads { heads: self.n_heads, kv_heads: self.n_kv_heads });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ConfigError::OddHead(self.head_dim));
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.rope_theta) {
            return Err(ConfigError::Constant { what: "the rotary base", value: self.rope_theta });
        }
        if !self.rms_eps.is_finite() || self.rms_eps < 0.0 {
            return Err(ConfigError::Constant { what: "the epsilon of RMSNorm", value: self.rms_eps });
        }
        Ok(self)
    }
}
