//! Linked functions verify, and compute what the calls they came from mean.

use super::{Bindings, link};
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::interp::{Data, Inputs, Options, Outcome, Value, run};
use sawmill_ir::graph::text::{parse, parse_function, print_function};
use sawmill_ir::graph::verify::{verify, verify_linked};
use sawmill_ir::graph::{Elem, Function, Input, TensorKind};
use std::collections::BTreeMap;
use std::sync::Arc;

fn linked(text: &str, bindings: &Bindings) -> Function {
    let module = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&module).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let function = link(&[module], "main", bindings).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify_linked(&function).unwrap_or_else(|e| panic!("{e:?}\n{}", print_function(&function)));
    function
}

fn floats(shape: &[usize], data: &[f64]) -> Value {
    Value::floats(DType::F32, shape.to_vec(), data).expect("as many elements as the shape says")
}

fn outcome(function: &Function, inputs: Vec<(&str, Value)>) -> Outcome {
    let inputs: Inputs = inputs.into_iter().map(|(name, value)| (name.to_owned(), Arc::new(value))).collect();
    let ran = run(function, &BTreeMap::new(), &inputs, Options::default());
    ran.unwrap_or_else(|e| panic!("{e}\n{}", print_function(function)))
}

fn y(function: &Function, inputs: Vec<(&str, Value)>) -> Vec<f64> {
    outcome(function, inputs).output("y").expect("an output y").to_floats()
}

fn inputs_of(function: &Function) -> Vec<(&str, &Input)> {
    let input = |t: &'_ sawmill_ir::graph::Tensor| matches!(t.kind, TensorKind::Input(_));
    let all = function.tensors.values().filter(|t| input(t));
    all.filter_map(|t| if let TensorKind::Input(i) = &t.kind { Some((t.name.as_str(), i)) } else { None }).collect()
}

const SCALE: &str = "fn scale<N>(x: f32[N], by: f32 = 2.0) -> (s, total) {
    let s[i in N] = mul(x[i], by[]);
    let total[] = sum[i in N](s[i]);
}
";

#[test]
fn a_call_is_made_for_each_value_of_its_free_axes() {
    let text = format!(
        "{SCALE}fn main<B, N>(x: f32[B, N]) -> (y) {{
        let y[b in B, i in N] = add(call scale[i](x = &x[b, ..]), call scale#1[](x = &x[b, ..]));
    }}"
    );
    let function = linked(&text, &Bindings::default());
    let x = floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(y(&function, vec![("x", x)]), [8.0, 10.0, 20.0, 22.0]);
    // Both outputs come from one instance of the callee.
    let scaled = function.tensors.values().filter(|t| t.name.ends_with(".s")).count();
    assert_eq!(scaled, 1, "{}", print_function(&function));
}

#[test]
fn slices_compose_through_two_calls() {
    let text = "fn inner<D>(x: f32[D]) -> (r) { let r[] = sum[d in D](x[d]); }
    fn middle<T, D>(x: f32[T, D]) -> (r) { let r[t in T] = call inner[](x = &x[t, ..]); }
    fn main<B, T, D>(x: f32[T, B, D]) -> (y) { let y[b in B, t in T] = call middle[t](x = &x[.., b, ..]); }";
    let x = floats(&[2, 2, 2], &[1.0, 2.0, 10.0, 20.0, 100.0, 200.0, 1000.0, 2000.0]);
    assert_eq!(y(&linked(text, &Bindings::default()), vec![("x", x)]), [3.0, 300.0, 30.0, 3000.0]);
}

#[test]
fn scalars_dims_and_defaults_reach_the_callee() {
    let text = format!(
        "{SCALE}fn window<N, W>(x: f32[N]) -> (r) {{ let r[i in N] = sum[j in N](where(x[j], lt(#(i - j), #W))); }}
    fn main<N>(x: f32[N], a: f32) -> (y) {{
        let y[i in N] = add(call scale[i](x = &x[..], by = mul(a[], 10.0)), call window[i](x = &x[..]; W = 1));
    }}"
    );
    let function = linked(&text, &Bindings::default());
    let inputs = vec![("x", floats(&[3], &[1.0, 2.0, 3.0])), ("a", floats(&[], &[3.0]))];
    assert_eq!(y(&function, inputs), [36.0, 65.0, 93.0]);
}

