//! Caches after they were appended to, by this function or by one that it calls.
//!
//! A name means the old cache up to the statement that appends, and the new one after it. Of a list of caches, one entry is appended
//! to; which one a read means must be known.

use super::call::{Built, at_dims};
use super::elab::{Elab, Facts};
use super::formula::Formula;
use super::items::{Callable, computes_in};
use super::scope::Record;
use crate::errors::{Loc, Problem};
use sawmill_ir::graph::{CallResult, Elem, Op, Tensor, TensorKind};
use sawmill_ir::index::{AxisId, DimId, Index, TensorId};
use std::collections::BTreeMap;

/// A cache, or an entry of a list of caches, that was appended to.
#[derive(Clone, Debug)]
pub(crate) struct Grown {
    /// Which entry; empty for a cache that is in no list.
    pub(crate) at: Vec<Index>,
    /// The statement that appends through a call; 0 for one that appends by itself.
    pub(crate) statement: usize,
    /// What it is now, once the statement is over; `None` if that is not known.
    pub(crate) now: Option<Longer>,
}

/// What a cache is after an append.
#[derive(Clone, Debug)]
pub(crate) struct Longer {
    /// Its tensors by field.
    pub(crate) fields: BTreeMap<String, TensorId>,
    /// How many positions it holds.
    pub(crate) length: Index,
}

/// A call that appends to a cache, until the end of its statement.
pub(crate) struct Pending {
    record: Record,
    fields: Vec<String>,
    function: String,
    param: String,
    built: Built,
    dims: Vec<(String, Index)>,
    count: Option<Index>,
}

