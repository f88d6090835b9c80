//! What `arch!` and `closure!` expand to; the form is described in the docs of `sawmill-macros`.
//!
//! In: the tokens of the macro. Out: wrappers for every signature that parsed, `compile_error!`s for everything that is wrong. A
//! block that imports from other blocks is expanded in several rounds: the hidden macro of each import appends the
//! import's signature and calls `arch!` again.

mod closure;
mod export;
mod function;
mod import;
mod record;

pub use closure::closure;

use crate::ast::{File, Import, Item, ItemKind, Name};
use crate::check::{Block, check_file};
use crate::errors::Diagnostics;
use crate::parse::parse_file;
use import::{Imported, Round};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use std::collections::{BTreeMap, BTreeSet};

/// Expands the tokens of an `arch!` block.
pub fn arch(tokens: TokenStream) -> TokenStream {
    let round = Round::of(tokens);
    let (file, mut errors) = parse_file(round.block.clone());
    let imports: Vec<&Import> = imports_of(&file);
    if let Some(next) = imports.get(round.imported.len()) {
        return round.ask(next);
    }
    let imported = Imported::read(&imports, &round.imported, &mut errors);
    let paths = imported.paths.clone();
    let (block, more) = check_file(&file, imported.items);
    errors.extend(more);
    let mut out = errors_once(errors);
    let context = Context { block: &block, paths: &paths };
    let mut names = BTreeSet::new();
    for item in &file.items {
        // Of two items of one name the first is kept, the error is out; a wrong declaration makes no Rust item.
        let name = item.kind.name();
        if name.is_none_or(|name| names.insert(&name.text) && !block.unsound.contains(&name.text)) {
            out.extend(context.item(item));
        }
    }
    out
}

fn errors_once(errors: Diagnostics) -> TokenStream {
    errors.distinct().to_compile_errors()
}

fn imports_of(file: &File) -> Vec<&Import> {
    let uses = file.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Use(imports) => Some(imports),
        _ => None,
    });
    uses.flatten().collect()
}

/// What the expansion of one item must know of the others.
struct Context<'a> {
    block: &'a Block,
    /// Rust paths of imported names.
    paths: &'a BTreeMap<String, TokenStream>,
}

impl Context<'_> {
    fn item(&self, item: &Item) -> TokenStream {
        match &item.kind {
            ItemKind::Function(function) => self.function(item, function),
            ItemKind::Struct(record) => self.structure(item, record),
            ItemKind::Cache(cache) => self.cache(item, cache),
            ItemKind::Format(format) => self.format(item, format),
            ItemKind::Extern(_) | ItemKind::Use(_) => TokenStream::new(),
        }
    }

    /// The Rust path of a struct, cache or function.
    fn path(&self, name: &Name) -> TokenStream {
        match self.paths.get(&name.text) {
            Some(path) => path.clone(),
            None => {
                let ident = ident(name);
                quote!(#ident)
            }
        }
    }
}

/// A Rust identifier at the place of the name.
fn ident(name: &Name) -> Ident {
    syn::parse_str::<Ident>(&name.text)
        .map(|parsed| Ident::new(&parsed.to_string(), name.span))
        .unwrap_or_else(|_| Ident::new_raw(&name.text, name.span))
}

/// `pub` where the item has it.
fn visibility(item: &Item) -> TokenStream {
    if item.public { quote!(pub) } else { TokenStream::new() }
}

/// The doc comment of an item, and `more` below it.
fn docs(item: &Item, more: &str) -> TokenStream {
    let lines = item.docs.iter();
    let code = if more.is_empty() { TokenStream::new() } else { quote!(#[doc = ""] #[doc = #more]) };
    quote!(#(#[doc = #lines])* #code)
}

/// The doc comment as one text.
fn docs_text(item: &Item) -> String {
    item.docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}
