//! Shared memory, barriers, races, bank conflicts.

use super::{Kernel, fault};
use crate::inst::{Arg, Guard, Op, Reg, SharedId, Word, at};
use crate::interp::FaultKind;

struct Exchange {
    k: Kernel,
    shared: SharedId,
    mine: Reg,
    other: Reg,
}

/// Each thread has a word in shared memory; `other` is the word of the thread `distance` further, around the end.
fn exchange(threads: u32, distance: u32) -> Exchange {
    let mut k = Kernel::new(threads);
    let shared = k.b.shared("words", 16, Some(4 * threads));
    let base = k.b.address(shared);
    let mine = k.shared_element(base, 4);
    let next = k.b.op(Op::Add, &[Word::U32], &[k.thread.into(), distance.into()]);
    let next = k.b.op(Op::Rem, &[Word::U32], &[next.into(), threads.into()]);
    let other = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[next.into(), 4_u32.into(), base.into()]);
    Exchange { k, shared, mine, other }
}

impl Exchange {
    fn put(&mut self) {
        let thread = self.k.thread;
        self.k.b.run(Op::St, &[Word::Shared, Word::U32], &[at(self.mine, 0), thread.into()]);
    }
    fn take(&mut self) -> Reg {
        self.k.b.op(Op::Ld, &[Word::Shared, Word::U32], &[at(self.other, 0)])
    }
}

#[test]
fn a_barrier_orders_an_exchange() {
    let mut x = exchange(96, 33);
    x.put();
    x.k.b.sync();
    let value = x.take();
    assert_eq!(x.k.values(value), (0..96).map(|thread| (thread + 33) % 96).collect::<Vec<u32>>());
}

#[test]
fn without_a_barrier_it_is_a_race() {
    let mut x = exchange(96, 33);
    x.put();
    x.take();
    fault(x.k, FaultKind::Race, "no barrier between");
}

#[test]
fn a_second_round_needs_a_second_barrier() {
    let round = |second: bool| {
        let mut x = exchange(64, 32);
        x.put();
        x.k.b.sync();
        x.take();
        if second {
            x.k.b.sync();
        }
        x.put();
        x.k
    };
    assert!(round(true).outcome().is_ok());
    fault(round(false), FaultKind::Race, "no barrier between");
}

/// Lanes of one warp do not run in step on hardware: they need a barrier of their own.
#[test]
fn lanes_of_a_warp_race_too() {
    let within = |ordered: bool| {
        let mut x = exchange(32, 1);
        x.put();
        if ordered {
            x.k.b.run(Op::Bar, &[Word::Warp, Word::Sync], &[u32::MAX.into()]);
        }
        x.take();
        x.k
    };
    assert!(within(true).outcome().is_ok());
    fault(within(false), FaultKind::Race, "written by thread");
}

#[test]
fn half_a_warp_at_a_barrier_is_an_error() {
    let mut x = exchange(64, 1);
    let first = x.k.b.op(Op::Setp, &[Word::Lt, Word::U32], &[x.k.thread.into(), 40_u32.into()]);
    x.k.b.under(Guard::when(first), |b| b.sync());
    fault(x.k, FaultKind::Divergence, "of warp 1 the lanes 0xffffff00");
}

#[test]
fn a_warp_that_leaves_early_hangs_the_others() {
    let mut k = Kernel::new(96);
    let last = k.b.op(Op::Setp, &[Word::Ge, Word::U32], &[k.thread.into(), 64_u32.into()]);
    k.b.under(Guard::when(last), |b| b.ret());
    k.b.sync();
    fault(k, FaultKind::Deadlock, "barrier 0 has 64 of 96 threads");
}

#[test]
fn warps_at_different_barriers_hang() {
    let mut k = Kernel::new(64);
    let warp = k.b.op(Op::Shr, &[Word::U32], &[k.thread.into(), 5_u32.into()]);
    let id = k.b.op(Op::Add, &[Word::U32], &[warp.into(), 1_u32.into()]);
    k.b.run(Op::Bar, &[Word::Sync], &[id.into(), 64_u32.into()]);
    fault(k, FaultKind::Deadlock, "barrier 2 has 32 of 64 threads");
}

#[test]
fn a_barrier_is_for_one_number_of_threads() {
    let mut k = Kernel::new(64);
    let warp = k.b.op(Op::Shr, &[Word::U32], &[k.thread.into(), 5_u32.into()]);
    let count = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[warp.into(), 32_u32.into(), 64_u32.into()]);
    k.b.run(Op::Bar, &[Word::Sync], &[1_u32.into(), count.into()]);
    fault(k, FaultKind::BarrierCount, "waits for 64 threads, here for 96");
}

