//! What users see of their mistakes: the errors of each program of `tests/ui` are those that the Rust compiler printed.
//!
//! The `.stderr` files were written by rustc. Here the same programs are checked in process, and messages and places compared, so
//! that the whole catalogue runs in milliseconds.

use proc_macro2::{TokenStream, TokenTree};
use sawmill_syntax::check::{Items, check_file};
use sawmill_syntax::errors::{Diagnostic, Loc, Problem};
use sawmill_syntax::parse::{parse_closure, parse_file};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A message's first line, with its line and column.
type Shown = (String, usize, usize);

/// The contents of the `arch!`s and `closure!`s of a file.
fn blocks(tokens: TokenStream, found: &mut Vec<(String, TokenStream)>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, tree) in trees.iter().enumerate() {
        let TokenTree::Group(group) = tree else { continue };
        match trees.get(at.wrapping_sub(2)) {
            Some(TokenTree::Ident(name)) if name == "arch" || name == "closure" => {
                found.push((name.to_string(), group.stream()));
            }
            _ => blocks(group.stream(), found),
        }
    }
}

fn shown(text: &str, loc: Loc) -> Shown {
    let start = loc.start.start();
    (text.lines().next().unwrap_or_default().to_string(), start.line, start.column + 1)
}

fn with_notes(d: &Diagnostic) -> Vec<Shown> {
    let notes = d.notes.iter().map(|(loc, text)| shown(&format!("{text} (see the error above)"), *loc));
    std::iter::once(shown(&d.text(), d.loc)).chain(notes).collect()
}

/// The errors that the front end finds in a file.
fn found_in(source: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    blocks(source.parse().expect("the file is made of Rust tokens"), &mut found);
    let mut errors = Vec::new();
    for (name, tokens) in found {
        if name == "closure" {
            errors.extend_from_slice(parse_closure(tokens).1.list());
            continue;
        }
        let (file, parse_errors) = parse_file(tokens);
        errors.extend_from_slice(parse_errors.list());
        errors.extend_from_slice(check_file(&file, Items::default()).1.list());
    }
    errors
}

/// The same as rustc shows them.
fn ours(source: &str) -> Vec<Shown> {
    let mut errors: Vec<Shown> = found_in(source).iter().flat_map(with_notes).collect();
    errors.sort();
    errors
}

/// The errors that rustc printed.
fn printed(stderr: &str) -> Vec<Shown> {
    let mut errors = Vec::new();
    let mut message = String::new();
    for line in stderr.lines() {
        if let Some(text) = line.strip_prefix("error: ") {
            message = text.to_string();
        } else if let Some((_, place)) = line.split_once("--> ui/") {
            let mut numbers = place.split(':').skip(1).filter_map(|n| n.parse().ok());
            let (line, column) = (numbers.next().expect("a line"), numbers.next().expect("a column"));
            errors.push((std::mem::take(&mut message), line, column));
        }
    }
    errors.sort();
    errors
}

/// The programs, in the order of their names.
fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/ui");
    let entries = fs::read_dir(folder).expect("tests/ui is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    assert!(paths.len() > 10, "{} programs", paths.len());
    paths
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a readable file")
}

#[test]
fn every_mistake_is_reported_as_the_compiler_showed_it() {
    for path in programs() {
        assert_eq!(ours(&read(&path)), printed(&read(&path.with_extension("stderr"))), "{}", path.display());
    }
}

#[test]
fn every_kind_of_error_has_a_program_that_shows_it() {
    let shown: BTreeSet<&str> =
        programs().iter().flat_map(|path| found_in(&read(path))).map(|error| error.problem.kind()).collect();
    let unseen: Vec<&&str> = Problem::KINDS.iter().filter(|kind| !shown.contains(**kind)).collect();
    assert!(unseen.is_empty(), "no program of tests/ui has an error of these kinds: {unseen:?}");
}
