//! Products on the matrix unit: every order in memory, tiles of all shapes, results that feed products.

use super::{agree, ptx};

/// As [`agree`], and that the matrix unit and asynchronous copies are used, a barrier a turn.
fn agree_in_matrices(program: &str, dims: &[i64], tolerance: f64) {
    let text = ptx(program);
    for word in ["mma.sync.aligned.m16n8k16", "ldmatrix", "cp.async.cg"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    agree(program, dims, tolerance);
}

/// `c = a * b` in tiles; each factor with its summed axis innermost or not.
fn product(ty: &str, [m, n, k]: [u32; 3], [a_across, b_across]: [bool; 2]) -> String {
    let order = |across: bool, own: &str, sub: &str| match across {
        true => (format!("[K, {own}]"), format!("[%9 + k, {sub}]")),
        false => (format!("[{own}, K]"), format!("[{sub}, %9 + k]")),
    };
    let (a, a_subs) = order(a_across, "M", "%4 + m");
    let (b, b_subs) = order(b_across, "N", "%5 + n");
    format!(
        "tile product {{
  dims M, N, K
  buffer a: {ty}{a} input
  buffer b: {ty}{b} input
  buffer c: f32[M, N] output
  kernel k {{
    dims M, N, K
    memory a: {ty}{a} in
    memory b: {ty}{b} in
    memory c: f32[M, N] out
    axes m = {m}, n = {n}, k = {k}
    grid m = div({m} - 1 + M, {m}), n = div({n} - 1 + N, {n})
    %0: i64 = grid m
    %1: i64 = grid n
    %2: i64 = const {m}
    %3: i64 = const {n}
    %4: i64 = mul %0, %2
    %5: i64 = mul %1, %3
    %6: i64 = const 0
    %7: i64 = size {k}*div(K, {k})
    %8: i64 = size K
    %19: f32 = const 0.0
    %20: f32<m, n> = for %9 edge %10 step {k} [%6..%7 full, %7..%8 edge] carry (%11: f32<m, n> = %19) {{
      %12: f32<m, k> = load a{a_subs} pad 0.0
      %13: f32<n, k> = load b{b_subs} pad 0.0
      %14: f32<m, n> = mma %12, %13, %11 over k
      yield %14
    }}
    store c[%4 + m, %5 + n] = %20
  }}
  plan {{
    launch k(a, b, c) dims (M, N, K)
  }}
}}"
    )
}

const ORDERS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

#[test]
fn every_order_in_memory() {
    for order in ORDERS {
        for ty in ["bf16", "f16"] {
            agree_in_matrices(&product(ty, [64, 64, 32], order), &[70, 72, 88], 1e-6);
        }
        agree_in_matrices(&product("bf16", [128, 128, 32], order), &[130, 64, 72], 1e-6);
    }
}

#[test]
fn tiles_smaller_than_a_fragment_and_of_other_extents() {
    for order in ORDERS {
        for tile in [[4, 64, 16], [16, 8, 16], [1, 64, 32], [48, 24, 48], [3, 5, 16], [64, 4, 80], [80, 80, 80]] {
            agree(&product("bf16", tile, order), &[21, 67, 104], 1e-6);
        }
    }
}

#[test]
fn sizes_that_no_copy_of_16_bytes_fits() {
    for order in ORDERS {
        for dims in [[33, 35, 37], [1, 1, 1], [64, 65, 2], [7, 64, 64]] {
            agree_in_matrices(&product("bf16", [32, 64, 32], order), &dims, 1e-6);
        }
    }
}

