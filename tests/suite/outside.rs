//! A crate outside of the workspace that depends on `sawmill` by its path alone builds and runs.
//!
//! In: `tests/outside/`. Out: a failure with what cargo or the program said. It is resolved to the workspace's own versions
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
