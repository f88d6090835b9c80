//! Tokens of graph IR text.
//!
//! In: any text. Out: tokens with positions, ending in [`Tok::End`], or the first character that begins none. Names may
//! hold `.` and `::` between parts; any other name stands in backticks. `//` opens a comment that ends with its line.

use crate::error::TextError;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tok {
    /// A name or a word of the grammar.
    Word(String),
    /// A name in backticks, never a word of the grammar.
    Quoted(String),
    /// An unsigned integer.
    Int(u64),
    /// An unsigned float.
    Float(f64),
    /// Punctuation.
    Punct(&'static str),
    /// The end of the text.
    End,
}

/// A token and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) tok: Tok,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// Longer punctuation before its prefixes.
const PUNCT: &[&str] = &[
    "->", "==", ">=", "..", "(", ")", "[", "]", "{", "}", "<", ">", ",", ";", ":", "=", "|", "&", "#", "%", "+", "-",
    "*", "/", "?", "$",
];

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
    column: u32,
}

/// Splits `text` into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, TextError> {
    let mut lexer = Lexer { rest: text, line: 1, column: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let (line, column) = (lexer.line, lexer.column);
        let tok = lexer.token().map_err(|message| TextError { line, column, message })?;
        let end = tok == Tok::End;
        tokens.push(Token { tok, line, column });
        if end {
            return Ok(tokens);
        }
    }
}

impl Lexer<'_> {
    fn take(&mut self, bytes: usize) -> String {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        for c in taken.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        taken.to_owned()
    }
    fn skip_blank(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if !self.rest.starts_with("//") {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        }
    }
    fn token(&mut self) -> Result<Tok, String> {
        let Some(first) = self.rest.chars().next() else { return Ok(Tok::End) };
        if first.is_ascii_digit() {
            return self.number();
        }
        if is_start(first) {
            let length = name_length(self.rest);
            return Ok(Tok::Word(self.take(length)));
        }
        if first == '`' {
            return self.quoted();
        }
        let punct = PUNCT.iter().find(|p| self.rest.starts_with(**p));
        let punct = punct.ok_or_else(|| format!("`{}` begins no token", first.escape_default()))?;
        self.take(punct.len());
        Ok(Tok::Punct(punct))
    }
    fn quoted(&mut self) -> Result<Tok, String> {
        let line = self.rest[1..].split('\n').next().unwrap_or_default();
        let length = line.find('`').ok_or("a name in backticks does not end on its line")?;
        self.take(1);
        let name = self.take(length);
        self.take(1);
        if name.is_empty() { Err("a name is empty".to_owned()) } else { Ok(Tok::Quoted(name)) }
    }
    fn number(&mut self) -> Result<Tok, String> {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let digit_at = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let mut end = digits(0);
        let mut float = false;
        if bytes.get(end) == Some(&b'.') && digit_at(end + 1) {
            float = true;
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if digit_at(end + 1 + sign) {
                float = true;
                end += 1 + sign + digits(end + 1 + sign);
            }
        }
        let text = self.take(end);
        if float {
            text.parse().map(Tok::Float).map_err(|_| format!("`{text}` is no float"))
        } else {
            text.parse().map(Tok::Int).map_err(|_| format!("`{text}` does not fit 64 bits"))
        }
    }
}

fn is_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of the name at the start of `text`: parts joined by `.` or `::`.
fn name_length(text: &str) -> usize {
    let part = |from: usize| text[from..].find(|c| !is_part(c)).unwrap_or(text.len() - from);
    let mut end = part(0);
    loop {
        let joint = if text[end..].starts_with("::") {
            2
        } else if text[end..].starts_with('.') {
            1
        } else {
            return end;
        };
        let more = part(end + joint);
        if more == 0 {
            return end;
        }
        end += joint + more;
    }
}

/// `name` as the lexer reads it back: as it is, or in backticks. `reserved` names are always quoted. What cannot stand in
/// backticks is replaced.
pub(super) fn spell(name: &str, reserved: bool) -> String {
    let plain = name.chars().next().is_some_and(is_start) && name_length(name) == name.len();
    if plain && !reserved {
        return name.to_owned();
    }
    let safe: String = name.chars().map(|c| if c == '`' || c.is_control() { '_' } else { c }).collect();
    if safe.is_empty() { "`_`".to_owned() } else { format!("`{safe}`") }
}
