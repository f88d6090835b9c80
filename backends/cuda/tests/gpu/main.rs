//! The driver and a GPU, where there is one.
//!
//! Without a GPU only the errors are tested. `SAWMILL_REQUIRE_GPU=1` makes a missing one a failure: the run on hardware sets it.

mod failures;
mod instructions;
mod memory;
mod programs;

use sawmill_cuda::{Assembled, Function, Gpu, GpuError, Launch, Memory, Missing, assemble};
use sawmill_ptx::inst::{Module, Sm};

/// A GPU and the target that it is given.
struct Subject {
    gpu: Gpu,
    sm: Sm,
}

/// The first GPU, or nothing where the machine has none.
fn subject() -> Option<Subject> {
    match Gpu::open(0) {
        Ok(gpu) => {
            let sm = if gpu.facts().capability >= (9, 0) { Sm::Sm90 } else { Sm::Sm80 };
            Some(Subject { gpu, sm })
        }
        Err(missing) => {
            assert!(std::env::var_os("SAWMILL_REQUIRE_GPU").is_none(), "{missing}");
            None
        }
    }
}

impl Subject {
    /// The entries of a module.
    fn load(&self, module: &Module) -> Vec<Function> {
        let Assembled { cubin, .. } = assemble(&self.gpu, &module.to_string()).expect("the driver takes it");
        let load = |name: &str| Function::load(&self.gpu, &cubin, name).expect("the entry is there");
        module.entries.iter().map(|entry| load(&entry.name)).collect()
    }
    /// Memory that holds these bytes.
    fn memory(&self, bytes: &[u8]) -> Memory {
        let mut memory = self.gpu.allocate(bytes.len() as u64).expect("memory");
        self.gpu.upload(bytes, &mut memory).expect("a copy");
        memory
    }
    /// Runs a kernel of one CTA of `threads` threads on buffers; the bytes of the last buffer afterwards.
    ///
    /// # Safety
    /// The kernel stays within the buffers.
    unsafe fn run(
        &self,
        function: &Function,
        threads: u32,
        buffers: &[&Memory],
        last: usize,
    ) -> Result<Vec<u8>, GpuError> {
        let words: Vec<u64> = buffers.iter().map(|buffer| buffer.address()).collect();
        let launch = Launch { ctas: 1, threads, dynamic_bytes: 0 };
        // SAFETY: passed on to the caller; the buffers outlive the download, which waits.
        unsafe { function.launch(&self.gpu, launch, &words) }?;
        let mut back = vec![0; last];
        self.gpu.download(buffers.last().expect("a buffer"), &mut back)?;
        Ok(back)
    }
}

#[test]
fn what_is_missing_is_said() {
    match Gpu::open(0) {
        Ok(gpu) => {
            let facts = gpu.facts();
            assert!(facts.multiprocessors > 0 && facts.shared_bytes > 48 * 1024, "{facts:?}");
            assert!(matches!(Gpu::open(1_000_000), Err(Missing::Ordinal { asked: 1_000_000, gpus }) if gpus > 0));
        }
        Err(missing) => {
            let text = missing.to_string();
            assert!(text.contains("install") || text.contains("nvidia-smi"), "{text}");
        }
    }
}
