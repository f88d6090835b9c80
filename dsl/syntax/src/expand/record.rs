//! The Rust items of structs, caches and formats.

use super::export::{cache_text, format_text};
use super::{Context, docs, ident, visibility};
use crate::ast::{Cache, Expr, ExprKind, Field, Format, Item, Struct, Type};
use crate::print;
use proc_macro2::TokenStream;
use quote::quote;
use sawmill_ir::graph::{Module, text};

impl Context<'_> {
    pub(super) fn structure(&self, item: &Item, record: &Struct) -> TokenStream {
        let (vis, docs, name) = (visibility(item), docs(item, ""), ident(&record.name));
        let fields = record.fields.iter().map(|field| self.field(field));
        let described = record.fields.iter().map(|field| {
            let (name, ty) = (&field.name.text, print::ty(&field.ty));
            quote!(::sawmill::FieldDef { name: #name, ty: #ty })
        });
        let text = &record.name.text;
        let visits = record.fields.iter().map(visit);
        let builds = record.fields.iter().map(|field| self.build(field));
        let export = self.export(item, &record.name, &self.struct_text(record));
        quote! {
            #docs
            #[allow(non_snake_case, missing_docs, reason = "fields bear the names of the checkpoint; docs are the author's")]
            #vis struct #name { #(#fields),* }
            impl ::sawmill::Record for #name {
                const NAME: &'static str = #text;
                const FIELDS: &'static [::sawmill::FieldDef] = &[#(#described),*];
                fn visit<'a>(&'a self, prefix: &str, visit: &mut dyn FnMut(::std::string::String, &'a ::sawmill::Tensor)) {
                    #(#visits)*
                }
                fn build(prefix: &str, source: &mut dyn ::sawmill::Source) -> ::core::result::Result<Self, ::sawmill::Error> {
                    ::core::result::Result::Ok(Self { #(#builds),* })
                }
            }
            #export
        }
    }

    fn field(&self, field: &Field) -> TokenStream {
        let (name, title) = (ident(&field.name), format!("`{}`", print::ty(&field.ty)));
        let ty = self.owned(&field.ty);
        quote!(#[doc = #title] pub #name: #ty)
    }

    /// The Rust type that holds a value.
    pub(super) fn owned(&self, ty: &Type) -> TokenStream {
        match ty {
            Type::Tensor { .. } => quote!(::sawmill::Tensor),
            Type::Record { name, .. } => self.path(name),
            Type::List { item, .. } => {
                let item = self.owned(item);
                quote!(::std::vec::Vec<#item>)
            }
        }
    }

    fn build(&self, field: &Field) -> TokenStream {
        let (name, text) = (ident(&field.name), &field.name.text);
        let value = self.built(&field.ty);
        quote!(#name: { let path = ::std::format!("{prefix}{}", #text); #value })
    }

    /// The value at `path` of `source`.
    fn built(&self, ty: &Type) -> TokenStream {
        match ty {
            Type::Tensor { .. } => quote!(source.tensor(&path)?),
            Type::Record { name, .. } => {
                let record = self.path(name);
                quote!(<#record as ::sawmill::Record>::build(&::std::format!("{path}."), source)?)
            }
            Type::List { item, .. } => {
                let entry = self.built(item);
                quote! {{
                    let count = source.count(&path)?;
                    let mut entries = ::std::vec::Vec::with_capacity(count);
                    for number in 0..count {
                        let path = ::std::format!("{path}.{number}");
                        entries.push(#entry);
                    }
                    entries
                }}
            }
        }
    }

    pub(super) fn cache(&self, item: &Item, cache: &Cache) -> TokenStream {
        let (vis, docs, name, text) = (visibility(item), docs(item, ""), ident(&cache.name), &cache.name.text);
        let dims = cache.dims.iter().map(|dim| &dim.name.text);
        let fields = cache.fields.iter().filter_map(|field| cache_field(cache, field));
        let export = self.export(item, &cache.name, &cache_text(cache));
        quote! {
            #docs
            #[allow(missing_docs, reason = "docs are the author's")]
            #vis struct #name(
                /// What is stored.
                pub ::sawmill::Cache,
            );
            impl ::sawmill::CacheType for #name {
                const DEF: ::sawmill::CacheDef = ::sawmill::CacheDef { name: #text, dims: &[#(#dims),*], fields: &[#(#fields),*] };
                fn new(cache: ::sawmill::Cache) -> Self {
                    Self(cache)
                }
                fn cache(&self) -> &::sawmill::Cache {
                    &self.0
                }
                fn cache_mut(&mut self) -> &mut ::sawmill::Cache {
                    &mut self.0
                }
            }
            #export
        }
    }

    pub(super) fn format(&self, item: &Item, format: &Format) -> TokenStream {
        let (vis, docs, name, text) = (visibility(item), docs(item, ""), ident(&format.name), &format.name.text);
        let formats = self.block.items.formats.get(text).cloned().into_iter().collect();
        let program = text::print(&Module { formats, functions: Vec::new() });
        let export = self.export(item, &format.name, &format_text(format));
        quote! {
            #docs
            #[allow(non_upper_case_globals, missing_docs, reason = "it bears the format's name and its docs")]
            #vis static #name: ::sawmill::Format = ::sawmill::Format { name: #text, program: #program };
            #export
        }
    }
}

fn visit(field: &Field) -> TokenStream {
    let (name, text) = (ident(&field.name), &field.name.text);
    let visits = visited(&field.ty);
    quote! {{
        let (path, value) = (::std::format!("{prefix}{}", #text), &self.#name);
        #visits
    }}
}

/// Calls `visit` with every tensor of `value`, which is at `path`.
pub(super) fn visited(ty: &Type) -> TokenStream {
    match ty {
        Type::Tensor { .. } => quote!(visit(path, value);),
        Type::Record { .. } => quote!(::sawmill::Record::visit(value, &::std::format!("{path}."), visit);),
        Type::List { item, .. } => {
            let entries = visited(item);
            quote! {
                for (number, value) in value.iter().enumerate() {
                    let path = ::std::format!("{path}.{number}");
                    #entries
                }
            }
        }
    }
}

fn cache_field(cache: &Cache, field: &Field) -> Option<TokenStream> {
    let Type::Tensor { element, axes, .. } = &field.ty else { return None };
    let grows = axes.iter().position(|axis| is_dim(axis, &cache.grow.text))?;
    let (name, elem) = (&field.name.text, &element.text);
    let shape = axes.iter().map(print::expr);
    Some(quote!(::sawmill::CacheField { name: #name, elem: #elem, shape: &[#(#shape),*], grows: #grows }))
}

fn is_dim(expr: &Expr, name: &str) -> bool {
    matches!(&expr.kind, ExprKind::Name(dim) if dim.text == name)
}