#[test]
fn requirements_give_the_dims_of_a_callee() {
    let text = "fn halves<N, M>(x: f32[N]) -> (r) where N == 2 * M { let r[m in M] = add(x[m], x[m + M]); }
    fn main<M>(x: f32[2 * M]) -> (y) { let y[m in M] = call halves[m](x = &x[..]); }";
    assert_eq!(y(&linked(text, &Bindings::default()), vec![("x", floats(&[4], &[1.0, 2.0, 3.0, 4.0]))]), [4.0, 6.0]);
}

const MASKED: &str = "fn masked<N>(x: f32[N], mask: fn(i64, i64) -> bool = |i, j| le(#j, #i)) -> (r) {
    let r[i in N] = sum[j in N](where(x[j], apply mask(#i, #j)));
}
";

#[test]
fn closures_are_inlined_where_they_are_applied() {
    let x = || vec![("x", floats(&[3], &[1.0, 2.0, 4.0]))];
    let plain = format!("{MASKED}fn main<N>(x: f32[N]) -> (y) {{ let y[i in N] = call masked[i](x = &x[..]); }}");
    assert_eq!(y(&linked(&plain, &Bindings::default()), x()), [1.0, 3.0, 7.0]);
    let given = format!(
        "{MASKED}fn main<N>(x: f32[N], mask: fn(i64) -> bool = |k| eq(#(k % 2), 0)) -> (y) {{
        let y[b in N, i in N] = call masked[i](x = &x[..], mask = |i, j| apply mask(#(i + j + b)));
    }}"
    );
    assert_eq!(y(&linked(&given, &Bindings::default()), x()), [5.0, 2.0, 5.0, 2.0, 5.0, 2.0, 5.0, 2.0, 5.0]);
}

#[test]
fn captures_of_a_given_closure_become_arguments() {
    let module = format!(
        "{MASKED}fn main<N>(x: f32[N], mask: fn(i64, i64) -> bool) -> (y) {{
        let y[i in N] = call masked[i](x = &x[..], mask = |i, j| apply mask(#i, #j));
    }}"
    );
    let closure = "fn given<D>(doc: i32[D], w: i64, f: fn(i64, i64) -> bool = |i, j| and(eq(doc[i], doc[j]), le(#(i - j), #(w[])))) -> () {}";
    let closures = vec![("mask".to_owned(), parse_function(closure).expect("parses"))];
    let function = linked(&module, &Bindings { closures, ..Bindings::default() });
    let doc = Value::ints(DType::I32, vec![3], &[0, 0, 1]).expect("a row");
    let window = Value::ints(DType::I64, vec![], &[0]).expect("a scalar");
    let inputs = vec![("x", floats(&[3], &[1.0, 2.0, 4.0])), ("mask.0", doc), ("mask.1", window)];
    assert_eq!(y(&function, inputs), [3.0, 2.0, 4.0]);
}

const PACKED: &str = "format q of 4 = fn q<K>(d: f16[K / 4], q: u8[K / 4, 4]) -> (w) where K % 4 == 0 {
    let w[k in K] = mul(d[k / 4], cast[f32](q[k / 4, k % 4]));
}
fn main<N, const K, type E: float>(w: E[N, K], x: f32[K]) -> (y) { let y[n in N] = sum[k in K](mul(w[n, k], x[k])); }";

#[test]
fn packed_arguments_become_fields() {
    let types = vec![("E".to_owned(), Elem::Format("q".to_owned()))];
    let function = linked(PACKED, &Bindings { dims: vec![("K".to_owned(), 8)], types, ..Bindings::default() });
    let fields = inputs_of(&function);
    let field =
        |name: &str| fields.iter().find(|(n, _)| *n == name).and_then(|(_, i)| i.field.clone()).expect("a field");
    let (d, q) = (field("w.d"), field("w.q"));
    assert_eq!((d.offset, d.record, q.offset, q.record, q.record_dim), (0, 6, 2, 6, 1));
    // One row of two records: d = 1 and 2, then 0, 1, 2, 3 and 4, 5, 6, 7.
    let bytes = [0x00, 0x3c, 0, 1, 2, 3, 0x00, 0x40, 4, 5, 6, 7];
    let shape = |name: &str| {
        let tensor = function.tensors.values().find(|t| t.name == name).expect("a field");
        let size = |i: &sawmill_ir::index::Index| i.as_int().map_or(1, |v| usize::try_from(v).expect("a size"));
        tensor.shape.iter().map(size).collect::<Vec<_>>()
    };
    let d = Value::from_records(DType::F16, shape("w.d"), &d, &bytes).expect("scales");
    let q = Value::from_records(DType::U8, shape("w.q"), &q, &bytes).expect("quants");
    let result = y(&function, vec![("w.d", d), ("w.q", q), ("x", floats(&[8], &[1.0; 8]))]);
    assert_eq!(result, [f64::from(1 + 2 + 3 + 2 * (4 + 5 + 6 + 7))]);
}

/// What a format stands for is computed: `as E` and tensors of `E` keep it in f32, in callees as in the function itself.
#[test]
fn values_are_not_rounded_to_a_packed_format() {
    let text = PACKED.replace("mul(w[n, k], x[k])", "mul(w[n, k], call scaled[k](a = &w[n, ..], x = &x[..]))")
        + "fn scaled<const K, type F: float>(a: F[K], x: f32[K]) -> (r) {
        let s[k in K]: F rounded = round_to[F](mul(x[k], 0.1)); let r[k in K] = round_to[F](add(s[k], a[k]));
    }";
    let types = vec![("E".to_owned(), Elem::Format("q".to_owned()))];
    let function = linked(&text, &Bindings { dims: vec![("K".to_owned(), 4)], types, ..Bindings::default() });
    let field =
        |name: &str| inputs_of(&function).into_iter().find(|(n, _)| *n == name).and_then(|(_, i)| i.field.clone());
    let bytes = [0x00, 0x40, 0, 1, 2, 3];
    let d = Value::from_records(DType::F16, vec![1, 1], &field("w.d").expect("d"), &bytes).expect("scales");
    let q = Value::from_records(DType::U8, vec![1, 1, 4], &field("w.q").expect("q"), &bytes).expect("quants");
    let result = y(&function, vec![("w.d", d), ("w.q", q), ("x", floats(&[4], &[10.0, 20.0, 30.0, 40.0]))]);
    let expected: f64 = (0..4).map(|k| 2.0 * f64::from(k) * (f64::from(k + 1) + 2.0 * f64::from(k))).sum();
    assert!((result[0] - expected).abs() < 1e-5, "{result:?} is not {expected}");
}

