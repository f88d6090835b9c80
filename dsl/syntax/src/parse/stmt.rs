//! Statements of a body, each recovered at its `;`.

use super::Parser;
use super::tokens::{at_word, commas, end, expected, group, here, missing_operator, name, take_word};
use crate::ast::{Bind, Carry, Expr, Index, Loop, Place, Push, Stmt};
use crate::errors::{Loc, Outcome};
use proc_macro2::TokenTree;
use syn::parse::ParseStream;
use syn::{Ident, Token, token};

impl Parser {
    /// The statements of a block; the second result says whether one of them failed.
    pub(super) fn block(&mut self, input: ParseStream<'_>) -> Outcome<(Vec<Stmt>, bool)> {
        let (content, _) = group(input, '{', "the body is a block of equations")?;
        let mut stmts = Vec::new();
        let mut broken = false;
        while !content.is_empty() {
            match self.stmt(&content, &mut broken) {
                Ok(stmt) => stmts.push(stmt),
                Err(d) => {
                    self.errors.push(*d);
                    broken = true;
                    skip_stmt(&content);
                }
            }
        }
        Ok((stmts, broken))
    }

    fn stmt(&mut self, input: ParseStream<'_>, broken: &mut bool) -> Outcome<Stmt> {
        if input.peek(Token![let]) {
            return self.definition(input);
        }
        if input.peek(Token![for]) || at_word(input, "scan") && input.peek2(Ident) {
            return self.looped(input, broken);
        }
        if at_word(input, "push") && input.peek2(Ident) {
            return self.push_stmt(input);
        }
        let bind = self.bind(input)?;
        let value = self.right_side(input)?;
        Ok(Stmt::Assign { bind, value })
    }

    fn definition(&mut self, input: ParseStream<'_>) -> Outcome<Stmt> {
        input.parse::<Token![let]>()?;
        let bind = self.bind(input)?;
        let ty = dtype(input)?;
        let value = self.right_side(input)?;
        Ok(Stmt::Let { bind, ty, value })
    }

    /// `"=" Expr ";"`
    fn right_side(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        equals(input)?;
        let value = self.expr(input)?;
        if !input.peek(Token![;]) {
            return Err(expected(input, "an operator or `;`", missing_operator(input)));
        }
        input.parse::<Token![;]>()?;
        Ok(value)
    }

    fn bind(&mut self, input: ParseStream<'_>) -> Outcome<Bind> {
        if input.peek(Token![_]) {
            return Ok(Bind::Ignore(input.parse::<Token![_]>()?.span));
        }
        if input.peek(token::Paren) {
            let (content, loc) = group(input, '(', "")?;
            let parts = commas(&content, "`,` or `)`", |c| self.bind(c))?;
            let shared = self.indices(input)?;
            return Ok(Bind::Tuple { parts, shared, loc });
        }
        Ok(Bind::Place(self.place(input, "a statement")?))
    }

    fn place(&mut self, input: ParseStream<'_>, what: &str) -> Outcome<Place> {
        let name = name(input, what)?;
        let indices = self.indices(input)?;
        Ok(Place { name, indices })
    }

    fn indices(&mut self, input: ParseStream<'_>) -> Outcome<Option<Vec<Index>>> {
        if !input.peek(token::Bracket) {
            return Ok(None);
        }
        let (content, _) = group(input, '[', "")?;
        let help = "the left side names indices only; a shifted or constant position is written on the right";
        let indices = commas(&content, "`,` or `]`", |c| self.index(c)).map_err(|mut d| {
            if let crate::errors::Problem::Expected { help: text, .. } = &mut d.problem {
                *text = help.into();
            }
            d
        })?;
        Ok(Some(indices))
    }

