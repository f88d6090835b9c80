//! Tokens to tree, with recovery.
//!
//! In: the tokens of an `arch!` block, or of a `closure!`. Out: the tree of everything that parsed, and an error for
//! everything that didn't. A statement that fails is skipped up to its `;`, an item up to the next item, so that one run
//! reports all errors. Grammar: docs/language.md. The parser is recursive descent over `syn`'s token buffer; `syn::Expr`
//! cannot be used, since `a[i, j]`, `topk[e; K](x)`, `where` and `or` are not Rust.

mod exported;
mod expr;
mod item;
mod stmt;
mod tokens;

use crate::ast::{Expr, File, HostClosure, Name, Range};
use crate::errors::{Diagnostics, Outcome};
use proc_macro2::TokenStream;
use std::collections::BTreeMap;
use syn::parse::{ParseStream, Parser as _};

/// The state of one parse.
pub(crate) struct Parser {
    errors: Diagnostics,
    /// `Some` inside `closure!`: the Rust expressions captured so far.
    captures: Option<Vec<TokenStream>>,
    /// The parameters of the closure in which captures stand.
    given: Vec<String>,
}

/// Parses the tokens of an `arch!` block.
pub fn parse_file(tokens: TokenStream) -> (File, Diagnostics) {
    let mut parser = Parser { errors: Diagnostics::default(), captures: None, given: Vec::new() };
    let file = run(tokens, |input| Ok(parser.file(input)));
    let errors = parser.errors;
    settle(file, errors)
}

/// Parses the tokens of a `closure!`.
pub fn parse_closure(tokens: TokenStream) -> (Option<HostClosure>, Diagnostics) {
    let mut parser = Parser { errors: Diagnostics::default(), captures: Some(Vec::new()), given: Vec::new() };
    let closure = run(tokens, |input| parser.whole_closure(input));
    let captures = parser.captures.take().unwrap_or_default();
    let errors = parser.errors;
    settle(closure.map(|c| Some(HostClosure { closure: c, captures })), errors)
}

/// What an export carries beyond a function's signature.
#[derive(Clone, Debug, Default)]
pub struct ExportNotes {
    /// Per closure parameter: dtype and range of each of the closure's own parameters.
    pub given: Vec<Vec<(Name, Option<Range>)>>,
    /// The cache parameters that the function appends to, each with the number of positions if it is known.
    pub pushes: BTreeMap<String, Option<Expr>>,
}

/// Parses what the hidden macro of an export carries: the item after the types it names, and what a function's closures
/// are given.
pub fn parse_exported(tokens: TokenStream) -> (File, ExportNotes, Diagnostics) {
    let mut parser = Parser { errors: Diagnostics::default(), captures: None, given: Vec::new() };
    let exported = run(tokens, |input| parser.exported(input));
    let errors = parser.errors;
    let ((file, notes), errors) = settle(exported, errors);
    (file, notes, errors)
}

fn settle<T: Default>(outcome: Outcome<T>, mut errors: Diagnostics) -> (T, Diagnostics) {
    let value = errors.keep(outcome).unwrap_or_default();
    (value, errors)
}

/// Runs a parse function over the tokens. What recovery left unread inside of a group is no second error.
fn run<T>(tokens: TokenStream, f: impl FnOnce(ParseStream<'_>) -> Outcome<T>) -> Outcome<T> {
    let mut result = None;
    let rest = (|input: ParseStream<'_>| {
        result = Some(f(input));
        while !input.is_empty() {
            input.parse::<proc_macro2::TokenTree>()?;
        }
        Ok(())
    })
    .parse2(tokens);
    match (result, rest) {
        (Some(result), _) => result,
        (None, Err(e)) => Err(e.into()),
        (None, Ok(())) => unreachable!("invariant: parse2 calls its function"),
    }
}
