//! Tree to graph IR: names, ranks, types, ranges, presence are checked, and what is checked is built in the same walk.
//!
//! In: a parsed block and what it imports. Out: a graph-IR function per function without errors, a heading per signature
//! that parsed, every error found. Rules: docs/language.md.

mod bind;
mod builtin;
mod call;
mod carry_sizes;
mod closure;
mod collect;
mod compact;
mod elab;
mod exact;
mod expr;
mod format;
mod formula;
mod function;
mod grown;
mod host;
mod imported;
mod infer;
mod items;
mod loops;
mod numbers;
mod order;
mod partial;
mod position;
mod promise;
mod prove;
mod push;
mod read;
mod reduce;
mod scope;
mod show;
mod signature;
mod stmt;
mod value;

pub use host::{AtLeast, Resolved, check_host_closure};
pub use imported::{check_imported, export_notes};
pub use items::{Callable, Given, Items, Output, Parameter, ParameterKind};

use crate::ast::{File, Function, ItemKind, Name};
use crate::errors::{Diagnostic, Diagnostics, Problem};
use elab::Elab;
use format::check_format;
use function::check_function;
use sawmill_ir::graph::Function as IrFunction;
use std::collections::{BTreeMap, BTreeSet};

/// A checked block.
#[derive(Debug, Default)]
pub struct Block {
    /// What the block declares and imports.
    pub items: Items,
    /// The graph IR of every function without errors.
    pub functions: BTreeMap<String, IrFunction>,
    /// Functions and records whose declaration itself is wrong: nothing can be made of them.
    pub unsound: BTreeSet<String>,
}

/// Checks a block. `imported` holds what its `use` items bring in.
pub fn check_file(file: &File, imported: Items) -> (Block, Diagnostics) {
    let mut errors = Diagnostics::default();
    let mut block = Block { items: imported, ..Block::default() };
    let mut names: BTreeMap<String, Name> = BTreeMap::new();
    let mut functions: Vec<&Function> = Vec::new();
    for item in &file.items {
        match &item.kind {
            ItemKind::Function(function) => {
                if distinct(&function.signature.name, &mut names, &mut errors) {
                    functions.push(function);
                }
            }
            ItemKind::Struct(record) => {
                if distinct(&record.name, &mut names, &mut errors) {
                    block.items.structs.insert(record.name.text.clone(), record.clone());
                }
            }
            ItemKind::Cache(cache) => {
                if distinct(&cache.name, &mut names, &mut errors) {
                    block.items.caches.insert(cache.name.text.clone(), cache.clone());
                }
            }
            ItemKind::Format(format) => {
                if distinct(&format.name, &mut names, &mut errors)
                    && let Some(checked) = check_format(&block.items, format, &mut errors)
                {
                    block.items.formats.insert(format.name.text.clone(), checked);
                }
            }
            ItemKind::Extern(signature) => {
                errors.report(signature.name.loc(), Problem::NotBuilt { what: "`extern`".into() });
            }
            ItemKind::Use(imports) => {
                for import in imports {
                    distinct(&import.name, &mut names, &mut errors);
                }
            }
        }
    }
    block.unsound = unsound_records(&block.items, file, &mut errors);
    for (function, cyclic) in order::callees_first(&functions, &mut errors) {
        let name = function.signature.name.text.clone();
        let checked = check_function(&block.items, function, cyclic, &mut errors);
        if !checked.heading_is_sound {
            block.unsound.insert(name.clone());
        }
        block.items.functions.insert(name.clone(), checked.callable);
        block.functions.extend(checked.function.map(|function| (name, function)));
    }
    (block, errors.distinct())
}

/// Fields of structs and caches have types over their own dims; the names of those that have not.
fn unsound_records(items: &Items, file: &File, errors: &mut Diagnostics) -> BTreeSet<String> {
    let mut unsound = BTreeSet::new();
    for item in &file.items {
        let (name, dims) = match &item.kind {
            ItemKind::Struct(record) => (&record.name, &record.dims),
            ItemKind::Cache(cache) => (&cache.name, &cache.dims),
            _ => continue,
        };
        let known = errors.list().len();
        Elab::new(items, errors).declared_record(name, dims);
        if errors.list().len() > known {
            unsound.insert(name.text.clone());
        }
    }
    unsound
}

fn distinct(name: &Name, names: &mut BTreeMap<String, Name>, errors: &mut Diagnostics) -> bool {
    if let Some(first) = names.get(&name.text) {
        let help = "items of a block have distinct names".to_string();
        let problem = Problem::Taken { name: name.text.clone(), by: "an item".into(), help };
        errors.push(Diagnostic::new(name.loc(), problem).with_note(first.loc(), "the first one"));
        return false;
    }
    names.insert(name.text.clone(), name.clone());
    true
}
