//! `sawmill bench`: figures of whole paths, beside the limit that the machine sets.
//!
//! In: a suite's name. Out: a table, and the same rows as JSON.

pub mod limits;
pub mod rows;
pub mod timing;
