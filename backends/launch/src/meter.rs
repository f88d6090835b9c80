//! How many multiply-adds this processor can do: a loop of nothing else, made by the same code generator as kernels.
//!
//! In: a code generator. Out: [`MultiplyAdds`], to be run and timed on as many threads as one likes. The loop is VIR, so that it
//! uses what kernels of that code generator may use and no more: vectors of its width, and the fused instruction where there is
//! one, else a product and a sum. Invariant: no step waits for memory, and enough steps are under way to hide what each one takes.

use sawmill_ir::backend::CompileError;
use sawmill_simd::vir::{Address, Builder, Elem, Function, Type, Val, verify};

use crate::backend::CodeGenerator;
use crate::jit::JitCode;

/// Chains of steps that wait for each other alone. Processors take four or five cycles for a step and begin two in each, so
/// ten hide it; with the factor and the term, twelve leave two of sixteen registers free.
const CHAINS: usize = 12;
/// Steps of every chain in a turn of the loop, so that counting turns costs nothing.
const UNROLLED: usize = 8;

/// A loop of independent multiply-adds.
pub struct MultiplyAdds {
    code: JitCode,
    lanes: u8,
    /// Where the sums end up, so that they are not left out.
    scratch: Vec<Line>,
}

/// One line of a cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl MultiplyAdds {
    /// On vectors of `lanes` f32, by code for the processor that this runs on.
    ///
    /// # Errors
    /// What the code generator reports, or no memory for code.
    pub fn new(generator: &dyn CodeGenerator, lanes: u8) -> Result<MultiplyAdds, CompileError> {
        let code = generator.compile(&MultiplyAdds::chains(lanes)?)?;
        let code = JitCode::new(&code).map_err(|error| CompileError::Unsupported(error.to_string()))?;
        let lines = usize::try_from(code.scratch_bytes().div_ceil(64)).unwrap_or(usize::MAX);
        Ok(MultiplyAdds { code, lanes, scratch: vec![Line([0; 64]); lines] })
    }

    /// What the chains arrived at.
    pub fn sums(&self) -> Vec<f32> {
        let bytes: Vec<u8> = self.scratch.iter().flat_map(|line| line.0).collect();
        let (values, _) = bytes.as_chunks::<4>();
        let count = CHAINS * usize::from(self.lanes);
        values.iter().take(count).map(|value| f32::from_le_bytes(*value)).collect()
    }

    /// Runs the loop on this thread; gives the number of floating-point operations, two for each lane and step.
    pub fn run(&mut self, turns: u32) -> u64 {
        // SAFETY: the code was compiled for this processor from a kernel that reads no argument words and writes to its
        // scratch arena alone, which has as many bytes as it asks for, is aligned to 64, and is borrowed for this call.
        unsafe { self.code.call(&[], 0, u64::from(turns), self.scratch.as_mut_ptr().cast()) };
        u64::from(turns) * (2 * CHAINS * UNROLLED) as u64 * u64::from(self.lanes)
    }

    /// x = x * factor + term in every chain, towards a fixed point, so that no number is subnormal or infinite.
    ///
    /// # Errors
    /// Vectors that VIR does not have.
    pub fn chains(lanes: u8) -> Result<Function, CompileError> {
        let ty = Type::vector(Elem::F32, lanes);
        let mut b = Builder::new("multiply_adds");
        let room = b.scratch_alloc(CHAINS as u64 * u64::from(ty.bytes()));
        let [factor, term] = [0.999, 0.002].map(|value| b.float(ty, value));
        // Chains that began alike would be one to an optimiser.
        let starts: Vec<Val> = (0..CHAINS).map(|at| b.float(ty, 1.0 + at as f64 / 16.0)).collect();
        let (first, end) = (b.first(), b.end());
        // A constant would be read from memory in each step; what was read once stays in a register.
        b.store(factor, Address::new(room));
        let width = i32::try_from(ty.bytes()).unwrap_or(i32::MAX);
        b.store(term, Address::new(room).offset(width));
        let [factor, term] = [0, width].map(|at| b.load(ty, Address::new(room).offset(at)));
        let sums = b.for_loop(first, end, 1, &starts, |b, _, sums| {
            let step = |sums: Vec<_>, b: &mut Builder| sums.into_iter().map(|x| b.fma(x, factor, term)).collect();
            (0..UNROLLED).fold(sums.to_vec(), |sums, _| step(sums, b))
        });
        for (at, sum) in (0..).step_by(width as usize).zip(sums) {
            b.store(sum, Address::new(room).offset(at));
        }
        let bug = |message: String, text: String| CompileError::Bug { message, text };
        let function = b.finish().map_err(|error| bug(error.to_string(), String::new()))?;
        verify(&function).map_err(|error| bug(error.to_string(), function.to_string()))?;
        Ok(function)
    }
}
