//! State-space models: LRU, S4D, Mamba, Mamba-2, Longhorn, and their use on images (rows S1 to S4, O1, O2).
//!
//! Tensors are `[B, T, ..]`. Each function is a recurrence as its paper writes it; a state is read after it is written. Complex numbers are
//! written in their real and imaginary parts.

use sawmill::prelude::*;

arch! {
    /// A causal depthwise convolution with zeros before the sequence; the last tap is the current token.
    pub fn depthwise<T, C, const W, type E: float>(x: E[T, C], w: E[C, W], bias: E[C]) -> y: f32[T, C] {
        y[t, c] = sum[i]((x[t + i - (W - 1), c] or 0.0) * w[c, i]) + bias[c];
    }

    /// A linear recurrent unit with complex diagonal transition (Orvieto et al. 2023).
    pub fn lru<B, T, const C, const N, type E: float>(
        u: E[B, T, C], nu, theta: f32[N], B_re, B_im: E[N, C], C_re, C_im: E[C, N], Dskip: f32[C],
    ) -> (y: f32[B, T, C], x_re: f32[B, N], x_im: f32[B, N]) {
        let size[n] = exp(-exp(nu[n]));
        let keep[n] = sqrt(1.0 - size[n] * size[n]);
        let in_re[b, t, n] = keep[n] * sum[c](B_re[n, c] * u[b, t, c]);
        let in_im[b, t, n] = keep[n] * sum[c](B_im[n, c] * u[b, t, c]);
        scan t in 0..T carry x_re[b, n] = 0.0, x_im[b, n] = 0.0 {
            let re[b, n] = size[n] * (cos(theta[n]) * x_re[b, n] - sin(theta[n]) * x_im[b, n]) + in_re[b, t, n];
            let im[b, n] = size[n] * (cos(theta[n]) * x_im[b, n] + sin(theta[n]) * x_re[b, n]) + in_im[b, t, n];
            x_re[b, n] = re[b, n];
            x_im[b, n] = im[b, n];
            let r[b, t, n] = re[b, n];
            let i[b, t, n] = im[b, n];
        }
        y[b, t, c] = sum[n](C_re[c, n] * r[b, t, n] - C_im[c, n] * i[b, t, n]) + Dskip[c] * u[b, t, c];
    }

    /// The selective scan: a decay for each channel and component that depends on the input (Gu and Dao 2023).
    pub fn selective_scan<B, T, C, const N, type E: float>(
        u, delta: E[B, T, C], A: f32[C, N], Bm, Cm: E[B, T, N], D: f32[C], z: E[B, T, C], delta_bias: f32[C],
        h0: f32[B, C, N] = 0.0,
    ) -> (y: E[B, T, C], h_T: f32[B, C, N]) {
        scan t in 0..T carry h_T[b, d, n] = h0[b, d, n] {
            let step[b, d] = softplus(delta[b, t, d] + delta_bias[d]);
            h_T[b, d, n] = exp(step[b, d] * A[d, n]) * h_T[b, d, n] + step[b, d] * Bm[b, t, n] * u[b, t, d];
            y[b, t, d] = (sum[n](h_T[b, d, n] * Cm[b, t, n]) + D[d] * u[b, t, d]) * silu(z[b, t, d]);
        }
    }

    /// The mixer of Mamba: projections, short convolution, selective scan, gate (Gu and Dao 2023).
    pub fn mamba_mixer<B, T, const M, const C, const N, const R, const P, const Q, const W, type E: float>(
        x: E[B, T, M], W_in: E[Q, M], W_conv: E[C, 1, W], b_conv: E[C], W_x: E[P, C], W_dt: E[C, R], b_dt: f32[C],
        A_log: f32[C, N], Dskip: f32[C], W_out: E[M, C],
    ) -> o: f32[B, T, M] where Q == 2 * C, P == R + 2 * N {
        let u[b, t, r] = sum[m](W_in[r, m] * x[b, t, m]);
        let taps[c, w] = W_conv[c, 0, w];
        let conv[b, t, c] = silu(depthwise(u[b, .., 0..C], taps, b_conv)[t, c]);
        let p[b, t, r] = sum[c](W_x[r, c] * conv[b, t, c]);
        let dt[b, t, c] = sum[r in 0..R](W_dt[c, r] * p[b, t, r]);
        let a[c, n] = -exp(A_log[c, n]);
        let bm[b, t, n in 0..N] = p[b, t, R + n];
        let cm[b, t, n in 0..N] = p[b, t, R + N + n];
        let z[b, t, c in 0..C] = u[b, t, C + c];
        let y[b, t, c] = selective_scan(conv, dt, a, bm, cm, Dskip, z, b_dt).y[b, t, c];
        o[b, t, m] = sum[c](W_out[m, c] * y[b, t, c]);
    }

    /// Mamba-2: one decay for each head; key and query are shared by the heads of a group (Dao and Gu 2024).
    pub fn ssd<B, T, H, G, R, const P, const N, type E: float>(
        x: E[B, T, H, P], dt: E[B, T, H], dt_bias, A: f32[H], Bm, Cm: E[B, T, G, N], D: f32[H],
        H0: f32[B, H, P, N] = 0.0,
    ) -> (y: E[B, T, H, P], H_T: f32[B, H, P, N]) where H == G * R {
        scan t in 0..T carry H_T[b, h, p, n] = H0[b, h, p, n] {
            let step[b, h] = softplus(dt[b, t, h] + dt_bias[h]);
            H_T[b, h, p, n] = exp(step[b, h] * A[h]) * H_T[b, h, p, n] + step[b, h] * x[b, t, h, p] * Bm[b, t, h / R, n];
            y[b, t, h, p] = sum[n](H_T[b, h, p, n] * Cm[b, t, h / R, n]) + D[h] * x[b, t, h, p];
        }
    }

    /// The recurrence of Mamba-2 alone, from inputs that are scaled already.
    pub fn ssd_minimal<B, T, H, const P, const N, type E: float>(
        X: E[B, T, H, P], A: f32[B, T, H], Bm, Cm: E[B, T, H, N],
    ) -> (y: E[B, T, H, P], H_T: f32[B, H, P, N]) {
        scan t in 0..T carry H_T[b, h, p, n] = 0.0 {
            H_T[b, h, p, n] = exp(A[b, t, h]) * H_T[b, h, p, n] + X[b, t, h, p] * Bm[b, t, h, n];
            y[b, t, h, p] = sum[n](H_T[b, h, p, n] * Cm[b, t, h, n]);
        }
    }

    /// Linear attention with one decay for each head and token.
    pub fn simple_gla<B, T, H, const K, const V, type E: float>(
        q, k: E[B, T, H, K], v: E[B, T, H, V], g: f32[B, T, H], S0: f32[B, H, K, V] = 0.0, scale: f32 = 1.0 / sqrt(K),
    ) -> (o: E[B, T, H, V], S_T: f32[B, H, K, V]) {
        scan t in 0..T carry S_T[b, h, i, j] = S0[b, h, i, j] {
            S_T[b, h, i, j] = exp(g[b, t, h]) * S_T[b, h, i, j] + k[b, t, h, i] * v[b, t, h, j];
            o[b, t, h, j] = scale * sum[i](S_T[b, h, i, j] * q[b, t, h, i]);
        }
    }

    /// Longhorn: the closed form of an online regression, with a diagonal decay (Liu et al. 2024).
    pub fn longhorn<B, T, const C, const N, const R, const P, const W, type E: float>(
        x, z: E[B, T, C], W_conv: E[C, 1, W], b_conv: E[C], W_x: E[P, C], W_dt: E[C, R], b_dt, Dskip: f32[C],
        S0: f32[B, C, N] = 0.0,
    ) -> (y: E[B, T, C], S_T: f32[B, C, N]) where P == R + 2 * N {
        let taps[c, w] = W_conv[c, 0, w];
        let u[b, t, c] = silu(depthwise(x[b, .., ..], taps, b_conv)[t, c]);
        let p[b, t, r] = sum[c](W_x[r, c] * u[b, t, c]);
        let rate[b, t, c] = sigmoid(sum[r in 0..R](W_dt[c, r] * p[b, t, r]) + b_dt[c]);
        let square[b, t] = sum[n in 0..N](p[b, t, R + n] * p[b, t, R + n]);
        scan t in 0..T carry S_T[b, c, n] = S0[b, c, n] {
            let step[b, c] = rate[b, t, c] / (1.0 + rate[b, t, c] * square[b, t]);
            S_T[b, c, n] = (1.0 - step[b, c] * p[b, t, R + n] * p[b, t, R + n]) * S_T[b, c, n]
                + step[b, c] * p[b, t, R + n] * u[b, t, c];
            let read[b, c] = sum[n](S_T[b, c, n] * p[b, t, R + N + n]);
            y[b, t, c] = (read[b, c] + Dskip[c] * u[b, t, c]) * silu(z[b, t, c]);
        }
    }

    /// Vision Mamba: selective scans of both directions, each after a convolution of its own (Zhu et al. 2024).
    pub fn vim_bidirectional<B, T, C, const N, const W, type E: float>(
        x, z: E[B, T, C], W_conv: E[2, C, W], b_conv: E[2, C], delta: E[B, 2, T, C], A: f32[2, C, N], Bm, Cm: E[B, 2, T, N],
        Dskip, bias: f32[2, C],
    ) -> y: f32[B, T, C] {
        let seen[b, r in 0..2, t in 0..T, c] = x[b, if r == 0 { t } else { T - 1 - t }, c];
        let u[b, r, t, c] = silu(depthwise(seen[b, r, .., ..], W_conv[r, .., ..], b_conv[r, ..])[t, c]);
        scan t in 0..T carry h[b, r, c, n] = 0.0 {
            let step[b, r, c] = softplus(delta[b, r, t, c] + bias[r, c]);
            h[b, r, c, n] = exp(step[b, r, c] * A[r, c, n]) * h[b, r, c, n] + step[b, r, c] * Bm[b, r, t, n] * u[b, r, t, c];
            let o[b, r, t, c] = sum[n](h[b, r, c, n] * Cm[b, r, t, n]) + Dskip[r, c] * u[b, r, t, c];
        }
        y[b, t, c] = (o[b, 0, t, c] + o[b, 1, T - 1 - t, c]) * silu(z[b, t, c]);
    }

    /// VMamba: selective scans along the rows and the columns of an image, in both directions (Liu et al. 2024).
    pub fn vmamba_ss2d<B, C, H, W, L, const N, type E: float>(
        x: E[B, C, H, W], delta: E[B, 4, L, C], A: f32[4, C, N], Bm, Cm: E[B, 4, L, N], Dskip, bias: f32[4, C],
    ) -> (xs: E[B, 4, C, L], y: f32[B, C, L]) where L == H * W {
        let rows[b, c, l in 0..L] = x[b, c, l / W, l % W];
        let columns[b, c, l in 0..L] = x[b, c, l % H, l / H];
        let u[b, r in 0..4, c, l] = if r == 0 { rows[b, c, l] } else if r == 1 { columns[b, c, l] }
            else if r == 2 { rows[b, c, L - 1 - l] } else { columns[b, c, L - 1 - l] };
        xs[b, r, c, l] = u[b, r, c, l];
        scan t in 0..L carry h[b, r, c, n] = 0.0 {
            let step[b, r, c] = softplus(delta[b, r, t, c] + bias[r, c]);
            h[b, r, c, n] = exp(step[b, r, c] * A[r, c, n]) * h[b, r, c, n] + step[b, r, c] * Bm[b, r, t, n] * u[b, r, c, t];
            let o[b, r, c, t] = sum[n](h[b, r, c, n] * Cm[b, r, t, n]) + Dskip[r, c] * u[b, r, c, t];
        }
        let back[b, c, l] = o[b, 1, c, l] + o[b, 3, c, L - 1 - l];
        y[b, c, l] = o[b, 0, c, l] + o[b, 2, c, L - 1 - l] + back[b, c, l % W * H + l / W];
    }
}
