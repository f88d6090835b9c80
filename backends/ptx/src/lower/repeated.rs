//! Values that are computed twice are computed once.
//!
//! In: a verified kernel. Out: a kernel of the same meaning in which no two instructions of a region are alike, and none that gives a
//! scalar is like one around it; tiles that outer regions computed would take registers of whole loops. Loads count if nothing in
//! the kernel writes their memory: a row that is read for its sum and for its result is read once.

use sawmill_ir::tile::{Access, Inst, Kernel, Op, Region, Value};
use std::collections::BTreeMap;

/// The kernel without repetitions.
pub(super) fn repeated(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    let mut body = std::mem::take(&mut kernel.body);
    let mut pass = Pass { kernel: &kernel, known: Vec::new(), same: BTreeMap::new() };
    pass.region(&mut body);
    kernel.body = body;
    kernel.compact()
}

struct Pass<'k> {
    kernel: &'k Kernel,
    /// By the arguments of instructions, those of the open regions.
    known: Vec<BTreeMap<Vec<Value>, Vec<Inst>>>,
    same: BTreeMap<Value, Value>,
}

impl Pass<'_> {
    fn region(&mut self, region: &mut Region) {
        self.known.push(BTreeMap::new());
        let insts = std::mem::take(&mut region.insts);
        for mut inst in insts {
            self.replace(&mut inst.args);
            if self.is_pure(&inst) {
                if let Some(before) = self.find(&inst) {
                    self.same.insert(inst.results[0], before);
                    continue;
                }
                if let Some(known) = self.known.last_mut() {
                    known.entry(inst.args.clone()).or_default().push(inst.clone());
                }
            }
            match &mut inst.op {
                Op::For { phases, body, .. } => {
                    for phase in phases {
                        phase.lo = self.of(phase.lo);
                        phase.hi = self.of(phase.hi);
                    }
                    self.region(body);
                }
                Op::If { then, otherwise } => {
                    self.region(then);
                    self.region(otherwise);
                }
                _ => {}
            }
            region.insts.push(inst);
        }
        self.replace(&mut region.yields);
        self.known.pop();
    }
    fn of(&self, value: Value) -> Value {
        self.same.get(&value).copied().unwrap_or(value)
    }
    fn replace(&self, values: &mut [Value]) {
        for value in values {
            *value = self.of(*value);
        }
    }
    fn is_pure(&self, inst: &Inst) -> bool {
        // Tiles of positions and conditions take more registers than making them again takes time.
        let cheap = |value: &Value| {
            let ty = &self.kernel.values[*value];
            !ty.axes.is_empty() && !ty.dtype.is_float()
        };
        if inst.results.iter().any(cheap) {
            return false;
        }
        match &inst.op {
            Op::Load { mem, .. } => self.kernel.memory[*mem].access == Access::In,
            Op::Store { .. } | Op::Mma { .. } | Op::For { .. } | Op::If { .. } => false,
            _ => inst.results.len() == 1,
        }
    }
    fn find(&self, inst: &Inst) -> Option<Value> {
        let alike = |other: &&Inst| {
            other.op == inst.op && self.kernel.values[other.results[0]] == self.kernel.values[inst.results[0]]
        };
        let scalar = self.kernel.values[inst.results[0]].axes.is_empty();
        let regions = if scalar { usize::MAX } else { 1 };
        let known = self.known.iter().rev().take(regions).filter_map(|known| known.get(&inst.args));
        known.flatten().find(alike).map(|other| other.results[0])
    }
}
