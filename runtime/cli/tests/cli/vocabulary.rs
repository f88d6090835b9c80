//! Vocabularies against llama.cpp's tokenizer and transformers, whose ids `tests/reference/llama.py` has written.

use std::path::{Path, PathBuf};

use sawmill_cli::{acquire, model};
use serde_json::Value;

use crate::checkpoint::{D_MODEL, f32s_value, gguf, i32s_value, text_value, texts_value, u32_value};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference").join(name)
}

fn json(name: &str) -> Value {
    let text = std::fs::read(reference(name)).expect("the reference is committed");
    serde_json::from_slice(&text).expect("JSON")
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("ids")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn ids_of_the_default_model_agree_with_llama_cpp() {
    let reference = json("smollm2.json");
    let path = acquire::default_model().expect("the model is there or comes");
    let file = model::open(&path).expect("it is good");
    let texts = reference["texts"].as_array().expect("texts");
    assert!(texts.len() > 20);
    for entry in texts {
        let encoded = file.codec.encode(text(&entry["text"]), true).expect("it has ids");
        assert_eq!(encoded, ids(&entry["ids_with_special"]), "{}", entry["text"]);
    }
    let prompt = file.codec.encode(text(&reference["prompt"]), true).expect("ids");
    assert_eq!(prompt, ids(&reference["prompt_ids"]));
    let greedy = file.codec.decode(&ids(&reference["greedy_ids"])).expect("text");
    assert_eq!(greedy, text(&reference["greedy_text"]));
    let chat = file.chat.expect("a template").render("Hi").expect("it renders");
    assert!(chat.ends_with("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"), "{chat}");
}

#[test]
fn a_directory_agrees_with_transformers() {
    let reference = json("tiny-llama.json");
    let file = model::open(&self::reference("tiny-llama")).expect("it is good");
    let prompt = file.codec.encode(text(&reference["prompt"]), true).expect("ids");
    assert_eq!(prompt, ids(&reference["prompt_ids"]));
    let messages = reference["chat"]["messages"].as_array().expect("messages");
    let [message] = &messages[..] else { panic!("one message") };
    let chat = file.chat.expect("a template").render(text(&message["content"])).expect("it renders");
    assert_eq!(chat, text(&reference["chat"]["text"]));
    assert_eq!(file.codec.encode(&chat, false).expect("ids"), ids(&reference["chat"]["ids"]));
}

/// A tiny model around a vocabulary of the reference.
fn model_with(vocabulary: &Value) -> Vec<u8> {
    let texts = |key: &str| -> Vec<String> { serde_json::from_value(vocabulary[key].clone()).expect("texts") };
    let tokens = texts("tokens");
    let begin = tokens.iter().position(|token| token == "<s>").expect("it begins with <s>") as u32;
    let types: Vec<i32> = serde_json::from_value(vocabulary["types"].clone()).expect("types");
    let mut file = gguf()
        .with("tokenizer.ggml.model", text_value(text(&vocabulary["model"])))
        .with("tokenizer.ggml.pre", text_value(text(&vocabulary["pre"])))
        .with("tokenizer.ggml.tokens", texts_value(&tokens))
        .with("tokenizer.ggml.token_type", i32s_value(&types))
        .with("tokenizer.ggml.bos_token_id", u32_value(begin))
        .with("tokenizer.ggml.eos_token_id", u32_value(begin + 1));
    file = if vocabulary["merges"].is_array() {
        file.with("tokenizer.ggml.merges", texts_value(&texts("merges")))
    } else {
        let scores: Vec<f32> = serde_json::from_value(vocabulary["scores"].clone()).expect("scores");
        file.with("tokenizer.ggml.merges", Vec::new()).with("tokenizer.ggml.scores", f32s_value(&scores))
    };
    let embedding = |tensor: &mut crate::checkpoint::GgufTensor| {
        tensor.sizes = vec![D_MODEL as u64, tokens.len() as u64];
        tensor.bytes = vec![0; D_MODEL / 32 * 34 * tokens.len()];
    };
    file.edit("token_embd.weight", embedding).bytes()
}

#[test]
fn ids_of_every_kind_of_vocabulary_agree_with_llama_cpp() {
    let reference = json("vocabularies.json");
    let mut wrong = Vec::new();
    for vocabulary in reference.as_array().expect("vocabularies") {
        let name = format!("{} {}", text(&vocabulary["model"]), text(&vocabulary["pre"]));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("model.gguf");
        std::fs::write(&path, model_with(vocabulary)).expect("written");
        let codec = model::open(&path).unwrap_or_else(|error| panic!("{name}: {error}")).codec;
        for entry in vocabulary["texts"].as_array().expect("texts") {
            let (found, wanted) = (codec.encode(text(&entry["text"]), true).expect("ids"), ids(&entry["ids"]));
            if found != wanted {
                wrong.push(format!("{name}: {}\n  found  {found:?}\n  wanted {wanted:?}", entry["text"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
