//! Types of numbers.

const _: () = {
    sawmill::arch! {
        fn f(x: f32, n: i32) -> y: f32 { y = x * n; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(n: i32, m: i64) -> y: i64 { y = n + m; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<D>(x: f32[D]) -> y: f32 { y = 1 / D * x[0] where D >= 1 else 0.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = if x { 1.0 } else { 0.0 }; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = (x > 0.0) + 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(n: i32) -> y: f32 { y = exp(n); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = x & 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(n: i32) -> y: f32 { y = n; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: i32 { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], y0: f32) -> y: f32 { y = x[y0]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn g(n: i32) -> y: i32 { y = n; }
        fn f(x: f32) -> y: i32 { y = g(x); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32, m: |a| -> f32) -> y: f32 { y = m(x) + m(1); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], k: f32) -> y: f32 { y = [k, 1.0][0]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = x as f33; }
    }
};

fn main() {}
