//! Divergence, warp-wide instructions, global memory.

use super::{Kernel, fault, run};
use crate::inst::{Arg, Class, Guard, Op, Word, at};
use crate::interp::FaultKind;

/// Each lane loops as often as its number says; then all of the warp meets at a shuffle.
#[test]
fn lanes_meet_again_behind_a_loop() {
    let mut k = Kernel::new(64);
    let count = k.b.mov(Word::U32, 0_u32);
    let (head, exit) = (k.b.block("head"), k.b.block("exit"));
    let lane = k.b.op(Op::And, &[Word::B32], &[k.thread.into(), 31_u32.into()]);
    k.b.bra(head);
    k.b.place(head);
    let ends = k.b.op(Op::Setp, &[Word::Ge, Word::U32], &[count.into(), lane.into()]);
    k.b.branch(Guard::when(ends), exit);
    k.b.assign(Op::Add, &[Word::U32], count, &[count.into(), 1_u32.into()]);
    k.b.bra(head);
    k.b.place(exit);
    let words = [Word::Sync, Word::Bfly, Word::B32];
    let other = k.b.op(Op::Shfl, &words, &[count.into(), 1_u32.into(), 31_u32.into(), u32::MAX.into()]);
    let values = k.values(other);
    assert_eq!(values, (0..64).map(|thread| (thread % 32) ^ 1).collect::<Vec<u32>>());
}

#[test]
fn both_sides_of_a_branch_run() {
    let mut k = Kernel::new(32);
    let (odd, join) = (k.b.block("odd"), k.b.block("join"));
    let bit = k.b.op(Op::And, &[Word::B32], &[k.thread.into(), 1_u32.into()]);
    let is_odd = k.b.op(Op::Setp, &[Word::Ne, Word::U32], &[bit.into(), 0_u32.into()]);
    let value = k.b.reg(Class::B32);
    k.b.branch(Guard::when(is_odd), odd);
    k.b.assign(Op::Mov, &[Word::U32], value, &[100_u32.into()]);
    k.b.bra(join);
    k.b.place(odd);
    k.b.assign(Op::Add, &[Word::U32], value, &[k.thread.into(), 7_u32.into()]);
    k.b.place(join);
    let votes = k.b.op(Op::Vote, &[Word::Sync, Word::Ballot, Word::B32], &[is_odd.into(), u32::MAX.into()]);
    let mixed = k.b.op(Op::Xor, &[Word::B32], &[value.into(), votes.into()]);
    let expected: Vec<u32> =
        (0..32).map(|thread| 0xaaaa_aaaa ^ if thread % 2 == 1 { thread + 7 } else { 100 }).collect();
    assert_eq!(k.values(mixed), expected);
}

/// `shfl` by the rules of the PTX ISA: outside of the segment a lane keeps its own value.
#[test]
fn shuffles_stay_in_their_segment() {
    let shuffled = |mode: Word, b: u32, c: u32| {
        let mut k = Kernel::new(32);
        let words = [Word::Sync, mode, Word::B32];
        let value = k.b.op(Op::Shfl, &words, &[k.thread.into(), b.into(), c.into(), u32::MAX.into()]);
        k.values(value)
    };
    let list = |of: fn(u32) -> u32| (0..32).map(of).collect::<Vec<u32>>();
    assert_eq!(shuffled(Word::Up, 3, 0), list(|lane| if lane < 3 { lane } else { lane - 3 }));
    assert_eq!(shuffled(Word::Down, 3, 31), list(|lane| if lane + 3 > 31 { lane } else { lane + 3 }));
    assert_eq!(shuffled(Word::Idx, 5, 31), list(|_| 5));
    // Segments of eight lanes: the mask in bits 8 to 12 of the third operand.
    assert_eq!(shuffled(Word::Idx, 5, 24 << 8 | 31), list(|lane| lane / 8 * 8 + 5));
    assert_eq!(shuffled(Word::Down, 2, 24 << 8 | 31), list(|lane| if lane % 8 + 2 > 7 { lane } else { lane + 2 }));
    assert_eq!(shuffled(Word::Up, 2, 24 << 8), list(|lane| if lane % 8 < 2 { lane } else { lane - 2 }));
}

