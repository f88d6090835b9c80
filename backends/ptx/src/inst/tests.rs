//! Tests of the text and of each rule of the verifier.

use super::{
    Arg, Base, Builder, Class, Entry, Guard, Inst, Module, Op, Reg, Sm, Special, Version, Word, at, in_shared, verify,
};
use sawmill_ir::entity::Entity as _;

fn module(entry: Entry) -> Module {
    Module { entries: vec![entry], ..Module::new(Sm::Sm80) }
}

/// A kernel that adds up a row of bf16 values in steps of a CTA, with a loop, shared memory, a copy and a reduction.
fn sums() -> Entry {
    let mut b = Builder::new("sums", [64, 1, 1]);
    let (x, n) = (b.param("x", Word::U64), b.param("n", Word::U32));
    let tile = b.shared("tile", 16, Some(1024));
    let rest = b.shared("rest", 128, None);
    let (x, n) = (b.load_param(x), b.load_param(n));
    let thread = b.special(Special::TidX);
    let sum = b.mov(Word::F32, 0_f32);
    let step = b.mov(Word::U32, thread);
    let (head, exit) = (b.block("head"), b.block("exit"));
    b.place(head);
    let done = b.op(Op::Setp, &[Word::Ge, Word::U32], &[step.into(), n.into()]);
    b.branch(Guard::when(done), exit);
    b.note("one element of each thread");
    let address = b.op(Op::Mad, &[Word::Wide, Word::U32], &[step.into(), 2_u32.into(), x.into()]);
    let narrow = b.op(Op::Ld, &[Word::Global, Word::Nc, Word::B16], &[at(address, -2)]);
    let value = b.op(Op::Cvt, &[Word::F32, Word::Bf16], &[narrow.into()]);
    b.assign(Op::Fma, &[Word::Rn, Word::F32], sum, &[value.into(), 0.5_f32.into(), sum.into()]);
    b.assign(Op::Add, &[Word::S32], step, &[step.into(), (-64_i32).into()]);
    b.bra(head);
    b.place(exit);
    let slot = b.address(tile);
    let copy = [Word::Async, Word::Cg, Word::Shared, Word::Global];
    b.run(Op::CpAsync, &copy, &[at(slot, 16), at(x, 0), 16_u32.into(), n.into()]);
    b.run(Op::CpAsyncGroup, &[Word::Async, Word::CommitGroup], &[]);
    b.run(Op::CpAsyncGroup, &[Word::Async, Word::WaitGroup], &[0_u32.into()]);
    b.run(Op::Bar, &[Word::Sync], &[1_u32.into(), 64_u32.into()]);
    let pair = b.ops(Op::Ld, &[Word::Shared, Word::V2, Word::F32], &[in_shared(tile, 8)]);
    b.run(Op::St, &[Word::Shared, Word::V2, Word::F32], &[in_shared(rest, 0), pair.clone().into()]);
    let masked = b.op(Op::And, &[Word::B32], &[thread.into(), 0xffff_0000_u32.into()]);
    let other: [Arg; 4] = [pair[0].into(), 1_u32.into(), 31_u32.into(), u32::MAX.into()];
    let other = b.op(Op::Shfl, &[Word::Sync, Word::Bfly, Word::B32], &other);
    b.under(Guard::unless(done), |b| b.run(Op::Red, &[Word::Global, Word::Or, Word::B32], &[at(x, 4), masked.into()]));
    b.run(Op::St, &[Word::Global, Word::B32], &[at(x, 8), other.into()]);
    b.run(Op::St, &[Word::Global, Word::F64], &[at(x, 16), 0.1_f64.into()]);
    b.ret();
    b.finish()
}

#[test]
fn the_text_is_as_reviewed() {
    let module = module(sums());
    verify(&module).expect("no rule is broken");
    insta::assert_snapshot!(module);
}

#[test]
fn the_text_is_the_same_every_time() {
    assert_eq!(module(sums()).to_string(), module(sums()).to_string());
}

/// The message for a kernel that `build` breaks.
fn refused<R>(build: impl FnOnce(&mut Builder) -> R) -> String {
    let mut b = Builder::new("k", [64, 1, 1]);
    build(&mut b);
    b.ret();
    message(&module(b.finish()))
}

fn message(module: &Module) -> String {
    verify(module).expect_err("a rule is broken").to_string()
}

fn broken<R>(build: impl FnOnce(&mut Builder) -> R, what: &str) {
    let message = refused(build);
    assert!(message.contains(what), "{message} does not say `{what}`");
}