/// A field that does not count records would be laid out wrong: it is refused, by the verifier and by the linker.
#[test]
fn a_flat_field_is_refused() {
    let flat = PACKED.replace("q: u8[K / 4, 4]", "q: u8[K]").replace("q[k / 4, k % 4]", "q[k]");
    let module = parse(&flat).expect("parses");
    assert!(verify(&module).expect_err("a flat field")[0].message.contains("does not count records"));
    let types = vec![("E".to_owned(), Elem::Format("q".to_owned()))];
    let bindings = Bindings { dims: vec![("K".to_owned(), 8)], types, ..Bindings::default() };
    assert!(link(&[module], "main", &bindings).expect_err("a flat field").message.contains("does not count records"));
}

#[test]
fn four_bit_fields_take_half_bytes() {
    let text = PACKED.replace("q: u8[K / 4, 4]", "q: u4[K / 4, 4]");
    let types = vec![("E".to_owned(), Elem::Format("q".to_owned()))];
    let function = linked(&text, &Bindings { dims: vec![("K".to_owned(), 4)], types, ..Bindings::default() });
    let q = inputs_of(&function).into_iter().find(|(n, _)| *n == "w.q").and_then(|(_, i)| i.field.clone()).expect("q");
    assert_eq!((q.offset, q.record), (2, 4));
    let bytes = [0x00, 0x3c, 0x21, 0x43];
    let q = Value::from_records(DType::U4, vec![1, 1, 4], &q, &bytes).expect("quants");
    let d = Value::new(DType::F16, vec![1, 1], Data::F16(vec![0x3c00])).expect("a scale");
    let x = floats(&[4], &[1.0, 10.0, 100.0, 1000.0]);
    assert_eq!(y(&function, vec![("w.d", d), ("w.q", q), ("x", x)]), [4321.0]);
}

