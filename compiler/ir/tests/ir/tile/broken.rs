//! One broken module for each rule of the verifier, one broken run for each rule of the interpreter.

use sawmill_ir::dtype::DType;
use sawmill_ir::tile::interp::{Array, Precision, run};
use sawmill_ir::tile::text::parse;
use sawmill_ir::tile::verify::verify;

/// A module around one kernel whose body is `body`, launched once.
fn with_body(body: &str) -> String {
    format!(
        "tile x {{ dims n buffer a: f32[n] input buffer o: f32[n] output
           kernel k {{ dims n memory a: f32[n] in memory o: f32[n] out axes i = 4, j = 4, h = 3 grid t = div(n + 3, 4)
             {body} }}
           plan {{ launch k(a, o) dims (n) }} }}"
    )
}

fn with_plan(plan: &str) -> String {
    format!(
        "tile x {{ dims n, l buffer a: f32[n] input buffer o: f32[n] output buffer t: f32[n] temp
           buffer w: f32[n] input list buffer s: f32[4] temp buffer c: i32[] input
           kernel k {{ dims n memory a: f32[n] in memory o: f32[n] out }}
           kernel both {{ dims n memory a: f32[n] in memory o: f32[n] inout }}
           plan {{ {plan} }} }}"
    )
}

fn refused(text: &str, message: &str) {
    let module = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    match verify(&module) {
        Ok(()) => panic!("verified, should say `{message}`:\n{text}"),
        Err(error) => assert!(error.to_string().contains(message), "says `{error}`, should say `{message}`:\n{text}"),
    }
}

#[test]
fn kernels_that_break_a_rule_are_refused() {
    let cases = [
        ("%0: i64 = add %1, %1 %1: i64 = const 0", "used by `add` where it is not defined"),
        ("%0: f32 = const 1", "a constant is a scalar of its own kind"),
        ("%0: f16 = const 1.0", "a computing element type"),
        ("%0: i64 = const 0 %1: f32 = const 0.0 %2: f32 = add %0, %1", "does not take operands of types"),
        ("%0: i64 = const 0 %1: f32 = add %0, %0", "has results of types"),
        ("%0: f32 = const 0.0 %1: i64<i> = coord i %0", "a position is a scalar i64"),
        ("%0: i64 = const 0 %1: i64<i> = coord i %0 %2: i64<h> = rename %1 {i -> h}", "axes of one extent"),
        ("%0: i64 = const 0 %1: i64<i> = coord i %0 %2: i64<i> = rename %1 {j -> i}", "an axis that the operand has"),
        ("%0: i64 = const 0 %1: i64<i> = coord i %0 %2: i64 = mma %1, %0 over i", "the operand has no axis"),
        ("%0: i64 = const 0 %1: i64<i> = coord i %0 %2: i64 = mma %1, %1, %1 over i", "the axes of the result"),
        ("%0: i64 = const 0 %1: i64<i> = coord i %0 %2: i64 = reduce mean %1 over i", "not a primitive reduction"),
        ("%0: i64 = const 0 %1: i64<i> = coord i %0 %2: i64 = reduce any %1 over i", "does not reduce"),
        ("%0: i64 = const 0 %1: f32<i> = load o[%0 + i] pad 0.0", "reads `o`, which is `out`"),
        ("%0: i64 = const 0 %1: f32 = const 0.0 store a[%0 + i] = %1", "stores to `a`, which is `in`"),
        ("%0: i64 = const 0 %1: f32<i> = load a[%0 + i, %0] pad 0.0", "the memory has 1 dimensions"),
        ("%0: f32 = const 0.0 %1: f32 = load a[gather %0] pad 0.0", "a gather takes integer coordinates"),
        ("%0: i64 = const 0 %1: f32 = load a[%0] pad 0.0 where %0", "takes one bool after the subscripts"),
        ("%0: i64 = const 0 %1: f32<i> = load a[%0 + i] pad 0.0 store o[%0] = %1", "several elements would go to one"),
        ("%0: i64 = const 0 store o[%0] = %0", "stores i64 to `o`"),
        ("%0: i64 = const 0 for %1 edge %2 step 0 [%0..%0 full] { }", "the step of a loop is at least 1"),
        (
            "%0: i64 = const 0 %3: i64 = for %1 edge %2 step 1 [%0..%0 full] carry (%4: i64 = %0) { yield %2 }",
            "initial, carried and next values agree",
        ),
        ("%0: i64 = const 0 if %0 { } else { }", "a condition is a scalar bool"),
        ("%0: bool = const true %1: bool = if %0 { yield %0 } else { }", "both branches yield"),
        ("%0: bool = const true if %0 { %1: i64 = const 0 } else { } %2: i64 = neg %1", "where it is not defined"),
    ];
    for (body, message) in cases {
        refused(&with_body(body), message);
    }
    refused("tile x { dims n, n plan { } }", "two dims have this name");
    refused("tile x { kernel k { axes i = 1, i = 1 } plan { } }", "two axes have this name");
    refused("tile x { kernel k { } kernel k { } plan { } }", "two kernels have this name");
}