/// A producer warp arrives, a consumer warp waits: the consumer may then read what was written before.
#[test]
fn an_arrival_hands_over_what_was_written() {
    let handed = |arrives: bool| {
        let mut k = Kernel::new(64);
        let shared = k.b.shared("word", 16, Some(128));
        let base = k.b.address(shared);
        let lane = k.b.op(Op::And, &[Word::B32], &[k.thread.into(), 31_u32.into()]);
        let word = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[lane.into(), 4_u32.into(), base.into()]);
        let producer = k.b.op(Op::Setp, &[Word::Lt, Word::U32], &[k.thread.into(), 32_u32.into()]);
        k.b.under(Guard::when(producer), |b| {
            b.run(Op::St, &[Word::Shared, Word::U32], &[at(word, 0), lane.into()]);
            if arrives {
                b.run(Op::Bar, &[Word::Arrive], &[1_u32.into(), 64_u32.into()]);
            }
        });
        k.b.under(Guard::unless(producer), |b| {
            if arrives {
                b.run(Op::Bar, &[Word::Sync], &[1_u32.into(), 64_u32.into()]);
            }
            b.op(Op::Ld, &[Word::Shared, Word::U32], &[at(word, 0)])
        });
        k
    };
    assert!(handed(true).outcome().is_ok());
    fault(handed(false), FaultKind::Race, "written by thread");
}

#[test]
fn shared_accesses_stay_in_their_variable() {
    let access = |words: [Word; 2], offset: i32| {
        let x = exchange(32, 1);
        let mut k = x.k;
        let base = k.b.address(x.shared);
        k.b.op(Op::Ld, &words, &[at(base, offset)]);
        k
    };
    assert!(access([Word::Shared, Word::U32], 124).outcome().is_ok());
    fault(access([Word::Shared, Word::U32], 128), FaultKind::OutOfBounds, "byte 128 from the start of S0");
    fault(access([Word::Shared, Word::U32], -4), FaultKind::OutOfBounds, "shared");
    fault(access([Word::Shared, Word::B64], 4), FaultKind::Misaligned, "8 bytes");
}

#[test]
fn shared_memory_starts_undefined() {
    let mut x = exchange(32, 0);
    let value = x.take();
    x.k.give(value);
    fault(x.k, FaultKind::Undefined, "stored to global");
}

#[test]
fn atomics_on_shared_memory_do_not_race() {
    let counted = |plain: bool| {
        let mut k = Kernel::new(64);
        let shared = k.b.shared("count", 4, Some(4));
        let base = k.b.address(shared);
        let first = k.b.op(Op::Setp, &[Word::Eq, Word::U32], &[k.thread.into(), 0_u32.into()]);
        let zero: [Arg; 2] = [at(base, 0), 0_u32.into()];
        k.b.under(Guard::when(first), |b| b.run(Op::St, &[Word::Shared, Word::U32], &zero));
        k.b.sync();
        k.b.run(Op::Red, &[Word::Shared, Word::Add, Word::U32], &[at(base, 0), 1_u32.into()]);
        if !plain {
            k.b.sync();
        }
        let total = k.b.op(Op::Ld, &[Word::Shared, Word::U32], &[at(base, 0)]);
        (k, total)
    };
    let (k, total) = counted(false);
    assert_eq!(k.values(total), vec![64; 64]);
    fault(counted(true).0, FaultKind::Race, "written by thread");
}

#[test]
fn conflicts_are_reported_with_their_instruction() {
    let mut k = Kernel::new(32);
    let shared = k.b.shared("columns", 16, Some(32 * 128));
    let base = k.b.address(shared);
    let row = k.shared_element(base, 128);
    k.b.run(Op::St, &[Word::Shared, Word::U32], &[at(row, 0), k.thread.into()]);
    let word = k.shared_element(base, 4);
    k.b.run(Op::Bar, &[Word::Sync], &[0_u32.into()]);
    k.b.run(Op::St, &[Word::Shared, Word::U32], &[at(word, 0), k.thread.into()]);
    k.b.ret();
    let entry = k.b.finish();
    let (_, report) = super::run(entry.clone(), 1).expect("no fault");
    assert_eq!(report.wavefronts().taken, 33);
    assert_eq!(report.wavefronts().ideal, 2);
    let lines = report.conflicts(&entry);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("32 wavefronts, 1 would do: $B0_entry:"), "{lines:?}");
}
