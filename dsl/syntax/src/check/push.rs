//! Appending to a cache.

use super::elab::{Elab, Facts};
use super::formula::Formula;
use super::grown::Longer;
use super::read::Base;
use super::scope::Record;
use crate::ast::{Expr, Place, Push};
use crate::errors::{Loc, Problem};
use sawmill_ir::graph::{Tensor, TensorKind};
use sawmill_ir::index::{Index, TensorId};
use std::collections::BTreeMap;

impl Elab<'_> {
    /// `push kv[s in 0..S] { k[h, s, c] = .., v[h, s, c] = .. }`
    pub(crate) fn push(&mut self, push: &Push) {
        let Some(record) = self.pushed_cache(push) else { return };
        let bodies: Vec<&Expr> = push.fields.iter().map(|(_, value)| value).collect();
        let range = match &push.index.range {
            Some(range) => self.stated(range),
            None => self.inferred(&push.index, &bodies).map(|size| (Index::int(0), size)),
        };
        let Some((_, count)) = range else { return };
        let mut fields = BTreeMap::new();
        for (place, value) in &push.fields {
            fields.extend(self.appended(&record, push, place, value, &count));
        }
        let items = self.items;
        let declared = items.caches.get(&record.ty).map(|cache| cache.fields.as_slice()).unwrap_or_default();
        for field in declared {
            if push.fields.iter().all(|(place, _)| place.name.text != field.name.text) {
                let problem = Problem::PushField { cache: record.prefix.clone(), field: field.name.text.clone() };
                self.errors.report(Loc::at(push.span), problem);
            }
        }
        let Some(length) = self.lengths.get(&record.prefix).map(|length| length.add(&count)) else { return };
        let known = self.grown.get_mut(&record.prefix);
        if let Some(grown) = known.and_then(|known| known.iter_mut().find(|grown| grown.at == record.at)) {
            grown.now = Some(Longer { fields, length });
        }
    }

    fn pushed_cache(&mut self, push: &Push) -> Option<Record> {
        let loc = push.cache.loc;
        self.entries_in_range(&push.cache);
        let record = match self.base_of(&push.cache) {
            Some(Base::Record(record)) if self.items.caches.contains_key(&record.ty) => record,
            Some(_) => {
                self.errors.report(loc, Problem::ArgumentSort { name: "push".into(), wanted: "a cache".into() });
                return None;
            }
            None => {
                self.no_base(&push.cache);
                return None;
            }
        };
        if record.is_list() {
            let wanted = format!("one cache: `{}[l][s in ..]`", record.prefix);
            self.errors.report(loc, Problem::ArgumentSort { name: "push".into(), wanted });
            return None;
        }
        self.appends(&record, 0, loc).then_some(record)
    }

    fn appended(
        &mut self,
        record: &Record,
        push: &Push,
        place: &Place,
        value: &Expr,
        count: &Index,
    ) -> Option<(String, TensorId)> {
        let dotted = format!("{}.{}", record.prefix, place.name.text);
        let Some((base, dim)) = self.slab(record, &place.name.text) else {
            let problem = Problem::NoMember {
                of: format!("`{}`", record.ty),
                name: place.name.text.clone(),
                help: String::new(),
            };
            self.errors.report(place.name.loc(), problem);
            return None;
        };
        let Tensor { elem, shape, .. } = self.function.tensors[base].clone();
        let mut shape = shape[record.at.len()..].to_vec();
        let indices = place.indices.clone().unwrap_or_default();
        if indices.len() != shape.len() {
            let problem = Problem::Rank { name: dotted, wanted: shape.len(), found: indices.len() };
            self.errors.report(place.name.loc(), problem);
            return None;
        }
        if indices[dim as usize].name.text != push.index.name.text {
            let wanted = format!("`{}` on the axis that grows", push.index.name.text);
            let found = format!("`{}`", indices[dim as usize].name.text);
            let problem =
                Problem::Expected { what: wanted, found, help: "write the axes in the order of the cache".into() };
            self.errors.report(indices[dim as usize].name.loc(), problem);
            return None;
        }
        let (mark, facts) = (self.scope.mark(), self.facts.len());
        let mut axes = Vec::new();
        for (at, index) in indices.iter().enumerate() {
            let size = if at == dim as usize { count } else { &shape[at] };
            axes.extend(self.bind_index(index, Some(size), &[value]).map(|bound| bound.axis));
        }
        let value = self.value(value);
        self.present(&value, &format!("`{dotted}`"));
        let term = self.written(&value, &elem, &dotted);
        self.scope.leave(mark);
        self.facts.truncate(facts);
        if value.is_poison() || axes.len() != shape.len() {
            return None;
        }
        shape[dim as usize] = shape[dim as usize].add(count);
        let kind = TensorKind::Append { base, at: record.at.clone(), dim, axes, value: term };
        let id = self.define(Tensor { name: dotted, elem, shape, kind });
        self.tensors.insert(id, Facts { presence: Formula::True, axes: Vec::new(), exact: None, bounds: None });
        Some((place.name.text.clone(), id))
    }
}
