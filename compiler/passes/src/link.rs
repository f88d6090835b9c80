//! Linking: one function without calls, closures, formats or type parameters.
//!
//! In: modules as lowered from the language, the name of a function, and what a call determines ([`Bindings`]). Out: a linked
//! function with the same meaning. Arguments keep their names; a packed argument `w` becomes its fields `w.d`, `w.q`, ..; what a
//! given closure `mask` captures becomes the arguments `mask.0`, `mask.1`, ..
//!
//! A call is made once for each value of its free axes: the callee's definitions get these axes in front (those their value
//! depends on), slices compose, and calls that differ in the names of their axes only share one instance. Axes of loops are
//! no free axes: an instance inside a loop belongs to the step. Deterministic: everything is visited in order of the text.

mod body;
mod call;
mod compact;
mod format;
mod frame;
mod terms;
#[cfg(test)]
mod tests;
mod unused;

use frame::{Bound, Frame, FrameId};
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::{Arena, Entity};
use sawmill_ir::graph::{
    Closure, Dim, DimKind, Elem, Function, Input, Module, Op, Param, Require, Stmt, Tensor, TensorKind, TermId,
};
use sawmill_ir::index::{AxisId, Index, TensorId};
use std::collections::BTreeSet;
use std::fmt;

/// What a call determines about the function it calls.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    /// Values of const dims, by name.
    pub dims: Vec<(String, i64)>,
    /// Element types of type parameters, by name: plain types or formats.
    pub types: Vec<(String, Elem)>,
    /// Arguments that take their default, by name.
    pub defaults: Vec<String>,
    /// Closures, by the parameter's name: a function whose arguments are the captures, in order, and whose one closure
    /// parameter has the given closure as its default.
    pub closures: Vec<(String, Function)>,
}

/// Why a function can't be linked: a mistake in what the front end or the caller handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError {
    /// The function whose text shows it.
    pub function: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.function, self.message)
    }
}

impl std::error::Error for LinkError {}

/// Links the function called `entry`.
///
/// # Errors
/// If a callee, a format or a binding is missing or does not fit.
pub fn link<'m>(modules: &'m [Module], entry: &str, bindings: &'m Bindings) -> Result<Function, LinkError> {
    let mut linker = Linker::new(modules, entry);
    let function = linker.find(entry)?;
    linker.entry(function, bindings)?;
    unused::drop_unused(&mut linker.out);
    Ok(compact::compact(&linker.out))
}

/// Deepest nesting of calls: a program that recurses is refused by the front end, this is for hand-written text.
const MAX_CALL_DEPTH: u32 = 64;

/// The state of linking.
struct Linker<'m> {
    modules: &'m [Module],
    entry: String,
    out: Function,
    /// Terms of `out`, so that equal terms are one.
    known: FxHashMap<(Op, Vec<TermId>), Vec<TermId>>,
    /// Free axes of the terms of `out`, in order.
    free: Vec<BTreeSet<AxisId>>,
    frames: Arena<FrameId, Frame<'m>>,
    /// Terms of frames that are linked already.
    memo: FxHashMap<(FrameId, TermId), TermId>,
    /// Statement lists being written, outermost first.
    blocks: Vec<Block>,
    /// Axes of `out` that count the steps of a loop.
    loops: BTreeSet<AxisId>,
    depth: u32,
}

/// A statement list being written.
#[derive(Default)]
struct Block {
    stmts: Vec<Stmt>,
    instances: FxHashMap<call::Key, call::Instance>,
}

