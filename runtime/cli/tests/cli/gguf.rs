//! GGUF files: what a good one says, and what is wrong with bad ones.

use std::path::Path;

use sawmill_cli::model::{
    self, ModelError, ModelFile,
    config::{ConfigError, RopeStyle},
    gguf::{GgufError, parse},
    tensor::{Encoding, ShapeError},
};

use crate::checkpoint::{D_MODEL, FFN, GgufFile, gguf, text_value, tokens, u32_value};

fn open(file: &GgufFile) -> Result<ModelFile, ModelError> {
    open_bytes(&file.bytes())
}

fn open_bytes(bytes: &[u8]) -> Result<ModelFile, ModelError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("the file is written");
    model::open(&path)
}

fn malformed(bytes: &[u8]) -> GgufError {
    match parse(bytes) {
        Ok(_) => panic!("a malformed file was accepted"),
        Err(error) => error,
    }
}

fn message(file: &GgufFile) -> String {
    open(file).expect_err("a bad file was accepted").to_string()
}

#[test]
fn a_good_file_says_what_is_in_it() {
    let file = open(&gguf()).expect("the file is good");
    let config = &file.config;
    assert_eq!((config.vocab as usize, config.d_model as usize), (tokens().len(), D_MODEL));
    assert_eq!((config.n_heads, config.n_kv_heads, config.head_dim, config.ffn as usize), (4, 2, 8, FFN));
    assert_eq!((config.rope_theta, config.rope_style, config.tied), (5000.0, RopeStyle::Interleaved, true));
    assert_eq!((config.context, config.n_layers), (128, 2));
    let gate = &file.tensors["model.layers.1.mlp.gate_proj.weight"];
    assert_eq!((gate.shape(), gate.encoding()), (&[FFN, D_MODEL][..], Encoding::Q4One));
    assert_eq!(gate.bytes().len(), FFN * D_MODEL / 32 * 20);
    assert_eq!(gate.bytes()[..4], [0, 7, 14, 21]);
    let embedding = &file.tensors["model.embed_tokens.weight"];
    assert_eq!((embedding.shape(), embedding.encoding()), (&[tokens().len(), D_MODEL][..], Encoding::Q8Zero));
    assert!(!file.tensors.contains_key("lm_head.weight"));
    assert_eq!(file.stops, [256, 257]);
    let chat = file.chat.expect("it has a template").render("  hi ").expect("it renders");
    assert_eq!(chat, "<|endoftext|>[user: hi]");
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = gguf().bytes();
    for len in (0..bytes.len()).step_by(13).chain(bytes.len() - 40..bytes.len()) {
        malformed(&bytes[..len]);
    }
    assert!(parse(&bytes).is_ok());
}

#[test]
fn other_files_and_versions_are_named() {
    assert_eq!(malformed(b"PK\x03\x04rest of a zip"), GgufError::Magic(b"PK\x03\x04".to_vec()));
    assert_eq!(malformed(b""), GgufError::Magic(Vec::new()));
    let version = |version| malformed(&GgufFile { version, ..gguf() }.bytes());
    assert_eq!(version(1), GgufError::Version(1));
    assert_eq!(version(4), GgufError::Version(4));
    assert_eq!(version(3_u32.swap_bytes()), GgufError::BigEndian);
}

/// The header with one 64-bit number in the place of another.
fn patched(at: usize, value: u64) -> GgufError {
    let mut bytes = gguf().bytes();
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    malformed(&bytes)
}

