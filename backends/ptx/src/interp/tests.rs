//! Tests of the interpreter: small kernels with one thing right or one thing wrong.

mod copies;
mod lanes;
mod matrices;
mod numbers;
mod page;
mod shared;

use super::{Fault, FaultKind, Launch, Memory, Options, Report, interpret};
use crate::inst::{Builder, Entry, Module, Op, Reg, Sm, Special, Word, at};

/// A kernel's builder, its first parameter and the thread's number.
pub(super) struct Kernel {
    pub(super) b: Builder,
    pub(super) out: Reg,
    pub(super) thread: Reg,
}

impl Kernel {
    /// A kernel `k` of one parameter, a buffer, with so many threads.
    pub(super) fn new(threads: u32) -> Self {
        let mut b = Builder::new("k", [threads, 1, 1]);
        let param = b.param("out", Word::U64);
        let out = b.load_param(param);
        let thread = b.special(Special::TidX);
        Self { b, out, thread }
    }

    /// The address of the thread's element of `bytes` bytes of the buffer.
    pub(super) fn element(&mut self, bytes: u32) -> Reg {
        let args = [self.thread.into(), bytes.into(), self.out.into()];
        self.b.op(Op::Mad, &[Word::Wide, Word::U32], &args)
    }

    /// `base + thread * bytes` in shared memory.
    pub(super) fn shared_element(&mut self, base: Reg, bytes: u32) -> Reg {
        self.b.op(Op::Mad, &[Word::Lo, Word::U32], &[self.thread.into(), bytes.into(), base.into()])
    }

    /// Stores a 32-bit value as the thread's element.
    pub(super) fn give(&mut self, value: Reg) {
        let address = self.element(4);
        self.b.run(Op::St, &[Word::Global, Word::B32], &[at(address, 0), value.into()]);
    }

    /// Stores `value` from every thread, ends, and runs one CTA; the elements of the buffer.
    pub(super) fn values(mut self, value: Reg) -> Vec<u32> {
        self.give(value);
        self.b.ret();
        let entry = self.b.finish();
        let count = entry.thread_count() as usize;
        run(entry, count).map(|(values, _)| values).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// Ends and runs one CTA with a buffer of 4096 elements.
    pub(super) fn outcome(mut self) -> Result<Report, Fault> {
        self.b.ret();
        run(self.b.finish(), 4096).map(|(_, report)| report)
    }
}

/// Runs one CTA with a buffer of `count` 32-bit elements that count from 0 on.
pub(super) fn run(entry: Entry, count: usize) -> Result<(Vec<u32>, Report), Fault> {
    let mut module = Module::new(Sm::Sm90);
    module.entries.push(entry);
    let mut memory = Memory::default();
    let elements = (0..u32::try_from(count).expect("few")).flat_map(u32::to_le_bytes);
    let buffer = memory.alloc(elements.collect());
    let launch = Launch { grid: [1, 1, 1], args: vec![buffer], dynamic_shared: 4096 };
    let report = interpret(&module, "k", &launch, &mut memory, Options { steps: 100_000 })?;
    let bytes = memory.bytes(buffer).expect("the buffer");
    let values = bytes.chunks(4).map(|part| u32::from_le_bytes(part.try_into().expect("four bytes")));
    Ok((values.collect(), report))
}

/// The fault of a kernel, whose text must name `word`.
pub(super) fn fault(kernel: Kernel, kind: FaultKind, word: &str) {
    let fault = kernel.outcome().expect_err("a fault");
    assert_eq!(fault.kind, kind, "{fault}");
    assert!(fault.to_string().contains(word), "{fault} does not name `{word}`");
}
