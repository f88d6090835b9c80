//! Tests of the emitter: emitted code against VIR's interpreter, quality of hot loops, speed.

mod harness;
mod operations;
