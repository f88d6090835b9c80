//! What `closure!` expands to.

use crate::parse::parse_closure;
use crate::print;
use proc_macro2::TokenStream;
use quote::quote;

/// Expands the tokens of a `closure!`.
pub fn closure(tokens: TokenStream) -> TokenStream {
    let (parsed, errors) = parse_closure(tokens);
    let Some(parsed) = parsed.filter(|_| errors.is_empty()) else {
        let errors = errors.to_compile_errors();
        return quote!({ #errors });
    };
    let text = print::closure(&parsed.closure);
    let params = parsed.closure.params.len();
    let captures = &parsed.captures;
    quote!(::sawmill::Closure::new(#text, #params, ::std::vec![#(::sawmill::Capture::from(#captures)),*]))
}
