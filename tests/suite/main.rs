//! The test suite of the whole repository: one binary, one module a subject. See `docs/testing.md`.
#![forbid(unsafe_code)]

mod checkpoints;
mod differential;
mod engines;
mod fuzzing;
mod hygiene;
mod kernels;
mod layering;
mod narrow;
mod outside;
mod pairs;
mod ptx;
mod residence;
mod runtime;
mod semantics;
mod snapshots;
mod spellings;
mod ui;
