//! `sawmill doctor`: a row for everything, and how to get what is missing.

use std::{path::Path, process::Command};

use sawmill_cli::doctor::{Row, Standing, engines, print};

/// The rows that the command prints, as (works, name, text).
fn rows(home: &Path, variables: &[(&str, &str)]) -> Vec<(bool, String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sawmill"));
    command.arg("doctor").env("XDG_CACHE_HOME", home).env_remove("SAWMILL_PTXAS").env_remove("SAWMILL_CACHE_DIR");
    command.envs(variables.iter().copied());
    let output = command.output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| {
            let (mark, rest) = line.split_at(2);
            let (name, text) = rest.split_once("  ").expect("two columns");
            (mark == "  ", name.trim().to_owned(), text.trim().to_owned())
        })
        .collect()
}

#[test]
fn everything_has_a_row() {
    let home = tempfile::tempdir().expect("a directory");
    let rows = rows(home.path(), &[]);
    let names: Vec<&str> = rows.iter().map(|row| row.1.as_str()).filter(|name| !name.starts_with("gpu ")).collect();
    assert_eq!(names, ["processor", "interpreter", "cranelift", "llvm", "cuda", "kernels", "measured", "ptxas"]);
    let row = |name: &str| rows.iter().find(|row| row.1 == name).expect("the row");
    assert!(row("processor").0 && row("processor").2.contains("threads"), "{rows:?}");
    assert!(row("interpreter").0 && row("cranelift").0, "{rows:?}");
    let kernels = home.path().join("sawmill/kernels");
    assert!(row("kernels").2.contains(&kernels.display().to_string()), "{rows:?}");
    // Nothing was measured and nothing fetched under this home.
    assert!(!row("measured").0 && row("measured").2.contains("sawmill bench"), "{rows:?}");
    assert!(!row("ptxas").0 && row("ptxas").2.contains("tests/run"), "{rows:?}");
}

#[test]
fn what_is_missing_says_how_to_get_it() {
    for row in engines().iter().filter(|row| row.standing == Standing::Missing) {
        let help = ["install", "build with", "nvidia-smi", "update the driver"];
        assert!(help.iter().any(|word| row.text.contains(word)), "{row:?}");
    }
}

#[test]
fn what_is_there_is_found() {
    let home = tempfile::tempdir().expect("a directory");
    let cache = home.path().join("sawmill");
    std::fs::create_dir_all(cache.join("ptxas-1.2")).expect("a directory");
    std::fs::write(cache.join("ptxas-1.2/ptxas"), "").expect("written");
    std::fs::write(cache.join("machine.json"), r#"{"streaming_read": 28e9, "multiply_adds": 118e9}"#).expect("written");
    let rows = rows(home.path(), &[("SAWMILL_CACHE_DIR", "")]);
    let row = |name: &str| rows.iter().find(|row| row.1 == name).expect("the row");
    assert!(row("ptxas").0 && row("ptxas").2.ends_with("ptxas-1.2/ptxas"), "{rows:?}");
    assert_eq!(row("measured").2, "28.0 GB/s read, 118 GFLOP/s");
    assert!(!row("kernels").0 && row("kernels").2.contains("SAWMILL_CACHE_DIR"), "{rows:?}");
}

#[test]
fn rows_stand_in_columns() {
    let row = |name: &str, standing, text: &str| Row { name: name.into(), standing, text: text.into() };
    let rows = [row("a", Standing::Works, "it works"), row("long name", Standing::Missing, "install it")];
    let mut out = Vec::new();
    print(&mut out, &rows).expect("memory takes it");
    assert_eq!(String::from_utf8(out).expect("UTF-8"), "  a          it works\n- long name  install it\n");
}
