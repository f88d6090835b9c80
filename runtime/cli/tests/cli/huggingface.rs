//! Hugging Face directories: what a good one says, and what is wrong with bad ones.

use std::{collections::BTreeMap, fs, path::Path};

use sawmill_cli::model::{self, config::RopeStyle, tensor::Encoding};
use serde_json::json;
use tempfile::TempDir;

use crate::checkpoint::{D_MODEL, FFN, huggingface_config, huggingface_shapes, write_huggingface, write_shard};

fn good() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    write_huggingface(directory.path());
    directory
}

fn message(directory: &Path) -> String {
    model::open(directory).expect_err("a bad directory was accepted").to_string()
}

fn with_config(edit: impl FnOnce(&mut serde_json::Value)) -> String {
    let directory = good();
    let mut config = huggingface_config();
    edit(&mut config);
    fs::write(directory.path().join("config.json"), config.to_string()).expect("written");
    message(directory.path())
}

#[test]
fn a_good_directory_says_what_is_in_it() {
    let directory = good();
    let file = model::open(directory.path()).expect("it is good");
    let config = &file.config;
    assert_eq!((config.n_heads, config.n_kv_heads, config.head_dim), (4, 2, 8));
    assert_eq!((config.rope_theta, config.rope_style, config.tied), (5000.0, RopeStyle::HalfSplit, false));
    let gate = &file.tensors["model.layers.1.mlp.gate_proj.weight"];
    assert_eq!((gate.shape(), gate.encoding()), (&[FFN, D_MODEL][..], Encoding::Bf16));
    assert!(gate.bytes().iter().all(|&byte| byte == 60));
    assert_eq!(file.tensors.len(), huggingface_shapes().len());
    assert_eq!(file.stops, [256, 257]);
    assert_eq!(file.codec.encode("the<|im_end|>", true).expect("text"), [116, 258, 257]);
}

#[test]
fn one_file_without_an_index_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    write_huggingface(directory.path());
    for name in ["a.safetensors", "b.safetensors", "model.safetensors.index.json"] {
        fs::remove_file(directory.path().join(name)).expect("it is there");
    }
    write_shard(&directory.path().join("model.safetensors"), &huggingface_shapes());
    assert!(model::open(directory.path()).is_ok());
}

#[test]
fn missing_files_are_named() {
    for name in ["config.json", "tokenizer.json", "a.safetensors"] {
        let directory = good();
        fs::remove_file(directory.path().join(name)).expect("it is there");
        let message = message(directory.path());
        assert!(message.contains(name), "{message}");
    }
    let directory = good();
    for name in ["a.safetensors", "b.safetensors", "model.safetensors.index.json"] {
        fs::remove_file(directory.path().join(name)).expect("it is there");
    }
    assert!(message(directory.path()).contains("no *.safetensors"));
}

#[test]
fn truncated_and_malformed_files_are_errors() {
    for name in ["config.json", "tokenizer.json", "a.safetensors", "model.safetensors.index.json"] {
        let directory = good();
        let path = directory.path().join(name);
        let bytes = fs::read(&path).expect("it is there");
        for len in [0, 1, 7, 8, 9, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..len]).expect("written");
            let message = message(directory.path());
            assert!(message.contains(name), "{name} cut to {len} bytes: {message}");
        }
    }
}

#[test]
fn an_absurd_safetensors_header_is_an_error() {
    let directory = good();
    for claimed in [u64::MAX, 1 << 40, 99_999_999] {
        let bytes = [&claimed.to_le_bytes()[..], b"{}"].concat();
        fs::write(directory.path().join("a.safetensors"), bytes).expect("written");
        assert!(message(directory.path()).contains("a.safetensors"));
    }
}

#[test]
fn an_index_cannot_name_files_elsewhere() {
    let directory = good();
    for name in ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "..", ""] {
        let index = json!({ "weight_map": { "x": name } });
        fs::write(directory.path().join("model.safetensors.index.json"), index.to_string()).expect("written");
        assert!(message(directory.path()).contains("no plain file name"), "{name}");
    }
}

#[test]
fn what_the_family_lacks_is_named() {
    assert!(with_config(|config| config["model_type"] = json!("mamba2")).contains("`mamba2` is not supported"));
    assert!(with_config(|config| config["rope_scaling"] = json!({ "rope_type": "llama3" })).contains("llama3"));
    assert!(with_config(|config| config["rope_parameters"] = json!({ "rope_type": "yarn" })).contains("yarn"));
    assert!(with_config(|config| config["hidden_act"] = json!("gelu")).contains("gelu"));
    assert!(with_config(|config| config["attention_bias"] = json!(true)).contains("bias"));
    assert!(with_config(|config| config["num_key_value_heads"] = json!(3)).contains("not a multiple"));
    assert!(with_config(|config| config["num_attention_heads"] = json!(0)).contains(" is 0"));
    assert!(with_config(|config| config["vocab_size"] = json!(-1)).contains("config.json"));
    assert!(with_config(|config| config["num_hidden_layers"] = json!(4_000_000_000_u32)).contains("is missing"));
}

#[test]
fn tensors_missing_misshapen_or_in_two_shards_are_named() {
    let name = "model.layers.0.mlp.up_proj.weight";
    let replace = |edit: fn(&mut BTreeMap<String, Vec<usize>>)| {
        let directory = good();
        fs::remove_file(directory.path().join("model.safetensors.index.json")).expect("it is there");
        fs::remove_file(directory.path().join("b.safetensors")).expect("it is there");
        let mut shapes = huggingface_shapes();
        edit(&mut shapes);
        write_shard(&directory.path().join("a.safetensors"), &shapes);
        message(directory.path())
    };
    let missing = replace(|shapes| drop(shapes.remove("model.layers.0.mlp.up_proj.weight")));
    assert!(missing.contains(name) && missing.contains("missing"), "{missing}");
    let shape = replace(|shapes| drop(shapes.insert("model.layers.0.mlp.up_proj.weight".into(), vec![1, 2])));
    assert!(shape.contains(name) && shape.contains("[1, 2]"), "{shape}");
    let directory = good();
    fs::copy(directory.path().join("a.safetensors"), directory.path().join("b.safetensors")).expect("copied");
    assert!(message(directory.path()).contains("in two shards"));
}
