//! Runs a plan: sizes, temporaries, loops, choices, launches.
//!
//! In: a module, its kernels' code and a call. Out: the outputs in the caller's memory. Everything that the code relies on is
//! checked before it starts: types and shapes of arguments against the module, shapes of memory parameters against the
//! launch, positions in lists. Where memory is and how blocks are run is the [`Machine`]'s.

use sawmill_ir::backend::{Call, Executable, RunError, Slot};
use sawmill_ir::entity::Entity;
use sawmill_ir::index::{Atom, DimId, Index};
use sawmill_ir::tile::{Access, Buffer, BufferId, BufferKind, Kernel, Launch, Module, Step};
use sawmill_simd::abi::ArgWords;

use crate::lifetimes::{Ends, ends};
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
}

/// A module that can be run.
pub struct Program<M> {
    module: Module,
    ends: Ends,
    words: Vec<ArgWords>,
    machine: M,
}

impl<M: Machine> Program<M> {
    /// `machine` has loaded the kernels of `module`, in order.
    pub fn new(module: Module, machine: M) -> Program<M> {
        let ends = ends(&module);
        let words = module.kernels.iter().map(ArgWords::of).collect();
        Program { module, ends, words, machine }
    }
}

impl<M: Machine> Executable for Program<M> {
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
        self.steps(&module.plan, &self.program.ends)?;
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
        let shape = self.shape(buffer)?;
        let mut tensors = Vec::with_capacity(slots.len());
        for slot in slots {
            let tensor = Tensor::of(slot, buffer.dtype, &shape, &buffer.name)?;
            tensors.push(self.program.machine.argument(&mut self.session, slot, tensor, &buffer.kind)?);
        }
        Ok(tensors)
    }
    fn shape(&self, buffer: &Buffer) -> Result<Vec<i64>, RunError> {
        let shape = buffer.shape.iter().map(|size| self.size(size)).collect::<Result<Vec<_>, _>>()?;
        if shape.iter().any(|n| *n < 0) {
            return Err(RunError::Bug(format!("`{}` has the negative shape {shape:?}", buffer.name)));
        }
        Ok(shape)
    }
    fn size(&self, size: &Index) -> Result<i64, RunError> {
        eval(size, &self.dims)
            .ok_or_else(|| RunError::Bug(format!("a size of `{}` overflows", self.program.module.name)))
    }

    fn steps(&mut self, steps: &[Step], ends: &Ends) -> Result<(), RunError> {
        for ((step, dead), inside) in steps.iter().zip(&ends.after).zip(&ends.inside) {
            match (step, inside.as_slice()) {
                (Step::Launch(launch), _) => self.launch(launch)?,
                (Step::Loop { var, count, body }, [ends]) => {
                    for at in 0..self.size(count)? {
                        self.set_dim(*var, at)?;
                        self.steps(body, ends)?;
                    }
                }
                (Step::If { nonnegative, then, otherwise }, [if_so, if_not]) => {
                    let holds = self.size(nonnegative)? >= 0;
                    let (taken, ends) = if holds { (then, if_so) } else { (otherwise, if_not) };
                    self.steps(taken, ends)?;
                }
                (Step::Swap(a, b), _) => self.swap(*a, *b)?,
                (Step::Scalar { dim, buffer }, _) => self.scalar(*dim, *buffer)?,
                _ => return Err(RunError::Bug("lifetimes of another plan".to_owned())),
            }
            for id in dead {
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
            let shape = self.shape(buffer)?;
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
        for (buffer, _) in &launch.args {
            self.provide(*buffer)?;
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
        let broken = |what: String| RunError::Bug(format!("launch {} of `{}`: {what}", launch.kernel, module.name));
        let kernel = module.kernels.get(launch.kernel).ok_or_else(|| broken("there is no such kernel".to_owned()))?;
        let places = &self.program.words[launch.kernel];
        if launch.args.len() != kernel.memory.len() || launch.dims.len() != kernel.dims.len() {
            return Err(broken("another number of arguments".to_owned()));
        }
        let Given { dims, words } = given;
        dims.clear();
        for size in &launch.dims {
            dims.push(self.size(size)?);
        }
        words.clear();
        words.resize(places.count() as usize, 0);
        for (dim, value) in kernel.dims.keys().zip(dims.iter()) {
            words[places.dim(dim) as usize] = value.cast_unsigned();
        }
        for ((mem, memory), (buffer, element)) in kernel.memory.iter().zip(&launch.args) {
            let writable = !matches!(module.buffers[*buffer].kind, BufferKind::Input { .. });
            if memory.access != Access::In && !writable {
                return Err(broken(format!("writes `{}`, an input", module.buffers[*buffer].name)));
            }
            let at = element.as_ref().map_or(Ok(0), |index| self.size(index))?;
            let tensor = usize::try_from(at).ok().and_then(|at| self.tensors[buffer.index()].get(at));
            let tensor =
                tensor.ok_or_else(|| broken(format!("`{}` has no element {at}", module.buffers[*buffer].name)))?;
            let same = |(size, extent): (&Index, &i64)| eval(size, dims) == Some(*extent);
            let fits = memory.shape.len() == tensor.shape.len() && memory.shape.iter().zip(&tensor.shape).all(same);
            if !fits || tensor.dtype != memory.dtype {
                let shape: Option<Vec<i64>> = memory.shape.iter().map(|size| eval(size, dims)).collect();
                let what =
                    format!("`{}` is {}{:?}, not {}{shape:?}", memory.name, tensor.dtype, tensor.shape, memory.dtype);
                return Err(broken(what));
            }
            words[places.pointer(mem) as usize] = tensor.address as u64;
            for (d, (extent, stride)) in (0_u32..).zip(tensor.shape.iter().zip(&tensor.strides)) {
                words[places.extent(mem, d) as usize] = extent.cast_unsigned();
                words[places.stride(mem, d) as usize] = stride.cast_unsigned();
            }
        }
        block_count(kernel, dims).ok_or_else(|| broken("too many blocks".to_owned()))
    }
}

fn eval(size: &Index, dims: &[i64]) -> Option<i64> {
    size.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => dims.get(dim.index()).copied(),
        _ => None,
    })
}

/// How many blocks a launch has; `None` if they cannot be counted in 63 bits.
fn block_count(kernel: &Kernel, dims: &[i64]) -> Option<u64> {
    let mut product = 1_u64;
    let mut empty = false;
    for (_, blocks) in &kernel.grid {
        let blocks = u64::try_from(eval(blocks, dims)?.max(0)).ok()?;
        empty |= blocks == 0;
        product = product.checked_mul(blocks.max(1)).filter(|p| i64::try_from(*p).is_ok())?;
    }
    Some(if empty { 0 } else { product })
}
