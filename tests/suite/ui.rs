//! What users see of their mistakes, as rustc shows it: the programs of `tests/ui` and `tests/ui/rust`.
//!
//! In: the programs, each with a `.stderr` beside it. Out: a failure with the first difference; `SAWMILL_BLESS=1` writes the files.
//! All programs are binaries of one package outside of the workspace, written into the target folder: it is resolved to the
//! workspace's own versions and built with the dependencies that `tests/outside` is built with.
//!
//! The text is compared in full under the version of rustc that wrote it (`tests/ui/rustc.txt`), else messages and places only.

use sawmill_tests::golden::{blessing, first_difference};
use sawmill_tests::layout::{repository, target_folder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs by the name of their binary.
fn programs() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for (folder, prefix) in [("tests/ui", ""), ("tests/ui/rust", "rust-")] {
        for entry in fs::read_dir(repository().join(folder)).expect("the folder is there") {
            let path = entry.expect("a readable entry").path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.file_stem().expect("a file has a name").to_string_lossy();
                found.insert(format!("{prefix}{name}"), path);
            }
        }
    }
    assert!(found.len() > 15, "{} programs", found.len());
    found
}

/// Writes the package and gives its folder. Its settings are those of `tests/outside`, so that what is built is shared.
fn package(programs: &BTreeMap<String, PathBuf>) -> PathBuf {
    let root = repository();
    let settings = fs::read_to_string(root.join("tests/outside/Cargo.toml")).expect("tests/outside is there");
    let runtime = root.join("runtime/sawmill");
    let mut manifest = settings
        .replace("name = \"outside\"", "name = \"ui\"")
        .replace("\"../../runtime/sawmill\"", &format!("{:?}", runtime.display().to_string()));
    assert!(
        manifest.contains(&runtime.display().to_string()),
        "the dependency of tests/outside is spelled as expected"
    );
    for (name, path) in programs {
        manifest.push_str(&format!("\n[[bin]]\nname = {name:?}\npath = {:?}\n", path.display().to_string()));
    }
    let folder = target_folder().join("ui");
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join("Cargo.toml"), manifest).expect("the manifest can be written");
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("the versions can be copied");
    folder
}

/// The errors of each program, as one text.
fn shown(folder: &Path) -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--bins", "--keep-going", "--message-format=json", "--target-dir"])
        .arg(target_folder())
        .current_dir(folder)
        .output()
        .expect("cargo runs: it built this test");
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let (name, told) = (message["target"]["name"].as_str(), &message["message"]);
        let (Some(name), Some(rendered)) = (name, told["rendered"].as_str()) else { continue };
        let placed = told["spans"].as_array().is_some_and(|spans| !spans.is_empty());
        if told["level"] == "error" && placed {
            texts.entry(name.to_string()).or_default().push_str(&kept(rendered));
        }
    }
    assert!(!texts.is_empty(), "cargo said nothing of errors: {}", String::from_utf8_lossy(&output.stderr));
    texts
}

/// A message without what moves by itself: the folder of the programs, and remarks on places in other files.
fn kept(rendered: &str) -> String {
    let ui = format!("{}/", repository().join("tests/ui").display());
    let text = rendered.trim_end().replace(&ui, "ui/");
    let mut parts: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if parts.is_empty() || line.starts_with("note: ") || line.starts_with("help: ") {
            parts.push(Vec::new());
        }
        parts.last_mut().expect("a part was begun").push(line.trim_end());
    }
    let is_here = |part: &Vec<&str>| {
        let mut places = part.iter().filter_map(|line| line.split_once("--> "));
        places.all(|(_, place)| place.starts_with("ui/"))
    };
    let kept: Vec<String> = parts.into_iter().filter(is_here).map(|part| part.join("\n")).collect();
    format!("{}\n\n", kept.join("\n"))
}

/// Messages and places alone.
fn essentials(text: &str) -> String {
    let told = |line: &&str| line.starts_with("error") || line.trim_start().starts_with("--> ");
    text.lines().filter(told).map(|line| format!("{}\n", line.trim_start())).collect()
}

/// The compiler that builds the programs.
fn rustc() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().expect("rustc runs: it built this test");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn mistakes_are_shown_as_reviewed() {
    let programs = programs();
    let found = shown(&package(&programs));
    let version = repository().join("tests/ui/rustc.txt");
    if blessing() {
        fs::write(&version, rustc()).expect("the version can be written");
    }
    let same_compiler = fs::read_to_string(&version).is_ok_and(|known| known == rustc());
    let mut wrong = Vec::new();
    for (name, path) in &programs {
        let text = found.get(name).map(|text| format!("{}\n", text.trim_end())).unwrap_or_default();
        let file = path.with_extension("stderr");
        if blessing() {
            fs::write(&file, text).expect("the messages can be written");
            continue;
        }
        let wanted = fs::read_to_string(&file).unwrap_or_default();
        let difference = if same_compiler {
            first_difference(&wanted, &text)
        } else {
            first_difference(&essentials(&wanted), &essentials(&text))
        };
        wrong.extend(difference.map(|difference| format!("{}: {difference}", file.display())));
    }
    assert!(wrong.is_empty(), "rewrite them with SAWMILL_BLESS=1 if the change is meant\n{}", wrong.join("\n"));
}

#[test]
fn remarks_on_other_files_are_left_out() {
    let rendered = "error[E0277]: no\n --> ui/rust/a.rs:1:2\n  |\nnote: required by\n --> /elsewhere/b.rs:3:4\n  |\nhelp: write\n  |\n1 | x\n\n";
    assert_eq!(kept(rendered), "error[E0277]: no\n --> ui/rust/a.rs:1:2\n  |\nhelp: write\n  |\n1 | x\n\n");
    assert_eq!(essentials(rendered), "error[E0277]: no\n--> ui/rust/a.rs:1:2\n--> /elsewhere/b.rs:3:4\n");
}
