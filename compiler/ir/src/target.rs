//! What a machine offers, as data. Nothing above a backend branches on a target's name.

use crate::dtype::DType;

/// A target description. Rates are per core; they rank plans, they do not predict times.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// For printing and cache keys.
    pub name: String,
    /// Bits of a vector register.
    pub vector_bits: u32,
    /// Vector registers.
    pub vector_registers: u32,
    /// Whether a fused multiply-add is one instruction.
    pub fma: bool,
    /// Workers.
    pub cores: u32,
    /// Bytes of the first-level data cache, per core.
    pub l1_bytes: u64,
    /// Bytes of the second-level cache, per core.
    pub l2_bytes: u64,
    /// Billions of f32 multiply-adds a second, per core.
    pub fma_rate: f64,
    /// Billions of other f32 operations a second, per core.
    pub op_rate: f64,
    /// Billions of bytes a second from memory, all cores.
    pub memory_rate: f64,
    /// Microseconds to start a kernel on all cores.
    pub launch_us: f64,
    /// Threads that run one block together; 1 on a CPU.
    pub threads: u32,
    /// Bytes of memory that the threads of a block share.
    pub shared_bytes: u32,
    /// Elements that a block takes of what is read once.
    pub stream_elements: u32,
    /// Elements of a row that a block keeps between passes over it; 0 where a cache does.
    pub row_elements: u32,
    /// Below this many positions, a tiled axis of a run-time size is better a scalar of the block.
    pub few_positions: u32,
    /// Elements of the largest tile that a block computes with; 0 where memory holds tiles of any size.
    pub tile_elements: u32,
    /// Storage types of 16 bits whose products a matrix unit sums in f32: a factor in f32 may be rounded to the type of such a partner.
    pub matrix: Vec<DType>,
}

impl Target {
    /// A generic x86-64 or aarch64 core with 128-bit vectors.
    pub fn cpu128(cores: u32, fma: bool) -> Self {
        Self {
            name: "cpu128".to_owned(),
            vector_bits: 128,
            vector_registers: 16,
            fma,
            cores,
            l1_bytes: 32 << 10,
            l2_bytes: 1 << 20,
            fma_rate: 28.0,
            op_rate: 12.0,
            memory_rate: 28.0,
            launch_us: 4.0,
            threads: 1,
            shared_bytes: 0,
            stream_elements: 1024,
            row_elements: 0,
            few_positions: 8,
            tile_elements: 0,
            matrix: Vec::new(),
        }
    }
    /// An x86-64 core with AVX2.
    pub fn cpu256(cores: u32) -> Self {
        Self { name: "cpu256".to_owned(), vector_bits: 256, fma_rate: 56.0, op_rate: 24.0, ..Self::cpu128(cores, true) }
    }
    /// An x86-64 core with AVX-512.
    pub fn cpu512(cores: u32) -> Self {
        Self {
            name: "cpu512".to_owned(),
            vector_bits: 512,
            vector_registers: 32,
            fma_rate: 90.0,
            op_rate: 48.0,
            ..Self::cpu128(cores, true)
        }
    }
    /// A GPU of `cores` multiprocessors, whose blocks share `shared_bytes`. The other numbers stand for the threads of a block:
    /// the first-level cache for the registers that one tile may take of them, vector registers for rows of a narrow tile.
    pub fn gpu(name: &str, cores: u32, shared_bytes: u32) -> Self {
        Self {
            name: name.to_owned(),
            vector_bits: 32,
            vector_registers: 8,
            fma: true,
            cores,
            l1_bytes: 8 << 10,
            l2_bytes: 40 << 20,
            fma_rate: 90.0,
            op_rate: 60.0,
            memory_rate: 1500.0,
            launch_us: 3.0,
            threads: 128,
            shared_bytes,
            // Two to four loads of 16 bytes are under way in every thread.
            stream_elements: 2048,
            row_elements: 16 << 10,
            // Rows of nothing cost less than reading what rows share again.
            few_positions: 2,
            tile_elements: 8 << 10,
            matrix: vec![DType::BF16, DType::F16],
        }
    }
    /// Lanes of `bits`-wide elements in one register.
    pub fn lanes(&self, bits: u32) -> u32 {
        self.vector_bits / bits
    }
}
