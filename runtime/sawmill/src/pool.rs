//! The threads of a device: a fixed pool that runs the items of one launch at a time.
//!
//! A launch hands every worker the same closure; items are taken in order by a ticket. The caller works too. Workers spin for
//! a moment between launches (a model step is hundreds of launches in a row) and then sleep. A panic in an item is caught;
//! the launch then fails and the pool stays usable.

use sawmill_ir::backend::{RunError, Workers};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Polls before a worker sleeps: about 50 microseconds.
const SPINS: u32 = 20_000;

/// A pool of `threads` workers, of which the caller is one.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held for the length of a launch: launches of several threads take turns.
    turn: Mutex<()>,
}

struct Shared {
    job: Mutex<Option<Job>>,
    wake: Condvar,
    /// Number of the newest launch; workers wait for it to change.
    launch: AtomicUsize,
    /// Workers that still hold the newest job.
    busy: AtomicUsize,
    /// Workers that sleep; changes under the lock of `job`.
    asleep: AtomicUsize,
    stop: AtomicBool,
}

/// A launch: what to do, how often, how far it is.
#[derive(Clone)]
struct Job {
    work: Work,
    items: usize,
    next: Arc<AtomicUsize>,
    failure: Arc<Mutex<Option<String>>>,
}

/// The closure of a launch, its lifetime erased.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn(usize, usize) + Sync));

// SAFETY: the closure is `Sync`, and `Pool::run` keeps it alive until no worker holds the job.
unsafe impl Send for Work {}

impl Pool {
    /// Starts `threads - 1` threads (none for 0 or 1). Fails if the system refuses one.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            job: Mutex::new(None),
            wake: Condvar::new(),
            launch: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let mut pool = Self { shared, threads: Vec::new(), turn: Mutex::new(()) };
        for worker in 1..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            pool.threads.push(Builder::new().name(format!("sawmill-{worker}")).spawn(move || serve(&shared, worker))?);
        }
        Ok(pool)
    }

    /// Hands the job to the workers.
    fn publish(&self, job: Job) {
        self.shared.busy.store(self.threads.len(), Ordering::Relaxed);
        // Counted under the lock: a worker that is about to sleep has either seen the count or is counted as asleep.
        let mut newest = lock(&self.shared.job);
        *newest = Some(job);
        self.shared.launch.fetch_add(1, Ordering::Release);
        let asleep = self.shared.asleep.load(Ordering::Relaxed);
        drop(newest);
        if asleep > 0 {
            self.shared.wake.notify_all();
        }
    }

    /// Waits until no worker holds the job.
    fn wait_idle(&self) {
        let mut spins = 0_u32;
        while self.shared.busy.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl Workers for Pool {
    fn count(&self) -> usize {
        self.threads.len() + 1
    }

    fn run(&self, items: usize, work: &(dyn Fn(usize, usize) + Sync)) -> Result<(), RunError> {
        let _turn = lock(&self.turn);
        // SAFETY: only the lifetime changes. The pointer is used by `take_items` alone, and this function does not return
        // before `wait_idle` has seen every worker drop the job.
        let work: *const (dyn Fn(usize, usize) + Sync + 'static) =
            unsafe { std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), _>(work) };
        let job = Job { work: Work(work), items, next: Arc::default(), failure: Arc::default() };
        if items > 1 && !self.threads.is_empty() {
            self.publish(job.clone());
            take_items(&job, 0);
            self.wait_idle();
        } else {
            take_items(&job, 0);
        }
        let failure = lock(&job.failure).take();
        failure.map_or(Ok(()), |message| Err(RunError::Worker(message)))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let _job = lock(&self.shared.job);
            self.shared.stop.store(true, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches the panics of its items, so it ends well.
            let _ = thread.join();
        }
    }
}

/// A worker's life: wait for a launch, take items, report back.
fn serve(shared: &Shared, worker: usize) {
    let mut seen = 0;
    while wait_for_launch(shared, seen) {
        seen = shared.launch.load(Ordering::Acquire);
        let job = lock(&shared.job).clone();
        if let Some(job) = job {
            take_items(&job, worker);
        }
        shared.busy.fetch_sub(1, Ordering::Release);
    }
}

/// Waits for a launch after number `seen`: spins, then sleeps. False when the pool ends.
fn wait_for_launch(shared: &Shared, seen: usize) -> bool {
    for _ in 0..SPINS {
        if shared.launch.load(Ordering::Acquire) != seen {
            return true;
        }
        std::hint::spin_loop();
    }
    let mut job = lock(&shared.job);
    shared.asleep.fetch_add(1, Ordering::Relaxed);
    let mut launched = true;
    while shared.launch.load(Ordering::Acquire) == seen {
        if shared.stop.load(Ordering::Acquire) {
            launched = false;
            break;
        }
        job = shared.wake.wait(job).unwrap_or_else(PoisonError::into_inner);
    }
    shared.asleep.fetch_sub(1, Ordering::Relaxed);
    launched
}

/// Runs items until none is left or one has failed.
fn take_items(job: &Job, worker: usize) {
    let run = || {
        loop {
            let item = job.next.fetch_add(1, Ordering::Relaxed);
            if item >= job.items {
                return;
            }
            // SAFETY: `Pool::run` keeps the closure alive while a worker holds the job.
            let work = unsafe { &*job.work.0 };
            work(worker, item);
        }
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        job.next.store(job.items, Ordering::Relaxed);
        lock(&job.failure).get_or_insert_with(|| panic_message(&*panic));
    }
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Locks; a poisoned lock is taken as it is, since no invariant spans a panic here.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use crate::pool::Pool;
    use sawmill_ir::backend::Workers;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_item_runs_once() {
        let pool = Pool::new(3).expect("threads start");
        for items in [0, 1, 2, 7, 1000] {
            let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
            pool.run(items, &|_, item| {
                counts[item].fetch_add(1, Ordering::Relaxed);
            })
            .expect("no item fails");
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_panic_fails_the_launch_and_leaves_the_pool_usable() {
        let pool = Pool::new(2).expect("threads start");
        let error = pool.run(100, &|_, item| assert!(item != 57, "item 57")).expect_err("item 57 panics");
        assert!(error.to_string().contains("item 57"), "{error}");
        pool.run(100, &|_, _| {}).expect("the pool still works");
    }

    #[test]
    fn launches_of_several_threads_take_turns() {
        let pool = Pool::new(2).expect("threads start");
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        pool.run(16, &|_, _| {
                            total.fetch_add(1, Ordering::Relaxed);
                        })
                        .expect("no item fails");
                    }
                });
            }
        });
        assert_eq!(total.load(Ordering::Relaxed), 8 * 50 * 16);
    }
}
