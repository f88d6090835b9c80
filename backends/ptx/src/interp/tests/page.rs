//! The example of `docs/ir.md`: it is built, compared with the page, verified and run.

use crate::inst::{Builder, Entry, Module, Op, Sm, Special, Word, at, verify};
use crate::interp::{Fault, Launch, Memory, Options, interpret};

const PAGE: &str = include_str!("../../../../../docs/ir.md");

fn reverse(barrier: bool) -> Entry {
    let mut b = Builder::new("reverse", [64, 1, 1]);
    let x = b.param("x", Word::U64);
    let words = b.shared("words", 16, Some(256));
    let x = b.load_param(x);
    let thread = b.special(Special::TidX);
    let mine = b.op(Op::Mad, &[Word::Wide, Word::U32], &[thread.into(), 4_u32.into(), x.into()]);
    let value = b.op(Op::Ld, &[Word::Global, Word::U32], &[at(mine, 0)]);
    let base = b.address(words);
    let slot = b.op(Op::Mad, &[Word::Lo, Word::U32], &[thread.into(), 4_u32.into(), base.into()]);
    b.run(Op::St, &[Word::Shared, Word::U32], &[at(slot, 0), value.into()]);
    if barrier {
        b.note("without this barrier words are read before they are there");
        b.sync();
    }
    let slot = b.op(Op::Mad, &[Word::Lo, Word::S32], &[thread.into(), (-4_i32).into(), base.into()]);
    let value = b.op(Op::Ld, &[Word::Shared, Word::U32], &[at(slot, 252)]);
    b.run(Op::St, &[Word::Global, Word::U32], &[at(mine, 0), value.into()]);
    b.ret();
    b.finish()
}

fn block(language: &str) -> &'static str {
    let fence = format!("```{language}\n");
    let start = PAGE.find(&fence).expect("the page has the block") + fence.len();
    let length = PAGE[start..].find("```").expect("the block ends");
    &PAGE[start..start + length]
}

fn run(module: &Module) -> Result<Vec<u8>, Fault> {
    let mut memory = Memory::default();
    let buffer = memory.alloc((0..64_u32).flat_map(u32::to_le_bytes).collect());
    let launch = Launch { grid: [1, 1, 1], args: vec![buffer], dynamic_shared: 0 };
    interpret(module, "reverse", &launch, &mut memory, Options::default())?;
    Ok(memory.bytes(buffer).expect("the buffer").to_vec())
}

fn module(barrier: bool) -> Module {
    Module { entries: vec![reverse(barrier)], ..Module::new(Sm::Sm80) }
}

#[test]
fn the_example_is_what_is_built_and_runs() {
    let module = module(true);
    assert_eq!(module.to_string(), block("ptx"));
    verify(&module).expect("no rule is broken");
    let expected: Vec<u8> = (0..64_u32).rev().flat_map(u32::to_le_bytes).collect();
    assert_eq!(run(&module).expect("no fault"), expected);
}

#[test]
fn its_fault_is_the_one_of_the_page() {
    let fault = run(&module(false)).expect_err("no barrier").to_string();
    assert_eq!(fault + "\n", block("text"));
}
