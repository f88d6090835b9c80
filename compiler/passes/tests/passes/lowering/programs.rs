//! The programs.

use super::differ::forms;
use sawmill_ir::tile::{Op, Region};

#[test]
fn matrix_products() {
    let known = forms(
        "fn f<M, N, const K = 64>(a: f32[M, K], b: f32[K, N]) -> (c) {
        let c[i in M, j in N] = sum[k in K](mul(a[i, k], b[k, j]));
    }",
    );
    known.agree_on(&[
        &[("M", 1), ("N", 1)],
        &[("M", 7), ("N", 3)],
        &[("M", 8), ("N", 65)],
        &[("M", 70), ("N", 9)],
        &[("M", 0), ("N", 5)],
    ]);
    let run_time = forms(
        "fn f<B, M, N, K>(a: bf16[B, M, K], b: f32[N, K], s: f32) -> (c) {
        let c[x in B, i in M, j in N] = mul(s[], sum[k in K](mul(a[x, i, k], b[j, k])));
    }",
    );
    run_time.agree_on(&[
        &[("B", 2), ("M", 1), ("N", 5), ("K", 0)],
        &[("B", 1), ("M", 17), ("N", 3), ("K", 65)],
        &[("B", 2), ("M", 3), ("N", 37), ("K", 1)],
        &[("B", 1), ("M", 65), ("N", 66), ("K", 130)],
    ]);
}

#[test]
fn rows_and_elements() {
    let norm = forms(
        "fn f<M, const K = 37>(x: f32[M, K], g: f32[K]) -> (y) {
        let r[i in M] = rsqrt(add(mean[k in K](mul(x[i, k], x[i, k])), 1e-5));
        let y[i in M, k in K] = mul(x[i, k], r[i], g[k]);
    }",
    );
    norm.agree_on(&[&[("M", 1)], &[("M", 5)], &[("M", 0)]]);
    let rows = forms(
        "fn f<M, K>(x: f32[M, K]) -> (p, m, a, n, c) {
        let p[i in M, k in K] = softmax[k](x[i, k]);
        let m[i in M] = max[k in K](where(x[i, k], lt(x[i, k], 0.5)));
        let a[i in M] = argmax[k in K](x[i, k]);
        let n[i in M] = any[k in K](gt(x[i, k], 0.9));
        let c[i in M] = sum[k in K](where(1.0, gt(x[i, k], 0.0)));
    }",
    );
    rows.agree_on(&[&[("M", 1), ("K", 1)], &[("M", 3), ("K", 1500)], &[("M", 5), ("K", 17)], &[("M", 2), ("K", 1024)]]);
    let plain = forms(
        "fn f<M, N>(x: f32[M, N], y: f32[N]) -> (z, t) {
        let z[i in M, j in N] = add(exp(x[i, j]), mul(y[j], silu(x[i, N - 1 - j])));
        let t[j in N, i in M] = select(lt(#i, #(2 * j)), x[i, j], y[j]);
    }",
    );
    plain.agree_on(&[&[("M", 1), ("N", 1)], &[("M", 3), ("N", 1030)], &[("M", 0), ("N", 4)], &[("M", 17), ("N", 5)]]);
}

/// softmax(q . k where `mask`) . v, with the logarithm of the sum.
fn softmax_sum(mask: &str) -> String {
    format!(
        "fn f<B, H, M, S, T, const D = 8, const W = 5>(
            q: f32[B, H, S, D], k: f32[B, M, T, D], v: f32[B, M, T, D], d: i32[B, T] in 0..3, ok: bool[S, T], w: i64 in 0..9,
        ) -> (o, lse) where H == 2 * M {{
            let z[b in B, h in H, i in S, j in T] =
                where(mul(sum[c in D](mul(q[b, h, i, c], k[b, h / 2, j, c])), 0.35), {mask});
            let p[b in B, h in H, i in S, j in T] = softmax[j](z[b, h, i, j]);
            let o[b in B, h in H, i in S, c in D] = sum[j in T](mul(p[b, h, i, j], v[b, h / 2, j, c]));
            let lse[b in B, h in H, i in S] = logsumexp[j in T](z[b, h, i, j]);
        }}"
    )
}

