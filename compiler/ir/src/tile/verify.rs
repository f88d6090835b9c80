//! The rules of tile IR. Input: a module from a builder, a pass or a text. Output: nothing, or the first broken rule.
//!
//! Checked here: names are unique; values are defined once, before and around their uses; types follow from the operations
//! (`typing`); sizes mention dims of their owner only; launches fit their kernels; no step writes to an input or reads a
//! temporary that nothing has written; swaps exchange like with like. What depends on run-time sizes is left to `interp`:
//! two blocks that store to one element, outputs left unwritten, undefined padding that reaches a store.

use super::typing::result_types;
use super::{Access, Buffer, BufferId, BufferKind, Inst, Kernel, Launch, Module, Op, Phase, Region, Step, Type, Value};
use crate::entity::Arena;
use crate::error::VerifyError;
use crate::index::{Atom, DimId, Index};
use std::collections::BTreeSet;

type Checked = Result<(), VerifyError>;

/// Checks a module and all its kernels.
pub fn verify(module: &Module) -> Checked {
    let fail = |entity: &str, message: String| broken(&module.name, entity, message);
    distinct(module.dims.values()).map_err(|name| fail(name, "two dims have this name".to_owned()))?;
    distinct(module.buffers.values().map(|b| &b.name)).map_err(|n| fail(n, "two buffers have this name".to_owned()))?;
    distinct(module.kernels.iter().map(|k| &k.name)).map_err(|n| fail(n, "two kernels have this name".to_owned()))?;
    for buffer in module.buffers.values() {
        for size in &buffer.shape {
            sized(size, &module.dims).map_err(|rule| fail(&buffer.name, rule))?;
        }
    }
    for kernel in &module.kernels {
        verify_kernel(kernel)?;
    }
    Plan { module, vars: BTreeSet::new(), written: BTreeSet::new(), collected: BTreeSet::new() }.steps(&module.plan)
}

/// Checks one kernel.
pub fn verify_kernel(kernel: &Kernel) -> Checked {
    let fail = |entity: &str, message: &str| broken(&kernel.name, entity, message.to_owned());
    distinct(kernel.dims.values()).map_err(|n| fail(n, "two dims have this name"))?;
    distinct(kernel.memory.values().map(|m| &m.name)).map_err(|n| fail(n, "two memories have this name"))?;
    distinct(kernel.axes.values().map(|a| &a.name)).map_err(|n| fail(n, "two axes have this name"))?;
    distinct(kernel.grid.iter().map(|g| &g.0)).map_err(|n| fail(n, "two grid axes have this name"))?;
    if let Some(empty) = kernel.axes.values().find(|a| a.extent == 0) {
        return Err(fail(&empty.name, "an axis of tiles has an extent of at least 1"));
    }
    let memory = kernel.memory.values().flat_map(|m| m.shape.iter().map(move |s| (&m.name, s)));
    for (name, size) in memory.chain(kernel.grid.iter().map(|(n, s)| (n, s))) {
        sized(size, &kernel.dims).map_err(|rule| broken(&kernel.name, name, rule))?;
    }
    let types = kernel.values.iter().find(|(_, t)| !well_formed(kernel, t));
    if let Some((value, _)) = types {
        return Err(fail(
            &value.to_string(),
            "a type has a computing element type and sorted, distinct, declared axes",
        ));
    }
    let mut body = Body { kernel, defined: BTreeSet::new(), visible: Vec::new() };
    body.region(&kernel.body, &[])?;
    if !kernel.body.yields.is_empty() {
        return Err(fail("yield", "a kernel yields nothing"));
    }
    match kernel.values.keys().find(|v| !body.defined.contains(v)) {
        Some(value) => Err(fail(&value.to_string(), "has a type but no definition")),
        None => Ok(()),
    }
}

fn broken(owner: &str, entity: &str, message: String) -> VerifyError {
    VerifyError { function: owner.to_owned(), entity: entity.to_owned(), message }
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), &'a str> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(name);
        }
    }
    Ok(())
}

/// A size mentions dims of its owner only.
fn sized(size: &Index, dims: &Arena<DimId, String>) -> Result<(), String> {
    let mut foreign = None;
    size.for_each_atom(&mut |atom| match atom {
        Atom::Dim(dim) if dims.get(*dim).is_some() => {}
        Atom::Div(..) | Atom::Rem(..) | Atom::Min(..) | Atom::Max(..) | Atom::BitLength(_) => {}
        other => foreign = Some(format!("a size mentions {other:?}, which is no dim of its owner")),
    });
    foreign.map_or(Ok(()), Err)
}

