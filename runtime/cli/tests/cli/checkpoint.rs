//! Tiny checkpoints of both formats, written byte by byte so that tests can break any part of them.
//!
//! In: nothing. Out: bytes of a GGUF file, files of a Hugging Face directory. The weights are arbitrary numbers.

use std::{collections::BTreeMap, path::Path};

use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

/// Sizes of the tiny model; all differ, so that a mix-up shows.
pub(crate) const D_MODEL: usize = 32;
pub(crate) const FFN: usize = 64;
pub(crate) const LAYERS: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 8;

/// Metadata of a GGUF file: raw bytes of type and value by key.
#[derive(Clone)]
pub(crate) struct GgufFile {
    pub(crate) version: u32,
    pub(crate) pairs: Vec<(String, Vec<u8>)>,
    pub(crate) tensors: Vec<GgufTensor>,
}

#[derive(Clone)]
pub(crate) struct GgufTensor {
    pub(crate) name: String,
    /// Fastest axis first, as the format has them.
    pub(crate) sizes: Vec<u64>,
    pub(crate) id: u32,
    pub(crate) bytes: Vec<u8>,
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

pub(crate) fn text_value(value: &str) -> Vec<u8> {
    [8_u32.to_le_bytes().to_vec(), text(value)].concat()
}

pub(crate) fn u32_value(value: u32) -> Vec<u8> {
    [4_u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub(crate) fn f32_value(value: f32) -> Vec<u8> {
    [6_u32.to_le_bytes(), value.to_le_bytes()].concat()
}

fn array_value(element: u32, count: usize, contents: Vec<u8>) -> Vec<u8> {
    let head = [9_u32.to_le_bytes(), element.to_le_bytes()].concat();
    [head, (count as u64).to_le_bytes().to_vec(), contents].concat()
}

pub(crate) fn texts_value(values: &[String]) -> Vec<u8> {
    array_value(8, values.len(), values.iter().flat_map(|value| text(value)).collect())
}

pub(crate) fn i32s_value(values: &[i32]) -> Vec<u8> {
    array_value(5, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

pub(crate) fn f32s_value(values: &[f32]) -> Vec<u8> {
    array_value(6, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// The 256 letters that byte-level BPE writes bytes as, then control tokens and one merged token.
pub(crate) fn tokens() -> Vec<String> {
    let plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut shifted = 256;
    let letters = (0..256_u32).map(|byte| {
        let code = if plain(byte) {
            byte
        } else {
            shifted += 1;
            shifted - 1
        };
        char::from_u32(code).expect("a letter").to_string()
    });
    letters.chain(["<|endoftext|>", "<|im_end|>", "he"].map(str::to_owned)).collect()
}

/// A valid file: q4_1 projections, q8_0 embedding, tied head.
pub(crate) fn gguf() -> GgufFile {
    let tokens = tokens();
    let types: Vec<i32> = (0..tokens.len()).map(|id| if (256..258).contains(&id) { 3 } else { 1 }).collect();
    let pairs = vec![
        ("general.architecture", text_value("llama")),
        ("llama.block_count", u32_value(LAYERS as u32)),
        ("llama.context_length", u32_value(128)),
        ("llama.embedding_length", u32_value(D_MODEL as u32)),
        ("llama.feed_forward_length", u32_value(FFN as u32)),
        ("llama.attention.head_count", u32_value(HEADS as u32)),
        ("llama.attention.head_count_kv", u32_value(KV_HEADS as u32)),
        ("llama.rope.freq_base", f32_value(5000.0)),
        ("llama.attention.layer_norm_rms_epsilon", f32_value(1e-5)),
        ("tokenizer.ggml.model", text_value("gpt2")),
        ("tokenizer.ggml.pre", text_value("smollm")),
        ("tokenizer.ggml.token_type", i32s_value(&types)),
        ("tokenizer.ggml.merges", texts_value(&["h e".to_owned()])),
        ("tokenizer.ggml.bos_token_id", u32_value(256)),
        ("tokenizer.ggml.eos_token_id", u32_value(257)),
        (
            "tokenizer.chat_template",
            text_value("{{ bos_token }}{% for m in messages %}[{{ m['role'] }}: {{ m.content.strip() }}]{% endfor %}"),
        ),
        ("tokenizer.ggml.tokens", texts_value(&tokens)),
    ];
    let (q4, q8, f32) = (3, 8, 0);
    let mut tensors =
        vec![tensor("token_embd.weight", &[D_MODEL, tokens.len()], q8), tensor("output_norm.weight", &[D_MODEL], f32)];
    for layer in 0..LAYERS {
        let rows: [(&str, &[usize], u32); 9] = [
            ("attn_norm", &[D_MODEL], f32),
            ("attn_q", &[D_MODEL, HEADS * HEAD_DIM], q4),
            ("attn_k", &[D_MODEL, KV_HEADS * HEAD_DIM], q4),
            ("attn_v", &[D_MODEL, KV_HEADS * HEAD_DIM], q4),
            ("attn_output", &[HEADS * HEAD_DIM, D_MODEL], q4),
            ("ffn_norm", &[D_MODEL], f32),
            ("ffn_gate", &[D_MODEL, FFN], q4),
            ("ffn_up", &[D_MODEL, FFN], q4),
            ("ffn_down", &[FFN, D_MODEL], q4),
        ];
        tensors.extend(rows.map(|(name, sizes, id)| tensor(&format!("blk.{layer}.{name}.weight"), sizes, id)));
    }
    let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    GgufFile { version: 3, pairs, tensors }
}

fn tensor(name: &str, sizes: &[usize], id: u32) -> GgufTensor {
    let elements: usize = sizes.iter().product();
    let len = match id {
        0 => elements * 4,
        3 => elements / 32 * 20,
        8 => elements / 32 * 34,
        other => unreachable!("no tiny tensor has type {other}"),
    };
    let bytes = (0..len).map(|at| (at * 7 % 50) as u8).collect();
    GgufTensor { name: name.to_owned(), sizes: sizes.iter().map(|&size| size as u64).collect(), id, bytes }
}

impl GgufFile {
    /// Replaces a metadata value, type included; an empty one removes the key.
    pub(crate) fn with(mut self, key: &str, value: Vec<u8>) -> Self {
        self.pairs.retain(|(name, _)| name != key);
        if !value.is_empty() {
            self.pairs.push((key.to_owned(), value));
        }
        self
    }

    /// Edits the tensor of this name.
    pub(crate) fn edit(mut self, name: &str, edit: impl FnOnce(&mut GgufTensor)) -> Self {
        edit(self.tensors.iter_mut().find(|tensor| tensor.name == name).expect("the tensor exists"));
        self
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            file.extend(text(key));
            file.extend(value);
        }
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            file.extend(text(&tensor.name));
            file.extend((tensor.sizes.len() as u32).to_le_bytes());
            file.extend(tensor.sizes.iter().flat_map(|size| size.to_le_bytes()));
            file.extend(tensor.id.to_le_bytes());
            file.extend(offset.to_le_bytes());
            offset = (offset + tensor.bytes.len() as u64).next_multiple_of(32);
        }
        for tensor in &self.tensors {
            file.resize(file.len().next_multiple_of(32), 0);
            file.extend(&tensor.bytes);
        }
        file
    }
}

/// Shapes of the tensors of the tiny Hugging Face model, untied.
pub(crate) fn huggingface_shapes() -> BTreeMap<String, Vec<usize>> {
    let vocab = tokens().len();
    let mut shapes = BTreeMap::from([
        ("model.embed_tokens.weight".to_owned(), vec![vocab, D_MODEL]),
        ("model.norm.weight".to_owned(), vec![D_MODEL]),
        ("lm_head.weight".to_owned(), vec![vocab, D_MODEL]),
    ]);
    for layer in 0..LAYERS {
        let rows: [(&str, Vec<usize>); 9] = [
            ("input_layernorm", vec![D_MODEL]),
            ("self_attn.q_proj", vec![HEADS * HEAD_DIM, D_MODEL]),
            ("self_attn.k_proj", vec![KV_HEADS * HEAD_DIM, D_MODEL]),
            ("self_attn.v_proj", vec![KV_HEADS * HEAD_DIM, D_MODEL]),
            ("self_attn.o_proj", vec![D_MODEL, HEADS * HEAD_DIM]),
            ("post_attention_layernorm", vec![D_MODEL]),
            ("mlp.gate_proj", vec![FFN, D_MODEL]),
            ("mlp.up_proj", vec![FFN, D_MODEL]),
            ("mlp.down_proj", vec![D_MODEL, FFN]),
        ];
        shapes.extend(rows.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
    }
    shapes
}

/// `config.json` of the tiny model.
pub(crate) fn huggingface_config() -> serde_json::Value {
    json!({
        "model_type": "llama", "hidden_act": "silu", "vocab_size": tokens().len(), "hidden_size": D_MODEL,
        "intermediate_size": FFN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-5, "rope_theta": 5000.0,
        "max_position_embeddings": 128, "tie_word_embeddings": false, "eos_token_id": [256, 257],
    })
}

/// `tokenizer.json` with the vocabulary of the GGUF file.
pub(crate) fn tokenizer_json() -> String {
    let vocab: serde_json::Map<String, serde_json::Value> =
        tokens().into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    let added = |id: usize, content: &str| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [added(256, "<|endoftext|>"), added(257, "<|im_end|>")],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab,
                   "merges": ["h e"] },
    })
    .to_string()
}

/// Writes tensors of these shapes, in bf16, to a safetensors file.
pub(crate) fn write_shard(path: &Path, shapes: &BTreeMap<String, Vec<usize>>) {
    let data: BTreeMap<&String, Vec<u8>> =
        shapes.iter().map(|(name, shape)| (name, vec![60; 2 * shape.iter().product::<usize>()])).collect();
    let views = shapes.iter().map(|(name, shape)| {
        (name.clone(), TensorView::new(Dtype::BF16, shape.clone(), &data[name]).expect("sizes agree"))
    });
    safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, path).expect("the shard is written");
}

/// Writes a valid directory in two shards with an index.
pub(crate) fn write_huggingface(directory: &Path) {
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).expect("the file is written");
    write("config.json", huggingface_config().to_string());
    write("tokenizer.json", tokenizer_json());
    let mut map = serde_json::Map::new();
    let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
    for (at, (name, shape)) in huggingface_shapes().into_iter().enumerate() {
        let file = if at % 2 == 0 { "a.safetensors" } else { "b.safetensors" };
        map.insert(name.clone(), json!(file));
        if at % 2 == 0 {
            first.insert(name, shape)
        } else {
            second.insert(name, shape)
        };
    }
    write_shard(&directory.join("a.safetensors"), &first);
    write_shard(&directory.join("b.safetensors"), &second);
    write("model.safetensors.index.json", json!({ "metadata": {}, "weight_map": map }).to_string());
}
