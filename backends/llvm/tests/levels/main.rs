//! Tests of the emitter: emitted code against VIR's interpreter, at every level.
//!
//! The modules with a path are those of every code generator; see `subject`.
#![cfg(feature = "llvm")]

#[path = "../../../launch/tests/generator/elementary.rs"]
mod elementary;
#[path = "../../../launch/tests/generator/harness.rs"]
mod harness;
#[path = "../../../launch/tests/generator/lowering.rs"]
mod lowering;
#[path = "../../../launch/tests/generator/lowering_ops.rs"]
mod lowering_ops;
#[path = "../../../launch/tests/generator/lowering_random.rs"]
mod lowering_random;
#[path = "../../../launch/tests/generator/meter.rs"]
mod meter;
#[path = "../../../launch/tests/generator/operations.rs"]
mod operations;
#[path = "../../../launch/tests/generator/plans.rs"]
mod plans;
#[path = "../../../launch/tests/generator/programs.rs"]
mod programs;
#[path = "../../../launch/tests/generator/speed.rs"]
mod speed;
#[path = "../../../launch/tests/generator/subject.rs"]
mod subject;
#[path = "../../../launch/tests/generator/tiles.rs"]
mod tiles;

mod quality;
mod subjects;
