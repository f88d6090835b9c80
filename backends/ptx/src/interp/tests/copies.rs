//! Asynchronous copies: what may be read when.

use super::{Kernel, fault};
use crate::inst::{Arg, Op, Reg, Word, at};
use crate::interp::FaultKind;

const COPY: [Word; 4] = [Word::Async, Word::Cg, Word::Shared, Word::Global];
const COMMIT: [Word; 2] = [Word::Async, Word::CommitGroup];
const WAIT: [Word; 2] = [Word::Async, Word::WaitGroup];

/// Each thread copies 16 bytes of the buffer, and reads the word at its number.
struct Copying {
    k: Kernel,
    from: Reg,
    to: Reg,
    word: Reg,
}

fn copying(threads: u32) -> Copying {
    let mut k = Kernel::new(threads);
    let shared = k.b.shared("chunks", 16, Some(2 * 16 * threads));
    let base = k.b.address(shared);
    let from = k.element(16);
    let to = k.shared_element(base, 16);
    let word = k.shared_element(base, 4);
    Copying { k, from, to, word }
}

impl Copying {
    fn copy(&mut self, slot: i32, source: i32) {
        let slot = slot * 16 * 64;
        self.k.b.run(Op::CpAsync, &COPY, &[at(self.to, slot), at(self.from, source), 16_u32.into()]);
        self.k.b.run(Op::CpAsyncGroup, &COMMIT, &[]);
    }
    fn wait(&mut self, left: u32) {
        self.k.b.run(Op::CpAsyncGroup, &WAIT, &[left.into()]);
    }
    fn read(&mut self, slot: i32) -> Reg {
        self.k.b.op(Op::Ld, &[Word::Shared, Word::U32], &[at(self.word, slot * 16 * 64)])
    }
}

#[test]
fn a_copy_is_there_after_wait_and_barrier() {
    let mut c = copying(64);
    c.copy(0, 0);
    c.wait(0);
    c.k.b.sync();
    let value = c.read(0);
    c.k.b.sync();
    c.k.give(value);
    c.k.b.ret();
    let (values, _) = super::run(c.k.b.finish(), 256).expect("no fault");
    assert_eq!(values[..64], (0..64).collect::<Vec<u32>>());
}

#[test]
fn reading_before_the_wait_is_an_error() {
    let mut c = copying(64);
    c.copy(0, 0);
    c.k.b.sync();
    c.read(0);
    fault(c.k, FaultKind::InFlight, "has not been waited for");
}

/// A thread's own wait does not make the copies of other threads visible.
#[test]
fn reading_without_a_barrier_is_a_race() {
    let mut c = copying(64);
    c.copy(0, 0);
    c.wait(0);
    c.read(0);
    fault(c.k, FaultKind::Race, "no barrier between");
}

#[test]
fn waiting_leaves_the_newest_groups_under_way() {
    let staged = |left: u32| {
        let mut c = copying(64);
        c.copy(0, 0);
        c.copy(1, 1024);
        c.wait(left);
        c.k.b.sync();
        c
    };
    let mut first = staged(1);
    first.read(0);
    assert!(first.k.outcome().is_ok());
    let mut second = staged(1);
    second.read(1);
    fault(second.k, FaultKind::InFlight, "thread");
    let mut both = staged(0);
    both.read(1);
    assert!(both.k.outcome().is_ok());
}

/// Copies outside of a group are waited for by nobody but `wait_all`.
#[test]
fn an_open_group_is_not_waited_for() {
    let open = |all: bool| {
        let mut c = copying(64);
        c.k.b.run(Op::CpAsync, &COPY, &[at(c.to, 0), at(c.from, 0), 16_u32.into()]);
        if all {
            c.k.b.run(Op::CpAsyncGroup, &[Word::Async, Word::WaitAll], &[]);
        } else {
            c.wait(0);
        }
        c.k.b.sync();
        c.read(0);
        c.k
    };
    assert!(open(true).outcome().is_ok());
    fault(open(false), FaultKind::InFlight, "not been waited for");
}

/// A slot that others still read is not free for the next copy.
#[test]
fn refilling_a_slot_too_early_is_a_race() {
    let ring = |ordered: bool| {
        let mut c = copying(64);
        c.copy(0, 0);
        c.wait(0);
        c.k.b.sync();
        c.read(0);
        if ordered {
            c.k.b.sync();
        }
        c.copy(0, 1024);
        c.wait(0);
        c.k
    };
    assert!(ring(true).outcome().is_ok());
    fault(ring(false), FaultKind::Race, "read by thread");
}

#[test]
fn bytes_that_are_not_read_are_zeros() {
    let mut c = copying(32);
    // A source of no bytes may lie anywhere: the last threads are past the end of the buffer.
    let inside = c.k.b.op(Op::Setp, &[Word::Lt, Word::U32], &[c.k.thread.into(), 2_u32.into()]);
    let bytes = c.k.b.op(Op::Selp, &[Word::B32], &[8_u32.into(), 0_u32.into(), inside.into()]);
    let uses: [Arg; 4] = [at(c.to, 0), at(c.from, 0), 16_u32.into(), bytes.into()];
    c.k.b.run(Op::CpAsync, &COPY, &uses);
    c.k.b.run(Op::CpAsyncGroup, &COMMIT, &[]);
    c.wait(0);
    c.k.b.sync();
    let value = c.read(0);
    c.k.give(value);
    c.k.b.ret();
    let (values, _) = super::run(c.k.b.finish(), 32).expect("no fault");
    let mut expected = vec![0; 32];
    expected[1] = 1;
    expected[4] = 4;
    expected[5] = 5;
    assert_eq!(values, expected);
}
