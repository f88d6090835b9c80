//! Normalisation layers (row P4): RMS, layer, group, gated and L2 norms.
//!
//! Each is written for one row and mapped over the others by its caller. Sources: the `transformers` models named in the
//! survey's table of primitives.

use sawmill::prelude::*;

arch! {
    /// Root mean square norm: `x / rms(x) * w`.
    pub fn rms_norm<const D, type E: float, type W: float>(x: E[D], w: W[D] = 1.0, eps: f32 = 1e-6) -> y: f32[D] {
        y[d] = x[d] * rsqrt(mean[m](x[m] * x[m]) + eps) * w[d];
    }

    /// Root mean square norm with the weight stored as its distance from one (Gemma).
    pub fn rms_norm_one<const D, type E: float, type W: float>(x: E[D], w: W[D], eps: f32 = 1e-6) -> y: f32[D] {
        y[d] = x[d] * rsqrt(mean[m](x[m] * x[m]) + eps) * (1.0 + w[d]);
    }

    /// L2 norm: `x / |x|`.
    pub fn l2_norm<const D, type E: float>(x: E[D], eps: f32 = 1e-6) -> y: f32[D] {
        y[d] = x[d] * rsqrt(sum[m](x[m] * x[m]) + eps);
    }

    /// Layer norm.
    pub fn layer_norm<const D, type E: float, type W: float>(
        x: E[D], w: W[D] = 1.0, bias: W[D] = 0.0, eps: f32 = 1e-5,
    ) -> y: f32[D] {
        let c[d] = x[d] - mean[m](x[m]);
        y[d] = c[d] * rsqrt(mean[m](c[m] * c[m]) + eps) * w[d] + bias[d];
    }

    /// Group norm of one row: `G` groups of neighbouring channels.
    pub fn group_norm<const D, const G, const C, type E: float, type W: float>(
        x: E[D], w: W[D] = 1.0, bias: W[D] = 0.0, eps: f32 = 1e-5,
    ) -> y: f32[D] where D == G * C {
        let mu[g in 0..G] = mean[c in 0..C](x[g * C + c]);
        let centred[d] = x[d] - mu[d / C];
        let variance[g in 0..G] = mean[c in 0..C](centred[g * C + c] * centred[g * C + c]);
        y[d] = centred[d] * rsqrt(variance[d / C] + eps) * w[d] + bias[d];
    }

    /// RMS norm of `G` groups of neighbouring channels.
    pub fn group_rms_norm<const D, const G, const C, type E: float, type W: float>(
        x: E[D], w: W[D] = 1.0, eps: f32 = 1e-6,
    ) -> y: f32[D] where D == G * C {
        let square[g in 0..G] = mean[c in 0..C](x[g * C + c] * x[g * C + c]);
        y[d] = x[d] * rsqrt(square[d / C] + eps) * w[d];
    }

    /// The norms of row P4 side by side, over the last axis of each token.
    pub fn norms<B, T, const D, const A, const Q, type E: float>(
        x, z: E[B, T, D], w, b: E[D],
    ) -> (
        rms: f32[B, T, D], rms_one: f32[B, T, D], rms_gated_before: f32[B, T, D], rms_gated_after: f32[B, T, D],
        layer: f32[B, T, D], group: f32[B, T, D], l2: f32[B, T, D], l2_max: f32[B, T, D],
    ) where D == 2 * A, D == 4 * Q {
        rms[i, t, d] = rms_norm(x[i, t, ..], w)[d];
        rms_one[i, t, d] = rms_norm_one(x[i, t, ..], w)[d];
        let gated[i, t, d] = x[i, t, d] * silu(z[i, t, d]);
        rms_gated_before[i, t, d] = group_rms_norm(gated[i, t, ..], w, G = 2, C = A)[d];
        rms_gated_after[i, t, d] = rms_norm(x[i, t, ..], w)[d] * silu(z[i, t, d]);
        layer[i, t, d] = layer_norm(x[i, t, ..], w, b)[d];
        group[i, t, d] = group_norm(x[i, t, ..], w, b, G = 4, C = Q)[d];
        l2[i, t, d] = l2_norm(x[i, t, ..])[d];
        l2_max[i, t, d] = x[i, t, d] / max(sqrt(sum[m](x[i, t, m] * x[i, t, m])), 1e-12);
    }
}