fn well_formed(kernel: &Kernel, ty: &Type) -> bool {
    let sorted = ty.axes.windows(2).all(|w| w[0] < w[1]);
    sorted && ty.dtype.is_compute() && ty.axes.iter().all(|a| kernel.axes.get(*a).is_some())
}

struct Body<'a> {
    kernel: &'a Kernel,
    defined: BTreeSet<Value>,
    visible: Vec<Value>,
}

impl Body<'_> {
    fn fail(&self, entity: &str, message: String) -> VerifyError {
        broken(&self.kernel.name, entity, message)
    }

    fn region(&mut self, region: &Region, params: &[Value]) -> Checked {
        let outside = self.visible.len();
        for param in params {
            self.define(*param)?;
        }
        for inst in &region.insts {
            self.inst(inst)?;
        }
        for value in &region.yields {
            self.used(*value, "yield")?;
        }
        self.visible.truncate(outside);
        Ok(())
    }

    fn define(&mut self, value: Value) -> Checked {
        if self.kernel.values.get(value).is_none() || !self.defined.insert(value) {
            return Err(self.fail(&value.to_string(), "is defined once, and has a type".to_owned()));
        }
        self.visible.push(value);
        Ok(())
    }

    fn used(&self, value: Value, by: &str) -> Checked {
        if self.visible.contains(&value) {
            Ok(())
        } else {
            Err(self.fail(&value.to_string(), format!("is used by `{by}` where it is not defined")))
        }
    }

    fn inst(&mut self, inst: &Inst) -> Checked {
        for value in &inst.args {
            self.used(*value, inst.op.text())?;
        }
        match &inst.op {
            Op::Size(size) => {
                sized(size, &self.kernel.dims).map_err(|rule| self.fail("size", rule))?;
            }
            Op::For { phases, params, body, .. } => {
                for bound in phases.iter().flat_map(|p: &Phase| [p.lo, p.hi]) {
                    self.used(bound, "for")?;
                }
                self.region(body, params)?;
            }
            Op::If { then, otherwise } => {
                self.region(then, &[])?;
                self.region(otherwise, &[])?;
            }
            _ => {}
        }
        self.typed(inst)?;
        inst.results.iter().try_for_each(|v| self.define(*v))
    }

    fn typed(&self, inst: &Inst) -> Checked {
        let place = inst.results.first().map_or_else(|| inst.op.text().to_owned(), ToString::to_string);
        let declared: Option<Vec<Type>> = inst.results.iter().map(|v| self.kernel.values.get(*v).cloned()).collect();
        let declared = declared.ok_or_else(|| self.fail(&place, "has no type".to_owned()))?;
        let rule = |rule: String| self.fail(&place, format!("`{}`: {rule}", inst.op.text()));
        let inferred = result_types(self.kernel, &inst.op, &inst.args, &declared).map_err(rule)?;
        if inferred == declared {
            Ok(())
        } else {
            Err(rule(format!("has results of types {inferred:?}, declared are {declared:?}")))
        }
    }
}

/// The plan: which loop variables are in scope, which temporaries and outputs hold something.
struct Plan<'a> {
    module: &'a Module,
    vars: BTreeSet<DimId>,
    written: BTreeSet<BufferId>,
    /// Buffers that launches write in parts.
    collected: BTreeSet<BufferId>,
}

