//! Parses modules: recursive descent over tokens. Input: any string. Output: a module that obeys the grammar and whose names
//! resolve (typing is the verifier's), or the first mistake with its place.

use super::lex::{Kind, Token, is_plain, tokens};
use crate::dtype::DType;
use crate::entity::{Arena, Entity};
use crate::error::TextError;
use crate::graph::Const;
use crate::index::{DimId, Index};
use crate::tile::{Buffer, BufferId, BufferKind, Launch, Module, Step};

/// The module that `text` describes.
pub fn parse(text: &str) -> Result<Module, TextError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let module = parser.module()?;
    if *parser.peek() == Kind::End { Ok(module) } else { Err(parser.expected("the end of the text")) }
}

/// A name as it is written.
pub(super) fn quote(name: &str) -> String {
    if is_plain(name) {
        return name.to_owned();
    }
    let escaped: String =
        name.chars().flat_map(|c| (c == '"' || c == '\\').then_some('\\').into_iter().chain([c])).collect();
    format!("\"{escaped}\"")
}

/// A position in a list of tokens.
pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    pub(super) depth: u32,
}

/// Tokens.
impl Parser {
    pub(super) fn peek(&self) -> &Kind {
        &self.tokens[self.at].kind
    }
    pub(super) fn advance(&mut self) {
        // The last token is the end, which is never passed.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }
    pub(super) fn error(&self, message: String) -> TextError {
        let token = &self.tokens[self.at];
        TextError { line: token.line, column: token.column, message }
    }
    pub(super) fn expected(&self, what: &str) -> TextError {
        let found = match self.peek() {
            Kind::Name(name) => format!("`{name}`"),
            Kind::Value(number) => format!("`%{number}`"),
            Kind::Int(value) => format!("`{value}`"),
            Kind::Float(value) => format!("`{value:?}`"),
            Kind::Punct(punct) => format!("`{punct}`"),
            Kind::End => "the end of the text".to_owned(),
        };
        self.error(format!("expected {what}, found {found}"))
    }
    pub(super) fn at(&self, punct: &str) -> bool {
        matches!(self.peek(), Kind::Punct(p) if *p == punct)
    }
    pub(super) fn next_is(&self, punct: &str) -> bool {
        matches!(self.tokens.get(self.at + 1), Some(Token { kind: Kind::Punct(p), .. }) if *p == punct)
    }
    pub(super) fn eat(&mut self, punct: &str) -> bool {
        let found = self.at(punct);
        if found {
            self.advance();
        }
        found
    }
    pub(super) fn expect(&mut self, punct: &str) -> Result<(), TextError> {
        if self.eat(punct) { Ok(()) } else { Err(self.expected(&format!("`{punct}`"))) }
    }
    pub(super) fn at_word(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Name(name) if name == word)
    }
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.advance();
        }
        found
    }
    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), TextError> {
        if self.eat_word(word) { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }
    pub(super) fn name(&mut self, what: &str) -> Result<String, TextError> {
        let Kind::Name(name) = self.peek() else { return Err(self.expected(what)) };
        let name = name.clone();
        self.advance();
        Ok(name)
    }
    pub(super) fn dtype(&mut self) -> Result<DType, TextError> {
        let Kind::Name(name) = self.peek() else { return Err(self.expected("an element type")) };
        let dtype = DType::from_text(name).ok_or_else(|| self.expected("an element type"))?;
        self.advance();
        Ok(dtype)
    }
    /// An integer literal whose sign was read already.
    pub(super) fn int_after_sign(&mut self, negative: bool) -> Result<i64, TextError> {
        let Kind::Int(magnitude) = *self.peek() else { return Err(self.expected("an integer")) };
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        let value = i64::try_from(value).map_err(|_| self.error("this integer does not fit in 64 bits".to_owned()))?;
        self.advance();
        Ok(value)
    }
    pub(super) fn int(&mut self) -> Result<i64, TextError> {
        let negative = self.eat("-");
        self.int_after_sign(negative)
    }
    /// A constant.
    pub(super) fn constant(&mut self) -> Result<Const, TextError> {
        let negative = self.eat("-");
        let sign = if negative { -1.0 } else { 1.0 };
        let constant = match self.peek().clone() {
            Kind::Int(_) => return Ok(Const::Int(self.int_after_sign(negative)?)),
            Kind::Float(value) => Const::float(sign * value),
            Kind::Name(name) if name == "inf" => Const::float(sign * f64::INFINITY),
            Kind::Name(name) if name == "nan" && !negative => return self.nan(),
            Kind::Name(name) if name == "true" && !negative => Const::Bool(true),
            Kind::Name(name) if name == "false" && !negative => Const::Bool(false),
            _ => return Err(self.expected("a constant")),
        };
        self.advance();
        Ok(constant)
    }
    fn nan(&mut self) -> Result<Const, TextError> {
        self.advance();
        self.expect("(")?;
        let Kind::Int(bits) = *self.peek() else { return Err(self.expected("the bits of a NaN")) };
        if !f64::from_bits(bits).is_nan() {
            return Err(self.error("these bits are no NaN".to_owned()));
        }
        self.advance();
        self.expect(")")?;
        Ok(Const::Float(bits))
    }
    /// `item, item, ..`, at least one.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, TextError>,
    ) -> Result<Vec<T>, TextError> {
        let mut items = vec![item(self)?];
        while self.eat(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }
    /// `open item, .. close`, possibly none.
    pub(super) fn bracketed<T>(
        &mut self,
        open: &str,
        close: &str,
        item: impl FnMut(&mut Self) -> Result<T, TextError>,
    ) -> Result<Vec<T>, TextError> {
        self.expect(open)?;
        if self.eat(close) {
            return Ok(Vec::new());
        }
        let items = self.list(item)?;
        self.expect(close)?;
        Ok(items)
    }
    /// The entity whose name comes next.
    pub(super) fn named<'a, K: Entity>(
        &mut self,
        what: &str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<K, TextError> {
        let Kind::Name(name) = self.peek() else { return Err(self.expected(&format!("the name of {what}"))) };
        let at = names.position(|n| n == name).ok_or_else(|| self.error(format!("no {what} is called `{name}`")))?;
        self.advance();
        Ok(K::new(at))
    }
    /// `dims a, b` if it is there.
    pub(super) fn dims(&mut self) -> Result<Arena<DimId, String>, TextError> {
        if !self.eat_word("dims") {
            return Ok(Arena::new());
        }
        Ok(self.list(|p| p.name("the name of a dim"))?.into_iter().collect())
    }
}

