//! `sawmill check`: functions of the zoo against independent outputs.
//!
//! In: a directory with a manifest and tensors, written by other people's reference code. Out: one line a fixture, and
//! the count.
//! Invariant: nothing here knows any fixture; a directory of the same form is checked the same way.

pub mod array;
pub mod binding;
pub mod compare;
pub mod fixtures;
pub mod manifest;
pub mod signature;