/// Masks, and the kinds of the phases of their loop: e(dge), f(ull).
const MASKS: [(&str, &str); 10] = [
    ("true", "fe"),
    ("le(#j, #(i + T - S))", "fe"),
    ("and(le(#j, #(i + T - S)), lt(#(i + T - S - j), #W))", "efe"),
    ("or(lt(#j, #3), le(#j, #(i + T - S)))", "fe"),
    ("or(lt(#j, #2), and(le(#j, #i), lt(#(i - j), #W)))", "fe"),
    ("not(gt(#j, #i))", "fe"),
    ("eq(d[b, j], 1:i32)", "e"),
    ("and(le(#j, #(i + T - S)), eq(d[b, j], d[b, i % T]))", "e"),
    ("ok[i, j]", "e"),
    ("and(eq(#(j / 24), #((i + T - S) / 24)), le(#j, #(i + T - S)))", "efe"),
];

fn phases(region: &Region) -> Option<String> {
    region.insts.iter().find_map(|inst| match &inst.op {
        Op::For { phases, .. } => Some(phases.iter().map(|p| if p.edge { 'e' } else { 'f' }).collect()),
        _ => None,
    })
}

#[test]
fn masked_softmax_sums() {
    for (mask, kinds) in MASKS {
        let forms = forms(&softmax_sum(mask));
        let folded = &forms.lowered[0].1.kernels[0];
        assert_eq!(phases(&folded.body).as_deref(), Some(kinds), "{mask}");
        for (s, t) in [(1, 1), (1, 200), (5, 3), (3, 17), (66, 70)] {
            forms.agree_on(&[&[("B", 1), ("H", 2), ("M", 1), ("S", s), ("T", t)]]);
        }
        forms.agree_on(&[
            &[("B", 2), ("H", 4), ("M", 2), ("S", 3), ("T", 0)],
            &[("B", 1), ("H", 2), ("M", 1), ("S", 0), ("T", 3)],
        ]);
    }
}

#[test]
fn infinite_and_huge_scores() {
    let forms = forms(
        "fn f<S, T, const D = 8>(
        q: f32[S, D], k: f32[T, D], v: f32[T, D], bias: f32[S, T], ok: bool[S, T],
    ) -> (o, lse) {
        let z[i in S, j in T] = where(add(bias[i, j], sum[c in D](mul(q[i, c], k[j, c]))), ok[i, j]);
        let p[i in S, j in T] = softmax[j](z[i, j]);
        let o[i in S, c in D] = sum[j in T](mul(p[i, j], v[j, c]));
        let lse[i in S] = logsumexp[j in T](z[i, j]);
    }",
    );
    for (s, t) in [(5, 3), (17, 37), (66, 130), (2, 300)] {
        let sizes = [("S", s), ("T", t)];
        // Whole rows of -inf, prefixes of -inf, and scores whose exponentials overflow unless the maximum is taken off.
        forms.agree(&sizes, &|name, random| (name == "bias" && !random.once_in(3)).then_some(f64::NEG_INFINITY));
        forms.agree(&sizes, &|name, _| (name == "bias").then_some(f64::NEG_INFINITY));
        forms.agree(&sizes, &|name, random| (name == "q" && random.once_in(9)).then_some(3e4));
    }
}

