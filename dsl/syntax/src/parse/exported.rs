//! The tokens that an export carries: items, then `given [[i64 in 0..S, f32], ..]`.

use super::tokens::{commas, group, name, take_word};
use super::{GivenText, Parser};
use crate::ast::File;
use crate::errors::Outcome;
use syn::Token;
use syn::parse::ParseStream;

impl Parser {
    /// Items, and what the closures of the last one are given.
    pub(super) fn exported(&mut self, input: ParseStream<'_>) -> Outcome<(File, GivenText)> {
        let mut items = Vec::new();
        while !input.is_empty() {
            if take_word(input, "given")?.is_some() {
                let (content, _) = group(input, '[', "")?;
                let given = commas(&content, "`,`", |c| self.given(c))?;
                return Ok((File { items }, given));
            }
            items.push(self.item(input)?);
        }
        Ok((File { items }, GivenText::new()))
    }

    fn given(&mut self, input: ParseStream<'_>) -> Outcome<Vec<(crate::ast::Name, Option<crate::ast::Range>)>> {
        let (content, _) = group(input, '[', "")?;
        commas(&content, "`,`", |c| {
            let dtype = name(c, "a dtype")?;
            if !c.peek(Token![in]) {
                return Ok((dtype, None));
            }
            c.parse::<Token![in]>()?;
            Ok((dtype, Some(self.range(c)?)))
        })
    }
}
