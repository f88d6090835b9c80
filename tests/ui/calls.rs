//! Calls.

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, 1.0).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, 1.0, K = 2); }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, 1.0, K = 2).c; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, K = 2).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, 1.0, x = x, K = 2).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, s = 1.0, x).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, 1.0, |i| 1.0, 2.0, K = 2).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x[0] + 1.0, 1.0, K = 2).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, 1.0, |i, j| 1.0, K = 2).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, 1.0, 2.0, K = 2).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(x, |i| 1.0, K = 2).b; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { let (a, b, c) = g(x, 1.0, K = 2); y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { let (a, b) = 1.0; y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = exp(x[0], x[0]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N, const K>(x: f32[N], s: f32, m: |i| -> f32 = |i| 1.0) -> (a: f32[K], b: f32) where N >= 1 { a[k] = x[0] * s * m(k); b = s; }
        fn f<N, M>(x: f32[N], e: f32[M]) -> y: f32 where N >= 1 { y = g(e, 1.0, K = 2).b; }
    }
};

fn main() {}
