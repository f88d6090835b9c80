//! Operations one by one: every elementwise operation in every type, casts, roundings, gathers, slices, branches.

use super::agree;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, Typing};

/// A program over a row of `x` (and `z`, the same shape) whose body gives `%9`.
fn row(from: &str, to: &str, body: &str) -> String {
    let zero = if from.starts_with('f') {
        "0.0"
    } else if from == "bool" {
        "false"
    } else {
        "0"
    };
    format!(
        "tile t {{
  dims N
  buffer x: {from}[N] input
  buffer z: {from}[N] input
  buffer y: {to}[N] output
  kernel k {{
    dims N
    memory x: {from}[N] in
    memory z: {from}[N] in
    memory y: {to}[N] out
    axes j = 40
    grid n = div(39 + N, 40)
    %0: i64 = grid n
    %1: i64 = const 40
    %2: i64 = mul %0, %1
    %3: {from}<j> = load x[%2 + j] pad {zero}
    %4: {from}<j> = load z[%2 + j] pad {zero}
{body}
    store y[%2 + j] = %9
  }}
  plan {{
    launch k(x, z, y) dims (N)
  }}
}}"
    )
}

/// The types an operation works in here, with the largest relative error that functions of it may have.
fn types(op: ElemOp) -> Vec<(DType, f64)> {
    let floats = vec![(DType::F32, 2e-6), (DType::F64, 1e-14)];
    let ints = vec![(DType::I32, 0.0), (DType::I64, 0.0), (DType::U32, 0.0)];
    match op.typing() {
        Typing::Float => floats,
        Typing::Int | Typing::Bits => ints,
        Typing::Logic => vec![(DType::Bool, 0.0)],
        Typing::Num | Typing::Compare | Typing::Select => floats.into_iter().chain(ints).collect(),
    }
}

#[test]
fn elementwise_operations() {
    for op in ElemOp::ALL {
        for (dtype, tolerance) in types(*op) {
            let body = match op.arity() {
                Some(1) => format!("    %9: RESULT<j> = {op} %3"),
                Some(3) => format!("    %5: bool<j> = lt %3, %4\n    %9: RESULT<j> = {op} %5, %3, %4"),
                _ => format!("    %9: RESULT<j> = {op} %3, %4"),
            };
            let result = op.result(&match op.arity() {
                Some(1) => vec![dtype],
                Some(3) => vec![DType::Bool, dtype, dtype],
                _ => vec![dtype, dtype],
            });
            let Ok(result) = result else { continue };
            let text = row(dtype.text(), result.text(), &body.replace("RESULT", result.text()));
            agree(&text, &[97], tolerance);
        }
    }
}

#[test]
fn casts_and_roundings() {
    let types = ["f32", "f64", "i64", "i32", "u32", "bool"];
    for from in types {
        for to in types {
            agree(&row(from, to, &format!("    %9: {to}<j> = cast %3")), &[97], 1e-6);
        }
    }
    for to in ["f16", "bf16", "f8e4m3", "f8e5m2", "f8e8m0", "f4e2m1"] {
        agree(&row("f32", "f32", &format!("    %9: f32<j> = round_to {to} %3")), &[97], 0.0);
    }
    for to in ["i16", "u16", "i8", "u8", "i4", "u4"] {
        agree(
            &row(
                "i32",
                "i32",
                &format!("    %5: i32 = const 1001\n    %6: i32<j> = mul %3, %5\n    %9: i32<j> = round_to {to} %6"),
            ),
            &[97],
            0.0,
        );
    }
}

#[test]
fn gathers_masks_and_pads() {
    // Coordinates run out of the memory on both sides.
    let gather = "    %5: i64<j> = coord j %2
    %6: i64<j> = mul %5, %5
    %7: i64 = const 90
    %8: i64<j> = sub %6, %7
    %10: f32<j> = load x[gather %8] pad -7.0
    %11: bool<j> = lt %3, %4
    %12: f32<j> = load z[%2 + j] pad 2.5 where %11
    %9: f32<j> = add %10, %12";
    agree(&row("f32", "f32", gather), &[97], 0.0);
    let apart = "    %5: i64 = const 3
    %6: f32<j> = load x[%5 + 2*j] pad -1.0
    %9: f32<j> = add %6, %3";
    agree(&row("f32", "f32", apart), &[97], 0.0);
}

#[test]
fn branches_and_loops() {
    // A loop with two phases, a carry that another carry takes over, a branch on a scalar of the run, a slice in every step.
    let body = "    %5: i64 = const 0
    %6: i64 = const 4
    %7: i64 = const 7
    %8: f32 = const 0.5
    %30: f32<j>, %31: f32<j> = for %10 edge %11 step 2 [%5..%6 full, %6..%7 edge] carry (%12: f32<j> = %3, %13: f32<j> = %8) {
      %14: f32 = slice j %4, %10
      %15: bool = gt %14, %8
      %16: f32<j> = if %15 {
        %17: f32<j> = mul %12, %14
        yield %17
      } else {
        yield %13
      }
      %18: f32<j> = if %11 {
        %19: f32<j> = neg %16
        yield %19
      } else {
        yield %16
      }
      yield %13, %18
    }
    %9: f32<j> = add %30, %31";
    for n in [40, 97] {
        agree(&row("f32", "f32", body), &[n], 1e-5);
    }
}

#[test]
fn one_axis_under_two_names() {
    // A tile and its transpose by names alone: the conversion goes through shared memory.
    let text = "tile turn {
  dims N
  buffer x: f32[N, N] input
  buffer y: f32[N, N] output
  kernel k {
    dims N
    memory x: f32[N, N] in
    memory y: f32[N, N] out
    axes a = 33, b = 33
    %0: i64 = const 0
    %1: f32<a, b> = load x[%0 + a, %0 + b] pad 0.0
    %2: f32<a, b> = rename %1 {a -> b, b -> a}
    %3: f32<a, b> = sub %1, %2
    store y[%0 + a, %0 + b] = %3
  }
  plan {
    launch k(x, y) dims (N)
  }
}";
    agree(text, &[33], 0.0);
    agree(text, &[20], 0.0);
}