#[test]
fn absurd_counts_are_refused_before_anything_is_allocated() {
    for count in [u64::MAX, 1 << 60, 1 << 40] {
        assert!(matches!(patched(8, count), GgufError::Count { what: "tensors", .. }), "{count}");
        assert!(matches!(patched(16, count), GgufError::Count { what: "metadata pairs", .. }), "{count}");
        // The length of the first key.
        assert!(matches!(patched(24, count), GgufError::Truncated { what: "metadata key", .. }), "{count}");
        let array = [9_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat();
        let array = [array, count.to_le_bytes().to_vec()].concat();
        let file = gguf().with("general.languages", array);
        assert!(matches!(malformed(&file.bytes()), GgufError::Count { what: "strings of an array", .. }));
    }
}

#[test]
fn metadata_of_unknown_type_and_deep_nesting_are_refused() {
    let value = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
    assert!(matches!(malformed(&gguf().with("x", value(&[99])).bytes()), GgufError::ValueType { id: 99, .. }));
    let mut nested = value(&[9]);
    for _ in 0..1000 {
        nested.extend(value(&[9, 1, 0]));
    }
    assert!(matches!(malformed(&gguf().with("x", nested).bytes()), GgufError::Nested(_)));
    let mut twice = gguf();
    twice.pairs.push(("general.architecture".to_owned(), text_value("llama")));
    assert!(matches!(malformed(&twice.bytes()), GgufError::Twice { .. }));
}

#[test]
fn tensors_outside_of_the_file_and_overflowing_sizes_are_refused() {
    let name = "blk.0.attn_q.weight";
    let edited = |edit: fn(&mut crate::checkpoint::GgufTensor)| malformed(&gguf().edit(name, edit).bytes());
    assert!(matches!(edited(|tensor| tensor.sizes = vec![1 << 33, 1 << 33]), GgufError::Sizes { .. }));
    assert!(matches!(edited(|tensor| tensor.sizes = vec![1 << 40, 1]), GgufError::OutOfFile { .. }));
    assert!(matches!(edited(|tensor| tensor.sizes = vec![33, 32]), GgufError::Sizes { .. }));
    assert!(matches!(edited(|tensor| tensor.sizes = vec![1; 5]), GgufError::Rank { rank: 5, .. }));
    assert!(matches!(edited(|tensor| tensor.id = 5), GgufError::TensorType { id: 5, .. }));
    let odd = |alignment| malformed(&gguf().with("general.alignment", u32_value(alignment)).bytes());
    assert_eq!(odd(0), GgufError::Alignment(0));
    assert_eq!(odd(48), GgufError::Alignment(48));
    assert!(matches!(odd(4096), GgufError::Misaligned { .. }));
}

#[test]
fn a_model_that_is_not_the_familys_is_named() {
    let other = open(&gguf().with("general.architecture", text_value("mamba")));
    assert!(
        matches!(&other, Err(ModelError::Config { source: ConfigError::Architecture(name), .. }) if name == "mamba"),
        "{other:?}"
    );
    assert!(message(&gguf().with("tokenizer.ggml.pre", text_value("tekken"))).contains("`tekken` is not known"));
    assert!(message(&gguf().with("tokenizer.ggml.model", text_value("bert"))).contains("`bert` is not supported"));
    assert!(message(&gguf().with("llama.rope.scaling.type", text_value("yarn"))).contains("yarn"));
    assert!(message(&gguf().with("llama.attention.head_count", u32_value(0))).contains(" is 0"));
    assert!(message(&gguf().with("llama.attention.head_count_kv", u32_value(3))).contains("not a multiple"));
    assert!(message(&gguf().with("llama.block_count", Vec::new())).contains("`llama.block_count` is missing"));
    assert!(message(&gguf().with("llama.block_count", text_value("two"))).contains("is not a 32-bit integer"));
    assert!(message(&gguf().with("tokenizer.ggml.eos_token_id", u32_value(99_999))).contains("99999"));
}

#[test]
fn missing_misshapen_and_unreadable_tensors_are_named() {
    let tensor = |file: &GgufFile| match open(file) {
        Err(ModelError::Tensor { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let name = "blk.1.ffn_up.weight";
    let mut file = gguf();
    file.tensors.retain(|tensor| tensor.name != name);
    assert_eq!(tensor(&file), ShapeError::Missing(name.to_owned()));
    let file = gguf().edit(name, |tensor| tensor.sizes.swap(0, 1));
    assert_eq!(
        tensor(&file),
        ShapeError::Shape { name: name.to_owned(), found: vec![D_MODEL, FFN], wanted: vec![FFN, D_MODEL] }
    );
    let file = gguf().edit(name, |tensor| tensor.id = 20);
    assert_eq!(tensor(&file), ShapeError::Encoding { name: name.to_owned(), stored: "IQ4_NL".to_owned() });
    // Four billion layers: the first one that is missing ends the reading.
    let many = tensor(&gguf().with("llama.block_count", u32_value(u32::MAX)));
    assert_eq!(many, ShapeError::Missing("blk.2.attn_norm.weight".to_owned()));
}

#[test]
fn a_path_that_is_no_file_is_an_error() {
    let error = model::open(Path::new("/nowhere/model.gguf")).expect_err("it does not exist");
    assert!(error.to_string().contains("/nowhere/model.gguf"), "{error}");
}
