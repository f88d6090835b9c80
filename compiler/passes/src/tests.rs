//! Checks of optimisation against the interpreter: whole programs, every step of their derivations, every match of every rule.

mod chunks;
mod evaluate;
mod generate;
mod plans;
mod programs;
mod replay;
mod rules;
mod semantics;