/// Two products, the second of what the first gives, with the maximum of rows between them; `h` rows of `q` belong together.
fn chained(h: u32, s: u32, t: u32, d: u32) -> String {
    format!(
        "tile chained {{
  dims S, T
  buffer q: bf16[S, {h}, {d}] input
  buffer k: bf16[T, {d}] input
  buffer v: bf16[T, {d}] input
  buffer o: bf16[S, {h}, {d}] output
  kernel k {{
    dims S, T
    memory q: bf16[S, {h}, {d}] in
    memory k: bf16[T, {d}] in
    memory v: bf16[T, {d}] in
    memory o: bf16[S, {h}, {d}] out
    axes h = {h}, s = {s}, t = {t}, d = {d}, e = {d}
    grid s = div({s} - 1 + S, {s})
    %0: i64 = grid s
    %1: i64 = const {s}
    %2: i64 = mul %0, %1
    %3: i64 = const 0
    %4: i64 = size T
    %5: f32<h, s, d> = load q[%2 + s, %3 + h, %3 + d] pad 0.0
    %6: f32 = const 0.0
    %7: f32 = const -inf
    %8: f32 = const 0.03125
    %30: f32<h, s>, %31: f32<h, s, e> = for %9 edge %10 step {t} [%3..%4 edge] carry (%11: f32<h, s> = %7, %12: f32<h, s, e> = %6) {{
      %13: f32<t, d> = load k[%9 + t, %3 + d] pad 0.0
      %14: f32<h, s, t> = mma %13, %5 over d
      %15: f32<h, s, t> = mul %14, %8
      %16: f32<h, s> = reduce max %15 over t
      %17: f32<h, s> = max %11, %16
      %18: f32<h, s, t> = sub %15, %17
      %19: f32<h, s, t> = min %18, %6
      %20: i64<t> = coord t %9
      %21: bool<t> = lt %20, %4
      %22: f32<h, s, t> = select %21, %19, %6
      %23: f32<h, s, t> = round_to bf16 %22
      %24: f32<t, e> = load v[%9 + t, %3 + e] pad 0.0
      %25: f32<h, s, e> = mma %23, %24, %12 over t
      yield %17, %25
    }}
    %32: f32<h, s, e> = mul %31, %8
    %33: f32<h, s, e> = add %32, %30
    store o[%2 + s, %3 + h, %3 + e] = %33
  }}
  plan {{
    launch k(q, k, v, o) dims (S, T)
  }}
}}"
    )
}

#[test]
fn a_result_is_the_row_factor_of_the_next_product() {
    for (h, s, t, d) in [(1, 64, 64, 64), (2, 32, 32, 32), (1, 16, 64, 128), (4, 1, 64, 64), (1, 128, 32, 16)] {
        for dims in [[70, 100], [5, 64], [1, 3]] {
            agree_in_matrices(&chained(h, s, t, d), &dims, 0.02);
        }
    }
}

/// A product if all of its second factor is finite, else zeros; elements at and behind `L` are infinite.
fn guarded_product(ty: &str, n: u32, k: u32) -> String {
    format!(
        "tile guarded {{
  dims L
  buffer a: {ty}[32, {k}] input
  buffer b: {ty}[{n}, {k}] input
  buffer c: f32[32, {n}] output
  kernel k {{
    dims L
    memory a: {ty}[32, {k}] in
    memory b: {ty}[{n}, {k}] in
    memory c: f32[32, {n}] out
    axes m = 32, n = {n}, k = {k}
    grid g = 1
    %0: i64 = const 0
    %1: f32<m, k> = load a[%0 + m, %0 + k] pad 0.0
    %2: f32<n, k> = load b[%0 + n, %0 + k] pad 0.0
    %3: i64<k> = coord k %0
    %4: i64 = size L
    %5: bool<k> = lt %3, %4
    %6: f32 = const inf
    %7: f32<n, k> = select %5, %2, %6
    %8: f32<n, k> = abs %7
    %9: bool<n, k> = lt %8, %6
    %10: bool = reduce all %9 over n, k
    %14: f32<m, n> = if %10 {{
      %11: f32<m, n> = mma %1, %7 over k
      yield %11
    }} else {{
      %12: f32 = const 0.0
      %13: f32<m, n> = mma %1, %2 over k
      %15: f32<m, n> = mul %12, %13
      yield %15
    }}
    store c[%0 + m, %0 + n] = %14
  }}
  plan {{
    launch k(a, b, c) dims (L)
  }}
}}"
    )
}

#[test]
fn finiteness_is_told_from_bits() {
    for ty in ["bf16", "f16"] {
        for (n, k) in [(64, 64), (8, 16), (24, 48)] {
            for limit in [0, 1, i64::from(k) - 1, i64::from(k), 100] {
                agree(&guarded_product(ty, n, k), &[limit], 1e-6);
            }
        }
    }
}
