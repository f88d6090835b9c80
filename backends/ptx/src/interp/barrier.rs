//! The sixteen barriers of a CTA.
//!
//! A barrier opens when as many threads have arrived as it is used with. What arrives tells the barrier all that its warp knows of
//! others; what waits learns it when the barrier opens.

use super::fault::{FaultKind, Trouble};

const BARRIERS: usize = 16;

/// Lanes of a warp that wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) warp: usize,
    pub(crate) lanes: u32,
}

#[derive(Clone, Debug, Default)]
struct Barrier {
    expected: u32,
    arrived: u32,
    told: Vec<u32>,
    waiters: Vec<Waiter>,
}

/// What opened: who goes on, and what they learn.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) told: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Barriers {
    barriers: Vec<Barrier>,
}

/// An arrival: at which barrier, how many threads at once, of how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) id: u64,
    pub(crate) threads: u32,
    pub(crate) expected: u32,
}

impl Barriers {
    pub(crate) fn new() -> Self {
        Self { barriers: vec![Barrier::default(); BARRIERS] }
    }

    /// Threads arrive and, if `waiter` is given, wait. Gives what opened, if that was the last of them.
    pub(crate) fn arrive(
        &mut self,
        arrival: Arrival,
        waiter: Option<Waiter>,
        tell: impl FnOnce(&mut Vec<u32>),
    ) -> Result<Option<Opened>, Trouble> {
        let Arrival { id, threads, expected } = arrival;
        let barrier = usize::try_from(id).ok().and_then(|id| self.barriers.get_mut(id));
        let barrier =
            barrier.ok_or_else(|| Trouble::of_all(FaultKind::BarrierCount, format!("there is no barrier {id}")))?;
        if barrier.arrived > 0 && barrier.expected != expected {
            let message = format!("barrier {id} waits for {} threads, here for {expected}", barrier.expected);
            return Err(Trouble::of_all(FaultKind::BarrierCount, message));
        }
        barrier.expected = expected;
        barrier.arrived += threads;
        tell(&mut barrier.told);
        barrier.waiters.extend(waiter);
        if barrier.arrived > expected {
            let message = format!("{} threads are at barrier {id}, which is for {expected}", barrier.arrived);
            return Err(Trouble::of_all(FaultKind::BarrierCount, message));
        }
        if barrier.arrived < expected {
            return Ok(None);
        }
        let Barrier { told, waiters, .. } = std::mem::take(barrier);
        Ok(Some(Opened { waiters, told }))
    }

    /// The barriers that threads wait at, for a report: number, arrived, expected.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (usize, u32, u32)> {
        let barriers = self.barriers.iter().enumerate().filter(|(_, barrier)| barrier.arrived > 0);
        barriers.map(|(id, barrier)| (id, barrier.arrived, barrier.expected))
    }
}
