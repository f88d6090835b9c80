//! Programs of the dense language, linked, at small odd sizes.

/// A program: its name, text, and sizes.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) dims: &'static [(&'static str, i64)],
}

/// Sizes of attention programs.
const S5_T11: &[(&str, i64)] = &[("S", 5), ("T", 11)];

/// Every program.
pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "matmul",
        text: "fn f<M, N, K>(a: f32[M, K], b: f32[K, N]) -> (c) {
            let c[i in M, j in N] = sum[k in K](mul(a[i, k], b[k, j]));
        }",
        dims: &[("M", 3), ("N", 4), ("K", 5)],
    },
    Program {
        name: "masked, grouped, two outputs",
        text: "fn f<B, M, S, T, const D = 4>(
            q: f32[B, 2 * M, S, D], k: f32[B, M, T, D], v: f32[B, M, T, D],
        ) -> (o, lse) {
            let z[b in B, h in 2 * M, i in S, j in T] =
                where(mul(sum[d in D](mul(q[b, h, i, d], k[b, h / 2, j, d])), 0.5), le(#j, #(i + T - S)));
            let p[b in B, h in 2 * M, i in S, j in T] = softmax[j](z[b, h, i, j]);
            let o[b in B, h in 2 * M, i in S, c in D] = sum[j in T](mul(p[b, h, i, j], v[b, h / 2, j, c]));
            let lse[b in B, h in 2 * M, i in S] = logsumexp[j in T](z[b, h, i, j]);
        }",
        dims: &[("B", 2), ("M", 2), ("S", 5), ("T", 7)],
    },
    Program {
        name: "rows before the first key",
        text: "fn f<S, T, const D = 4>(q: f32[S, D], k: f32[T, D], v: f32[T, D]) -> (o) {
            let p[i in S, j in T] = softmax[j](where(sum[d in D](mul(q[i, d], k[j, d])), lt(#j, #(i - 2))));
            let o[i in S, c in D] = sum[j in T](mul(p[i, j], v[j, c]));
        }",
        dims: S5_T11,
    },
    Program {
        name: "table mask with empty rows",
        text: "fn f<S, T, const D = 4>(large.q: f32[S, D], k: f32[T, D], v: f32[T, D], keep: bool[S, T]) -> (o, lse) {
            let z[i in S, j in T] = where(sum[d in D](mul(large.q[i, d], k[j, d])), keep[i, j]);
            let p[i in S, j in T] = softmax[j](z[i, j]);
            let o[i in S, c in D] = sum[j in T](mul(p[i, j], v[j, c]));
            let lse[i in S] = logsumexp[j in T](z[i, j]);
        }",
        dims: S5_T11,
    },
    Program {
        name: "no mask, one domain",
        text: "fn f<S, const D = 4>(q: f32[S, D], k: f32[S, D], v: f32[S, D]) -> (o) {
            let z[i in S, j in S] = sum[d in D](mul(q[i, d], k[j, d]));
            let p[i in S, j in S] = softmax[j](z[i, j]);
            let o[i in S, c in D] = sum[j in S](mul(p[i, j], v[j, c]));
        }",
        dims: &[("S", 6)],
    },
    Program {
        name: "additive bias with -inf",
        text: "fn f<S, T, const D = 4>(q: f32[S, D], k: f32[T, D], v: f32[T, D], bias: f32[S, T]) -> (o, lse) {
            let z[i in S, j in T] = add(sum[d in D](mul(q[i, d], k[j, d])), bias[i, j]);
            let p[i in S, j in T] = softmax[j](z[i, j]);
            let o[i in S, c in D] = sum[j in T](mul(p[i, j], v[j, c]));
            let lse[i in S] = logsumexp[j in T](z[i, j]);
        }",
        dims: S5_T11,
    },
    Program {
        name: "softcap",
        text: "fn f<S, T, const D = 4>(q: f32[S, D], k: f32[T, D], v: f32[T, D]) -> (o) {
            let z[i in S, j in T] = mul(tanh(mul(sum[d in D](mul(q[i, d], k[j, d])), 0.1)), 30.0);
            let p[i in S, j in T] = softmax[j](z[i, j]);
            let o[i in S, c in D] = sum[j in T](mul(p[i, j], v[j, c]));
        }",
        dims: S5_T11,
    },
    Program {
        name: "linear bias of positions",
        text: "fn f<S, T, const D = 4>(q: f32[S, D], k: f32[T, D], v: f32[T, D], slope: f32) -> (o) {
            let z[i in S, j in T] = sub(sum[d in D](mul(q[i, d], k[j, d])), mul(slope[], cast[f32](#(i - j))));
            let p[i in S, j in T] = softmax[j](where(z[i, j], le(#j, #i)));
            let o[i in S, c in D] = sum[j in T](mul(or_else(p[i, j], 0.0), v[j, c]));
        }",
        dims: S5_T11,
    },
    Program {
        name: "sink",
        text: "fn f<S, T, const D = 4>(q: f32[S, D], k: f32[T, D], v: f32[T, D], sink: f32) -> (o) {
            let z[i in S, j in T] = where(sum[d in D](mul(q[i, d], k[j, d])), lt(#j, #i));
            let m[i in S] = max(max[j in T](z[i, j]), sink[]);
            let e[i in S, j in T] = exp(sub(z[i, j], m[i]));
            let l[i in S] = add(sum[j in T](e[i, j]), exp(sub(sink[], m[i])));
            let o[i in S, c in D] = div(sum[j in T](mul(e[i, j], v[j, c])), l[i]);
        }",
        dims: S5_T11,
    },
    Program {
        name: "softmax over two axes",
        text: "fn f<S, T, U>(z: f32[S, T, U], v: f32[T, U]) -> (o) {
            let p[i in S, j in T, k in U] = softmax[j, k](z[i, j, k]);
            let o[i in S] = sum[j in T, k in U](mul(p[i, j, k], v[j, k]));
        }",
        dims: &[("S", 3), ("T", 4), ("U", 5)],
    },
    Program {
        name: "sum of squares of a softmax",
        text: "fn f<S, T>(z: f32[S, T]) -> (o) {
            let p[i in S, j in T] = softmax[j](z[i, j]);
            let o[i in S] = sum[j in T](mul(p[i, j], p[i, j]));
        }",
        dims: S5_T11,
    },
    Program {
        name: "sum scaled by the largest magnitude",
        text: "fn f<S, T>(x: f32[S, T], w: f32[T]) -> (o) {
            let a[i in S] = max[j in T](abs(x[i, j]));
            let o[i in S] = sum[j in T](mul(div(x[i, j], a[i]), w[j]));
        }",
        dims: S5_T11,
    },
    Program {
        name: "bounded by the largest magnitude",
        text: "fn f<S, T>(x: f32[S, T], w: f32[T]) -> (o) {
            let a[i in S] = max[j in T](abs(x[i, j]));
            let o[i in S] = sum[j in T](mul(tanh(div(x[i, j], a[i])), w[j]));
        }",
        dims: S5_T11,
    },
    Program {
        name: "a shift under two signs",
        text: "fn f<S, T>(x: f32[S, T], w: f32[T]) -> (o) {
            let m[i in S] = max[j in T](x[i, j]);
            let o[i in S] = sum[j in T](mul(exp(neg(sub(m[i], x[i, j]))), w[j]));
        }",
        dims: S5_T11,
    },
    Program {
        name: "stretched by the largest",
        text: "fn f<S, T>(x: f32[S, T]) -> (o) {
            let m[i in S] = max[j in T](x[i, j]);
            let o[i in S] = sum[j in T](exp(mul(x[i, j], m[i])));
        }",
        dims: S5_T11,
    },
    Program {
        name: "layer norm",
        text: "fn f<S, const D = 6>(x: f32[S, D], w: f32[D], b: f32[D]) -> (y) {
            let m[s in S] = mean[d in D](x[s, d]);
            let v[s in S] = mean[d in D](mul(sub(x[s, d], m[s]), sub(x[s, d], m[s])));
            let y[s in S, d in D] = add(mul(sub(x[s, d], m[s]), rsqrt(add(v[s], 0.00001)), w[d]), b[d]);
        }",
        dims: &[("S", 3)],
    },
    Program {
        name: "root mean square, then a product",
        text: "fn f<S, const D = 6, const N = 5>(x: f32[S, D], g: f32[D], w.d: f16[N, D / 2], w.q: u4[N, D]) -> (y) {
            let n[s in S, d in D] = mul(x[s, d], rsqrt(add(mean[e in D](mul(x[s, e], x[s, e])), 0.00001)), g[d]);
            let y[s in S, n in N] = sum[d in D](mul(n[s, d], mul(w.d[n, d / 2], cast[f32](w.q[n, d]))));
        }",
        dims: &[("S", 3)],
    },
    Program {
        name: "chain of products",
        text: "fn f<A, B, C, D>(x: f32[A, B], y: f32[B, C], z: f32[C, D], u: f32[D]) -> (o) {
            let p[a in A, c in C] = sum[b in B](mul(x[a, b], y[b, c]));
            let r[a in A, d in D] = sum[c in C](mul(p[a, c], z[c, d]));
            let o[a in A] = sum[d in D](mul(r[a, d], u[d]));
        }",
        dims: &[("A", 3), ("B", 4), ("C", 5), ("D", 6)],
    },
    Program {
        name: "keys and values from latents",
        text: "fn f<S, T, const H = 2, const D = 3, const R = 5>(
            q: f32[S, H, D], c: f32[T, R], wk: f32[H, D, R], wv: f32[H, D, R],
        ) -> (o) {
            let k[h in H, j in T, d in D] = sum[r in R](mul(wk[h, d, r], c[j, r]));
            let v[h in H, j in T, d in D] = sum[r in R](mul(wv[h, d, r], c[j, r]));
            let z[h in H, i in S, j in T] = sum[d in D](mul(q[i, h, d], k[h, j, d]));
            let p[h in H, i in S, j in T] = softmax[j](where(z[h, i, j], le(#j, #(i + T - S))));
            let o[i in S, h in H, d in D] = sum[j in T](mul(p[h, i, j], v[h, j, d]));
        }",
        dims: S5_T11,
    },
    Program {
        name: "projections, rotation, attention, residual",
        text: "fn f<S, const D = 4, const E = 4>(
            x: f32[S, D], wq: f32[E, D], wk: f32[E, D], wv: f32[E, D], wo: f32[D, E],
        ) -> (y) {
            let q[s in S, e in E] = sum[d in D](mul(x[s, d], wq[e, d]));
            let k[s in S, e in E] = sum[d in D](mul(x[s, d], wk[e, d]));
            let v[s in S, e in E] = sum[d in D](mul(x[s, d], wv[e, d]));
            let qr[s in S, e in E] = add(mul(q[s, e], cos(cast[f32](#s))),
                mul(select(lt(#e, #2), neg(q?[s, e + 2]), q?[s, e - 2]), sin(cast[f32](#s))));
            let kr[s in S, e in E] = add(mul(k[s, e], cos(cast[f32](#s))),
                mul(select(lt(#e, #2), neg(k?[s, e + 2]), k?[s, e - 2]), sin(cast[f32](#s))));
            let z[i in S, j in S] = where(sum[e in E](mul(qr[i, e], kr[j, e])), le(#j, #i));
            let p[i in S, j in S] = softmax[j](z[i, j]);
            let o[i in S, e in E] = sum[j in S](mul(p[i, j], v[j, e]));
            let y[s in S, d in D] = add(x[s, d], sum[e in E](mul(o[s, e], wo[d, e])));
        }",
        dims: &[("S", 5)],
    },
    Program {
        name: "layers with a cache",
        text: "fn f<S, T, const L = 2, const D = 4>(
            x0: f32[S, D], w: f32[L, D, D] list, g: f32[L, D] list, kv: f16[L, T, D] list grows 1,
        ) -> (y) {
            let s0[s in S, d in D] = x0[s, d];
            for l in L carry x: f32 = s0 {
                let n[s in S, d in D] = mul(x[s, d], rsqrt(add(mean[e in D](mul(x[s, e], x[s, e])), 0.01)), g[l, d]);
                let k[s in S, d in D] = sum[e in D](mul(n[s, e], w[l, d, e]));
                append mem[s in S, d in D] to kv[l] dim 0 = k[s, d];
                let z[i in S, j in T + S] = where(sum[d in D](mul(n[i, d], mem[j, d])), le(#j, #(i + T)));
                let p[i in S, j in T + S] = softmax[j](z[i, j]);
                let m[s in S, d in D] = add(x[s, d], sum[j in T + S](mul(p[s, j], mem[j, d])));
            } final end = m;
            let y[d in D] = end[S - 1, d];
        }",
        dims: &[("S", 3), ("T", 4)],
    },
    Program {
        name: "reads that leave their range",
        text: "fn f<T, const W = 3>(x: f32[T], w: f32[W]) -> (y, m, a) {
            let y[t in T] = sum[k in W](mul(x?[t - k], w[k]));
            let m[t in T] = mean[k in W](x?[t - k]);
            let a[t in T] = or_else(x?[t + 1], -1.0);
        }",
        dims: &[("T", 7)],
    },
    Program {
        name: "nothing to reduce",
        text: "fn f<S, T>(z: f32[S, T], v: f32[T]) -> (o, m, l) {
            let p[i in S, j in T] = softmax[j](z[i, j]);
            let o[i in S] = sum[j in T](mul(p[i, j], v[j]));
            let m[i in S] = mean[j in T](z[i, j]);
            let l[i in S] = logsumexp[j in T](z[i, j]);
        }",
        dims: &[("S", 3), ("T", 0)],
    },
    Program {
        name: "a definition with absent elements, read where it is present and moved",
        text: "fn f<A, B>(x: f32[B]) -> (y) {
            let t[i in A] = where(max[k in B](x[k]), ge(#i, #2));
            let y[i in A] = mul(or_else(t?[i - 3], 0.75), 2.0);
        }",
        dims: &[("A", 7), ("B", 3)],
    },
    Program {
        name: "an output that repeats what another one is made from",
        text: "fn f<A, B>(x: f32[A, B]) -> (y, z) {
            let y[i in A, j in B] = sum[k in B](x[i, k]);
            let z[i in A] = tanh(sum[k in B](x[i, k]));
        }",
        dims: &[("A", 5), ("B", 3)],
    },
    Program {
        name: "a factor that has a value only under the condition",
        text: "fn f<A>(x: f32[A]) -> (y, z) {
            let y[i in A] = sum[j in A](mul(x[j], x?[i - 3]));
            let z[i in A] = sum[j in A](where(mul(x[j], x?[i - 3]), le(#j, #i)));
        }",
        dims: &[("A", 6)],
    },
    Program {
        name: "choices of a position and of an end",
        text: "fn f<A, B>(x: f32[A, B]) -> (y, z, u, v) {
            let y[i in A] = or_else(argmax[j in B](where(x[i, j], lt(#j, #i))), -1);
            let z[i in A] = or_else(argmin[j in B](x[i, j]), -1);
            let u[i in A] = or_else(first[j in B](where(x[i, j], lt(0.0, x[i, j]))), -7.0);
            let v[i in A] = or_else(last[j in B](where(x[i, j], lt(0.0, x[i, j]))), -7.0);
        }",
        dims: &[("A", 4), ("B", 9)],
    },
];
