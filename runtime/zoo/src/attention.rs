//! Softmax attention and its masks (rows F1, F2, F3, D6, SP1, SP2, TF1, SD4).
//!
//! `attend` is one head; everything else is a mask, a score modifier or a layout around it. Tensors are `[B, T, H, D]`
//! (batch, time, head, channel); query head `h` reads key head `h / G`. Nothing here says how attention is computed.

use sawmill::prelude::*;

arch! {
    use crate::norm::rms_norm;
    use crate::rope::rotate_regrouped;

    /// One head of softmax attention, with the log-sum-exp of its scores.
    pub fn attend<S, T, const D, const V, type E: float, type C: float>(
        q: E[S, D], k: C[T, D], v: C[T, V],
        mask: |i, j| -> bool = |i, j| j <= i + T - S,
        score: |z, i, j| -> f32 = |z, i, j| z,
        scale: f32 = 1.0 / sqrt(D),
    ) -> (o: f32[S, V], lse: f32[S]) {
        let z[i, j] = score(scale * sum[d](q[i, d] * k[j, d]), i, j) where mask(i, j);
        let p[i, j] = softmax[j](z[i, j]);
        o[i, c] = sum[j](p[i, j] * v[j, c]);
        lse[i] = logsumexp[j](z[i, j]);
    }

    /// Grouped-query attention under any mask and score modifier over batch, head, query and key position.
    pub fn attention<B, T, S, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, S, H, K], v: E[B, S, H, V], scale: f32 = 1.0 / sqrt(K),
        mask: |b, h, i, j| -> bool = |b, h, i, j| j <= i + S - T,
        score: |z, b, h, i, j| -> f32 = |z, b, h, i, j| z,
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attend(q[b, .., h, ..], k[b, .., h / G, ..], v[b, .., h / G, ..],
            mask = |i, j| mask(b, h, i, j), score = |z, i, j| score(z, b, h, i, j), scale = scale);
    }

    /// Every key.
    pub fn bidirectional<B, T, S, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, S, H, K], v: E[B, S, H, V], scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j| true);
    }

    /// Keys up to the query, both ends aligned at the last position.
    pub fn causal<B, T, S, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, S, H, K], v: E[B, S, H, V], scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale);
    }

    /// The last `w` keys.
    pub fn sliding_window<B, T, S, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, S, H, K], v: E[B, S, H, V], w: i32, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j| j <= i && i - j < (w as i64));
    }

    /// Causal, plus every key of the prefix of length `p`.
    pub fn prefix_lm<B, T, S, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, S, H, K], v: E[B, S, H, V], p: i32, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j| j <= i || j < (p as i64));
    }

    /// Causal within a document.
    pub fn documents<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], doc: i32[B, T], scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) =
            attention(q, k, v, scale, mask = |b, h, i, j| j <= i && doc[b, i] == doc[b, j]);
    }

    /// Causal from the first valid position of each sequence; rows before it are empty.
    pub fn left_padding_empty_rows<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], start: i32[B], scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) =
            attention(q, k, v, scale, mask = |b, h, i, j| (start[b] as i64) <= j && j <= i);
    }

    /// Causal with a bias that falls with the distance, by head.
    pub fn alibi<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale,
            score = |z, b, h, i, j| z - exp2(-8.0 * ((h + 1) as f32) / (HQ as f32)) * ((i - j) as f32));
    }

    /// Causal with scores bent into `-cap..cap`.
    pub fn softcap<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], cap: f32, scale: f32 = 1.0 / sqrt(K),
    ) -> o: E[B, T, HQ, V] where HQ == H * G {
        o[b, i, h, c] = attention(q, k, v, scale, score = |z, b, h, i, j| cap * tanh(z / cap)).o[b, i, h, c];
    }

    /// Causal, optionally windowed, with a sink logit for each head that joins the denominator only.
    pub fn sinks<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], sink: f32[HQ], scale: f32 = 1.0 / sqrt(K),
        window: i32 = 2147483647,
    ) -> o: E[B, T, HQ, V] where HQ == H * G {
        let z[b, h, i, j] = scale * sum[d](q[b, i, h, d] * k[b, j, h / G, d]) where j <= i && i - j < (window as i64);
        let m[b, h, i] = max(max[j](z[b, h, i, j]), sink[h]);
        let e[b, h, i, j] = exp(z[b, h, i, j] - m[b, h, i]);
        let total[b, h, i] = sum[j](e[b, h, i, j]) + exp(sink[h] - m[b, h, i]);
        o[b, i, h, c] = sum[j](e[b, h, i, j] * v[b, j, h / G, c]) / total[b, h, i];
    }

    /// Key block `perm[h, block of the query]` (BlockBERT).
    pub fn blockbert<B, T, HQ, H, G, N, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], perm: i32[HQ, N], block: i32, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        let own[h, i in 0..T] = (perm[h, i / (block as i64)] or -1) as i64;
        (o[b, i, h, c], lse[b, i, h]) =
            attention(q, k, v, scale, mask = |b, h, i, j| j / (block as i64) == own[h, i]);
    }

    /// The query's block of `l` keys and the last `c` keys of every block (Sparse Transformer, fixed).
    pub fn sparse_transformer_fixed<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], l: i32, c: i32, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, e], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j|
            j <= i && (i / (l as i64) == j / (l as i64) || j % (l as i64) >= (l as i64) - (c as i64)));
    }

    /// The last `l` keys and every `l`-th key before (Sparse Transformer, strided).
    pub fn sparse_transformer_strided<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], l: i32, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j|
            j <= i && (i - j < (l as i64) || (i - j) % (l as i64) == 0));
    }

    /// Neighbouring blocks, `g` global blocks and `R` chosen blocks for each query block (BigBird).
    pub fn bigbird<B, T, HQ, H, G, N, R, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], random: i32[N, R], block: i32, g: i32,
        scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        let near[a in 0..N, c in 0..N] = abs(a - c) <= 1 || a < (g as i64) || c < (g as i64)
            || any[r](random[a, r] as i64 == c);
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j|
            near[i / (block as i64), j / (block as i64)] or false);
    }

    /// Every `d`-th of the last `w * d` keys.
    pub fn dilated_window<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], w: i32, d: i32, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j|
            j <= i && (i - j) % (d as i64) == 0 && i - j < (w as i64) * (d as i64));
    }

    /// A window of `w` around the query, and global tokens both ways (Longformer).
    pub fn longformer_mask<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], is_global: bool[B, T], w: i32, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j|
            abs(i - j) <= (w as i64) / 2 || is_global[b, i] || is_global[b, j]);
    }

    /// Causal; each head sees its first `sink` keys and its last `span` keys.
    pub fn per_head_spans<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], sink, span: i32[HQ], scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j|
            j <= i && (j < (sink[h] as i64) || i - j < (span[h] as i64)));
    }

    /// Causal; the first `s` keys and the last `w` keys (StreamingLLM).
    pub fn streaming_llm_mask<B, T, HQ, H, G, const K, const V, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], s: i32, w: i32, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], lse: f32[B, T, HQ]) where HQ == H * G {
        (o[b, i, h, c], lse[b, i, h]) = attention(q, k, v, scale, mask = |b, h, i, j|
            j <= i && (j < (s as i64) || i - j < (w as i64)));
    }

    /// Causal with weights that fade out linearly over `R` keys beyond the head's span `z` (adaptive span).
    pub fn adaptive_span<B, T, H, const K, const V, type E: float>(
        q: E[B, T, H, K], k: E[B, T, H, K], v: E[B, T, H, V], z: f32[H], R: f32, scale: f32 = 1.0 / sqrt(K),
    ) -> o: E[B, T, H, V] {
        let s[b, h, i, j] = scale * sum[d](q[b, i, h, d] * k[b, j, h, d]) where j <= i;
        let top[b, h, i] = max[j](s[b, h, i, j]);
        let m[h, i in 0..T, j in 0..T] = clamp((R + z[h] - ((i - j) as f32)) / R, 0.0, 1.0);
        let w[b, h, i, j] = m[h, i, j] * exp(s[b, h, i, j] - top[b, h, i]);
        o[b, i, h, c] = sum[j](w[b, h, i, j] * v[b, j, h, c]) / sum[j](w[b, h, i, j]);
    }

    /// Scores with content and position biases and relative embeddings; `S - T` positions of memory come first.
    pub fn transformer_xl<B, T, S, H, const K, const V, type E: float>(
        q: E[B, T, H, K], k: E[B, S, H, K], v: E[B, S, H, V], r: E[S, H, K], u, w: f32[H, K], scale: f32 = 1.0 / sqrt(K),
    ) -> o: E[B, T, H, V] where S >= T {
        let content[b, h, i, j] = sum[d]((q[b, i, h, d] + u[h, d]) * k[b, j, h, d]);
        let position[b, h, i, j in 0..S] = sum[d]((q[b, i, h, d] + w[h, d]) * r[S - T + i - j, h, d]) where j <= S - T + i;
        let p[b, h, i, j] = softmax[j](scale * (content[b, h, i, j] + position[b, h, i, j]));
        o[b, i, h, c] = sum[j](p[b, h, i, j] * v[b, j, h, c]);
    }

    /// Multi-head latent attention, written expanded: keys and values are projected from a latent of `C` channels, and `rope` rotary
    /// channels of the key are shared by the heads.
    pub fn mla<
        B, T, const E, const Q, const C, const H, const nope, const rope, const M, const V,
        const HNR, const HNV, const HV, const CR,
    >(
        x: f32[B, T, E], W_DQ: f32[Q, E], w_q: f32[Q], W_UQ: f32[HNR, Q], W_DKV: f32[CR, E], w_kv: f32[C],
        W_UKV: f32[HNV, C], W_O: f32[E, HV], cos, sin: f32[T, rope], eps: f32 = 1e-6,
        scale: f32 = 1.0 / sqrt(nope + rope),
    ) -> o: f32[B, T, E] where HNR == H * (nope + rope), CR == C + rope, HNV == H * (nope + V), HV == H * V, rope == 2 * M {
        let cq[b, t, r] = sum[e](W_DQ[r, e] * x[b, t, e]);
        let latent[b, t, c] = sum[e](W_DKV[c, e] * x[b, t, e]);
        let nq[b, t, r] = rms_norm(cq[b, t, ..], w_q, eps)[r];
        let low[b, t, c in 0..C] = latent[b, t, c];
        let nkv[b, t, c] = rms_norm(low[b, t, ..], w_kv, eps)[c];
        let cosine[t, m in 0..M] = cos[t, m];
        let sine[t, m in 0..M] = sin[t, m];
        let q[b, h in 0..H, t, f in 0..nope + rope] = sum[r](W_UQ[h * (nope + rope) + f, r] * nq[b, t, r]);
        let q_tail[b, h, t, f in 0..rope] = q[b, h, t, nope + f];
        let q_rot[b, h, t, f] = rotate_regrouped(q_tail[b, h, t, ..], cosine[t, ..], sine[t, ..])[f];
        let k_tail[b, t, f in 0..rope] = latent[b, t, C + f];
        let k_rot[b, t, f] = rotate_regrouped(k_tail[b, t, ..], cosine[t, ..], sine[t, ..])[f];
        let k[b, h in 0..H, t, f in 0..nope] = sum[c](W_UKV[h * (nope + V) + f, c] * nkv[b, t, c]);
        let v[b, h in 0..H, t, f in 0..V] = sum[c](W_UKV[h * (nope + V) + nope + f, c] * nkv[b, t, c]);
        let z[b, h, i, j] = scale
            * (sum[f in 0..nope](q[b, h, i, f] * k[b, h, j, f]) + sum[f](q_rot[b, h, i, f] * k_rot[b, j, f])) where j <= i;
        let p[b, h, i, j] = softmax[j](z[b, h, i, j]);
        let a[b, h, i, f] = sum[j](p[b, h, i, j] * v[b, h, j, f]);
        o[b, i, e] = sum[h, f](W_O[e, h * V + f] * a[b, h, i, f]);
    }
}
