//! Running plans of PTX kernels: the part of a launch that needs no driver.
//!
//! In: a module's plan, sizes, where arguments lie on a device. Out: calls of a [`Device`]: allocate, launch, read an integer.
//! The arguments of a launch are 64-bit words in the order of [`sawmill_simd::abi`], then the number of the first block: a grid
//! of more blocks than one launch may have is launched in parts.

mod interpreted;

pub use interpreted::Interpreted;

use sawmill_ir::backend::RunError;
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity as _;
use sawmill_ir::index::{Atom, DimId, Index};
use sawmill_ir::tile::{BufferId, BufferKind, Launch, Module, Step};

/// CTAs of one launch along x.
pub const MOST_BLOCKS: i64 = (1 << 31) - 1;

/// A tensor on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Address of the first element.
    pub address: u64,
    /// Sizes.
    pub shape: Vec<i64>,
    /// Distance in bytes between neighbours along each dimension; for elements of four bits, along the last one between pairs.
    pub strides: Vec<i64>,
}

/// What runs kernels.
pub trait Device {
    /// Memory of `bytes` for `what`, that nothing else uses until the plan has run.
    fn allocate(&mut self, what: &str, bytes: u64) -> Result<u64, RunError>;
    /// Starts `blocks` CTAs of a kernel (by its position in the module), after all that was started before.
    fn launch(&mut self, kernel: usize, blocks: u32, args: &[u64]) -> Result<(), RunError>;
    /// The integer at an address, after all that was started before.
    fn integer(&mut self, address: u64, dtype: DType) -> Result<i64, RunError>;
}

/// The strides of a dense tensor.
pub fn dense(dtype: DType, shape: &[i64]) -> Vec<i64> {
    let mut distance = i64::from(dtype.bits().div_ceil(8));
    let mut strides = Vec::new();
    for (at, size) in shape.iter().rev().enumerate() {
        strides.push(distance);
        let size = if at == 0 && dtype.bits() < 8 { (*size + 1) / 2 } else { *size };
        distance = distance.saturating_mul(size.max(1));
    }
    strides.reverse();
    strides
}

/// Runs a plan. `views` has the tensors of each buffer that the caller gives, in order of the module's buffers, and nothing for
/// temporaries. Afterwards it has where each buffer is: an output may have changed places with a temporary.
pub fn run(module: &Module, dims: &[i64], views: &mut Vec<Vec<View>>, device: &mut dyn Device) -> Result<(), RunError> {
    if dims.len() != module.dims.len() || views.len() != module.buffers.len() {
        let (dims, buffers) = (module.dims.len(), module.buffers.len());
        return Err(RunError::Bug(format!("`{}` takes {dims} dims and {buffers} buffers", module.name)));
    }
    let mut run = Run { module, dims: dims.to_vec(), views: std::mem::take(views), device };
    let outcome = run.check().and_then(|()| run.steps(&module.plan));
    *views = run.views;
    outcome
}

struct Run<'a> {
    module: &'a Module,
    dims: Vec<i64>,
    views: Vec<Vec<View>>,
    device: &'a mut dyn Device,
}

fn eval(size: &Index, dims: &[i64]) -> Option<i64> {
    size.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => dims.get(dim.index()).copied(),
        _ => None,
    })
}

