//! The test suite of the whole repository: one binary, one module a subject. See `docs/testing.md`.
#![forbid(unsafe_code)]

mod checkpoints;
mod differential;
mod engines;
mod fuzzing;
mod hygiene;
mod layering;
mod outside;
mod semantics;
mod snapshots;
mod spellings;
mod ui;
