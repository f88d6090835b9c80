//! Tests of the emitter: emitted code against VIR's interpreter, quality of hot loops, speed.

mod elementary;
mod harness;
mod lowering;
mod lowering_ops;
mod lowering_random;
mod operations;
mod plans;
mod programs;
mod quality;
mod speed;
mod tiles;
