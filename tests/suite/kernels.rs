//! Compiled functions kept on disk: shared by processes, never trusted, never needed.
//!
//! In: a folder, empty, shared, damaged or unusable. Out: a failure where a call's result depends on it.

use sawmill::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

arch! {
    /// The sum of each row's squares.
    pub fn squares<M, N>(x: f32[M, N]) -> y: f32[M] {
        y[m] = sum[n](x[m, n] * x[m, n]);
    }
}

/// Where a process of `processes_share_a_folder` keeps its kernels.
const FOLDER: &str = "SAWMILL_TEST_KERNELS";

/// A new device that keeps its kernels in `folder` calls the function.
fn call(folder: &Path) -> Vec<f32> {
    let device = Device::cpu_with(1, Some(folder.to_owned())).expect("threads start");
    let x = Typed::<f32, 2>::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]).expect("six values");
    squares::with(&device).call(&x).expect("a folder never fails a call").to_vec().expect("host memory")
}

const WANTED: [f32; 2] = [14.0, 77.0];

/// The files of a folder, and which file on disk each is.
fn entries(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).expect("the folder exists").map(|entry| entry.expect("an entry"));
    let mut entries: Vec<_> =
        entries.map(|entry| (entry.path(), entry.metadata().expect("just listed").ino())).collect();
    entries.sort();
    entries
}

#[test]
fn an_entry_is_read_and_a_bad_one_is_rewritten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path().join("kernels");
    assert_eq!(call(&folder), WANTED);
    let kept = entries(&folder);
    let [(file, _)] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!(call(&folder), WANTED);
    assert_eq!(entries(&folder), kept, "a good entry is not written again");
    let whole = fs::read(file).expect("readable");
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let cases = [
        ("empty", Vec::new()),
        ("cut in the header", whole[..9].to_vec()),
        ("cut in the code", whole[..whole.len() - 7].to_vec()),
        ("longer", [whole.as_slice(), b"more"].concat()),
        ("of somebody else", b"#!/bin/sh\nexit 1\n".to_vec()),
        ("another version", flipped(15)),
        ("another key", flipped(40)),
        ("damaged code", flipped(whole.len() - 3)),
    ];
    for (name, bytes) in cases {
        fs::write(file, bytes).expect("writable");
        assert_eq!(call(&folder), WANTED, "{name}");
        assert_eq!(fs::read(file).expect("readable"), whole, "{name}: it was not rewritten");
    }
}

#[test]
fn a_folder_that_cannot_be_used_costs_a_compilation_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").expect("writable");
    assert_eq!(call(&file.join("kernels")), WANTED);
    assert_eq!(call(&file), WANTED);
    assert_eq!(call(Path::new("/proc/no/such/folder")), WANTED);
    let open = folder.path().join("open");
    fs::create_dir(&open).expect("a folder");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("own folder");
    assert_eq!(call(&open), WANTED);
    assert!(entries(&open).is_empty(), "code was kept where others can write");
    // An entry's place is taken by a folder: it can be neither read nor replaced.
    let taken = folder.path().join("taken");
    assert_eq!(call(&taken), WANTED);
    let (entry, _) = entries(&taken).remove(0);
    fs::remove_file(&entry).expect("own file");
    fs::create_dir_all(entry.join("full")).expect("own folder");
    assert_eq!(call(&taken), WANTED);
    assert_eq!(entries(&taken).len(), 1, "a failed write leaves nothing");
}

#[test]
fn processes_share_a_folder() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        assert_eq!(call(Path::new(&folder)), WANTED);
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kernels = folder.path().join("kernels");
    let start = || {
        let mut command = Command::new(std::env::current_exe().expect("this test has a file"));
        command.args(["--exact", "kernels::processes_share_a_folder"]).env(FOLDER, &kernels);
        command.spawn().expect("it starts")
    };
    let processes: Vec<_> = (0..4).map(|_| start()).collect();
    for mut process in processes {
        assert!(process.wait().expect("it ends").success());
    }
    let kept = entries(&kernels);
    assert_eq!(kept.len(), 1, "one entry and no litter: {kept:?}");
    assert_eq!(call(&kernels), WANTED);
    assert_eq!(entries(&kernels), kept, "what another process kept is read");
}
