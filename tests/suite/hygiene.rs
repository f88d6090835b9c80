//! House rules that a machine can check on the sources.
//!
//! In: every `.rs` file of the repository. Out: a failure that lists `path: what`. Invariant: each check is a function
//! from a source to its violations and is itself tested on a source that violates it.

use proc_macro2::{TokenStream, TokenTree};
use sawmill_tests::layout::{Source, repository, rust_sources};
use std::fs;
use std::str::FromStr;

/// Crates that hold no `unsafe`; it lives in the JIT entry and the tensor buffers alone.
const SAFE_CRATES: &[&str] = &[
    "compiler/ir",
    "compiler/passes",
    "dsl/syntax",
    "dsl/macros",
    "backends/simd",
    "backends/llvm",
    "runtime/zoo",
    "tests",
];

/// Names of models' parts: a compiler that knows them has a template where it should have algebra.
const MODEL_WORDS: &[&str] = &["attention", "flash", "moe"];

/// Names of files that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["common.rs", "helper.rs", "helpers.rs", "misc.rs", "util.rs", "utils.rs"];

fn report(check: impl Fn(&Source) -> Vec<String>) {
    let sources = rust_sources();
    assert!(sources.len() > 10, "the sources were not found");
    let violations: Vec<String> = sources
        .iter()
        .flat_map(|source| check(source).into_iter().map(|what| format!("{}: {what}", source.path)))
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// The tokens of a source in one flat list, comments gone.
fn tokens(source: &Source) -> Vec<String> {
    fn flatten(stream: TokenStream, into: &mut Vec<String>) {
        for tree in stream {
            match tree {
                TokenTree::Group(group) => flatten(group.stream(), into),
                other => into.push(other.to_string()),
            }
        }
    }
    let stream = TokenStream::from_str(&source.text)
        .unwrap_or_else(|error| panic!("{} is not made of Rust tokens: {error}", source.path));
    let mut list = Vec::new();
    flatten(stream, &mut list);
    list
}

fn header_violations(source: &Source) -> Vec<String> {
    let opens = source.text.starts_with("//! ");
    if opens { Vec::new() } else { vec!["does not open with `//!`".into()] }
}

fn placeholder_violations(source: &Source) -> Vec<String> {
    let list = tokens(source);
    list.windows(2)
        .filter(|pair| pair[1] == "!" && ["todo", "unimplemented", "dbg"].contains(&pair[0].as_str()))
        .map(|pair| format!("uses `{}!`", pair[0]))
        .collect()
}

/// Glob imports of our own modules. The prelude exists to be imported so, by users and by what stands in their place.
fn glob_violations(source: &Source) -> Vec<String> {
    let list = tokens(source);
    let starts = list.iter().enumerate().filter(|(_, token)| *token == "use").map(|(at, _)| at);
    let mut violations = Vec::new();
    for start in starts {
        let path: String = list[start + 1..].iter().take_while(|token| *token != ";").map(String::as_str).collect();
        let first = path.trim_start_matches("::").split("::").next().unwrap_or_default();
        let ours = ["crate", "self", "super"].contains(&first) || first.starts_with("sawmill");
        if ours && path.contains("::*") && path != "sawmill::prelude::*" {
            violations.push(format!("imports `{path}`"));
        }
    }
    violations
}

/// The text before the tests of a file.
fn without_tests(text: &str) -> &str {
    match text.find("#[cfg(test)]\nmod ") {
        Some(at) if !text[at..].lines().nth(1).unwrap_or_default().ends_with(';') => &text[..at],
        _ => text,
    }
}

/// Splits a text into lower-case words at anything but letters and at capitals.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous_is_lower = false;
    for character in text.chars() {
        let starts = !character.is_alphabetic() || (character.is_uppercase() && previous_is_lower);
        if starts {
            words.push(String::new());
        }
        if character.is_alphabetic() {
            words.last_mut().expect("never empty").extend(character.to_lowercase());
        }
        previous_is_lower = character.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn model_word_violations(source: &Source) -> Vec<String> {
    let compiler = source.path.starts_with("compiler/") || source.path.starts_with("backends/");
    let test = source.path.contains("/tests/") || source.path.ends_with("/tests.rs");
    if !compiler || test {
        return Vec::new();
    }
    let list = words(without_tests(&source.text));
    MODEL_WORDS
        .iter()
        .filter(|word| list.iter().any(|found| found.trim_end_matches('s') == **word))
        .map(|word| format!("speaks of `{word}`"))
        .collect()
}

fn name_violations(source: &Source) -> Vec<String> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    let stem = name.trim_end_matches(".rs");
    let mut violations = Vec::new();
    if EMPTY_NAMES.contains(&name) {
        violations.push("a file is named after what is in it".into());
    }
    if stem.ends_with(|character: char| character.is_ascii_digit()) {
        violations.push("a file's name is not numbered".into());
    }
    violations
}

/// A std map that is iterated gives another order in every process.
fn hash_map_violations(source: &Source) -> Vec<String> {
    let watched = ["compiler/", "backends/", "dsl/"].iter().any(|folder| source.path.starts_with(folder));
    let list = if watched { tokens(source) } else { Vec::new() };
    ["HashMap", "HashSet"]
        .iter()
        .filter(|name| list.iter().any(|token| token == *name))
        .map(|name| format!("uses std's `{name}`; take `Fx{name}` for look-ups or a `BTree` to iterate"))
        .collect()
}

#[test]
fn every_file_opens_with_its_purpose() {
    report(header_violations);
}

#[test]
fn nothing_is_left_to_do() {
    report(placeholder_violations);
}

#[test]
fn own_modules_are_imported_by_name() {
    report(glob_violations);
}

#[test]
fn the_compiler_knows_no_model() {
    report(model_word_violations);
}

#[test]
fn files_are_named_after_their_subject() {
    report(name_violations);
}

#[test]
fn maps_iterate_in_a_fixed_order() {
    report(hash_map_violations);
}

#[test]
fn unsafe_is_forbidden_where_it_has_no_place() {
    for folder in SAFE_CRATES {
        let root = repository().join(folder).join("src/lib.rs");
        let text = fs::read_to_string(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
        assert!(text.lines().any(|line| line == "#![forbid(unsafe_code)]"), "{folder} does not forbid unsafe code");
    }
}

#[test]
fn each_check_sees_its_violation() {
    let at = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    assert_eq!(header_violations(&at("a.rs", "// not docs\n")).len(), 1);
    assert_eq!(placeholder_violations(&at("a.rs", "fn f() { todo!() }")).len(), 1);
    assert_eq!(placeholder_violations(&at("a.rs", "//! todo!\nfn todo() {}")).len(), 0);
    assert_eq!(glob_violations(&at("a.rs", "use super::*;")).len(), 1);
    assert_eq!(glob_violations(&at("a.rs", "mod m { pub use crate::a::{b, c::*}; }")).len(), 1);
    assert_eq!(glob_violations(&at("a.rs", "use sawmill::prelude::*; use std::fmt::*;")).len(), 0);
    assert_eq!(model_word_violations(&at("compiler/ir/src/a.rs", "struct FlashThing;")).len(), 1);
    assert_eq!(model_word_violations(&at("backends/simd/src/a.rs", "// attention_kernels")).len(), 1);
    assert_eq!(
        model_word_violations(&at("compiler/ir/src/a.rs", "//! x\n#[cfg(test)]\nmod tests { /* moe */ }")).len(),
        0
    );
    assert_eq!(model_word_violations(&at("compiler/ir/src/a.rs", "#[cfg(test)]\nmod tests;\nfn moe() {}")).len(), 1);
    assert_eq!(name_violations(&at("a/utils.rs", "")).len(), 1);
    assert_eq!(name_violations(&at("a/lower2.rs", "")).len(), 1);
    assert_eq!(hash_map_violations(&at("dsl/a.rs", "use std::collections::HashMap;")).len(), 1);
    assert_eq!(hash_map_violations(&at("dsl/a.rs", "type M = FxHashMap<u32, u32>;")).len(), 0);
}
