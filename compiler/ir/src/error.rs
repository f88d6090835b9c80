//! Errors with an address: where in a text, which entity, which pass.
//!
//! [`TextError`] is a mistake in IR text (line and column); [`VerifyError`] is a broken rule of an IR (a compiler bug unless
//! the text came from outside). Both print with what they point at.

use std::fmt;

/// A mistake in IR text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// 1-based line.
    pub line: u32,
    /// 1-based column, in characters.
    pub column: u32,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for TextError {}

/// A rule of an IR that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// The function or kernel.
    pub function: String,
    /// The entity, in its text form.
    pub entity: String,
    /// The rule, and how it is broken.
    pub message: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.function, self.entity, self.message)
    }
}

impl std::error::Error for VerifyError {}
