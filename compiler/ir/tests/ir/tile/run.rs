//! Programs run by the interpreter against plain loops, in both precisions, on sizes around the tiles' own.

use super::programs::{gemm, packed, softmax_fold};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::Module;
use sawmill_ir::tile::interp::{Array, Precision, run};

/// Values that are no round numbers and repeat nowhere soon.
fn numbers(count: usize, seed: u32) -> Vec<f64> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from((f64::from(state >> 8) / f64::from(1 << 23) - 1.0) as f32)
        })
        .collect()
}

fn floats(dtype: DType, shape: &[usize], values: &[f64]) -> Vec<Array> {
    vec![Array::floats(dtype, shape.to_vec(), values).expect("fits")]
}

/// Runs `module`, the last buffer being its output.
fn output(module: &Module, dims: &[usize], inputs: Vec<Vec<Array>>, precision: Precision) -> Vec<f64> {
    let dims: Vec<i64> = dims.iter().map(|d| *d as i64).collect();
    let mut buffers = inputs;
    buffers.push(Vec::new());
    run(module, &dims, &mut buffers, precision).unwrap_or_else(|e| panic!("{dims:?}: {e}"));
    buffers.last().expect("has an output")[0].to_f64()
}

fn close(found: &[f64], wanted: &[f64], precision: Precision, what: &str) {
    let bound = if precision == Precision::F64 { 1e-12 } else { 2e-5 };
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (f, w) in found.iter().zip(wanted) {
        assert!((f - w).abs() <= bound * (1.0 + w.abs()), "{what}: {f} is not {w}");
    }
}

const PRECISIONS: [Precision; 2] = [Precision::F64, Precision::F32];

#[test]
fn gemm_agrees_with_loops() {
    let module = gemm().expect("builds");
    for (m, n, k) in [(1, 1, 1), (8, 4, 4), (9, 5, 3), (17, 3, 37), (3, 2, 0), (0, 4, 4)] {
        let (a, b) = (numbers(m * k, 1), floats(DType::BF16, &[n, k], &numbers(n * k, 2)));
        let w = b[0].to_f64();
        let row = |i: usize, j: usize| (0..k).map(|x| a[i * k + x] * w[j * k + x]).sum();
        let wanted: Vec<f64> = (0..m).flat_map(|i| (0..n).map(move |j| row(i, j))).collect();
        for precision in PRECISIONS {
            let inputs = vec![floats(DType::F32, &[m, k], &a), b.clone()];
            close(&output(&module, &[m, n, k], inputs, precision), &wanted, precision, &format!("{m} {n} {k}"));
        }
    }
}

#[test]
fn softmax_fold_agrees_with_loops() {
    let module = softmax_fold().expect("builds");
    // With fewer columns than rows the first rows are empty.
    for (s, t) in [(1, 1), (4, 4), (5, 5), (3, 17), (17, 3), (9, 8), (2, 0), (0, 3)] {
        let (q, k, v) = (numbers(s * 4, 3), numbers(t * 4, 4), numbers(t * 4, 5));
        let mut wanted = Vec::new();
        for i in 0..s {
            let row: Vec<f64> = (0..t)
                .filter(|j| j + s <= i + t)
                .map(|j| (0..4).map(|d| q[i * 4 + d] * k[j * 4 + d]).sum::<f64>().exp())
                .collect();
            let total: f64 = row.iter().sum();
            wanted.extend((0..4).map(|e| {
                let sum: f64 = row.iter().enumerate().map(|(j, p)| p * v[j * 4 + e]).sum();
                if total == 0.0 { 0.0 } else { sum / total }
            }));
        }
        for precision in PRECISIONS {
            let inputs =
                vec![floats(DType::F32, &[s, 4], &q), floats(DType::F32, &[t, 4], &k), floats(DType::F32, &[t, 4], &v)];
            close(&output(&module, &[s, t], inputs, precision), &wanted, precision, &format!("{s} {t}"));
        }
    }
}

#[test]
fn packed_agrees_with_loops() {
    let module = packed().expect("builds");
    for (n, g) in [(1, 1), (4, 2), (5, 3), (3, 4)] {
        let x = numbers(g * 32, 6);
        let (d, m) = (floats(DType::F16, &[n, g], &numbers(n * g, 7)), floats(DType::F16, &[n, g], &numbers(n * g, 8)));
        let bytes: Vec<i64> = numbers(n * g * 16, 9).iter().map(|v| ((v + 1.0) * 127.0) as i64).collect();
        let (dv, mv) = (d[0].to_f64(), m[0].to_f64());
        let weight = |row: usize, at: usize| {
            let byte = bytes[(row * g + at / 32) * 16 + at % 16];
            let nibble = (byte >> (4 * ((at % 32) / 16))) & 15;
            dv[row * g + at / 32] * nibble as f64 + mv[row * g + at / 32]
        };
        let mean: f64 = x.iter().map(|v| v * v).sum::<f64>() / (g * 32) as f64;
        let wanted: Vec<f64> =
            (0..n).map(|r| (0..g * 32).map(|k| weight(r, k) * x[k]).sum::<f64>() / mean.sqrt()).collect();
        for precision in PRECISIONS {
            let q = vec![Array::ints(DType::U8, vec![n, g, 16], &bytes).expect("fits")];
            let inputs = vec![floats(DType::F32, &[g * 32], &x), d.clone(), m.clone(), q];
            close(&output(&module, &[n, g], inputs, precision), &wanted, precision, &format!("{n} {g}"));
        }
    }
}
