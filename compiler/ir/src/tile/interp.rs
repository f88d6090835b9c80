//! The interpreter of tile IR: runs a whole module, plan included, block by block in grid order.
//!
//! Input: a verified module, values of its dims, its arguments as dense arrays, and the precision of floats
//! ([`Precision`]). Output: arrays for outputs and updated arguments, or the first rule of the IR that this run breaks:
//! two blocks store to one element, a block reads what another one writes in the same launch, an element of an `out` memory is not
//! stored to exactly once, an output has an element that nothing wrote, an undefined value (padding, memory never written) reaches a store, a mask, a coordinate or a bound.
//! It is the executable meaning of the IR, made to be right and to find mistakes, not to be fast.

mod access;
mod array;
mod block;
mod contract;
mod scalar;
mod tile;

pub use array::{Array, Data};

use super::{Access, BufferId, BufferKind, Kernel, Launch, Module, Step};
use crate::entity::{Arena, Entity as _};
use crate::index::{Atom, DimId, Index};
use block::Block;
use std::fmt;

/// How floats are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `f32` values keep the precision of f64, in tiles and in memory; narrower types are rounded where the IR says so.
    F64,
    /// Every result of type `f32` is rounded to it.
    F32,
}

/// A rule that a run broke, or arguments that do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterpError {
    /// The kernel and block, or the module.
    pub place: String,
    /// Which rule, how.
    pub message: String,
}

impl fmt::Display for InterpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for InterpError {}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Products that `mma`s added up: what was skipped is not among them.
    pub multiply_adds: u64,
}

/// What a step of the interpreter gives.
type Ran<T> = Result<T, InterpError>;

/// The value of a size expression.
pub(super) fn size(size: &Index, dims: &[i64]) -> Option<i64> {
    size.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => dims.get(dim.index()).copied(),
        _ => None,
    })
}

/// Runs `module`. `buffers` has one entry per buffer of the module: the elements of a list, one array otherwise. Entries of
/// outputs and temporaries may be empty; afterwards outputs are there and temporaries are gone.
pub fn run(module: &Module, dims: &[i64], buffers: &mut Vec<Vec<Array>>, precision: Precision) -> Ran<Work> {
    let fail = |message: String| InterpError { place: module.name.clone(), message };
    if dims.len() != module.dims.len() || buffers.len() != module.buffers.len() {
        let (d, b) = (module.dims.len(), module.buffers.len());
        return Err(fail(format!("takes {d} dims and {b} buffers, not {} and {}", dims.len(), buffers.len())));
    }
    let mut machine =
        Machine { module, dims: dims.to_vec(), buffers: std::mem::take(buffers), precision, work: Work::default() };
    machine.prepare()?;
    machine.steps(&module.plan)?;
    *buffers = machine.buffers;
    for (id, buffer) in module.buffers.iter() {
        match buffer.kind {
            BufferKind::Temp => buffers[id.index()].clear(),
            BufferKind::Output if !buffers[id.index()].iter().all(Array::is_defined) => {
                return Err(fail(format!("output `{}` was not written in full", buffer.name)));
            }
            _ => {}
        }
    }
    Ok(machine.work)
}

struct Machine<'a> {
    module: &'a Module,
    dims: Vec<i64>,
    buffers: Vec<Vec<Array>>,
    precision: Precision,
    work: Work,
}