#[test]
fn plain_types_take_the_place_of_type_parameters() {
    let types = vec![("E".to_owned(), Elem::Type(DType::BF16))];
    let function = linked(PACKED, &Bindings { dims: vec![("K".to_owned(), 2)], types, ..Bindings::default() });
    let w = Value::new(DType::BF16, vec![1, 2], Data::BF16(vec![0x3f80, 0x4000])).expect("two elements");
    assert_eq!(y(&function, vec![("w", w), ("x", floats(&[2], &[10.0, 100.0]))]), [210.0]);
}

#[test]
fn appends_in_a_callee_reach_the_callers_cache() {
    let text = "fn layer<S, T>(x: f32[S], kv: f16[T] grows 0) -> (r) {
        append k[s in S] to kv dim 0 = x[s];
        let r[s in S] = add(x[s], sum[t in T + S](k[t]));
    }
    fn main<L, S, T>(x: f32[S], kv: f16[L, T] list grows 1) -> (y) {
        for l in L carry v: f32 = x { let n[s in S] = call layer[s](x = &v[..], kv = &kv[l, ..]); } final e = n;
        let y[s in S] = e[s];
    }";
    let function = linked(text, &Bindings::default());
    let kv = Value::floats(DType::F16, vec![2, 1], &[10.0, 100.0]).expect("a cache");
    let outcome = outcome(&function, vec![("x", floats(&[1], &[1.0])), ("kv", kv)]);
    // Step 0: 1 + (10 + 1); step 1: 12 + (100 + 12).
    assert_eq!(outcome.output("y").expect("y").to_floats(), [124.0]);
    let caches: Vec<_> =
        outcome.appended.iter().map(|a| (a.input.as_str(), a.at.clone(), a.value.to_floats())).collect();
    assert_eq!(caches, [("kv", vec![0], vec![10.0, 1.0]), ("kv", vec![1], vec![100.0, 12.0])]);
}

#[test]
fn what_is_not_used_is_dropped_and_links_are_deterministic() {
    let text = format!(
        "{SCALE}fn main<N>(x: f32[N]) -> (y) {{ let unused[i in N] = exp(x[i]); let y[] = call scale#1[](x = &x[..]); }}"
    );
    let function = linked(&text, &Bindings::default());
    assert_eq!(print_function(&function), print_function(&linked(&text, &Bindings::default())));
    assert!(!print_function(&function).contains("unused"), "{}", print_function(&function));
    let looped = "fn main<N>(x: f32[N], c: f32[N] grows 0) -> (y) {
        for l in 2 carry a: f32 = x, b: f32 = x {
            append d[i in 1] to c dim 0 = x[i];
            let p[i in N] = add(a[i], 1.0);
            let q[i in N] = mul(b[i], 2.0);
        } final e = p, g = q;
        let y[i in N] = e[i];
    }";
    let text = print_function(&linked(looped, &Bindings::default()));
    assert!(text.contains("append") && text.contains("carry a") && !text.contains("mul("), "{text}");
}

#[test]
fn what_is_missing_is_named() {
    let failed =
        |text: &str| link(&[parse(text).expect("parses")], "main", &Bindings::default()).expect_err(text).message;
    assert!(failed("fn other() -> () {}").contains("`main`"));
    assert!(failed("fn main() -> (y) { let y[] = call gone[](); }").contains("`gone`"));
    assert!(failed("fn main<const D>() -> () {}").contains("`D`"));
    assert!(failed("fn main<type E: float>() -> () {}").contains("`E`"));
    assert!(failed("fn main(m: fn(i64) -> bool) -> () {}").contains("`m`"));
    assert!(
        failed("fn f(x: f32) -> (r) { let r[] = x[]; } fn main() -> (y) { let y[] = call f[](); }").contains("`x`")
    );
    let endless = "fn main(x: f32) -> (y) { let y[] = call main[](x = x[]); }";
    assert!(failed(endless).contains("deep"), "{}", failed(endless));
}
