//! Feed-forward layers: gated and plain, of one row.

use sawmill::prelude::*;

arch! {
    /// SwiGLU: `down (silu(gate x) * up x)`.
    pub fn swiglu<const D, const F, type E: float, type W: float>(
        x: E[D], gate, up: W[F, D], down: W[D, F],
    ) -> y: f32[D] {
        let h[f] = silu(sum[d](gate[f, d] * x[d])) * sum[d](up[f, d] * x[d]);
        y[d] = sum[f](down[d, f] * h[f]);
    }

    /// A gated layer with any activation: `down (act(gate x) * up x)`.
    pub fn gated<const D, const F, type E: float, type W: float>(
        x: E[D], gate, up: W[F, D], down: W[D, F], act: |z| -> f32 = |z| gelu(z),
    ) -> y: f32[D] {
        let h[f] = act(sum[d](gate[f, d] * x[d])) * sum[d](up[f, d] * x[d]);
        y[d] = sum[f](down[d, f] * h[f]);
    }

    /// A plain layer with biases and any activation: `down act(up x + b1) + b2`.
    pub fn mlp<const D, const F, type E: float, type W: float>(
        x: E[D], up: W[F, D], b1: f32[F] = 0.0, down: W[D, F], b2: f32[D] = 0.0, act: |z| -> f32 = |z| gelu(z),
    ) -> y: f32[D] {
        let h[f] = act(sum[d](up[f, d] * x[d]) + b1[f]);
        y[d] = sum[f](down[d, f] * h[f]) + b2[d];
    }

    /// SwiGLU layers of `N` rows.
    pub fn swiglu_rows<N, const D, const F, type E: float, type W: float>(
        x: E[N, D], gate, up: W[F, D], down: W[D, F],
    ) -> y: E[N, D] {
        y[n, d] = swiglu(x[n, ..], gate, up, down)[d];
    }

    /// Plain layers of `N` rows.
    pub fn mlp_rows<N, const D, const F, type E: float, type W: float>(
        x: E[N, D], up: W[F, D], b1: f32[F] = 0.0, down: W[D, F], b2: f32[D] = 0.0, act: |z| -> f32 = |z| gelu(z),
    ) -> y: E[N, D] {
        y[n, d] = mlp(x[n, ..], up, b1, down, b2, act = |z| act(z))[d];
    }
}
