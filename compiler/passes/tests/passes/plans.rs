//! Plans of small functions: what is stored, what folds.

use sawmill_ir::graph::Function;
use sawmill_ir::graph::text::parse_function;
use sawmill_ir::graph::verify::verify_linked;
use sawmill_ir::target::Target;
use sawmill_passes::{normalise, optimise};

fn plan(text: &str) -> Function {
    let function = parse_function(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let checked = |f: &Function| verify_linked(f).unwrap_or_else(|e| panic!("{e:#?}\n{f}"));
    checked(&function);
    let normal = normalise(&function).unwrap_or_else(|e| panic!("{e}"));
    checked(&normal);
    let plan = optimise(&normal, &Target::cpu128(2, true)).unwrap_or_else(|e| panic!("{e:?}"));
    checked(&plan);
    plan
}

const MATMUL: &str = "fn f<M, N, const K = 64>(a: f32[M, K], b: f32[K, N]) -> (c) {
    let c[i in M, j in N] = sum[k in K](mul(a[i, k], b[k, j]));
}";

const ATTENTION: &str = "fn f<B, H, M, S, T, const D = 64>(
    q: f32[B, H, S, D], k: f32[B, M, T, D], v: f32[B, M, T, D],
) -> (o, lse) where H % M == 0 {
    let z[b in B, h in H, i in S, j in T] = where(mul(sum[d in D](mul(q[b, h, i, d], k[b, h / 4, j, d])), 0.125), le(#j, #(i + T - S)));
    let p[b in B, h in H, i in S, j in T] = softmax[j](z[b, h, i, j]);
    let o[b in B, h in H, i in S, c in D] = sum[j in T](mul(p[b, h, i, j], v[b, h / 4, j, c]));
    let lse[b in B, h in H, i in S] = logsumexp[j in T](z[b, h, i, j]);
}";

#[test]
fn show() {
    for text in [MATMUL, ATTENTION] {
        println!("{}", plan(text));
    }
}
