//! Running models against transformers, whose logits and continuations `tests/reference/llama.py` has written.

use std::path::PathBuf;

use safetensors::SafeTensors;
use sawmill::Device;
use sawmill_cli::{
    acquire,
    check::array::{Array, Numbers},
    engine::llama::Llama,
    generate::language_model::LanguageModel,
    model::{self, ModelFile},
};
use serde_json::Value;

fn reference(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(reference(name)).expect("the reference is committed")).expect("JSON")
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("ids")
}

fn best(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1));
    best.expect("there are logits").0 as u32
}

/// The largest difference, relative to the largest expected logit.
fn difference(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let differences = found.iter().zip(wanted).map(|(&found, wanted)| (f64::from(found) - wanted).abs());
    differences
        .fold(0.0, |worst: f64, difference| if difference.is_nan() { f64::INFINITY } else { worst.max(difference) })
        / largest
}

/// Two threads, and no kernels of other runs.
fn cranelift() -> Result<Device, sawmill::Error> {
    Device::cpu_with(2, None)
}

/// Logits after the prompt, and as many greedy tokens as the reference has.
fn continuation(file: &ModelFile, device: &Device, prompt: &[u32], count: usize) -> (Vec<f32>, Vec<u32>) {
    let mut model = Llama::new(file, device, prompt.len() + count).expect("the model compiles");
    let first = model.prefill(prompt).expect("it runs");
    let mut tokens = vec![best(&first)];
    while tokens.len() < count {
        let logits = model.step(*tokens.last().expect("one token")).expect("it runs");
        tokens.push(best(&logits));
    }
    (first, tokens)
}

#[test]
fn a_directory_in_bf16_agrees_on_both_engines() {
    let reference_values = json("tiny-llama.json");
    let file = model::open(&reference("tiny-llama")).expect("it is good");
    let wanted: Vec<f64> = serde_json::from_value(reference_values["logits"].clone()).expect("logits");
    let (prompt, greedy) = (ids(&reference_values["prompt_ids"]), ids(&reference_values["greedy_ids"]));
    for device in [Device::interpreter(), cranelift()] {
        let device = device.expect("the engine works");
        let (logits, tokens) = continuation(&file, &device, &prompt, greedy.len());
        let off = difference(&logits, &wanted);
        assert!(off < 1e-2, "{device:?}: logits are off by {off} of the largest");
        assert_eq!(tokens, greedy, "{device:?}");
    }
}

#[test]
fn the_default_model_agrees_on_cranelift() {
    let values = json("smollm2.json");
    let file = model::open(&acquire::default_model().expect("the model is there or comes")).expect("it is good");
    let bytes = std::fs::read(reference("smollm2.safetensors")).expect("the reference is committed");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let Numbers::Float(wanted) = Array::read(&tensors, "logits").expect("logits").numbers else { panic!("floats") };
    let (prompt, greedy) = (ids(&values["prompt_ids"]), ids(&values["greedy_ids"]));
    let device = cranelift().expect("the engine works");
    let (logits, tokens) = continuation(&file, &device, &prompt, greedy.len());
    let off = difference(&logits, &wanted);
    assert!(off < 1e-2, "logits are off by {off} of the largest");
    assert_eq!(tokens, greedy);
}

/// All 32 tokens of the prompt: 4 billion multiply-adds of the interpreter.
#[test]
fn cranelift_agrees_with_the_interpreter_on_the_default_model() {
    let file = model::open(&acquire::default_model().expect("the model is there or comes")).expect("it is good");
    let prompt = ids(&json("smollm2.json")["prompt_ids"]);
    assert_eq!(prompt.len(), 32);
    let logits = |device: Result<Device, sawmill::Error>| {
        let device = device.expect("the engine works");
        Llama::new(&file, &device, prompt.len()).expect("the model compiles").prefill(&prompt).expect("it runs")
    };
    let wanted: Vec<f64> = logits(Device::interpreter()).into_iter().map(f64::from).collect();
    let off = difference(&logits(cranelift()), &wanted);
    assert!(off < 1e-3, "logits are off by {off} of the largest");
}
