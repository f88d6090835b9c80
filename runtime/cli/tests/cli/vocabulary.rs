//! The default model's vocabulary against llama.cpp's tokenizer, whose ids `tests/reference/llama.py` has written.

use std::path::Path;

use sawmill_cli::{acquire, model};
use serde_json::Value;

#[test]
fn ids_of_the_default_model_agree_with_llama_cpp() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/smollm2.json");
    let reference: Value =
        serde_json::from_slice(&std::fs::read(path).expect("the reference is committed")).expect("JSON");
    let file = model::open(&acquire::default_model().expect("the model is there or comes")).expect("it is good");
    let texts = reference["texts"].as_array().expect("texts");
    assert!(texts.len() > 20);
    let ids = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).expect("ids") };
    for entry in texts {
        let text = entry["text"].as_str().expect("a text");
        let encoded = file.codec.encode(text, true).expect("it has ids");
        assert_eq!(encoded, ids(&entry["ids_with_special"]), "{text:?}");
    }
    let prompt = reference["prompt"].as_str().expect("a prompt");
    assert_eq!(file.codec.encode(prompt, true).expect("ids"), ids(&reference["prompt_ids"]));
    assert_eq!(file.codec.decode(&ids(&reference["greedy_ids"])).expect("text"), reference["greedy_text"]);
    let chat = file.chat.expect("a template").render("Hi").expect("it renders");
    assert!(chat.ends_with("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"), "{chat}");
}
