//! Functions that call themselves.

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = f(x); }
    }
};

const _: () = {
    sawmill::arch! {
        fn f(x: f32) -> y: f32 { y = g(x); }
        fn g(x: f32) -> y: f32 { y = f(x); }
    }
};

fn main() {}
