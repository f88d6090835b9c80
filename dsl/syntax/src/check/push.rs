//! Appending to a cache.

use super::elab::{Elab, Facts};
use super::formula::Formula;
use super::read::Base;
use super::scope::Record;
use crate::ast::{Expr, Place, Push};
use crate::errors::{Loc, Problem};
use sawmill_ir::graph::{Input, Tensor, TensorKind};
use sawmill_ir::index::{Index, TensorId};

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
        let mut grown = Vec::new();
        for (place, value) in &push.fields {
            grown.extend(self.appended(&record, push, place, value, &count));
        }
        let items = self.items;
        let fields = items.caches.get(&record.ty).map(|cache| cache.fields.as_slice()).unwrap_or_default();
        for field in fields {
            if push.fields.iter().all(|(place, _)| place.name.text != field.name.text) {
                let problem = Problem::PushField { cache: record.prefix.clone(), field: field.name.text.clone() };
                self.errors.report(Loc::at(push.span), problem);
            }
        }
        self.fields.extend(grown);
        if let Some(length) = self.lengths.get_mut(&record.prefix) {
            *length = length.add(&count);
        }
    }

    fn pushed_cache(&mut self, push: &Push) -> Option<Record> {
        let loc = push.cache.loc;
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
        if !record.at.is_empty() || record.len.is_some() || !self.loops.is_empty() {
            let what = "`push` to an entry of a list, or in a loop,".to_string();
            self.errors.report(loc, Problem::NotBuilt { what });
            return None;
        }
        self.appends(&record.prefix, 0, loc).then_some(record)
    }

    /// Notes that a cache is appended in statement `at` (0: by this function itself); false if it was before.
    pub(crate) fn appends(&mut self, prefix: &str, at: usize, loc: Loc) -> bool {
        let first = self.pushed.insert(prefix.to_string(), at);
        let once = first.is_none_or(|first| first == at && at > 0);
        if !once {
            self.errors.report(loc, Problem::PushedTwice { cache: prefix.to_string() });
        }
        once
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
        let Some(base) = self.fields.get(&dotted).copied() else {
            let problem = Problem::NoMember {
                of: format!("`{}`", record.ty),
                name: place.name.text.clone(),
                help: String::new(),
            };
            self.errors.report(place.name.loc(), problem);
            return None;
        };
        let Tensor { elem, mut shape, .. } = self.function.tensors[base].clone();
        let dim = self.grows(base)?;
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
        let kind = TensorKind::Append { base, at: Vec::new(), dim, axes, value: term };
        let id = self.define(Tensor { name: dotted.clone(), elem, shape, kind });
        self.tensors.insert(id, Facts { presence: Formula::True, axes: Vec::new(), exact: None, bounds: None });
        Some((dotted, id))
    }

    fn grows(&self, base: TensorId) -> Option<u32> {
        match &self.function.tensors[base].kind {
            TensorKind::Input(Input { grows, .. }) => *grows,
            _ => None,
        }
    }
}
