//! What a user writes first: an architecture of their own, run and compared with loops in plain Rust.
//!
//! In: nothing. Out: `outside: ok`, or an error. The folder given as the only argument, if any, holds the disk cache.

use sawmill::prelude::*;

arch! {
    /// Attention with any mask: the softmax of scores, times values.
    pub fn attend<S, T, const D, type E: float>(
        q: E[S, D], k: E[T, D], v: E[T, D],
        mask: |i, j| -> bool = |i, j| j <= i + T - S,
    ) -> o: f32[S, D] {
        let z[i, j] = sum[d](q[i, d] * k[j, d]) / sqrt(D as f32) where mask(i, j);
        let p[i, j] = softmax[j](z[i, j]);
        o[i, d] = sum[j](p[i, j] * v[j, d]);
    }
}

const QUERIES: usize = 13;
const KEYS: usize = 29;
const DEPTH: usize = 12;

fn values(seed: usize, rows: usize) -> Vec<f32> {
    (0..rows * DEPTH).map(|at| ((at * 37 + seed * 101) % 97) as f32 / 48.5 - 1.0).collect()
}

/// The same by loops, for a mask that leaves `window` keys.
fn by_loops(q: &[f32], k: &[f32], v: &[f32], window: usize) -> Vec<f32> {
    let mut out = vec![0.0; QUERIES * DEPTH];
    for i in 0..QUERIES {
        let last = i + KEYS - QUERIES;
        let keys: Vec<usize> = (0..KEYS).filter(|j| *j <= last && last - j < window).collect();
        let dot = |j: usize| (0..DEPTH).map(|d| f64::from(q[i * DEPTH + d]) * f64::from(k[j * DEPTH + d])).sum::<f64>();
        let weights: Vec<f64> = keys.iter().map(|j| (dot(*j) / (DEPTH as f64).sqrt()).exp()).collect();
        let total: f64 = weights.iter().sum();
        for d in 0..DEPTH {
            let sum: f64 = keys.iter().zip(&weights).map(|(j, w)| w / total * f64::from(v[j * DEPTH + d])).sum();
            out[i * DEPTH + d] = sum as f32;
        }
    }
    out
}

fn compare(name: &str, found: &Typed<f32, 2>, wanted: &[f32]) -> Result<(), Box<dyn std::error::Error>> {
    let found = found.to_vec()?;
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
    if found.len() != wanted.len() || worst.is_nan() || worst > 1e-5 {
        return Err(format!("{name} is off by {worst}").into());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = std::env::args_os().nth(1).map(Into::into);
    let device = Device::cpu_with(2, cache)?;
    let (q, k, v) = (values(1, QUERIES), values(2, KEYS), values(3, KEYS));
    let typed = |data: &[f32], rows| Typed::<f32, 2>::from_slice(data, [rows, DEPTH]);
    let (query, key, value) = (typed(&q, QUERIES)?, typed(&k, KEYS)?, typed(&v, KEYS)?);
    let causal = attend::with(&device).call(&query, &key, &value)?;
    compare("causal attention", &causal, &by_loops(&q, &k, &v, KEYS))?;
    let (window, offset) = (5_i64, (KEYS - QUERIES) as i64);
    let mask = closure!(|i, j| j <= i + {offset} && i + {offset} - j < {window});
    let local = attend::with(&device).mask(mask).call(&query, &key, &value)?;
    compare("windowed attention", &local, &by_loops(&q, &k, &v, 5))?;
    let wrong = typed(&k[..DEPTH * 3], 3)?;
    match attend::with(&device).call(&query, &key, &wrong) {
        Ok(_) => return Err("values of another length were taken".into()),
        Err(error) => println!("outside: a mismatch is refused: {error}"),
    }
    println!("outside: ok");
    Ok(())
}
