//! Hot loops stay in registers, whatever order LLVM puts instructions in.

use crate::lowering::product;
use crate::subject::Subject;
use crate::subjects::subjects;
use sawmill_ir::tile::builder::Built;
use sawmill_launch::{CodeGenerator, JitCode};
use sawmill_llvm::{Compiler, Level};
use sawmill_simd::lower::lower;
use sawmill_simd::vir::{Address, Builder, Elem, Function, Type, Val};

/// The straight run of instructions with the most multiply-adds.
fn hottest(assembly: &str) -> Vec<&str> {
    let lines: Vec<&str> = assembly.lines().map(str::trim).collect();
    let blocks = lines.split(|line| line.starts_with(".LBB"));
    let count = |block: &&[&str]| block.iter().filter(|line| line.starts_with("vfmadd")).count();
    blocks.max_by_key(count).unwrap_or_default().to_vec()
}

fn assert_in_registers(subject: &Subject, register: &str) -> Built<()> {
    let lowered = lower(&product(64, 64, 64, false)?, &subject.target).expect("lowers");
    let (_, text) = subject.generator.texts(&lowered.function).expect("compiles").pop().expect("the assembly");
    let block = hottest(&text);
    let fmas = block.iter().filter(|line| line.starts_with("vfmadd") && line.contains(register)).count();
    assert!(fmas >= 24, "{}: {fmas} multiply-adds in\n{}", subject.name(), block.join("\n"));
    let spilled = block.iter().find(|line| line.contains(register) && line.contains("(%rsp)"));
    assert!(spilled.is_none(), "{}: {spilled:?} in\n{}", subject.name(), block.join("\n"));
    Ok(())
}

#[test]
fn register_blocks_stay_in_registers() -> Built<()> {
    for (subject, register) in subjects().iter().zip(["%ymm", "%zmm"]) {
        assert_in_registers(subject, register)?;
    }
    Ok(())
}

/// One sum of sixteen pairs: buffers `a`, `b`, `sum` and the result.
fn pairs() -> Function {
    let mut b = Builder::new("pairs");
    let places: Vec<Val> = (0..4).map(|word| b.arg(word, Type::I64)).collect();
    let [x, y] = [0, 1].map(|at| b.load(Type::vector(Elem::I16, 32), Address::new(places[at])));
    let sum = b.load(Type::vector(Elem::F32, 16), Address::new(places[2]));
    let result = b.dot_bf16(x, y, sum);
    b.store(result, Address::new(places[3]));
    b.finish().expect("verifies")
}

/// What code makes of pairs of numbers that have no subnormal product.
fn sums_of_pairs(code: &JitCode) -> Vec<f32> {
    let bits = |seed: u32| -> Vec<u16> {
        (0..32).map(|i| 0x3f00 + ((i * 37 + seed) % 512) as u16 + ((i % 3 / 2) as u16) * 0x8000).collect()
    };
    let (x, y) = (bits(11), bits(300));
    let (sum, mut result) = ([0.5_f32; 16], vec![0.0_f32; 16]);
    let words = [x.as_ptr() as u64, y.as_ptr() as u64, sum.as_ptr() as u64, result.as_mut_ptr() as u64];
    // SAFETY: the code was compiled for this processor from a function that reads 64 bytes at the first three addresses and writes as
    // many at the last, all of which are there; it uses no scratch.
    unsafe { code.call(&words, 0, 1, std::ptr::null_mut()) };
    result
}

#[test]
fn the_instruction_for_bf16_products_is_used_where_it_is_and_no_level_is_asked_for() {
    let function = pairs();
    let assembly = |compiler: &Compiler| compiler.assembly_text(&function).expect("compiles");
    let run = |compiler: &Compiler| {
        let code = CodeGenerator::compile(compiler, &function).expect("compiles");
        sums_of_pairs(&JitCode::new(&code).expect("memory for code"))
    };
    let host = Compiler::host().expect("a processor with AVX2");
    assert_eq!(assembly(&host).contains("vdpbf16ps"), host.has_bf16_dots());
    let ir = host.ir_text(&function).expect("verifies");
    assert_eq!(ir.contains("; products of bf16 numbers are summed by AVX512-BF16"), host.has_bf16_dots());
    assert_eq!(CodeGenerator::level(&host).contains("BF16"), host.has_bf16_dots());
    let expected = run(&host);
    assert!(expected.iter().all(|sum| sum.is_finite() && *sum != 0.5));
    let detected = Level::detected().expect("a processor with AVX2");
    for level in Level::ALL.into_iter().filter(|level| *level <= detected) {
        let compiler = Compiler::at(level).expect("a level of this processor");
        assert!(!assembly(&compiler).contains("vdpbf16ps"), "{level} has no such instruction");
        let sums = run(&compiler);
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs().max(1.0);
        assert!(sums.iter().zip(&expected).all(close), "{sums:?} {expected:?}");
    }
}
