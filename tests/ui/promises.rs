//! Promised ranges.

const _: () = {
    sawmill::arch! {
        fn g<V>(t: i32 in 0..V, e: f32[V]) -> y: f32 { y = e[t]; }
        fn f<V>(t: i32, e: f32[V]) -> y: f32 { y = g(t, e); }
    }
};

fn main() {}
