//! The command as users run it: exit codes, messages, signals.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::checkpoint::{gguf, text_value};

fn sawmill(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sawmill"));
    command.env("XDG_CACHE_HOME", home).env_remove("SAWMILL_LOG").stdin(Stdio::null());
    command
}

fn fails(command: &mut Command, code: i32) -> String {
    let Output { status, stderr, stdout } = command.output().expect("it starts");
    let text = String::from_utf8(stderr).expect("UTF-8");
    assert_eq!(status.code(), Some(code), "{text}");
    assert!(stdout.is_empty() && !text.contains("panicked"), "{text}");
    text
}

#[test]
fn mistakes_of_the_user_exit_with_two() {
    let home = tempfile::tempdir().expect("a directory");
    let model = home.path().join("model.gguf");
    fs::write(&model, gguf().bytes()).expect("written");
    let generate = |prompt: &str| {
        let mut command = sawmill(home.path());
        command.args(["generate", prompt, "--model"]).arg(&model);
        command
    };
    assert!(fails(sawmill(home.path()).arg("generat"), 2).contains("generate"));
    assert!(fails(sawmill(home.path()).args(["generate", "x", "--top-p", "2"]), 2).contains("from 0 to 1"));
    assert!(fails(&mut generate(""), 2).contains("the prompt is empty"));
    assert!(fails(generate("x").args(["--tokens", "128"]), 2).contains("context of 128"));
    assert!(fails(&mut generate(&"word ".repeat(50)), 2).contains("context of 128"));
    fs::write(&model, &gguf().bytes()[..999]).expect("written");
    assert!(fails(&mut generate("x"), 2).contains("truncated"));
    fs::write(&model, gguf().with("general.architecture", text_value("mamba")).bytes()).expect("written");
    assert!(fails(&mut generate("x"), 2).contains("`mamba`"));
    fs::remove_file(&model).expect("it is there");
    assert!(fails(&mut generate("x"), 2).contains("model.gguf"));
    fs::create_dir(&model).expect("a directory");
    assert!(fails(&mut generate("x"), 2).contains("config.json"));
    fs::write(model.join("config.json"), "{}").expect("written");
    assert!(!fails(&mut generate("x"), 2).is_empty());
    assert!(fails(sawmill(home.path()).args(["check", "caus"]), 2).contains("sliding_window"));
    let nowhere = home.path().join("nowhere");
    assert!(fails(sawmill(home.path()).args(["check", "--fixtures"]).arg(nowhere), 2).contains("nowhere"));
    let explain = |more: &[&str]| fails(sawmill(home.path()).args(["explain", "model"]).args(more), 2);
    assert!(explain(&["--type", "Z=f32"]).contains("`Z`") && explain(&["--type", "W=q9"]).contains("q4_1"));
}

/// A whole model over packed weights: its formats come with the types.
#[test]
fn a_model_is_explained() {
    let home = tempfile::tempdir().expect("a directory");
    let sizes = ["V=64", "D=32", "F=32", "HQ=2", "HK=1", "G=2", "C=16", "M=8", "P=2"];
    let mut command = sawmill(home.path());
    command.args(["explain", "llama::model", "--no-code", "--type", "W=q4_1", "--type", "E=q8_0", "--threads", "2"]);
    for size in sizes {
        command.args(["--dim", size]);
    }
    let output = command.output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["W = q4_1", "w.layers.gate.q: u8[L", "## Rewrites", "## Plan", "## Tiles"] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn an_interrupt_ends_the_text_and_tells_so() {
    let home = tempfile::tempdir().expect("a directory");
    // The interpreter takes its time, so that the signal comes in between.
    let mut command = tiny(home.path(), "interpreter");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut first = [0];
    child.stdout.as_mut().expect("piped").read_exact(&mut first).expect("a first byte");
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(signal.success());
    let output = child.wait_with_output().expect("it ends");
    let summary = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{summary}");
    assert!(summary.contains("generated") && !summary.contains("panicked"), "{summary}");
}

#[test]
fn a_machine_without_pip_exits_with_three_and_names_the_option() {
    let home = tempfile::tempdir().expect("a directory");
    let text = fails(sawmill(home.path()).args(["generate", "x"]).env("PATH", home.path()), 3);
    assert!(text.contains("pip was not found") && text.contains("--model"), "{text}");
}

#[test]
fn help_into_a_closed_pipe_is_no_panic() {
    let home = tempfile::tempdir().expect("a directory");
    let mut child = sawmill(home.path())
        .args(["generate", "--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn an_interrupted_download_leaves_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let python = home.path().join("python3");
    // A pip that never ends; the shell becomes the sleep, so that ending it ends all.
    fs::write(&python, format!("#!/bin/sh\ntouch {}/started\nexec /bin/sleep 60\n", home.path().display()))
        .expect("written");
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("made executable");
    let mut child = sawmill(home.path())
        .args(["generate", "x"])
        .env("PATH", format!("{}:/usr/bin:/bin", home.path().display()))
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let begun = Instant::now();
    while !home.path().join("started").exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "pip was not started");
        thread::sleep(Duration::from_millis(10));
    }
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(signal.success());
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(3));
    let models = home.path().join("sawmill/models");
    let left: Vec<_> = fs::read_dir(models).expect("the directory").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["lock"]);
}

