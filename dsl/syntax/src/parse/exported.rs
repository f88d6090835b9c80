//! The tokens that an export carries: items, then `given [[i64 in 0..S, f32], ..] pushes [kv in 0..S]`.

use super::tokens::{commas, group, name, take_word};
use super::{ExportNotes, Parser};
use crate::ast::{Expr, File, Name, Range};
use crate::errors::Outcome;
use syn::Token;
use syn::parse::ParseStream;

impl Parser {
    /// Items, and what callers must know of the last one beyond its signature.
    pub(super) fn exported(&mut self, input: ParseStream<'_>) -> Outcome<(File, ExportNotes)> {
        let mut items = Vec::new();
        let mut notes = ExportNotes::default();
        while !input.is_empty() {
            if take_word(input, "given")?.is_some() {
                let (content, _) = group(input, '[', "")?;
                notes.given = commas(&content, "`,`", |c| self.given(c))?;
            } else if take_word(input, "pushes")?.is_some() {
                let (content, _) = group(input, '[', "")?;
                notes.pushes = commas(&content, "`,`", |c| self.pushes(c))?.into_iter().collect();
            } else {
                items.push(self.item(input)?);
            }
        }
        Ok((File { items }, notes))
    }

    /// A cache, and `in 0..n` where the number of positions appended to it is known.
    fn pushes(&mut self, input: ParseStream<'_>) -> Outcome<(String, Option<Expr>)> {
        let cache = name(input, "a parameter")?;
        if !input.peek(Token![in]) {
            return Ok((cache.text, None));
        }
        input.parse::<Token![in]>()?;
        Ok((cache.text, Some(self.range(input)?.hi)))
    }

    fn given(&mut self, input: ParseStream<'_>) -> Outcome<Vec<(Name, Option<Range>)>> {
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
