//! Reads that can leave their range.

const _: () = {
    sawmill::arch! {
        fn f<T, L>(x: f32[T]) -> y: f32[L] { y[i] = x[T - L + i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<H, M, G>(k: f32[M]) -> y: f32[H] { y[h] = k[h / G]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], k: i32, t: i32[N] in 0..N) -> y: f32[N] { y[i] = x[i - 2]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], k: i32, t: i32[N] in 0..N) -> y: f32[N] { y[i] = x[i + 1]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], k: i32, t: i32[N] in 0..N) -> y: f32[N] { y[i] = x[2 * i]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], k: i32, t: i32[N] in 0..N) -> y: f32[N] { y[i] = x[k]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N>(x: f32[N], k: i32, t: i32[N] in 0..N) -> y: f32[N] { y[i] = if i >= 2 { x[i - 2] } else { x[i - 1] }; }
    }
};

fn main() {}