impl Elab<'_> {
    /// Notes that a cache is appended to in statement `statement` (0: by this function itself); false if it was before, or would
    /// be in every step of a loop.
    pub(crate) fn appends(&mut self, record: &Record, statement: usize, loc: Loc) -> bool {
        let each_step = |axis: &&AxisId| !record.at.iter().any(|at| at.linear_in(**axis).is_some_and(|(c, _)| c != 0));
        if let Some(axis) = self.loops.iter().find(each_step) {
            let index = self.function.axes[*axis].name.clone();
            self.errors.report(loc, Problem::PushedInLoop { cache: record.prefix.clone(), index });
            return false;
        }
        let known = self.grown.entry(record.prefix.clone()).or_default();
        if known.iter().any(|grown| grown.at == record.at && grown.statement == statement && statement > 0) {
            return true;
        }
        let again = known.iter().any(|grown| !differ(&grown.at, &record.at));
        known.push(Grown { at: record.at.clone(), statement, now: None });
        if again {
            self.errors.report(loc, Problem::PushedTwice { cache: record.prefix.clone() });
        }
        !again
    }

    /// The cache as it is now, if it is known to have been appended to before this statement.
    pub(crate) fn longer(&self, record: &Record) -> Option<&Longer> {
        let known = self.grown.get(&record.prefix)?;
        known.iter().find(|grown| grown.at == record.at).and_then(|grown| grown.now.as_ref())
    }

    /// Reports a use of a cache of which is not known what it is now.
    pub(crate) fn known_entry(&mut self, record: &Record, loc: Loc) -> bool {
        let open = |grown: &Grown| match &grown.now {
            None => self.statement != grown.statement || grown.statement == 0,
            Some(_) => grown.at != record.at,
        };
        let known = self.grown.get(&record.prefix).map(Vec::as_slice).unwrap_or_default();
        let unknown = known.iter().any(|grown| open(grown) && !differ(&grown.at, &record.at));
        if unknown {
            let what = if record.at.is_empty() && !record.is_list() {
                format!("reading `{}` after what was appended to it", record.prefix)
            } else {
                format!("reading `{}` after appending to what may be another of its entries", record.prefix)
            };
            self.errors.report(loc, Problem::NotBuilt { what });
        }
        !unknown
    }

    /// Notes a call that appends to `record`, which is given to its parameter `param`.
    pub(crate) fn pending_call(
        &mut self,
        callee: &Callable,
        (param, fields): (&str, &[(String, TensorId)]),
        record: Record,
        dims: &BTreeMap<DimId, Index>,
    ) {
        let count = callee.pushes.get(param).cloned().flatten().map(|count| at_dims(&count, dims));
        let fields = fields.iter().map(|(suffix, _)| suffix.clone()).collect();
        let function = callee.heading.name.clone();
        let dims = Vec::new();
        let pending =
            Pending { record, fields, function, param: param.to_string(), built: Built::default(), dims, count };
        self.pending.push(pending);
    }

    /// Completes the calls noted since `from` by their arguments.
    pub(crate) fn pending_built(&mut self, from: usize, name: &str, built: &Built, dims: &[(String, Index)]) {
        for pending in &mut self.pending[from..] {
            pending.function = name.to_string();
            pending.built = built.clone();
            pending.dims = dims.to_vec();
        }
    }

    /// At the end of a statement names mean the caches as its calls left them.
    pub(crate) fn statement_over(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let known = self.grown.get(&pending.record.prefix).map(Vec::as_slice).unwrap_or_default();
            let Some(place) = known.iter().position(|g| g.at == pending.record.at && g.now.is_none()) else { continue };
            let now = self.after_call(&pending);
            if let Some(known) = self.grown.get_mut(&pending.record.prefix) {
                known[place].now = now;
            }
        }
    }

    fn after_call(&mut self, call: &Pending) -> Option<Longer> {
        let count = call.count.clone().filter(|_| !call.record.is_list())?;
        let mut fields = BTreeMap::new();
        for suffix in &call.fields {
            let (base, dim) = self.slab(&call.record, suffix)?;
            let Tensor { name, elem, shape, .. } = self.function.tensors[base].clone();
            let mut shape = shape[call.record.at.len()..].to_vec();
            shape[dim as usize] = shape[dim as usize].add(&count);
            let axes: Vec<AxisId> = shape.iter().map(|size| self.axis("a", size.clone())).collect();
            let subs = axes.iter().map(|axis| Index::axis(*axis)).collect();
            let op = Op::Call {
                function: call.function.clone(),
                output: CallResult::After(format!("{}.{suffix}", call.param)),
                subs,
                args: call.built.args.clone(),
                dims: call.dims.clone(),
            };
            let value = self.term(op, call.built.operands.clone(), computes_in(&self.function, &elem));
            let rounded = !matches!(&elem, Elem::Type(dtype) if dtype.is_compute());
            let kind = TensorKind::Def { axes, value, rounded };
            let id = self.define(Tensor { name, elem, shape, kind });
            self.tensors.insert(id, Facts { presence: Formula::True, axes: Vec::new(), exact: None, bounds: None });
            fields.insert(suffix.clone(), id);
        }
        let length = self.lengths.get(&call.record.prefix)?.add(&count);
        Some(Longer { fields, length })
    }

    /// The tensor of a cache's field as it was given, and the dimension of an entry that grows.
    pub(crate) fn slab(&self, record: &Record, suffix: &str) -> Option<(TensorId, u32)> {
        let base = *self.fields.get(&format!("{}.{suffix}", record.prefix))?;
        let TensorKind::Input(input) = &self.function.tensors[base].kind else { return None };
        let lead = u32::try_from(record.at.len()).ok()?;
        Some((base, input.grows?.checked_sub(lead)?))
    }

    /// At the end of a loop over `axis`: which entries its steps appended to has no name any more.
    pub(crate) fn entries_forgotten(&mut self, axis: AxisId) {
        for grown in self.grown.values_mut().flatten() {
            if grown.at.iter().any(|at| at.axes().contains(&axis)) {
                grown.now = None;
                grown.statement = 0;
            }
        }
    }

    /// The caches that are appended to, each with the number of positions if callers can know it.
    pub(crate) fn pushes(&self) -> BTreeMap<String, Option<Index>> {
        let count = |prefix: &String, grown: &[Grown]| match grown {
            [Grown { at, now: Some(now), .. }] if at.is_empty() => {
                let count = now.length.sub(self.lengths.get(prefix)?);
                let mut sized = true;
                count.for_each_atom(&mut |atom| sized &= !matches!(atom, sawmill_ir::index::Atom::Read(..)));
                sized.then_some(count)
            }
            _ => None,
        };
        self.grown.iter().map(|(prefix, grown)| (prefix.clone(), count(prefix, grown))).collect()
    }
}

/// Whether two entries of a list are certainly not the same.
fn differ(one: &[Index], other: &[Index]) -> bool {
    one.len() == other.len() && one.iter().zip(other).any(|(a, b)| a.sub(b).as_int().is_some_and(|by| by != 0))
}
