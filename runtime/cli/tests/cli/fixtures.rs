//! A directory of fixtures, run with a function that is written here.

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, tensor::TensorView};
use sawmill_cli::check::{
    array::{Array, Numbers},
    binding::{Bound, floats},
    fixtures::{Count, Line, Outcome, Runner, run},
    signature::{Argument, Candidate, Element, Output, Signature},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// `y[T, B] = factor * x[T, B]`, with the axes of the fixture turned round.
fn candidate() -> Candidate {
    let axes = || vec!["T".to_owned(), "B".to_owned()];
    let argument =
        |name: &str, axes, optional| Argument { name: name.to_owned(), element: Element::Float, axes, optional };
    Candidate {
        name: "scaled".to_owned(),
        row: "A1".to_owned(),
        system: "scale".to_owned(),
        when: Vec::new(),
        signature: Signature {
            arguments: vec![argument("x", axes(), false), argument("factor", Vec::new(), true)],
            dims: Vec::new(),
            outputs: vec![Output { name: "y".to_owned(), axes: axes() }],
        },
    }
}

struct Scale;

impl Runner for Scale {
    fn run(&self, _candidate: &Candidate, bound: &Bound) -> Result<BTreeMap<String, Array>, String> {
        let factor = bound.arguments.get("factor").map_or(2.0, |factor| floats(&factor.numbers)[0]);
        let x = &bound.arguments["x"];
        assert_eq!(x.shape, [3, 2], "the fixture is [B,T] = [2,3], the argument [T,B]");
        let numbers = Numbers::Float(floats(&x.numbers).iter().map(|value| factor * value).collect());
        Ok(BTreeMap::from([("y".to_owned(), Array { shape: x.shape.clone(), numbers })]))
    }
}

/// One fixture whose output is the input doubled; `edit` changes its entry in the manifest.
fn directory(edit: impl FnOnce(&mut Value)) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let raw = |values: [f32; 6]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (x, y) = (raw([0., 1., 2., 3., 4., 5.]), raw([0., 2., 4., 6., 8., 10.]));
    let view = |data| TensorView::new(Dtype::F32, vec![2, 3], data).expect("sizes agree");
    let path = directory.path().join("a.safetensors");
    safetensors::serialize_to_file([("in.x", view(&x)), ("out.y", view(&y))], None, &path).expect("written");
    let digest: String =
        Sha256::digest(fs::read(&path).expect("there")).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut fixture = json!({
        "file": "a.safetensors", "row": "A1", "system": "scale", "case": "odd",
        "parameters": { "factor": null, "other": 3 },
        "inputs": { "x": { "meaning": "[B,T]: values" } },
        "outputs": { "y": { "meaning": "[B,T]: twice the values", "tolerance": 0.25 } },
        "sha256": digest,
    });
    edit(&mut fixture);
    let unknown =
        json!({ "file": "b.safetensors", "row": "B2", "system": "x", "case": "y", "inputs": {}, "outputs": {} });
    let manifest = json!({ "about": "text", "fixtures": [fixture, unknown] });
    fs::write(directory.path().join("manifest.json"), manifest.to_string()).expect("written");
    directory
}

fn lines(directory: &Path, row: Option<&str>) -> (Vec<Line>, Count) {
    let mut lines = Vec::new();
    let count = run(directory, row, &[candidate()], &Scale, &mut |line| lines.push(line.clone())).expect("it runs");
    (lines, count)
}

fn reason(edit: impl FnOnce(&mut Value)) -> String {
    let directory = directory(edit);
    match lines(directory.path(), Some("A1")).0.remove(0).outcome {
        Outcome::Failed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fixture_that_agrees_passes_and_unknown_systems_are_counted() {
    let directory = directory(|_| {});
    let (lines, count) = lines(directory.path(), None);
    assert_eq!(count.to_string(), "1 passed, 0 failed, 1 without a function");
    assert_eq!(lines[0].to_string(), "passed      A1 scale odd (a.safetensors) [unused: other]");
    assert_eq!(lines[1].to_string(), "no function B2 x y (b.safetensors)");
}

#[test]
fn differences_are_failures() {
    assert!(reason(|fixture| fixture["parameters"]["factor"] = json!(3.0)).contains("element [1, 2]"));
    // Within four tolerances: 10.9 for 10.
    let near = directory(|fixture| fixture["parameters"]["factor"] = json!(2.18));
    assert_eq!(lines(near.path(), Some("A1")).1, Count { passed: 1, failed: 0, without: 0 });
    assert!(reason(|fixture| fixture["parameters"]["factor"] = json!(2.21)).contains("off by"));
}

#[test]
fn a_fixture_that_was_not_compared_does_not_pass() {
    assert!(reason(|fixture| fixture["outputs"] = json!({})).contains("expects no output"));
    assert!(reason(|fixture| fixture["outputs"]["z"] = json!({ "tolerance": 1 })).contains("`z`"));
    assert!(reason(|fixture| fixture["inputs"] = json!({})).contains("nothing gives the argument `x`"));
    assert!(reason(|fixture| fixture["sha256"] = json!("00")).contains("SHA-256"));
    assert!(reason(|fixture| fixture["file"] = json!("../a.safetensors")).contains("no plain name"));
    assert!(reason(|fixture| fixture["file"] = json!("c.safetensors")).contains("c.safetensors"));
}

#[test]
fn a_directory_without_a_manifest_or_an_unknown_row_is_an_error() {
    let run = |directory: &Path, row| run(directory, row, &[], &Scale, &mut |_| {}).expect_err("an error").to_string();
    assert!(run(Path::new("/nowhere"), None).contains("/nowhere/manifest.json"));
    assert!(run(directory(|_| {}).path(), Some("Q9")).contains("Q9"));
}
