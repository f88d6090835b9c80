//! Expressions, closures and subscripts.
//!
//! Binary operators by precedence climbing; `where` binds weakest, `or` tightest.

use super::Parser;
use super::tokens::{at_word, commas, end, expected, group, here, missing_operator, name};
use crate::ast::{Arg, Argument, BinaryOp, Closure, Expr, ExprKind, Index, Name, Range, Subscript, UnaryOp};
use crate::errors::{Loc, Outcome, Problem, fail};
use proc_macro2::TokenTree;
use syn::parse::ParseStream;
use syn::{Ident, Lit, Token, token};

/// The precedence of comparisons, which do not chain.
const COMPARISON: u8 = 3;

/// The operator that stands next and its precedence; longer spellings are tested first.
fn next_operator(input: ParseStream<'_>) -> Option<(BinaryOp, u8)> {
    use BinaryOp::{Add, And, BitAnd, BitOr, BitXor, Div, Eq, Ge, Gt, Le, Lt, Mul, Ne, Or, Rem, Shl, Shr, Sub};
    macro_rules! table {
        ($($token:tt $op:ident $level:expr;)*) => {
            $(if input.peek(Token![$token]) { return Some(($op, $level)); })*
        };
    }
    table! {
        || Or 1; && And 2;
        == Eq COMPARISON; != Ne COMPARISON; <= Le COMPARISON; >= Ge COMPARISON;
        << Shl 7; >> Shr 7;
        < Lt COMPARISON; > Gt COMPARISON;
        | BitOr 4; ^ BitXor 5; & BitAnd 6;
        + Add 8; - Sub 8; * Mul 9; / Div 9; % Rem 9;
    }
    None
}

fn take_operator(input: ParseStream<'_>, op: BinaryOp) -> Outcome<proc_macro2::Span> {
    let span = input.span();
    for _ in 0..op.symbol().len() {
        input.parse::<proc_macro2::Punct>()?;
    }
    Ok(span)
}

fn make(loc: Loc, kind: ExprKind) -> Expr {
    Expr { loc, kind }
}

impl Parser {
    /// `Or { "where" Or [ "else" Or ] }`
    pub(super) fn expr(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        let mut value = self.or(input)?;
        while input.peek(Token![where]) {
            input.parse::<Token![where]>()?;
            let cond = self.or(input)?;
            let mut end = cond.loc;
            let mut other = None;
            if input.peek(Token![else]) {
                input.parse::<Token![else]>()?;
                let default = self.or(input)?;
                end = default.loc;
                other = Some(Box::new(default));
            }
            let loc = value.loc.to(end);
            value = make(loc, ExprKind::Where { value: Box::new(value), cond: Box::new(cond), other });
        }
        Ok(value)
    }

    /// Everything but `where`.
    pub(super) fn or(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        self.binary(input, 1)
    }

    fn binary(&mut self, input: ParseStream<'_>, least: u8) -> Outcome<Expr> {
        let mut left = self.cast(input)?;
        while let Some((op, level)) = next_operator(input) {
            if level < least {
                break;
            }
            let span = take_operator(input, op)?;
            let right = self.binary(input, level + 1)?;
            let loc = left.loc.to(right.loc);
            left = make(loc, ExprKind::Binary(op, span, Box::new(left), Box::new(right)));
            if level == COMPARISON && matches!(next_operator(input), Some((_, COMPARISON))) {
                return fail(here(input), Problem::ChainedComparison);
            }
        }
        Ok(left)
    }

    fn cast(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        let mut value = self.unary(input)?;
        while input.peek(Token![as]) {
            input.parse::<Token![as]>()?;
            let dtype = name(input, "a dtype")?;
            let loc = value.loc.to(dtype.loc());
            value = make(loc, ExprKind::Cast(Box::new(value), dtype));
        }
        Ok(value)
    }

