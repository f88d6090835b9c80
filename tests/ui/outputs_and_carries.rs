//! Outputs and carries.

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> (y: f32, z: f32) { y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = x; y = x; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<L>(x: f32) -> y: f32 { for l in 0..L carry a = x { let b = a; } y = a; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<L>(x: f32) -> y: f32 { for l in 0..L carry a = x { a = a * l; y = a; } }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<N, L>(x: f32[N]) -> y: f32[L] { for l in 0..L carry a[i] = x[i] { a[i] = x[i]; let s[l] = a[0]; } y[l] = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<L>(x: f32) -> y: f32[L] { for l in 1..L carry a = x { a = a * l; y[l] = a; } }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<L>(x: f32) -> y: f32 where L >= 2 { for l in 0..L carry a = x { a = a * l; let s[l] = a; a = a + (s[l - 1] or 0.0); } y = a; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<L>(x: f32[L]) -> y: f32 { for l in 0..L carry a[i] = x[i] { a[l] = x[l]; } y = 1.0; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<L, M>(x: f32) -> y: f32[L] { for l in 0..L carry a = x { for m in 0..M carry b = a { b = b * m; y[l] = b; } a = b; } }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<L>(x: f32[L]) -> y: f32[L] { for l in 0..L carry a = 0.0 { let s[l] = x[l] where x[l] > 0.0; a = a + 1.0; } y[l] = s[l]; }
    }
};

const _: () = {
    sawmill::arch! {
        struct W<D> { a: f32[D] }
        fn f<D>(x: f32[D]) -> w: W<D> { let y[d] = x[d]; }
    }
};

fn main() {}
