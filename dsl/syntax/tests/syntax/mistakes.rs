//! One program per kind of error: the error, at its token.

use crate::checking::check;

/// A program, and `text of the place: message` of its only error.
type Case = (&'static str, &'static str);

fn each_has_its_error(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (program, wanted) in cases {
        let (found, _) = check(program);
        let wanted: Vec<&str> = if wanted.is_empty() { Vec::new() } else { vec![*wanted] };
        if found != wanted {
            wrong.push(format!("{program}\n  wanted: {wanted:?}\n  found:  {}", found.join("\n          ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names() {
    each_has_its_error(&[
        ("fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = xx[i]; }", "xx: unknown name `xx`"),
        ("fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[j]; }", "j: unknown name `j`"),
        ("fn f<N>(x: f32[M]) -> y: f32 { y = 1.0; }", "M: unknown dim `M`"),
        ("fn f<N>(x: f23[N]) -> y: f32 { y = 1.0; }", "f23: unknown dtype `f23`"),
        ("fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = exq(x[i]); }", "exq: unknown function `exq`"),
        ("fn f<N>(x: f32[N]) -> y: f32 { y = summ[i](x[i]); }", "summ: unknown reduction `summ`"),
        ("fn f<D>(w: Layer<D>) -> y: f32 { y = 1.0; }", "Layer: unknown struct or cache `Layer`"),
        ("fn f<N>(x: f32[N]) -> y: f32 { z = x[0]; y = 1.0; }", "z: unknown output `z`"),
        (
            "fn g(x: f32) -> y: f32 { y = x; } fn f(x: f32) -> y: f32 { y = g(x, z = 1.0); }",
            "z: unknown parameter of `g` `z`",
        ),
        ("fn f<N, N>(x: f32[N]) -> y: f32 { y = 1.0; }", "N: `N` is already the name of a dim"),
        ("fn f<N>(x: f32[N], x: f32) -> y: f32 { y = 1.0; }", "x: `x` is already the name of an argument"),
        ("fn f<N>(x: f32[N]) -> y: f32 { let x = 1.0; y = 1.0; }", "x: `x` is already the name of an argument"),
        ("fn f<N>(x: f32[N]) -> y: f32 { y = sum[x in 0..N](1.0); }", "x: `x` is already the name of an argument"),
        (
            "fn f(x: f32) -> y: f32 { y = x; } fn f(x: f32) -> y: f32 { y = x; }",
            "f: `f` is already the name of an item",
        ),
        ("fn f(x: f32) -> y: f32 { let y = x; y = x; }", "y: `y` is already the name of an output"),
        ("fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = N[i]; }", "N: `N` is a dim, not a tensor"),
        ("fn f(x: f32) -> y: f32 { let z = y; y = x; }", "y: `y` is an output that is not assigned yet, not a value"),
        ("fn f(m: |i| -> f32) -> y: f32 { y = m; }", "m: `m` is a closure, not a value"),
        ("fn f<type E: float>(x: E) -> y: f32 { y = E; }", "E: `E` is a type, not a value"),
        ("struct W<D> { a: f32[D] } fn f<D>(w: W<D>) -> y: f32 { y = w; }", "w: `w` is a struct, not a number"),
        ("struct W<D> { a: f32[D] } fn f<D>(w: W<D>) -> y: f32 { y = w.b[0]; }", "b: `W` has no `b`"),
        (
            "struct W<D> { a: f32[D] } fn f<D, L>(w: [W<D>; L]) -> y: f32[D] { y[d] = w.a[d]; }",
            "a: the list `w` has no `a`",
        ),
        ("fn f<N>(x: f32[N]) -> y: f32 { y = x.a; }", "a: a tensor has no `a`"),
        ("fn f(x: f32) -> y: f32 { x = 1.0; y = x; }", "x: `x` is an argument and cannot be assigned"),
        ("fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = sum[i](x[i]); }", "i: the index `i` is bound twice"),
    ]);
}

#[test]
fn recursion() {
    each_has_its_error(&[
        ("fn f(x: f32) -> y: f32 { y = f(x); }", "f: recursive `fn`: `f` calls `f`"),
        (
            "fn f(x: f32) -> y: f32 { y = g(x); } fn g(x: f32) -> y: f32 { y = f(x); }",
            "f: recursive `fn`: `f` calls `g` calls `f`",
        ),
    ]);
}

#[test]
fn ranks_and_sizes() {
    each_has_its_error(&[
        ("fn f<N>(x: f32[N, N]) -> y: f32[N] { y[i] = x[i]; }", "x[i]: `x` has 2 axes, and 1 are given here"),
        ("fn f<N>(x: f32[N]) -> y: f32 { y[i] = x[i]; }", "y: `y` has 0 axes, and 1 are given here"),
        (
            "fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[..] + 1.0; }",
            "..: `..` passes a whole axis to a function; here one element is needed",
        ),
        ("fn f<N>(x: f32[N]) -> y: f32 { y = sum[i](1.0); }", "i: the range of `i` is open"),
        ("fn f<N>(x: f32[N]) -> y: f32[N] { let m[i] = x[i - 1] or 0.0; y[i] = x[i]; }", "i: the range of `i` is open"),
        ("fn f<S, T>(a: f32[S], b: f32[T]) -> y: f32 { y = sum[j](a[j] * b[j]); }", "j: `j` is `S` here and `T` there"),
        (
            "fn g<N>(a: f32[N], b: f32[N]) -> y: f32 { y = sum[i](a[i] * b[i]); }
             fn f<S, T>(a: f32[S], b: f32[T]) -> y: f32 { y = g(a, b); }",
            "b: `b` needs the size `S` here, and gets `T`",
        ),
        ("fn f<N>(x: f32[N + M]) -> y: f32 { y = 1.0; }", "M: unknown dim `M`"),
        ("fn f<N>(x: f32[N * 1.5]) -> y: f32 { y = 1.0; }", "N * 1.5: a size is an integer expression over dims"),
        ("fn f<N>(x: f32[N]) -> y: f32[N] { y[i in 1..N] = x[i]; }", "i: expected the whole axis, found 1.."),
        ("fn f<N>(x: f32[N]) -> y: f32[N] where N { y[i] = x[i]; }", "N: a requirement compares sizes"),
    ]);
}

#[test]
fn reads_in_range() {
    let prefix = "this read of `x` can leave its range: cannot show";
    let cases = [
        ("y[i] = x[i - 2];", "x[i - 2]", "i - 2 >= 0"),
        ("y[i] = x[i + 1];", "x[i + 1]", "N >= i + 2"),
        ("y[i] = x[2 * i];", "x[2 * i]", "N >= 2 * i + 1"),
        ("y[i] = x[k];", "x[k]", "k >= 0"),
        ("y[i] = if i >= 2 { x[i - 2] } else { x[i - 1] };", "x[i - 1]", "i - 1 >= 0"),
        ("y[i] = x[0];", "", ""),
        ("y[i] = x[i - 2] or 0.0;", "", ""),
        ("y[i] = x[i - 2] where i >= 2 else 0.0;", "", ""),
        ("y[i] = x[N - 1 - i];", "", ""),
        ("y[i] = x[i % N];", "", ""),
        ("y[i] = x[i / 2];", "", ""),
        ("y[i] = x[min(i + 1, N - 1)];", "", ""),
        ("y[i] = x[t[i]];", "", ""),
        ("y[i] = x[if i == 0 { 0 } else { i - 1 }];", "", ""),
        ("y[i] = x[abs(i - N / 2)];", "", ""),
    ];
    for (body, place, failed) in cases {
        let program = format!("fn f<N>(x: f32[N], k: i32, t: i32[N] in 0..N) -> y: f32[N] {{ {body} }}");
        let wanted = if place.is_empty() { Vec::new() } else { vec![format!("{place}: {prefix} `{failed}`")] };
        assert_eq!(check(&program).0, wanted, "{body}");
    }
}

#[test]
fn equations_of_sizes_prove_reads() {
    let proved = [
        "fn f<H, M, G>(k: f32[M]) -> y: f32[H] where H == M * G { y[h] = k[h / G]; }",
        "fn f<T, N, const C>(x: f32[T]) -> y: f32[N] where T == N * C { y[n] = sum[s in 0..C](x[n * C + s]); }",
        "fn f<L, H, W>(x: f32[H, W]) -> y: f32[L] where L == H * W { y[l] = x[l / W, l % W]; }",
        "fn f<S, M>(r: f32[S + M]) -> y: f32[S] { y[i] = sum[j in 0..S + M](r[i + M - j] where j <= i + M); }",
        "fn f<T, const W>(x: f32[T], tail: f32[W - 1]) -> y: f32[T] {
            y[t] = sum[m in 0..W](x[t + m - (W - 1)] or tail[t + m]);
        }",
        "fn f<const D, const M>(x: f32[D]) -> y: f32[D] where D == 2 * M { y[d] = x[2 * (d % M) + d / M]; }",
        "fn f<T, L>(x: f32[T]) -> y: f32[L] where T >= L { y[i] = x[T - L + i]; }",
        "fn f<N>(x: f32[N], t: i32[N] in 0..N) -> y: f32[N] { let u[i] = t[i] - 1; y[i] = x[u[i] + 1]; }",
        "fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { let at = argmax[i](x[i]); y = x[at]; }",
        "fn f<H, W>(x: f32[H * W]) -> y: f32[H, W] { y[h, w] = x[h * W + w]; }",
        "fn f<H, NH, W, const P>(x: f32[H]) -> y: f32[NH * W, P] where H == NH * P { y[t, u] = x[t / W * P + u]; }",
        "fn f<W, NH, NW, const P>(x: f32[W]) -> y: f32[NH * NW, P] where W == NW * P { y[t, u] = x[t % NW * P + u]; }",
        "fn f<T, L>(x: f32[L]) -> y: f32[T, T] where L >= bit_length(T - 1) + 1 { y[i, j] = x[bit_length(i ^ j)]; }",
        "fn f<S, T, L>(x: f32[L]) -> y: f32[S, T] where L >= bit_length(T - 1) + 1, S <= T { y[i, j] = x[bit_length(i | j)]; }",
        "fn f<N>(x: f32[65], t: i32[N] in 0..9) -> y: f32[N] { y[i] = x[popcount(t[i])] + x[t[i] & 63]; }",
        "fn f<H, C, const K>(x: f32[H, C]) -> y: f32[H / K, K * C] { y[i, c] = x[i * K + c / C, c % C]; }",
    ];
    for program in proved {
        assert_eq!(check(program).0, Vec::<String>::new(), "{program}");
    }
    each_has_its_error(&[
        (
            "fn f<T, L>(x: f32[T]) -> y: f32[L] { y[i] = x[T - L + i]; }",
            "x[T - L + i]: this read of `x` can leave its range: cannot show `T + i - L >= 0`",
        ),
        (
            "fn f<H, M, G>(k: f32[M]) -> y: f32[H] { y[h] = k[h / G]; }",
            "k[h / G]: this read of `k` can leave its range: cannot show `M >= h / G + 1`",
        ),
        (
            "fn f<H, NH, W, const P>(x: f32[H]) -> y: f32[NH * W + 1, P] where H == NH * P { y[t, u] = x[t / W * P + u]; }",
            "x[t / W * P + u]: this read of `x` can leave its range: cannot show `H >= P * (t / W) + u + 1`",
        ),
    ]);
}

#[test]
fn numbers() {
    each_has_its_error(&[
        ("fn f(x: f32, n: i32) -> y: f32 { y = x * n; }", "*: `f32` and `i32` do not mix"),
        ("fn f(n: i32, m: i64) -> y: i64 { y = n + m; }", "+: `i32` and `i64` do not mix"),
        (
            "fn f<D>(x: f32[D]) -> y: f32 { y = 1 / D * x[0] where D >= 1 else 0.0; }",
            "1 / D: an integer quotient meets a float: `/` on integers rounds down",
        ),
        (
            "fn f(x: f32) -> y: f32 { y = if x { 1.0 } else { 0.0 }; }",
            "x: a condition is needed here, and this is `f32`",
        ),
        ("fn f(x: f32) -> y: f32 { y = (x > 0.0) + 1.0; }", "(x > 0.0): a number is needed here, and this is `bool`"),
        ("fn f(n: i32) -> y: f32 { y = exp(n); }", "n: `exp` takes floats, and this is `i32`"),
        ("fn f(x: f32) -> y: f32 { y = x & 1.0; }", "x: `&` takes integers, and this is `f32`"),
        ("fn f(n: i32) -> y: f32 { y = n; }", "n: `i32` is written to `y: f32`"),
        ("fn f(x: f32) -> y: i32 { y = x; }", "x: `f32` is written to `y: i32`"),
        ("fn f<N>(x: f32[N], y0: f32) -> y: f32 { y = x[y0]; }", "y0: a subscript is an integer, and this is `f32`"),
        ("fn g(n: i32) -> y: i32 { y = n; } fn f(x: f32) -> y: i32 { y = g(x); }", "x: `f32` is written to `n: i32`"),
        (
            "fn f(x: f32, m: |a| -> f32) -> y: f32 { y = m(x) + m(1); }",
            "m(1): `m` is applied to values of different types",
        ),
        ("fn f<N>(x: f32[N], k: f32) -> y: f32 { y = [k, 1.0][0]; }", "k: a tensor literal holds constants"),
        ("fn f(x: f32) -> y: f32 { y = x as f33; }", "f33: unknown dtype `f33`"),
    ]);
}

#[test]
fn presence() {
    each_has_its_error(&[
        (
            "fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[i] where i > 0; }",
            "x[i] where i > 0: `y` must have a value everywhere, and this can be absent",
        ),
        (
            "fn g<N>(x: f32[N]) -> y: f32 { y = sum[i](x[i]); }
             fn f<N>(x: f32[N]) -> y: f32 { let m[i] = x[i] where i > 0; y = g(m); }",
            "m: a tensor passed whole (`x`) must have a value everywhere, and this can be absent",
        ),
        (
            "fn f<N>(x: f32[N], k: f32[N]) -> y: f32 { let at = argmax[i](k[i]); y = x[at]; }",
            "at: a subscript must have a value everywhere, and this can be absent",
        ),
    ]);
    let fine = [
        "fn f<N>(x: f32[N]) -> y: f32[N] { let m[i] = x[i] where i > 0; y[i] = if i > 0 { m[i] } else { 0.0 }; }",
        "fn f<N>(x: f32[N]) -> y: f32[N] { let m[i] = x[i] where i > 0; y[i] = m[i] or 0.0; }",
        "fn f<N>(x: f32[N]) -> y: f32[N] { let p[i] = softmax[i](x[i] where i > 0); y[i] = p[i] or 0.0; }",
        "fn f<N>(x: f32[N]) -> y: f32 { y = sum[i](x[i] where x[i] > 0.0); }",
        "fn f<N, F>(a: f32[F], b: f32[F]) -> y: f32[2 * F] { y[f] = a[f] or b[f - F]; }",
    ];
    for program in fine {
        assert_eq!(check(program).0, Vec::<String>::new(), "{program}");
    }
}

#[test]
fn outputs_and_carries() {
    each_has_its_error(&[
        ("fn f(x: f32) -> (y: f32, z: f32) { y = x; }", "z: the output `z` is never assigned"),
        ("fn f(x: f32) -> y: f32 { y = x; y = x; }", "y: the output `y` is assigned twice"),
        (
            "fn f<L>(x: f32) -> y: f32 { for l in 0..L carry a = x { let b = a; } y = a; }",
            "a: the carry `a` is never assigned in the loop",
        ),
        (
            "fn f<L>(x: f32) -> y: f32 { for l in 0..L carry a = x { a = a * l; y = a; } }",
            "y: `y` would be written in every step of the loop over `l`",
        ),
        ("fn f<L>(x: f32) -> y: f32[L] { for l in 0..L carry a = x { a = a * l; let s[l] = a; } y[l] = s[l]; }", ""),
        (
            "fn f<L>(x: f32) -> y: f32[L] { for l in rev 0..L carry a = x { a = a * l; let s[l] = a; } y[l] = s[l]; }",
            "",
        ),
        (
            "fn f<L>(x: f32) -> y: f32[L] { for l in 1..L carry a = x { a = a * l; let s[l] = a; } y[l] = 1.0; }",
            "l: expected the whole axis, found 1..",
        ),
        (
            "fn f<L>(x: f32) -> y: f32 where L >= 2 { for l in 0..L carry a = x { a = a * l; let s[l] = a; a = a + (s[l - 1] or 0.0); } y = a; }",
            "s[l - 1]: reading `s` at another step of the loop that collects it is not supported yet",
        ),
        (
            "fn f<L>(x: f32[L]) -> y: f32 { for l in 0..L carry a[i] = x[i] { a[l] = x[l]; } y = 1.0; }",
            "l: expected an index of the carry's own, found the loop's index",
        ),
        (
            "fn f<L>(x: f32[L]) -> y: f32[L] { for l in 0..L carry a = 0.0 { let s[l] = x[l] where x[l] > 0.0; a = a + 1.0; } y[l] = s[l]; }",
            "x[l] where x[l] > 0.0: `s` must have a value everywhere, and this can be absent",
        ),
    ]);
}

#[test]
fn calls() {
    let g = "fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 {
        a[k] = x[0] * s * m(k); b = s; }";
    let cases = [
        ("y = g(x, 1.0, K = 2).b;", ""),
        ("y = g(x, 1.0, K = 2).a[1];", ""),
        ("y = g(x, 1.0).b;", "g: no argument determines the dim `K` of `g`"),
        ("y = g(x, 1.0, K = 2);", "g: `g` has several outputs: `a`, `b`"),
        ("y = g(x, 1.0, K = 2).c;", "c: `g` has no `c`"),
        ("y = g(x, K = 2).b;", "g: the call of `g` gives no `s`"),
        ("y = g(x, 1.0, x = x, K = 2).b;", "x: `x` is given twice"),
        ("y = g(x, s = 1.0, x).b;", "x: a positional argument after a named one"),
        ("y = g(x, 1.0, |i| 1.0, 2.0, K = 2).b;", "g: `g` takes 3 arguments, and gets 4"),
        ("y = g(x[0] + 1.0, 1.0, K = 2).b;", "x[0] + 1.0: the parameter `x` takes a tensor: a name or a slice"),
        ("y = g(x, 1.0, |i, j| 1.0, K = 2).b;", "|i, j|: `m` takes a closure of 1 parameters, and gets 2"),
        ("y = g(x, 1.0, 2.0, K = 2).b;", "2.0: `m` takes a closure: `|i, j| ..`"),
        ("y = g(x, |i| 1.0, K = 2).b;", "|i|: `s` takes a value"),
        ("let (a, b, c) = g(x, 1.0, K = 2); y = 1.0;", "(a, b, c): `g` has 2 outputs, and 3 are named"),
        ("let (a, b) = 1.0; y = 1.0;", "1.0: a tuple on the left needs a call with several outputs on the right"),
        ("let (a[k], b) = g(x, 1.0, K = 2); y = a[1] + b;", ""),
        ("let r = g(x, 1.0, K = 2); y = r.a[1] + r.b;", ""),
        ("y = exp(x[0], x[0]);", "exp: `exp` takes 1 value, and gets 2"),
        ("y = g(e, 1.0, K = 2).b;", "g: `g` requires `N >= 1`, which does not follow here"),
    ];
    for (body, wanted) in cases {
        let program = format!("{g} fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 {{ {body} }}");
        let wanted = if wanted.is_empty() { Vec::new() } else { vec![wanted.to_string()] };
        assert_eq!(check(&program).0, wanted, "{body}");
    }
}

#[test]
fn promises() {
    each_has_its_error(&[(
        "fn g<V>(t: i32 in 0..V, e: f32[V]) -> y: f32 { y = e[t]; } fn f<V>(t: i32, e: f32[V]) -> y: f32 { y = g(t, e); }",
        "t: `t` is promised to lie in `0..V`, which does not follow for this",
    )]);
    let fine = "fn g<V>(t: i32 in 0..V, e: f32[V]) -> y: f32 { y = e[t]; }
        fn f<V, N>(t: i32[N] in 0..V, e: f32[V]) -> y: f32[N] where V >= 1 { y[n] = g(t[n], e) + g(0, e); }";
    assert_eq!(check(fine).0, Vec::<String>::new());
}

#[test]
fn records_and_caches() {
    let kv = "cache Kv<H, C> { k: f16[H, T, C], v: f16[H, T, C] } grow T;";
    let cases = [
        ("push kv[s in 0..S] { k[h, s, c] = x[h, s, c], v[h, s, c] = x[h, s, c] } y = kv.len as f32;", ""),
        ("push kv[s in 0..S] { k[h, s, c] = x[h, s, c] } y = 1.0;", "push: the push to `kv` gives no `v`"),
        (
            "push kv[s in 0..S] { k[h, s, c] = x[h, s, c], v[h, s, c] = x[h, s, c] }
             push kv[s in 0..S] { k[h, s, c] = x[h, s, c], v[h, s, c] = x[h, s, c] } y = 1.0;",
            "kv: `kv` is appended twice",
        ),
        (
            "push kv[s in 0..S] { k[h, s, c] = x[h, s, c], w[h, s, c] = 0.0, v[h, s, c] = x[h, s, c] } y = 1.0;",
            "w: `Kv` has no `w`",
        ),
        (
            "push kv[s in 0..S] { k[h, c, s] = x[h, s, c], v[h, s, c] = x[h, s, c] } y = 1.0;",
            "c: expected `s` on the axis that grows, found `c`",
        ),
        ("push x[s in 0..S] { k[h, s, c] = 1.0 } y = 1.0;", "x: `push` takes a cache"),
    ];
    for (body, wanted) in cases {
        let program = format!("{kv} fn f<H, C, S>(x: f32[H, S, C], kv: Kv<H, C>) -> y: f32 {{ {body} }}");
        let wanted = if wanted.is_empty() { Vec::new() } else { vec![wanted.to_string()] };
        assert_eq!(check(&program).0, wanted, "{body}");
    }
    each_has_its_error(&[
        (
            "struct W<D, F> { a: f32[D, F] } fn f<D>(w: W<D>) -> y: f32 { y = 1.0; }",
            "W: `W` takes 2 names in `<..>`, and gets 1",
        ),
        (
            "struct W<D> { a: f32[D] } fn f<D, L>(w: [W<D>; L]) -> y: f32[D] { y[d] = w[L].a[d]; }",
            "w[L]: this read of `w` can leave its range: cannot show `L < L`",
        ),
        (
            "struct W<D> { a: f32[D] } fn f<D>(w: W<D> = 1.0) -> y: f32 { y = 1.0; }",
            "1.0: a struct or cache has no default",
        ),
        ("struct W<D> { a: f32[E] }", "E: unknown dim `E`"),
    ]);
}

#[test]
fn caches_that_calls_append_to() {
    let g = "cache Kv<H> { k: f16[H, T] } grow T;
        fn g<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { push kv[s in 0..1] { k[h, s] = x[h] } y[h] = kv.k[h, kv.len - 1]; }";
    let cases = [
        ("let a[h] = g(x, kv)[h]; y[h] = a[h];", ""),
        ("let a[h] = g(x, kv)[h]; y[h] = g(a, kv)[h];", "kv: `kv` is appended twice"),
        ("let a[h] = g(x, kv)[h]; y[h] = a[h] + sum[j](kv.k[h, j]) + kv.k[h, kv.len - 1];", ""),
        (
            "for n in 0..3 carry a[h] = x[h] { a[h] = g(a, kv)[h]; } y[h] = a[h];",
            "kv: `kv` would be appended in every step of the loop over `n`",
        ),
        (
            "for n in 0..3 carry a = 0.0 { push kv[s in 0..1] { k[h, s] = x[h] } a = a + 1.0; } y[h] = a;",
            "kv: `kv` would be appended in every step of the loop over `n`",
        ),
    ];
    for (body, wanted) in cases {
        let program = format!("{g} fn f<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] {{ {body} }}");
        let wanted = if wanted.is_empty() { Vec::new() } else { vec![wanted.to_string()] };
        assert_eq!(check(&program).0, wanted, "{body}");
    }
}

#[test]
fn formats() {
    each_has_its_error(&[
        (
            "format q<K> { d: f16[K / 32], q: u4[2 * K] } where K % 32 == 0 = |k| d[k / 32] * (q[k] as f32);",
            "q: the first axis of the field `q` does not count records",
        ),
        ("format q<K, L> { d: f16[K] } = |k| d[k];", "q: `q` takes one dim, the length of a row, and gets 2"),
        (
            "format q<K> { d: f16[K] } = |i, k| d[k];",
            "|i, k|: `q` takes a closure of one parameter, the position in the row, and gets 2",
        ),
        ("format q<K> { d: f16[K] } where K > 1 = |k| d[k];", "q: expected `K % 32 == 0`, found another requirement"),
    ]);
}

#[test]
fn later_parts_of_the_language_are_named() {
    let later = [
        ("let c[i] = cumsum[i](x[i]); y = c[0];", "cumsum: `cumsum`"),
        ("let (v, e)[k] = topk[i; 2](x[i]); y = v[0];", "topk: `topk`"),
        ("let o[r in 0..N] = argsort[i](x[i]); y = 1.0;", "argsort: `argsort`"),
        ("let r[i] = rank[i](x[i]); y = 1.0;", "rank: `rank`"),
        ("y = uniform(1, 2);", "uniform: `uniform`"),
        ("y = grad(x[0]; x[0]);", "grad: `grad`"),
        ("y = detach(x[0]);", "detach: `detach`"),
        ("let z: c32 = x[0]; y = x[0];", "c32: `c32`"),
    ];
    for (body, wanted) in later {
        let program = format!("fn f<N>(x: f32[N]) -> y: f32 where N >= 1 {{ {body} }}");
        assert_eq!(check(&program).0, [format!("{wanted} is not supported yet")], "{body}");
    }
    each_has_its_error(&[
        ("extern f(x: f32) -> y: f32;", "f: `extern` is not supported yet"),
        (
            "fn f<N, T>(o: i32[N] in 0..=T ascending) -> y: f32 { y = 1.0; }",
            "ascending: `ascending` is not supported yet",
        ),
    ]);
}
