//! Computes the digest of the compiler's own sources: part of every cache key, so that kernels built by another compiler are
//! never taken for this one's. Comes in: the source folders of the crates that decide what code is generated. Goes out: the
//! environment variable `SAWMILL_BUILD_DIGEST` for `cache`.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Crates whose sources decide what code is generated, from this crate's folder.
const SOURCES: &[&str] = &[
    "../../compiler/ir/src",
    "../../compiler/passes/src",
    "../../backends/simd/src",
    "../../backends/launch/src",
    "../../backends/cranelift/src",
    "../../backends/llvm/src",
    "src",
];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let mut digest = Sha256::new();
    digest.update(env::var("TARGET").unwrap_or_default());
    digest.update(env::var("PROFILE").unwrap_or_default());
    for source in SOURCES {
        let folder = root.join(source);
        println!("cargo:rerun-if-changed={}", folder.display());
        if folder.exists() {
            add_folder(&folder, &mut digest)?;
        }
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo:rustc-env=SAWMILL_BUILD_DIGEST={hex}");
    Ok(())
}

/// Adds every file below `folder`, in the order of names.
fn add_folder(folder: &Path, digest: &mut Sha256) -> io::Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            add_folder(&path, digest)?;
        } else {
            digest.update(path.file_name().map(|n| n.as_encoded_bytes()).unwrap_or_default());
            digest.update(fs::read(&path)?);
        }
    }
    Ok(())
}
