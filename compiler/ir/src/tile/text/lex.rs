//! Tokens of the text form, each with its place. Input: any string. Output: tokens, or the first character that starts none.

use crate::error::TextError;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// An identifier, or a quoted name.
    Name(String),
    /// `%7`.
    Value(u32),
    /// An unsigned integer.
    Int(u64),
    /// An unsigned float: it has a point or an exponent.
    Float(f64),
    /// Punctuation: one character, or `..` or `->`.
    Punct(&'static str),
    /// The end of the text.
    End,
}

/// A token and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: Kind,
    /// 1-based line.
    pub(super) line: u32,
    /// 1-based column in characters.
    pub(super) column: u32,
}

const PUNCT: [&str; 19] =
    ["..", "->", "{", "}", "(", ")", "[", "]", "<", ">", ",", ":", "=", "+", "-", "*", "#", "?", "!"];

struct Cursor<'a> {
    rest: &'a str,
    line: u32,
    column: u32,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for c in taken.chars() {
            if c == '\n' {
                (self.line, self.column) = (self.line.saturating_add(1), 1);
            } else {
                self.column = self.column.saturating_add(1);
            }
        }
        self.rest = rest;
        taken
    }
    fn take_while(&mut self, mut keep: impl FnMut(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        self.take(end)
    }
    fn error(&self, message: impl Into<String>) -> TextError {
        TextError { line: self.line, column: self.column, message: message.into() }
    }
    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest.starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }
}

/// Whether `name` is written without quotes.
pub(super) fn is_plain(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts && name_length(name) == name.len()
}

/// Bytes of the identifier that `text` starts with: letters, digits, `_`, `.` between them, `::` between them.
fn name_length(text: &str) -> usize {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let mut end = 0;
    loop {
        end += text[end..].find(|c| !part(c)).unwrap_or(text.len() - end);
        let joint = if text[end..].starts_with("::") { 2 } else { usize::from(text[end..].starts_with('.')) };
        if joint == 0 || !text[end + joint..].starts_with(part) {
            return end;
        }
        end += joint;
    }
}

/// All tokens, ended by [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, TextError> {
    let mut cursor = Cursor { rest: text, line: 1, column: 1 };
    let mut out = Vec::new();
    loop {
        cursor.skip_blank();
        let (line, column) = (cursor.line, cursor.column);
        let kind = token(&mut cursor)?;
        let end = kind == Kind::End;
        out.push(Token { kind, line, column });
        if end {
            return Ok(out);
        }
    }
}

fn token(cursor: &mut Cursor<'_>) -> Result<Kind, TextError> {
    let Some(first) = cursor.rest.chars().next() else { return Ok(Kind::End) };
    if first.is_alphabetic() || first == '_' {
        let length = name_length(cursor.rest);
        return Ok(Kind::Name(cursor.take(length).to_owned()));
    }
    match first {
        '"' => quoted(cursor),
        '%' => value(cursor),
        '0'..='9' => number(cursor),
        _ => {
            let found = PUNCT.into_iter().find(|p| cursor.rest.starts_with(p));
            let punct = found.ok_or_else(|| cursor.error(format!("`{}` starts nothing here", first.escape_debug())))?;
            cursor.take(punct.len());
            Ok(Kind::Punct(punct))
        }
    }
}

fn quoted(cursor: &mut Cursor<'_>) -> Result<Kind, TextError> {
    let start = cursor.error("this name has no closing quote");
    cursor.take(1);
    let mut name = String::new();
    loop {
        name.push_str(cursor.take_while(|c| c != '"' && c != '\\'));
        match cursor.rest.chars().next() {
            Some('"') => {
                cursor.take(1);
                return Ok(Kind::Name(name));
            }
            Some('\\') => {
                let escaped = cursor.rest.chars().nth(1).ok_or_else(|| start.clone())?;
                cursor.take(1 + escaped.len_utf8());
                name.push(escaped);
            }
            _ => return Err(start),
        }
    }
}

fn value(cursor: &mut Cursor<'_>) -> Result<Kind, TextError> {
    let at = cursor.error("a value is `%` and a number below 2^32");
    cursor.take(1);
    let digits = cursor.take_while(|c| c.is_ascii_digit());
    digits.parse().map(Kind::Value).map_err(|_| at)
}

fn number(cursor: &mut Cursor<'_>) -> Result<Kind, TextError> {
    let at = cursor.error("this number is out of range");
    let text = cursor.rest;
    cursor.take_while(|c| c.is_ascii_digit());
    let mut float = false;
    let after = |c: &Cursor<'_>, n: usize| c.rest.chars().nth(n).is_some_and(|d| d.is_ascii_digit());
    if cursor.rest.starts_with('.') && after(cursor, 1) {
        float = true;
        cursor.take(1);
        cursor.take_while(|c| c.is_ascii_digit());
    }
    let sign = usize::from(cursor.rest.get(1..2) == Some("-"));
    if cursor.rest.starts_with('e') && after(cursor, 1 + sign) {
        float = true;
        cursor.take(1 + sign);
        cursor.take_while(|c| c.is_ascii_digit());
    }
    let digits = &text[..text.len() - cursor.rest.len()];
    if float { digits.parse().map(Kind::Float).map_err(|_| at) } else { digits.parse().map(Kind::Int).map_err(|_| at) }
}
