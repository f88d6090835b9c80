//! The programs.

use super::agree;

/// A program of one kernel over rows of `x`: what `body` makes of tile `%x` over i and j, stored as `y`.
pub(crate) fn rowwise(tile: (u32, u32), types: (&str, &str), result: &str, body: &str) -> String {
    let ((i, j), (from, to)) = (tile, types);
    let wide = |ty: &str| match ty {
        "f16" | "bf16" => "f32".to_owned(),
        "i16" | "u16" | "i8" | "u8" => "i32".to_owned(),
        other => other.to_owned(),
    };
    let zero = if wide(from).starts_with('f') {
        "0.0"
    } else if from == "bool" {
        "false"
    } else {
        "0"
    };
    let (axes, shape, store) = match result {
        "i" => ("<i>", "[M]", "[%1 + i]"),
        _ => ("<i, j>", "[M, N]", "[%1 + i, %2 + j]"),
    };
    let body = body.replace("WIDE", &wide(from)).replace("RESULT", &format!("{}{axes}", wide(to)));
    format!(
        "tile t {{
  dims M, N
  buffer x: {from}[M, N] input
  buffer y: {to}{shape} output
  kernel k {{
    dims M, N
    memory x: {from}[M, N] in
    memory y: {to}{shape} out
    axes i = {i}, j = {j}
    grid m = div({i} - 1 + M, {i}), n = div({j} - 1 + N, {j})
    %90: i64 = grid m
    %91: i64 = grid n
    %92: i64 = const {i}
    %93: i64 = const {j}
    %1: i64 = mul %90, %92
    %2: i64 = mul %91, %93
    %3: {}<i, j> = load x[%1 + i, %2 + j] pad {zero}
{body}
    store y{store} = %10
  }}
  plan {{
    launch k(x, y) dims (M, N)
  }}
}}",
        wide(from)
    )
}

/// Tiles whose extents are and are not powers of two, smaller and larger than a CTA.
const TILES: [(u32, u32); 5] = [(4, 8), (3, 5), (32, 32), (1, 200), (24, 17)];

#[test]
fn copies_in_every_tile_and_type() {
    for tile in TILES {
        let text = rowwise(tile, ("f32", "f32"), "i, j", "    %10: RESULT = neg %3");
        for dims in [[1, 1], [33, 45], [64, 7]] {
            agree(&text, &dims, 0.0);
        }
    }
    for ty in ["f64", "f16", "bf16", "i64", "i32", "u32", "i16", "u16", "i8", "u8"] {
        agree(&rowwise((8, 16), (ty, ty), "i, j", "    %10: RESULT = add %3, %3"), &[11, 35], 0.0);
    }
    agree(&rowwise((8, 16), ("bool", "bool"), "i, j", "    %10: RESULT = not %3"), &[11, 35], 0.0);
}

#[test]
fn reductions_over_either_axis() {
    for tile in TILES {
        for op in ["sum", "max", "min", "prod"] {
            let text = rowwise(tile, ("f32", "f32"), "i", &format!("    %10: RESULT = reduce {op} %3 over j"));
            agree(&text, &[37, i64::from(tile.1)], 1e-4);
            let (i, j) = tile;
            let text = rowwise((j, i), ("i32", "i32"), "i", &format!("    %10: RESULT = reduce {op} %3 over j"));
            agree(&text, &[37, i64::from(i)], 0.0);
        }
        for (op, back) in [("argmax", "f32"), ("argmin", "i32")] {
            let body = format!("    %4: i64<i> = reduce {op} %3 over j\n    %10: RESULT = cast %4");
            agree(&rowwise(tile, (back, back), "i", &body), &[37, i64::from(tile.1)], 0.0);
        }
        for op in ["any", "all"] {
            let text = rowwise(tile, ("bool", "bool"), "i", &format!("    %10: RESULT = reduce {op} %3 over j"));
            agree(&text, &[37, i64::from(tile.1)], 0.0);
        }
    }
}

