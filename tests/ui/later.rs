//! What is not built yet.

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { let c[i] = cumsum[i](x[i]); y = c[0]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { let (v, e)[k] = topk[i; 2](x[i]); y = v[0]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { let o[r in 0..N] = argsort[i](x[i]); y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { let r[i] = rank[i](x[i]); y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { y = uniform(1, 2); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { y = grad(x[0]; x[0]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { y = detach(x[0]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { let z: c32 = x[0]; y = x[0]; }
    }
};

const _: () = {
    sawmill::arch! {
        extern f(x: f32) -> y: f32;
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N, T>(o: i32[N] in 0..=T ascending) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 where N >= 1 { y = sum[i; rev](x[i]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N, M>(x: f32[N, M]) -> y: f32 where N >= 1, M >= 1 { y = argmax[i, j](x[i, j]) as f32; }
    }
};

const _: () = {
    sawmill::arch! {
        format q<K> { d: f16[K], s: Scales<K> } = |k| d[k];
    }
};

const _: () = {
    sawmill::arch! {
        format q<K> { d: f16[K] } = |k| sum[i](d[i]);
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[D] }
        fn f<D, L>(w: [W<D>; L], t: i32[D] in 0..L) -> y: f32[D] { y[d] = w[t[d] + d * 0][0].a[d]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<C>(a: f32[C]) -> y: f32 { y = sum[c](a[c]); }
        fn h<N>(x: f32[N], m: |i| -> f32) -> y: f32[N] { y[i] = x[i] * m(i); }
        fn f<N>(x: f32[N], q: f32[N]) -> y: f32[N] { y[i] = h(x, m = |a| g(q[0..a]))[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<C> { k: f32[T, C] } grow T;
        fn f<C, L>(kv: [[Kv<C>; 2]; L], x: f32[C]) -> y: f32[C] { y[c] = x[c]; }
    }
};

fn main() {}
