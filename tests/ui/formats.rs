//! Packed formats.

const _: () = {
    sawmill::arch! {
        format q<K> { d: f16[K / 32], q: u4[2 * K] } where K % 32 == 0 = |k| d[k / 32] * (q[k] as f32);
    }
};

const _: () = {
    sawmill::arch! {
        format q<K, L> { d: f16[K] } = |k| d[k];
    }
};

const _: () = {
    sawmill::arch! {
        format q<K> { d: f16[K] } = |i, k| d[k];
    }
};

const _: () = {
    sawmill::arch! {
        format q<K> { d: f16[K] } where K > 1 = |k| d[k];
    }
};

fn main() {}
