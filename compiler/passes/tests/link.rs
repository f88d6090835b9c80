//! Linking joins calls, closures, formats and type parameters into one function.

use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{Elem, text};
use sawmill_passes::link::{Bindings, link};

/// Mapped calls, a closure of a closure, a packed argument, a scalar argument that is a reduction.
const PROGRAM: &str = r"
format q4_1 of 32 = fn q4_1<K>(d: f16[K / 32], m: f16[K / 32], q: u8[K / 32, 16]) -> (w) where K % 32 == 0
{ let w[k in K] = add(m[k / 32], mul(cast[f32](bitand(shr(q[k / 32, k % 16], cast[i32](#(4 * ((k % 32) / 16)))), 15:i32)), d[k / 32])); }
fn norm<const D>(x: f32[D], eps: f32 = 0.5) -> (y) { 
 let c[d in D] = sub(x[d], mean[m in D](x[m]));
 let y[d in D] = mul(c[d], rsqrt(add(eps[], mean[m in D](mul(c[m], c[m])))));
}
fn attend<S, T, const D, type E: float>(q: E[S, D], k: E[T, D], mask: fn(i64, i64) -> bool = |i, j| le(#j, #(i + T - S))) -> (o, lse) {
  let z[i in S, j in T] = where(sum[d in D](mul(q[i, d], k[j, d])), apply mask(#i, #j));
  let p[i in S, j in T] = softmax[j](z[i, j]);
  let o[i in S, c in D] = sum[j in T](mul(p[i, j], k[j, c]));
  let lse[i in S] = logsumexp[j in T](z[i, j]);
}
fn main<B, H, HQ, G, S, T, const D, type E: float>(q: E[B, S, HQ, D], k: E[B, T, H, D], doc: i32[B, T], w: q4_1[D, D], mask: fn(i64, i64, i64, i64) -> bool = |b, h, i, j| eq(doc[b, i], doc[b, j])) -> (o, lse, nn) where HQ == H * G, T - S >= 0 {
  let o[b in B, s in S, h in HQ, c in D]: E = call attend#0[s, c](q = &q[b, .., h, ..], k = &k[b, .., h / G, ..], mask = |i, j| apply mask(#b, #h, #i, #j));
  let lse[b in B, s in S, h in HQ] = call attend#1[s](q = &q[b, .., h, ..], k = &k[b, .., h / G, ..], mask = |i, j| apply mask(#b, #h, #i, #j));
  let nn[b in B, s in S, d in D] = call norm#0[d](x = &q[b, s, 0, ..], eps = sum[d2 in D](mul(w[0, d2], q[b, s, 0, d2])));
}
";

fn linked(bindings: &Bindings) -> String {
    let module = text::parse(PROGRAM).expect("the program parses");
    let function = link(std::slice::from_ref(&module), "main", bindings).expect("the program links");
    text::print_function(&function)
}

fn bindings() -> Bindings {
    let types = vec![("E".to_owned(), Elem::Type(DType::F32))];
    Bindings { dims: vec![("D".to_owned(), 64)], types, ..Bindings::default() }
}

#[test]
fn two_outputs_of_one_call_share_an_instance() {
    let text = linked(&bindings());
    assert_eq!(text.matches("softmax").count(), 1, "{text}");
    assert!(text.contains("let o[b in B, s in S, h in HQ, c in 64] = attend.o[b, h, s, c];"), "{text}");
}

#[test]
fn closures_see_the_indices_of_the_place_where_they_are_written() {
    let text = linked(&bindings());
    assert!(text.contains("k[b, j, h / G, d])), eq(doc[b, i], doc[b, j]));"), "{text}");
}

#[test]
fn packed_arguments_become_fields_of_records() {
    let text = linked(&bindings());
    for field in ["w.d: f16[64, 2] field w q4_1(0, 20, 1)", "w.q: u8[64, 2, 16] field w q4_1(4, 20, 1)"] {
        assert!(text.contains(field), "{text}");
    }
}

#[test]
fn a_given_closure_brings_its_captures() {
    let given = "fn given<N>(c: i64, t: i32[N], mask: fn(i64, i64, i64, i64) -> bool = \
                 |b, h, i, j| lt(#i, add(c[], cast[i64](t[j])))) -> () { }";
    let given = text::parse_function(given).expect("the closure parses");
    let text = linked(&Bindings { closures: vec![("mask".to_owned(), given)], ..bindings() });
    assert!(text.contains("mask.0: i64") && text.contains("mask.1: i32[mask.1.0]"), "{text}");
    assert!(text.contains("mask.1[j]"), "{text}");
}

#[test]
fn what_is_missing_is_named() {
    let module = text::parse(PROGRAM).expect("the program parses");
    let fails = |bindings: &Bindings| {
        link(std::slice::from_ref(&module), "main", bindings).expect_err("something is missing").to_string()
    };
    assert!(fails(&Bindings { dims: Vec::new(), ..bindings() }).contains("`D`"));
    assert!(fails(&Bindings { types: Vec::new(), ..bindings() }).contains("`E`"));
    assert!(
        link(std::slice::from_ref(&module), "absent", &bindings())
            .expect_err("absent")
            .to_string()
            .contains("`absent`")
    );
}
