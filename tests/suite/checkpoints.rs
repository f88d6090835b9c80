//! Checkpoints: read as others read them, and refused with a clear error when something is wrong with them.
//!
//! In: the reference outputs that `tests/reference/llama.py` wrote, and small checkpoints broken one by one.
//! Out: a failure where a token id differs, or where an error does not name what is wrong.

use sawmill_cli::acquire;
use sawmill_cli::model;
use sawmill_tests::checkpoint::{Gguf, Value, directory};
use sawmill_tests::layout::repository;
use serde_json::Value as Json;
use std::fs;
use std::path::Path;

fn reference(name: &str) -> Json {
    let path = repository().join("tests/reference").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a reference output is JSON")
}

fn ids(value: &Json) -> Vec<u32> {
    let list = value.as_array().expect("a list of token ids");
    list.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()).expect("a token id")).collect()
}

fn text(value: &Json) -> &str {
    value.as_str().expect("a text")
}

/// Token ids of tricky texts are llama.cpp's, special tokens recognised.
#[test]
fn smollm2_token_ids_are_those_of_llama_cpp() {
    let path = acquire::default_model().unwrap_or_else(|failure| panic!("{failure}"));
    let model = model::open(&path).expect("the default model opens");
    let reference = reference("smollm2.json");
    let cases = reference["texts"].as_array().expect("cases");
    assert!(cases.len() >= 40);
    let mut different = Vec::new();
    for case in cases {
        let found = model.codec.encode(text(&case["text"]), true).expect("encodes");
        if found != ids(&case["ids_with_special"]) {
            different
                .push(format!("{:?}\n  llama.cpp {}\n  ours      {found:?}", case["text"], case["ids_with_special"]));
        }
    }
    assert!(different.is_empty(), "{} texts differ:\n{}", different.len(), different.join("\n"));
    assert_eq!(model.codec.encode(text(&reference["prompt"]), true).expect("encodes"), ids(&reference["prompt_ids"]));
    assert_eq!(model.codec.decode(&ids(&reference["greedy_ids"])).expect("decodes"), text(&reference["greedy_text"]));
}

#[test]
fn tiny_llama_directory_opens_and_tokenises() {
    let model = model::open(&repository().join("tests/reference/tiny-llama")).expect("the directory opens");
    let reference = reference("tiny-llama.json");
    assert_eq!(model.tensors.len(), 21);
    assert!(!model.config.tied);
    assert_eq!(model.config.rope_theta, 5000.0);
    assert_eq!(model.codec.encode(text(&reference["prompt"]), false).expect("encodes"), ids(&reference["prompt_ids"]));
    let chat = &reference["chat"];
    let template = model.chat.expect("it has a chat template");
    let rendered = template.render(text(&chat["messages"][0]["content"])).expect("renders");
    assert_eq!(rendered, text(&chat["text"]));
    assert_eq!(model.codec.encode(&rendered, false).expect("encodes"), ids(&chat["ids"]));
}

/// Opens a GGUF file of these bytes; the error's text.
fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).expect("a temporary file can be written");
    match model::open(&path) {
        Ok(_) => panic!("a broken file opens"),
        Err(error) => error.to_string(),
    }
}

fn broken(change: impl FnOnce(&mut Gguf)) -> String {
    let mut file = Gguf::small();
    change(&mut file);
    refusal(&file.bytes())
}

