//! Where things lie in the repository, and its source files.
//!
//! In: nothing but the manifest directory of this package. Out: paths, and source texts in a fixed order.
//! Invariant: listings are sorted, so that reports are the same on every machine.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the repository that hold our own Rust sources.
pub const SOURCE_FOLDERS: [&str; 5] = ["backends", "compiler", "dsl", "runtime", "tests"];

/// One source file: its path relative to the repository's root, with `/` between parts, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Path from the repository's root, such as `compiler/ir/src/lib.rs`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// The repository's root folder.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package tests/ lies in the repository's root").to_path_buf()
}

/// The target folder that the running test was built in: it lies at `<target>/<profile>/deps/<test>`.
///
/// # Panics
/// When the test does not lie in a target folder.
#[must_use]
pub fn target_folder() -> PathBuf {
    let this = std::env::current_exe().expect("a test is a file");
    this.ancestors().nth(3).expect("a test lies in a target folder").to_path_buf()
}

/// Every `.rs` file of [`SOURCE_FOLDERS`], sorted by path, build folders left out.
///
/// # Panics
/// When a file cannot be read: a test cannot go on without its subject.
#[must_use]
pub fn rust_sources() -> Vec<Source> {
    let root = repository();
    let mut paths = Vec::new();
    for folder in SOURCE_FOLDERS {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display())),
            path: path.strip_prefix(&root).expect("listed below the root").to_string_lossy().replace('\\', "/"),
        })
        .collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{} cannot be listed: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder entry can be read").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, into);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}
