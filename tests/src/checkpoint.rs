//! Small llama-family checkpoints, made in memory, whole or with one thing wrong.
//!
//! In: which parts to write. Out: the bytes of a GGUF file, or the files of a Hugging Face directory.
//! Invariant: what [`Gguf::small`] and [`directory`] give is valid; tests break a copy.
//! Source of the format: the GGUF specification in ggml's documentation, version 3.

use serde_json::json;
use std::collections::BTreeMap;

/// Sizes of the small model: one layer, two heads on one key head.
const MODEL: u64 = 32;
const HEADS: u32 = 2;
const KEY_HEADS: u32 = 1;
const FFN: u64 = 32;
const TOKENS: [&str; 6] = ["<|im_start|>", "<|im_end|>", "a", "b", "ab", "Ġ"];

/// A metadata value as the file stores it: its type's number and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(u32, Vec<u8>);

impl Value {
    /// An unsigned 32-bit integer.
    #[must_use]
    pub fn u32(value: u32) -> Self {
        Self(4, value.to_le_bytes().to_vec())
    }

    /// A 32-bit float.
    #[must_use]
    pub fn f32(value: f32) -> Self {
        Self(6, value.to_le_bytes().to_vec())
    }

    /// A string.
    #[must_use]
    pub fn text(value: &str) -> Self {
        Self(8, text(value))
    }

    /// An array of strings.
    #[must_use]
    pub fn texts(values: &[&str]) -> Self {
        Self(9, array(8, values.len(), values.iter().flat_map(|value| text(value))))
    }

    /// An array of signed 32-bit integers.
    #[must_use]
    pub fn integers(values: &[i32]) -> Self {
        Self(9, array(5, values.len(), values.iter().flat_map(|value| value.to_le_bytes())))
    }
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = (value.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

fn array(element: u32, length: usize, content: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut bytes = element.to_le_bytes().to_vec();
    bytes.extend((length as u64).to_le_bytes());
    bytes.extend(content);
    bytes
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Sizes, fastest axis first, as in the file.
    pub sizes: Vec<u64>,
    /// The type's number: 0 is f32, 3 is q4_1, 8 is q8_0.
    pub kind: u32,
    /// The data.
    pub data: Vec<u8>,
}

/// A GGUF file, still open to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gguf {
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Stored>,
}

impl Gguf {
    /// A valid llama of one layer with q4_1 matrices, a q8_0 embedding and f32 norms.
    #[must_use]
    pub fn small() -> Self {
        let mut metadata: BTreeMap<String, Value> = BTreeMap::new();
        let mut put = |key: &str, value| drop(metadata.insert(key.to_owned(), value));
        put("general.architecture", Value::text("llama"));
        put("llama.block_count", Value::u32(1));
        put("llama.context_length", Value::u32(64));
        put("llama.embedding_length", Value::u32(MODEL as u32));
        put("llama.feed_forward_length", Value::u32(FFN as u32));
        put("llama.attention.head_count", Value::u32(HEADS));
        put("llama.attention.head_count_kv", Value::u32(KEY_HEADS));
        put("llama.attention.layer_norm_rms_epsilon", Value::f32(1e-5));
        put("llama.rope.freq_base", Value::f32(10_000.0));
        put("tokenizer.ggml.model", Value::text("gpt2"));
        put("tokenizer.ggml.pre", Value::text("smollm"));
        put("tokenizer.ggml.tokens", Value::texts(&TOKENS));
        put("tokenizer.ggml.token_type", Value::integers(&[3, 3, 1, 1, 1, 1]));
        put("tokenizer.ggml.merges", Value::texts(&["a b"]));
        put("tokenizer.ggml.bos_token_id", Value::u32(0));
        put("tokenizer.ggml.eos_token_id", Value::u32(1));
        put("tokenizer.chat_template", Value::text("{% for m in messages %}{{ m['content'] }}{% endfor %}"));
        let key_rows = MODEL / u64::from(HEADS) * u64::from(KEY_HEADS);
        let tensors = [
            ("token_embd.weight", vec![MODEL, TOKENS.len() as u64], 8),
            ("output_norm.weight", vec![MODEL], 0),
            ("blk.0.attn_norm.weight", vec![MODEL], 0),
            ("blk.0.attn_q.weight", vec![MODEL, MODEL], 3),
            ("blk.0.attn_k.weight", vec![MODEL, key_rows], 3),
            ("blk.0.attn_v.weight", vec![MODEL, key_rows], 3),
            ("blk.0.attn_output.weight", vec![MODEL, MODEL], 3),
            ("blk.0.ffn_norm.weight", vec![MODEL], 0),
            ("blk.0.ffn_gate.weight", vec![MODEL, FFN], 3),
            ("blk.0.ffn_up.weight", vec![MODEL, FFN], 3),
            ("blk.0.ffn_down.weight", vec![FFN, MODEL], 3),
        ];
        let tensors = tensors.into_iter().map(|(name, sizes, kind)| (name.to_owned(), filled(sizes, kind))).collect();
        Self { metadata, tensors }
    }