fn assert_names(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{message}` does not speak of `{word}`");
    }
}

#[test]
fn the_small_checkpoints_are_valid() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("model.gguf");
    fs::write(&path, Gguf::small().bytes()).expect("a temporary file can be written");
    let gguf = model::open(&path).expect("the small file opens");
    assert_eq!(gguf.codec.encode("ab<|im_end|>", true).expect("encodes"), [4, 1]);
    write_directory(folder.path());
    let directory = model::open(folder.path()).expect("the small directory opens");
    assert_eq!(directory.tensors.keys().collect::<Vec<_>>(), gguf.tensors.keys().collect::<Vec<_>>());
    assert_eq!(directory.codec.encode("ab<|im_end|>", true).expect("encodes"), [4, 1]);
}

#[test]
fn a_truncated_gguf_file_is_refused_at_every_length() {
    let whole = Gguf::small().bytes();
    for length in (0..whole.len() - 32).step_by(101) {
        let message = refusal(&whole[..length]);
        assert!(
            message.contains("truncated") || message.contains("not a GGUF") || message.contains("left"),
            "{length}: {message}"
        );
    }
}

#[test]
fn broken_gguf_files_are_refused_by_name() {
    assert_names(&broken(|file| drop(file.tensors.remove("blk.0.ffn_up.weight"))), &["blk.0.ffn_up.weight", "missing"]);
    let wrong_shape = broken(|file| file.tensors.get_mut("blk.0.attn_q.weight").expect("there").sizes = vec![32, 16]);
    assert_names(&wrong_shape, &["blk.0.attn_q.weight", "16", "32"]);
    // IQ1_S: a type that the format knows and that has no equation here.
    let no_format = broken(|file| {
        let tensor = file.tensors.get_mut("blk.0.attn_q.weight").expect("there");
        tensor.kind = 19;
        tensor.sizes = vec![256, 4];
    });
    assert_names(&no_format, &["blk.0.attn_q.weight"]);
    let unknown = broken(|file| file.tensors.get_mut("blk.0.attn_q.weight").expect("there").kind = 999);
    assert_names(&unknown, &["blk.0.attn_q.weight", "999"]);
    let other = broken(|file| drop(file.metadata.insert("general.architecture".into(), Value::text("mamba"))));
    assert_names(&other, &["mamba"]);
    assert_names(&broken(|file| drop(file.metadata.remove("llama.block_count"))), &["llama.block_count"]);
    let layers = broken(|file| drop(file.metadata.insert("llama.block_count".into(), Value::u32(u32::MAX))));
    assert_names(&layers, &["blk.1."]);
    let heads = broken(|file| drop(file.metadata.insert("llama.attention.head_count".into(), Value::u32(0))));
    assert!(!heads.is_empty());
    let pre = broken(|file| drop(file.metadata.insert("tokenizer.ggml.pre".into(), Value::text("martian"))));
    assert_names(&pre, &["martian"]);
}

#[test]
fn absurd_headers_are_refused_without_allocating() {
    let mut header = Gguf::small().bytes();
    header[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_names(&refusal(&header), &["18446744073709551615"]);
    header[8..16].copy_from_slice(&11u64.to_le_bytes());
    header[16..24].copy_from_slice(&(1u64 << 60).to_le_bytes());
    assert_names(&refusal(&header), &["1152921504606846976"]);
    let huge = broken(|file| file.tensors.get_mut("output_norm.weight").expect("there").sizes = vec![1 << 40, 1 << 40]);
    assert_names(&huge, &["output_norm.weight"]);
}

fn write_directory(folder: &Path) {
    for (name, content) in directory() {
        fs::write(folder.join(name), content).expect("a temporary file can be written");
    }
}

/// Opens the small directory after `change`; the error's text.
fn broken_directory(change: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    write_directory(folder.path());
    change(folder.path());
    match model::open(folder.path()) {
        Ok(_) => panic!("a broken directory opens"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn broken_directories_are_refused_by_name() {
    let remove = |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).expect("removable");
    for name in ["config.json", "tokenizer.json"] {
        assert_names(&broken_directory(remove(name)), &[name]);
    }
    assert_names(&broken_directory(remove("model.safetensors")), &["safetensors"]);
    let cut = broken_directory(|folder| {
        let path = folder.join("model.safetensors");
        let bytes = fs::read(&path).expect("readable");
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("writable");
    });
    assert_names(&cut, &["model.safetensors", "truncated"]);
    let swap = |name: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let text = fs::read_to_string(folder.join(name)).expect("readable");
            assert!(text.contains(from), "{name} has no {from}");
            fs::write(folder.join(name), text.replace(from, to)).expect("writable");
        }
    };
    assert_names(&broken_directory(swap("config.json", "\"llama\"", "\"gpt_neox\"")), &["gpt_neox"]);
    assert_names(
        &broken_directory(swap("config.json", "\"intermediate_size\":32", "\"intermediate_size\":48")),
        &["mlp"],
    );
    assert_names(
        &broken_directory(swap("config.json", "\"num_attention_heads\":2", "\"num_attention_heads\":0")),
        &["config.json"],
    );
    assert_names(&broken_directory(swap("tokenizer.json", "\"BPE\"", "\"XYZ\"")), &["tokenizer.json"]);
}

#[test]
fn an_index_cannot_name_files_outside_its_directory() {
    let message = broken_directory(|folder| {
        let index = r#"{"weight_map": {"model.norm.weight": "../../etc/passwd"}}"#;
        fs::write(folder.join("model.safetensors.index.json"), index).expect("writable");
    });
    assert_names(&message, &["../../etc/passwd"]);
}
