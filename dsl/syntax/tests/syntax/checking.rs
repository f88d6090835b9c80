//! The checker and the lowering: whole programs, and one test per rule.

use crate::shown;
use sawmill_ir::graph::{Module, text, verify};
use sawmill_syntax::check::{Items, check_file};
use sawmill_syntax::parse::parse_file;

/// Helpers that everything calls.
const HELPERS: &str = include_str!("programs/helpers.arch");
/// Attention in its variants, latent attention, a llama layer and model.
const DENSE: &str = include_str!("programs/dense.arch");

/// The errors of a block, and its graph IR.
pub(crate) fn check(text: &str) -> (Vec<String>, Module) {
    let (file, parse_errors) = parse_file(text.parse().expect("the test is made of Rust tokens"));
    let (block, errors) = check_file(&file, Items::default());
    let found = shown(parse_errors.list()).into_iter().chain(shown(errors.list())).collect();
    let formats = block.items.formats.into_values().collect();
    (found, Module { formats, functions: block.functions.into_values().collect() })
}

#[test]
fn dense_programs_lower_to_graph_ir_that_verifies_and_round_trips() {
    for program in [HELPERS.to_string(), format!("{HELPERS}{DENSE}")] {
        let (errors, module) = check(&program);
        assert_eq!(errors, Vec::<String>::new());
        let declared = program.lines().filter(|line| line.trim_start().starts_with("pub fn ")).count();
        assert_eq!(module.functions.len(), declared);
        verify::verify(&module).expect("it verifies");
        let printed = text::print(&module);
        let again = text::parse(&printed).expect("it parses");
        verify::verify(&again).expect("it verifies again");
        assert_eq!(text::print(&again), printed);
    }
}

#[test]
fn the_example_of_the_documentation_checks() {
    let page = include_str!("../../../../docs/language.md");
    let example = page.split("```rust").nth(1).and_then(|rest| rest.split("```").next()).expect("it has an example");
    let block = example.split_once("arch! {").and_then(|(_, rest)| rest.trim_end().strip_suffix('}')).expect("a block");
    let (errors, module) = check(block);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(module.functions.len(), 1);
}
