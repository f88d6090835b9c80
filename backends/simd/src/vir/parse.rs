//! Reads the text form of VIR.
//!
//! In: text as `Display` of [`Function`] writes it. Out: a verified function whose values keep their numbers, so that
//! printing it gives the text again. Every mistake has a line and a column; blocks may nest 64 deep.

use sawmill_ir::error::TextError;

use super::func::{Block, BlockId, Function, Inst, Val};
use super::ops::Op;
use super::types::{Elem, Type};
use super::verify::verify;

/// Deepest nesting of blocks.
const MAX_DEPTH: usize = 64;
/// Most values in a function.
const MAX_VALUES: u32 = 1 << 20;

/// Reads one function.
///
/// # Errors
/// The first mistake in the text, or the verifier's objection at line 1.
pub fn parse(text: &str) -> Result<Function, TextError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut reader = Reader { lines: lines.collect(), next: 0, func: empty() };
    reader.function()?;
    let func = reader.func;
    verify(&func).map_err(|error| TextError { line: 1, column: 1, message: error.to_string() })?;
    Ok(func)
}

fn empty() -> Function {
    Function { name: String::new(), scratch_bytes: 0, values: Vec::new(), insts: Vec::new(), blocks: Vec::new() }
}

struct Reader<'a> {
    lines: Vec<(usize, &'a str)>,
    next: usize,
    func: Function,
}

/// What ends a block.
#[derive(PartialEq)]
enum End {
    Close,
    Else,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Result<Cursor<'a>, TextError> {
        let last = self.lines.last().map_or(0, |(number, _)| *number);
        let (number, text) = self.lines.get(self.next).copied().ok_or_else(|| TextError {
            line: last as u32 + 1,
            column: 1,
            message: "the text ends inside a kernel".to_owned(),
        })?;
        self.next += 1;
        Ok(Cursor { text, at: 0, line: number as u32 + 1 })
    }

    fn function(&mut self) -> Result<(), TextError> {
        let mut line = self.line()?;
        line.expect("kernel")?;
        self.func.name = line.word()?.to_owned();
        line.expect("scratch")?;
        self.func.scratch_bytes = line.number()?;
        line.expect("{")?;
        line.finish()?;
        if self.block(0)? == (Function::ENTRY, End::Close) && self.next == self.lines.len() {
            return Ok(());
        }
        let line = self.lines.get(self.next).map_or(0, |(number, _)| *number as u32 + 1);
        Err(TextError { line, column: 1, message: "expected the end of the text after one kernel".to_owned() })
    }

    fn block(&mut self, depth: usize) -> Result<(BlockId, End), TextError> {
        let id = self.func.new_block(Block::default());
        loop {
            let mut line = self.line()?;
            if depth > MAX_DEPTH {
                return Err(line.error(format!("blocks nest deeper than {MAX_DEPTH}")));
            }
            if line.accept("}") {
                let end = if line.accept("else") { End::Else } else { End::Close };
                if end == End::Else {
                    line.expect("{")?;
                }
                line.finish()?;
                return Ok((id, end));
            } else if line.accept("params") {
                let params = self.typed_values(&mut line)?;
                line.finish()?;
                self.func.blocks[id.index()].params = params;
            } else if line.accept("yield") {
                let yields = line.values()?;
                line.finish()?;
                self.func.blocks[id.index()].yields = yields;
            } else {
                let inst = self.inst(line, depth)?;
                let inst = self.func.new_inst(inst);
                self.func.blocks[id.index()].insts.push(inst);
            }
        }
    }

    fn inst(&mut self, mut line: Cursor<'a>, depth: usize) -> Result<Inst, TextError> {
        let mut results = Vec::new();
        if line.peek() == Some('%') {
            results = self.typed_values(&mut line)?;
            line.expect("=")?;
        }
        let before = line;
        let name = line.word()?;
        let op = Op::from_mnemonic(name).ok_or_else(|| before.error(format!("there is no operation `{name}`")))?;
        let args = if line.peek() == Some('%') { line.values()? } else { Vec::new() };
        let imms = match (op, results.first()) {
            (Op::Const, Some(value)) => vec![line.constant(self.func.ty(*value).elem)?],
            _ if line.accept("[") => line.immediates()?,
            _ => Vec::new(),
        };
        let mut blocks = Vec::new();
        let mut open = line.accept("{");
        line.finish()?;
        while open {
            let (block, end) = self.block(depth + 1)?;
            blocks.push(block);
            open = end == End::Else;
        }
        Ok(Inst { op, args, imms, blocks, results })
    }

    fn typed_values(&mut self, line: &mut Cursor<'a>) -> Result<Vec<Val>, TextError> {
        let mut values = Vec::new();
        loop {
            let value = line.value()?;
            line.expect(":")?;
            let before = *line;
            let word = line.word()?;
            let ty = Type::from_text(word).ok_or_else(|| before.error(format!("`{word}` is not a type")))?;
            if self.func.values.len() <= value.index() {
                self.func.values.resize(value.index() + 1, Type::I64);
            }
            self.func.values[value.index()] = ty;
            values.push(value);
            if !line.accept(",") {
                return Ok(values);
            }
        }
    }
}

