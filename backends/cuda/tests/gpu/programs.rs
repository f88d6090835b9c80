//! Small programs that run.

use super::subject;
use sawmill_cuda::Launch;
use sawmill_ptx::inst::{Builder, Entry, Guard, Module, Op, Special, Word, at};

/// `y[i] = 2 y[i] + 1` for `i` below `n`.
fn scale() -> Entry {
    let mut b = Builder::new("scale", [128, 1, 1]);
    let (y, n) = (b.param("y", Word::U64), b.param("n", Word::U64));
    let (y, n) = (b.load_param(y), b.load_param(n));
    let (cta, thread) = (b.special(Special::CtaidX), b.special(Special::TidX));
    let n = b.op(Op::Cvt, &[Word::U32, Word::U64], &[n.into()]);
    let i = b.op(Op::Mad, &[Word::Lo, Word::U32], &[cta.into(), 128_u32.into(), thread.into()]);
    let inside = b.op(Op::Setp, &[Word::Lt, Word::U32], &[i.into(), n.into()]);
    let address = b.op(Op::Mad, &[Word::Wide, Word::U32], &[i.into(), 4_u32.into(), y.into()]);
    b.under(Guard::when(inside), |b| {
        let value = b.op(Op::Ld, &[Word::Global, Word::F32], &[at(address, 0)]);
        let value = b.op(Op::Fma, &[Word::Rn, Word::F32], &[value.into(), 2_f32.into(), 1_f32.into()]);
        b.run(Op::St, &[Word::Global, Word::F32], &[at(address, 0), value.into()]);
    });
    b.ret();
    b.finish()
}

/// Sums 1024 words in shared memory whose size the launch gives: more than a kernel has without asking.
fn total(bytes: u32) -> Entry {
    let mut b = Builder::new("total", [32, 1, 1]);
    let y = b.param("y", Word::U64);
    let memory = b.shared("memory", 16, None);
    let (y, base, thread) = (b.load_param(y), b.address(memory), b.special(Special::TidX));
    let slot = b.op(Op::Mad, &[Word::Lo, Word::U32], &[thread.into(), 4_u32.into(), base.into()]);
    let last = i32::try_from(bytes - 128).expect("small");
    b.run(Op::St, &[Word::Shared, Word::U32], &[at(slot, last), thread.into()]);
    b.sync();
    let value = b.op(Op::Ld, &[Word::Shared, Word::U32], &[at(slot, last)]);
    let sum = b.op(Op::Redux, &[Word::Sync, Word::Add, Word::U32], &[value.into(), u32::MAX.into()]);
    b.run(Op::St, &[Word::Global, Word::U32], &[at(y, 0), sum.into()]);
    b.ret();
    b.finish()
}

fn floats(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

#[test]
fn a_kernel_runs_and_its_memory_comes_back() {
    let Some(subject) = subject() else { return };
    let kernels = subject.load(&Module { entries: vec![scale()], ..Module::new(subject.sm) });
    let kernel = &kernels[0];
    assert!(kernel.registers() > 0 && kernel.spilled_bytes() == 0);
    let buffer = subject.memory(&floats((0..300_u16).map(f32::from)));
    let words = [buffer.address(), 299];
    // SAFETY: the kernel touches the first 299 of the buffer's 300 values.
    unsafe { kernel.launch(&subject.gpu, Launch { ctas: 3, threads: 128, dynamic_bytes: 0 }, &words) }
        .expect("it starts");
    let mut back = vec![0; 1200];
    subject.gpu.download(&buffer, &mut back).expect("it ran");
    let expected = (0..300_u16).map(|n| if n < 299 { 2.0 * f32::from(n) + 1.0 } else { f32::from(n) });
    assert_eq!(back, floats(expected));
}

#[test]
fn shared_memory_beyond_48_kib_is_asked_for() {
    let Some(subject) = subject() else { return };
    let bytes = subject.gpu.facts().shared_bytes;
    let kernels = subject.load(&Module { entries: vec![total(bytes)], ..Module::new(subject.sm) });
    let buffer = subject.memory(&[0; 4]);
    let launch = Launch { ctas: 1, threads: 32, dynamic_bytes: bytes };
    // SAFETY: the kernel writes the four bytes of the buffer, if it starts.
    let unasked = unsafe { kernels[0].launch(&subject.gpu, launch, &[buffer.address()]) };
    assert!(unasked.is_err());
    kernels[0].allow_shared(bytes).expect("the GPU has so much");
    // SAFETY: the kernel writes the four bytes of the buffer.
    unsafe { kernels[0].launch(&subject.gpu, launch, &[buffer.address()]) }.expect("it starts");
    let mut back = [0; 4];
    subject.gpu.download(&buffer, &mut back).expect("it ran");
    assert_eq!(u32::from_le_bytes(back), 31 * 32 / 2);
}

#[test]
fn threads_share_a_gpu() {
    let Some(subject) = subject() else { return };
    let kernels = subject.load(&Module { entries: vec![scale()], ..Module::new(subject.sm) });
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (subject, kernel) = (&subject, &kernels[0]);
            scope.spawn(move || {
                let buffer = subject.memory(&floats(std::iter::repeat_n(f32::from(thread), 64)));
                let (launch, words) = (Launch { ctas: 1, threads: 128, dynamic_bytes: 0 }, [buffer.address(), 64]);
                for _ in 0..10 {
                    // SAFETY: the kernel touches the 64 values of the buffer.
                    unsafe { kernel.launch(&subject.gpu, launch, &words) }.expect("it starts");
                }
                let mut back = vec![0; 256];
                subject.gpu.download(&buffer, &mut back).expect("it ran");
                assert_eq!(back, floats(std::iter::repeat_n(f32::from(thread) * 1024.0 + 1023.0, 64)));
            });
        }
    });
}