    fn unary(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        let op = if input.peek(Token![-]) {
            UnaryOp::Neg
        } else if input.peek(Token![!]) && !input.peek(Token![!=]) {
            UnaryOp::Not
        } else {
            let value = self.postfix(input)?;
            return self.default_of(input, value);
        };
        let start = here(input);
        input.parse::<proc_macro2::Punct>()?;
        let value = self.unary(input)?;
        Ok(make(start.to(value.loc), ExprKind::Unary(op, Box::new(value))))
    }

    /// `.. or e`
    fn default_of(&mut self, input: ParseStream<'_>, value: Expr) -> Outcome<Expr> {
        if !at_word(input, "or") {
            return Ok(value);
        }
        name(input, "`or`")?;
        let other = self.unary(input)?;
        Ok(make(value.loc.to(other.loc), ExprKind::Or(Box::new(value), Box::new(other))))
    }

    fn postfix(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        let mut value = self.primary(input)?;
        loop {
            if input.peek(token::Bracket) {
                let (content, loc) = group(input, '[', "")?;
                let subscripts = commas(&content, "`,` or `]`", |c| self.subscript(c))?;
                value = make(value.loc.to(loc), ExprKind::Read(Box::new(value), subscripts));
            } else if input.peek(Token![.]) && !input.peek(Token![..]) {
                input.parse::<Token![.]>()?;
                let member = name(input, "the name of a field or output")?;
                value = make(value.loc.to(member.loc()), ExprKind::Member(Box::new(value), member));
            } else {
                return Ok(value);
            }
        }
    }

    fn subscript(&mut self, input: ParseStream<'_>) -> Outcome<Subscript> {
        let lo = if input.peek(Token![..]) { None } else { Some(self.expr(input)?) };
        if !input.peek(Token![..]) {
            return match lo {
                Some(at) => Ok(Subscript::At(at)),
                None => Err(expected(input, "a subscript", "")),
            };
        }
        let [first, last] = input.parse::<Token![..]>()?.spans;
        let dots = Loc { start: first, end: last };
        let hi = if input.is_empty() || input.peek(Token![,]) { None } else { Some(self.or(input)?) };
        match (lo, hi) {
            (None, None) => Ok(Subscript::All(dots)),
            (lo, hi) => Ok(Subscript::Part(lo, hi, dots)),
        }
    }

    fn primary(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        if input.peek(Token![if]) {
            return self.conditional(input);
        }
        if input.peek(Lit) {
            return literal(input);
        }
        if input.peek(token::Paren) {
            let (content, loc) = group(input, '(', "")?;
            let inner = self.expr(&content)?;
            end(&content, "an operator or `)`")?;
            return Ok(make(loc, inner.kind));
        }
        if input.peek(token::Bracket) {
            let (content, loc) = group(input, '[', "")?;
            let parts = commas(&content, "`,` or `]`", |c| self.expr(c))?;
            return Ok(make(loc, ExprKind::List(parts)));
        }
        if input.peek(token::Brace) {
            return self.capture(input);
        }
        if input.peek(Ident) || at_word(input, "rev") {
            return self.named(input);
        }
        if input.peek(Token![|]) {
            return Err(expected(input, "an expression", "a closure stands only as an argument or a default"));
        }
        Err(expected(input, "an expression", ""))
    }

    /// A name, a call, a reduction, or a word literal.
    fn named(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        let brackets = input.peek2(token::Bracket) && input.peek3(token::Paren);
        let word = name(input, "an expression")?;
        if brackets {
            return self.bracketed(input, word);
        }
        if input.peek(token::Paren) {
            return self.call(input, word);
        }
        let loc = word.loc();
        let kind = match word.text.as_str() {
            "inf" => ExprKind::Inf,
            "pi" => ExprKind::Pi,
            _ => ExprKind::Name(word),
        };
        Ok(make(loc, kind))
    }

