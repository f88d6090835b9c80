//! Vocabularies against llama.cpp's tokenizer and transformers, whose ids `tests/reference/llama.py` has written.

use std::path::{Path, PathBuf};

use sawmill_cli::{acquire, model};
use serde_json::Value;

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
