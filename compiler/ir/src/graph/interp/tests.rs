//! The interpreter against values computed by hand or by plain loops.

use super::{Data, Inputs, Options, Outcome, Value, run};
use crate::dtype::DType;
use crate::graph::text::parse_function;
use std::collections::BTreeMap;
use std::sync::Arc;

fn floats(shape: &[usize], data: &[f64]) -> Value {
    Value::floats(DType::F32, shape.to_vec(), data).expect("as many elements as the shape says")
}

fn ints(data: &[i64]) -> Value {
    Value::ints(DType::I32, vec![data.len()], data).expect("one row")
}

fn call(text: &str, inputs: Vec<(&str, Value)>, dims: &[(&str, i64)]) -> Result<Outcome, String> {
    let function = parse_function(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let inputs: Inputs = inputs.into_iter().map(|(name, value)| (name.to_owned(), Arc::new(value))).collect();
    let dims: BTreeMap<String, i64> = dims.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    run(&function, &dims, &inputs, Options::default()).map_err(|e| e.to_string())
}

/// The output `y` of a function.
fn y(text: &str, inputs: Vec<(&str, Value)>) -> Vec<f64> {
    let outcome = call(text, inputs, &[]).unwrap_or_else(|e| panic!("{e}\n{text}"));
    outcome.output("y").expect("an output y").to_floats()
}

/// A sequence of numbers in -1..1 without pattern.
fn noise(count: usize, mut seed: u64) -> Vec<f64> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(((seed >> 40) as f32) / (1 << 23) as f32 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (at, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= 1e-6 * (1.0 + y.abs()) || x == y, "{at}: {x} and {y}");
    }
}

#[test]
fn contractions_agree_with_plain_loops() {
    let (m, n, k) = (7, 5, 300);
    let (a, b) = (noise(m * k, 1), noise(n * k, 2));
    let text = "fn f<M, N, K>(a: f32[M, K], b: f32[N, K]) -> (y) { let y[i in M, j in N] = sum[k in K](mul(a[i, k], b[j, k])); }";
    let mut expected = Vec::new();
    for i in 0..m {
        for j in 0..n {
            expected.push((0..k).map(|x| a[i * k + x] * b[j * k + x]).sum());
        }
    }
    close(&y(text, vec![("a", floats(&[m, k], &a)), ("b", floats(&[n, k], &b))]), &expected);
}

#[test]
fn every_path_of_a_sum_of_products_agrees_with_plain_loops() {
    let (m, n, k) = (4_usize, 6_usize, 12_usize);
    let (a, mut b, s) = (noise(m * k, 3), noise(k * n, 4), noise(n, 5));
    let program = |body: &str| format!("fn f<M, N, K>(a: f32[M, K], b: f32[K, N], s: f32[N]) -> (y) {{ {body} }}");
    let inputs = |b: &[f64]| vec![("a", floats(&[m, k], &a)), ("b", floats(&[k, n], b)), ("s", floats(&[n], &s))];
    let sums = |term: &dyn Fn(usize, usize, usize) -> f64| -> Vec<f64> {
        let all = (0..m).flat_map(|i| (0..n).map(move |j| (i, j)));
        all.map(|(i, j)| (0..k).map(|x| term(i, j, x)).sum()).collect()
    };
    // Contiguous results, then a factor that moves with the block alone, and one that is computed.
    let plain = program("let y[i in M, j in N] = sum[k in K](mul(a[i, k], b[k, j]));");
    close(&y(&plain, inputs(&b)), &sums(&|i, j, x| a[i * k + x] * b[x * n + j]));
    let scaled = program("let y[i in M, j in N] = sum[k in K](mul(exp(a[i, k]), mul(b[k, j], s[j]), 3.0));");
    close(&y(&scaled, inputs(&b)), &sums(&|i, j, x| a[i * k + x].exp() * b[x * n + j] * s[j] * 3.0));
    // Both factors move along the block; quotients and remainders as subscripts.
    let both = program("let y[i in M, j in N] = sum[k in K](mul(a[i, k], b[k - k % 3, j], b[k / 2, j]));");
    close(&y(&both, inputs(&b)), &sums(&|i, j, x| a[i * k + x] * b[(x - x % 3) * n + j] * b[x / 2 * n + j]));
    let diagonal = program("let y[j in N] = sum[i in M](mul(a[i, j], b[i, j], b[j, i]));");
    let expected: Vec<f64> = (0..n).map(|j| (0..m).map(|i| a[i * k + j] * b[i * n + j] * b[j * n + i]).sum()).collect();
    close(&y(&diagonal, inputs(&b)), &expected);
    // What is masked reaches no result, whatever stands beside it.
    let masked = program(
        "let p[i in M, k in K] = where(a[i, k], le(#k, #i)); let y[i in M, j in N] = sum[k in K](mul(p[i, k], b[k, j]));",
    );
    b[(m + 1) * n..].fill(f64::INFINITY);
    let expected = sums(&|i, j, x| if x <= i { a[i * k + x] * b[x * n + j] } else { 0.0 });
    close(&y(&masked, inputs(&b)), &expected);
    let row = program("let y[i in M, j in N] = logsumexp[k in K](mul(a[i, k], b[k, j]));");
    b.fill(700.0);
    let expected: Vec<f64> = sums(&|i, _, x| (700.0 * (a[i * k + x] - 1.0)).exp());
    close(&y(&row, inputs(&b)), &expected.iter().map(|sum| 700.0 + sum.ln()).collect::<Vec<_>>());
}

