//! Round trips and mistakes of the text form.

use super::{MAX_DEPTH, parse, parse_function, print};

/// One function with every form.
const EVERYTHING: &str = r"format q4_1 of 32 = fn q4_1<K>(
    d: f16[K / 32],
    m: f16[K / 32],
    q: u4[K],
) -> (w)
where K % 32 == 0
{
    let w[k in K] = add(m[k / 32], mul(cast[f32](q[k]), d[k / 32]));
}

fn zoo::every<B, T, S, N, const D, const G = 2, type E: float, type I: int>(
    x: E[B, T, D],
    w.layers.q: q4_1[G, D, D] list,
    kv.k: f16[G, T, D] list grows 1,
    tokens: i32[S] in 0..N,
    offsets: I[N + 1],
    `max`: f32,
    scale: f32 = add(1.5, `max`[]),
    w.q.d: f16[D, D / 32] field w.q q4_1(2, 20, 1),
    mask: fn(i64, i64) -> bool = |i, j| le(#j, #(T + i - S)),
    score: fn(f32, i64) -> f32 = |z, i| mul(z, cast[f32](#i)),
) -> (y, z, end)
where S == B * G, T - S >= 0
{
    let y[b in B, t in T]: E = softmax[t](sum[d in D](mul(x[b, t, d], x[b, t, d])));
    let p[b in B]: bf16 rounded = round_to[f16](max[t in T](where(x[b, t, 0], lt(#t, #(2 * b)))));
    let r[t in T] = or_else(x?[0, t - 1, 0], -inf);
    let c[t in T, d in D] = running[sum t rev exclusive](x[0, t, d]);
    let g[n in N] = sum[s in S; offsets[n]](x[0, tokens[s] % T, 0], -0.0);
    let h[s in S] = argmax[t in T](call zoo::f#1[t, s](x = &x[0, .., ..], eps = 0.1, mask = |i, j| eq(#i, #(j + s)); M = 2 * S));
    let a[b in B, t in T] = select(apply mask(#b, #t), apply score(x[b, t, 0], #t), nan);
    let k0[] = 3:i32;
    let e[] = cast[f64](-7);
    let f[] = add(0.1:f64, inf:f64);
    let b0[] = and(true, false, not(true));
    let x0[i in S] = x[0, min(S - 1, i), bit_length((i % 3) * T + i / 2)];
    for l in G carry v: f32 = x0 {
        append k1[s in S, d in D] to kv.k[l] dim 0 = v[s];
        let z[l, i in S] = v[i];
        let n[i in S] = add(v[i], k1[i, 0]);
    } final end = n;
    for i in N {
    }
    let o[b in B] = div(proj[1](%1 = fold[t in T](max(x[b, t, 0]), sum(exp(sub(x[b, t, 0], new[0])), scale(exp(sub(old[0], new[0])))), max(x[b, t, 0], shift(old[0])))), proj[2](%1));
}
";

#[test]
fn every_form_round_trips() {
    let module = parse(EVERYTHING).expect("parses");
    let printed = print(&module);
    let again = parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert_eq!(again, module);
    assert_eq!(print(&again), printed);
    assert_eq!(printed, EVERYTHING);
}

#[test]
fn clashing_axes_get_numbers() {
    let text =
        "fn f<N>(\n    x: f32[N],\n) -> (y)\n{\n    let y[i in N] = add(sum[j in N](x[j]), max[i in N](x[i]));\n}\n";
    let printed = print(&parse(text).expect("parses"));
    assert!(printed.contains("max[i_1 in N](x[i_1])"), "{printed}");
    assert_eq!(print(&parse(&printed).expect("parses")), printed);
}

#[test]
fn mistakes_have_places() {
    let cases = [
        ("fn f() -> (y) { }", "1:12: no tensor `y` is declared before"),
        ("fn f() -> ()\n{ let y[] = add(1.0); }", "2:13: `add` does not take 1 operands"),
        ("fn f(x: f32) -> () { let y[] = x[i]; }", "1:34: no dim, axis or parameter `i` is in scope"),
        ("fn f(x: f32, x: f32) -> () {}", "1:14: `x` is declared twice"),
        ("fn f() -> () { let y[] = %1; }", "1:27: %1 is not named before"),
        ("fn f() -> () { let y[] = 1.0 }", "1:30: expected `;`"),
        ("fn f() -> () { let y[] = \u{1}; }", "1:26: `\\u{1}` begins no token"),
        ("fn f() -> () { let y[] = 99999999999999999999; }", "1:26: `99999999999999999999` does not fit 64 bits"),
    ];
    for (text, message) in cases {
        assert_eq!(parse(text).expect_err(text).to_string(), message, "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nest = |open: &str, core: &str, close: &str, n: usize| {
        format!("fn f(x: f32[1]) -> () {{ let y[] = {}{core}{}; }}", open.repeat(n), close.repeat(n))
    };
    let depth = MAX_DEPTH as usize;
    assert!(parse(&nest("exp(", "1.0", ")", depth - 1)).is_ok());
    for (open, core, close) in
        [("exp(", "1.0", ")"), ("x[", "0", "]"), ("cast[f32](#(", "1", "))"), ("sum[i in (", "1", ")](1.0)")]
    {
        assert!(parse(&nest(open, core, close, 100_000)).is_err(), "{open}");
    }
    let chain = format!("fn f<N>() -> () {{ let y[] = #({}1); }}", "N / ".repeat(100_000));
    assert!(parse(&chain).is_err());
    let product = format!("fn f<A, B>() -> () {{ let y[] = #({}1); }}", "(A + B) * ".repeat(10_000));
    assert!(parse(&product).is_err());
}

/// Every prefix of a text, and the text with any one token's first character replaced, parses or fails; none panics.
#[test]
fn damaged_text_never_panics() {
    for (at, _) in EVERYTHING.char_indices().step_by(3) {
        for with in ["(", "]", "%", "9", "`", "x"] {
            let text = format!("{}{with}{}", &EVERYTHING[..at], EVERYTHING[at..].get(1..).unwrap_or_default());
            if let Ok(module) = parse(&text) {
                let printed = print(&module);
                let again = parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
                assert_eq!(print(&again), printed);
            }
        }
    }
}

#[test]
fn a_function_alone_ends_its_text() {
    assert!(parse_function("fn f() -> () {}").is_ok());
    assert!(parse_function("fn f() -> () {} fn g() -> () {}").is_err());
}
