//! What a parameter accepts: the traits behind the wrappers' argument types.
//!
//! A parameter's type is `impl Arg<'a, kind, RANK>`. Typed tensors, views and Rust numbers implement it for their own kind and
//! rank, so that a wrong dtype or rank is a Rust type error; a [`Tensor`], whose type only the run knows, implements it for
//! all and is checked by the call.

use crate::Device;
use crate::cache::Cache;
use crate::element::Element;
use crate::tensor::{Tensor, Typed, TypedView, View};
use std::collections::BTreeMap;

/// Markers of what a parameter takes.
pub mod kind {
    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident)*) => {$(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name;
        )*};
    }
    kinds! {
        /// `f64`.
        F64
        /// `f32`.
        F32
        /// `f16`.
        F16
        /// `bf16`.
        BF16
        /// `f8e4m3`.
        F8E4M3
        /// `f8e5m2`.
        F8E5M2
        /// `f8e8m0`.
        F8E8M0
        /// `f4e2m1`.
        F4E2M1
        /// `c32`.
        C32
        /// `i64`.
        I64
        /// `i32`.
        I32
        /// `u32`.
        U32
        /// `i16`.
        I16
        /// `u16`.
        U16
        /// `i8`.
        I8
        /// `u8`.
        U8
        /// `i4`.
        I4
        /// `u4`.
        U4
        /// `bool`.
        Bool
        /// A type parameter `float`, or a packed format.
        Float
        /// A type parameter `int`.
        Int
    }
}

/// A value bound to a parameter.
pub enum Value<'a> {
    /// A tensor.
    Tensor(View<'a>),
    /// A list of tensors, or lists of them in a list.
    List(List<'a>),
    /// A field of a cache, by name.
    Cache(&'a mut Cache),
    /// A list of caches.
    Caches(Vec<&'a mut Cache>),
    /// An integer scalar.
    Int(i64),
    /// A float scalar.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

/// A list of tensors; of lists in lists, the tensors of the innermost ones, in order.
pub struct List<'a> {
    /// How many entries each level has, outermost first.
    pub lengths: Vec<usize>,
    /// The tensors.
    pub items: Vec<View<'a>>,
}

/// An argument for a parameter of kind `K` and rank `RANK`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no argument for this parameter: it takes elements `{K}` at rank {RANK}",
    label = "wrong element type or rank"
)]
pub trait Arg<'a, K, const RANK: usize> {
    /// The value.
    fn value(self) -> Value<'a>;
}

/// What the first argument of a plain call would have to be where a dim of the function follows from no argument. Nothing is:
/// the trait is there to say how such a function is called.
#[diagnostic::on_unimplemented(
    message = "no argument determines the dim `{Dim}` of this function, so that it has no plain call",
    label = "`{Dim}` is given by name",
    note = "write `f::with(&device).{Dim}(2).call(..)`"
)]
pub trait Determines<Dim>: Sized {
    /// Never called.
    fn never(self) -> std::convert::Infallible;
}

impl<'a, K, const RANK: usize> Arg<'a, K, RANK> for &'a Tensor {
    fn value(self) -> Value<'a> {
        Value::Tensor(self.view())
    }
}

macro_rules! typed {
    ($($elem:ty: $($kind:ident)*;)*) => {$($(
        impl<'a, const RANK: usize> Arg<'a, kind::$kind, RANK> for &'a Typed<$elem, RANK> {
            fn value(self) -> Value<'a> {
                Value::Tensor(self.as_dyn().view())
            }
        }
        impl<'a, const RANK: usize> Arg<'a, kind::$kind, RANK> for TypedView<'a, $elem, RANK> {
            fn value(self) -> Value<'a> {
                Value::Tensor(self.view())
            }
        }
    )*)*};
}