    /// `sum[i in 0..N, j; options](e)`
    fn bracketed(&mut self, input: ParseStream<'_>, op: Name) -> Outcome<Expr> {
        let (content, _) = group(input, '[', "")?;
        let mut indices = Vec::new();
        while !content.is_empty() && !content.peek(Token![;]) {
            indices.push(self.index(&content)?);
            if content.is_empty() || content.peek(Token![;]) {
                break;
            }
            if !content.peek(Token![,]) {
                return Err(expected(&content, "`,`, `;` or `]`", missing_operator(&content)));
            }
            content.parse::<Token![,]>()?;
        }
        let mut options = Vec::new();
        if content.peek(Token![;]) {
            content.parse::<Token![;]>()?;
            options = commas(&content, "`,` or `]`", |c| self.or(c))?;
        }
        let (operand, loc) = group(input, '(', "")?;
        let body = Box::new(self.expr(&operand)?);
        end(&operand, "an operator or `)`")?;
        let loc = op.loc().to(loc);
        Ok(make(loc, ExprKind::Bracketed { op, indices, options, body }))
    }

    fn call(&mut self, input: ParseStream<'_>, callee: Name) -> Outcome<Expr> {
        let (content, loc) = group(input, '(', "")?;
        let whole = callee.loc().to(loc);
        if callee.text == "grad" {
            let value = self.expr(&content)?;
            if !content.peek(Token![;]) {
                return Err(expected(&content, "`;`", "write `grad(e; w[i, j])`"));
            }
            content.parse::<Token![;]>()?;
            let target = self.expr(&content)?;
            end(&content, "`)`")?;
            return Ok(make(whole, ExprKind::Grad(callee.span, Box::new(value), Box::new(target))));
        }
        let args = commas(&content, "`,` or `)`", |c| self.arg(c))?;
        Ok(make(whole, ExprKind::Call(callee, args)))
    }

    fn arg(&mut self, input: ParseStream<'_>) -> Outcome<Arg> {
        let named = input.peek(Ident) && input.peek2(Token![=]) && !input.peek2(Token![==]);
        let label = if named {
            let label = name(input, "a parameter")?;
            input.parse::<Token![=]>()?;
            Some(label)
        } else {
            None
        };
        Ok(Arg { name: label, value: self.argument(input)? })
    }

    /// A closure or an expression.
    pub(super) fn argument(&mut self, input: ParseStream<'_>) -> Outcome<Argument> {
        if input.peek(Token![|]) {
            Ok(Argument::Closure(self.closure(input)?))
        } else {
            Ok(Argument::Expr(self.expr(input)?))
        }
    }

    /// `|i, _| e`
    pub(super) fn closure(&mut self, input: ParseStream<'_>) -> Outcome<Closure> {
        let start = here(input);
        let mut end_bar = start;
        let mut params = Vec::new();
        if input.peek(Token![||]) {
            input.parse::<Token![||]>()?;
        } else {
            if !input.peek(Token![|]) {
                return Err(expected(input, "a closure", "write `|i, j| j <= i`"));
            }
            input.parse::<Token![|]>()?;
            while !input.peek(Token![|]) {
                params.push(closure_param(input)?);
                if !input.peek(Token![,]) {
                    break;
                }
                input.parse::<Token![,]>()?;
            }
            if !input.peek(Token![|]) {
                return Err(expected(input, "`,` or `|`", ""));
            }
            end_bar = here(input);
            input.parse::<Token![|]>()?;
        }
        if self.captures.is_some() {
            self.given = params.iter().flatten().map(|param| param.text.clone()).collect();
        }
        let body = Box::new(self.expr(input)?);
        Ok(Closure { params, body, loc: start.to(end_bar) })
    }

    /// The only content of a `closure!`.
    pub(super) fn whole_closure(&mut self, input: ParseStream<'_>) -> Outcome<Closure> {
        let closure = self.closure(input)?;
        end(input, "an operator or the end of the closure")?;
        Ok(closure)
    }

    fn conditional(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        let start = here(input);
        input.parse::<Token![if]>()?;
        let cond = Box::new(self.expr(input)?);
        let (then, _) = self.braced(input)?;
        if !input.peek(Token![else]) {
            return Err(expected(
                input,
                "`else`",
                "every element needs a value; where there is none, write `e where c`",
            ));
        }
        input.parse::<Token![else]>()?;
        let (other, loc) = if input.peek(Token![if]) {
            let other = self.conditional(input)?;
            let loc = other.loc;
            (other, loc)
        } else {
            self.braced(input)?
        };
        Ok(make(start.to(loc), ExprKind::If { cond, then: Box::new(then), other: Box::new(other) }))
    }

