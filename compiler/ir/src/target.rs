//! What a machine offers, as data. Nothing above a backend branches on a target's name.

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
    /// Lanes of `bits`-wide elements in one register.
    pub fn lanes(&self, bits: u32) -> u32 {
        self.vector_bits / bits
    }
}
