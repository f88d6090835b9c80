//! The llama family: RMS norms, rotary grouped-query attention over a cache, SwiGLU, tied or separate output weights.
//!
//! One text serves every checkpoint: the element types of norms, weights and embeddings are parameters (f32, bf16, or a packed
//! format). `P` says which channels a rotary pair is made of: 1 for `(m, m + C / 2)` (Hugging Face files), 2 for
//! `(2m, 2m + 1)` (GGUF files).

use sawmill::prelude::*;

arch! {
    use crate::attention::attend;
    use crate::mlp::swiglu;
    use crate::norm::rms_norm;
    use crate::rope::{angles, rotate_half, rotate_interleaved};

    /// The weights of one layer.
    pub struct Layer<D, F, HQ, HK, C, type N: float, type W: float> {
        attn_norm: N[D], q: W[HQ, C, D], k, v: W[HK, C, D], o: W[D, HQ, C],
        ffn_norm: N[D], gate, up: W[F, D], down: W[D, F],
    }

    /// The weights of a model; `head` is `embed` again where they are tied.
    pub struct Model<V, D, F, HQ, HK, C, L, type N: float, type W: float, type E: float> {
        embed: E[V, D], layers: [Layer<D, F, HQ, HK, C, N, W>; L], norm: N[D], head: E[V, D],
    }

    /// Keys and values of the positions so far.
    pub cache Kv<HK, C> { k: f16[HK, T, C], v: f16[HK, T, C] } grow T;

    /// Rotates a head's channels to a position.
    pub fn rotate<const C, const M, const P>(x: f32[C], pos: i32, theta: f32) -> y: f32[C] where C == 2 * M {
        let (cosine[m], sine[m]) = angles(pos, theta, M = M);
        y[c] = if P == 1 { rotate_half(x, cosine, sine)[c] } else { rotate_interleaved(x, cosine, sine)[c] };
    }

    /// One layer at the positions that follow those in the cache.
    pub fn layer<S, const D, const F, const HQ, const HK, const G, const C, const M, const P, type N: float, type W: float>(
        x: f32[S, D], w: Layer<D, F, HQ, HK, C, N, W>, kv: Kv<HK, C>, theta: f32 = 10000.0, eps: f32 = 1e-5,
    ) -> y: f32[S, D] where HQ == HK * G, C == 2 * M {
        let n[s, d] = rms_norm(x[s, ..], w.attn_norm, eps)[d];
        let q[s, h, c] = sum[d](w.q[h, c, d] * n[s, d]);
        let k[s, h, c] = sum[d](w.k[h, c, d] * n[s, d]);
        let v[s, h, c] = sum[d](w.v[h, c, d] * n[s, d]);
        let kr[s, h, c] = rotate(k[s, h, ..], kv.len + s, theta, P = P)[c];
        push kv[s in 0..S] { k[h, s, c] = kr[s, h, c], v[h, s, c] = v[s, h, c] }
        let qr[s, h, c] = rotate(q[s, h, ..], kv.len - S + s, theta, P = P)[c];
        let a[s, h, c] = attend(qr[.., h, ..], kv.k[h / G, .., ..], kv.v[h / G, .., ..]).o[s, c];
        let r[s, d] = x[s, d] + sum[h, c](w.o[d, h, c] * a[s, h, c]);
        let m[s, d] = rms_norm(r[s, ..], w.ffn_norm, eps)[d];
        y[s, d] = r[s, d] + swiglu(m[s, ..], w.gate, w.up, w.down)[d];
    }

    /// A model: the logits of the position after the last token.
    pub fn model<
        S, const V, const D, const F, const HQ, const HK, const G, const C, const M, const P, L,
        type N: float, type W: float, type E: float,
    >(
        tokens: i32[S] in 0..V, w: Model<V, D, F, HQ, HK, C, L, N, W, E>, kv: [Kv<HK, C>; L],
        theta: f32 = 10000.0, eps: f32 = 1e-5,
    ) -> logits: f32[V] where HQ == HK * G, C == 2 * M, S >= 1 {
        let x0[s, d] = w.embed[tokens[s], d];
        for l in 0..L carry x = x0 {
            x = layer(x, w.layers[l], kv[l], theta, eps, P = P);
        }
        let last[d] = x[S - 1, d];
        let n[d] = rms_norm(last, w.norm, eps)[d];
        logits[v] = sum[d](w.head[v, d] * n[d]);
    }
}