    fn looped(&mut self, input: ParseStream<'_>, broken: &mut bool) -> Outcome<Stmt> {
        let span = input.span();
        let scan = take_word(input, "scan")?.is_some();
        if !scan {
            input.parse::<Token![for]>()?;
        }
        let index = name(input, "the loop's index")?;
        if !input.peek(Token![in]) {
            return Err(expected(input, "`in`", "write `for l in 0..L`"));
        }
        input.parse::<Token![in]>()?;
        let reversed = at_word(input, "rev") && !input.peek2(Token![..]) && take_word(input, "rev")?.is_some();
        let range = self.range(input)?;
        let mut carries = Vec::new();
        let mut reset = None;
        if take_word(input, "carry")?.is_some() {
            (carries, reset) = self.carries(input)?;
        }
        let (body, failed) = self.block(input)?;
        *broken |= failed;
        Ok(Stmt::Loop(Loop { span, scan, reversed, index, range, carries, reset, body }))
    }

    fn carries(&mut self, input: ParseStream<'_>) -> Outcome<(Vec<Carry>, Option<Expr>)> {
        let mut carries = Vec::new();
        loop {
            let place = self.place(input, "a carry")?;
            let ty = dtype(input)?;
            equals(input)?;
            let init = self.expr(input)?;
            carries.push(Carry { place, ty, init });
            if !input.peek(Token![,]) {
                break;
            }
            input.parse::<Token![,]>()?;
            if input.peek(token::Brace) || at_word(input, "reset") {
                break;
            }
        }
        let mut reset = None;
        if take_word(input, "reset")?.is_some() {
            if !input.peek(Token![where]) {
                return Err(expected(input, "`where`", "write `reset where starts[t]`"));
            }
            input.parse::<Token![where]>()?;
            reset = Some(self.or(input)?);
        }
        Ok((carries, reset))
    }

    fn push_stmt(&mut self, input: ParseStream<'_>) -> Outcome<Stmt> {
        let span = input.span();
        take_word(input, "push")?;
        let cache = self.pushed(input)?;
        let (bracket, _) = group(input, '[', "write `push kv[s in 0..S] { .. }`")?;
        let index = self.index(&bracket)?;
        end(&bracket, "`]`")?;
        let (content, _) = group(input, '{', "the fields follow: `{ k[h, s, c] = .., v[h, s, c] = .. }`")?;
        let fields = commas(&content, "`,` or `}`", |c| {
            let place = self.place(c, "a field of the cache")?;
            equals(c)?;
            Ok((place, self.expr(c)?))
        })?;
        if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
        }
        Ok(Stmt::Push(Push { span, cache, index, fields }))
    }

    /// The cache of a `push`: a name, members and list entries; the last bracket holds the new positions.
    fn pushed(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        use crate::ast::{ExprKind, Subscript};
        let first = name(input, "a cache")?;
        let mut value = Expr { loc: first.loc(), kind: ExprKind::Name(first) };
        loop {
            if input.peek(Token![.]) {
                input.parse::<Token![.]>()?;
                let member = name(input, "a field")?;
                value = Expr { loc: value.loc.to(member.loc()), kind: ExprKind::Member(Box::new(value), member) };
            } else if input.peek(token::Bracket) && input.peek2(token::Bracket) {
                let (content, loc) = group(input, '[', "")?;
                let at = self.expr(&content)?;
                end(&content, "`]`")?;
                value = Expr { loc: value.loc.to(loc), kind: ExprKind::Read(Box::new(value), vec![Subscript::At(at)]) };
            } else {
                return Ok(value);
            }
        }
    }
}

fn equals(input: ParseStream<'_>) -> Outcome<Loc> {
    if !input.peek(Token![=]) || input.peek(Token![==]) {
        return Err(expected(input, "`=`", "an equation is written `name[i, j] = e;`"));
    }
    let loc = here(input);
    input.parse::<Token![=]>()?;
    Ok(loc)
}

/// `: bf16`
fn dtype(input: ParseStream<'_>) -> Outcome<Option<crate::ast::Name>> {
    if !input.peek(Token![:]) {
        return Ok(None);
    }
    input.parse::<Token![:]>()?;
    name(input, "a dtype").map(Some)
}

/// Passes over a statement that failed: past its `;`, or up to the next word that begins one.
fn skip_stmt(input: ParseStream<'_>) {
    let mut first = true;
    while !input.is_empty() {
        if !first && (input.peek(Token![let]) || input.peek(Token![for])) {
            return;
        }
        first = false;
        let semicolon = input.peek(Token![;]);
        if input.parse::<TokenTree>().is_err() || semicolon {
            return;
        }
    }
}
