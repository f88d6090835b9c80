//! The language of `arch!` as an ordinary library: parse, check, lower to graph IR.
//!
//! In: the tokens of an `arch!` block or of a `closure!`. Out: graph-IR modules, the Rust items that wrap them, and every
//! error of the block, each at the token that causes it with what to write instead. The proc macros are a shim over
//! this crate. Nothing here sees the optimizer: a block is expanded in milliseconds.
#![forbid(unsafe_code)]

pub mod ast;
pub mod check;
pub mod errors;
pub mod expand;
pub mod host;
pub mod parse;
pub mod print;