#[test]
fn operands_are_as_the_table_says() {
    broken(
        |b| b.run(Op::Add, &[Word::Rn, Word::U32], &[]),
        "k: $B0_entry:0 `add.rn.u32`: the table has no such instruction",
    );
    broken(
        |b| {
            let x = b.mov(Word::U32, 1_u32);
            b.op(Op::Add, &[Word::Rn, Word::F32], &[x.into(), x.into()]);
        },
        "$B0_entry:1 `add.rn.f32 %f0, %r0, %r0`: operand 1: %r0 does not hold f32",
    );
    broken(|b| b.op(Op::Add, &[Word::U32], &[1_u32.into()]), "has 2 operands, not 3 to 3");
    broken(|b| b.op(Op::Neg, &[Word::S32], &[1_u32.into()]), "operand 1: the form wants Use(T)");
    broken(|b| b.mov(Word::U16, 70_000_u32), "0x11170 is no immediate of type u16");
    broken(|b| b.op(Op::ReadSpecial, &[Word::U64], &[Special::TidX.into()]), "%tid.x is not read as u64");
    broken(
        |b| {
            let pair = vec![b.mov(Word::B32, 1_u32)];
            b.run(Op::St, &[Word::Global, Word::V2, Word::B32], &[Arg::Imm(0), pair.into()]);
        },
        "operand 0: the form wants Mem(Global)",
    );
    broken(
        |b| {
            let x = b.mov(Word::B64, 1_u32);
            let one = vec![b.mov(Word::B32, 1_u32)];
            b.run(Op::St, &[Word::Global, Word::V2, Word::B32], &[at(x, 0), one.into()]);
        },
        "operand 1: has 1 registers, not 2",
    );
    broken(
        |b| {
            let (shared, x) = (b.shared("s", 16, Some(64)), b.mov(Word::B64, 1_u32));
            let copy = [Word::Async, Word::Ca, Word::Shared, Word::Global];
            b.run(Op::CpAsync, &copy, &[in_shared(shared, 0), at(x, 0), 12_u32.into()]);
        },
        "operand 2: is none of [4, 8, 16]",
    );
    broken(
        |b| b.run(Op::CpAsyncGroup, &[Word::Async, Word::WaitGroup], &[(-1_i32).into()]),
        "operand 0: is not in 0..=1048576",
    );
}

#[test]
fn addresses_are_in_their_space() {
    broken(
        |b| {
            let x = b.mov(Word::B32, 1_u32);
            b.op(Op::Ld, &[Word::Global, Word::F32], &[at(x, 0)]);
        },
        "%r0 holds no address in Global",
    );
    broken(
        |b| {
            let shared = b.shared("s", 16, Some(64));
            b.op(Op::Ld, &[Word::Global, Word::F32], &[in_shared(shared, 0)]);
        },
        "the address is not in Global",
    );
    broken(
        |b| {
            let shared = b.shared("s", 16, Some(64));
            b.op(Op::Ld, &[Word::Shared, Word::F32], &[in_shared(shared, 64)]);
        },
        "bytes 64..68 of 64",
    );
    broken(
        |b| {
            let shared = b.shared("s", 16, Some(64));
            b.ops(Op::Ld, &[Word::Shared, Word::V4, Word::F32], &[in_shared(shared, 8)]);
        },
        "offset 8 is not aligned to 16 bytes",
    );
    broken(
        |b| {
            let param = b.param("n", Word::U32);
            b.op(Op::Ld, &[Word::Param, Word::U64], &[Arg::Mem(Base::Param(param), 0)]);
        },
        "bytes 0..8 of 4",
    );
}

#[test]
fn registers_are_written_before_they_are_read() {
    broken(
        |b| {
            let (never, exit) = (b.reg(Class::F32), b.block("exit"));
            let (param, one) = (b.param("n", Word::U32), b.mov(Word::F32, 1_f32));
            let n = b.load_param(param);
            let some = b.op(Op::Setp, &[Word::Eq, Word::U32], &[n.into(), 0_u32.into()]);
            b.branch(Guard::when(some), exit);
            b.assign(Op::Mov, &[Word::F32], never, &[one.into()]);
            b.place(exit);
            b.op(Op::Neg, &[Word::F32], &[never.into()]);
        },
        "$B1_exit:0 `neg.f32 %f2, %f0`: %f0 is read, but some path here has not written it",
    );
    broken(|b| b.op(Op::Neg, &[Word::F32], &[Reg::new(Class::F32, 7).into()]), "%f7 is not a register of this entry");
    broken(
        |b| {
            let x = b.mov(Word::B32, 1_u32);
            b.under(Guard::when(x), |b| b.sync());
        },
        "%r0 guards, but is no predicate",
    );
}

#[test]
fn control_leaves_at_the_end() {
    let mut entry = sums();
    let jump = Inst { guard: None, op: Op::Bra, words: vec![], args: vec![entry.layout[0].into()] };
    let head = entry.layout[1];
    entry.blocks[head].insts.insert(0, jump);
    assert!(message(&module(entry)).contains("stands behind a branch of its block"));

    let mut entry = sums();
    let last = *entry.layout.last().expect("a block");
    entry.blocks[last].insts.pop();
    assert!(message(&module(entry)).contains("the last block runs off the end"));

    let mut entry = sums();
    entry.layout.push(head);
    assert!(message(&module(entry)).contains("$B1_head stands twice"));

    broken(
        |b| {
            let nowhere = b.block("nowhere");
            b.bra(nowhere);
        },
        "$B1_nowhere stands nowhere",
    );
    broken(
        |b| {
            let end = b.block("end");
            b.bra(end);
            b.bra(end);
            b.place(end);
        },
        "a branch stands behind one that is always taken",
    );
}