#[test]
fn softmax_of_rows() {
    let body = "    %4: i64<j> = coord j %2
    %5: i64 = size N
    %6: bool<j> = lt %4, %5
    %7: f32 = const -inf
    %8: f32<i, j> = select %6, %3, %7
    %9: f32<i> = reduce max %8 over j
    %11: f32<i, j> = sub %8, %9
    %12: f32<i, j> = exp %11
    %13: f32<i> = reduce sum %12 over j
    %10: f32<i, j> = div %12, %13";
    for tile in TILES {
        agree(&rowwise(tile, ("f32", "f32"), "i, j", body), &[19, i64::from(tile.1) - 1], 1e-6);
    }
}

/// `c = a * b^T` with everything a contraction may have: tiles larger and smaller than the memory, an accumulator, a loop.
fn product(ty: &str, m: u32, n: u32, k: u32) -> String {
    let zero = if ty.starts_with('f') { "0.0" } else { "0" };
    format!(
        "tile product {{
  dims M, N, K
  buffer a: {ty}[M, K] input
  buffer b: {ty}[N, K] input
  buffer c: {ty}[M, N] output
  kernel k {{
    dims M, N, K
    memory a: {ty}[M, K] in
    memory b: {ty}[N, K] in
    memory c: {ty}[M, N] out
    axes m = {m}, n = {n}, k = {k}
    grid m = div({m} - 1 + M, {m}), n = div({n} - 1 + N, {n})
    %0: i64 = grid m
    %1: i64 = grid n
    %2: i64 = const {m}
    %3: i64 = const {n}
    %4: i64 = mul %0, %2
    %5: i64 = mul %1, %3
    %6: i64 = const 0
    %7: i64 = size K
    %8: {ty} = const {zero}
    %20: {ty}<m, n> = for %9 edge %10 step {k} [%6..%7 edge] carry (%11: {ty}<m, n> = %8) {{
      %12: {ty}<m, k> = load a[%4 + m, %9 + k] pad {zero}
      %13: {ty}<n, k> = load b[%5 + n, %9 + k] pad {zero}
      %14: {ty}<m, n> = mma %12, %13, %11 over k
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

#[test]
fn products() {
    for (m, n, k) in [(4, 4, 4), (32, 32, 16), (3, 5, 7), (1, 64, 32), (64, 2, 9)] {
        agree(&product("f32", m, n, k), &[35, 41, 50], 1e-5);
        agree(&product("i32", m, n, k), &[9, 8, 13], 0.0);
    }
    agree(&product("f64", 8, 8, 8), &[9, 8, 13], 1e-12);
    agree(&product("i64", 8, 8, 8), &[9, 8, 13], 0.0);
}

#[test]
fn a_large_tile_is_cut() {
    // i, j and k together are 2^17 elements.
    let text = "tile cut {
  dims M, N, K
  buffer a: f32[M, K] input
  buffer b: f32[N, K] input
  buffer c: f32[M, N] output
  kernel k {
    dims M, N, K
    memory a: f32[M, K] in
    memory b: f32[N, K] in
    memory c: f32[M, N] out
    axes m = 32, n = 64, k = 64
    grid m = div(31 + M, 32), n = div(63 + N, 64)
    %0: i64 = grid m
    %1: i64 = grid n
    %2: i64 = const 32
    %3: i64 = const 64
    %4: i64 = mul %0, %2
    %5: i64 = mul %1, %3
    %6: i64 = const 0
    %7: f32<m, k> = load a[%4 + m, %6 + k] pad 0.0
    %8: f32<n, k> = load b[%5 + n, %6 + k] pad 0.0
    %9: f32<m, n, k> = max %7, %8
    %10: i64<k> = coord k %6
    %11: i64 = size K
    %12: bool<k> = lt %10, %11
    %13: f32 = const 0.0
    %14: f32<m, n, k> = select %12, %9, %13
    %15: f32<m, n> = reduce sum %14 over k
    store c[%4 + m, %5 + n] = %15
  }
  plan {
    launch k(a, b, c) dims (M, N, K)
  }
}";
    agree(text, &[33, 20, 50], 1e-5);
}

#[test]
fn a_contraction_over_two_axes() {
    let text = "tile two {
  dims M
  buffer a: f32[M, 6, 5] input
  buffer b: f32[4, 6, 5] input
  buffer c: f32[M, 4] output
  kernel k {
    dims M
    memory a: f32[M, 6, 5] in
    memory b: f32[4, 6, 5] in
    memory c: f32[M, 4] out
    axes m = 8, n = 4, k = 6, l = 5
    grid m = div(7 + M, 8)
    %0: i64 = grid m
    %1: i64 = const 8
    %2: i64 = mul %0, %1
    %3: i64 = const 0
    %4: f32<m, k, l> = load a[%2 + m, %3 + k, %3 + l] pad 0.0
    %5: f32<n, k, l> = load b[%3 + n, %3 + k, %3 + l] pad 0.0
    %6: f32<m, n> = mma %4, %5 over k, l
    store c[%2 + m, %3 + n] = %6
  }
  plan {
    launch k(a, b, c) dims (M)
  }
}";
    agree(text, &[13], 1e-5);
}

/// `c = a * b` for a vector `b`, in tiles of both.
fn of_vector(ty: &str, n: u32, k: u32) -> String {
    let zero = if ty.ends_with("16") || ty.starts_with('f') { "0.0" } else { "0" };
    let wide = if ty.ends_with("16") { "f32" } else { ty };
    format!(
        "tile vector {{
  dims N, K
  buffer a: {ty}[N, K] input
  buffer b: {ty}[K] input
  buffer c: {wide}[N] output
  kernel k {{
    dims N, K
    memory a: {ty}[N, K] in
    memory b: {ty}[K] in
    memory c: {wide}[N] out
    axes n = {n}, k = {k}
    grid n = div({n} - 1 + N, {n})
    %0: i64 = grid n
    %1: i64 = const {n}
    %2: i64 = mul %0, %1
    %3: i64 = const 0
    %4: i64 = size K
    %5: {wide} = const {zero}
    %12: {wide}<n> = for %6 edge %7 step {k} [%3..%4 edge] carry (%8: {wide}<n> = %5) {{
      %9: {wide}<n, k> = load a[%2 + n, %6 + k] pad {zero}
      %10: {wide}<k> = load b[%6 + k] pad {zero}
      %11: {wide}<n> = mma %10, %9, %8 over k
      yield %11
    }}
    store c[%2 + n] = %12
  }}
  plan {{
    launch k(a, b, c) dims (N, K)
  }}
}}"
    )
}

#[test]
fn products_with_a_vector() {
    for ty in ["f32", "bf16", "i32", "f64"] {
        for tile in [(4, 256), (32, 32), (5, 24), (1, 16)] {
            agree(&of_vector(ty, tile.0, tile.1), &[37, 300], 1e-5);
        }
    }
}

/// Positions of a memory whose extent is known: those that surely exist are read without a question, the others give the pad.
#[test]
fn positions_at_the_ends_of_known_extents() {
    for extent in [40, 47, 48, 49] {
        for shift in [-1, 0, 1] {
            let text = format!(
                "tile t {{
  dims N
  buffer x: f32[{extent}] input
  buffer y: f32[N, 48] output
  kernel k {{
    dims N
    memory x: f32[{extent}] in
    memory y: f32[N, 48] out
    axes i = 4
    grid n = N, m = 3
    %0: i64 = grid n
    %1: i64 = grid m
    %2: i64 = const 16
    %3: i64 = mul %1, %2
    %4: i64 = const 0
    %5: f32 = const 0.0
    %6: f32 = for %7 edge %8 step 4 [%4..%2 full] carry (%9: f32 = %5) {{
      %10: i64 = const {shift}
      %11: i64 = add %3, %7, %10
      %12: f32<i> = load x[%11 + i] pad 0.5
      %13: i64 = add %3, %7
      store y[%0, %13 + i] = %12
      yield %9
    }}
  }}
  plan {{
    launch k(x, y) dims (N)
  }}
}}
"
            );
            agree(&text, &[2], 0.0);
        }
    }
}