/// Heads of one position that share a key head are rows of one tile; elements behind a group belong to the next.
#[test]
fn groups_of_heads() {
    let forms = forms(
        "fn f<S, T, H, G, HQ, const D = 8>(q: f32[S, HQ, D], k: f32[T, H, D], v: f32[T, H, D]) -> (o, lse) where HQ == H * G {
        let z[h in HQ, i in S, j in T] = where(sum[c in D](mul(q[i, h, c], k[j, h / G, c])), le(#j, #(i + T - S)));
        let p[h in HQ, i in S, j in T] = softmax[j](z[h, i, j]);
        let o[i in S, h in HQ, c in D] = sum[j in T](mul(p[h, i, j], v[j, h / G, c]));
        let lse[i in S, h in HQ] = logsumexp[j in T](z[h, i, j]);
    }",
    );
    let (_, gpu) = forms.lowered.last().expect("there is a form for GPUs");
    assert!(gpu.kernels.iter().any(|k| k.name.contains("few")), "no kernel for few positions");
    for (h, g) in [(3, 3), (2, 17), (5, 1)] {
        forms.agree(&[("S", 1), ("T", 70), ("H", h), ("G", g), ("HQ", h * g)], &|_, _| None);
    }
}

/// What a mask excludes does not count, whatever it is: here rows of NaN and infinities that no position may see.
#[test]
fn anything_under_masks() {
    let forms = forms("fn f<S, T, const D = 4>(q: f32[S, D], k: f32[T, D], v: f32[T, D], hidden: f32[T]) -> (o, s) {
        let z[i in S, j in T] = where(sum[c in D](mul(q[i, c], k[j, c])), and(le(#j, #(i + T - S)), lt(hidden[j], 0.2)));
        let p[i in S, j in T] = softmax[j](z[i, j]);
        let w[j in T, c in D] = div(v[j, c], select(lt(hidden[j], 0.2), 1.0, 0.0));
        let o[i in S, c in D] = sum[j in T](mul(p[i, j], w[j, c]));
        let s[i in S, c in D] = sum[j in T](where(mul(q[i, 0], w[j, c], w[j, c]), lt(hidden[j], 0.2)));
    }");
    for (s, t) in [(1, 70), (17, 17), (66, 70)] {
        forms.agree(&[("S", s), ("T", t)], &|_, _| None);
    }
}

/// A normalised row times packed rows.
pub(crate) const PACKED: &str = "fn f<S, N, const K = 96>(
        x: f32[S, K], g: f32[K], d: f16[N, K / 32], m: f16[N, K / 32], q: u8[N, K / 32, 16],
    ) -> (y) {
        let r[i in S] = rsqrt(add(mean[k in K](mul(x[i, k], x[i, k])), 1e-5));
        let h[i in S, k in K] = mul(x[i, k], r[i], g[k]);
        let w[n in N, k in K] = add(m[n, k / 32], mul(d[n, k / 32],
            cast[f32](bitand(shr(q[n, k / 32, k % 16], cast[i32](#(4 * (k % 32 / 16)))), 15:i32))));
        let y[i in S, n in N] = sum[k in K](mul(h[i, k], w[n, k]));
    }";

#[test]
fn packed_rows() {
    let forms = forms(PACKED);
    forms.agree_on(&[
        &[("S", 1), ("N", 1)],
        &[("S", 1), ("N", 37)],
        &[("S", 9), ("N", 17)],
        &[("S", 3), ("N", 70)],
        &[("S", 0), ("N", 3)],
    ]);
}

#[test]
fn indices() {
    let forms = forms(
        "fn f<S, N, const D = 24>(
        tokens: i32[S] in 0..N, e: f32[N, D], c: f32[S, D], x: f32[S + 3, D],
    ) -> (y, r, s, t) {
        let y[i in S, d in D] = mul(e[tokens[i], d], 2.0);
        let r[i in S, d in D] = select(lt(#d, #12), sub(y[i, d], mul(c[i, d], y[i, (d + 12) % 24])), y[i, d - d % 3]);
        let s[i in S, d in D] = add(x[i + 2, d], or_else(x?[i - 1, d], 0.5), x[min(i + 1, S), 23 - d]);
        let t[i in S] = sum[d in D](mul(e[tokens[i], d], x[i, (5 * d) % 24]));
    }",
    );
    forms.agree_on(&[&[("S", 1), ("N", 1)], &[("S", 37), ("N", 5)], &[("S", 0), ("N", 2)], &[("S", 8), ("N", 300)]]);
}

#[test]
fn caches_and_loops() {
    let forms = forms(
        "fn f<S, P, const L = 3, const D = 8>(
        x: f64[S, D], w: f64[L, D, D] list, kv: f64[L, P, D] list grows 1,
    ) -> (y) {
        let x0[i in S, d in D] = mul(x[i, d], 1.5:f64);
        for l in L carry h: f64 = x0 {
            append k[s in S, d in D] to kv[l] dim 0 = sum[c in D](mul(h[s, c], w[l, d, c]));
            let z[i in S, j in P + S] = where(sum[c in D](mul(h[i, c], k[j, c])), le(#j, #(i + P)));
            let p[i in S, j in P + S] = softmax[j](z[i, j]);
            let a[i in S, d in D] = add(h[i, d], sum[j in P + S](mul(p[i, j], k[j, d])));
        } final e = a;
        let y[i in S, d in D] = mul(e[i, d], e[i, 0]);
    }",
    );
    forms.agree_on(&[&[("S", 1), ("P", 0)], &[("S", 5), ("P", 0)], &[("S", 1), ("P", 70)], &[("S", 9), ("P", 17)]]);
}

/// A small model of the llama family with packed weights, linked: as a call compiles it.
#[test]
fn a_whole_model() {
    let forms = forms(include_str!("llama.fn"));
    let weights = |name: &str, random: &mut super::differ::Random| {
        let scale = name.ends_with(".d") || name.ends_with(".m");
        match name {
            "theta" => Some(10000.0),
            "eps" => Some(1e-5),
            _ => scale.then(|| random.unit() * 0.02),
        }
    };
    for (s, p) in [(1, 0), (5, 0), (1, 70), (9, 17)] {
        forms.agree_within(2e-3, &[("S", s), ("kv.len", p), ("L", 2)], &weights);
    }
}