#[test]
fn versions_and_targets_have_what_is_used() {
    let build = || {
        let mut b = Builder::new("k", [32, 1, 1]);
        let x = b.mov(Word::B32, 1_u32);
        b.op(Op::Movmatrix, &[Word::Sync, Word::Aligned, Word::M8n8, Word::Trans, Word::B16], &[x.into()]);
        b.ret();
        b.finish()
    };
    assert!(message(&module(build())).contains("needs PTX 7.8 and sm_80, the module is PTX 7.4 for sm_80"));
    assert!(verify(&Module { version: Version(7, 8), ..module(build()) }).is_ok());
    let old = Module { version: Version(7, 4), sm: Sm::Sm90, entries: vec![] };
    assert!(message(&old).contains("sm_90 needs PTX 7.8, not 7.4"));
    broken(
        |b| {
            let shared = b.shared("s", 16, Some(128));
            let words = [Word::Sync, Word::Aligned, Word::M8n8, Word::X1, Word::Shared, Word::B16];
            let x = vec![b.mov(Word::B32, 1_u32)];
            b.run(Op::Stmatrix, &words, &[in_shared(shared, 0), x.into()]);
        },
        "needs PTX 7.8 and sm_90",
    );
}

#[test]
fn declarations_fit_the_hardware() {
    broken(|b| b.param("1st", Word::U32), "`1st` is no name in PTX");
    broken(|b| [b.param("n", Word::U32), b.param("n", Word::U32)], "`n` is declared twice");
    broken(|b| b.param("n", Word::U16), "which has neither 32 nor 64 bits");
    broken(|b| b.shared("s", 24, Some(4)), "aligned to 24, which is no power of two");
    broken(|b| b.shared("s", 16, Some(48 * 1024 + 4)), "static shared memory is 49156 bytes of at most 49152");
    broken(|b| [b.shared("s", 16, None), b.shared("t", 16, None)], "they would be the same memory");
    broken(|b| b.run(Op::Bar, &[Word::Sync], &[16_u32.into()]), "there are 16 barriers, 16 is none of them");
    broken(|b| b.run(Op::Bar, &[Word::Sync], &[1_u32.into(), 40_u32.into()]), "40 threads at a barrier");
    broken(|b| b.run(Op::Bar, &[Word::Sync], &[1_u32.into(), 96_u32.into()]), "96 threads at a barrier");
    let wide = Builder::new("k", [2048, 1, 1]);
    assert!(message(&module(wide.finish())).contains("a CTA cannot have [2048, 1, 1] threads"));
    let twice = Module { entries: vec![sums(), sums()], ..Module::new(Sm::Sm80) };
    assert!(message(&twice).contains("two entries have this name"));
}

#[test]
fn registers_pack_class_and_number() {
    for class in Class::ALL {
        let reg = Reg::new(class, 123_456);
        assert_eq!((reg.class(), reg.number()), (class, 123_456));
    }
    assert_eq!(Reg::new(Class::F64, 3).to_string(), "%fd3");
    assert_eq!(super::BlockId::new(2).to_string(), "B2");
}

/// Two addresses of 64 bits and a value live through a loop that needs three more at once.
#[test]
fn pressure_counts_what_is_live_at_once() {
    let mut b = Builder::new("k", [32, 1, 1]);
    let (from, to) = (b.param("from", Word::U64), b.param("to", Word::U64));
    let (from, to) = (b.load_param(from), b.load_param(to));
    let kept = b.mov(Word::F32, 0_f32);
    let head = b.block("head");
    b.place(head);
    let loads: Vec<Reg> = (0..3).map(|n| b.op(Op::Ld, &[Word::Global, Word::F32], &[at(from, 4 * n)])).collect();
    for load in loads {
        b.assign(Op::Add, &[Word::Rn, Word::F32], kept, &[kept.into(), load.into()]);
    }
    let more = b.op(Op::Setp, &[Word::Lt, Word::F32], &[kept.into(), 1_f32.into()]);
    b.branch(Guard::when(more), head);
    let next = b.block("next");
    b.place(next);
    b.run(Op::St, &[Word::Global, Word::F32], &[at(to, 0), kept.into()]);
    b.ret();
    let mut entry = b.finish();
    verify(&module(entry.clone())).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(entry.pressure(), 2 + 2 + 1 + 3);
    assert!(!entry.to_string().contains(".minnctapersm"));
    entry.residents = Some(3);
    assert!(entry.to_string().contains(".reqntid 32, 1, 1\n.minnctapersm 3\n{"));
}
