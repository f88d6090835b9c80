//! The proc macros `arch!` and `closure!`: a shim over `sawmill-syntax`.
//!
//! In: tokens. Out: the items described below, or `compile_error!`s at the tokens that cause them; signatures that parsed keep their
//! wrappers, so that one error does not turn every caller red.
#![doc = include_str!("../CONTRACT.md")]
#![forbid(unsafe_code)]
