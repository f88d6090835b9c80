//! The proc macros arch! and closure!.
