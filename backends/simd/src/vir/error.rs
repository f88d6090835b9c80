//! What can go wrong with a VIR function. All of it is a defect of the compiler, or of text written by hand.

use std::fmt;

/// A located error: where in the function (or in its text), and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The function, and the instruction or line in it.
    pub place: String,
    /// What is wrong, in one sentence.
    pub message: String,
}

impl Error {
    /// An error at `place`.
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Error {
        Error {
            place: place.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for Error {}
