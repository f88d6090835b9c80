//! Recurrences.

const _: () = {
    sawmill::arch! {
        fn f<T>(x: f32[T], c: bool[T]) -> y: f32 { scan t in 0..T carry s = 0.0 reset where c[t] { let a = s; } y = s; }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<T, D>(x: f32[T, D], c: bool[T, D]) -> y: f32[D] {
            scan t in 0..T carry s[d] = 0.0, n = 0.0 reset where c[t, d] { s[d] = s[d] + x[t, d]; n = n + 1.0; }
            y[d] = s[d] / n;
        }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<T, D>(x: f32[T, D]) -> y: f32[D] {
            scan t in 0..T carry s[d] = 0.0 reset where x[t, d] { s[d] = s[d] + x[t, d]; }
            y[d] = s[d];
        }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<T>(x: f32[T]) -> y: f32 {
            scan t in 0..T carry s[i] = 0.0 { let a[i] = s[i] * 2.0; s[i] = a[i] + x[t]; }
            y = sum[i](s[i]);
        }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<T, D, F>(x: f32[T, D], w: f32[F]) -> y: f32[D] {
            scan t in 0..T carry s[d] = 0.0 { s[d] = s[d] * w[d] + x[t, d]; }
            y[d] = s[d];
        }
    }
};

const _: () = {
    sawmill::arch! {
        fn f<T, D>(x: f32[T, D]) -> y: f32[T, D] {
            scan t in 0..T carry s[d] = 0.0 { s[d] = (x[t - 1, d] or 0.0) + (x[t, d] where x[t, d] > 0.0); y[t, d] = s[d]; }
        }
    }
};

fn main() {}
