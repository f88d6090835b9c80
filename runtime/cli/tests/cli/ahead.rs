//! Functions built ahead of time: C programs link the libraries and compute with them; PTX and manifests are as they say.
//!
//! The programs are in `tests/ahead`. Each computes its expectation by itself, in double, and prints what differs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{Object, ObjectSymbol, read::archive::ArchiveFile};
use serde_json::Value;

/// A program, the function it calls and how that is built, the library's name.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    ("causal", &["causal", "--dim", "K=16", "--dim", "V=24"], "causal"),
    ("swiglu", &["swiglu", "--dim", "D=96", "--dim", "F=32", "--type", "W=q8_0"], "swiglu"),
    ("rms_norm", &["rms_norm", "--dim", "D=67", "--type", "E=bf16", "--as", "row_norm"], "row_norm"),
    (
        "model",
        &[
            "model", "--dim", "V=21", "--dim", "D=12", "--dim", "F=20", "--dim", "HQ=4", "--dim", "HK=2", "--dim",
            "G=2", "--dim", "C=6", "--dim", "M=3", "--dim", "P=1",
        ],
        "model",
    ),
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ahead")
}

/// Runs `sawmill build` and gives what it says.
fn build(arguments: &[&str], target: &str, generator: &str, folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sawmill"));
    command.arg("build").args(arguments).args(["--target", target]).arg("--out").arg(folder);
    if !generator.is_empty() {
        command.args(["--by", generator]);
    }
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?} for {target}: {said}");
    said
}

/// Compiles a program with the system's C compiler, links a library, runs it.
fn run(program: &str, library: &str, folder: &Path) {
    let executable = folder.join(program);
    let mut compile = Command::new("cc");
    compile.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-I"]).arg(folder).arg("-I").arg(sources());
    compile.arg(sources().join(format!("{program}.c"))).arg(folder.join(format!("lib{library}.a")));
    compile.args(["-lm", "-o"]).arg(&executable);
    let compiled = compile.output().expect("a C compiler: the linker of Rust is one");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let output = Command::new(&executable).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!((text.as_ref(), output.status.code()), ("right\n", Some(0)), "{program}");
}

/// The symbols that the objects of a library define for others, and those that they ask for.
fn symbols(library: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let bytes = fs::read(library).expect("the library is there");
    let archive = ArchiveFile::parse(&*bytes).expect("an archive");
    let listed = archive.symbols().expect("an index").expect("an index").count();
    let (mut defined, mut asked) = (BTreeSet::new(), BTreeSet::new());
    for member in archive.members() {
        let data = member.expect("a member").data(&*bytes).expect("inside of the archive");
        let object = object::File::parse(data).expect("an object");
        for symbol in object.symbols().filter(ObjectSymbol::is_global) {
            let name = symbol.name().expect("UTF-8").to_owned();
            if symbol.is_undefined() {
                asked.insert(name)
            } else {
                defined.insert(name)
            };
        }
    }
    assert_eq!(listed, defined.len(), "the index of the archive lists what is defined");
    (defined, asked)
}

/// No compiler, no runtime of Rust: two entries, and memory from the system.
fn holds_no_compiler(library: &str, folder: &Path) {
    let (defined, asked) = symbols(&folder.join(format!("lib{library}.a")));
    let entries = [format!("sawmill_{library}"), format!("sawmill_{library}_workspace")];
    assert_eq!(defined, BTreeSet::from(entries));
    assert_eq!(asked, BTreeSet::from(["free".to_owned(), "malloc".to_owned()]));
}

fn every_program(target: &str, generator: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    for (program, arguments, library) in PROGRAMS {
        let said = build(arguments, target, generator, folder.path());
        assert!(said.contains(&format!("a library by {generator}")), "{said}");
        run(program, library, folder.path());
        holds_no_compiler(library, folder.path());
    }
}

#[test]
fn c_programs_compute_with_libraries_by_cranelift() {
    every_program("x86-64-v3", "cranelift");
}

#[cfg(feature = "llvm")]
#[test]
fn c_programs_compute_with_libraries_by_llvm() {
    let detected = sawmill::Level::detected().expect("a processor with AVX2");
    for level in sawmill::Level::ALL.into_iter().filter(|level| *level <= detected) {
        every_program(level.cpu(), "llvm");
    }
}

#[test]
fn two_builds_are_alike_and_the_manifest_describes_the_struct() {
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    for folder in [&first, &second] {
        build(PROGRAMS[0].1, "x86-64-v4", "", folder.path());
    }
    for file in ["libcausal.a", "causal.h", "causal.json"] {
        let read = |folder: &tempfile::TempDir| fs::read(folder.path().join(file)).expect("it is there");
        assert!(read(&first) == read(&second), "{file} differs");
    }
    let text = fs::read_to_string(first.path().join("causal.json")).expect("it is there");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(manifest["const_dims"], serde_json::json!({ "K": 16, "V": 24 }));
    assert_eq!(manifest["entries"][0]["symbol"], "sawmill_causal");
    assert_eq!(manifest["requires"], serde_json::json!([{ "equal": ["HQ", "H*G"] }]));
    // A C compiler puts the members where the manifest says they are.
    let members = manifest["struct"]["members"].as_array().expect("members");
    let checks = members.iter().map(|member| {
        let (name, offset) = (member["name"].as_str().expect("a name"), &member["offset_bytes"]);
        format!("_Static_assert(offsetof(sawmill_causal_args, {name}) == {offset}, \"{name}\");\n")
    });
    let size = &manifest["struct"]["bytes"];
    let source = format!(
        "#include <stddef.h>\n#include \"causal.h\"\n{}_Static_assert(sizeof(sawmill_causal_args) == {size}, \"size\");\n",
        checks.collect::<String>()
    );
    let path = first.path().join("layout.c");
    fs::write(&path, source).expect("written");
    let compiled = Command::new("cc").args(["-std=c11", "-fsyntax-only"]).arg(&path).output().expect("a C compiler");
    assert!(members.len() > 12 && compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

#[test]
fn what_cannot_be_built_is_refused_by_the_kind_of_its_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let failed = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sawmill"));
        let output = command.arg("build").args(arguments).arg("--out").arg(folder.path()).output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = failed(&["causal", "--target", "x86-64-v2"]);
    assert!(code == Some(2) && said.contains("x86-64-v3, x86-64-v4, sm_80, sm_90"), "{said}");
    let (code, said) = failed(&["causal", "--target", "sm_90", "--by", "cranelift"]);
    assert!(code == Some(2) && said.contains("not of sm_90"), "{said}");
    let (code, said) = failed(&["causal", "--target", "x86-64-v3", "--as", "a b"]);
    assert!(code == Some(2) && said.contains("`a b` is no name in C"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is written");
}

#[test]
fn explain_shows_code_for_machines_that_are_not_here() {
    let shown = |target: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sawmill"));
        let output = command.args(["explain", "rms_norm", "--target", target]).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let ptx = shown("sm_90");
    assert!(ptx.contains(".target sm_90") && ptx.contains(".visible .entry"), "{ptx}");
    let assembly = shown("x86-64-v4");
    let expected = if cfg!(feature = "llvm") { ["LLVM IR", "zmm"] } else { ["CLIF", "xmm"] };
    assert!(expected.iter().all(|part| assembly.contains(part)), "{assembly}");
}
