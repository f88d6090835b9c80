//! Rates of lowered kernels on one core, to read: `cargo test --workspace --test all speed -- --ignored --nocapture`.

use crate::lowering::{packed_rows, product, scores, softmax_sum};
use crate::subject::Subject;
use crate::subjects::subjects;
use crate::tiles::{Image, Lay, arrays};
use sawmill_ir::tile::Kernel;
use sawmill_ir::tile::builder::Built;
use sawmill_simd::lower::lower;
use std::time::Instant;

/// Seconds that this thread has been running.
fn on_cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every system this test runs on, and `time` is a valid place for its answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Shows what a number of operations of a kernel takes on each subject.
fn report(kernel: &Kernel, dims: &[i64], show: &dyn Fn(f64) -> String) {
    for subject in &subjects() {
        let seconds = best(subject, kernel, dims);
        println!("{}: {}", subject.name(), show(seconds));
    }
}

/// The best of several runs in seconds.
fn best(subject: &Subject, kernel: &Kernel, dims: &[i64]) -> f64 {
    let lowered = lower(kernel, &subject.target).unwrap_or_else(|e| panic!("{e}"));
    for remark in &lowered.remarks {
        println!("  {remark}");
    }
    if std::env::var_os("SAWMILL_SHOW_ASSEMBLY").is_some() {
        println!("{}", lowered.function);
        for (title, text) in subject.generator.texts(&lowered.function).expect("compiles") {
            println!("{title}:\n{text}");
        }
    }
    let start = Instant::now();
    let code = subject.compile(&lowered.function);
    println!(
        "  compiled in {:.1} ms, scratch {} KiB",
        start.elapsed().as_secs_f64() * 1e3,
        code.scratch_bytes() / 1024
    );
    let mut image = Image::of(kernel, &arrays(kernel, dims, 7, (0, 255)), Lay::Dense);
    let mut scratch = vec![0_u8; code.scratch_bytes() as usize + 64];
    let aligned = scratch.as_mut_ptr().align_offset(64);
    let (args, blocks) = image.arguments(kernel, dims);
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = on_cpu();
        // SAFETY: the same kernel is checked against the interpreter by the tests of this binary; arguments are as large as
        // its shapes say.
        unsafe { code.call(&args, 0, blocks, scratch.as_mut_ptr().add(aligned)) };
        best = best.min(on_cpu() - start);
    }
    best
}

#[test]
#[ignore = "a measurement"]
fn speed_of_products() -> Built<()> {
    for (bm, bn, bk) in [(64, 64, 64), (48, 64, 128), (64, 128, 64), (64, 64, 256), (32, 32, 32)] {
        for transposed in [false, true] {
            report(&product(bm, bn, bk, transposed)?, &[512, 512, 512], &|seconds| {
                let rate = 2.0 * 512_f64.powi(3) / seconds / 1e9;
                format!("product {bm}x{bn}x{bk} transposed {transposed}: {rate:.1} GFLOP/s")
            });
        }
    }
    Ok(())
}

#[test]
#[ignore = "a measurement"]
fn speed_of_scores() -> Built<()> {
    for (bi, bj, d, e) in
        [(64, 64, 64, 64), (64, 64, 8, 8), (64, 64, 64, 8), (64, 64, 8, 64), (32, 64, 64, 64), (96, 48, 64, 64)]
    {
        let pairs = 2048.0 * 2049.0 / 2.0;
        let flops = 2.0 * f64::from(d + e) * pairs;
        report(&scores(bi, bj, d, e)?, &[2048, 2048], &|seconds| {
            let (rate, cycles) = (flops / seconds / 1e9, seconds * 4.3e9 / pairs);
            format!("scores {bi}x{bj}, {d} to {e}: {rate:.1} GFLOP/s, {cycles:.2} cycles a pair at 4.3 GHz")
        });
    }
    Ok(())
}

#[test]
#[ignore = "a measurement"]
fn speed_of_packed_rows() -> Built<()> {
    for (bn, bb, blocks) in
        [(1, 18, 18), (8, 18, 18), (16, 18, 18), (16, 18, 48), (16, 6, 48), (8, 48, 48), (16, 48, 48), (32, 8, 48)]
    {
        let rows = 576;
        report(&packed_rows(bn, bb)?, &[rows, blocks], &|seconds| {
            format!("packed {bn}x{bb} of {blocks}: {:.2} G weights/s", (rows * blocks * 32) as f64 / seconds / 1e9)
        });
    }
    Ok(())
}

#[test]
#[ignore = "a measurement"]
fn speed_of_softmax_sums() {
    for kernel in &softmax_sum().kernels {
        let queries: i64 = if kernel.name.contains("few") { 1 } else { 2048 };
        let pairs = if queries == 1 { 2048.0 } else { 2048.0 * 2049.0 / 2.0 };
        report(kernel, &[1, 8, 2, queries, 2048, 64], &|seconds| {
            format!("{}: {:.1} GFLOP/s", kernel.name, 8.0 * 4.0 * 64.0 * pairs / seconds / 1e9)
        });
    }
}