/// A position in a line.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Cursor<'a> {
    fn error(&self, message: String) -> TextError {
        let spaces = self.text[self.at..].chars().take_while(|c| c.is_whitespace()).count();
        let column = (self.text[..self.at].chars().count() + spaces) as u32 + 1;
        TextError { line: self.line, column, message }
    }

    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        &self.text[self.at..]
    }

    fn peek(&mut self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Skips `token` if it comes next, as a whole word if it is one.
    fn accept(&mut self, token: &str) -> bool {
        let Some(after) = self.rest().strip_prefix(token) else { return false };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if token.ends_with(is_word) && after.starts_with(is_word) {
            return false;
        }
        self.at += token.len();
        true
    }

    fn expect(&mut self, token: &str) -> Result<(), TextError> {
        if self.accept(token) { Ok(()) } else { Err(self.error(format!("expected `{token}`"))) }
    }

    fn word(&mut self) -> Result<&'a str, TextError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.+-".contains(c))).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.error("expected a word or a number".to_owned()));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, TextError> {
        let before = *self;
        let word = self.word()?;
        word.parse().map_err(|_| before.error(format!("`{word}` is not a number that fits")))
    }

    fn value(&mut self) -> Result<Val, TextError> {
        let before = *self;
        self.expect("%")?;
        match self.number()? {
            number if number < MAX_VALUES => Ok(Val(number)),
            _ => Err(before.error(format!("value numbers stay below {MAX_VALUES}"))),
        }
    }

    fn values(&mut self) -> Result<Vec<Val>, TextError> {
        let mut values = vec![self.value()?];
        while self.accept(",") {
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn immediates(&mut self) -> Result<Vec<i64>, TextError> {
        let mut imms = vec![self.number()?];
        while self.accept(",") {
            imms.push(self.number()?);
        }
        self.expect("]")?;
        Ok(imms)
    }

    fn constant(&mut self, elem: Elem) -> Result<i64, TextError> {
        let before = *self;
        let word = self.word()?;
        let bits = match (elem, word.strip_prefix("0x")) {
            (Elem::F32, Some(hex)) => u32::from_str_radix(hex, 16).ok().map(i64::from),
            (Elem::F64, Some(hex)) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
            (Elem::F32, None) => word.parse().ok().map(|value: f32| i64::from(value.to_bits())),
            (Elem::F64, None) => word.parse().ok().map(|value: f64| value.to_bits().cast_signed()),
            _ => word.parse().ok(),
        };
        bits.ok_or_else(|| before.error(format!("`{word}` is not a constant of {}", elem.name())))
    }

    fn finish(&mut self) -> Result<(), TextError> {
        match self.rest() {
            "" => Ok(()),
            rest => Err(self.error(format!("unexpected `{rest}`"))),
        }
    }
}
