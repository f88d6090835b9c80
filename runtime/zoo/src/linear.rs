//! Linear attention: a state of keys by values that decays and is written once per token (rows LA1 to LA9, S5).
//!
//! Tensors are `[B, T, H, D]` (batch, time, head, channel), states `[B, H, K, V]`. Each function is a recurrence as its paper writes
//! it; the state is read after the write unless the equation says otherwise. Nothing here says in what chunks it is computed.

use sawmill::prelude::*;

arch! {
    use crate::norm::layer_norm;
    use crate::norm::rms_norm;

    /// Linear attention with the feature map `elu(x) + 1` and its normaliser (Katharopoulos et al. 2020).
    pub fn linear_attention<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], S0: f32[B, H, K, V] = 0.0, z0: f32[B, 1, H, K] = 0.0,
        scale: f32 = 1.0 / sqrt(K), eps: f32 = 1e-10,
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V], z_T: f32[B, H, K]) {
        let f[b, t, h, i] = elu(k[b, t, h, i]) + 1.0;
        let r[b, t, h, i] = scale * (elu(q[b, t, h, i]) + 1.0);
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j], z_T[b, h, i] = z0[b, 0, h, i] {
            S_T[b, h, i, j] = S_T[b, h, i, j] + f[b, t, h, i] * v[b, t, h, j];
            z_T[b, h, i] = z_T[b, h, i] + f[b, t, h, i];
            o[b, t, h, j] = sum[i](S_T[b, h, i, j] * r[b, t, h, i]) / (sum[i](z_T[b, h, i] * r[b, t, h, i]) + eps);
        }
    }

    /// Linear attention without feature map and normaliser.
    pub fn unnormalised<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            S_T[b, h, i, j] = S_T[b, h, i, j] + k[b, t, h, i] * v[b, t, h, j];
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// Hedgehog: softmax feature maps learned per head (Zhang et al. 2024).
    pub fn hedgehog<B, T, H, const K, const F, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], Wq, Wk: E[H, F, K], eps: f32 = 1e-6,
    ) -> o: E[B, T, H, V] {
        let a[b, t, h, f] = sum[i](Wq[h, f, i] * q[b, t, h, i]);
        let c[b, t, h, f] = sum[i](Wk[h, f, i] * k[b, t, h, i]);
        let qp[b, t, h, f] = softmax[f](a[b, t, h, f]);
        let qn[b, t, h, f] = softmax[f](-a[b, t, h, f]);
        let kp[b, t, h, f] = softmax[f](c[b, t, h, f]);
        let kn[b, t, h, f] = softmax[f](-c[b, t, h, f]);
        scan t in 0..T carry s[b, h, f, j] = 0.0, r[b, h, f, j] = 0.0, y[b, h, f] = 0.0, z[b, h, f] = 0.0 {
            s[b, h, f, j] = s[b, h, f, j] + kp[b, t, h, f] * v[b, t, h, j];
            r[b, h, f, j] = r[b, h, f, j] + kn[b, t, h, f] * v[b, t, h, j];
            y[b, h, f] = y[b, h, f] + kp[b, t, h, f];
            z[b, h, f] = z[b, h, f] + kn[b, t, h, f];
            o[b, t, h, j] = sum[f](s[b, h, f, j] * qp[b, t, h, f] + r[b, h, f, j] * qn[b, t, h, f])
                / (sum[f](y[b, h, f] * qp[b, t, h, f] + z[b, h, f] * qn[b, t, h, f]) + eps);
        }
    }

    /// cosFormer: `relu` features reweighted by the cosine of the distance, over the longest length `M` (Qin et al. 2022).
    pub fn cosformer<B, T, H, const K, const V, const M, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], eps: f32 = 1e-6,
    ) -> o: E[B, T, H, V] where M >= T {
        let angle[t in 0..T] = pi * (t as f32) / (2.0 * (M as f32));
        scan t in 0..T carry c[b, h, i, j] = 0.0, s[b, h, i, j] = 0.0, y[b, h, i] = 0.0, z[b, h, i] = 0.0 {
            let kc[b, h, i] = relu(k[b, t, h, i]) * cos(angle[t]);
            let ks[b, h, i] = relu(k[b, t, h, i]) * sin(angle[t]);
            let qc[b, h, i] = relu(q[b, t, h, i]) * cos(angle[t]);
            let qs[b, h, i] = relu(q[b, t, h, i]) * sin(angle[t]);
            c[b, h, i, j] = c[b, h, i, j] + kc[b, h, i] * v[b, t, h, j];
            s[b, h, i, j] = s[b, h, i, j] + ks[b, h, i] * v[b, t, h, j];
            y[b, h, i] = y[b, h, i] + kc[b, h, i];
            z[b, h, i] = z[b, h, i] + ks[b, h, i];
            o[b, t, h, j] = sum[i](c[b, h, i, j] * qc[b, h, i] + s[b, h, i, j] * qs[b, h, i])
                / max(sum[i](y[b, h, i] * qc[b, h, i] + z[b, h, i] * qs[b, h, i]), eps);
        }
    }

    /// Based: the second-order Taylor feature map, as weights (Arora et al. 2024).
    pub fn based<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], scale: f32 = 1.0 / sqrt(K), eps: f32 = 1e-6,
    ) -> o: E[B, T, H, V] {
        let x[b, h, i, j] = scale * sum[d](q[b, i, h, d] * k[b, j, h, d]);
        let w[b, h, i, j] = 1.0 + x[b, h, i, j] + 0.5 * x[b, h, i, j] * x[b, h, i, j] where j <= i;
        o[b, i, h, c] = sum[j](w[b, h, i, j] * v[b, j, h, c]) / (sum[j](w[b, h, i, j]) + eps);
    }

    /// ReBased: the square of normalised queries and keys (Aksenov et al. 2024).
    pub fn rebased<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], gamma, beta: E[K],
        scale: f32 = 1.0 / sqrt(K), eps: f32 = 1e-6, ln_eps: f32 = 1e-5,
    ) -> o: E[B, T, H, V] {
        let a[b, t, h, d] = layer_norm(q[b, t, h, ..], gamma, beta, ln_eps)[d];
        let c[b, t, h, d] = layer_norm(k[b, t, h, ..], gamma, beta, ln_eps)[d];
        let x[b, h, i, j] = scale * sum[d](a[b, i, h, d] * c[b, j, h, d]);
        let w[b, h, i, j] = x[b, h, i, j] * x[b, h, i, j] where j <= i;
        o[b, i, h, e] = sum[j](w[b, h, i, j] * v[b, j, h, e]) / (sum[j](w[b, h, i, j]) + eps);
    }

    /// Retention: a fixed decay for each head, without rotation and norm (Sun et al. 2023).
    pub fn retention<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], scale: f32 = 1.0 / sqrt(K),
    ) -> o: E[B, T, H, V] {
        scan t in 0..T carry s[b, h, i, j] = 0.0 {
            s[b, h, i, j] = (1.0 - exp2(-5.0 - (h as f32))) * s[b, h, i, j] + k[b, t, h, i] * v[b, t, h, j];
            o[b, t, h, j] = scale * sum[i](s[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// A layer of MiniMax lightning attention: `layer` of `layers` (MiniMax 2025).
    pub fn minimax_lightning_layer<B, T, const N, const M, const P, const H, const D, type E: float>(
        x: E[B, T, N], W_qkv: E[P, N], W_o: E[N, M], W_g: E[M, N], w_norm: E[M],
        layer: f32, layers: f32, norm_eps: f32 = 1e-6,
    ) -> (o: E[B, T, N], S_T: f32[B, H, D, D]) where M == H * D, P == 3 * H * D {
        let p[b, t, r] = silu(sum[n](W_qkv[r, n] * x[b, t, n]));
        let rate[h in 0..H] = exp2(-8.0 / (H as f32) * ((h as f32) + 1.0)) * (1.0 - layer / (layers - 1.0 + 1e-5) + 1e-5);
        scan t in 0..T carry S_T[b, h, i, j] = 0.0 {
            S_T[b, h, i, j] = exp(-rate[h]) * S_T[b, h, i, j] + p[b, t, h * 3 * D + D + i] * p[b, t, h * 3 * D + 2 * D + j];
            let y[b, t, h, j] = sum[i](S_T[b, h, i, j] * p[b, t, h * 3 * D + i]);
        }
        let flat[b, t, m in 0..M] = y[b, t, m / D, m % D];
        let g[b, t, m] = sigmoid(sum[n](W_g[m, n] * x[b, t, n])) * rms_norm(flat[b, t, ..], w_norm, norm_eps)[m];
        o[b, t, n] = sum[m](W_o[n, m] * g[b, t, m]);
    }

    /// Gated linear attention: a decay for each key channel (Yang et al. 2023).
    pub fn gla<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], g: f32[B, T, H, K], S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            S_T[b, h, i, j] = exp(g[b, t, h, i]) * S_T[b, h, i, j] + k[b, t, h, i] * v[b, t, h, j];
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// HGRN2: the key is what the gate forgets (Qin et al. 2024).
    pub fn hgrn2<B, T, H, const K, const V, type E: float>(
        q, f: E[B, T, H, K], lb: f32[H, K], v: E[B, T, H, V], S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        let a[b, t, h, i] = lb[h, i] + (1.0 - lb[h, i]) * sigmoid(f[b, t, h, i]);
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            S_T[b, h, i, j] = a[b, t, h, i] * S_T[b, h, i, j] + (1.0 - a[b, t, h, i]) * v[b, t, h, j];
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// Gated slot attention: softmax over `M` slots whose keys and values decay (Zhang et al. 2024). Slot keys are `[B, H, K, M]`.
    pub fn gsa<B, T, HQ, H, G, const K, const V, const M, type E: float>(
        q: E[B, T, HQ, K], k: E[B, T, H, K], v: E[B, T, H, V], g, w: f32[B, T, H, M],
        K0: f32[B, H, K, M] = 0.0, V0: f32[B, H, M, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, HQ, V], K_T: f32[B, H, K, M], V_T: f32[B, H, M, V]) where HQ == H * G {
        scan t in 0..T carry K_T[b, h, i, m] = K0[b, h, i, m], V_T[b, h, m, j] = V0[b, h, m, j] {
            K_T[b, h, i, m] = exp(g[b, t, h, m]) * K_T[b, h, i, m] + w[b, t, h, m] * k[b, t, h, i];
            V_T[b, h, m, j] = exp(g[b, t, h, m]) * V_T[b, h, m, j] + w[b, t, h, m] * v[b, t, h, j];
            let p[b, h, n in 0..G, m] = softmax[m](scale * sum[i](K_T[b, h, i, m] * q[b, t, h * G + n, i]));
            let y[b, t, h, n in 0..G, j] = sum[m](p[b, h, n, m] * V_T[b, h, m, j]);
        }
        o[b, t, a, j] = y[b, t, a / G, a % G, j];
    }

    /// The delta rule: what a key stands for is replaced (Schlag et al. 2021).
    pub fn deltanet<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], beta: f32[B, T, H], S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            let error[b, h, j] = v[b, t, h, j] - sum[i](S_T[b, h, i, j] * k[b, t, h, i]);
            S_T[b, h, i, j] = S_T[b, h, i, j] + beta[b, t, h] * k[b, t, h, i] * error[b, h, j];
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// The gated delta rule: the state decays first, the error is read from what is left (Yang et al. 2024).
    pub fn gated_deltanet<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], beta, g: f32[B, T, H],
        S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            let decayed[b, h, i, j] = exp(g[b, t, h]) * S_T[b, h, i, j];
            let error[b, h, j] = v[b, t, h, j] - sum[i](decayed[b, h, i, j] * k[b, t, h, i]);
            S_T[b, h, i, j] = decayed[b, h, i, j] + beta[b, t, h] * k[b, t, h, i] * error[b, h, j];
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// The gated delta rule from a layer's projections: norms, gates and shared key heads (Qwen3-Next).
    pub fn gated_deltanet_from_projections<B, T, HK, H, G, const K, const V, type E: float>(
        q, k: E[B, T, HK, K], v: E[B, T, H, V], b, a: E[B, T, H], A_log, dt_bias: f32[H],
        scale: f32 = 1.0 / sqrt(K), l2_eps: f32 = 1e-6,
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) where H == HK * G {
        let qn[n, t, h in 0..H, i] = q[n, t, h / G, i] * rsqrt(sum[m](q[n, t, h / G, m] * q[n, t, h / G, m]) + l2_eps);
        let kn[n, t, h in 0..H, i] = k[n, t, h / G, i] * rsqrt(sum[m](k[n, t, h / G, m] * k[n, t, h / G, m]) + l2_eps);
        let beta[n, t, h] = sigmoid(b[n, t, h]);
        let g[n, t, h] = -exp(A_log[h]) * softplus(a[n, t, h] + dt_bias[h]);
        (o[n, t, h, j], S_T[n, h, i, j]) = gated_deltanet(qn, kn, v, beta, g, scale = scale);
    }

    /// Gated DeltaProduct: `n` steps of the delta rule for each token, token by token (Siems et al. 2025).
    pub fn gated_delta_product<B, T, R, H, const K, const V, n, type E: float>(
        q: E[B, T, H, K], k: E[B, R, H, K], v: E[B, R, H, V], beta: f32[B, R, H], g: f32[B, T, H],
        S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) where R == T * n {
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            S_T[b, h, i, j] = exp(g[b, t, h]) * S_T[b, h, i, j];
            for m in 0..n {
                let error[b, h, j] = v[b, t * n + m, h, j] - sum[i](S_T[b, h, i, j] * k[b, t * n + m, h, i]);
                S_T[b, h, i, j] = S_T[b, h, i, j] + beta[b, t * n + m, h] * k[b, t * n + m, h, i] * error[b, h, j];
            }
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// Kimi delta attention: the delta rule with a decay for each key channel (Kimi Team 2025).
    pub fn kda<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], beta: f32[B, T, H], g: f32[B, T, H, K],
        S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            S_T[b, h, i, j] = exp(g[b, t, h, i]) * S_T[b, h, i, j];
            let error[b, h, j] = v[b, t, h, j] - sum[i](S_T[b, h, i, j] * k[b, t, h, i]);
            S_T[b, h, i, j] = S_T[b, h, i, j] + beta[b, t, h] * k[b, t, h, i] * error[b, h, j];
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// Gated DeltaNet 2: what is erased and what is written have gates for each channel.
    pub fn gdn2<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], g, b: f32[B, T, H, K], w: f32[B, T, H, V], scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[n, h, i, j] = 0.0 {
            S_T[n, h, i, j] = exp(g[n, t, h, i]) * S_T[n, h, i, j];
            let erased[n, h, j] = sum[i](b[n, t, h, i] * k[n, t, h, i] * S_T[n, h, i, j]);
            S_T[n, h, i, j] = S_T[n, h, i, j] + k[n, t, h, i] * (w[n, t, h, j] * v[n, t, h, j] - erased[n, h, j]);
            o[n, t, h, j] = scale * sum[i](S_T[n, h, i, j] * q[n, t, h, i]);
        }
    }

    /// Comba: the error is read from the state before it decays, along a correction of the key (Hu et al. 2025).
    pub fn comba<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], b, d: f32[H], beta, g: f32[B, T, H],
        S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        let p[n, t, h, i] = sigmoid(b[h]) * k[n, t, h, i];
        scan t in 0..T carry S_T[n, h, i, j] = S0[n, h, i, j] {
            let error[n, h, j] = v[n, t, h, j] - sum[i](S_T[n, h, i, j] * p[n, t, h, i]);
            S_T[n, h, i, j] = exp(g[n, t, h]) * S_T[n, h, i, j] + beta[n, t, h] * k[n, t, h, i] * error[n, h, j];
            o[n, t, h, j] = scale * sum[i](S_T[n, h, i, j] * (q[n, t, h, i] - d[h] * p[n, t, h, i]));
        }
    }
}
