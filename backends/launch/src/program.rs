//! Runs a plan: sizes, temporaries, loops, choices, launches.
//!
//! In: a module, its kernels' code and a call. Out: the outputs in the caller's memory. Everything that the code relies on is
//! checked before it starts: types and shapes of arguments against the module, shapes of memory parameters against the
//! launch, positions in lists. Where memory is and how blocks are run is the [`Machine`]'s.

use sawmill_ir::backend::{Call, Executable, PerAxis, RunError, Slot};
use sawmill_ir::entity::Entity;
use sawmill_ir::index::DimId;
use sawmill_ir::tile::{Buffer, BufferId, BufferKind, Module};

use crate::plan::{Launch, Size, Step, What, broken, plan};
use crate::storage::Tensor;

/// What a plan runs on: memory, and kernels that were loaded there.
pub trait Machine: Send + Sync {
    /// Memory that a plan allocates.
    type Memory;
    /// What one run has to itself.
    type Session<'a>
    where
        Self: 'a;

    /// Starts a run.
    ///
    /// # Errors
    /// There is no memory for what it needs.
    fn begin<'a>(&'a self, call: &'a Call<'a>) -> Result<Self::Session<'a>, RunError>;
    /// A view of an argument that kernels reach: `tensor` describes the caller's memory, and is the answer where kernels reach that.
    ///
    /// # Errors
    /// There is no memory for a copy.
    fn argument(
        &self,
        session: &mut Self::Session<'_>,
        slot: &Slot,
        tensor: Tensor,
        kind: &BufferKind,
    ) -> Result<Tensor, RunError>;
    /// At least `bytes` bytes for `what`.
    ///
    /// # Errors
    /// There are not so many.
    fn allocate(&self, bytes: u128, what: &str) -> Result<Self::Memory, RunError>;
    /// Where memory is, and how many bytes it has.
    fn place(memory: &mut Self::Memory) -> (usize, u128);
    /// The value of a tensor that is one integer; `None` if it is none.
    ///
    /// # Errors
    /// The machine failed before.
    ///
    /// # Safety
    /// The element is in memory of this run, and kernels that write it were launched before.
    unsafe fn integer(&self, session: &mut Self::Session<'_>, tensor: &Tensor) -> Result<Option<i64>, RunError>;
    /// Copies a tensor to another of its type and shape, after what was launched before.
    ///
    /// # Errors
    /// The machine failed.
    ///
    /// # Safety
    /// Both are in memory of this run, the target is its own, and they share no element.
    unsafe fn copy(&self, session: &mut Self::Session<'_>, to: &Tensor, from: &Tensor) -> Result<(), RunError>;
    /// Runs blocks `0..blocks` (at least one) of kernel number `kernel` of the module.
    ///
    /// # Errors
    /// A worker panicked; the machine failed.
    ///
    /// # Safety
    /// `words` are those of this kernel; the addresses among them are of memory that lives through the run, with the shapes and
    /// strides beside them.
    unsafe fn launch(
        &self,
        session: &mut Self::Session<'_>,
        kernel: usize,
        words: &[u64],
        blocks: u64,
    ) -> Result<(), RunError>;
    /// Ends a run that went well or not: what the caller's memory is to hold is there afterwards.
    ///
    /// # Errors
    /// The machine failed during the run.
    fn end(&self, session: Self::Session<'_>) -> Result<(), RunError>;
    /// What makes the kernels slower than they should be.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A module that can be run.
pub struct Program<M> {
    module: Module,
    plan: Vec<Step>,
    /// Of each buffer.
    shapes: Vec<Vec<Size>>,
    machine: M,
}

impl<M: Machine> Program<M> {
    /// `machine` has loaded the kernels of `module`, in order.
    pub fn new(module: Module, machine: M) -> Program<M> {
        let plan = plan(&module);
        let shape = |buffer: &Buffer| buffer.shape.iter().map(Size::of).collect();
        let shapes = module.buffers.values().map(shape).collect();
        Program { module, plan, shapes, machine }
    }
}

impl<M: Machine> Executable for Program<M> {
    fn warnings(&self) -> Vec<String> {
        self.machine.warnings()
    }
    fn run(&self, call: &mut Call<'_>) -> Result<(), RunError> {
        if call.dims.len() != self.module.dims.len() || call.buffers.len() != self.module.buffers.len() {
            let (dims, buffers) = (self.module.dims.len(), self.module.buffers.len());
            return Err(RunError::Bug(format!("`{}` takes {dims} dims and {buffers} buffers", self.module.name)));
        }
        let call = &*call;
        let mut run = Run {
            program: self,
            call,
            session: self.machine.begin(call)?,
            dims: call.dims.to_vec(),
            tensors: vec![Vec::new(); self.module.buffers.len()],
            blocks: (0..self.module.buffers.len()).map(|_| None).collect(),
            unused: Vec::new(),
            given: Given::default(),
        };
        let outcome = run.all();
        let Run { session, blocks, unused, .. } = run;
        let ended = self.machine.end(session);
        // Temporaries live until the machine has ended: kernels may still have been running.
        drop((blocks, unused));
        outcome.and(ended)
    }
}

/// The state of one run.
struct Run<'a, M: Machine> {
    program: &'a Program<M>,
    call: &'a Call<'a>,
    session: M::Session<'a>,
    dims: Vec<i64>,
    /// Where each buffer is now: one tensor, or one per element of a list. Temporaries come when they are first used.
    tensors: Vec<Vec<Tensor>>,
    /// Memory of temporaries, by the buffer it was provided for.
    blocks: Vec<Option<M::Memory>>,
    /// Memory of temporaries that are dead.
    unused: Vec<M::Memory>,
    /// Room for what the next launch is given.
    given: Given,
}

/// What a launch is given.
#[derive(Default)]
struct Given {
    dims: Vec<i64>,
    words: Vec<u64>,
}

impl<M: Machine> Run<'_, M> {
    fn all(&mut self) -> Result<(), RunError> {
        let module = &self.program.module;
        for (id, buffer) in module.buffers.iter() {
            if buffer.kind != BufferKind::Temp {
                self.tensors[id.index()] = self.argument(id, buffer)?;
            }
        }
        // Of what the caller gave, only outputs are ever exchanged.
        let outputs = module.buffers.iter().filter(|(_, buffer)| buffer.kind == BufferKind::Output);
        let given: Vec<(BufferId, Vec<Tensor>)> =
            outputs.map(|(id, _)| (id, self.tensors[id.index()].clone())).collect();
        self.steps(&self.program.plan)?;
        for (id, given) in &given {
            let now = self.tensors[id.index()].clone();
            for (given, now) in given.iter().zip(&now).filter(|(given, now)| given != now) {
                self.bring_back(given, now, &module.buffers[*id].name)?;
            }
        }
        Ok(())
    }
    /// An output that was swapped with a temporary is copied to the caller's memory.
    fn bring_back(&mut self, given: &Tensor, now: &Tensor, name: &str) -> Result<(), RunError> {
        if given.shape != now.shape || given.dtype != now.dtype {
            return Err(RunError::Bug(format!("`{name}` was exchanged with a buffer of another shape")));
        }
        // SAFETY: `given` is the caller's memory, its own for the run; `now` is a temporary of this run, which is alive; both
        // have this shape and type by the test above and by the checks when they came.
        unsafe { self.program.machine.copy(&mut self.session, given, now) }
    }
    fn argument(&mut self, id: BufferId, buffer: &Buffer) -> Result<Vec<Tensor>, RunError> {
        let slots = &self.call.buffers[id.index()];
        let list = matches!(buffer.kind, BufferKind::Input { list: true } | BufferKind::InOut { list: true });
        if !list && slots.len() != 1 {
            return Err(RunError::Bug(format!("argument `{}` has {} tensors", buffer.name, slots.len())));
        }
        let shape = self.shape(id, buffer)?;
        let mut tensors = Vec::with_capacity(slots.len());
        for slot in slots {
            let tensor = Tensor::of(slot, buffer.dtype, &shape, &buffer.name)?;
            tensors.push(self.program.machine.argument(&mut self.session, slot, tensor, &buffer.kind)?);
        }
        Ok(tensors)
    }
    fn shape(&self, id: BufferId, buffer: &Buffer) -> Result<PerAxis, RunError> {
        let sizes = self.program.shapes[id.index()].iter();
        let shape = sizes.map(|size| self.size(size)).collect::<Result<PerAxis, _>>()?;
        if shape.iter().any(|n| *n < 0) {
            return Err(RunError::Bug(format!("`{}` has the negative shape {shape:?}", buffer.name)));
        }
        Ok(shape)
    }
    fn size(&self, size: &Size) -> Result<i64, RunError> {
        size.eval(&self.dims)
            .ok_or_else(|| RunError::Bug(format!("a size of `{}` overflows", self.program.module.name)))
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), RunError> {
        for step in steps {
            match &step.what {
                What::Launch(launch) => self.launch(launch.as_ref().map_err(Clone::clone)?)?,
                What::Loop { var, count, body } => {
                    for at in 0..self.size(count)? {
                        self.set_dim(*var, at)?;
                        self.steps(body)?;
                    }
                }
                What::If { nonnegative, then, otherwise } => {
                    self.steps(if self.size(nonnegative)? >= 0 { then } else { otherwise })?;
                }
                What::Swap(a, b) => self.swap(*a, *b)?,
                What::Scalar { dim, buffer } => self.scalar(*dim, *buffer)?,
            }
            for id in &step.dead {
                self.tensors[id.index()].clear();
                self.unused.extend(self.blocks[id.index()].take());
            }
        }
        Ok(())
    }
    fn scalar(&mut self, dim: DimId, id: BufferId) -> Result<(), RunError> {
        let integer = match self.tensors.get(id.index()).map(Vec::as_slice) {
            // SAFETY: arguments are memory that the caller vouches for, and a temporary that was written is alive.
            Some([tensor]) => unsafe { self.program.machine.integer(&mut self.session, tensor) }?,
            _ => None,
        };
        let value = integer.ok_or_else(|| RunError::Bug(format!("buffer {id} is not one integer")))?;
        self.set_dim(dim, value)
    }
    fn set_dim(&mut self, dim: DimId, value: i64) -> Result<(), RunError> {
        match self.dims.get_mut(dim.index()) {
            Some(slot) => {
                *slot = value;
                Ok(())
            }
            None => Err(RunError::Bug("a loop's variable is no dim of the module".to_owned())),
        }
    }
    fn swap(&mut self, a: BufferId, b: BufferId) -> Result<(), RunError> {
        self.provide(a)?;
        self.provide(b)?;
        let facts = |tensors: &[Tensor]| tensors.iter().map(|t| (t.dtype, t.shape.clone())).collect::<Vec<_>>();
        let owned = |id: BufferId| {
            matches!(self.program.module.buffers.get(id).map(|x| &x.kind), Some(BufferKind::Temp | BufferKind::Output))
        };
        if facts(&self.tensors[a.index()]) != facts(&self.tensors[b.index()]) || !owned(a) || !owned(b) {
            return Err(RunError::Bug("exchanges buffers that do not fit each other".to_owned()));
        }
        self.tensors.swap(a.index(), b.index());
        Ok(())
    }
    /// Allocates a temporary at its first use.
    fn provide(&mut self, id: BufferId) -> Result<(), RunError> {
        let module = &self.program.module;
        let buffer = module.buffers.get(id).ok_or_else(|| RunError::Bug(format!("there is no buffer {id}")))?;
        if buffer.kind == BufferKind::Temp && self.tensors[id.index()].is_empty() {
            let shape = self.shape(id, buffer)?;
            let (mut tensor, bytes) = Tensor::dense(buffer.dtype, &shape, &buffer.name)?;
            let mut block = self.memory(bytes, &buffer.name)?;
            tensor.address = M::place(&mut block).0;
            self.tensors[id.index()] = vec![tensor];
            self.blocks[id.index()] = Some(block);
        }
        Ok(())
    }

    /// The smallest dead memory that is large enough and not mostly wasted, else new memory.
    fn memory(&mut self, bytes: u128, name: &str) -> Result<M::Memory, RunError> {
        let held: Vec<u128> = self.unused.iter_mut().map(|block| M::place(block).1).collect();
        let fits = |at: &usize| held[*at] >= bytes && held[*at] / 4 <= bytes;
        match (0..held.len()).filter(fits).min_by_key(|at| held[*at]) {
            Some(at) => Ok(self.unused.swap_remove(at)),
            None => self.program.machine.allocate(bytes, &format!("`{name}`")),
        }
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), RunError> {
        for argument in &launch.arguments {
            self.provide(argument.buffer)?;
        }
        let mut given = std::mem::take(&mut self.given);
        let outcome = self.words(launch, &mut given);
        if let Ok(blocks @ 1..) = outcome {
            // SAFETY: the kernels were compiled from this module's (`Backend::load` compares digests); addresses, shapes and strides
            // are those of arguments that the caller vouches for and of temporaries that live as long as this run.
            unsafe { self.program.machine.launch(&mut self.session, launch.kernel, &given.words, blocks) }?;
        }
        self.given = given;
        outcome.map(drop)
    }
    /// The dims and words of a launch, checked, and how many blocks it has.
    fn words(&self, launch: &Launch, given: &mut Given) -> Result<u64, RunError> {
        let module = &self.program.module;
        let wrong = |what: String| broken(module, launch.kernel, &what);
        let Given { dims, words } = given;
        dims.clear();
        for size in &launch.dims {
            dims.push(self.size(size)?);
        }
        words.clear();
        for argument in &launch.arguments {
            let at = argument.element.as_ref().map_or(Ok(0), |element| self.size(element))?;
            let tensor = usize::try_from(at).ok().and_then(|at| self.tensors[argument.buffer.index()].get(at));
            let name = || &module.buffers[argument.buffer].name;
            let tensor = tensor.ok_or_else(|| wrong(format!("`{}` has no element {at}", name())))?;
            let same = |(size, extent): (&Size, &i64)| size.eval(dims) == Some(*extent);
            let fits =
                argument.shape.len() == tensor.shape.len() && argument.shape.iter().zip(tensor.shape.iter()).all(same);
            if !fits {
                let shape: Option<Vec<i64>> = argument.shape.iter().map(|size| size.eval(dims)).collect();
                return Err(wrong(format!("`{}` is {:?}, not {shape:?}", name(), tensor.shape)));
            }
            words.push(tensor.address as u64);
            words.extend(tensor.shape.iter().map(|extent| extent.cast_unsigned()));
            words.extend(tensor.strides.iter().map(|stride| stride.cast_unsigned()));
        }
        words.extend(dims.iter().map(|dim| dim.cast_unsigned()));
        block_count(&launch.grid, dims).ok_or_else(|| wrong("too many blocks".to_owned()))
    }
}

/// How many blocks a launch has; `None` if they cannot be counted in 63 bits.
fn block_count(grid: &[Size], dims: &[i64]) -> Option<u64> {
    let mut product = 1_u64;
    let mut empty = false;
    for blocks in grid {
        let blocks = u64::try_from(blocks.eval(dims)?.max(0)).ok()?;
        empty |= blocks == 0;
        product = product.checked_mul(blocks.max(1)).filter(|p| i64::try_from(*p).is_ok())?;
    }
    Some(if empty { 0 } else { product })
}
