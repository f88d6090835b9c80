//! What the compiler makes of a few functions, as files: a change of plan, tiles or code shows up as a diff.
//!
//! Reviewed with `cargo insta review`, rewritten with `INSTA_UPDATE=always`.

use sawmill::prelude::*;

arch! {
    /// A product of two matrices.
    pub fn product<M, N, const K>(a: f32[M, K], b: f32[N, K]) -> c: f32[M, N] {
        c[m, n] = sum[k](a[m, k] * b[n, k]);
    }

    /// The sum of each row.
    pub fn row_sum<M, const K>(a: f32[M, K]) -> s: f32[M] {
        s[m] = sum[k](a[m, k]);
    }
}

#[test]
fn product_plan() {
    sawmill::assert_plan!(product::DEF, { K: 64 });
}

#[test]
fn product_tiles() {
    sawmill::assert_tiles!(product::DEF, { K: 64 });
}

#[test]
fn row_sum_code() {
    sawmill::assert_code!(row_sum::DEF, { K: 16 });
}

#[test]
fn masked_softmax_sum_plan() {
    sawmill::assert_plan!(sawmill_zoo::attention::causal::DEF, { K: 64, V: 64 });
}

#[test]
fn masked_softmax_sum_tiles() {
    sawmill::assert_tiles!(sawmill_zoo::attention::causal::DEF, { K: 64, V: 64 });
}

#[test]
fn two_compilations_give_the_same_bytes() {
    let explain = || {
        let dims = [("K", 64), ("V", 32)];
        sawmill::testing::explanation(sawmill_zoo::attention::sinks::DEF, &dims).expect("it compiles")
    };
    let (first, second) = (explain(), explain());
    assert_eq!(first.plan, second.plan);
    assert_eq!(first.derivations, second.derivations);
    assert_eq!(first.tiles, second.tiles);
    assert_eq!(first.code, second.code);
}