#[test]
fn absence_is_skipped_and_filled() {
    let x = || vec![("x", floats(&[4], &[1.0, 2.0, 3.0, 4.0]))];
    let f = |body: &str| format!("fn f(x: f32[4]) -> (y) {{ let y[i in 4] = {body}; }}");
    close(&y(&f("or_else(where(x[i], lt(#i, 2)), 9.0)"), x()), &[1.0, 2.0, 9.0, 9.0]);
    close(&y(&f("or_else(x?[i - 2], -1.0)"), x()), &[-1.0, -1.0, 1.0, 2.0]);
    close(&y(&f("sum[j in 4](where(x[j], le(#j, #i)))"), x()), &[1.0, 3.0, 6.0, 10.0]);
    close(&y(&f("max[j in 4](where(x[j], lt(#j, #i)))"), x()), &[f64::NEG_INFINITY, 1.0, 2.0, 3.0]);
    close(&y(&f("mean[j in 4](where(x[j], lt(#j, #i)))"), x()), &[0.0, 1.0, 1.5, 2.0]);
    close(&y(&f("cast[f32](or_else(argmax[j in 4](where(x[j], lt(#j, #i))), -1))"), x()), &[-1.0, 0.0, 1.0, 2.0]);
    // What an absent operand stands beside is not read.
    close(&y(&f("or_else(mul(where(1.0, ge(#i, 2)), x[i - 2]), 0.0)"), x()), &[0.0, 0.0, 1.0, 2.0]);
    // Only the chosen branch is taken.
    close(&y(&f("select(lt(#i, 2), 5.0, x[i - 2])"), x()), &[5.0, 5.0, 1.0, 2.0]);
    // A softmax row without elements has none: its sum is 0.
    close(&y(&f("sum[j in 4](softmax[j](where(x[j], lt(#j, #i))))"), x()), &[0.0, 1.0, 1.0, 1.0]);
    close(&y(&f("sum[j in 0](x[j])"), x()), &[0.0; 4]);
}

#[test]
fn broken_and_absent_outputs_are_errors() {
    let x = || vec![("x", floats(&[2], &[1.0, 2.0]))];
    let failed =
        |body: &str| call(&format!("fn f(x: f32[2]) -> (y) {{ let y[i in 2] = {body}; }}"), x(), &[]).expect_err(body);
    assert_eq!(
        failed("x[i + 1]"),
        "`y`: element [1] needs a read out of range: `x` is read at 2 along dimension 0 of size 2"
    );
    assert_eq!(failed("where(x[i], gt(#i, 0))"), "`y`: element [0] is absent");
    assert_eq!(
        failed("sum[j in 3](x[j])"),
        "`y`: element [0] needs a read out of range: `x` is read at 2 along dimension 0 of size 2"
    );
}

