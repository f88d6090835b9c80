//! Runs a plan: sizes, temporaries, loops, choices, launches.
//!
//! In: a module, its kernels' code and a call. Out: the outputs in the caller's memory. Everything that the code relies on is
//! checked before it starts: types and shapes of arguments against the module, shapes of memory parameters against the
//! launch, positions in lists. Blocks of a launch are handed to the workers in runs of neighbours.

use std::sync::{Mutex, PoisonError};

use sawmill_ir::backend::{Call, Executable, RunError};
use sawmill_ir::entity::Entity;
use sawmill_ir::index::{Atom, DimId, Index};
use sawmill_ir::tile::{Access, Buffer, BufferId, BufferKind, Kernel, Launch, Module, Step};
use sawmill_simd::abi::ArgWords;

use crate::jit::JitCode;
use crate::lifetimes::{Ends, ends};
use crate::storage::{Block, Tensor};

/// The share of the blocks left that a run takes, by worker: the first runs are long, the last ones even out what is left.
const SHARE: u64 = 2;

/// A kernel's code with the places of its arguments.
pub(crate) struct LoadedKernel {
    code: JitCode,
    words: ArgWords,
}

impl LoadedKernel {
    /// `code` was compiled from `kernel`.
    pub(crate) fn new(kernel: &Kernel, code: JitCode) -> LoadedKernel {
        LoadedKernel { code, words: ArgWords::of(kernel) }
    }
}

/// A module that can be run.
pub(crate) struct Program {
    module: Module,
    ends: Ends,
    kernels: Vec<LoadedKernel>,
    scratch_bytes: u64,
    /// Arenas that no run uses at the moment.
    arenas: Mutex<Vec<Block>>,
}

impl Program {
    /// `kernels` are those of `module`, in order.
    pub(crate) fn new(module: Module, kernels: Vec<LoadedKernel>) -> Program {
        let scratch_bytes = kernels.iter().map(|k| k.code.scratch_bytes()).max().unwrap_or(0);
        let ends = ends(&module);
        Program { module, ends, kernels, scratch_bytes, arenas: Mutex::new(Vec::new()) }
    }
    fn take_arenas(&self, count: usize) -> Result<Vec<Block>, RunError> {
        let mut pool = self.arenas.lock().unwrap_or_else(PoisonError::into_inner);
        let left = pool.len().saturating_sub(count);
        let mut arenas = pool.split_off(left);
        drop(pool);
        while arenas.len() < count {
            arenas.push(Block::new(u128::from(self.scratch_bytes), "scratch memory of a worker")?);
        }
        Ok(arenas)
    }
}

impl Executable for Program {
    fn run(&self, call: &mut Call<'_>) -> Result<(), RunError> {
        if call.dims.len() != self.module.dims.len() || call.buffers.len() != self.module.buffers.len() {
            let (dims, buffers) = (self.module.dims.len(), self.module.buffers.len());
            return Err(RunError::Bug(format!("`{}` takes {dims} dims and {buffers} buffers", self.module.name)));
        }
        let mut arenas = self.take_arenas(call.workers.count().max(1))?;
        let scratch = arenas.iter_mut().map(|arena| arena.address().expose_provenance()).collect();
        let mut run = Run {
            program: self,
            call,
            dims: call.dims.to_vec(),
            tensors: vec![Vec::new(); self.module.buffers.len()],
            blocks: (0..self.module.buffers.len()).map(|_| None).collect(),
            unused: Vec::new(),
            scratch,
        };
        let outcome = run.all();
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).append(&mut arenas);
        outcome
    }
}

/// The state of one run.
struct Run<'a> {
    program: &'a Program,
    call: &'a Call<'a>,
    dims: Vec<i64>,
    /// Where each buffer is now: one tensor, or one per element of a list. Temporaries come when they are first used.
    tensors: Vec<Vec<Tensor>>,
    /// Memory of temporaries, by the buffer it was provided for.
    blocks: Vec<Option<Block>>,
    /// Memory of temporaries that are dead.
    unused: Vec<Block>,
    /// The address of each worker's arena.
    scratch: Vec<usize>,
}

