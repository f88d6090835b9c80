//! Gated recurrent cells: HGRN, RG-LRU, RWKV, xLSTM (rows R1 to R6).
//!
//! Tensors are `[B, T, ..]`. Each function is a recurrence as its paper writes it.

use sawmill::prelude::*;

arch! {
    /// HGRN: a gated linear recurrence whose gate has a lower bound (Qin et al. 2023).
    pub fn hgrn<B, T, D, type E: float>(i, f: E[B, T, D], lb: f32[D], h0: f32[B, D] = 0.0) -> (h: f32[B, T, D], h_T: f32[B, D]) {
        scan t in 0..T carry h_T[b, d] = h0[b, d] {
            let gate[b, d] = lb[d] + (1.0 - lb[d]) * sigmoid(f[b, t, d]);
            h_T[b, d] = gate[b, d] * h_T[b, d] + (1.0 - gate[b, d]) * silu(i[b, t, d]);
            h[b, t, d] = h_T[b, d];
        }
    }

    /// RG-LRU: gates through the diagonal blocks of a matrix; a document starts at position 0 (De et al. 2024).
    pub fn rg_lru<B, T, W, const H, const D, type E: float>(
        x: E[B, T, W], position: i64[B, T], Lambda: f32[W], W_i, W_r: E[H, D, D], b_i, b_r: E[H, D],
    ) -> (h: f32[B, T, W], h_T: f32[B, W]) where W == H * D {
        let i[b, t, w in 0..W] = sigmoid(sum[e in 0..D](x[b, t, w / D * D + e] * W_i[w / D, e, w % D]) + b_i[w / D, w % D]);
        let r[b, t, w in 0..W] = sigmoid(sum[e in 0..D](x[b, t, w / D * D + e] * W_r[w / D, e, w % D]) + b_r[w / D, w % D]);
        let log_a[b, t, w] = -8.0 * r[b, t, w] * softplus(Lambda[w]);
        scan t in 0..T carry h_T[b, w] = 0.0 reset where position[b, t] == 0 {
            let keep[b, w] = if position[b, t] == 0 { 1.0 } else { sqrt(-expm1(2.0 * log_a[b, t, w])) };
            h_T[b, w] = exp(log_a[b, t, w]) * h_T[b, w] + keep[b, w] * i[b, t, w] * x[b, t, w];
            h[b, t, w] = h_T[b, w];
        }
    }

    /// RWKV-4: a weighted mean of values with a decay for each channel, relative to a running maximum (Peng et al. 2023).
    pub fn rwkv4_wkv<B, T, D, type E: float>(
        w, u: f32[D], k, v: E[B, T, D], num0: f32[B, D] = 0.0, den0: f32[B, D] = 0.0, max0: f32[B, D] = -inf,
    ) -> (o: f32[B, T, D], num: f32[B, D], den: f32[B, D], max: f32[B, D]) {
        scan t in 0..T carry num[b, d] = num0[b, d], den[b, d] = den0[b, d], max[b, d] = max0[b, d] {
            let seen[b, d] = max(max[b, d], u[d] + k[b, t, d]);
            let old[b, d] = exp(max[b, d] - seen[b, d]);
            let own[b, d] = exp(u[d] + k[b, t, d] - seen[b, d]);
            o[b, t, d] = (old[b, d] * num[b, d] + own[b, d] * v[b, t, d]) / (old[b, d] * den[b, d] + own[b, d]);
            let next[b, d] = max(max[b, d] - exp(w[d]), k[b, t, d]);
            let kept[b, d] = exp(max[b, d] - exp(w[d]) - next[b, d]);
            let added[b, d] = exp(k[b, t, d] - next[b, d]);
            num[b, d] = kept[b, d] * num[b, d] + added[b, d] * v[b, t, d];
            den[b, d] = kept[b, d] * den[b, d] + added[b, d];
            max[b, d] = next[b, d];
        }
    }

    /// The time mix and the channel mix of RWKV-4, both on `x` (Peng et al. 2023).
    pub fn rwkv4_time_mix<B, T, const D, const I, type E: float>(
        x: E[B, T, D], w, u, mu_k, mu_v, mu_r: f32[D], W_k, W_v, W_r, W_o: E[D, D],
        fmu_k, fmu_r: f32[D], F_k: E[I, D], F_r: E[D, D], F_v: E[D, I],
    ) -> (time: f32[B, T, D], channel: f32[B, T, D]) {
        let last[b, t in 0..T, d] = x[b, t - 1, d] or 0.0;
        let k[b, t, e] = sum[d](W_k[e, d] * (mu_k[d] * x[b, t, d] + (1.0 - mu_k[d]) * last[b, t, d]));
        let v[b, t, e] = sum[d](W_v[e, d] * (mu_v[d] * x[b, t, d] + (1.0 - mu_v[d]) * last[b, t, d]));
        let r[b, t, e] = sum[d](W_r[e, d] * (mu_r[d] * x[b, t, d] + (1.0 - mu_r[d]) * last[b, t, d]));
        let mixed[b, t, e] = sigmoid(r[b, t, e]) * rwkv4_wkv(w, u, k, v).o[b, t, e];
        time[b, t, e] = sum[d](W_o[e, d] * mixed[b, t, d]);
        let fk[b, t, i] = sum[d](F_k[i, d] * (fmu_k[d] * x[b, t, d] + (1.0 - fmu_k[d]) * last[b, t, d]));
        let fr[b, t, e] = sum[d](F_r[e, d] * (fmu_r[d] * x[b, t, d] + (1.0 - fmu_r[d]) * last[b, t, d]));
        channel[b, t, e] = sigmoid(fr[b, t, e]) * sum[i](F_v[e, i] * relu(fk[b, t, i]) * relu(fk[b, t, i]));
    }

    /// RWKV-6: the state is read before it is written, with a bonus for the token itself (Peng et al. 2024).
    pub fn rwkv6<B, T, H, const K, const V, type E: float>(
        r, k: E[B, T, H, K], v: E[B, T, H, V], d: f32[B, T, H, K], u: f32[H, K],
        S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0,
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            o[b, t, h, j] =
                scale * sum[i](r[b, t, h, i] * (S_T[b, h, i, j] + u[h, i] * k[b, t, h, i] * v[b, t, h, j]));
            S_T[b, h, i, j] = exp(-exp(d[b, t, h, i])) * S_T[b, h, i, j] + k[b, t, h, i] * v[b, t, h, j];
        }
    }

    /// A diagonal plus rank-1 transition whose read vector sees the state before it decays.
    pub fn dplr<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], a, b, g: f32[B, T, H, K], S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[n, h, i, j] = S0[n, h, i, j] {
            let seen[n, h, j] = sum[i](a[n, t, h, i] * S_T[n, h, i, j]);
            S_T[n, h, i, j] = exp(g[n, t, h, i]) * S_T[n, h, i, j] + b[n, t, h, i] * seen[n, h, j] + k[n, t, h, i] * v[n, t, h, j];
            o[n, t, h, j] = scale * sum[i](S_T[n, h, i, j] * q[n, t, h, i]);
        }
    }

    /// RWKV-7: a generalised delta rule with a learning rate for each channel (Peng et al. 2025).
    pub fn rwkv7<B, T, H, const K, const V, type E: float>(
        r, k: E[B, T, H, K], v: E[B, T, H, V], w, ag: E[B, T, H, K], xi, k_a, r_k: f32[H, K], v_first, nu: E[B, T, H, V],
        scale: f32 = 1.0,
    ) -> (o: E[B, T, H, V], bonus: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        let rate[b, t, h, i] = sigmoid(ag[b, t, h, i]);
        let x[b, t, h, i] = k[b, t, h, i] * xi[h, i];
        let kappa[b, t, h, i] = x[b, t, h, i] / max(sqrt(sum[m](x[b, t, h, m] * x[b, t, h, m])), 1e-12);
        let write[b, t, h, i] = k[b, t, h, i] * (1.0 + (rate[b, t, h, i] - 1.0) * k_a[h, i]);
        let value[b, t, h, j] = v[b, t, h, j] + sigmoid(nu[b, t, h, j]) * (v_first[b, t, h, j] - v[b, t, h, j]);
        scan t in 0..T carry S_T[b, h, i, j] = 0.0 {
            let seen[b, h, j] = sum[i](kappa[b, t, h, i] * S_T[b, h, i, j]);
            S_T[b, h, i, j] = exp(-exp(-0.5) * sigmoid(w[b, t, h, i])) * S_T[b, h, i, j]
                - kappa[b, t, h, i] * rate[b, t, h, i] * seen[b, h, j] + write[b, t, h, i] * value[b, t, h, j];
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * r[b, t, h, i]);
        }
        bonus[b, t, h, j] = sum[i](r[b, t, h, i] * r_k[h, i] * write[b, t, h, i]) * value[b, t, h, j];
    }

    /// mLSTM: a matrix memory with exponential gates relative to a running maximum (Beck et al. 2024).
    pub fn mlstm<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], i, f: f32[B, T, H],
        C0: f32[B, H, K, V] = 0.0, n0: f32[B, H, K] = 0.0, m0: f32[B, H] = 0.0, eps: f32 = 1e-6,
    ) -> (h: f32[B, T, H, V], C: f32[B, H, K, V], n: f32[B, H, K], m: f32[B, H]) {
        scan t in 0..T carry C[b, l, x, y] = C0[b, l, x, y], n[b, l, x] = n0[b, l, x], m[b, l] = m0[b, l] {
            let next[b, l] = max(logsigmoid(f[b, t, l]) + m[b, l], i[b, t, l]);
            let forget[b, l] = exp(logsigmoid(f[b, t, l]) + m[b, l] - next[b, l]);
            let write[b, l, x] = exp(i[b, t, l] - next[b, l]) * k[b, t, l, x] / sqrt(K);
            C[b, l, x, y] = forget[b, l] * C[b, l, x, y] + write[b, l, x] * v[b, t, l, y];
            n[b, l, x] = forget[b, l] * n[b, l, x] + write[b, l, x];
            m[b, l] = next[b, l];
            h[b, t, l, y] = sum[x](C[b, l, x, y] * q[b, t, l, x])
                / (max(abs(sum[x](n[b, l, x] * q[b, t, l, x])), exp(-m[b, l])) + eps);
        }
    }

    /// mLSTM from nothing: the running maximum starts at -inf, as in its parallel form (Beck et al. 2024).
    pub fn mlstm_parallel<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], i, f: f32[B, T, H], eps: f32 = 1e-6,
    ) -> h: f32[B, T, H, V] {
        let nothing[b in 0..B, l in 0..H] = -inf;
        h[b, t, l, y] = mlstm(q, k, v, i, f, m0 = nothing, eps = eps).h[b, t, l, y];
    }

    /// sLSTM: scalar cells whose gates read the last output of their head; gates are input, forget, cell, output (Beck et al. 2024).
    pub fn slstm<B, T, H, const D, type E: float>(
        Wx: E[B, T, 4, H, D], R: E[4, H, D, D], b: E[4, H, D],
    ) -> (y: f32[B, T, H, D], c: f32[B, H, D], n: f32[B, H, D], m: f32[B, H, D]) {
        scan t in 0..T carry out[a, h, d] = 0.0, c[a, h, d] = 0.0, n[a, h, d] = 0.0, m[a, h, d] = 0.0 {
            let g[a, k in 0..4, h, d] = Wx[a, t, k, h, d] + sum[e](R[k, h, d, e] * out[a, h, e]) + b[k, h, d];
            let kept[a, h, d] = m[a, h, d] + logsigmoid(g[a, 1, h, d]);
            m[a, h, d] = if n[a, h, d] == 0.0 { g[a, 0, h, d] } else { max(g[a, 0, h, d], kept[a, h, d]) };
            let input[a, h, d] = min(exp(g[a, 0, h, d] - m[a, h, d]), 1.0);
            let forget[a, h, d] = min(exp(kept[a, h, d] - m[a, h, d]), 1.0);
            c[a, h, d] = forget[a, h, d] * c[a, h, d] + input[a, h, d] * tanh(g[a, 2, h, d]);
            n[a, h, d] = forget[a, h, d] * n[a, h, d] + input[a, h, d];
            out[a, h, d] = sigmoid(g[a, 3, h, d]) * c[a, h, d] / n[a, h, d];
            y[a, t, h, d] = out[a, h, d];
        }
    }
}
