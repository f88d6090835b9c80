//! Plans of a matrix product, of masked softmax sums and of a whole model.

use sawmill_ir::graph::text::parse_function;
use sawmill_ir::graph::verify::verify_linked;
use sawmill_ir::graph::{Function, TensorKind};
use sawmill_ir::target::Target;
use sawmill_passes::{StopReason, normalise, optimise, optimise_explained};

fn plan(text: &str) -> Function {
    let function = parse_function(text).unwrap_or_else(|e| panic!("{e}"));
    let checked = |f: &Function| verify_linked(f).unwrap_or_else(|e| panic!("{e:#?}\n{f}"));
    checked(&function);
    let normal = normalise(&function).unwrap_or_else(|e| panic!("{e}"));
    checked(&normal);
    let plan = optimise(&normal, &Target::cpu128(2, true)).unwrap_or_else(|e| panic!("{e:?}"));
    checked(&plan);
    plan
}

pub(crate) const MATMUL: &str = "fn f<M, N, const K = 64>(a: f32[M, K], b: f32[K, N]) -> (c) {
    let c[i in M, j in N] = sum[k in K](mul(a[i, k], b[k, j]));
}";

pub(crate) const ATTENTION: &str = "fn f<B, H, M, S, T, const D = 64>(
    q: f32[B, H, S, D], k: f32[B, M, T, D], v: f32[B, M, T, D],
) -> (o, lse) where H % M == 0 {
    let z[b in B, h in H, i in S, j in T] = where(mul(sum[d in D](mul(q[b, h, i, d], k[b, h / 4, j, d])), 0.125), le(#j, #(i + T - S)));
    let p[b in B, h in H, i in S, j in T] = softmax[j](z[b, h, i, j]);
    let o[b in B, h in H, i in S, c in D] = sum[j in T](mul(p[b, h, i, j], v[b, h / 4, j, c]));
    let lse[b in B, h in H, i in S] = logsumexp[j in T](z[b, h, i, j]);
}";

const LAYERS: &str = "fn model<S, T, const L = 30, const D = 576, const HQ = 9, const HK = 3, const C = 64, const F = 1536, const V = 49152>(
    tokens: i32[S] in 0..V,
    embed.d: f16[V, D / 32] field embed q8_0(0, 34, 1), embed.q: i8[V, D] field embed q8_0(2, 34, 1),
    norm: f32[D], attn_norm: f32[L, D] list, ffn_norm: f32[L, D] list,
    wq.d: f16[L, HQ, C, D / 32] list field wq q4_1(0, 20, 2), wq.m: f16[L, HQ, C, D / 32] list field wq q4_1(2, 20, 2), wq.q: u4[L, HQ, C, D] list field wq q4_1(4, 20, 2),
    wk.d: f16[L, HK, C, D / 32] list field wk q4_1(0, 20, 2), wk.m: f16[L, HK, C, D / 32] list field wk q4_1(2, 20, 2), wk.q: u4[L, HK, C, D] list field wk q4_1(4, 20, 2),
    wv.d: f16[L, HK, C, D / 32] list field wv q4_1(0, 20, 2), wv.m: f16[L, HK, C, D / 32] list field wv q4_1(2, 20, 2), wv.q: u4[L, HK, C, D] list field wv q4_1(4, 20, 2),
    wo.d: f16[L, D, D / 32] list field wo q4_1(0, 20, 1), wo.m: f16[L, D, D / 32] list field wo q4_1(2, 20, 1), wo.q: u4[L, D, D] list field wo q4_1(4, 20, 1),
    wg.d: f16[L, F, D / 32] list field wg q4_1(0, 20, 1), wg.m: f16[L, F, D / 32] list field wg q4_1(2, 20, 1), wg.q: u4[L, F, D] list field wg q4_1(4, 20, 1),
    wu.d: f16[L, F, D / 32] list field wu q4_1(0, 20, 1), wu.m: f16[L, F, D / 32] list field wu q4_1(2, 20, 1), wu.q: u4[L, F, D] list field wu q4_1(4, 20, 1),
    wd.d: f16[L, D, F / 32] list field wd q4_1(0, 20, 1), wd.m: f16[L, D, F / 32] list field wd q4_1(2, 20, 1), wd.q: u4[L, D, F] list field wd q4_1(4, 20, 1),
    kv.k: f16[L, HK, T, C] list grows 2, kv.v: f16[L, HK, T, C] list grows 2,
) -> (logits) where S >= 1 {
    let x0[s in S, d in D] = mul(embed.d[tokens[s], d / 32], cast[f32](embed.q[tokens[s], d]));
    for l in L carry x: f32 = x0 {
        let y[s in S, d in D] = mul(x[s, d], rsqrt(add(mean[e in D](mul(x[s, e], x[s, e])), 0.00001)), attn_norm[l, d]);
        let q[s in S, h in HQ, c in C] = sum[d in D](mul(y[s, d], add(mul(wq.d[l, h, c, d / 32], cast[f32](wq.q[l, h, c, d])), wq.m[l, h, c, d / 32])));
        let k[s in S, h in HK, c in C] = sum[d in D](mul(y[s, d], add(mul(wk.d[l, h, c, d / 32], cast[f32](wk.q[l, h, c, d])), wk.m[l, h, c, d / 32])));
        let v[s in S, h in HK, c in C] = sum[d in D](mul(y[s, d], add(mul(wv.d[l, h, c, d / 32], cast[f32](wv.q[l, h, c, d])), wv.m[l, h, c, d / 32])));
        let angle[s in S, c in C] = mul(cast[f32](#(s + T)), exp(mul(cast[f32](#(c % 32)), -0.28782313)));
        let qr[s in S, h in HQ, c in C] = add(mul(q[s, h, c], cos(angle[s, c])), mul(select(lt(#c, #32), neg(q?[s, h, c + 32]), q?[s, h, c - 32]), sin(angle[s, c])));
        let kr[s in S, h in HK, c in C] = add(mul(k[s, h, c], cos(angle[s, c])), mul(select(lt(#c, #32), neg(k?[s, h, c + 32]), k?[s, h, c - 32]), sin(angle[s, c])));
        append k1[h in HK, s in S, c in C] to kv.k[l] dim 1 = kr[s, h, c];
        append v1[h in HK, s in S, c in C] to kv.v[l] dim 1 = v[s, h, c];
        let z[h in HQ, i in S, j in T + S] = where(mul(sum[c in C](mul(qr[i, h, c], k1[h / 3, j, c])), 0.125), le(#j, #(i + T)));
        let p[h in HQ, i in S, j in T + S] = softmax[j](z[h, i, j]);
        let o[s in S, h in HQ, c in C] = sum[j in T + S](mul(p[h, s, j], v1[h / 3, j, c]));
        let a[s in S, d in D] = add(x[s, d], sum[h in HQ, c in C](mul(o[s, h, c], add(mul(wo.d[l, d, h * 2 + c / 32], cast[f32](wo.q[l, d, h * 64 + c])), wo.m[l, d, h * 2 + c / 32]))));
        let b[s in S, d in D] = mul(a[s, d], rsqrt(add(mean[e in D](mul(a[s, e], a[s, e])), 0.00001)), ffn_norm[l, d]);
        let gate[s in S, f in F] = sum[d in D](mul(b[s, d], add(mul(wg.d[l, f, d / 32], cast[f32](wg.q[l, f, d])), wg.m[l, f, d / 32])));
        let up[s in S, f in F] = sum[d in D](mul(b[s, d], add(mul(wu.d[l, f, d / 32], cast[f32](wu.q[l, f, d])), wu.m[l, f, d / 32])));
        let hid[s in S, f in F] = mul(silu(gate[s, f]), up[s, f]);
        let n[s in S, d in D] = add(a[s, d], sum[f in F](mul(hid[s, f], add(mul(wd.d[l, d, f / 32], cast[f32](wd.q[l, d, f])), wd.m[l, d, f / 32]))));
    } final end = n;
    let fin[d in D] = mul(end[S - 1, d], rsqrt(add(mean[e in D](mul(end[S - 1, e], end[S - 1, e])), 0.00001)), norm[d]);
    let logits[v in V] = sum[d in D](mul(fin[d], embed.d[v, d / 32], cast[f32](embed.q[v, d])));
}";

#[test]
fn a_model_compiles() {
    for (text, kernels) in [(MATMUL, 1..=2), (ATTENTION, 1..=3), (LAYERS, 10..=24)] {
        let function = parse_function(text).expect("parses");
        let module = sawmill_passes::compile(&function, &Default::default(), &Target::cpu128(2, true));
        let count = module.unwrap_or_else(|e| panic!("{e}")).kernels.len();
        assert!(kernels.contains(&count), "{count} kernels");
    }
}

#[test]
fn a_model_unpacks_no_weight_and_stores_no_scores() {
    let plan = plan(LAYERS);
    for tensor in plan.tensors.values() {
        let run_time = tensor.shape.iter().filter(|s| s.as_int().is_none()).count();
        let stored = matches!(tensor.kind, TensorKind::Def { .. });
        assert!(!stored || run_time == 1 || tensor.shape.len() == 1, "`{}` is stored\n{plan}", tensor.name);
    }
    let text = plan.to_string();
    for (part, count) in [("silu(", 1), ("fold[j in", 1), ("scale(", 2), ("append ", 2)] {
        assert_eq!(text.matches(part).count(), count, "`{part}`\n{text}");
    }
}

#[test]
fn a_model_is_explained() {
    let normal = normalise(&parse_function(LAYERS).expect("parses")).expect("normalises");
    let done = optimise_explained(&normal, &Target::cpu128(2, true)).expect("optimises");
    let plain = optimise(&normal, &Target::cpu128(2, true)).expect("optimises");
    assert_eq!(done.function.to_string(), plain.to_string(), "explaining changes the plan");
    assert!(done.stages.iter().all(|s| s.stop == StopReason::Saturated), "{:#?}", done.stages);
    let text: Vec<String> = done.derivations.iter().map(|d| d.show(true).unwrap_or_else(|e| panic!("{e}"))).collect();
    let text = text.concat();
    for part in ["n (algebra)", "n (folds)", "repair (Reassociating)", "scale(exp("] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}
