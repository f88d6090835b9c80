//! A crate outside of the workspace that depends on `sawmill` by its path alone builds and runs; one that asks for LLVM where it
//! is missing is told so.
//!
//! In: `tests/outside/`, a build script. Out: a failure with what cargo or the program said. It is resolved to the workspace's own versions
//! and built in the workspace's target folder, so that what is built already is not built again.

use sawmill_tests::layout::{repository, target_folder};
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn a_strangers_crate_builds_and_runs() {
    let folder = repository().join("tests/outside");
    let workspace = Path::new("../../Cargo.lock");
    fs::copy(folder.join(workspace), folder.join("Cargo.lock")).expect("the versions can be copied");
    let cache = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--offline", "--quiet", "--target-dir"])
        .arg(target_folder())
        .arg("--")
        .arg(cache.path())
        .current_dir(&folder)
        .output()
        .expect("cargo runs: it built this test");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.ends_with("outside: ok\n"), "{said}\n{errors}");
    assert!(said.contains("`v`") || said.contains("T"), "the refusal names what does not fit: {said}");
}

/// The build script by itself, told that LLVM is where it is not.
#[test]
fn a_machine_without_llvm_is_told_what_to_install() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = folder.path().join("build");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(rustc)
        .args(["--edition", "2024", "-o"])
        .arg(&program)
        .arg(repository().join("backends/llvm/build.rs"))
        .status()
        .expect("rustc runs: it built this test");
    assert!(built.success());
    let run = |feature: bool| {
        let mut command = Command::new(&program);
        command.env("LLVM_SYS_221_PREFIX", folder.path()).env_remove("CARGO_FEATURE_LLVM");
        if feature {
            command.env("CARGO_FEATURE_LLVM", "1");
        }
        command.output().expect("it starts")
    };
    assert!(run(false).status.success(), "the default build needs LLVM");
    let output = run(true);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("apt-get install llvm-22-dev"), "{errors}");
    assert!(errors.contains("LLVM_SYS_221_PREFIX"), "{errors}");
}