#[test]
fn data_dependent_reads_clamp_or_vanish() {
    let inputs = || vec![("x", floats(&[3], &[1.0, 2.0, 3.0])), ("t", ints(&[2, -5, 9]))];
    let f = |body: &str| format!("fn f(x: f32[3], t: i32[3] in 0..3) -> (y) {{ let y[i in 3] = {body}; }}");
    close(&y(&f("x[t[i]]"), inputs()), &[3.0, 1.0, 3.0]);
    close(&y(&f("or_else(x?[t[i]], 0.0)"), inputs()), &[3.0, 0.0, 0.0]);
    close(&y(&f("sum[j in 3](where(x[j], eq(cast[i64](t[j]), #(i + 2))))"), inputs()), &[1.0, 0.0, 0.0]);
}

#[test]
fn rows_run_and_normalise() {
    let x = || vec![("x", floats(&[2, 3], &[0.0, 1.0, 2.0, f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY]))];
    let f = |body: &str| format!("fn f(x: f32[2, 3]) -> (y) {{ let y[i in 2, j in 3] = {body}; }}");
    let (a, b, c) = (1.0, 1.0_f64.exp(), 2.0_f64.exp());
    let s = a + b + c;
    close(&y(&f("softmax[j](x[i, j])"), x()), &[a / s, b / s, c / s, 0.0, 0.0, 0.0]);
    close(&y(&f("mul(2.0, softmax[i, j](mul(0.0, #3:f32)))").replace("#3:f32", "1.0"), x()), &[1.0 / 3.0; 6]);
    let text = f("running[sum j](x[0, j])").replace("x[0, j]", "add(x[0, j], cast[f32](#i))");
    close(&y(&text, x()), &[0.0, 1.0, 3.0, 1.0, 3.0, 6.0]);
    close(&y(&text.replace("sum j", "sum j rev exclusive"), x()), &[3.0, 2.0, 0.0, 5.0, 3.0, 0.0]);
    let log = y("fn f(x: f32[2, 3]) -> (y) { let y[i in 2] = logsumexp[j in 3](x[i, j]); }", x());
    close(&log, &[s.ln(), f64::NEG_INFINITY]);
    // A row read at another place than its own.
    close(
        &y(
            "fn f(x: f32[2, 3]) -> (y) { let y[j in 3] = sum[k in 3](mul(softmax[k](x[0, k]), softmax[j](x[0, j]))); }",
            x(),
        ),
        &[a / s, b / s, c / s],
    );
}

#[test]
fn ties_and_nan_follow_the_rules() {
    let x = || vec![("x", floats(&[4], &[1.0, f64::NAN, 3.0, 3.0]))];
    let f = |body: &str| format!("fn f(x: f32[4]) -> (y) {{ let y[] = {body}; }}");
    close(&y(&f("cast[f32](argmax[j in 4](x[j]))"), x()), &[2.0]);
    close(&y(&f("cast[f32](argmin[j in 4](x[j]))"), x()), &[0.0]);
    assert!(y(&f("max[j in 4](x[j])"), x())[0].is_nan());
    assert!(y(&f("sum[j in 4](x[j])"), x())[0].is_nan());
    close(&y(&f("first[j in 4](where(x[j], gt(#j, 1)))"), x()), &[3.0]);
    close(&y(&f("last[j in 4](where(x[j], lt(#j, 1)))"), x()), &[1.0]);
    close(&y(&f("cast[f32](max[j in 0](3:i32))"), x()), &[f64::from(i32::MIN)]);
}

