//! A device that interprets.
//!
//! In: compiled kernels. Out: a [`Device`] on the CPU, which stops at the first race, access out of bounds, hang or value that
//! nothing wrote. What it allocates is full of a pattern, so that an element that a kernel forgot shows.

use super::Device;
use crate::backend::Compiled;
use crate::interp::{Launch, Memory, Options, interpret};
use sawmill_ir::backend::RunError;
use sawmill_ir::dtype::DType;

/// Kernels and the memory that they run on.
#[derive(Clone, Debug)]
pub struct Interpreted {
    kernels: Vec<Compiled>,
    /// Arguments and temporaries.
    pub memory: Memory,
}

impl Interpreted {
    /// A device with the kernels of one module and no memory yet.
    pub fn new(kernels: Vec<Compiled>) -> Self {
        Self { kernels, memory: Memory::default() }
    }
}

impl Device for Interpreted {
    fn allocate(&mut self, what: &str, bytes: u64) -> Result<u64, RunError> {
        let size = usize::try_from(bytes).map_err(|_| RunError::OutOfMemory { what: what.into(), bytes: bytes.into() });
        Ok(self.memory.alloc(vec![0x5a; size?]))
    }
    fn launch(&mut self, kernel: usize, blocks: u32, args: &[u64]) -> Result<(), RunError> {
        let Some(compiled) = self.kernels.get(kernel) else {
            return Err(RunError::Bug(format!("there is no kernel {kernel}")));
        };
        let launch = Launch { grid: [blocks, 1, 1], args: args.to_vec(), dynamic_shared: compiled.dynamic_bytes };
        let outcome = interpret(&compiled.module, compiled.name(), &launch, &mut self.memory, Options::default());
        outcome.map(drop).map_err(|fault| RunError::Bug(format!("{}: {fault}", compiled.name())))
    }
    fn integer(&mut self, address: u64, dtype: DType) -> Result<i64, RunError> {
        let width = dtype.bits() as usize / 8;
        let bytes = self.memory.bytes(address).and_then(|bytes| bytes.get(..width));
        let integer = bytes.and_then(|bytes| dtype.integer(bytes));
        integer.ok_or_else(|| RunError::Bug(format!("no {dtype} at {address:#x}")))
    }
}
