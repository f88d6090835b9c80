//! The hidden macro that carries an item to the blocks that import it.

use super::{Context, ident};
use crate::ast::{Cache, Field, Format, Item, Name, ParamType, Signature, Struct, Type};
use crate::check::export_notes;
use crate::print;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::collections::BTreeSet;

impl Context<'_> {
    /// The export of a `pub` item.
    pub(super) fn export(&self, item: &Item, name: &Name, text: &str) -> TokenStream {
        if !item.public {
            return TokenStream::new();
        }
        let Ok(carried) = text.parse::<TokenStream>() else { return TokenStream::new() };
        let hidden =
            Ident::new(&format!("__sawmill_{}_{:016x}", name.text, digest(text, name.span)), Span::call_site());
        let public = ident(name);
        quote! {
            #[doc(hidden)]
            #[macro_export]
            #[allow(non_local_definitions, reason = "an item of a test may be declared in its function")]
            macro_rules! #hidden {
                ([$($then:tt)*] $($rest:tt)*) => { $($then)*! { $($rest)* { #carried } } };
            }
            #[doc(hidden)]
            #[allow(unused_imports, reason = "only blocks that import the item use it")]
            pub use #hidden as #public;
        }
    }

    /// A function's signature with the types it names, and what its closures are given.
    pub(super) fn function_text(&self, signature: &Signature) -> String {
        let mut needed = BTreeSet::new();
        let mut text = String::new();
        for param in &signature.params {
            if let ParamType::Value(ty) = &param.ty {
                self.types(ty, &mut needed, &mut text);
            }
        }
        for output in &signature.outputs {
            self.types(&output.ty, &mut needed, &mut text);
        }
        let notes = self.block.items.functions.get(&signature.name.text).map(export_notes).unwrap_or_default();
        format!("{text}extern {}; {notes}", print::signature(signature))
    }

    /// The declarations of the types that a type names, inner ones first.
    fn types(&self, ty: &Type, needed: &mut BTreeSet<String>, text: &mut String) {
        match ty {
            Type::Tensor { .. } => {}
            Type::List { item, .. } => self.types(item, needed, text),
            Type::Record { name, .. } => {
                if !needed.insert(name.text.clone()) {
                    return;
                }
                if let Some(record) = self.block.items.structs.get(&name.text) {
                    text.push_str(&self.struct_text_with(record, needed));
                } else if let Some(cache) = self.block.items.caches.get(&name.text) {
                    text.push_str(&cache_text(cache));
                }
            }
        }
    }

    /// A struct with the structs it holds.
    pub(super) fn struct_text(&self, record: &Struct) -> String {
        self.struct_text_with(record, &mut BTreeSet::new())
    }

    fn struct_text_with(&self, record: &Struct, needed: &mut BTreeSet<String>) -> String {
        let mut text = String::new();
        for field in &record.fields {
            self.types(&field.ty, needed, &mut text);
        }
        format!("{text}struct {}{} {{ {} }} ", record.name.text, print::dims(&record.dims), fields(&record.fields))
    }
}

/// A cache.
pub(super) fn cache_text(cache: &Cache) -> String {
    let (name, dims) = (&cache.name.text, print::dims(&cache.dims));
    format!("cache {name}{dims} {{ {} }} grow {}; ", fields(&cache.fields), cache.grow.text)
}

/// A format.
pub(super) fn format_text(format: &Format) -> String {
    let (name, dims) = (&format.name.text, print::dims(&format.dims));
    let (requires, value) = (print::requirements(&format.requirements), print::closure(&format.value));
    format!("format {name}{dims} {{ {} }}{requires} = {value}; ", fields(&format.fields))
}

fn fields(fields: &[Field]) -> String {
    fields.iter().map(print::field).collect::<Vec<_>>().join(", ")
}

/// FNV-1a of an item's text and place: two items of one crate never share a macro.
fn digest(text: &str, span: Span) -> u64 {
    let place = format!("{span:?}");
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().chain(place.bytes()).fold(0xcbf2_9ce4_8422_2325, step)
}
