//! Tests of both IRs through their public faces: text, verifier, interpreter.

mod graph;
mod speed;
mod tile;
