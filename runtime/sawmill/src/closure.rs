//! Closures given to a call from Rust: a mask or a score modifier as an expression of the language, with captured values.
//!
//! `closure!(|i, j| j <= i && i - j < {window})` makes one; a plain Rust closure cannot be read, only run, so it is refused
//! with a note that says so. The body is checked when the call is made, when the types of its parameters are known.

use crate::tensor::{Tensor, Typed, TypedView, View};

/// A closure of the language and what it captures.
#[derive(Clone)]
pub struct Closure<'a> {
    pub(crate) text: &'static str,
    pub(crate) params: usize,
    pub(crate) captures: Vec<Capture<'a>>,
}

/// A captured Rust value: a run-time argument of the kernel.
#[derive(Clone)]
pub enum Capture<'a> {
    /// An integer scalar.
    Int(i64),
    /// A float scalar.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A tensor.
    Tensor(View<'a>),
}

impl<'a> Closure<'a> {
    /// What `closure!` expands to: the closure's text, in which `{0}` stands for the first capture, and how many parameters it
    /// has.
    pub fn new(text: &'static str, params: usize, captures: Vec<Capture<'a>>) -> Self {
        Self { text, params, captures }
    }
}

/// What a closure parameter takes: a [`Closure`], which the macro `closure!` makes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no closure of the language: a Rust closure can be run, not read",
    label = "write `closure!(|i, j| ..)` here",
    note = "`closure!` takes an expression of the language; Rust values stand in braces: `closure!(|i, j| i - j < {{window}})`"
)]
pub trait IntoClosure<'a> {
    /// The closure.
    fn into_closure(self) -> Closure<'a>;
}

impl<'a> IntoClosure<'a> for Closure<'a> {
    fn into_closure(self) -> Closure<'a> {
        self
    }
}

impl<'a> IntoClosure<'a> for &Closure<'a> {
    fn into_closure(self) -> Closure<'a> {
        self.clone()
    }
}

macro_rules! scalars {
    ($($rust:ty: $variant:ident;)*) => {$(
        impl From<$rust> for Capture<'_> {
            fn from(value: $rust) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

scalars! {
    i32: Int;
    i64: Int;
    u32: Int;
    f32: Float;
    f64: Float;
    bool: Bool;
}

impl From<usize> for Capture<'_> {
    fn from(value: usize) -> Self {
        // A size above i64 cannot address memory; it then behaves like the largest position.
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl<'a> From<&'a Tensor> for Capture<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Tensor(tensor.view())
    }
}

impl<'a, E: crate::Element, const R: usize> From<&'a Typed<E, R>> for Capture<'a> {
    fn from(tensor: &'a Typed<E, R>) -> Self {
        Self::Tensor(tensor.as_dyn().view())
    }
}

impl<'a, E: crate::Element, const R: usize> From<TypedView<'a, E, R>> for Capture<'a> {
    fn from(view: TypedView<'a, E, R>) -> Self {
        Self::Tensor(view.view())
    }
}
