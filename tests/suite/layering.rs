//! Who may depend on whom.
//!
//! In: `cargo metadata` of the workspace. Out: a failure for every edge that the table does not allow, and for every
//! edge of the table that no manifest has. Invariant: data flows one way, from the language to the backends through
//! `sawmill-ir`; only `passes` knows the e-graph, only `cranelift` and `llvm` their code generators; LLVM is reached by a feature alone.

use sawmill_tests::layout::repository;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each of our crates, with exactly those of our crates that its manifest names.
const EDGES: &[(&str, &[&str])] = &[
    ("sawmill-ir", &[]),
    ("sawmill-syntax", &["sawmill-ir"]),
    ("sawmill-macros", &["sawmill-syntax"]),
    ("sawmill-passes", &["sawmill-ir"]),
    ("sawmill-simd", &["sawmill-ir"]),
    ("sawmill-launch", &["sawmill-ir", "sawmill-simd"]),
    ("sawmill-cranelift", &["sawmill-ir", "sawmill-launch", "sawmill-simd"]),
    ("sawmill-llvm", &["sawmill-ir", "sawmill-launch", "sawmill-simd"]),
    ("sawmill-ptx", &["sawmill-ir", "sawmill-simd"]),
    ("sawmill-cuda", &["sawmill-ir", "sawmill-launch", "sawmill-ptx"]),
    (
        "sawmill",
        &[
            "sawmill-cranelift",
            "sawmill-cuda",
            "sawmill-ir",
            "sawmill-llvm",
            "sawmill-macros",
            "sawmill-passes",
            "sawmill-ptx",
            "sawmill-syntax",
        ],
    ),
    ("sawmill-zoo", &["sawmill"]),
    ("sawmill-cli", &["sawmill", "sawmill-zoo"]),
];

/// The package that sees every crate, because it tests every crate. Nobody depends on it.
const TESTS: &str = "sawmill-tests";

/// Crates of others that only the named crates of ours may name: prefix of the dependency, who may.
const RESERVED: &[(&str, &[&str])] = &[
    ("egg", &["sawmill-passes"]),
    ("cranelift-", &["sawmill-cranelift"]),
    ("syn", &["sawmill-syntax"]),
    ("quote", &["sawmill-macros", "sawmill-syntax"]),
    ("inkwell", &["sawmill-llvm"]),
    ("llvm-", &["sawmill-llvm"]),
    ("cudarc", &["sawmill-cuda"]),
];

/// Crates of others that must not be reachable, however indirectly: from whom, prefix of what.
const UNREACHABLE: &[(&str, &[&str])] = &[
    ("sawmill-ir", &["egg", "cranelift", "tokenizers"]),
    ("sawmill-syntax", &["egg", "cranelift", "half"]),
    ("sawmill-macros", &["egg", "cranelift", "half"]),
    ("sawmill-passes", &["cranelift"]),
    ("sawmill-simd", &["egg", "cranelift"]),
    ("sawmill-launch", &["egg", "cranelift", "inkwell", "llvm-sys"]),
    ("sawmill-cranelift", &["egg"]),
    ("sawmill-llvm", &["egg", "cranelift", "inkwell", "llvm-sys"]),
    ("sawmill-ptx", &["egg", "cranelift", "cudarc"]),
    ("sawmill-cuda", &["egg", "cranelift", "inkwell", "llvm-sys"]),
    ("sawmill-cli", &["inkwell", "llvm-sys", "cudarc", "openssl-sys", "libsqlite3-sys"]),
];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(repository())
        .output()
        .expect("cargo runs: it built this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {} failed:\n{errors}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// The dependencies that each workspace package names, as `(package, dependency, kind)`.
fn named_dependencies() -> Vec<(String, String, String)> {
    let text = cargo(&["metadata", "--no-deps", "--format-version=1", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata writes JSON");
    let mut named = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a package has a name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let target = dependency["name"].as_str().expect("a dependency has a name");
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            named.push((name.into(), target.into(), kind.into()));
        }
    }
    named
}

fn is_ours(name: &str) -> bool {
    name == "sawmill" || name.starts_with("sawmill-")
}

fn allowed(name: &str) -> Option<BTreeSet<&'static str>> {
    EDGES.iter().find(|row| row.0 == name).map(|row| row.1.iter().copied().collect())
}

