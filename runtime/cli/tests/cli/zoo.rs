//! The zoo's functions as the command finds them, and the command on a fixture whose outputs follow on paper.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use safetensors::{Dtype, tensor::TensorView};
use sawmill::{Device, ir::dtype::DType};
use sawmill_cli::check::{
    adversarial::{find, functions, is_generic, run},
    zoo::candidates,
};
use serde_json::json;

#[test]
fn every_system_has_one_function_with_its_outputs() {
    let candidates = candidates().expect("every program holds its function");
    assert!(candidates.len() >= 24);
    for (at, candidate) in candidates.iter().enumerate() {
        assert!(!candidate.signature.outputs.is_empty(), "{}", candidate.name);
        let same = |other: &&sawmill_cli::check::signature::Candidate| {
            (&other.row, &other.system, &other.when) == (&candidate.row, &candidate.system, &candidate.when)
        };
        assert!(!candidates[..at].iter().any(|other| same(&other)), "{} {} twice", candidate.row, candidate.system);
    }
}

#[test]
fn functions_are_found_by_the_end_of_their_path() {
    assert_eq!(find("causal").expect("it is there").name, "causal");
    assert_eq!(find("attention::causal").expect("it is there").name, "causal");
    let error = find("caus").expect_err("no function has this name").to_string();
    assert!(error.contains("`caus`") && error.contains("sliding_window"), "{error}");
}

/// One query and two keys of one channel: the outputs follow by hand from softmax of (0, ln 3).
fn write_fixture(directory: &Path) {
    let raw = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let tensors = [
        ("in.q", vec![1, 1, 1, 1], raw(&[1.0])),
        ("in.k", vec![1, 2, 1, 1], raw(&[0.0, 3_f32.ln()])),
        ("in.v", vec![1, 2, 1, 1], raw(&[0.0, 4.0])),
        ("out.o", vec![1, 1, 1, 1], raw(&[3.0])),
        ("out.lse", vec![1, 1, 1], raw(&[4_f32.ln()])),
    ];
    let views = tensors.iter().map(|(name, shape, data)| {
        ((*name).to_owned(), TensorView::new(Dtype::F32, shape.clone(), data).expect("sizes agree"))
    });
    let path = directory.join("a.safetensors");
    safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, &path).expect("written");
    let input = |axes: &str| json!({ "meaning": format!("{axes}: values") });
    let output = |axes: &str| json!({ "meaning": format!("{axes}: values"), "tolerance": 1e-6 });
    let fixture = json!({
        "file": "a.safetensors", "row": "F1", "system": "bidirectional", "case": "paper", "parameters": { "scale": 1.0 },
        "inputs": { "q": input("[B,T,HQ,K]"), "k": input("[B,S,H,K]"), "v": input("[B,S,H,V]") },
        "outputs": { "o": output("[B,T,HQ,V]"), "lse": output("[B,T,HQ]") },
    });
    fs::write(directory.join("manifest.json"), json!({ "fixtures": [fixture] }).to_string()).expect("written");
}

#[test]
fn a_fixture_passes_on_every_engine_and_a_wrong_one_exits_with_one() {
    let directory = tempfile::tempdir().expect("a directory");
    write_fixture(directory.path());
    let check = |engine: &str| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sawmill"));
        command.args(["check", "--engine", engine, "--fixtures"]).arg(directory.path()).env("SAWMILL_CACHE_DIR", "");
        command.output().expect("it starts")
    };
    let engines = ["interpreter", "cranelift"];
    #[cfg(feature = "llvm")]
    let engines = [engines.as_slice(), &["llvm"]].concat();
    for engine in engines {
        let output = check(engine);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.ends_with("1 passed, 0 failed, 0 without a function\n"), "{engine}: {text}");
        assert_eq!(output.status.code(), Some(0));
    }
    let manifest = directory.path().join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("there").replace("\"scale\":1.0", "\"scale\":2.0");
    fs::write(&manifest, text).expect("written");
    let output = check("interpreter");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("FAILED"));
}

/// A round of each kind of values for every function, models with caches and lists of layers among them.
#[test]
fn every_function_agrees_with_the_interpreter() {
    every_function_agrees_on(&Device::cpu_with(2, None).expect("threads start"), true);
}

#[cfg(feature = "llvm")]
#[test]
fn every_function_agrees_with_the_interpreter_on_llvm_at_every_level() {
    let detected = sawmill::Level::detected().expect("a processor with AVX2");
    for level in sawmill::Level::ALL.into_iter().filter(|level| *level <= detected) {
        every_function_agrees_on(&Device::llvm_at(level, 2, None).expect("threads start"), level == detected);
    }
}

/// `narrow`: on 16-bit floats, too.
fn every_function_agrees_on(device: &Device, narrow: bool) {
    let (mut failed, mut lines) = (0, Vec::new());
    let mut check = |function, floats| {
        let show = &mut |line: &str| lines.push(format!("{line} {floats}"));
        failed += run(function, device, floats, 1, show).expect("sizes are found");
    };
    let mut types = [DType::BF16, DType::F16].into_iter().cycle();
    for function in functions() {
        check(function, DType::F32);
        // One 16-bit type each: the other one is its neighbour's.
        if narrow && is_generic(function).expect("the zoo's programs are whole") {
            check(function, types.next().unwrap_or(DType::BF16));
        }
    }
    assert!(lines.len() >= 5 * 30, "{} rounds", lines.len());
    lines.retain(|line| !line.starts_with("passed"));
    assert_eq!((failed, lines.join("\n").as_str()), (0, ""));
}
