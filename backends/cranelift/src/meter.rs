//! How many multiply-adds this processor can do: a loop of nothing else, made by the same code generator as kernels.
//!
//! In: nothing. Out: [`MultiplyAdds`], to be run and timed on as many threads as one likes. The loop is VIR, so that it uses
//! what kernels may use and no more: 128-bit vectors, and the fused instruction where the processor has it, else a product
//! and a sum. Invariant: no step waits for memory, and enough steps are under way to hide what each one takes.

use sawmill_ir::backend::CompileError;
use sawmill_launch::JitCode;
use sawmill_simd::vir::{Address, Builder, Elem, Function, Type, verify};

use crate::code::Compiler;

/// Chains of steps that wait for each other alone. Processors take four or five cycles for a step and begin two in each, so
/// ten hide it; with the factor and the term, twelve leave two of sixteen registers free.
const CHAINS: usize = 12;
/// Steps of every chain in a turn of the loop, so that counting turns costs nothing.
const UNROLLED: usize = 8;
/// f32 lanes of a vector.
const LANES: u8 = 4;

/// A loop of independent multiply-adds.
pub struct MultiplyAdds {
    code: JitCode,
    /// Where the sums end up, so that they are not left out.
    scratch: Vec<Line>,
}

/// One line of a cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl MultiplyAdds {
    /// For the processor that this runs on.
    ///
    /// # Errors
    /// A processor that Cranelift does not know, or no memory for code.
    pub fn host() -> Result<MultiplyAdds, CompileError> {
        let code = Compiler::host()?.compile(&chains()?)?;
        let code = JitCode::new(&code).map_err(|error| CompileError::Unsupported(error.to_string()))?;
        let lines = usize::try_from(code.scratch_bytes().div_ceil(64)).unwrap_or(usize::MAX);
        Ok(MultiplyAdds { code, scratch: vec![Line([0; 64]); lines] })
    }

    /// Runs the loop on this thread; gives the number of floating-point operations, two for each lane and step.
    pub fn run(&mut self, turns: u32) -> u64 {
        // SAFETY: the code was compiled for this processor from a kernel that reads no argument words and writes to its
        // scratch arena alone, which has as many bytes as it asks for, is aligned to 64, and is borrowed for this call.
        unsafe { self.code.call(&[], 0, u64::from(turns), self.scratch.as_mut_ptr().cast()) };
        u64::from(turns) * (2 * CHAINS * UNROLLED) as u64 * u64::from(LANES)
    }
}

/// x = x * factor + term in every chain, towards a fixed point, so that no number is subnormal or infinite.
fn chains() -> Result<Function, CompileError> {
    let ty = Type::vector(Elem::F32, LANES);
    let mut b = Builder::new("multiply_adds");
    let room = b.scratch_alloc(CHAINS as u64 * 16);
    let [start, factor, term] = [1.0, 0.999, 0.002].map(|value| b.float(ty, value));
    let (first, end) = (b.first(), b.end());
    // A constant would be read from memory in each step; what was read once stays in a register.
    b.store(factor, Address::new(room));
    b.store(term, Address::new(room).offset(16));
    let [factor, term] = [0, 16].map(|at| b.load(ty, Address::new(room).offset(at)));
    let sums = b.for_loop(first, end, 1, &[start; CHAINS], |b, _, sums| {
        let step = |sums: Vec<_>, b: &mut Builder| sums.into_iter().map(|x| b.fma(x, factor, term)).collect();
        (0..UNROLLED).fold(sums.to_vec(), |sums, _| step(sums, b))
    });
    for (at, sum) in (0..).step_by(16).zip(sums) {
        b.store(sum, Address::new(room).offset(at));
    }
    let bug = |message: String, text: String| CompileError::Bug { message, text };
    let function = b.finish().map_err(|error| bug(error.to_string(), String::new()))?;
    verify(&function).map_err(|error| bug(error.to_string(), function.to_string()))?;
    Ok(function)
}

#[cfg(test)]
mod tests {
    use super::{MultiplyAdds, chains};
    use crate::code::Compiler;

    #[test]
    fn the_loop_counts_its_operations_and_reaches_the_fixed_point() {
        let mut meter = MultiplyAdds::host().expect("the processor is known");
        assert_eq!(meter.run(1000), 1000 * 2 * 12 * 8 * 4);
        let bytes = meter.scratch.iter().flat_map(|line| line.0).collect::<Vec<u8>>();
        let (values, _) = bytes.as_chunks::<4>();
        // 2 - 0.999^n, for n = 8000.
        for value in values {
            let value = f32::from_le_bytes(*value);
            assert!((value - 1.9996654).abs() < 1e-3, "{value}");
        }
    }

    #[test]
    fn nothing_but_arithmetic_is_between_steps() {
        let text = Compiler::host().expect("known").assembly_text(&chains().expect("sound")).expect("compiles");
        let steps = text.lines().filter(|line| line.contains("vfmadd") || line.contains("addps")).count();
        let moves = text.lines().filter(|line| line.contains("mova") || line.contains("movup")).count();
        assert!(cfg!(not(target_arch = "x86_64")) || steps >= 96 && moves < steps / 2, "{text}");
    }
}
