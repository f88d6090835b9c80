//! The text of graph IR: what macros embed, golden files hold and bug reports carry.
//!
//! [`print`] gives one equation a line; [`parse`] reads it back. `parse(print(m)) == m` up to ids, which are renumbered in
//! order of first occurrence, and up to equal leaves, which become one; `print(parse(print(m))) == print(m)`. Names are kept;
//! where two clash, the later one gets a number. `docs/ir.md` shows every form. Text is untrusted: parsing never panics, and
//! nesting and sizes are bounded.

mod lex;
mod names;
mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use parse::{parse, parse_function};
pub use print::{print, print_function, print_index};

/// How deep terms and integer expressions may nest.
pub const MAX_DEPTH: u32 = 200;

/// Words that open a term: a tensor or parameter of such a name is written in backticks.
fn is_reserved(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "true", "false", "inf", "nan", "cast", "round_to", "where", "or_else", "softmax", "running", "call", "apply",
        "bind", "fold", "proj", "new", "old", "in",
    ];
    WORDS.contains(&name)
        || crate::elem::ElemOp::from_text(name).is_some()
        || crate::elem::ReduceOp::from_text(name).is_some()
}
