//! What a function of the zoo takes and gives, as far as binding by name needs it.
//!
//! In: a declaration of the zoo. Out: [`Candidate`].

/// A function that implements a system.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The row that it declares.
    pub row: String,
    /// The system that it declares.
    pub system: String,
    /// String parameters that select it, and their values.
    pub when: Vec<(String, String)>,
    /// What it takes.
    pub signature: Signature,
}

/// Arguments, dims and outputs.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    /// Tensors and scalars, in order.
    pub arguments: Vec<Argument>,
    /// Dims that a caller may state.
    pub dims: Vec<String>,
    /// Outputs, in order.
    pub outputs: Vec<Output>,
}

/// One argument.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub element: Element,
    /// Its axes as written, empty for a scalar.
    pub axes: Vec<String>,
    /// Whether it has a default.
    pub optional: bool,
}

/// One output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its axes as written.
    pub axes: Vec<String>,
}

/// Kinds of elements, as far as conversion from a fixture goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// A float of any width, or a type parameter for one.
    Float,
    /// An integer that holds at least and at most these.
    Integer {
        /// Smallest value.
        least: i64,
        /// Largest value.
        most: i64,
    },
    /// A boolean.
    Bool,
}
