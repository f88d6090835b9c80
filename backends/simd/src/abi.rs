//! Argument words of a compiled kernel: where each pointer, size and stride stands.
//!
//! In: a tile kernel. Out: word numbers. A word is 64 bits. For each memory parameter, in order: the address of its first
//! element, then one word per dimension for its size, then one per dimension for its stride in bytes (signed). After all
//! memory parameters: one word per dim of the kernel. Lowering and the code that launches kernels both read this table, so
//! that they cannot disagree.

use sawmill_ir::entity::Entity;
use sawmill_ir::index::DimId;
use sawmill_ir::tile::{Kernel, MemId};

/// The words of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgWords {
    /// First word and rank of each memory parameter.
    memory: Vec<(u32, u32)>,
    first_dim: u32,
    count: u32,
}

impl ArgWords {
    /// The words of `kernel`.
    pub fn of(kernel: &Kernel) -> Self {
        let mut next = 0_u32;
        let mut memory = Vec::new();
        for parameter in kernel.memory.values() {
            let rank = u32::try_from(parameter.shape.len()).expect("invariant: a rank fits 32 bits");
            memory.push((next, rank));
            next += 1 + 2 * rank;
        }
        let dims = u32::try_from(kernel.dims.len()).expect("invariant: arenas hold fewer than 2^32 entries");
        Self { memory, first_dim: next, count: next + dims }
    }
    /// The word that holds the address of a memory parameter.
    pub fn pointer(&self, mem: MemId) -> u32 {
        self.memory[mem.index()].0
    }
    /// The word that holds a size of a memory parameter.
    pub fn extent(&self, mem: MemId, dimension: u32) -> u32 {
        self.memory[mem.index()].0 + 1 + dimension
    }
    /// The word that holds a stride of a memory parameter, in bytes.
    pub fn stride(&self, mem: MemId, dimension: u32) -> u32 {
        let (first, rank) = self.memory[mem.index()];
        first + 1 + rank + dimension
    }
    /// The word that holds a dim.
    pub fn dim(&self, dim: DimId) -> u32 {
        self.first_dim + u32::try_from(dim.index()).expect("invariant: arenas hold fewer than 2^32 entries")
    }
    /// How many words there are.
    pub fn count(&self) -> u32 {
        self.count
    }
}
