//! Lowering: what the tile interpreter computes from a lowered plan is what the graph interpreter computes from the program,
//! in f64, on sizes around and below the tiles' own, on empty sizes and rows, on infinities and masks of every kind.

mod differ;
mod masks;
mod programs;
mod recurrences;
mod texts;
