//! Parses graph IR text by recursive descent.
//!
//! In: untrusted text. Out: a module whose names are resolved and whose terms are typed, or the first mistake with its line
//! and column. Nothing here panics: nesting is bounded by [`MAX_DEPTH`], integer expressions by their size. Rules that need a
//! whole function (ranks, scopes of loops) are left to `verify`. Signatures are here, statements in `statement`, terms in
//! `term`, integer expressions in `index`.

mod index;
mod statement;
mod term;

use super::MAX_DEPTH;
use super::lex::{Tok, Token, tokens};
use crate::dtype::DType;
use crate::error::TextError;
use crate::graph::builder::Builder;
use crate::graph::typing::Scope;
use crate::graph::{
    Closure, ClosureId, ClosureParam, DimKind, Elem, Field, Format, Function, Input, Module, Require, TermId,
};
use crate::index::{Atom, AxisId, Index, TensorId};
use rustc_hash::FxHashMap;

type Result<T> = std::result::Result<T, TextError>;

/// Reads a module.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse(text: &str) -> Result<Module> {
    let mut parser = Parser::new(text)?;
    let mut module = Module::default();
    while parser.peek() != &Tok::End {
        if parser.eat_word("format") {
            module.formats.push(parser.format()?);
        } else {
            module.functions.push(parser.function()?);
        }
    }
    Ok(module)
}

/// Reads one function.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse_function(text: &str) -> Result<Function> {
    let mut parser = Parser::new(text)?;
    let function = parser.function()?;
    if parser.peek() != &Tok::End {
        return parser.fail("expected the end of the text");
    }
    Ok(function)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
    build: Builder,
    /// What names in integer expressions stand for; later entries hide earlier ones.
    positions: Vec<(String, Atom)>,
    tensors: FxHashMap<String, TensorId>,
    closures: FxHashMap<String, ClosureId>,
    types: FxHashMap<String, Elem>,
    labels: FxHashMap<u64, TermId>,
    scopes: Vec<Scope>,
}

impl Parser {
    fn new(text: &str) -> Result<Self> {
        Ok(Self {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
            build: Builder::default(),
            positions: Vec::new(),
            tensors: FxHashMap::default(),
            closures: FxHashMap::default(),
            types: FxHashMap::default(),
            labels: FxHashMap::default(),
            scopes: vec![Scope::default()],
        })
    }

