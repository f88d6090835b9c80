//! Golden texts of lowered plans.

use super::differ::forms;
use sawmill_ir::tile::text::print;

fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/passes/lowering/{name}.tile", env!("CARGO_MANIFEST_DIR"));
    let found = print(&forms(text).lowered[0].1);
    if std::env::var_os("SAWMILL_BLESS").is_some() {
        std::fs::write(&path, &found).expect("the golden file can be written");
    }
    assert_eq!(found, std::fs::read_to_string(&path).expect("the golden file is there"), "{path}");
}

#[test]
fn lowered_plans_match_their_goldens() {
    golden("matmul", crate::plans::MATMUL);
    golden("softmax_sum", crate::plans::ATTENTION);
}

#[test]
fn show_packed() {
    let f = forms(
        "fn f<S, N, const K = 576>(
        x: f32[S, K], g: f32[K], d: f16[N, K / 32], m: f16[N, K / 32], q: u8[N, K / 32, 16],
    ) -> (y) {
        let r[i in S] = rsqrt(add(mean[k in K](mul(x[i, k], x[i, k])), 1e-5));
        let h[i in S, k in K] = mul(x[i, k], r[i], g[k]);
        let w[n in N, k in K] = add(m[n, k / 32], mul(d[n, k / 32],
            cast[f32](bitand(shr(q[n, k / 32, k % 16], cast[i32](#(4 * (k % 32 / 16)))), 15:i32))));
        let y[i in S, n in N] = sum[k in K](mul(h[i, k], w[n, k]));
    }",
    );
    println!("{}", print(&f.lowered[0].1));
}
