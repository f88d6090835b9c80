//! The proc macros `arch!` and `closure!`: a shim over `sawmill-syntax`.
//!
//! In: tokens. Out: the items described below, or `compile_error!`s at the tokens that cause them; signatures that parsed keep their
//! wrappers, so that one error does not turn every caller red.
#![doc = include_str!("../CONTRACT.md")]
#![forbid(unsafe_code)]

use proc_macro::TokenStream;

/// Checks a block of equations and makes its functions callable.
#[proc_macro]
pub fn arch(tokens: TokenStream) -> TokenStream {
    sawmill_syntax::expand::arch(tokens.into()).into()
}

/// A closure over indices and scalars for a parameter of an `arch!` function; `{..}` captures Rust values.
#[proc_macro]
pub fn closure(tokens: TokenStream) -> TokenStream {
    sawmill_syntax::expand::closure(tokens.into()).into()
}