/// What is wrong with the edges between our crates.
fn edge_violations(named: &[(String, String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut actual: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to, kind) in named.iter().filter(|(_, to, _)| is_ours(to)) {
        if to == TESTS {
            violations.push(format!("{from} depends on the tests"));
        }
        if from == TESTS {
            continue;
        }
        let Some(row) = allowed(from) else {
            violations.push(format!("{from} has no row in the table"));
            continue;
        };
        if !row.contains(to.as_str()) {
            violations.push(format!("{from} must not see {to} ({kind})"));
        }
        if kind == "normal" {
            actual.entry(from).or_default().insert(to);
        }
    }
    for (from, row) in EDGES {
        for to in row.iter().filter(|to| !actual.get(from).is_some_and(|seen| seen.contains(*to))) {
            violations.push(format!("the table lets {from} see {to}, which its manifest does not name"));
        }
    }
    violations
}

/// What is wrong with the use of reserved crates.
fn reservation_violations(named: &[(String, String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (from, to, kind) in named.iter().filter(|(from, _, _)| from != TESTS) {
        for (reserved, owners) in RESERVED {
            let is_reserved = to == reserved || (reserved.ends_with('-') && to.starts_with(reserved));
            if is_reserved && !owners.contains(&from.as_str()) {
                violations.push(format!("{from} must not name {to} ({kind})"));
            }
        }
    }
    violations
}

/// Everything that `package` links or runs while building, with default features, as `name features`.
fn reachable(package: &str) -> Vec<String> {
    let arguments = [
        "tree",
        "--locked",
        "--offline",
        "-p",
        package,
        "-e",
        "no-dev",
        "--prefix",
        "none",
        "--no-dedupe",
        "-f",
        "{p} [{f}]",
    ];
    cargo(&arguments).lines().map(str::to_owned).collect()
}

#[test]
fn edges_between_our_crates_are_those_of_the_table() {
    let violations = edge_violations(&named_dependencies());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_package_has_a_row() {
    let text = cargo(&["metadata", "--no-deps", "--format-version=1", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata writes JSON");
    let packages: BTreeSet<&str> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let rows: BTreeSet<&str> = EDGES.iter().map(|row| row.0).chain([TESTS]).collect();
    assert_eq!(packages, rows);
}

#[test]
fn reserved_crates_have_one_owner() {
    let violations = reservation_violations(&named_dependencies());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn no_crate_reaches_what_its_layer_must_not_know() {
    for (package, forbidden) in UNREACHABLE {
        for line in reachable(package) {
            let name = line.split(' ').next().unwrap_or_default();
            let hit = forbidden.iter().find(|prefix| name.starts_with(**prefix));
            assert!(hit.is_none(), "{package} reaches {line}");
        }
    }
}

#[test]
fn macros_leave_the_interpreters_off() {
    let tree = reachable("sawmill-macros");
    let floor = tree.iter().find(|line| line.starts_with("sawmill-ir ")).expect("macros reach the floor");
    assert!(!floor.contains("interp"), "{floor}");
}

#[test]
fn the_check_sees_a_forbidden_edge_and_a_missing_one() {
    let mut named = named_dependencies();
    assert_eq!(edge_violations(&named), Vec::<String>::new());
    named.push(("sawmill-simd".into(), "sawmill-passes".into(), "dev".into()));
    named.retain(|(from, to, _)| !(from == "sawmill-zoo" && to == "sawmill"));
    let violations = edge_violations(&named);
    assert_eq!(violations.len(), 2, "{violations:?}");
    named.push(("sawmill-ir".into(), "egg".into(), "normal".into()));
    named.push(("sawmill".into(), "cranelift-jit".into(), "normal".into()));
    assert_eq!(reservation_violations(&named).len(), 2);
}
