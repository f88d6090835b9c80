//! The processor as a [`Machine`]: the caller's memory as it is, blocks handed to the workers in runs of neighbours.

use std::sync::{Mutex, PoisonError};

use sawmill_ir::backend::{Call, RunError, Slot};
use sawmill_ir::tile::BufferKind;

use crate::jit::JitCode;
use crate::program::Machine;
use crate::storage::{Block, Tensor};

/// The share of the blocks left that a run takes, by worker: the first runs are long, the last ones even out what is left.
const SHARE: u64 = 2;

/// The kernels of one module in this process.
pub(crate) struct Processor {
    kernels: Vec<JitCode>,
    scratch_bytes: u64,
    /// Arenas that no run uses at the moment.
    arenas: Mutex<Vec<Block>>,
}

/// The arenas of a run, one for each worker.
pub(crate) struct Session<'a> {
    call: &'a Call<'a>,
    arenas: Vec<Block>,
    /// Their addresses.
    scratch: Vec<usize>,
}

impl Processor {
    /// `kernels` are in the order of the module.
    pub(crate) fn new(kernels: Vec<JitCode>) -> Processor {
        let scratch_bytes = kernels.iter().map(JitCode::scratch_bytes).max().unwrap_or(0);
        Processor { kernels, scratch_bytes, arenas: Mutex::new(Vec::new()) }
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

impl Machine for Processor {
    type Memory = Block;
    type Session<'a> = Session<'a>;

    fn begin<'a>(&'a self, call: &'a Call<'a>) -> Result<Session<'a>, RunError> {
        let mut arenas = self.take_arenas(call.workers.count().max(1))?;
        let scratch = arenas.iter_mut().map(|arena| arena.address().expose_provenance()).collect();
        Ok(Session { call, arenas, scratch })
    }
    fn argument(&self, _: &mut Session<'_>, slot: &Slot, tensor: Tensor, _: &BufferKind) -> Result<Tensor, RunError> {
        if slot.remote {
            return Err(RunError::Bug("an argument lies in another machine's memory".to_owned()));
        }
        Ok(tensor)
    }
    fn allocate(&self, bytes: u128, what: &str) -> Result<Block, RunError> {
        Block::new(bytes, what)
    }
    fn place(memory: &mut Block) -> (usize, u128) {
        (memory.address().expose_provenance(), memory.bytes())
    }
    unsafe fn integer(&self, _: &mut Session<'_>, tensor: &Tensor) -> Result<Option<i64>, RunError> {
        // SAFETY: the contract is the same; a launch has ended when it returns.
        Ok(unsafe { tensor.integer() })
    }
    unsafe fn copy(&self, _: &mut Session<'_>, to: &Tensor, from: &Tensor) -> Result<(), RunError> {
        // SAFETY: the contract is the same.
        unsafe { to.copy_from(from) };
        Ok(())
    }
    unsafe fn launch(
        &self,
        session: &mut Session<'_>,
        kernel: usize,
        words: &[u64],
        blocks: u64,
    ) -> Result<(), RunError> {
        let code = &self.kernels[kernel];
        let scratch = &session.scratch;
        let ends = ends_of_runs(blocks, scratch.len() as u64);
        let work = |worker: usize, run: usize| {
            let arena = std::ptr::with_exposed_provenance_mut(scratch[worker]);
            let first = if run == 0 { 0 } else { ends[run - 1] };
            let end = ends[run];
            // SAFETY: the code is of this kernel, whose words these are by the contract; a kernel reads and writes only inside of
            // the shapes it is given, and blocks write separate elements. The arena belongs to this worker, is aligned, and is
            // as large as the largest kernel asks for.
            unsafe { code.call(words, first, end, arena) };
        };
        if ends.len() == 1 {
            work(0, 0);
            return Ok(());
        }
        session.call.workers.run(ends.len(), &work)
    }
    fn end(&self, mut session: Session<'_>) -> Result<(), RunError> {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).append(&mut session.arenas);
        Ok(())
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
