//! Promised ranges.

const _: () = {
    sawmill::arch! {
        fn g<V>(t: i32 in 0..V, e: f32[V]) -> y: f32 { y = e[t]; }
        fn f<V>(t: i32, e: f32[V]) -> y: f32 { y = g(t, e); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<S, V>(t: i32[S]) -> o: i32[S] in 0..V { o[s] = t[s]; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<S, V>(x: f32[S, V]) -> o: i32[S] in 0..V - 1 where V >= 1 { o[s] = argmax[v](x[s, v]) as i32; }
    }
};

fn main() {}
