//! One negative test per rule; texts where the text can say it, edited data where it cannot.

use super::{verify, verify_linked};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::entity::Entity;
use crate::graph::text::{parse, parse_function};
use crate::graph::{Elem, Function, Op, Param, Stmt, TensorKind, TermId};
use crate::index::{AxisId, Index, TensorId};

const GOOD: &str = "fn f<S, T>(x: f32[S, T], kv: f16[4, T, 8] list grows 1, tok: i32[S] in 0..T, eps: f32 = 1e-5) -> (y, o) {
    let p[s in S, t in T] = softmax[t](where(x[s, t], le(#t, #s)));
    let y[s in S]: f16 = add(sum[t in T](mul(p[s, t], x[tok[s] % S, t])), eps[]);
    for l in 4 carry v: f32 = y {
        append k[u in S, c in 8] to kv[l] dim 0 = v[u];
        let w[s in S] = add(v[s], k[s, 0]);
    } final end = w;
    let o[s in S] = proj[1](fold[t in T](max(x[s, t]), sum(exp(sub(x[s, t], new[0])), scale(exp(sub(old[0], new[0]))))));
}";

fn good() -> Function {
    parse_function(GOOD).expect("parses")
}

/// The first message about a text.
fn message(text: &str) -> String {
    match verify(&parse(text).unwrap_or_else(|e| panic!("{e}: {text}"))) {
        Ok(()) => "nothing".to_owned(),
        Err(errors) => errors[0].message.clone(),
    }
}

fn linked_message(function: &Function) -> String {
    verify_linked(function).err().map_or_else(|| "nothing".to_owned(), |errors| errors[0].message.clone())
}

#[test]
fn the_good_function_passes() {
    assert_eq!(linked_message(&good()), "nothing");
    assert_eq!(message(GOOD), "nothing");
}

#[test]
fn texts_that_break_a_rule() {
    let cases = [
        ("fn f() -> () {} fn f() -> () {}", "`f` is defined twice"),
        ("format q of 0 = fn q<K>(d: f16[K]) -> (w) { let w[k in K] = d[k]; }", "a record holds at least one value"),
        ("format q of 8 = fn q<K, L>(d: f16[K]) -> (w) { let w[k in K] = d[k]; }", "a format has one dim"),
        ("format q of 8 = fn q<K>(d: f16[K]) -> (w) { let w[k in 8] = d[k]; }", "a format has one output over its dim"),
        ("format q of 8 = fn q<K>(d: f16) -> (w) { let w[k in K] = d[]; }", "the field `d` needs a plain type"),
        ("format q of 8 = fn q<K>(d: f16[K]) -> (w) { let w[k in K] = d[k]; }", "does not count records"),
        ("fn f(x: f32 grows 0) -> () {}", "it grows along a dimension"),
        ("fn f(x: f32 list) -> () {}", "a list has a length"),
        ("fn f(x: f32[4] in 0..9) -> () {}", "only integers are promised a range"),
        ("fn f(x: f32[4] = 3) -> () {}", "the default is of type i64"),
        ("fn f(x: f32 field w q(4, 4, 0)) -> () {}", "the field lies outside of its record"),
        ("fn f(m: fn(i64) -> bool = |i, j| true) -> () {}", "the default's parameters"),
        ("fn f(m: fn(i64) -> bool = |i| #i) -> () {}", "the default does not give bool"),
        ("fn f<const D = -1>() -> () {}", "the size `D` is negative"),
        ("fn f(x: f32[4]) -> (y) { let y[i in 4]: i32 rounded = x[i]; }", "a value of type f32 in i32"),
        ("fn f(x: f32[4]) -> () { let y[i in 4]: f16 = x[i]; }", "a value of type f32 in f16"),
        ("fn f(x: f32[4]) -> () { let y[i in 4]: q4 rounded = x[i]; }", "a definition is not packed as `q4`"),
        ("fn f(x: f32[4]) -> () { let y[i in 4] = x[i, i]; }", "2 subscripts for a rank of Some(1)"),
        ("fn f(x: f32[4]) -> () { let y[i in 4] = #(x[i]); }", "does not hold integers"),
        ("fn f(x: i32[4]) -> () { let y[i in 4] = #(x[i, 0]); }", "2 subscripts for t0 of rank 1"),
        ("fn f(x: f32[4]) -> () { let y[i in 4] = x[i]:f64; }", "its type is f32, not f64"),
        ("fn f(x: f32[4]) -> () { let y[i in 4] = x[i]:f16; }", "it computes in the storage type f16"),
        ("fn f() -> () { let y[] = true:i64; }", "a constant Bool(true) of type i64"),
        ("fn f() -> () { let y[] = where(1.0, 2.0):f32; }", "`where` on a condition of type f32"),
        ("fn f() -> () { let y[] = softmax[](1.0); }", "a softmax over no axis"),
        ("fn f(x: f32[4]) -> () { let y[] = argmax[i in 4, j in 4](x[i]); }", "`argmax` over several axes"),
        ("fn f(x: f32[4]) -> () { let y[] = mean[i in 4](x[i], 1.0); }", "`mean` has no initial element"),
        ("fn f(x: f32[4]) -> () { let y[] = sum[i in 4; x[0]](x[i]); }", "a segment is one axis"),
        ("fn f() -> () { let y[] = call g[](a = 1.0, a = 2.0); }", "`a` is given twice"),
        ("fn f(x: f32[4]) -> () { let y[] = call g[](a = &x[]); }", "a slice of rank 0"),
        ("fn f(x: f32[4]) -> () { let y[] = fold[i in 4](mean(x[i])); }", "component 0 cannot be `mean`"),
        (
            "fn f(x: f32[4]) -> () { let y[] = fold[i in 4](max(x[i]), sum(new[0], scale(1))); }",
            "the repair of component 1",
        ),
        ("fn f(x: f32[4], c: f32[4]) -> () { append d[i in 2] to c dim 0 = x[i]; }", "`c` does not grow"),
        (
            "fn f(x: f32[4], c: f32[2, 4] list grows 1) -> () { append d[i in 2, j in 4] to c dim 1 = x[i]; }",
            "`c` does not grow",
        ),
        (
            "fn f(x: f32[4], c: f32[2, 4] grows 0) -> () { append d[i in 2, j in 3] to c dim 0 = x[i]; }",
            "the slab's other sizes",
        ),
        (
            "fn f(x: i32[4], c: f32[4] grows 0) -> () { append d[i in 2] to c dim 0 = x[i]; }",
            "a value of type i32 is appended",
        ),
        (
            "fn f(x: f32[4]) -> () { for l in 2 carry v: i32 = x { let n[i in 4] = x[i]; } final e = n; }",
            "a carry changes its element type",
        ),
        (
            "fn f(x: f32[4]) -> () { for l in 2 carry v: f32 = x { let n[i in 3] = v[i]; } final e = n; }",
            "a carry changes its shape",
        ),
        (
            "fn f(x: f32[4]) -> () { for l in 2 { let n[i in 4] = x[i]; } let m[i in 4] = n[i]; }",
            "it reads t1, which is not defined before",
        ),
        ("fn f(x: f32[4]) -> (x) {}", "an output is a definition"),
        ("fn f(x: f32[4]) -> (n) { for l in 2 { let n[i in 4] = x[i]; } }", "an output is not defined at the end"),
    ];
    for (text, expected) in cases {
        let found = message(text);
        assert!(found.contains(expected), "{text}\nexpected: {expected}\nfound: {found}");
    }
}

#[test]
fn lowered_forms_are_not_linked() {
    let cases = [
        ("fn f<type E: float>(x: E[4]) -> () {}", "type parameters"),
        ("fn f(x: q4_1[4]) -> () {}", "is not known here"),
        ("fn f(m: fn(i64) -> bool) -> () {}", "has no closures"),
        ("fn f(m: fn(i64) -> bool) -> () { let y[] = apply m(1); }", "has no closures"),
        ("fn f() -> () { let y[] = call g[](); }", "has no calls"),
    ];
    for (text, expected) in cases {
        let found = linked_message(&parse_function(text).expect(text));
        assert!(found.contains(expected), "{text}\nexpected: {expected}\nfound: {found}");
    }
}

/// Edits the good function and expects a message.
fn broken(expected: &str, edit: impl FnOnce(&mut Function)) {
    let mut function = good();
    edit(&mut function);
    let errors = verify_linked(&function).expect_err(expected);
    assert!(errors.iter().any(|e| e.message.contains(expected)), "expected: {expected}\nfound: {errors:?}");
}

fn named(function: &Function, name: &str) -> TensorId {
    function.tensors.iter().find(|(_, t)| t.name == name).expect("a tensor of the good function").0
}

fn value_of(function: &Function, name: &str) -> TermId {
    match function.tensors[named(function, name)].kind {
        TensorKind::Def { value, .. } => value,
        _ => panic!("{name} is no definition"),
    }
}

#[test]
fn data_that_breaks_a_rule() {
    broken("an operand does not come before its user", |f| {
        let value = value_of(f, "o");
        f.terms[value].args = vec![value];
    });
    broken("there is no such tensor", |f| f.body.push(Stmt::Define(TensorId::new(99))));
    broken("there is no axis", |f| {
        let value = value_of(f, "p");
        f.terms[value].args = vec![TermId::new(0)];
        f.terms[TermId::new(0)].op = Op::Index(Index::axis(AxisId::new(99)));
    });
    broken("is defined twice", |f| f.body.push(Stmt::Define(named(f, "o"))));
    broken("is free in its value", |f| {
        let free = f.axes.push(crate::graph::Axis { name: "free".to_owned(), extent: Index::int(2) });
        let value = value_of(f, "w");
        f.terms[value].op = Op::Softmax { axes: vec![free] };
        f.terms[value].args.truncate(1);
    });
    broken("its shape is not the extents", |f| {
        let y = named(f, "p");
        f.tensors[y].shape[0] = Index::int(3);
    });
    broken("an argument is not in the signature", |f| f.params.truncate(3));
    broken("an argument occurs twice", |f| f.params.push(Param::Tensor(TensorId::new(0))));
    broken("occurs in no statement", |f| drop(f.body.pop()));
    broken("is bound by", |f| {
        let axes = match &f.tensors[named(f, "y")].kind {
            TensorKind::Def { axes, .. } => axes.clone(),
            _ => Vec::new(),
        };
        let o = named(f, "p");
        if let TensorKind::Def { axes: other, .. } = &mut f.tensors[o].kind {
            other[0] = axes[0];
        }
    });
    broken("`new` or `old` outside of a fold", |f| {
        let value = value_of(f, "w");
        let running = f.terms.iter().find(|(_, t)| matches!(t.op, Op::New(_))).expect("a running value").0;
        f.terms[value].op = Op::Elem(ElemOp::Neg);
        let fixed =
            f.terms.push(crate::graph::Term { op: Op::Elem(ElemOp::Neg), args: vec![running], dtype: DType::F32 });
        let w = named(f, "w");
        if let TensorKind::Def { value, .. } = &mut f.tensors[w].kind {
            *value = fixed;
        }
        f.terms[value].args.truncate(1);
    });
    broken("which is not earlier", |f| {
        let running = f.terms.iter().find(|(_, t)| matches!(t.op, Op::New(_))).expect("a running value").0;
        f.terms[running].op = Op::New(1);
    });
    broken("is not of type f64", |f| {
        let running = f.terms.iter().find(|(_, t)| matches!(t.op, Op::New(_))).expect("a running value").0;
        f.terms[running].dtype = DType::F64;
    });
    broken("operands for its components", |f| {
        let fold = f.terms.iter().find(|(_, t)| matches!(t.op, Op::Fold { .. })).expect("a fold").0;
        f.terms[fold].args.pop();
    });
    broken("a reduction over no axis", |f| {
        let value = value_of(f, "w");
        f.terms[value].op = Op::Reduce { op: ReduceOp::Sum, axes: Vec::new(), segment: None };
        f.terms[value].args.truncate(1);
    });
    broken("its shape is not that of the longer cache", |f| {
        let k = named(f, "k");
        f.tensors[k].shape[0] = Index::int(9);
    });
    broken("the element type is not the cache's", |f| {
        let k = named(f, "k");
        f.tensors[k].elem = Elem::Type(DType::F32);
    });
    broken("a carry is neither", |f| {
        let end = named(f, "end");
        f.tensors[end].kind = TensorKind::Carry;
    });
    broken("the next value is not defined in the loop", |f| {
        let o = named(f, "o");
        if let Some(Stmt::Loop(steps)) = f.body.iter_mut().find(|s| matches!(s, Stmt::Loop(_))) {
            steps.carries[0].next = o;
        }
    });
    broken("only definitions and appends", |f| f.body.push(Stmt::Define(TensorId::new(0))));
    broken("terms nest deeper", |f| {
        let mut last = value_of(f, "w");
        for _ in 0..300 {
            last = f.terms.push(crate::graph::Term { op: Op::Elem(ElemOp::Neg), args: vec![last], dtype: DType::F32 });
        }
    });
}