/// The tiny model of the reference: a directory whose generation takes no time.
fn tiny(home: &Path, engine: &str) -> Command {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/tiny-llama");
    let mut command = sawmill(home);
    command.env_remove("SAWMILL_CACHE_DIR").args(["generate", "Roman engineers built stone arches"]);
    command.args(["--engine", engine, "--model"]).arg(model);
    command
}

#[test]
fn a_run_writes_text_and_a_summary_and_repeats_itself() {
    let home = tempfile::tempdir().expect("a directory");
    let run = |engine: &str, more: &[&str]| {
        let output = tiny(home.path(), engine).args(more).output().expect("it starts");
        let summary = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(0), "{summary}");
        (String::from_utf8(output.stdout).expect("UTF-8"), summary)
    };
    let (text, summary) = run("cranelift", &["--tokens", "24"]);
    assert!(text.starts_with("|||") && summary.contains("generated 24 tokens at"), "{text} {summary}");
    // The second run finds the kernels on disk; the interpreter needs none.
    assert_eq!(run("cranelift", &["--tokens", "24"]).0, text);
    assert_eq!(run("interpreter", &["--tokens", "24"]).0, text);
    let (drawn, summary) = run("cranelift", &["--tokens", "24", "--seed", "5", "--temperature", "2"]);
    assert!(drawn != text && summary.ends_with("seed 5\n"), "{summary}");
    assert_eq!(run("cranelift", &["--tokens", "24", "--seed", "5", "--temperature", "2"]).0, drawn);
}

#[test]
fn no_tokens_write_nothing_and_fail_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let output = tiny(home.path(), "cranelift").args(["--tokens", "0"]).output().expect("it starts");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"\n"[..]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("generated 0 tokens"));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = tempfile::tempdir().expect("a directory");
    let mut command = tiny(home.path(), "cranelift");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let summary = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert!(summary.contains("generated 1 tokens"), "{summary}");
}

/// A level below the processor's can be asked for, one that is none or above it cannot.
#[cfg(feature = "llvm")]
#[test]
fn llvm_generates_for_a_lower_level_if_asked() {
    let home = tempfile::tempdir().expect("a directory");
    let explain = |level: &str| {
        let mut command = sawmill(home.path());
        command.args(["explain", "rms_norm", "--engine", "llvm"]).env("SAWMILL_CPU_LEVEL", level);
        command
    };
    let output = explain("x86-64-v3").output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("define void @kernel(") && text.contains("\"target-cpu\"=\"x86-64-v3\""),
        "no LLVM IR: {text}"
    );
    assert!(text.contains("%ymm") && !text.contains("%zmm"), "not the registers of AVX2: {text}");
    let message = fails(&mut explain("x86-64-v9"), 3);
    assert!(message.contains("x86-64-v9") && message.contains("x86-64-v3 or x86-64-v4"), "{message}");
}