    /// The file's bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, Value(kind, value)) in &self.metadata {
            bytes.extend(text(key));
            bytes.extend(kind.to_le_bytes());
            bytes.extend_from_slice(value);
        }
        let mut data = Vec::new();
        for (name, tensor) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((tensor.sizes.len() as u32).to_le_bytes());
            bytes.extend(tensor.sizes.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend_from_slice(&tensor.data);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(data);
        bytes
    }
}

/// A tensor with a fixed pattern as its data.
fn filled(sizes: Vec<u64>, kind: u32) -> Stored {
    let values: u64 = sizes.iter().product();
    let length = match kind {
        3 => values / 32 * 20,
        8 => values / 32 * 34,
        _ => values * 4,
    };
    Stored { sizes, kind, data: (0..length).map(|at| (at % 7) as u8).collect() }
}

/// The files of a valid Hugging Face directory with the same architecture and f32 weights, by file name.
///
/// # Panics
/// Never for the fixed model that it writes.
#[must_use]
pub fn directory() -> BTreeMap<&'static str, Vec<u8>> {
    let config = json!({
        "model_type": "llama", "vocab_size": TOKENS.len(), "hidden_size": MODEL, "intermediate_size": FFN,
        "num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 64, "tie_word_embeddings": true, "hidden_act": "silu",
    });
    let vocabulary: BTreeMap<&str, usize> = TOKENS.iter().enumerate().map(|(id, token)| (*token, id)).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{"id": 1, "content": "<|im_end|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": ["a b"]},
    });
    let settings = json!({"eos_token": "<|im_end|>", "chat_template": "{{ messages[0]['content'] }}"});
    BTreeMap::from([
        ("config.json", config.to_string().into_bytes()),
        ("tokenizer.json", tokenizer.to_string().into_bytes()),
        ("tokenizer_config.json", settings.to_string().into_bytes()),
        ("model.safetensors", safetensors()),
    ])
}

/// The weights of [`directory`]: an eight-byte length, a JSON header, the data.
fn safetensors() -> Vec<u8> {
    let key_rows = MODEL / u64::from(HEADS) * u64::from(KEY_HEADS);
    let layer = "model.layers.0";
    let tensors = [
        ("model.embed_tokens.weight".to_owned(), vec![TOKENS.len() as u64, MODEL]),
        ("model.norm.weight".to_owned(), vec![MODEL]),
        (format!("{layer}.input_layernorm.weight"), vec![MODEL]),
        (format!("{layer}.self_attn.q_proj.weight"), vec![MODEL, MODEL]),
        (format!("{layer}.self_attn.k_proj.weight"), vec![key_rows, MODEL]),
        (format!("{layer}.self_attn.v_proj.weight"), vec![key_rows, MODEL]),
        (format!("{layer}.self_attn.o_proj.weight"), vec![MODEL, MODEL]),
        (format!("{layer}.post_attention_layernorm.weight"), vec![MODEL]),
        (format!("{layer}.mlp.gate_proj.weight"), vec![FFN, MODEL]),
        (format!("{layer}.mlp.up_proj.weight"), vec![FFN, MODEL]),
        (format!("{layer}.mlp.down_proj.weight"), vec![MODEL, FFN]),
    ];
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape) in tensors {
        let stored = filled(shape.clone(), 0);
        let begin = data.len();
        data.extend(stored.data);
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]}));
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    bytes.extend(data);
    bytes
}
