//! A kernel in a GPU's memory, and its launches.
//!
//! In: a cubin and the name of an entry whose parameters are 64-bit words. Out: [`Function`], which knows what its threads need and
//! what was spilled: kernels declare no local memory, so what a thread has of it are spilled registers.

use cudarc::driver::sys::CUfunction_attribute as Attribute;
use cudarc::driver::{CudaFunction, result};
use cudarc::nvrtc::Ptx;

use crate::error::GpuError;
use crate::gpu::Gpu;

/// A kernel that can be launched.
pub struct Function {
    pub(crate) function: CudaFunction,
    registers: u32,
    spilled_bytes: u32,
}

/// How a kernel is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// CTAs, along one axis.
    pub ctas: u32,
    /// Threads of each.
    pub threads: u32,
    /// Bytes of shared memory whose size the launch gives.
    pub dynamic_bytes: u32,
}

impl Function {
    /// The entry `name` of a cubin.
    ///
    /// # Errors
    /// The cubin is for another GPU or holds no such entry.
    pub fn load(gpu: &Gpu, cubin: &[u8], name: &str) -> Result<Self, GpuError> {
        gpu.enter()?;
        let module = gpu.context.load_module(Ptx::from_binary(cubin.to_vec()))?;
        let function = module.load_function(name)?;
        let spilled_bytes = function.local_size_bytes()?.unsigned_abs();
        let registers = function.num_regs()?.unsigned_abs();
        Ok(Self { function, registers, spilled_bytes })
    }
    /// Bytes of each thread's registers that went to memory.
    pub fn spilled_bytes(&self) -> u32 {
        self.spilled_bytes
    }
    /// Registers of each thread.
    pub fn registers(&self) -> u32 {
        self.registers
    }
    /// Allows launches to give `bytes` of shared memory.
    ///
    /// # Errors
    /// The GPU has less.
    pub fn allow_shared(&self, bytes: u32) -> Result<(), GpuError> {
        let bytes = i32::try_from(bytes).map_err(|_| GpuError::Launch(format!("{bytes} bytes of shared memory")))?;
        Ok(self.function.set_attribute(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes)?)
    }
    /// Launches the kernel on the GPU's stream; it runs after the work given before.
    ///
    /// # Errors
    /// The launch asks for more than the GPU has. What happens while the kernel runs is reported by the next wait.
    ///
    /// # Safety
    /// `words` are as many as the entry has parameters, and what it reads and writes through the addresses among them is memory
    /// of this GPU that lives until the work is done and that no other stream uses meanwhile.
    pub unsafe fn launch(&self, gpu: &Gpu, launch: Launch, words: &[u64]) -> Result<(), GpuError> {
        gpu.enter()?;
        let mut parameters = parameters(words);
        let (grid, block) = ((launch.ctas, 1, 1), (launch.threads, 1, 1));
        let stream = gpu.stream.cu_stream();
        // SAFETY: the function's module is loaded as long as `self` lives. Parameters are 64-bit words by this type's contract, as
        // many as the entry has by the caller's; the driver copies them before it returns.
        let launched = unsafe {
            result::launch_kernel(
                self.function.cu_function(),
                grid,
                block,
                launch.dynamic_bytes,
                stream,
                &mut parameters,
            )
        };
        launched.map_err(|error| gpu.noted(error, 0))
    }
}

/// Where each word lies, as the driver takes parameters: it reads them and writes nothing.
pub(crate) fn parameters(words: &[u64]) -> Vec<*mut std::ffi::c_void> {
    words.iter().map(|word| std::ptr::from_ref(word).cast_mut().cast()).collect()
}