impl<'m> Linker<'m> {
    fn new(modules: &'m [Module], entry: &str) -> Self {
        Self {
            modules,
            entry: entry.to_owned(),
            out: Function { name: entry.to_owned(), ..Function::default() },
            known: FxHashMap::default(),
            free: Vec::new(),
            frames: Arena::new(),
            memo: FxHashMap::default(),
            blocks: vec![Block::default()],
            loops: BTreeSet::new(),
            depth: 0,
        }
    }
    fn error(&self, message: impl Into<String>) -> LinkError {
        LinkError { function: self.entry.clone(), message: message.into() }
    }
    fn find(&self, name: &str) -> Result<&'m Function, LinkError> {
        let found = self.modules.iter().find_map(|module| module.function(name));
        found.ok_or_else(|| self.error(format!("calls `{name}`, which no module holds")))
    }

    /// The function that is linked: its arguments become those of `out`.
    fn entry(&mut self, function: &'m Function, bindings: &'m Bindings) -> Result<(), LinkError> {
        let mut frame = Frame::new(function);
        for (id, dim) in function.dims.iter() {
            let given = bindings.dims.iter().find(|(name, _)| *name == dim.name).map(|(_, value)| *value);
            frame.dims[id.index()] = Some(match (given, dim.kind) {
                (Some(value), _) | (None, DimKind::Const(Some(value))) => Index::int(value),
                (None, DimKind::Const(None)) => {
                    return Err(self.error(format!("const dim `{}` has no value", dim.name)));
                }
                (None, DimKind::Run) => {
                    Index::dim(self.out.dims.push(Dim { name: dim.name.clone(), kind: DimKind::Run }))
                }
            });
        }
        for param in &function.type_params {
            let given = bindings.types.iter().find(|(name, _)| *name == param.name);
            let (_, elem) = given.ok_or_else(|| self.error(format!("type `{}` is not given", param.name)))?;
            frame.types.push(elem.clone());
        }
        let frame = self.frames.push(frame);
        self.entry_params(frame, bindings)?;
        for require in &function.requires {
            let linked = match require {
                Require::Equal(a, b) => Require::Equal(self.index(frame, a)?, self.index(frame, b)?),
                Require::NonNegative(a) => Require::NonNegative(self.index(frame, a)?),
            };
            if !is_trivial(&linked) {
                self.out.requires.push(linked);
            }
        }
        self.body(frame, &function.body)?;
        for output in &function.outputs {
            let id = match self.frames[frame].tensors.get(output) {
                Some(Bound::Tensor { id, .. }) => *id,
                _ => return Err(self.error(format!("output `{}` is not defined", function.tensors[*output].name))),
            };
            self.out.outputs.push(id);
        }
        let block = self.blocks.pop().expect("the outermost block is still open");
        self.out.body = block.stmts;
        Ok(())
    }

    fn entry_params(&mut self, frame: FrameId, bindings: &'m Bindings) -> Result<(), LinkError> {
        let function = self.frames[frame].function;
        for param in &function.params {
            match param {
                Param::Tensor(id) => self.entry_tensor(frame, *id, bindings)?,
                Param::Closure(id) => {
                    let param = &function.closures[*id];
                    let given = bindings.closures.iter().find(|(name, _)| *name == param.name);
                    let closure = match given {
                        Some((name, given)) => self.given_closure(name, given)?,
                        None => {
                            let missing = || self.error(format!("closure `{}` is not given", param.name));
                            (frame, param.default.clone().ok_or_else(missing)?)
                        }
                    };
                    self.frames[frame].closures.insert(*id, closure);
                }
            }
        }
        Ok(())
    }

    fn entry_tensor(&mut self, frame: FrameId, id: TensorId, bindings: &'m Bindings) -> Result<(), LinkError> {
        let function = self.frames[frame].function;
        let tensor = &function.tensors[id];
        let TensorKind::Input(input) = &tensor.kind else {
            return Err(self.error(format!("parameter `{}` is no argument", tensor.name)));
        };
        if bindings.defaults.contains(&tensor.name) {
            let missing = || self.error(format!("`{}` has no default", tensor.name));
            let value = self.term(frame, input.default.ok_or_else(missing)?)?;
            self.frames[frame].tensors.insert(id, Bound::Fill(value));
            return Ok(());
        }
        let shape = self.indices(frame, &tensor.shape)?;
        let bound = match self.elem(frame, &tensor.elem) {
            Elem::Format(name) => self.packed_input(&tensor.name, &name, shape, input)?,
            elem => {
                let promise = input.promise.as_ref();
                let promise =
                    promise.map(|(lo, hi)| Ok((self.index(frame, lo)?, self.index(frame, hi)?))).transpose()?;
                let input = Input { default: None, promise, ..input.clone() };
                self.input(&tensor.name, elem, shape, input)
            }
        };
        self.frames[frame].tensors.insert(id, bound);
        Ok(())
    }

    /// Appends an argument to `out`.
    fn input(&mut self, name: &str, elem: Elem, shape: Vec<Index>, input: Input) -> Bound<'m> {
        let subs = vec![None; shape.len()];
        let id = self.out.tensors.push(Tensor { name: name.to_owned(), elem, shape, kind: TensorKind::Input(input) });
        self.out.params.push(Param::Tensor(id));
        Bound::Tensor { id, subs }
    }

    /// A closure given by the call: its captures become arguments.
    fn given_closure(&mut self, name: &str, given: &'m Function) -> Result<(FrameId, Closure), LinkError> {
        let closure = given.closures.values().next().and_then(|param| param.default.clone());
        let closure = closure.ok_or_else(|| self.error(format!("closure `{name}` is given without a body")))?;
        let mut frame = Frame::new(given);
        let mut captures = 0_usize;
        for param in &given.params {
            let Param::Tensor(id) = param else { continue };
            let tensor = &given.tensors[*id];
            // The sizes of a captured tensor are sizes of the call.
            let mut shape = Vec::new();
            for at in 0..tensor.shape.len() {
                let dim = Dim { name: format!("{name}.{captures}.{at}"), kind: DimKind::Run };
                let size = Index::dim(self.out.dims.push(dim));
                if let Some(sawmill_ir::index::Atom::Dim(dim)) = tensor.shape[at].as_atom() {
                    frame.dims[dim.index()] = Some(size.clone());
                }
                shape.push(size);
            }
            let bound = self.input(&format!("{name}.{captures}"), tensor.elem.clone(), shape, Input::default());
            frame.tensors.insert(*id, bound);
            captures += 1;
        }
        Ok((self.frames.push(frame), closure))
    }

    /// The element type of a definition: what a format stands for is computed, not packed.
    fn defined_elem(&self, frame: FrameId, elem: &Elem) -> Elem {
        match self.elem(frame, elem) {
            Elem::Format(_) => Elem::Type(DType::F32),
            other => other,
        }
    }

    /// The element type `elem` of a frame's function, type parameters replaced.
    fn elem(&self, frame: FrameId, elem: &Elem) -> Elem {
        match elem {
            Elem::Param(at) => self.frames[frame].types[*at as usize].clone(),
            other => other.clone(),
        }
    }
}

/// Whether a requirement holds for all sizes.
fn is_trivial(require: &Require) -> bool {
    match require {
        Require::Equal(a, b) => a == b,
        Require::NonNegative(a) => a.as_int().is_some_and(|value| value >= 0),
    }
}
