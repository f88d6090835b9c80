//! The floor of the house: graph IR and tile IR, the types they share, the target description and the backend trait.
//!
//! Everything above depends on this crate and it depends on nothing of ours: no e-graph, no code generator, no macro
//! machinery. Both IRs ship the same siblings: data, builder, text, verifier, interpreter. The interpreters sit behind
//! the feature `interp`, which proc macros leave off.
#![forbid(unsafe_code)]

pub mod entity;

pub mod dtype;
pub mod elem;
pub mod index;

pub mod graph;

pub mod tile;

pub mod backend;
pub mod per_axis;
pub mod target;

pub mod error;
