//! What happened before what: vector clocks of warps.
//!
//! A warp's own component counts its synchronisations. An access is stamped with its thread and its warp's component; it happened
//! before an access of another thread if the other's warp has learned of a later component through barriers. Lanes of one warp
//! are ordered by what synchronises the whole warp only. Source of the algorithm: C. Flanagan and S. Freund, FastTrack, PLDI 2009.

use super::WARP;

/// When and by whom a byte was accessed. Time 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) time: u32,
    pub(crate) thread: u32,
}

/// What a warp knows of every warp, itself among them.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    times: Vec<u32>,
    warp: usize,
}

impl Clock {
    pub(crate) fn new(warp: usize, warps: usize) -> Self {
        let mut times = vec![0; warps];
        times[warp] = 1;
        Self { times, warp }
    }

    /// The component that accesses are stamped with.
    pub(crate) fn now(&self) -> u32 {
        self.times[self.warp]
    }

    /// Everything before is over for those that learn of it.
    pub(crate) fn tick(&mut self) {
        self.times[self.warp] += 1;
    }

    /// Tells `other` all that this warp knows.
    pub(crate) fn tell(&self, other: &mut Vec<u32>) {
        other.resize(self.times.len(), 0);
        other.iter_mut().zip(&self.times).for_each(|(theirs, ours)| *theirs = (*theirs).max(*ours));
    }

    /// Learns what a barrier was told.
    pub(crate) fn learn(&mut self, told: &[u32]) {
        self.times.iter_mut().zip(told).for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
    }

    /// Whether an access is ordered before what `thread` of this warp does now.
    pub(crate) fn follows(&self, stamp: Stamp, thread: u32) -> bool {
        if stamp.time == 0 || stamp.thread == thread {
            return true;
        }
        let warp = stamp.thread as usize / WARP;
        if warp == self.warp { stamp.time < self.now() } else { stamp.time <= self.times[warp] }
    }
}
