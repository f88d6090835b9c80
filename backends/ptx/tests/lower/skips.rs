//! Loops that skip turns while a ring runs ahead: which turns, how many in a row, what the turn knows of the question.

use super::{agree, ptx};

/// Adds products over the tiles of t that `asks` lets pass; a tile in which some key is 0 is doubled, and what else a turn needs
/// of the question is the key of each position.
fn skipping(step: u32, asks: &str) -> String {
    format!(
        "tile skipping {{
  dims T
  buffer q: bf16[32, 64] input
  buffer k: bf16[T, 64] input
  buffer key: i32[T] input
  buffer s: f32[32, 64] output
  kernel k {{
    dims T
    memory q: bf16[32, 64] in
    memory k: bf16[T, 64] in
    memory key: i32[T] in
    memory s: f32[32, 64] out
    axes m = 32, t = {step}, d = 64, e = 64
    grid g = 1
    %0: i64 = const 0
    %1: i64 = size T
    %2: f32<m, d> = load q[%0 + m, %0 + d] pad 0.0
    %3: f32 = const 0.0
    %4: i32 = const 0
    %5: i32 = const 2
    %6: f32 = const 2.0
    %40: f32<m, e> = for %7 edge %8 step {step} [%0..%1 edge] carry (%9: f32<m, e> = %3) {{
      %10: i32<t> = load key[%7 + t] pad 0
      %12: bool<t> = eq %10, %4
      %13: bool = reduce any %12 over t
      %14: bool<t> = {asks}
      %15: bool = reduce any %14 over t
      %30: f32<m, e> = if %15 {{
        %16: f32<t, d> = load k[%7 + t, %0 + d] pad 0.0
        %17: f32<t, e> = load k[%7 + t, %0 + e] pad 0.0
        %18: f32<m, t> = mma %2, %16 over d
        %19: f32<t> = cast %10
        %20: f32<m, t> = mul %18, %19
        %25: f32<m, t> = if %13 {{
          %21: f32<m, t> = mul %20, %6
          yield %21
        }} else {{
          yield %20
        }}
        %26: f32<m, t> = round_to bf16 %25
        %27: f32<m, e> = mma %26, %17, %9 over t
        yield %27
      }} else {{
        yield %9
      }}
      yield %30
    }}
    store s[%0 + m, %0 + e] = %40
  }}
  plan {{
    launch k(q, k, key, s) dims (T)
  }}
}}"
    )
}

#[test]
fn a_ring_fetches_for_the_turns_that_are_taken() {
    // Keys go from -11 to 11.
    let none = "lt %10, %10";
    let all = "eq %10, %10";
    for asks in [none, all, "gt %10, %5", "eq %10, %5"] {
        for step in [16, 32] {
            let program = skipping(step, asks);
            let text = ptx(&program);
            assert!(text.contains("cp.async.cg") && text.contains("seek"), "no ring that seeks in\n{text}");
            for dims in [[0], [1], [40], [257], [700]] {
                agree(&program, &dims, 0.02);
            }
        }
    }
}