    fn braced(&mut self, input: ParseStream<'_>) -> Outcome<(Expr, Loc)> {
        let (content, loc) = group(input, '{', missing_operator(input))?;
        let value = self.expr(&content)?;
        end(&content, "an operator or `}`")?;
        Ok((value, loc))
    }

    fn capture(&mut self, input: ParseStream<'_>) -> Outcome<Expr> {
        let start = here(input);
        let Some(captures) = &mut self.captures else {
            return fail(start, Problem::CaptureOutside);
        };
        let (content, loc) = group(input, '{', "")?;
        if content.is_empty() {
            return Err(expected(&content, "a Rust expression", "write `{window}`"));
        }
        let captured = super::tokens::skip_rest(&content);
        let mentioned = captured.clone().into_iter().find_map(|tree| match tree {
            TokenTree::Ident(ident) => self.given.iter().find(|param| ident == **param).cloned(),
            _ => None,
        });
        if let Some(name) = mentioned {
            return fail(loc, Problem::CaptureOfParameter { name });
        }
        let text = captured.to_string();
        let known = captures.iter().position(|other| other.to_string() == text);
        let number = known.unwrap_or_else(|| {
            captures.push(captured);
            captures.len() - 1
        });
        let number = u32::try_from(number).expect("invariant: fewer captures than tokens");
        Ok(make(loc, ExprKind::Capture(number)))
    }

    /// `Ident [ "in" Range ]`
    pub(super) fn index(&mut self, input: ParseStream<'_>) -> Outcome<Index> {
        let name = name(input, "the name of an index")?;
        let range = if input.peek(Token![in]) {
            input.parse::<Token![in]>()?;
            Some(self.range(input)?)
        } else {
            None
        };
        Ok(Index { name, range })
    }

    /// `Or ".." Or`; `..=` takes in the last value.
    pub(super) fn range(&mut self, input: ParseStream<'_>) -> Outcome<Range> {
        let lo = self.or(input)?;
        let inclusive = input.peek(Token![..=]);
        if inclusive {
            input.parse::<Token![..=]>()?;
        } else if input.peek(Token![..]) {
            input.parse::<Token![..]>()?;
        } else {
            return Err(expected(input, "`..`", "a range is written `0..N`"));
        }
        let mut hi = self.or(input)?;
        if inclusive {
            let one = make(hi.loc, ExprKind::Int(1));
            hi = make(hi.loc, ExprKind::Binary(BinaryOp::Add, hi.loc.start, Box::new(hi.clone()), Box::new(one)));
        }
        Ok(Range { lo, hi })
    }
}

fn closure_param(input: ParseStream<'_>) -> Outcome<Option<Name>> {
    if input.peek(Token![_]) {
        input.parse::<Token![_]>()?;
        return Ok(None);
    }
    name(input, "a parameter of the closure").map(Some)
}

fn literal(input: ParseStream<'_>) -> Outcome<Expr> {
    let loc = here(input);
    let kind = match input.parse::<Lit>()? {
        Lit::Int(value) if value.suffix().is_empty() => match value.base10_parse::<i64>() {
            Ok(value) => ExprKind::Int(value),
            Err(e) => return fail(loc, Problem::Syntax { text: e.to_string() }),
        },
        Lit::Float(value) if value.suffix().is_empty() => ExprKind::Float(value.base10_parse()?),
        Lit::Bool(value) => ExprKind::Bool(value.value),
        Lit::Int(_) | Lit::Float(_) => {
            let problem = Problem::Expected {
                what: "a number without a suffix".into(),
                found: "a suffix".into(),
                help: "write `1.0 as f16`".into(),
            };
            return fail(loc, problem);
        }
        _ => {
            let problem =
                Problem::Expected { what: "a number".into(), found: "a text literal".into(), help: String::new() };
            return fail(loc, problem);
        }
    };
    Ok(make(loc, kind))
}
