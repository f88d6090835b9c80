//! Rounds of expansion, and what imports bring in.
//!
//! `arch! { use zoo::rms_norm; .. }` expands to `zoo::rms_norm! { [::sawmill::arch] @round { block } }`, and that to
//! `::sawmill::arch! { @round { block } { signature } }`, until nothing is left to import.

use crate::ast::{File, Import, Item, ItemKind};
use crate::check::{Items, check_imported};
use crate::errors::{Diagnostics, Problem};
use crate::parse::parse_exported;
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;
use std::collections::BTreeMap;

/// One round of expansion.
pub(crate) struct Round {
    /// The block as written.
    pub(crate) block: TokenStream,
    /// The signatures that earlier rounds brought in, in order of the imports.
    pub(crate) imported: Vec<TokenStream>,
}

impl Round {
    /// Takes apart the tokens of the macro.
    pub(crate) fn of(tokens: TokenStream) -> Round {
        let mut trees = tokens.clone().into_iter();
        let marked = matches!(trees.next(), Some(TokenTree::Punct(at)) if at.as_char() == '@')
            && matches!(trees.next(), Some(TokenTree::Ident(word)) if word == "round");
        if !marked {
            return Round { block: tokens, imported: Vec::new() };
        }
        let mut groups = trees.filter_map(|tree| match tree {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        });
        Round { block: groups.next().unwrap_or_default(), imported: groups.collect() }
    }

    /// Asks for the next import.
    pub(crate) fn ask(&self, next: &Import) -> TokenStream {
        let path = path_of(next);
        let block = Group::new(Delimiter::Brace, self.block.clone());
        let imported = self.imported.iter().map(|stream| Group::new(Delimiter::Brace, stream.clone()));
        quote!(#path! { [::sawmill::arch] @round #block #(#imported)* })
    }
}

/// The Rust path of an import.
pub(crate) fn path_of(import: &Import) -> TokenStream {
    let mut path = TokenStream::new();
    for (number, segment) in import.path.iter().enumerate() {
        if segment.text.is_empty() {
            continue;
        }
        let separator = if number > 0 { quote!(::) } else { TokenStream::new() };
        let ident = path_ident(&segment.text, segment.span);
        path.extend(quote!(#separator #ident));
    }
    path
}

fn path_ident(text: &str, span: Span) -> Ident {
    Ident::new(text, span)
}

/// Everything imported.
#[derive(Default)]
pub(crate) struct Imported {
    /// What the block can name.
    pub(crate) items: Items,
    /// Rust paths by name.
    pub(crate) paths: BTreeMap<String, TokenStream>,
}

impl Imported {
    /// Reads the exported signatures; each stands under the name that its import gives it.
    pub(crate) fn read(imports: &[&Import], exported: &[TokenStream], errors: &mut Diagnostics) -> Imported {
        let mut imported = Imported::default();
        for (import, tokens) in imports.iter().zip(exported) {
            let (mut file, notes, parse_errors) = parse_exported(tokens.clone());
            if !parse_errors.is_empty() {
                let text = format!("`{}` was exported by another version of sawmill", import.name.text);
                errors.report(import.name.loc(), Problem::Syntax { text });
                continue;
            }
            rename_last(&mut file, import);
            check_imported(&file, &notes, &mut imported.items, errors);
            imported.paths.insert(import.name.text.clone(), path_of(import));
        }
        imported
    }
}

/// The item itself is the last of what it was exported with.
fn rename_last(file: &mut File, import: &Import) {
    let Some(Item { kind, .. }) = file.items.last_mut() else { return };
    let name = match kind {
        ItemKind::Function(function) => &mut function.signature.name,
        ItemKind::Extern(signature) => &mut signature.name,
        ItemKind::Struct(record) => &mut record.name,
        ItemKind::Cache(cache) => &mut cache.name,
        ItemKind::Format(format) => &mut format.name,
        ItemKind::Use(_) => return,
    };
    *name = import.name.clone();
}