impl Run<'_> {
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
            for (given, now) in given.iter().zip(&self.tensors[id.index()]) {
                if given != now {
                    self.bring_back(given, now, &module.buffers[*id].name)?;
                }
            }
        }
        Ok(())
    }
    /// An output that was swapped with a temporary is copied to the caller's memory.
    fn bring_back(&self, given: &Tensor, now: &Tensor, name: &str) -> Result<(), RunError> {
        if given.shape != now.shape || given.dtype != now.dtype {
            return Err(RunError::Bug(format!("`{name}` was exchanged with a buffer of another shape")));
        }
        // SAFETY: `given` is the caller's memory, its own for the run; `now` is a temporary of this run, which is alive; both
        // have this shape and type by the test above and by the checks when they came.
        unsafe { given.copy_from(now) };
        Ok(())
    }
    fn argument(&self, id: BufferId, buffer: &Buffer) -> Result<Vec<Tensor>, RunError> {
        let slots = &self.call.buffers[id.index()];
        let list = matches!(buffer.kind, BufferKind::Input { list: true } | BufferKind::InOut { list: true });
        if !list && slots.len() != 1 {
            return Err(RunError::Bug(format!("argument `{}` has {} tensors", buffer.name, slots.len())));
        }
        let shape = self.shape(buffer)?;
        slots.iter().map(|slot| Tensor::of(slot, buffer.dtype, &shape, &buffer.name)).collect()
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
            Some([tensor]) => unsafe { tensor.integer() },
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
            tensor.address = block.address().expose_provenance();
            self.tensors[id.index()] = vec![tensor];
            self.blocks[id.index()] = Some(block);
        }
        Ok(())
    }

    /// The smallest dead memory that is large enough and not mostly wasted, else new memory.
    fn memory(&mut self, bytes: u128, name: &str) -> Result<Block, RunError> {
        let fits = |block: &Block| block.bytes() >= bytes && block.bytes() / 4 <= bytes;
        let best =
            (0..self.unused.len()).filter(|at| fits(&self.unused[*at])).min_by_key(|at| self.unused[*at].bytes());
        match best {
            Some(at) => Ok(self.unused.swap_remove(at)),
            None => Block::new(bytes, &format!("`{name}`")),
        }
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), RunError> {
        let module = &self.program.module;
        let broken = |what: String| RunError::Bug(format!("launch {} of `{}`: {what}", launch.kernel, module.name));
        let kernel = module.kernels.get(launch.kernel).ok_or_else(|| broken("there is no such kernel".to_owned()))?;
        let loaded = &self.program.kernels[launch.kernel];
        if launch.args.len() != kernel.memory.len() || launch.dims.len() != kernel.dims.len() {
            return Err(broken("another number of arguments".to_owned()));
        }
        let dims = launch.dims.iter().map(|size| self.size(size)).collect::<Result<Vec<_>, _>>()?;
        let mut words = vec![0_u64; loaded.words.count() as usize];
        for (dim, value) in kernel.dims.keys().zip(&dims) {
            words[loaded.words.dim(dim) as usize] = value.cast_unsigned();
        }
        for ((mem, memory), (buffer, element)) in kernel.memory.iter().zip(&launch.args) {
            self.provide(*buffer)?;
            let writable = !matches!(module.buffers[*buffer].kind, BufferKind::Input { .. });
            if memory.access != Access::In && !writable {
                return Err(broken(format!("writes `{}`, an input", module.buffers[*buffer].name)));
            }
            let at = element.as_ref().map_or(Ok(0), |index| self.size(index))?;
            let tensor = usize::try_from(at).ok().and_then(|at| self.tensors[buffer.index()].get(at));
            let tensor =
                tensor.ok_or_else(|| broken(format!("`{}` has no element {at}", module.buffers[*buffer].name)))?;
            let shape: Option<Vec<i64>> = memory.shape.iter().map(|size| eval(size, &dims)).collect();
            if shape.as_deref() != Some(&tensor.shape) || tensor.dtype != memory.dtype {
                let what =
                    format!("`{}` is {}{:?}, not {}{shape:?}", memory.name, tensor.dtype, tensor.shape, memory.dtype);
                return Err(broken(what));
            }
            words[loaded.words.pointer(mem) as usize] = tensor.address as u64;
            for (d, (extent, stride)) in (0_u32..).zip(tensor.shape.iter().zip(&tensor.strides)) {
                words[loaded.words.extent(mem, d) as usize] = extent.cast_unsigned();
                words[loaded.words.stride(mem, d) as usize] = stride.cast_unsigned();
            }
        }
        let blocks = block_count(kernel, &dims).ok_or_else(|| broken("too many blocks".to_owned()))?;
        self.blocks_of(loaded, &words, blocks)
    }

    /// Runs blocks `0..blocks` on the workers.
    fn blocks_of(&self, loaded: &LoadedKernel, words: &[u64], blocks: u64) -> Result<(), RunError> {
        if blocks == 0 {
            return Ok(());
        }
        let ends = ends_of_runs(blocks, self.scratch.len() as u64);
        let scratch = &self.scratch;
        let work = |worker: usize, run: usize| {
            let arena = std::ptr::with_exposed_provenance_mut(scratch[worker]);
            let first = if run == 0 { 0 } else { ends[run - 1] };
            let end = ends[run];
            // SAFETY: the code was compiled from the kernel whose argument words these are (`Backend::load` compares digests);
            // addresses, shapes and strides are those of arguments that the caller vouches for and of temporaries that live
            // as long as this run; a kernel reads and writes only inside of the shapes it is given, and blocks write separate
            // elements. The arena belongs to this worker, is aligned, and is as large as the largest kernel asks for.
            unsafe { loaded.code.call(words, first, end, arena) };
        };
        if ends.len() == 1 {
            work(0, 0);
            return Ok(());
        }
        self.call.workers.run(ends.len(), &work)
    }
}

/// Where each run of neighbouring blocks ends, the last at `blocks`.
fn ends_of_runs(blocks: u64, workers: u64) -> Vec<u64> {
    if workers <= 1 {
        return vec![blocks];
    }
    let mut ends = Vec::new();
    let mut end = 0;
    while end < blocks {
        end += ((blocks - end) / (SHARE * workers)).max(1);
        ends.push(end);
    }
    ends
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
