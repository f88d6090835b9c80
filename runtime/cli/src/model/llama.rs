//! The parameters of a llama-family model, declared once: their names in both file formats and their shapes.
//!
//! In: a configuration. Out: the list of tensors that a checkpoint must hold.
//! Source of the names: Hugging Face `LlamaForCausalLM` state dicts; llama.cpp's `llama` tensor names.

use super::config::LlamaConfig;

/// A size of a parameter, by what it counts.
#[derive(Clone, Copy)]
enum Size {
    Vocab,
    Model,
    Queries,
    KeyValues,
    Ffn,
}

/// One row of the table: `#` in a name stands for the layer.
struct Row {
    huggingface: &'static str,
    gguf: &'static str,
    shape: &'static [Size],
}

const OUTSIDE: [Row; 2] = [
    Row { huggingface: "model.embed_tokens.weight", gguf: "token_embd.weight", shape: &[Size::Vocab, Size::Model] },
    Row { huggingface: "model.norm.weight", gguf: "output_norm.weight", shape: &[Size::Model] },
];

/// The output head; absent where it is tied to the embedding.
const HEAD: Row = Row { huggingface: "lm_head.weight", gguf: "output.weight", shape: &[Size::Vocab, Size::Model] };

const LAYER: [Row; 9] = [
    Row { huggingface: "model.layers.#.input_layernorm.weight", gguf: "blk.#.attn_norm.weight", shape: &[Size::Model] },
    Row {
        huggingface: "model.layers.#.self_attn.q_proj.weight",
        gguf: "blk.#.attn_q.weight",
        shape: &[Size::Queries, Size::Model],
    },
    Row {
        huggingface: "model.layers.#.self_attn.k_proj.weight",
        gguf: "blk.#.attn_k.weight",
        shape: &[Size::KeyValues, Size::Model],
    },
    Row {
        huggingface: "model.layers.#.self_attn.v_proj.weight",
        gguf: "blk.#.attn_v.weight",
        shape: &[Size::KeyValues, Size::Model],
    },
    Row {
        huggingface: "model.layers.#.self_attn.o_proj.weight",
        gguf: "blk.#.attn_output.weight",
        shape: &[Size::Model, Size::Queries],
    },
    Row {
        huggingface: "model.layers.#.post_attention_layernorm.weight",
        gguf: "blk.#.ffn_norm.weight",
        shape: &[Size::Model],
    },
    Row {
        huggingface: "model.layers.#.mlp.gate_proj.weight",
        gguf: "blk.#.ffn_gate.weight",
        shape: &[Size::Ffn, Size::Model],
    },
    Row {
        huggingface: "model.layers.#.mlp.up_proj.weight",
        gguf: "blk.#.ffn_up.weight",
        shape: &[Size::Ffn, Size::Model],
    },
    Row {
        huggingface: "model.layers.#.mlp.down_proj.weight",
        gguf: "blk.#.ffn_down.weight",
        shape: &[Size::Model, Size::Ffn],
    },
];

/// One tensor that a checkpoint must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its Hugging Face name, which is its name everywhere after loading.
    pub name: String,
    /// Its name in GGUF files.
    pub gguf: String,
    /// Its sizes, slowest axis first.
    pub shape: Vec<usize>,
}

/// The name of the output head in GGUF files: its absence is what tells that a file's head is tied.
pub(crate) const GGUF_HEAD: &str = HEAD.gguf;

impl Row {
    fn parameter(&self, config: &LlamaConfig, layer: u32) -> Parameter {
        let size = |size: &Size| match size {
            Size::Vocab => config.vocab as usize,
            Size::Model => config.d_model as usize,
            Size::Queries => config.n_heads as usize * config.head_dim as usize,
            Size::KeyValues => config.n_kv_heads as usize * config.head_dim as usize,
            Size::Ffn => config.ffn as usize,
        };
        let name = |pattern: &str| pattern.replace('#', &layer.to_string());
        Parameter { name: name(self.huggingface), gguf: name(self.gguf), shape: self.shape.iter().map(size).collect() }
    }
}

/// The tensors of a model, outermost first. Lazy, because a malformed header may claim four billion layers: the caller
/// stops at the first one that is missing.
pub fn parameters(config: &LlamaConfig) -> impl Iterator<Item = Parameter> {
    let head = (!config.tied).then_some(&HEAD);
    let outside = OUTSIDE.iter().chain(head).map(|row| row.parameter(config, 0));
    let layers = (0..config.n_layers).flat_map(move |layer| LAYER.iter().map(move |row| row.parameter(config, layer)));
    outside.chain(layers)
}
