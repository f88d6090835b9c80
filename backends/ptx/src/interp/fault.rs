//! What goes wrong while a program is interpreted, and where.

use std::fmt;

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The launch does not fit the entry, or the entry is not verified.
    Launch,
    /// An access outside of every buffer or variable.
    OutOfBounds,
    /// An address that is no multiple of the access.
    Misaligned,
    /// A write to memory that may only be read.
    ReadOnly,
    /// Bytes are read by `ld.global.nc` and written in the same launch.
    Stale,
    /// Two threads access a byte of shared memory, one of them writes, and nothing orders them.
    Race,
    /// Bytes of an asynchronous copy that its thread has not waited for.
    InFlight,
    /// A value that was never written decides something: an address, a branch, memory outside of the CTA.
    Undefined,
    /// Lanes that an instruction needs together are elsewhere.
    Divergence,
    /// Threads wait at a barrier that the others cannot reach any more.
    Deadlock,
    /// A barrier is used with another number of threads than before.
    BarrierCount,
    /// The program ran longer than the limit.
    Limit,
    /// `trap`.
    Trap,
}

/// A fault, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is.
    pub kind: FaultKind,
    /// Block, position and text of the instruction, or what stands for it.
    pub place: String,
    /// The CTA in the grid.
    pub cta: [u32; 3],
    /// The number of the thread in its CTA, where there is one.
    pub thread: Option<u32>,
    /// What happened.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.cta;
        write!(f, "{:?} at {}, CTA ({x}, {y}, {z})", self.kind, self.place)?;
        if let Some(thread) = self.thread {
            write!(f, ", thread {thread}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Fault {}

/// A fault whose place is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: FaultKind,
    pub(crate) thread: Option<u32>,
    pub(crate) message: String,
}

impl Trouble {
    pub(crate) fn new(kind: FaultKind, thread: u32, message: impl Into<String>) -> Self {
        Self { kind, thread: Some(thread), message: message.into() }
    }
    pub(crate) fn of_all(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, thread: None, message: message.into() }
    }
}