#[test]
fn plans_that_break_a_rule_are_refused() {
    let cases = [
        ("launch k(a) dims (n)", "one buffer for each memory"),
        ("launch k(a, o) dims ()", "one size for each dim"),
        ("launch k(a, a) dims (n)", "is an input, but `k` stores to it"),
        ("launch k(t, o) dims (n)", "read by `k` before anything is written"),
        ("launch both(a, o) dims (n)", "read by `both` before anything is written"),
        ("launch k(w, o) dims (n)", "does not fit"),
        ("launch k(a[0], o) dims (n)", "does not fit"),
        ("launch k(a, t) dims (n) launch both(t, t) dims (n)", "under two names"),
        ("loop l < n { launch k(a, t) dims (n) } launch k(t, o) dims (n)", "before anything is written"),
        ("if n { launch k(a, t) dims (n) } else { } launch k(t, o) dims (n)", "before anything is written"),
        ("loop l < n { loop l < n { } }", "inside of its own loop"),
        ("scalar l = a", "one integer that is there"),
        ("scalar l = c loop l < n { scalar l = c }", "counts no loop around"),
        ("swap a, t", "swaps with a buffer of the call's own"),
        ("swap t, s", "swaps with a buffer of the call's own"),
        ("launch k(a, o) dims (n) swap o, t launch both(a, o) dims (n)", "before anything is written"),
    ];
    for (plan, message) in cases {
        refused(&with_plan(plan), message);
    }
}

#[test]
fn runs_that_break_a_rule_are_found() {
    let cases = [
        ("%0: i64 = const 0 %1: f32 = const 0.0 store o[%0 + i] = %1", "to which another block stores"),
        ("%0: i64 = const 0 %1: f32 = const 0.0 store o[%0] = %1", "to which another block stores"),
        ("%0: i64 = const 0", "is `out` and was not written"),
        (
            "%0: i64 = grid t %1: i64 = const 4 %2: i64 = mul %0, %1 %3: f32 = const 0.0
             store o[%2 + i] = %3 store o[%2 + h] = %3",
            "stores twice to element 0 of m1",
        ),
        (
            "%0: i64 = const 100 %1: f32 = load a[%0] pad undef %2: i64 = grid t %3: i64 = const 4
             %4: i64 = mul %2, %3 store o[%4 + i] = %1",
            "an undefined value is stored",
        ),
        ("%0: i64 = const 0 %1: f32 = const 0.0 store o[%0 + -0*i] = %1", "one store gives element 0 of m1 two values"),
        (
            "%0: i64 = const 100 %1: f32 = load a[%0] pad undef %2: bool = gt %1, %1 if %2 { } else { }",
            "an undefined value decides",
        ),
        ("%0: i64 = const 9 %1: i64 = const 0 %2: i64<i> = coord i %1 %3: i64 = slice i %2, %0", "slices outside"),
    ];
    for (body, message) in cases {
        let module = parse(&with_body(body)).unwrap_or_else(|e| panic!("{body}: {e}"));
        verify(&module).unwrap_or_else(|e| panic!("{body}: {e}"));
        let a = Array::floats(DType::F32, vec![7], &[0.5; 7]).expect("fits");
        let error = run(&module, &[7], &mut vec![vec![a], Vec::new()], Precision::F64).expect_err(body);
        assert!(error.to_string().contains(message), "says `{error}`, should say `{message}`:\n{body}");
    }
}

#[test]
fn a_plan_that_leaves_an_output_unwritten_is_found() {
    let module = parse(&with_plan("if n - 8 { launch k(a, o) dims (n) } else { }")).expect("parses");
    let a = Array::floats(DType::F32, vec![7], &[0.5; 7]).expect("fits");
    let list = vec![a.clone()];
    let mut buffers = vec![vec![a], Vec::new(), Vec::new(), list, Vec::new()];
    buffers.push(vec![Array::ints(DType::I32, Vec::new(), &[0]).expect("fits")]);
    let error = run(&module, &[7, 0], &mut buffers, Precision::F64).expect_err("nothing is launched");
    assert!(error.to_string().contains("output `o` was not written in full"), "{error}");
}