impl Plan<'_> {
    fn fail(&self, entity: &str, message: impl Into<String>) -> VerifyError {
        broken(&self.module.name, entity, message.into())
    }

    fn steps(&mut self, steps: &[Step]) -> Checked {
        steps.iter().try_for_each(|s| self.step(s))
    }

    fn size(&self, size: &Index, what: &str) -> Checked {
        sized(size, &self.module.dims).map_err(|rule| self.fail(what, rule))
    }

    fn buffer(&self, id: BufferId) -> Result<&Buffer, VerifyError> {
        self.module.buffers.get(id).ok_or_else(|| self.fail(&id.to_string(), "the module has no such buffer"))
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Launch(launch) => self.launch(launch),
            Step::Loop { var, count, body } => self.repeat(*var, count, body),
            Step::If { nonnegative, then, otherwise } => {
                self.size(nonnegative, "if")?;
                let before = self.written.clone();
                self.steps(then)?;
                let after_then = std::mem::replace(&mut self.written, before);
                self.steps(otherwise)?;
                self.written = self.written.intersection(&after_then).copied().collect();
                Ok(())
            }
            Step::Swap(a, b) => self.swap(*a, *b),
            Step::Scalar { dim, buffer } => self.scalar(*dim, *buffer),
        }
    }

    fn repeat(&mut self, var: DimId, count: &Index, body: &[Step]) -> Checked {
        let Some(name) = self.module.dims.get(var) else {
            return Err(self.fail("loop", "counts with a dim of the module"));
        };
        self.size(count, "loop")?;
        if !self.vars.insert(var) {
            return Err(self.fail(name, "counts a loop inside of its own loop"));
        }
        let before = self.written.clone();
        self.steps(body)?;
        // A loop without steps writes nothing; what its steps write in parts is empty then.
        self.written = self.written.intersection(&before).chain(&self.collected).copied().collect();
        self.vars.remove(&var);
        Ok(())
    }

    fn scalar(&self, dim: DimId, id: BufferId) -> Checked {
        let buffer = self.buffer(id)?;
        let Some(name) = self.module.dims.get(dim).filter(|_| !self.vars.contains(&dim)) else {
            return Err(self.fail(&buffer.name, "is read to a dim of the module that counts no loop around"));
        };
        let there = matches!(buffer.kind, BufferKind::Input { list: false }) || self.written.contains(&id);
        if !buffer.dtype.is_int() || !buffer.shape.is_empty() || !there {
            return Err(self.fail(&buffer.name, format!("is read to `{name}`, so it is one integer that is there")));
        }
        Ok(())
    }

    fn swap(&mut self, a: BufferId, b: BufferId) -> Checked {
        let (first, second) = (self.buffer(a)?, self.buffer(b)?);
        let own = |b: &Buffer| matches!(b.kind, BufferKind::Temp | BufferKind::Output);
        if !own(first) || !own(second) || first.dtype != second.dtype || first.shape != second.shape {
            return Err(self.fail(&first.name, "swaps with a buffer of the call's own that has its type and shape"));
        }
        let (had_a, had_b) = (self.written.remove(&a), self.written.remove(&b));
        self.written.extend(had_a.then_some(b).into_iter().chain(had_b.then_some(a)));
        Ok(())
    }

    fn launch(&mut self, launch: &Launch) -> Checked {
        let Some(kernel) = self.module.kernels.get(launch.kernel) else {
            return Err(self.fail("launch", "launches a kernel of the module"));
        };
        if launch.args.len() != kernel.memory.len() || launch.dims.len() != kernel.dims.len() {
            return Err(
                self.fail(&kernel.name, "is launched with one buffer for each memory and one size for each dim")
            );
        }
        for size in &launch.dims {
            self.size(size, &kernel.name)?;
        }
        let mut stored = Vec::new();
        for (memory, (id, at)) in kernel.memory.values().zip(&launch.args) {
            let buffer = self.buffer(*id)?;
            let is_list = matches!(buffer.kind, BufferKind::Input { list: true } | BufferKind::InOut { list: true });
            if buffer.dtype != memory.dtype || buffer.shape.len() != memory.shape.len() || is_list != at.is_some() {
                return Err(self.fail(&buffer.name, format!("does not fit `{}` of `{}`", memory.name, kernel.name)));
            }
            if let Some(at) = at {
                self.size(at, &buffer.name)?;
            }
            let (given, read_only) = match buffer.kind {
                BufferKind::Input { .. } => (true, true),
                BufferKind::InOut { .. } => (true, false),
                BufferKind::Output | BufferKind::Temp => (false, false),
            };
            if read_only && memory.access != Access::In {
                return Err(self.fail(&buffer.name, format!("is an input, but `{}` stores to it", kernel.name)));
            }
            let reads = matches!(memory.access, Access::In | Access::InOut);
            if !given && reads && !self.written.contains(id) {
                return Err(self.fail(&buffer.name, format!("is read by `{}` before anything is written", kernel.name)));
            }
            if memory.access != Access::In {
                stored.push(*id);
            }
            if memory.access == Access::Part {
                self.collected.insert(*id);
            }
        }
        self.aliased(kernel, launch)?;
        self.written.extend(stored);
        Ok(())
    }

    /// A buffer that a launch stores to is bound once, or the same element of a list would be reached by two names.
    fn aliased(&self, kernel: &Kernel, launch: &Launch) -> Checked {
        for (memory, (id, _)) in kernel.memory.values().zip(&launch.args) {
            let bound = launch.args.iter().filter(|(other, _)| other == id).count();
            if memory.access != Access::In && bound > 1 {
                let name = &self.buffer(*id)?.name;
                return Err(self.fail(name, format!("is stored to by `{}`, which has it under two names", kernel.name)));
            }
        }
        Ok(())
    }
}
