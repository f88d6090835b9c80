//! Imported items: signatures without bodies, with what their closures are given.

use super::elab::Elab;
use super::format::check_format;
use super::items::{Callable, Given, Items};
use super::show;
use crate::ast::{File, ItemKind, Name, Range};
use crate::errors::Diagnostics;
use crate::parse::ExportNotes;
use sawmill_ir::dtype::DType;
use sawmill_ir::index::Index;
use std::collections::BTreeMap;

/// Takes an exported item and the types it names into the tables.
pub fn check_imported(file: &File, notes: &ExportNotes, items: &mut Items, errors: &mut Diagnostics) {
    for item in &file.items {
        match &item.kind {
            ItemKind::Struct(record) => {
                items.structs.insert(record.name.text.clone(), record.clone());
            }
            ItemKind::Cache(cache) => {
                items.caches.insert(cache.name.text.clone(), cache.clone());
            }
            ItemKind::Extern(signature) => {
                let mut elab = Elab::new(items, errors);
                let (params, outputs) = elab.signature(signature);
                let given: Vec<Vec<Given>> = notes.given.iter().map(|of_one| elab.given_as_written(of_one)).collect();
                let mut pushes = BTreeMap::new();
                for (cache, count) in &notes.pushes {
                    pushes.insert(cache.clone(), count.as_ref().and_then(|count| elab.size(count)));
                }
                let mut heading = elab.function;
                for (id, given) in heading.closures.keys().zip(&given) {
                    heading.closures[id].params = given.iter().map(|(dtype, _)| *dtype).collect();
                }
                let callable = Callable { heading, params, outputs, given, pushes };
                items.functions.insert(signature.name.text.clone(), callable);
            }
            ItemKind::Format(format) => {
                let checked = check_format(items, format, errors);
                items.formats.extend(checked.map(|checked| (format.name.text.clone(), checked)));
            }
            ItemKind::Function(_) | ItemKind::Use(_) => {}
        }
    }
}

impl Elab<'_> {
    fn given_as_written(&mut self, given: &[(Name, Option<Range>)]) -> Vec<Given> {
        let one = |(dtype, range): &(Name, Option<Range>)| {
            let dtype = self.dtype(dtype).unwrap_or(DType::I64);
            let range = range.as_ref().and_then(|range| Some((self.size(&range.lo)?, self.size(&range.hi)?)));
            (dtype, range)
        };
        given.iter().map(one).collect()
    }
}

/// What callers must know beyond the signature, as an export carries it: what closures are given, and which caches grow.
pub fn export_notes(callable: &Callable) -> String {
    let heading = &callable.heading;
    let one = |(dtype, range): &Given| match range {
        Some((lo, hi)) => format!("{dtype} in {}..{}", show::index(heading, lo), show::index(heading, hi)),
        None => dtype.to_string(),
    };
    let of_one = |given: &Vec<Given>| format!("[{}]", given.iter().map(one).collect::<Vec<_>>().join(", "));
    let given = callable.given.iter().map(of_one).collect::<Vec<_>>().join(", ");
    let push = |(cache, count): (&String, &Option<Index>)| match count {
        Some(count) => format!("{cache} in 0..{}", show::index(heading, count)),
        None => cache.clone(),
    };
    let pushes = callable.pushes.iter().map(push).collect::<Vec<_>>().join(", ");
    format!("given [{given}] pushes [{pushes}]")
}
