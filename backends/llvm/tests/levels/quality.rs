//! Hot loops stay in registers, whatever order LLVM puts instructions in.

use crate::lowering::product;
use crate::subject::Subject;
use crate::subjects::subjects;
use sawmill_ir::tile::builder::Built;
use sawmill_simd::lower::lower;

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