impl Run<'_> {
    fn bug<T>(&self, message: impl Into<String>) -> Result<T, RunError> {
        Err(RunError::Bug(format!("`{}`: {}", self.module.name, message.into())))
    }
    fn size(&self, size: &Index) -> Result<i64, RunError> {
        eval(size, &self.dims).map_or_else(|| self.bug("a size overflows"), Ok)
    }
    fn shape(&self, id: BufferId) -> Result<Vec<i64>, RunError> {
        let shape: Vec<i64> =
            self.module.buffers[id].shape.iter().map(|size| self.size(size)).collect::<Result<_, _>>()?;
        if shape.iter().any(|n| *n < 0) {
            return self.bug(format!("`{}` has the negative shape {shape:?}", self.module.buffers[id].name));
        }
        Ok(shape)
    }
    /// Arguments have the shapes of their buffers.
    fn check(&self) -> Result<(), RunError> {
        for (id, buffer) in self.module.buffers.iter() {
            if buffer.kind == BufferKind::Temp {
                continue;
            }
            let shape = self.shape(id)?;
            let list = matches!(buffer.kind, BufferKind::Input { list: true } | BufferKind::InOut { list: true });
            let given = &self.views[id.index()];
            let fits = given.iter().all(|v| v.shape == shape && v.strides.len() == shape.len());
            if !fits || (!list && given.len() != 1) {
                return self.bug(format!("argument `{}` is no {}{shape:?}", buffer.name, buffer.dtype));
            }
        }
        Ok(())
    }
    fn steps(&mut self, steps: &[Step]) -> Result<(), RunError> {
        steps.iter().try_for_each(|step| self.step(step))
    }
    fn step(&mut self, step: &Step) -> Result<(), RunError> {
        match step {
            Step::Launch(launch) => self.launch(launch),
            Step::Loop { var, count, body } => {
                for at in 0..self.size(count)? {
                    self.set(*var, at);
                    self.steps(body)?;
                }
                Ok(())
            }
            Step::If { nonnegative, then, otherwise } => {
                let holds = self.size(nonnegative)? >= 0;
                self.steps(if holds { then } else { otherwise })
            }
            Step::Swap(a, b) => {
                self.provide(*a)?;
                self.provide(*b)?;
                self.views.swap(a.index(), b.index());
                Ok(())
            }
            Step::Scalar { dim, buffer } => {
                let Some(address) = self.views[buffer.index()].first().map(|view| view.address) else {
                    return self.bug("a scalar that nothing wrote");
                };
                let value = self.device.integer(address, self.module.buffers[*buffer].dtype)?;
                self.set(*dim, value);
                Ok(())
            }
        }
    }
    fn set(&mut self, dim: DimId, value: i64) {
        if let Some(slot) = self.dims.get_mut(dim.index()) {
            *slot = value;
        }
    }
    /// A temporary that is used for the first time gets its memory.
    fn provide(&mut self, id: BufferId) -> Result<(), RunError> {
        let buffer = &self.module.buffers[id];
        if buffer.kind != BufferKind::Temp || !self.views[id.index()].is_empty() {
            return Ok(());
        }
        let shape = self.shape(id)?;
        let strides = dense(buffer.dtype, &shape);
        let rows = shape.first().map_or(1, |n| (*n).max(0).cast_unsigned());
        let row = strides.first().map_or(u64::from(buffer.dtype.bits().div_ceil(8)), |s| s.cast_unsigned());
        let Some(bytes) = rows.checked_mul(row) else {
            return Err(RunError::OutOfMemory { what: buffer.name.clone(), bytes: u128::from(rows) * u128::from(row) });
        };
        let address = self.device.allocate(&buffer.name, bytes.max(1))?;
        self.views[id.index()] = vec![View { address, shape, strides }];
        Ok(())
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), RunError> {
        let Some(kernel) = self.module.kernels.get(launch.kernel) else { return self.bug("launches no kernel") };
        let dims: Vec<i64> = launch.dims.iter().map(|dim| self.size(dim)).collect::<Result<_, _>>()?;
        let mut words: Vec<u64> = Vec::new();
        for ((id, at), memory) in launch.args.iter().zip(kernel.memory.values()) {
            self.provide(*id)?;
            let at = at.as_ref().map_or(Ok(0), |at| self.size(at))?;
            let place = usize::try_from(at).ok();
            let Some(view) = place.and_then(|place| self.views[id.index()].get(place)) else {
                return self.bug(format!("`{}` has no element {at}", self.module.buffers[*id].name));
            };
            let declared: Option<Vec<i64>> = memory.shape.iter().map(|size| eval(size, &dims)).collect();
            if declared.as_ref() != Some(&view.shape) {
                return self.bug(format!("`{}` is declared {declared:?}, the buffer is {:?}", memory.name, view.shape));
            }
            words.push(view.address);
            words.extend(view.shape.iter().chain(&view.strides).map(|word| word.cast_unsigned()));
        }
        words.extend(dims.iter().map(|dim| dim.cast_unsigned()));
        let counts: Option<Vec<i64>> = kernel.grid.iter().map(|(_, blocks)| eval(blocks, &dims)).collect();
        let blocks = counts.and_then(|c| c.into_iter().try_fold(1_i64, |all, n| all.checked_mul(n.max(0))));
        let Some(blocks) = blocks else { return self.bug("a grid overflows") };
        let mut first = 0;
        while first < blocks {
            let part = (blocks - first).min(MOST_BLOCKS);
            words.push(first.cast_unsigned());
            self.device.launch(launch.kernel, u32::try_from(part).unwrap_or(u32::MAX), &words)?;
            words.pop();
            first += part;
        }
        Ok(())
    }
}
