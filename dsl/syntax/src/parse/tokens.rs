//! Single tokens: what stands next, and the error when it is the wrong thing.

use crate::ast::Name;
use crate::errors::{Diagnostic, Loc, Outcome, Problem};
use proc_macro2::{TokenStream, TokenTree};
use syn::parse::ParseStream;
use syn::{Ident, Token, token};

/// The place of the next token, or of the end of the group.
pub(crate) fn here(input: ParseStream<'_>) -> Loc {
    Loc::at(input.cursor().token_tree().map_or_else(|| input.span(), |(tree, _)| tree.span()))
}

/// The error for a token that should not be the next.
pub(crate) fn expected(input: ParseStream<'_>, what: &str, help: &str) -> Box<Diagnostic> {
    let found = found(input);
    Box::new(Diagnostic::new(here(input), Problem::Expected { what: what.into(), found, help: help.into() }))
}

fn found(input: ParseStream<'_>) -> String {
    match input.cursor().token_tree() {
        None => "the end".into(),
        Some((TokenTree::Group(group), _)) => match group.delimiter() {
            proc_macro2::Delimiter::Parenthesis => "`(`".into(),
            proc_macro2::Delimiter::Bracket => "`[`".into(),
            proc_macro2::Delimiter::Brace => "`{`".into(),
            proc_macro2::Delimiter::None => format!("`{}`", group.stream()),
        },
        Some((tree, _)) => format!("`{tree}`"),
    }
}

/// The next token is this word.
pub(crate) fn at_word(input: ParseStream<'_>, word: &str) -> bool {
    input.cursor().ident().is_some_and(|(ident, _)| ident == word)
}

/// Takes this word if it is next.
pub(crate) fn take_word(input: ParseStream<'_>, word: &str) -> Outcome<Option<Name>> {
    if at_word(input, word) { name(input, word).map(Some) } else { Ok(None) }
}

/// A name; `what` says which in the error.
pub(crate) fn name(input: ParseStream<'_>, what: &str) -> Outcome<Name> {
    let word_in_role = at_word(input, "in") || at_word(input, "where") || at_word(input, "let");
    match input.cursor().ident() {
        Some(_) if !word_in_role && input.peek(Ident) => {
            let ident: Ident = input.parse()?;
            Ok(to_name(&ident))
        }
        Some((ident, _)) if !word_in_role && ident == "rev" => Ok(to_name(&input.parse()?)),
        Some((ident, _)) => {
            let help = format!("`{ident}` is a word of the language; choose another name");
            Err(expected(input, what, &help))
        }
        None => Err(expected(input, what, "")),
    }
}

/// Our name for a Rust identifier.
pub(crate) fn to_name(ident: &Ident) -> Name {
    use syn::ext::IdentExt;
    Name { text: ident.unraw().to_string(), span: ident.span() }
}

/// The content of a `(..)`, `[..]` or `{..}` with the place of the whole group.
pub(crate) fn group<'a>(input: ParseStream<'a>, open: char, help: &str) -> Outcome<(syn::parse::ParseBuffer<'a>, Loc)> {
    let there = match open {
        '(' => input.peek(token::Paren),
        '[' => input.peek(token::Bracket),
        _ => input.peek(token::Brace),
    };
    if there { Ok(opened(input, open)?) } else { Err(expected(input, &format!("`{open}`"), help)) }
}

fn opened<'a>(input: ParseStream<'a>, open: char) -> syn::Result<(syn::parse::ParseBuffer<'a>, Loc)> {
    let content;
    let span = match open {
        '(' => syn::parenthesized!(content in input).span,
        '[' => syn::bracketed!(content in input).span,
        _ => syn::braced!(content in input).span,
    };
    Ok((content, Loc { start: span.open(), end: span.close() }))
}

/// The group has nothing left.
pub(crate) fn end(input: ParseStream<'_>, what: &str) -> Outcome<()> {
    if input.is_empty() { Ok(()) } else { Err(expected(input, what, missing_operator(input))) }
}

/// Help for a word that stands where an operator or the end should.
pub(crate) fn missing_operator(input: ParseStream<'_>) -> &'static str {
    if at_word(input, "or") {
        "`or` follows one read, call or parenthesis: put its left side in parentheses"
    } else if at_word(input, "else") {
        "`else` belongs to a `where` or an `if` before it"
    } else if input.peek(Ident) || input.peek(syn::Lit) || input.peek(token::Paren) {
        "an operator is missing before this"
    } else if input.peek(Token![=]) {
        "`=` defines a tensor; equality is `==`"
    } else {
        ""
    }
}

/// A list with commas, trailing comma allowed.
pub(crate) fn commas<T>(
    input: ParseStream<'_>,
    what: &str,
    mut part: impl FnMut(ParseStream<'_>) -> Outcome<T>,
) -> Outcome<Vec<T>> {
    let mut parts = Vec::new();
    while !input.is_empty() {
        parts.push(part(input)?);
        if input.is_empty() {
            break;
        }
        if !input.peek(Token![,]) {
            return Err(expected(input, what, missing_operator(input)));
        }
        input.parse::<Token![,]>()?;
    }
    Ok(parts)
}

/// Passes over everything up to the end of the group.
pub(crate) fn skip_rest(input: ParseStream<'_>) -> TokenStream {
    let mut skipped = TokenStream::new();
    while let Ok(tree) = input.parse::<TokenTree>() {
        skipped.extend([tree]);
    }
    skipped
}