/// Masked softmax attention as a fold, step by step, is the same as in equations.
#[test]
fn a_fold_is_what_it_folds() {
    let (s, t, d) = (5, 6, 3);
    let inputs = || {
        vec![
            ("q", floats(&[s, d], &noise(s * d, 3))),
            ("k", floats(&[t, d], &noise(t * d, 4))),
            ("v", floats(&[t, d], &noise(t * d, 5))),
        ]
    };
    let plain = "fn f<S, T, D>(q: f32[S, D], k: f32[T, D], v: f32[T, D]) -> (y) {
        let z[i in S, j in T] = where(sum[d in D](mul(q[i, d], k[j, d])), lt(#j, #i));
        let p[i in S, j in T] = softmax[j](z[i, j]);
        let y[i in S, c in D] = sum[j in T](mul(p[i, j], v[j, c]));
    }";
    let folded = "fn f<S, T, D>(q: f32[S, D], k: f32[T, D], v: f32[T, D]) -> (y) {
        let y[i in S, c in D] = select(gt(proj[1](%1 = fold[j in T](
            max(%2 = where(sum[d in D](mul(q[i, d], k[j, d])), lt(#j, #i))),
            sum(%3 = exp(sub(%2, new[0])), scale(%4 = exp(sub(old[0], new[0])))),
            sum(mul(%3, v[j, c]), scale(%4)))), 0.0), div(proj[2](%1), proj[1](%1)), 0.0);
    }";
    close(&y(folded, inputs()), &y(plain, inputs()));
    let counted = "fn f(x: i32[5]) -> (y) { let y[] = cast[f32](proj[0](fold[j in 5](argmax(x[j]), sum(new[0])))); }";
    close(&y(counted, vec![("x", ints(&[1, 7, 3, 7, 2]))]), &[1.0]);
}

#[test]
fn loops_carry_and_collect() {
    let text = "fn f<N>(x: f32[2]) -> (y, z) {
        for n in N carry v: f32 = x {
            let w[i in 2] = mul(v[i], 2.0);
            let z[n, i in 2] = add(w[i], cast[f32](#n));
        } final e = w;
        let y[i in 2] = e[i];
    }";
    let outcome = call(text, vec![("x", floats(&[2], &[1.0, 3.0]))], &[("N", 3)]).expect("runs");
    close(&outcome.output("y").expect("y").to_floats(), &[8.0, 24.0]);
    close(&outcome.output("z").expect("z").to_floats(), &[2.0, 6.0, 5.0, 13.0, 10.0, 26.0]);
    let none = call(text, vec![("x", floats(&[2], &[1.0, 3.0]))], &[("N", 0)]).expect("runs");
    close(&none.output("y").expect("y").to_floats(), &[1.0, 3.0]);
    assert!(call(text, vec![("x", floats(&[2], &[1.0, 3.0]))], &[]).expect_err("no N").contains("`N`"));
}

#[test]
fn caches_grow() {
    let text = "fn f<S, T>(x: f32[S, 2], kv: f16[3, T, 2] list grows 1) -> (y) {
        for l in 3 {
            append k[s in S, c in 2] to kv[l] dim 0 = mul(x[s, c], cast[f32](#(l + 1)));
            let w[c in 2] = sum[t in T + S](k[t, c]);
            let y[l, c in 2] = w[c];
        }
    }";
    let cache = Value::floats(DType::F16, vec![3, 1, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("a cache");
    let outcome = call(text, vec![("x", floats(&[1, 2], &[10.0, 0.1])), ("kv", cache)], &[]).expect("runs");
    let tenth = |by: f64| half::f16::from_f64(0.1_f32 as f64 * by).to_f64();
    close(
        &outcome.output("y").expect("y").to_floats(),
        &[11.0, 2.0 + tenth(1.0), 23.0, 4.0 + tenth(2.0), 35.0, 6.0 + tenth(3.0)],
    );
    assert_eq!(outcome.appended.len(), 3);
    assert_eq!(
        (outcome.appended[1].at.as_slice(), outcome.appended[1].value.shape.as_slice()),
        (&[1_i64][..], &[2_usize, 2][..])
    );
    close(&outcome.appended[1].value.to_floats(), &[3.0, 4.0, 20.0, tenth(2.0)]);
}

#[test]
fn storage_rounds_and_defaults_fill() {
    let text = "fn f(x: f32[2], s: f32 = 0.1) -> (y, z) {
        let b[i in 2]: bf16 rounded = mul(x[i], s[]);
        let y[i in 2] = b[i];
        let z[i in 2]: f16 = mul(x[i], s[]);
    }";
    let outcome = call(text, vec![("x", floats(&[2], &[1.0, 3.0]))], &[]).expect("runs");
    let tenth = f64::from(0.1_f32);
    let bf16 = |x: f64| half::bf16::from_f64(x).to_f64();
    assert_eq!(outcome.output("y").expect("y").to_floats(), [bf16(tenth), bf16(3.0 * tenth)]);
    assert_eq!(
        outcome.output("z").expect("z").to_floats(),
        [tenth, 3.0 * tenth].map(|x| half::f16::from_f64(x).to_f64())
    );
}

#[test]
fn segments_restrict_their_axis() {
    let text = "fn f<N, M>(x: f32[N], o: i32[M + 1]) -> (y) { let y[m in M] = sum[n in N; o[m]](x[n]); }";
    let inputs = vec![("x", floats(&[5], &[1.0, 2.0, 4.0, 8.0, 16.0])), ("o", ints(&[0, 2, 2, 5]))];
    close(&y(text, inputs), &[3.0, 0.0, 28.0]);
}

/// Dequantised weights are computed once for all rows that use them, whatever the order of the axes.
#[test]
fn packed_reads_agree_with_plain_loops() {
    let text = "fn f<S, N, K>(x: f32[S, K], q: u8[N, K / 4, 2], d: f16[N, K / 4]) -> (y) where K % 4 == 0 {
        let y[s in S, n in N] = sum[k in K](mul(x[s, k], mul(d[n, k / 4], cast[f32](bitand(shr(q[n, k / 4, k % 2], cast[i32](#(4 * ((k % 4) / 2)))), 15:i32)))));
    }";
    let (s, n, k) = (3, 4, 8);
    let x = noise(s * k, 7);
    let q: Vec<u8> = (0..n * k / 2).map(|i| (i * 37 % 256) as u8).collect();
    let d = noise(n * k / 4, 8);
    let mut expected = Vec::new();
    for i in 0..s {
        for j in 0..n {
            let weight = |c: usize| {
                let byte = q[j * k / 2 + c / 4 * 2 + c % 2];
                f64::from(byte >> (4 * (c % 4 / 2)) & 15) * half::f16::from_f64(d[j * k / 4 + c / 4]).to_f64()
            };
            expected.push((0..k).map(|c| x[i * k + c] * weight(c)).sum());
        }
    }
    let q = Value::new(DType::U8, vec![n, k / 4, 2], Data::U8(q)).expect("packed");
    let d = Value::floats(DType::F16, vec![n, k / 4], &d).expect("scales");
    let outcome = call(text, vec![("x", floats(&[s, k], &x)), ("q", q), ("d", d)], &[("K", 8)]).expect("runs");
    close(&outcome.output("y").expect("y").to_floats(), &expected);
}

#[test]
fn wrong_arguments_are_named() {
    let text = "fn f<N>(x: f32[N], y: f32[N]) -> () {}";
    let failed = |inputs| call(text, inputs, &[]).expect_err("an error");
    assert!(failed(vec![("x", floats(&[2], &[1.0; 2]))]).contains("`y`"));
    assert!(
        failed(vec![("x", floats(&[2], &[1.0; 2])), ("y", floats(&[3], &[1.0; 3]))])
            .contains("of `y` has size 3, but other sizes make it 2")
    );
    assert!(failed(vec![("x", floats(&[2], &[1.0; 2])), ("y", ints(&[1, 2]))]).contains("element type"));
}
