//! One corpus for every engine: the tools that the test suite is written with.
//!
//! In: the repository's own sources, text, bytes. Out: [`golden`] files compared or rewritten, [`fuzz`] reports, small
//! [`checkpoint`]s, what [`ptxas`] says.
//! The tests themselves live in `suite/`, one binary; `docs/testing.md` says how to add one.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod fuzz;
pub mod golden;
pub mod layout;
pub mod programs;
pub mod ptxas;
pub mod random;
pub mod semantics;

/// The README's example, compiled and run as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
