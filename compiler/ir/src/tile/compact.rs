//! Removes what a kernel computes for nothing and numbers values in order of definition.
//!
//! In: a verified kernel. Out: one with the same stores, without instructions and axes that nothing uses. Only stores have
//! effects; a loop or a branch stays if it stores or if one of its results is used.

use super::{AxisId, Inst, Kernel, Op, Region, Subscript, Type, Value};
use crate::entity::{Arena, Entity as _};
use std::collections::{BTreeMap, BTreeSet};

impl Kernel {
    /// The kernel without what nothing uses.
    #[must_use]
    pub fn compact(&self) -> Self {
        let mut used = BTreeSet::new();
        let body = keep(&self.body, &mut used);
        let mut pass = Renumber { old: self, values: BTreeMap::new(), axes: BTreeMap::new(), new: self.clone() };
        pass.new.values = Arena::new();
        pass.new.axes = Arena::new();
        let body = pass.region(&body);
        Self { body, ..pass.new }
    }
}

/// The instructions of a region that store or whose results are in `used`, from the last to the first; adds what they use.
fn keep(region: &Region, used: &mut BTreeSet<Value>) -> Region {
    used.extend(&region.yields);
    let mut insts = Vec::new();
    for inst in region.insts.iter().rev() {
        if !stores(inst) && !inst.results.iter().any(|v| used.contains(v)) {
            continue;
        }
        used.extend(&inst.args);
        let mut inst = inst.clone();
        match &mut inst.op {
            Op::For { phases, body, .. } => {
                used.extend(phases.iter().flat_map(|p| [p.lo, p.hi]));
                *body = keep(body, used);
            }
            Op::If { then, otherwise } => {
                *then = keep(then, used);
                *otherwise = keep(otherwise, used);
            }
            _ => {}
        }
        insts.push(inst);
    }
    insts.reverse();
    Region { insts, yields: region.yields.clone() }
}

fn stores(inst: &Inst) -> bool {
    match &inst.op {
        Op::Store { .. } => true,
        Op::For { body, .. } => body.insts.iter().any(stores),
        Op::If { then, otherwise } => then.insts.iter().chain(&otherwise.insts).any(stores),
        _ => false,
    }
}

struct Renumber<'a> {
    old: &'a Kernel,
    values: BTreeMap<Value, Value>,
    axes: BTreeMap<AxisId, AxisId>,
    new: Kernel,
}

impl Renumber<'_> {
    fn axis(&mut self, axis: &mut AxisId) {
        let new = &mut self.new.axes;
        let old = &self.old.axes[*axis];
        *axis = *self.axes.entry(*axis).or_insert_with(|| new.push(old.clone()));
    }
    fn define(&mut self, value: &mut Value) {
        let mut ty = self.old.values[*value].clone();
        ty.axes.iter_mut().for_each(|a| self.axis(a));
        let new = self.new.values.push(Type::tile(ty.dtype, ty.axes));
        self.values.insert(*value, new);
        *value = new;
    }
    fn reuse(&self, value: &mut Value) {
        // An unverified kernel may use what is not defined; the number then stays, for the verifier to find.
        *value = self.values.get(value).copied().unwrap_or_else(|| Value::new(self.old.values.len() + value.index()));
    }
    fn region(&mut self, region: &Region) -> Region {
        let mut region = region.clone();
        region.insts.iter_mut().for_each(|inst| self.inst(inst));
        region.yields.iter_mut().for_each(|v| self.reuse(v));
        region
    }
    fn inst(&mut self, inst: &mut Inst) {
        inst.args.iter_mut().for_each(|v| self.reuse(v));
        match &mut inst.op {
            Op::Coord(axis) | Op::Slice(axis) => self.axis(axis),
            Op::Rename(pairs) => pairs.iter_mut().for_each(|(a, b)| {
                self.axis(a);
                self.axis(b);
            }),
            Op::Mma { over } | Op::Reduce { over, .. } => over.iter_mut().for_each(|a| self.axis(a)),
            Op::Load { subs, .. } | Op::Store { subs, .. } => {
                for sub in subs {
                    if let Subscript::Affine(terms) = sub {
                        terms.iter_mut().for_each(|(a, _)| self.axis(a));
                    }
                }
            }
            Op::For { phases, params, body, .. } => {
                for phase in phases {
                    self.reuse(&mut phase.lo);
                    self.reuse(&mut phase.hi);
                }
                params.iter_mut().for_each(|v| self.define(v));
                *body = self.region(body);
            }
            Op::If { then, otherwise } => {
                *then = self.region(then);
                *otherwise = self.region(otherwise);
            }
            Op::Const(_) | Op::Size(_) | Op::Grid(_) | Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) => {}
        }
        inst.results.iter_mut().for_each(|v| self.define(v));
    }
}
