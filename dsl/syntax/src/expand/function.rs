//! The Rust items of a function.

use super::record::visited;
use super::{Context, docs, docs_text, ident, visibility};
use crate::ast::{DimKind, Field, Function, Item, Name, Param, ParamType, Signature, Type, TypeClass};
use crate::print;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use sawmill_ir::graph::{Elem, Function as IrFunction, Module, Op, text};
use std::collections::{BTreeMap, BTreeSet};

/// The names that the items of one function have.
struct Names {
    function: Ident,
    call: Ident,
    definition: Ident,
}

impl Context<'_> {
    pub(super) fn function(&self, item: &Item, function: &Function) -> TokenStream {
        let signature = &function.signature;
        let name = &signature.name.text;
        let names = Names {
            function: ident(&signature.name),
            call: Ident::new(&format!("{}Call", camel(name)), signature.name.span),
            definition: format_ident!("__SAWMILL_{}", name.to_uppercase(), span = Span::call_site()),
        };
        let (program, uses) = self.program(name);
        let definition = self.definition(item, signature, &names, &program, &uses);
        let builder = self.builder(item, signature, &names);
        let plain = self.plain(item, signature, &names);
        let export = self.export(item, &signature.name, &self.function_text(signature));
        quote!(#definition #builder #plain #export)
    }

    /// The text of the module that a function's callers embed, and the imports it calls.
    fn program(&self, name: &str) -> (String, BTreeSet<String>) {
        let mut reached: BTreeMap<&str, &IrFunction> = BTreeMap::new();
        let mut uses = BTreeSet::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            match self.block.functions.get_key_value(name) {
                Some((name, function)) => {
                    if reached.insert(name, function).is_none() {
                        open.extend(callees(function));
                    }
                }
                None => {
                    if self.paths.contains_key(name) {
                        uses.insert(name.to_string());
                    }
                }
            }
        }
        let stored = reached.values().flat_map(|function| function.tensors.values());
        let used: BTreeSet<&str> = stored
            .filter_map(|tensor| match &tensor.elem {
                Elem::Format(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let formats = used.into_iter().filter_map(|name| self.block.items.formats.get(name).cloned()).collect();
        let mut functions: Vec<IrFunction> = Vec::new();
        functions.extend(reached.get(name).map(|function| (*function).clone()));
        functions.extend(reached.iter().filter(|(other, _)| **other != name).map(|(_, function)| (*function).clone()));
        (text::print(&Module { formats, functions }), uses)
    }

    fn definition(
        &self,
        item: &Item,
        signature: &Signature,
        names: &Names,
        program: &str,
        uses: &BTreeSet<String>,
    ) -> TokenStream {
        let (vis, docs) = (visibility(item), docs(item, ""));
        let Names { function, call, definition } = names;
        let (name, text, shown) = (&signature.name.text, docs_text(item), print::signature(signature));
        let used_names = uses.iter();
        let used_paths = uses.iter().map(|name| &self.paths[name]);
        let dim_names =
            signature.dims.iter().filter(|dim| !matches!(dim.kind, DimKind::Type(_))).map(|dim| &dim.name.text);
        quote! {
            #[doc(hidden)]
            static #definition: ::sawmill::Function = ::sawmill::Function {
                name: #name,
                path: ::core::concat!(::core::module_path!(), "::", #name),
                docs: #text,
                signature: #shown,
                dims: &[#(#dim_names),*],
                program: #program,
                uses: &[#((#used_names, #used_paths::DEF)),*],
            };
            #docs
            #[allow(non_camel_case_types, missing_docs, reason = "it bears the function's name and its docs")]
            #vis struct #function {}
            #[allow(dead_code, reason = "not every function is called in every way")]
            impl #function {
                /// The graph IR of the function.
                pub const PROGRAM: &'static str = #program;
                /// What the run time must know of the function.
                pub const DEF: &'static ::sawmill::Function = &#definition;
                /// A call on `device`, with optional arguments, closures and dims to be given.
                pub fn with(device: &::sawmill::Device) -> #call<'_> {
                    #call(::sawmill::Call::on(Self::DEF, device))
                }
            }
        }
    }

    fn builder(&self, item: &Item, signature: &Signature, names: &Names) -> TokenStream {
        let vis = visibility(item);
        let call = &names.call;
        let methods = signature.params.iter().filter(|param| param.default.is_some()).map(|param| self.optional(param));
        let dims =
            signature.dims.iter().filter(|dim| !matches!(dim.kind, DimKind::Type(_))).map(|dim| dim_method(&dim.name));
        let (takes, gives) = (self.takes(signature), self.gives(signature));
        let (outputs, names_out) = (signature.outputs.len(), signature.outputs.iter().map(|o| ident(&o.name)));
        let names_out: Vec<Ident> = names_out.map(|name| format_ident!("out_{}", name)).collect();
        let leaving = signature.outputs.iter().zip(&names_out).map(|(output, name)| leaving(output, name, signature));
        let result = if outputs == 1 { quote!(#(#leaving)*) } else { quote!((#(#leaving),*)) };
        let returned = returned(signature);
        let title = format!("A call of `{}` that is being put together.", signature.name.text);
        quote! {
            #[doc = #title]
            #[must_use = "nothing runs before `call`"]
            #vis struct #call<'a>(::sawmill::Call<'a>);
            #[allow(non_snake_case, dead_code, clippy::too_many_arguments, clippy::wrong_self_convention,
                clippy::needless_question_mark,
                reason = "methods bear the names of dims and parameters")]
            impl<'a> #call<'a> {
                #(#methods)*
                #(#dims)*
                /// Compiles at the first call of this kind, then runs.
                ///
                /// # Errors
                /// Sizes, devices or types that do not fit, before anything runs; what the device reports.
                pub fn call(mut self, #takes) -> ::core::result::Result<#returned, ::sawmill::Error> {
                    #gives
                    let [#(#names_out),*] = self.0.run::<#outputs>()?;
                    ::core::result::Result::Ok(#result)
                }
            }
        }
    }

    fn plain(&self, item: &Item, signature: &Signature, names: &Names) -> TokenStream {
        if let Some(dim) = self.free_dim(signature) {
            return self.no_plain(item, signature, names, dim);
        }
        let vis = visibility(item);
        let shown = format!("```text\n{}\n```", print::signature(signature));
        let docs = docs(item, &shown);
        let Names { function, call, .. } = names;
        let (takes, returned) = (self.takes(signature), returned(signature));
        let given = required(signature).map(|param| ident(&param.name));
        quote! {
            #docs
            ///
            /// # Errors
            /// Sizes, devices or types that do not fit, before anything runs; what the device reports.
            #[allow(non_snake_case, dead_code, clippy::too_many_arguments, reason = "the parameters are those of the equations")]
            #vis fn #function<'a>(#takes) -> ::core::result::Result<#returned, ::sawmill::Error> {
                #call(::sawmill::Call::new(#function::DEF)).call(#(#given),*)
            }
        }
    }

    /// A dim without default that no required argument determines.
    fn free_dim(&self, signature: &Signature) -> Option<&str> {
        self.block.items.functions.get(&signature.name.text)?.free_dim()
    }

    /// Of a function with a free dim: a plain call that no argument satisfies, so that the Rust compiler says how to call it.
    fn no_plain(&self, item: &Item, signature: &Signature, names: &Names, dim: &str) -> TokenStream {
        let mut given = required(signature);
        if given.next().is_none() {
            return TokenStream::new();
        }
        let rest = given.map(|param| {
            let (name, ty) = (ident(&param.name), self.rust_type(param, signature));
            quote!(#name: #ty)
        });
        let (vis, returned, function) = (visibility(item), returned(signature), &names.function);
        let module = format_ident!("__sawmill_open_{}", signature.name.text, span = Span::call_site());
        let dim = Ident::new(dim, signature.name.span);
        quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types, reason = "it bears the name of a dim, for a message")]
            #vis mod #module {
                pub struct #dim;
            }
            #[doc(hidden)]
            #[allow(non_snake_case, dead_code, unused_variables, clippy::too_many_arguments, reason = "it is never called")]
            #vis fn #function<'a>(
                first: impl ::sawmill::Determines<#module::#dim>, #(#rest),*
            ) -> ::core::result::Result<#returned, ::sawmill::Error> {
                match first.never() {}
            }
        }
    }

    /// Rust parameters of the required parameters.
    fn takes(&self, signature: &Signature) -> TokenStream {
        required(signature)
            .map(|param| {
                let (name, ty) = (ident(&param.name), self.rust_type(param, signature));
                quote!(#name: #ty,)
            })
            .collect()
    }

    /// Hands the required arguments to the call.
    fn gives(&self, signature: &Signature) -> TokenStream {
        required(signature)
            .map(|param| {
                let (name, text) = (ident(&param.name), &param.name.text);
                if let ParamType::Value(ty @ Type::List { item, .. }) = &param.ty
                    && !matches!(**item, Type::Record { .. })
                {
                    let visits = visited(ty);
                    return quote! {{
                        let (path, value) = (::std::string::String::from(#text), #name);
                        let visit = &mut |path: ::std::string::String, tensor| self.0.entry(&path, tensor);
                        #visits
                    }};
                }
                let method = self.method(param);
                quote!(self.0.#method(#text, #name);)
            })
            .collect()
    }

    fn method(&self, param: &Param) -> Ident {
        let method = match &param.ty {
            ParamType::Closure(_) => "closure",
            ParamType::Value(Type::Tensor { .. }) => "arg",
            ParamType::Value(Type::Record { name, .. }) if self.is_cache(name) => "cache",
            ParamType::Value(Type::Record { .. }) => "record",
            ParamType::Value(Type::List { item, .. }) => match &**item {
                Type::Record { name, .. } if self.is_cache(name) => "caches",
                _ => "records",
            },
        };
        Ident::new(method, Span::call_site())
    }

    fn is_cache(&self, name: &Name) -> bool {
        self.block.items.caches.contains_key(&name.text)
    }

    fn rust_type(&self, param: &Param, signature: &Signature) -> TokenStream {
        match &param.ty {
            ParamType::Closure(_) => quote!(impl ::sawmill::IntoClosure<'a>),
            ParamType::Value(Type::Tensor { element, axes, .. }) => {
                let (kind, rank) = (kind_of(element, signature), axes.len());
                quote!(impl ::sawmill::Arg<'a, ::sawmill::kind::#kind, #rank>)
            }
            ParamType::Value(Type::Record { name, .. }) => {
                let path = self.path(name);
                if self.is_cache(name) { quote!(&'a mut #path) } else { quote!(&'a #path) }
            }
            ParamType::Value(Type::List { item, .. }) => match &**item {
                Type::Record { name, .. } => {
                    let path = self.path(name);
                    if self.is_cache(name) { quote!(&'a mut [#path]) } else { quote!(&'a [#path]) }
                }
                item => {
                    let item = self.owned(item);
                    quote!(&'a [#item])
                }
            },
        }
    }

    fn optional(&self, param: &Param) -> TokenStream {
        let (name, text) = (ident(&param.name), &param.name.text);
        let value = match &param.ty {
            ParamType::Closure(_) => quote!(impl ::sawmill::IntoClosure<'a>),
            ParamType::Value(Type::Tensor { element, axes, .. }) => {
                let kind = self.known_kind(element);
                let rank = axes.len();
                quote!(impl ::sawmill::Arg<'a, ::sawmill::kind::#kind, #rank>)
            }
            ParamType::Value(_) => return TokenStream::new(),
        };
        let method = self.method(param);
        let title = format!("Gives `{text}`.");
        quote! {
            #[doc = #title]
            pub fn #name(mut self, value: #value) -> Self {
                self.0.#method(#text, value);
                self
            }
        }
    }

    fn known_kind(&self, element: &Name) -> Ident {
        Ident::new(&kind_text(&element.text).unwrap_or_else(|| "Float".into()), Span::call_site())
    }
}

/// The functions that a function calls, closures included.
fn callees(function: &IrFunction) -> impl Iterator<Item = &str> {
    function.terms.values().filter_map(|term| match &term.op {
        Op::Call { function, .. } => Some(function.as_str()),
        _ => None,
    })
}

fn required(signature: &Signature) -> impl Iterator<Item = &Param> {
    signature.params.iter().filter(|param| param.default.is_none())
}

fn returned(signature: &Signature) -> TokenStream {
    let outputs = signature.outputs.iter().map(|output| match typed(output, signature) {
        Some((element, rank)) => quote!(::sawmill::Typed<#element, #rank>),
        None => quote!(::sawmill::Tensor),
    });
    if signature.outputs.len() == 1 { quote!(#(#outputs)*) } else { quote!((#(#outputs),*)) }
}

/// An output as it leaves the call: typed where its dtype is a Rust type.
fn leaving(output: &Field, name: &Ident, signature: &Signature) -> TokenStream {
    if typed(output, signature).is_some() { quote!(#name.typed()?) } else { quote!(#name) }
}

/// The Rust type of an output's elements and its rank.
fn typed(output: &Field, signature: &Signature) -> Option<(TokenStream, usize)> {
    let Type::Tensor { element, axes, .. } = &output.ty else { return None };
    if signature.dims.iter().any(|dim| dim.name.text == element.text) {
        return None;
    }
    let plain = ["f64", "f32", "i64", "i32", "u32", "i16", "u16", "i8", "u8", "bool"];
    let ident = Ident::new(&element.text, Span::call_site());
    match element.text.as_str() {
        "f16" | "bf16" => Some((quote!(::sawmill::#ident), axes.len())),
        text if plain.contains(&text) => Some((quote!(::core::primitive::#ident), axes.len())),
        _ => None,
    }
}

fn dim_method(name: &Name) -> TokenStream {
    let (method, text) = (ident(name), &name.text);
    let title = format!("Gives the dim `{text}`.");
    quote! {
        #[doc = #title]
        pub fn #method(mut self, value: u64) -> Self {
            self.0.dim(#text, value);
            self
        }
    }
}

/// The marker in `sawmill::kind` of an element type.
fn kind_of(element: &Name, signature: &Signature) -> Ident {
    let param = signature.dims.iter().find(|dim| dim.name.text == element.text).map(|dim| dim.kind);
    let text = match param {
        Some(DimKind::Type(TypeClass::Int)) => "Int".into(),
        Some(DimKind::Type(TypeClass::Float)) => "Float".into(),
        _ => kind_text(&element.text).unwrap_or_else(|| "Float".into()),
    };
    Ident::new(&text, Span::call_site())
}

fn kind_text(element: &str) -> Option<String> {
    let dtype = sawmill_ir::dtype::DType::from_text(element)?;
    Some(if dtype == sawmill_ir::dtype::DType::Bool { "Bool".into() } else { dtype.text().to_uppercase() })
}

/// `rms_norm` as `RmsNorm`.
fn camel(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    };
    name.split('_').map(word).collect()
}
