//! Packed weight formats as equations over their stored fields (the block formats of GGUF files).
//!
//! A row is a sequence of records; a record holds each field's elements for one step of the field's first axis, field after
//! field, so a format's memory layout follows from its declaration.

use sawmill::prelude::*;

arch! {
    /// 32 values: a scale, and nibbles less 8; the first 16 values are the low halves of the bytes.
    pub format q4_0<K> { d: f16[K / 32], q: u8[K / 32, 16] } where K % 32 == 0
        = |k| d[k / 32] * ((((q[k / 32, k % 16] >> (4 * (k % 32 / 16) as i32)) & 15) - 8) as f32);

    /// 32 values: a scale, a minimum, and nibbles; the first 16 values are the low halves of the bytes.
    pub format q4_1<K> { d: f16[K / 32], m: f16[K / 32], q: u8[K / 32, 16] } where K % 32 == 0
        = |k| d[k / 32] * (((q[k / 32, k % 16] >> (4 * (k % 32 / 16) as i32)) & 15) as f32) + m[k / 32];

    /// 32 values: a scale, and signed bytes.
    pub format q8_0<K> { d: f16[K / 32], q: i8[K / 32, 32] } where K % 32 == 0
        = |k| d[k / 32] * (q[k / 32, k % 32] as f32);
}

/// Every format, in order of declaration.
pub static FORMATS: &[&sawmill::Format] = &[&q4_0, &q4_1, &q8_0];