impl Machine<'_> {
    fn fail<T>(&self, message: String) -> Ran<T> {
        Err(InterpError { place: self.module.name.clone(), message })
    }

    fn size(&self, what: &Index) -> Ran<i64> {
        size(what, &self.dims).map_or_else(|| self.fail(format!("cannot evaluate the size {what:?}")), Ok)
    }

    fn shape(&self, shape: &[Index]) -> Ran<Vec<usize>> {
        let sizes: Vec<i64> = shape.iter().map(|s| self.size(s)).collect::<Ran<_>>()?;
        let checked: Option<Vec<usize>> = sizes.iter().map(|s| usize::try_from(*s).ok()).collect();
        checked.map_or_else(|| self.fail(format!("negative sizes: {sizes:?}")), Ok)
    }

    /// Checks arguments and allocates the rest.
    fn prepare(&mut self) -> Ran<()> {
        for (id, buffer) in self.module.buffers.iter() {
            let shape = self.shape(&buffer.shape)?;
            let given = &mut self.buffers[id.index()];
            let list = matches!(buffer.kind, BufferKind::Input { list: true } | BufferKind::InOut { list: true });
            if matches!(buffer.kind, BufferKind::Output | BufferKind::Temp) {
                *given = vec![Array::undefined(buffer.dtype, shape)];
                continue;
            }
            let fits = given.iter().all(|a| a.dtype == buffer.dtype && a.shape == shape);
            if !fits || (!list && given.len() != 1) {
                let message = format!("`{}` is {}{shape:?}, the argument is not", buffer.name, buffer.dtype);
                return self.fail(message);
            }
        }
        Ok(())
    }

    fn steps(&mut self, steps: &[Step]) -> Ran<()> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Ran<()> {
        match step {
            Step::Launch(launch) => self.launch(launch),
            Step::Loop { var, count, body } => self.repeat(*var, count, body),
            Step::If { nonnegative, then, otherwise } => {
                let holds = self.size(nonnegative)? >= 0;
                self.steps(if holds { then } else { otherwise })
            }
            Step::Swap(a, b) => {
                self.buffers.swap(a.index(), b.index());
                Ok(())
            }
            Step::Scalar { dim, buffer } => self.scalar(*dim, *buffer),
        }
    }

    fn scalar(&mut self, dim: DimId, buffer: BufferId) -> Ran<()> {
        match self.buffers[buffer.index()].first().and_then(Array::integer) {
            Some(value) => {
                self.dims[dim.index()] = value;
                Ok(())
            }
            None => self.fail(format!("`{}` is not one integer", self.module.buffers[buffer].name)),
        }
    }

    fn repeat(&mut self, var: DimId, count: &Index, body: &[Step]) -> Ran<()> {
        let outside = self.dims[var.index()];
        for at in 0..self.size(count)? {
            self.dims[var.index()] = at;
            self.steps(body)?;
        }
        self.dims[var.index()] = outside;
        Ok(())
    }

    /// Where an argument of a launch is: its buffer and its place in the list.
    fn bound(&self, (id, at): &(BufferId, Option<Index>)) -> Ran<(usize, usize)> {
        let at = at.as_ref().map_or(Ok(0), |at| self.size(at))?;
        let place = usize::try_from(at).ok().filter(|at| *at < self.buffers[id.index()].len());
        match place {
            Some(place) => Ok((id.index(), place)),
            None => self.fail(format!("`{}` has no element {at}", self.module.buffers[*id].name)),
        }
    }

    fn launch(&mut self, launch: &Launch) -> Ran<()> {
        let kernel = &self.module.kernels[launch.kernel];
        let dims: Vec<i64> = launch.dims.iter().map(|d| self.size(d)).collect::<Ran<_>>()?;
        let places: Vec<(usize, usize)> = launch.args.iter().map(|a| self.bound(a)).collect::<Ran<_>>()?;
        let mut memory: Arena<super::MemId, Array> = Arena::new();
        for (param, (buffer, at)) in kernel.memory.values().zip(&places) {
            let array = &mut self.buffers[*buffer][*at];
            // Read-only memory may be bound twice, so it is copied; what is stored to is bound once and can be moved.
            let bound = if param.access == Access::In { array.clone() } else { std::mem::take(array) };
            memory.push(bound);
        }
        for (id, param) in kernel.memory.iter() {
            let declared: Option<Vec<i64>> = param.shape.iter().map(|s| size(s, &dims)).collect();
            let actual: Vec<i64> = memory[id].shape.iter().map(|s| i64::try_from(*s).unwrap_or(i64::MAX)).collect();
            if declared.as_ref() != Some(&actual) {
                let message = format!("`{}` is declared {declared:?}, the buffer is {actual:?}", param.name);
                return Err(InterpError { place: kernel.name.clone(), message });
            }
        }
        self.work.multiply_adds += run_kernel(kernel, &dims, &mut memory, self.precision)?.multiply_adds;
        for ((id, param), (buffer, at)) in kernel.memory.iter().zip(&places) {
            if param.access != Access::In {
                self.buffers[*buffer][*at] = std::mem::take(&mut memory[id]);
            }
        }
        Ok(())
    }
}

/// Runs every block of one kernel on its memory parameters.
pub fn run_kernel(
    kernel: &Kernel,
    dims: &[i64],
    memory: &mut Arena<super::MemId, Array>,
    precision: Precision,
) -> Ran<Work> {
    let fail = |message: String| InterpError { place: kernel.name.clone(), message };
    let counts: Option<Vec<i64>> = kernel.grid.iter().map(|(_, blocks)| size(blocks, dims)).collect();
    let counts = counts.ok_or_else(|| fail("cannot evaluate the grid".to_owned()))?;
    let mut tracks = access::Tracks::new(kernel, memory);
    let mut work = Work::default();
    let total: i64 = counts.iter().map(|c| (*c).max(0)).product();
    for number in 0..total {
        let mut rest = number;
        let mut at = vec![0; counts.len()];
        for (place, count) in at.iter_mut().zip(&counts).rev() {
            (*place, rest) = (rest % count, rest / count);
        }
        tracks.block = u32::try_from(number + 1).map_err(|_| fail("too many blocks for the interpreter".to_owned()))?;
        let mut block = Block::new(kernel, dims, &at, memory, &mut tracks, precision);
        let outcome = block.region(&kernel.body);
        work.multiply_adds += block.multiply_adds;
        outcome.map_err(|message| InterpError { place: format!("{} at block {at:?}", kernel.name), message })?;
    }
    tracks.finish(kernel, memory).map_err(fail)?;
    Ok(work)
}
