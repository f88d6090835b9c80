//! Wrong tokens.

const _: () = {
    sawmill::arch! {
        enum A {}
    }
};

const _: () = {
    sawmill::arch! {
        #[inline] fn f(x: f32) -> y: f32 { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        use zoo::*;
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = {x}; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = |i| i; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = 1u8; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = if x > 0.0 { x }; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N]) -> y: f32[N] { y[i + 1] = x[i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<3>(x: f32) -> y: f32 { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<const D = E>(x: f32) -> y: f32 { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<type E: real>(x: f32) -> y: f32 { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        cache Kv<H> { k: f16[H, T] } fn f(x: f32) -> y: f32 { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = sum[i in 0](x); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = x + y or 1.0 or; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = (x + x) else x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32, fn: f32) -> y: f32 { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N, const K = 99999999999999999999>(x: f32[N]) -> y: f32 { y = 1.0; }
    }
};

fn main() {}
