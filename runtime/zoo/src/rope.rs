//! Rotary position embeddings (row P17) and their frequencies.
//!
//! Conventions differ between models in which channels form a pair: `half` pairs channel `m` with `m + D / 2` (Llama in
//! Hugging Face form), `interleaved` pairs `2m` with `2m + 1` (GPT-J, and llama files in GGUF form), `regrouped` first gathers the
//! interleaved pairs into halves (DeepSeek). Angles come as tables of cosines and sines over `D / 2` frequencies.

use sawmill::prelude::*;

arch! {
    /// Half-split rotation of one row.
    pub fn rotate_half<const D, const M, type E: float>(x: E[D], cos, sin: f32[M]) -> y: f32[D] where D == 2 * M {
        y[d] = if d < M { x[d] * cos[d] - x[d + M] * sin[d] } else { x[d] * cos[d - M] + x[d - M] * sin[d - M] };
    }

    /// Rotation of the pairs `(2m, 2m + 1)` in place.
    pub fn rotate_interleaved<const D, const M, type E: float>(x: E[D], cos, sin: f32[M]) -> y: f32[D] where D == 2 * M {
        y[d] = if d % 2 == 0 { x[d] * cos[d / 2] - x[2 * (d / 2) + 1] * sin[d / 2] }
               else { x[d] * cos[d / 2] + x[2 * (d / 2)] * sin[d / 2] };
    }

    /// Pairs `(2m, 2m + 1)` gathered into halves, then rotated half-split.
    pub fn rotate_regrouped<const D, const M, type E: float>(x: E[D], cos, sin: f32[M]) -> y: f32[D] where D == 2 * M {
        let halves[d in 0..D] = x[2 * (d % M) + d / M];
        y[d] = rotate_half(halves, cos, sin)[d];
    }

    /// Cosines and sines of `M` rotary frequencies at a position.
    pub fn angles<const M>(pos: i32, theta: f32 = 10000.0) -> (cosine: f32[M], sine: f32[M]) {
        let a[m in 0..M] = (pos as f32) * exp2(-log2(theta) * (m as f32) / (M as f32));
        cosine[m] = cos(a[m]);
        sine[m] = sin(a[m]);
    }

    /// The rotations of row P17 side by side.
    pub fn rope<B, T, H, const D, const M, type E: float>(
        x: E[B, T, H, D], cos, sin: f32[T, M], xpos_scale: f32 = 512.0,
    ) -> (
        half: f32[B, T, H, D], regrouped: f32[B, T, H, D], interleaved: f32[B, T, H, D], partial: f32[B, T, H, D],
        xpos_q: f32[B, T, H, D], xpos_k: f32[B, T, H, D],
    ) where D == 2 * M, M % 2 == 0 {
        half[b, t, h, d] = rotate_half(x[b, t, h, ..], cos[t, ..], sin[t, ..])[d];
        regrouped[b, t, h, d] = rotate_regrouped(x[b, t, h, ..], cos[t, ..], sin[t, ..])[d];
        interleaved[b, t, h, d] = rotate_interleaved(x[b, t, h, ..], cos[t, ..], sin[t, ..])[d];
        partial[b, t, h, d] =
            if d >= M { x[b, t, h, d] as f32 }
            else { if d < M / 2 { x[b, t, h, d] * cos[t, d] - x[b, t, h, d + M / 2] * sin[t, d] }
            else { x[b, t, h, d] * cos[t, d - M / 2] + x[b, t, h, d - M / 2] * sin[t, d - M / 2] } };
        let zeta[t in 0..T, m in 0..M] = pow(((m as f32) / (M as f32) + 0.4) / 1.4, ((t - T / 2) as f32) / xpos_scale);
        xpos_q[b, t, h, d] = rotate_interleaved(x[b, t, h, ..], cos[t, ..], sin[t, ..])[d] * zeta[t, d / 2];
        xpos_k[b, t, h, d] = rotate_interleaved(x[b, t, h, ..], cos[t, ..], sin[t, ..])[d] / zeta[t, d / 2];
    }

    /// YaRN frequencies: interpolated where a frequency turns rarely within the original length, kept where it turns often.
    pub fn yarn_frequencies<const M>(
        theta: f32 = 10000.0, factor: f32 = 1.0, original_length: f32 = 2048.0, beta_fast: f32 = 32.0, beta_slow: f32 = 1.0,
    ) -> (inv_freq: f32[M], attention_factor: f32[1]) {
        let low = max(floor((M as f32) * log(original_length / (beta_fast * 2.0 * pi)) / log(theta)), 0.0);
        let high = min(-floor(-(M as f32) * log(original_length / (beta_slow * 2.0 * pi)) / log(theta)), 2.0 * M - 1.0);
        let plain[m in 0..M] = pow(theta, -(m as f32) / (M as f32));
        let slow[m in 0..M] = clamp(((m as f32) - low) / max(high - low, 0.001), 0.0, 1.0);
        inv_freq[m] = plain[m] / factor * slow[m] + plain[m] * (1.0 - slow[m]);
        attention_factor[i] = 0.1 * log(factor) + 1.0;
    }
}
