//! One corpus for every engine.
