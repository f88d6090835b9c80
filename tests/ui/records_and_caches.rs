//! Structs, lists and caches.

const _: () = {
    sawmill::arch! {
        cache Kv<H, C> { k: f16[H, T, C], v: f16[H, T, C] } grow T;
        fn f<H, C, S>(x: f32[H, S, C], kv: Kv<H, C>) -> y: f32 { push kv[s in 0..S] { k[h, s, c] = x[h, s, c] } y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H, C> { k: f16[H, T, C], v: f16[H, T, C] } grow T;
        fn f<H, C, S>(x: f32[H, S, C], kv: Kv<H, C>) -> y: f32 { push kv[s in 0..S] { k[h, s, c] = x[h, s, c], v[h, s, c] = x[h, s, c] } push kv[s in 0..S] { k[h, s, c] = x[h, s, c], v[h, s, c] = x[h, s, c] } y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H, C> { k: f16[H, T, C], v: f16[H, T, C] } grow T;
        fn f<H, C, S>(x: f32[H, S, C], kv: Kv<H, C>) -> y: f32 { push kv[s in 0..S] { k[h, s, c] = x[h, s, c], w[h, s, c] = 0.0, v[h, s, c] = x[h, s, c] } y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H, C> { k: f16[H, T, C], v: f16[H, T, C] } grow T;
        fn f<H, C, S>(x: f32[H, S, C], kv: Kv<H, C>) -> y: f32 { push kv[s in 0..S] { k[h, c, s] = x[h, s, c], v[h, s, c] = x[h, s, c] } y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H, C> { k: f16[H, T, C], v: f16[H, T, C] } grow T;
        fn f<H, C, S>(x: f32[H, S, C], kv: Kv<H, C>) -> y: f32 { push x[s in 0..S] { k[h, s, c] = 1.0 } y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D, F> { a: f32[D, F] }
        fn f<D>(w: W<D>) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[D] }
        fn f<D, L>(w: [W<D>; L]) -> y: f32[D] { y[d] = w[L].a[d]; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[D] }
        fn f<D>(w: W<D> = 1.0) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[E] }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H> { k: f16[H, T] } grow T;
        fn g<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { push kv[s in 0..1] { k[h, s] = x[h] } y[h] = kv.k[h, kv.len - 1]; }
        fn f<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { let a[h] = g(x, kv)[h]; y[h] = g(a, kv)[h]; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H> { k: f16[H, T] } grow T;
        fn g<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { push kv[s in 0..1] { k[h, s] = x[h] } y[h] = kv.k[h, kv.len - 1]; }
        fn f<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { let a[h] = g(x, kv)[h]; y[h] = a[h] + sum[j](kv.k[h, j]); }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H> { k: f16[H, T] } grow T;
        fn g<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { push kv[s in 0..1] { k[h, s] = x[h] } y[h] = kv.k[h, kv.len - 1]; }
        fn f<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { for n in 0..3 carry a[h] = x[h] { a[h] = g(a, kv)[h]; } y[h] = a[h]; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H> { k: f16[H, T] } grow T;
        fn g<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { push kv[s in 0..1] { k[h, s] = x[h] } y[h] = kv.k[h, kv.len - 1]; }
        fn f<H, L>(x: f32[H], kv: [Kv<H>; L]) -> y: f32[H] { for l in 0..L carry a[h] = x[h] { push kv[l][s in 0..1] { k[h, s] = a[h] } a[h] = kv[L - 1].k[h, 0]; } y[h] = a[h]; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H> { k: f16[H, T] } grow T;
        fn g<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { push kv[s in 0..1] { k[h, s] = x[h] } y[h] = kv.k[h, kv.len - 1]; }
        fn f<H, L>(x: f32[H], kv: [Kv<H>; L]) -> y: f32[H] where L >= 1 { for l in 0..L carry a[h] = x[h] { a[h] = g(a, kv[l])[h]; } y[h] = a[h] + sum[j](kv[0].k[h, j]); }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H> { k: f16[H, T] } grow T;
        fn g<H>(x: f32[H], kv: Kv<H>) -> y: f32[H] { push kv[s in 0..1] { k[h, s] = x[h] } y[h] = kv.k[h, kv.len - 1]; }
        fn f<H, L>(x: f32[H], kv: [Kv<H>; L]) -> y: f32[H] { push kv[s in 0..1] { k[h, s] = x[h] } y[h] = x[h]; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[D] }
        fn f<D, L, M>(w: [[W<D>; L]; M]) -> y: f32[D] { y[d] = 1.0; }
    }
};

fn main() {}
