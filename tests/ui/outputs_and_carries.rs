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

fn main() {}
