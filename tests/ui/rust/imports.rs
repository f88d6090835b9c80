//! Imports: what they bring in is checked as if it stood in the block.

mod zoo {
    sawmill::arch! {
        pub struct Layer<D> { w: f32[D] }
        pub cache Kv<H> { k: f16[H, T] } grow T;
        pub fn dot<N>(a: f32[N], b: f32[N]) -> y: f32 { y = sum[i](a[i] * b[i]); }
        pub fn weighted<D>(x: f32[D], layer: Layer<D>, mask: |i| -> bool = |i| i > 0) -> y: f32 where D >= 2 {
            y = sum[i](x[i] * layer.w[i] where mask(i));
        }
        pub fn append<H>(x: f32[H], kv: Kv<H>) -> y: f32 { push kv[s in 0..1] { k[h, s] = x[h] } y = 1.0; }
    }
}

mod wrong {
    sawmill::arch! {
        use super::zoo::{Kv, Layer, append, dot as inner, weighted};
        fn sizes<S, T>(x: f32[S], y: f32[T]) -> z: f32 { z = inner(x, y); }
        fn old_name<S>(x: f32[S]) -> z: f32 { z = dot(x, x); }
        fn requirement<D>(x: f32[D], layer: Layer<D>) -> z: f32 { z = weighted(x, layer); }
        fn out_of_range<D, F>(x: f32[D], layer: Layer<D>, f: f32[F]) -> z: f32 where D >= 2 {
            z = weighted(x, layer, mask = |i| f[i] > 0.0);
        }
        fn twice<H>(x: f32[H], kv: Kv<H>) -> z: f32 { let a = append(x, kv); z = a + append(x, kv); }
    }
}

mod missing {
    sawmill::arch! {
        use super::zoo::product;
        fn f<S>(x: f32[S]) -> z: f32 { z = product(x, x); }
    }
}

mod taken {
    sawmill::arch! {
        use super::zoo::dot;
        use super::zoo::weighted as dot;
        fn dot<S>(x: f32[S]) -> z: f32 { z = sum[i](x[i]); }
    }
}

mod not_exported {
    sawmill::arch! {
        use std::vec::Vec;
        fn f<S>(x: f32[S]) -> z: f32 { z = sum[i](x[i]); }
    }
}

fn main() {}
