//! Copies of every size, memory that is used again, many threads, two streams.

use super::subject;
use sawmill_cuda::{Gpu, GpuError};

fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at * 131 + seed * 17 + at / 251) % 256) as u8).collect()
}

/// Sizes around those of the parts of pinned memory.
const SIZES: [usize; 9] = [0, 1, 255, 4096, 4097, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, (13 << 20) + 7];

#[test]
fn bytes_of_every_size_come_back() {
    let Some(subject) = subject() else { return };
    for (seed, bytes) in SIZES.into_iter().enumerate() {
        let given = pattern(bytes, seed);
        let mut memory = subject.gpu.allocate(bytes as u64).expect("memory");
        subject.gpu.upload(&given, &mut memory).expect("a copy");
        let mut back = vec![0; bytes];
        subject.gpu.download(&memory, &mut back).expect("a copy");
        assert!(back == given, "{bytes} bytes");
    }
}

#[test]
fn parts_are_written_and_read_where_they_lie() {
    let Some(subject) = subject() else { return };
    let mut memory = subject.memory(&[7; 1000]);
    subject.gpu.upload_at(&[1, 2, 3], &mut memory, 500).expect("inside");
    let mut back = [0; 5];
    subject.gpu.download_at(&memory, 499, &mut back).expect("inside");
    assert_eq!(back, [7, 1, 2, 3, 7]);
    assert!(subject.gpu.upload_at(&[1, 2, 3], &mut memory, 998).is_err());
    assert!(subject.gpu.download_at(&memory, u64::MAX, &mut back).is_err());
}

#[test]
fn memory_is_used_again_and_never_by_two() {
    let Some(subject) = subject() else { return };
    let first = subject.gpu.allocate(100_000).expect("memory");
    let (address, other) = (first.address(), subject.gpu.allocate(100_000).expect("memory"));
    assert_ne!(address, other.address());
    drop(first);
    let again = subject.gpu.allocate(99_999).expect("memory");
    assert_eq!((again.address(), again.bytes()), (address, 99_999));
    assert!(again.address().is_multiple_of(256));
}

#[test]
fn what_one_stream_holds_unused_another_can_have() {
    let Some(subject) = subject() else { return };
    let Ok(other) = Gpu::open(0) else { panic!("it was opened before") };
    let most = subject.gpu.facts().memory_bytes / 10 * 6;
    drop(subject.gpu.allocate(most).expect("more than half is free"));
    let held = other.allocate(most).expect("what the first stream held unused");
    let refused = subject.gpu.allocate(most).map(drop);
    assert_eq!(refused, Err(GpuError::OutOfMemory { bytes: most }));
    drop(held);
    let error = subject.gpu.allocate(u64::MAX).map(drop);
    assert_eq!(error, Err(GpuError::OutOfMemory { bytes: u64::MAX }));
    assert!(subject.gpu.allocate(1 << 20).is_ok());
}

#[test]
fn threads_copy_through_one_stream() {
    let Some(subject) = subject() else { return };
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let subject = &subject;
            scope.spawn(move || {
                for turn in 0..40 {
                    let bytes = [64, 3000, 70_000, 5 << 20][(turn + thread) % 4] + thread;
                    let given = pattern(bytes, thread * 1000 + turn);
                    let memory = subject.memory(&given);
                    let mut back = vec![0; bytes];
                    subject.gpu.download(&memory, &mut back).expect("a copy");
                    assert!(back == given, "thread {thread} turn {turn}");
                }
            });
        }
    });
}

#[test]
fn the_clock_runs_and_a_copy_is_faster_than_a_second() {
    let Some(subject) = subject() else { return };
    let nothing = subject.gpu.seconds(|| ()).expect("nothing fails");
    assert!((0.0..0.1).contains(&nothing), "{nothing}");
    let rate = subject.gpu.copy_rate(64 << 20, 5).expect("room");
    assert!(rate > 50e9, "{rate} bytes a second");
    assert!(subject.gpu.copy_rate(u64::MAX / 4, 1).is_err());
}
