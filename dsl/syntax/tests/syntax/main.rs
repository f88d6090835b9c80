//! Tests of the language front end: everything parses, checks and lowers; every error is found at its token.

mod checking;
mod expanding;
mod host;
mod mistakes;
mod parsing;
mod ui;

use sawmill_syntax::errors::Diagnostic;

/// `text of the place: message` per error.
fn shown(found: &[Diagnostic]) -> Vec<String> {
    let place = |d: &Diagnostic| d.loc.span().source_text().unwrap_or_default();
    found.iter().map(|d| format!("{}: {}", place(d), d.problem.message())).collect()
}
