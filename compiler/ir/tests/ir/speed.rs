//! How fast the graph interpreter is: multiply-adds a second on one thread, printed, never asserted.
//!
//! `cargo test --release -p sawmill-ir --test ir speed -- --ignored --nocapture`

use sawmill_ir::dtype::DType;
use sawmill_ir::graph::interp::{Inputs, Options, Value, run};
use sawmill_ir::graph::text::parse_function;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Seconds: of this thread on a processor where the system tells, else of the wall clock.
fn clock() -> f64 {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64(), |ns| ns / 1e9)
}

fn measure(name: &str, text: &str, inputs: &[(&str, DType, &[usize])], products: usize) {
    let function = parse_function(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let value = |dtype: DType, shape: &[usize]| {
        let bytes = shape.iter().product::<usize>() * dtype.bits() as usize / 8;
        // Numbers without pattern; as floats, small ones and no NaN.
        let pattern = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8;
        let bytes = (0..bytes).map(|at| if dtype.is_float() && at % 2 == 1 { 0x3c } else { pattern(at) });
        Value::from_bytes(dtype, shape.to_vec(), &bytes.collect::<Vec<_>>()).expect("as many bytes as the shape says")
    };
    let inputs: Inputs =
        inputs.iter().map(|(name, dtype, shape)| ((*name).to_owned(), Arc::new(value(*dtype, shape)))).collect();
    let best = (0..3).map(|_| {
        let begun = clock();
        run(&function, &BTreeMap::new(), &inputs, Options::default()).expect("it runs");
        clock() - begun
    });
    let seconds = best.fold(f64::INFINITY, f64::min);
    println!("{name}: {:.2e} multiply-adds a second ({:.1} ms)", products as f64 / seconds, 1e3 * seconds);
}

#[test]
#[ignore = "measures, and shows nothing wrong"]
fn multiply_adds_a_second() {
    let f32s = DType::F32;
    let rows = "fn f<M, N, K>(a: f32[M, K], b: f32[N, K]) -> (y) { let y[i in M, j in N] = sum[k in K](mul(a[i, k], b[j, k])); }";
    measure("contraction 256x256x256", rows, &[("a", f32s, &[256, 256]), ("b", f32s, &[256, 256])], 1 << 24);
    measure("contraction 1x4096x576", rows, &[("a", f32s, &[1, 576]), ("b", f32s, &[4096, 576])], 4096 * 576);
    let columns = "fn f<M, N, K>(a: f32[M, K], b: f32[K, N]) -> (y) { let y[i in M, j in N] = sum[k in K](mul(a[i, k], b[k, j])); }";
    measure(
        "contraction 256x256x256, b by columns",
        columns,
        &[("a", f32s, &[256, 256]), ("b", f32s, &[256, 256])],
        1 << 24,
    );
    let packed = "fn f<M, N, K>(x: f32[M, K], d: f16[N, K / 32], m: f16[N, K / 32], q: u8[N, K / 32, 16]) -> (y) {
        let y[i in M, n in N] = sum[k in K](mul(x[i, k], add(m[n, k / 32], mul(d[n, k / 32],
            cast[f32](bitand(shr(cast[i32](q[n, k / 32, k % 16]), cast[i32](mul(4, #(k % 32 / 16)))), cast[i32](15)))))));
    }";
    let inputs = |rows: usize| -> Vec<(&str, DType, Vec<usize>)> {
        let (d, q) = (vec![2048, 18], vec![2048, 18, 16]);
        vec![("x", f32s, vec![rows, 576]), ("d", DType::F16, d.clone()), ("m", DType::F16, d), ("q", DType::U8, q)]
    };
    for rows in [1, 32] {
        let inputs = inputs(rows);
        let inputs: Vec<(&str, DType, &[usize])> = inputs.iter().map(|(n, d, s)| (*n, *d, s.as_slice())).collect();
        measure(&format!("packed {rows}x2048x576"), packed, &inputs, rows * 2048 * 576);
    }
    let attention = "fn f<S, T, D>(q: f32[S, D], k: f32[T, D], v: f32[T, D]) -> (o) {
        let z[i in S, j in T] = where(sum[d in D](mul(q[i, d], k[j, d])), le(#j, #i));
        let p[i in S, j in T] = softmax[j](z[i, j]);
        let o[i in S, c in D] = sum[j in T](mul(p[i, j], v[j, c]));
    }";
    let all: &[(&str, DType, &[usize])] = &[("q", f32s, &[512, 64]), ("k", f32s, &[512, 64]), ("v", f32s, &[512, 64])];
    measure("causal attention 512x64, all products counted", attention, all, 2 * 512 * 512 * 64);
}
