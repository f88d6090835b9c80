//! The names of a function: one namespace, a stack that grows and shrinks with the text.

use crate::ast::Name;
use proc_macro2::Span;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{ClosureId, Elem};
use sawmill_ir::index::{DimId, Index, TensorId};

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Binding {
    /// A size.
    Dim(DimId),
    /// An element type.
    TypeParam(u32),
    /// An element type that a struct was given.
    Elem(Elem),
    /// A tensor or a scalar.
    Tensor(TensorId),
    /// An index, a position given to a closure, or a `let` of a weak integer: an exact integer.
    Exact(Index),
    /// A struct, a cache or a list of them.
    Record(Record),
    /// A closure parameter of the function.
    Closure(ClosureId),
    /// A value given to a closure, by position.
    Given(u32, DType),
    /// An output that is not assigned yet.
    Open,
    /// Left of an error.
    Poison,
}

/// A struct, a cache, a tensor of a list, an entry of a list, or a whole list.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The dotted name before its fields.
    pub(crate) prefix: String,
    /// The struct or cache it is; empty for tensors.
    pub(crate) ty: String,
    /// Which entry of the lists it is in, outermost first.
    pub(crate) at: Vec<Index>,
    /// It is a whole list, of lists if there are several lengths, outermost first.
    pub(crate) lens: Vec<Index>,
}

impl Record {
    /// It is a list, no entry of one.
    pub(crate) fn is_list(&self) -> bool {
        !self.lens.is_empty()
    }
}

/// Why a name is there, which decides what it may be shadowed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Declared in `<..>`.
    Dim,
    /// A parameter.
    Argument,
    /// An output.
    Output,
    /// A `let`.
    Let,
    /// A carry.
    Carry,
    /// An index.
    Index,
    /// A parameter of a closure.
    Given,
}

impl Role {
    /// The role in messages.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Role::Dim => "a dim",
            Role::Argument => "an argument",
            Role::Output => "an output",
            Role::Let => "a `let`",
            Role::Carry => "a carry",
            Role::Index => "an index",
            Role::Given => "a parameter of the closure",
        }
    }
}

/// A name in scope.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The name.
    pub(crate) name: String,
    /// Where it was given.
    pub(crate) span: Span,
    /// Why it is there.
    pub(crate) role: Role,
    /// What it stands for.
    pub(crate) binding: Binding,
}

/// All names in scope, the latest last.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    entries: Vec<Entry>,
}

impl Scope {
    /// Adds a name.
    pub(crate) fn add(&mut self, name: &Name, role: Role, binding: Binding) {
        self.entries.push(Entry { name: name.text.clone(), span: name.span, role, binding });
    }

    /// The latest entry of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.name == name)
    }

    /// The latest entry of this name, to give it another meaning.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().rev().find(|entry| entry.name == name)
    }

    /// How many names there are, to return to by [`Scope::leave`].
    pub(crate) fn mark(&self) -> usize {
        self.entries.len()
    }

    /// Forgets the names since `mark`.
    pub(crate) fn leave(&mut self, mark: usize) {
        self.entries.truncate(mark);
    }

    /// The entries since `mark`.
    pub(crate) fn since(&self, mark: usize) -> impl Iterator<Item = &Entry> {
        self.entries[mark..].iter()
    }

    /// Adds an entry of a scope that was left.
    pub(crate) fn keep(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }
}

/// `did you mean ..`, if a known name is close to the unknown one.
pub(crate) fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let length = name.chars().count();
    if length < 3 {
        // Every other short name is one letter away.
        return String::new();
    }
    let limit = 1 + length / 4;
    let close = known.map(|other| (distance(name, other), other)).filter(|(d, _)| *d <= limit).min();
    close.map_or_else(String::new, |(_, other)| format!("did you mean `{other}`?"))
}

/// Edit distance of two words (Wagner and Fischer).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