    fn peek(&self) -> &Tok {
        &self.tokens[self.at].tok
    }
    fn peek_next(&self) -> &Tok {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].tok
    }
    fn next(&mut self) -> Tok {
        let tok = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        tok
    }
    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        self.fail_at(self.at, message)
    }
    fn fail_at<T>(&self, at: usize, message: impl Into<String>) -> Result<T> {
        let token = &self.tokens[at];
        Err(TextError { line: token.line, column: token.column, message: message.into() })
    }
    /// Puts a mistake that a builder found at token `at`.
    fn placed<T>(&self, at: usize, result: std::result::Result<T, String>) -> Result<T> {
        result.or_else(|message| self.fail_at(at, message))
    }
    fn eat(&mut self, punct: &str) -> bool {
        let found = matches!(self.peek(), Tok::Punct(p) if *p == punct);
        if found {
            self.next();
        }
        found
    }
    fn expect(&mut self, punct: &str) -> Result<()> {
        if self.eat(punct) { Ok(()) } else { self.fail(format!("expected `{punct}`")) }
    }
    fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Tok::Word(w) if w == word);
        if found {
            self.next();
        }
        found
    }
    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) { Ok(()) } else { self.fail(format!("expected `{word}`")) }
    }
    fn name(&mut self) -> Result<String> {
        match self.peek().clone() {
            Tok::Word(name) | Tok::Quoted(name) => {
                self.next();
                Ok(name)
            }
            _ => self.fail("expected a name"),
        }
    }
    fn unsigned(&mut self) -> Result<u32> {
        match *self.peek() {
            Tok::Int(value) if u32::try_from(value).is_ok() => {
                self.next();
                Ok(u32::try_from(value).unwrap_or_default())
            }
            _ => self.fail("expected a number below 2^32"),
        }
    }
    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { self.fail(format!("nested deeper than {MAX_DEPTH}")) } else { Ok(()) }
    }
    /// `item {"," item}` up to `close`, which is taken; a trailing comma is allowed.
    fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(item(self)?);
            if !self.eat(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok(items)
    }

    fn format(&mut self) -> Result<Format> {
        let name = self.name()?;
        self.expect_word("of")?;
        let record_values = self.unsigned()?;
        self.expect("=")?;
        Ok(Format { name, value: self.function()?, record_values })
    }

    fn function(&mut self) -> Result<Function> {
        self.expect_word("fn")?;
        self.build = Builder::new(&self.name()?);
        self.positions.clear();
        self.tensors.clear();
        self.closures.clear();
        self.types.clear();
        self.labels.clear();
        self.scopes = vec![Scope::default()];
        if self.eat("<") {
            self.list(">", Self::generic)?;
        }
        self.expect("(")?;
        self.list(")", Self::param)?;
        self.expect("->")?;
        self.expect("(")?;
        let outputs = self.list(")", |p| Ok((p.at, p.name()?)))?;
        if self.eat_word("where") {
            self.require()?;
            while self.eat(",") {
                self.require()?;
            }
        }
        self.expect("{")?;
        for stmt in self.block()? {
            self.build.push(stmt);
        }
        let outputs: Result<Vec<TensorId>> = outputs.iter().map(|(at, name)| self.tensor_at(*at, name)).collect();
        let outputs = outputs?;
        let at = self.at;
        let finished = std::mem::take(&mut self.build).finish(outputs);
        self.placed(at, finished)
    }
    fn generic(&mut self) -> Result<()> {
        if self.eat_word("type") {
            let place = self.at;
            let name = self.name()?;
            self.expect(":")?;
            let int = self.eat_word("int");
            if !int {
                self.expect_word("float")?;
            }
            let elem = self.build.type_param(&name, int);
            return self.fresh(place, &name, elem, |p| &mut p.types);
        }
        let constant = matches!(self.peek_next(), Tok::Word(_) | Tok::Quoted(_)) && self.eat_word("const");
        let at = self.at;
        let name = self.name()?;
        let kind = match (constant, constant && self.eat("=")) {
            (false, _) => DimKind::Run,
            (true, false) => DimKind::Const(None),
            (true, true) => DimKind::Const(Some(self.signed()?)),
        };
        if self.positions.iter().any(|(n, _)| *n == name) {
            return self.fail_at(at, format!("`{name}` is declared twice"));
        }
        let dim = self.build.dim(&name, kind);
        self.positions.push((name, Atom::Dim(dim)));
        Ok(())
    }
    /// Enters `name` into one of the tables, once.
    fn fresh<T>(
        &mut self,
        at: usize,
        name: &str,
        value: T,
        table: fn(&mut Self) -> &mut FxHashMap<String, T>,
    ) -> Result<()> {
        match table(self).insert(name.to_owned(), value) {
            None => Ok(()),
            Some(_) => self.fail_at(at, format!("`{name}` is declared twice")),
        }
    }
    fn signed(&mut self) -> Result<i64> {
        let negative = self.eat("-");
        match *self.peek() {
            Tok::Int(size) => {
                let value = if negative { 0_i64.checked_sub_unsigned(size) } else { i64::try_from(size).ok() };
                let Some(value) = value else { return self.fail("the number does not fit 64 bits") };
                self.next();
                Ok(value)
            }
            _ => self.fail("expected an integer"),
        }
    }
    fn require(&mut self) -> Result<()> {
        let left = self.index()?;
        let require = if self.eat("==") {
            Require::Equal(left, self.index()?)
        } else {
            self.expect(">=")?;
            Require::NonNegative(left.sub(&self.index()?))
        };
        self.build.require(require);
        Ok(())
    }

    fn param(&mut self) -> Result<()> {
        let place = self.at;
        let name = self.name()?;
        self.expect(":")?;
        if self.eat_word("fn") { self.closure_param(place, name) } else { self.input(place, name) }
    }
    fn input(&mut self, place: usize, name: String) -> Result<()> {
        let (elem, shape) = self.elem_and_shape()?;
        let input = self.attributes()?;
        let id = self.build.input(&name, elem, shape, input);
        self.fresh(place, &name, id, |p| &mut p.tensors)?;
        if self.eat("=") {
            let at = self.at;
            let value = self.term()?;
            let set = self.build.set_default(id, value);
            self.placed(at, set)?;
        }
        Ok(())
    }
    fn elem_and_shape(&mut self) -> Result<(Elem, Vec<Index>)> {
        let elem = self.elem()?;
        let shape = if self.eat("[") { self.list("]", Self::index)? } else { Vec::new() };
        Ok((elem, shape))
    }
    fn elem(&mut self) -> Result<Elem> {
        let quoted = matches!(self.peek(), Tok::Quoted(_));
        let name = self.name()?;
        Ok(match (self.types.get(&name), DType::from_text(&name)) {
            (Some(elem), _) => elem.clone(),
            (None, Some(dtype)) if !quoted => Elem::Type(dtype),
            _ => Elem::Format(name),
        })
    }
    fn attributes(&mut self) -> Result<Input> {
        let mut input = Input::default();
        if self.eat_word("in") {
            let low = self.index()?;
            self.expect("..")?;
            input.promise = Some((low, self.index()?));
        }
        if self.eat_word("list") {
            input.lists = if matches!(self.peek(), Tok::Int(_)) { self.unsigned()? } else { 1 };
        }
        if self.eat_word("grows") {
            input.grows = Some(self.unsigned()?);
        }
        if self.eat_word("field") {
            let (of, format) = (self.name()?, self.name()?);
            self.expect("(")?;
            let offset = self.unsigned()?;
            self.expect(",")?;
            let record = self.unsigned()?;
            self.expect(",")?;
            let record_dim = self.unsigned()?;
            self.expect(")")?;
            input.field = Some(Field { of, format, offset, record, record_dim });
        }
        Ok(input)
    }
    fn dtype(&mut self) -> Result<DType> {
        let dtype = match self.peek() {
            Tok::Word(name) => DType::from_text(name),
            _ => None,
        };
        let Some(dtype) = dtype else { return self.fail("expected an element type") };
        self.next();
        Ok(dtype)
    }
    fn closure_param(&mut self, place: usize, name: String) -> Result<()> {
        self.expect("(")?;
        let params = self.list(")", Self::dtype)?;
        self.expect("->")?;
        let result = self.dtype()?;
        let id = self.build.closure(ClosureParam { name: name.clone(), params: params.clone(), result, default: None });
        self.fresh(place, &name, id, |p| &mut p.closures)?;
        if self.eat("=") {
            let at = self.at;
            let default = self.closure(params)?;
            let set = self.build.set_closure_default(id, default);
            self.placed(at, set)?;
        }
        Ok(())
    }
    fn closure(&mut self, types: Vec<DType>) -> Result<Closure> {
        self.expect("|")?;
        let params = self.list("|", Self::name)?;
        let around = self.positions.clone();
        let outer = self.params_around()?;
        self.positions.extend((outer..).zip(&params).map(|(at, name)| (name.clone(), Atom::Param(at))));
        self.scopes.push(Scope { closure: types, ..Scope::default() });
        let body = self.term();
        self.scopes.pop();
        self.positions = around;
        Ok(Closure { params, outer, body: body? })
    }
    /// How many parameters the closures around this place have.
    fn params_around(&self) -> Result<u32> {
        let count = self.positions.iter().filter(|(_, atom)| matches!(atom, Atom::Param(_))).count();
        u32::try_from(count).or_else(|_| self.fail("too many parameters of closures"))
    }

    /// `name in extent`, or, where `known` allows it, the name of an axis in scope.
    fn binder(&mut self, known: bool) -> Result<AxisId> {
        let at = self.at;
        let name = self.name()?;
        if self.eat_word("in") {
            let extent = self.index()?;
            let axis = self.build.axis(&name, extent);
            self.positions.push((name, Atom::Axis(axis)));
            return Ok(axis);
        }
        if known { self.axis_at(at, &name) } else { self.fail(format!("expected `in`: `{name}` is bound here")) }
    }
    fn axis_at(&self, at: usize, name: &str) -> Result<AxisId> {
        match self.position(name) {
            Some(Atom::Axis(axis)) => Ok(*axis),
            _ => self.fail_at(at, format!("no axis `{name}` is in scope")),
        }
    }
    fn position(&self, name: &str) -> Option<&Atom> {
        self.positions.iter().rev().find(|(n, _)| n == name).map(|(_, atom)| atom)
    }
    fn tensor(&mut self) -> Result<TensorId> {
        let at = self.at;
        let name = self.name()?;
        self.tensor_at(at, &name)
    }
    fn tensor_at(&self, at: usize, name: &str) -> Result<TensorId> {
        match self.tensors.get(name) {
            Some(id) => Ok(*id),
            None => self.fail_at(at, format!("no tensor `{name}` is declared before")),
        }
    }
}