/// Modules and plans.
impl Parser {
    fn module(&mut self) -> Result<Module, TextError> {
        self.expect_word("tile")?;
        let name = self.name("the module's name")?;
        self.expect("{")?;
        let mut module = Module { name, dims: self.dims()?, ..Module::default() };
        while self.eat_word("buffer") {
            let buffer = self.buffer(&module.dims)?;
            module.buffers.push(buffer);
        }
        while self.eat_word("kernel") {
            let kernel = self.kernel()?;
            module.kernels.push(kernel);
        }
        self.expect_word("plan")?;
        module.plan = self.steps(&module)?;
        self.expect("}")?;
        Ok(module)
    }

    fn buffer(&mut self, dims: &Arena<DimId, String>) -> Result<Buffer, TextError> {
        let name = self.name("the buffer's name")?;
        self.expect(":")?;
        let dtype = self.dtype()?;
        let shape = self.bracketed("[", "]", |p| p.size(dims))?;
        let what = "`input`, `inout`, `output` or `temp`";
        let word = match self.peek() {
            Kind::Name(word) if ["input", "inout", "output", "temp"].contains(&word.as_str()) => word.clone(),
            _ => return Err(self.expected(what)),
        };
        self.advance();
        let list = (word == "input" || word == "inout") && self.eat_word("list");
        let kind = match word.as_str() {
            "input" => BufferKind::Input { list },
            "inout" => BufferKind::InOut { list },
            "output" => BufferKind::Output,
            _ => BufferKind::Temp,
        };
        Ok(Buffer { name, dtype, shape, kind })
    }

    fn steps(&mut self, module: &Module) -> Result<Vec<Step>, TextError> {
        self.deeper(|p| {
            p.expect("{")?;
            let mut steps = Vec::new();
            while !p.eat("}") {
                steps.push(p.step(module)?);
            }
            Ok(steps)
        })
    }

    fn step(&mut self, module: &Module) -> Result<Step, TextError> {
        if self.eat_word("launch") {
            return Ok(Step::Launch(self.launch(module)?));
        }
        if self.eat_word("loop") {
            let var = self.named("dim", module.dims.values().map(String::as_str))?;
            self.expect("<")?;
            let count = self.size(&module.dims)?;
            return Ok(Step::Loop { var, count, body: self.steps(module)? });
        }
        if self.eat_word("if") {
            let nonnegative = self.size(&module.dims)?;
            let then = self.steps(module)?;
            self.expect_word("else")?;
            return Ok(Step::If { nonnegative, then, otherwise: self.steps(module)? });
        }
        if self.eat_word("swap") {
            let a = self.buffer_name(module)?;
            self.expect(",")?;
            return Ok(Step::Swap(a, self.buffer_name(module)?));
        }
        if self.eat_word("scalar") {
            let dim = self.named("dim", module.dims.values().map(String::as_str))?;
            self.expect("=")?;
            return Ok(Step::Scalar { dim, buffer: self.buffer_name(module)? });
        }
        Err(self.expected("`launch`, `loop`, `if`, `swap`, `scalar` or `}`"))
    }

    fn buffer_name(&mut self, module: &Module) -> Result<BufferId, TextError> {
        self.named("buffer", module.buffers.values().map(|b| b.name.as_str()))
    }

    fn launch(&mut self, module: &Module) -> Result<Launch, TextError> {
        let Kind::Name(name) = self.peek() else { return Err(self.expected("the name of a kernel")) };
        let found = module.kernel_named(name);
        let kernel = found.ok_or_else(|| self.error(format!("no kernel is called `{name}`")))?;
        self.advance();
        let args = self.bracketed("(", ")", |p| p.launch_arg(module))?;
        self.expect_word("dims")?;
        let dims = self.bracketed("(", ")", |p| p.size(&module.dims))?;
        Ok(Launch { kernel, args, dims })
    }

    fn launch_arg(&mut self, module: &Module) -> Result<(BufferId, Option<Index>), TextError> {
        let buffer = self.buffer_name(module)?;
        let at = if self.eat("[") {
            let at = self.size(&module.dims)?;
            self.expect("]")?;
            Some(at)
        } else {
            None
        };
        Ok((buffer, at))
    }
}
