//! Mistakes in `closure!` that need no callee.

fn main() {
    let window = 3;
    let _ = sawmill::closure!(|i, j| i - j < {window} or 1);
    let _ = sawmill::closure!(|i, j| i < j < 2);
    let _ = sawmill::closure!(i - 1);
    let _ = sawmill::closure!(|i| i < {});
    let _ = sawmill::closure!(|i| { i < 1 });
}
