//! Finds LLVM and links it, or says what to install.
//!
//! In: the environment variable `LLVM_SYS_221_PREFIX`, or LLVM 22 where Debian's packages put it. Out: the library to link.
//! `llvm-sys` is told not to look for LLVM itself, so that whoever lacks it reads this message and not another.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where to look if it is set, as with every user of `llvm-sys`.
const VARIABLE: &str = "LLVM_SYS_221_PREFIX";
/// Where Debian's packages put it.
const PREFIX: &str = "/usr/lib/llvm-22";
/// The library, dynamically linked.
const LIBRARY: &str = "LLVM-22";

fn main() -> ExitCode {
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_LLVM").is_none() {
        return ExitCode::SUCCESS;
    }
    let prefix = env::var_os(VARIABLE).map_or_else(|| PathBuf::from(PREFIX), PathBuf::from);
    let folder = prefix.join("lib");
    let library = folder.join(format!("lib{LIBRARY}.so"));
    println!("cargo:rerun-if-changed={}", library.display());
    if !library.exists() {
        eprintln!("error: the feature `llvm` needs LLVM 22, which is missing: there is no {}", library.display());
        eprintln!("help: on Debian, `apt-get install llvm-22-dev`");
        eprintln!("help: if it is elsewhere, set {VARIABLE} to the folder that has `lib/lib{LIBRARY}.so`");
        eprintln!("help: without the feature, kernels are compiled by Cranelift, which needs nothing");
        return ExitCode::FAILURE;
    }
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=dylib={LIBRARY}");
    ExitCode::SUCCESS
}
