//! Names that nothing defines, that are taken, that are something else.

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = xx[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[j]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[M]) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f23[N]) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = exq(x[i]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { y = summ[i](x[i]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<D>(w: Layer<D>) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { z = x[0]; y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g(x: f32) -> y: f32 { y = x; }
        fn f(x: f32) -> y: f32 { y = g(x, z = 1.0); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N, N>(x: f32[N]) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], x: f32) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { let x = 1.0; y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { y = sum[x in 0..N](1.0); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = x; }
        fn f(x: f32) -> y: f32 { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { let y = x; y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = N[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { let z = y; y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(m: |i| -> f32) -> y: f32 { y = m; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<type E: float>(x: E) -> y: f32 { y = E; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[D] }
        fn f<D>(w: W<D>) -> y: f32 { y = w; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[D] }
        fn f<D>(w: W<D>) -> y: f32 { y = w.b[0]; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[D] }
        fn f<D, L>(w: [W<D>; L]) -> y: f32[D] { y[d] = w.a[d]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { y = x.a; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { x = 1.0; y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = sum[i](x[i]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = softmax[k](x[i]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = softmax[N](x[i]); }
    }
};

fn main() {}
