//! Tests of the language front end: everything parses, every error is found at its token.

mod parsing;