typed! {
    f64: F64 Float;
    f32: F32 Float;
    half::f16: F16 Float;
    half::bf16: BF16 Float;
    i64: I64 Int;
    i32: I32 Int;
    u32: U32 Int;
    i16: I16 Int;
    u16: U16 Int;
    i8: I8 Int;
    u8: U8 Int;
    bool: Bool;
}

macro_rules! scalars {
    ($($rust:ty: $variant:ident $wide:ty, $($kind:ident)*;)*) => {$($(
        impl<'a> Arg<'a, kind::$kind, 0> for $rust {
            fn value(self) -> Value<'a> {
                Value::$variant(<$wide>::from(self))
            }
        }
    )*)*};
}

// A literal without a suffix is `f64` or `i32`: those are accepted wherever a float or an integer scalar is.
scalars! {
    f64: Float f64, F64 F32 F16 BF16 Float;
    f32: Float f64, F32;
    i32: Int i64, I64 I32 I16 I8 U32 U16 U8 Int;
    i64: Int i64, I64;
    u32: Int i64, U32;
    bool: Bool bool, Bool;
}

/// A struct of parameters, as `arch!` declares it.
pub trait Record: Sized {
    /// Its name.
    const NAME: &'static str;
    /// Its fields.
    const FIELDS: &'static [FieldDef];
    /// Calls `visit(path, tensor)` for every tensor; `prefix` is empty or ends in a dot; entries of a list are `rest.3.w`.
    fn visit<'a>(&'a self, prefix: &str, visit: &mut dyn FnMut(String, &'a Tensor));
    /// Builds the struct from a source of tensors.
    fn build(prefix: &str, source: &mut dyn Source) -> Result<Self, crate::Error>;
    /// The struct with all of its tensors where `device` computes, as [`Tensor::to`]. What several fields share is copied once.
    ///
    /// # Errors
    /// As [`Tensor::to`].
    fn to(&self, device: &Device) -> Result<Self, crate::Error> {
        let mut moved = Moved { device, tensors: BTreeMap::new(), copies: Vec::new() };
        self.visit("", &mut |path, tensor| {
            moved.tensors.insert(path, tensor.clone());
        });
        Self::build("", &mut moved)
    }
}

/// The tensors of a struct on their way to a device.
struct Moved<'d> {
    device: &'d Device,
    tensors: BTreeMap<String, Tensor>,
    /// What was copied, and its copy.
    copies: Vec<(Tensor, Tensor)>,
}

impl Source for Moved<'_> {
    fn tensor(&mut self, path: &str) -> Result<Tensor, crate::Error> {
        let missing = || crate::Error::Tensor(format!("the struct lost its tensor `{path}`"));
        let tensor = self.tensors.get(path).ok_or_else(missing)?;
        if let Some((_, copy)) = self.copies.iter().find(|(known, _)| known.is_same(tensor)) {
            return Ok(copy.clone());
        }
        let copy = tensor.to(self.device)?;
        self.copies.push((tensor.clone(), copy.clone()));
        Ok(copy)
    }
    fn count(&mut self, path: &str) -> Result<usize, crate::Error> {
        let prefix = format!("{path}.");
        let entry = |path: &String| path.strip_prefix(&prefix)?.split('.').next()?.parse::<usize>().ok();
        Ok(self.tensors.keys().filter_map(entry).max().map_or(0, |last| last + 1))
    }
}

/// A field of a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldDef {
    /// Its name.
    pub name: &'static str,
    /// Its type in the language.
    pub ty: &'static str,
}

/// Where a [`Record`] takes its tensors from.
pub trait Source {
    /// The tensor at `path`.
    fn tensor(&mut self, path: &str) -> Result<Tensor, crate::Error>;
    /// The length of the list at `path`.
    fn count(&mut self, path: &str) -> Result<usize, crate::Error>;
}

impl<E: Element, const R: usize> From<Typed<E, R>> for Tensor {
    fn from(tensor: Typed<E, R>) -> Self {
        tensor.into_dyn()
    }
}