#[test]
fn a_shuffle_without_its_lanes_is_an_error() {
    let mut k = Kernel::new(32);
    let first = k.b.op(Op::Setp, &[Word::Lt, Word::U32], &[k.thread.into(), 16_u32.into()]);
    let words = [Word::Sync, Word::Bfly, Word::B32];
    let uses: [Arg; 4] = [k.thread.into(), 1_u32.into(), 31_u32.into(), u32::MAX.into()];
    k.b.under(Guard::when(first), |b| b.op(Op::Shfl, &words, &uses));
    fault(k, FaultKind::Divergence, "shfl.sync.bfly.b32");
}

#[test]
fn redux_joins_the_lanes() {
    let mut k = Kernel::new(32);
    let sum = k.b.op(Op::Redux, &[Word::Sync, Word::Add, Word::S32], &[k.thread.into(), u32::MAX.into()]);
    assert_eq!(k.values(sum), vec![496; 32]);
}

#[test]
fn global_accesses_stay_in_their_buffer() {
    let access = |offset: i32| {
        let mut k = Kernel::new(32);
        k.b.op(Op::Ld, &[Word::Global, Word::B32], &[at(k.out, offset)]);
        k
    };
    assert!(access(4 * 4095).outcome().is_ok());
    fault(access(4 * 4096), FaultKind::OutOfBounds, "buffer 0, which has 16384");
    fault(access(-4), FaultKind::OutOfBounds, "ld.global.b32");
    fault(access(2), FaultKind::Misaligned, "4 bytes");
}

/// `ld.global.nc` may give what was there before the launch, so it must not meet writes.
#[test]
fn the_stale_cache_does_not_meet_writes() {
    let both = |words: &[Word], written: i32| {
        let mut k = Kernel::new(32);
        let address = k.element(4);
        let value = k.b.op(Op::Ld, words, &[at(address, 0)]);
        k.b.run(Op::St, &[Word::Global, Word::U32], &[at(address, written), value.into()]);
        k
    };
    assert!(both(&[Word::Global, Word::U32], 0).outcome().is_ok());
    assert!(both(&[Word::Global, Word::Nc, Word::U32], 128).outcome().is_ok());
    fault(both(&[Word::Global, Word::Nc, Word::U32], 0), FaultKind::Stale, "st.global.u32");
}

#[test]
fn a_vector_must_be_aligned_as_a_whole() {
    let mut k = Kernel::new(32);
    k.b.ops(Op::Ld, &[Word::Global, Word::V4, Word::F32], &[at(k.out, 8)]);
    fault(k, FaultKind::Misaligned, "16 bytes");
}

/// A register that only some lanes wrote.
#[test]
fn what_was_never_written_is_not_stored() {
    let mut k = Kernel::new(32);
    let first = k.b.op(Op::Setp, &[Word::Lt, Word::U32], &[k.thread.into(), 31_u32.into()]);
    let value = k.b.under(Guard::when(first), |b| b.mov(Word::U32, 1_u32));
    let picked = k.b.op(Op::Selp, &[Word::B32], &[value.into(), 5_u32.into(), first.into()]);
    k.give(picked);
    let mut wrong = Kernel { b: k.b.clone(), ..k };
    assert!(k.outcome().is_ok());
    wrong.give(value);
    fault(wrong, FaultKind::Undefined, "thread 31");
}

#[test]
fn a_loop_without_end_is_seen() {
    let mut k = Kernel::new(32);
    let head = k.b.block("spin");
    k.b.bra(head);
    k.b.place(head);
    k.b.bra(head);
    let fault = run(k.b.finish(), 1).expect_err("it does not end");
    assert_eq!(fault.kind, FaultKind::Limit);
    assert!(fault.place.contains("spin"), "{fault}");
}

#[test]
fn atomics_add_up() {
    let mut k = Kernel::new(96);
    k.b.run(Op::Red, &[Word::Global, Word::Add, Word::U32], &[at(k.out, 4), k.thread.into()]);
    let old = k.b.op(Op::Atom, &[Word::Global, Word::Max, Word::U32], &[at(k.out, 8), k.thread.into()]);
    k.b.run(Op::St, &[Word::Global, Word::B32], &[at(k.out, 12), old.into()]);
    k.b.ret();
    let (values, _) = run(k.b.finish(), 8).expect("no fault");
    assert_eq!(values[1], 1 + 95 * 96 / 2);
    assert_eq!(values[2], 95);
}
