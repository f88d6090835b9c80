//! Ranks and sizes.

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N, N]) -> y: f32[N] { y[i] = x[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { y[i] = x[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[..] + 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { y = sum[i](1.0); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { let m[i] = x[i - 1] or 0.0; y[i] = x[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<S, T>(a: f32[S], b: f32[T]) -> y: f32 { y = sum[j](a[j] * b[j]); }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N>(a: f32[N], b: f32[N]) -> y: f32 { y = sum[i](a[i] * b[i]); }
        fn f<S, T>(a: f32[S], b: f32[T]) -> y: f32 { y = g(a, b); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N + M]) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N * 1.5]) -> y: f32 { y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i in 1..N] = x[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] where N { y[i] = x[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { y = x + 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32 { y = [1.0, 2.0] * 2.0; }
    }
};

fn main() {}
