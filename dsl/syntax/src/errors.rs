//! Every error of the language: what is wrong and what to write instead.
//!
//! One variant of [`Problem`] per kind of error, all in one file. A [`Diagnostic`] is a problem at a place, with other places that take
//! part. All stages put what they find into [`Diagnostics`], so that one expansion reports everything at once.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

mod problem;

pub use problem::Problem;

/// From the first to the last token of what is meant.
#[derive(Clone, Copy, Debug)]
pub struct Loc {
    /// The first token.
    pub start: Span,
    /// The last token.
    pub end: Span,
}

impl Loc {
    /// One token.
    pub fn at(span: Span) -> Loc {
        Loc { start: span, end: span }
    }

    /// From this place to the end of `other`.
    pub fn to(self, other: Loc) -> Loc {
        Loc { start: self.start, end: other.end }
    }

    /// One span for both ends where the compiler can join them.
    pub fn span(self) -> Span {
        self.start.join(self.end).unwrap_or(self.start)
    }
}

/// A problem at a place.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The token or tokens that cause it.
    pub loc: Loc,
    /// What is wrong.
    pub problem: Problem,
    /// Other places that take part, each with a remark.
    pub notes: Vec<(Loc, String)>,
}

impl Diagnostic {
    /// A problem at one place.
    pub fn new(loc: Loc, problem: Problem) -> Diagnostic {
        Diagnostic { loc, problem, notes: Vec::new() }
    }

    /// The same with a remark at another place.
    pub fn with_note(mut self, loc: Loc, text: impl Into<String>) -> Diagnostic {
        self.notes.push((loc, text.into()));
        self
    }

    /// The whole text: message, and help on a line of its own.
    pub fn text(&self) -> String {
        let message = self.problem.message();
        match self.problem.help() {
            Some(help) => format!("{message}\nhelp: {help}"),
            None => message,
        }
    }

    /// `compile_error!` at the place of the problem; each remark is one more at its own place.
    pub fn to_compile_error(&self) -> TokenStream {
        let mut out = compile_error(self.loc, &self.text());
        for (loc, text) in &self.notes {
            out.extend(compile_error(*loc, &format!("{text} (see the error above)")));
        }
        out
    }
}

fn compile_error(loc: Loc, text: &str) -> TokenStream {
    let head = quote_spanned!(loc.start=> ::core::compile_error!);
    let tail = quote_spanned!(loc.end=> { #text });
    quote::quote!(#head #tail)
}

/// A fallible step of a stage.
pub type Outcome<T> = Result<T, Box<Diagnostic>>;

/// Shorthand for a failed step.
pub fn fail<T>(loc: Loc, problem: Problem) -> Outcome<T> {
    Err(Box::new(Diagnostic::new(loc, problem)))
}

impl From<syn::Error> for Box<Diagnostic> {
    fn from(e: syn::Error) -> Self {
        let loc = Loc::at(e.span());
        Box::new(Diagnostic::new(loc, Problem::Syntax { text: e.to_string() }))
    }
}

/// Everything found in one block.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds a problem.
    pub fn push(&mut self, d: Diagnostic) {
        self.list.push(d);
    }

    /// Adds a problem at one place.
    pub fn report(&mut self, loc: Loc, problem: Problem) {
        self.push(Diagnostic::new(loc, problem));
    }

    /// Takes the value of a step, or notes why there is none.
    pub fn keep<T>(&mut self, outcome: Outcome<T>) -> Option<T> {
        outcome.map_err(|d| self.push(*d)).ok()
    }

    /// Adds what another stage found.
    pub fn extend(&mut self, other: Diagnostics) {
        self.list.extend(other.list);
    }

    /// What was found, in the order it was found; the same problem at the same place once.
    pub fn distinct(mut self) -> Diagnostics {
        let mut seen = std::collections::BTreeSet::new();
        self.list.retain(|d| seen.insert((format!("{:?}", d.loc), d.text())));
        self
    }

    /// What was found, in the order it was found.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All problems as `compile_error!`s.
    pub fn to_compile_errors(&self) -> TokenStream {
        self.list.iter().map(Diagnostic::to_compile_error).collect()
    }
}
