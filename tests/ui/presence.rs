//! Values that may be absent.

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[i] where i > 0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g<N>(x: f32[N]) -> y: f32 { y = sum[i](x[i]); }
        fn f<N>(x: f32[N]) -> y: f32 { let m[i] = x[i] where i > 0; y = g(m); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], k: f32[N]) -> y: f32 { let at = argmax[i](k[i]); y = x[at]; }
    }
};

fn main() {}
