//! Loops whose steps one kernel runs, and loops whose steps are kernels.

use super::differ::{Forms, Sizes, forms};
use sawmill_ir::tile::{Module, Step};

fn optimised(forms: &Forms) -> &Module {
    &forms.lowered[0].1
}

/// Launches of a plan outside of loops, and in them.
fn launches(forms: &Forms) -> (usize, usize) {
    fn count(steps: &[Step]) -> usize {
        let of = |step: &Step| match step {
            Step::Launch(_) => 1,
            Step::Loop { body, .. } => count(body),
            Step::If { then, otherwise, .. } => count(then).max(count(otherwise)),
            Step::Swap(..) | Step::Scalar { .. } => 0,
        };
        steps.iter().map(of).sum()
    }
    let (inside, outside): (Vec<Step>, Vec<Step>) =
        optimised(forms).plan.iter().cloned().partition(|step| matches!(step, Step::Loop { .. }));
    (count(&outside), count(&inside))
}

#[test]
fn independent_rows_run_all_steps_in_one_kernel() {
    let gated = forms(
        "fn f<H, T, const K = 5, const V = 37>(q: f64[H, T, K], k: f64[H, T, K], v: f64[H, T, V], a: f64[H, T]) -> (o, s) {
        let s0[h in H, i in K, j in V] = 0.0:f64;
        for t in T carry c: f64 = s0 {
            let n[h in H, i in K, j in V] = add(mul(tanh(a[h, t]), c[h, i, j]), mul(k[h, t, i], v[h, t, j]));
            let o[h in H, t, j in V] = sum[i in K](mul(n[h, i, j], q[h, t, i]));
        } final e = n;
        let s[h in H, i in K, j in V] = e[h, i, j];
    }",
    );
    assert_eq!(launches(&gated), (1, 0), "one kernel, with the initial and the final value");
    gated.agree_on(&[&[("H", 2), ("T", 4)], &[("H", 1), ("T", 1)], &[("H", 3), ("T", 0)], &[("H", 0), ("T", 3)]]);
    let rows = forms(
        "fn f<T, D>(x: f64[T, D], w: f64[D]) -> (y) {
        let s0[d in D] = 1.0:f64;
        for t in T rev carry c: f64 = s0 {
            let n[d in D] = add(mul(sigmoid(w[d]), c[d]), x[t, d]);
            let y[t, d in D] = n[d];
        } final e = n;
    }",
    );
    assert_eq!(launches(&rows), (1, 0));
    rows.agree_on(&[&[("T", 3), ("D", 1)], &[("T", 5), ("D", 200)], &[("T", 2), ("D", 64)], &[("T", 2), ("D", 0)]]);
}

#[test]
fn a_condition_that_no_step_changes_stays_with_its_reduction() {
    let masked = forms(
        "fn f<T, const K = 6>(x: f64[T, K], w: f64[K]) -> (y) {
        let s0[i in K] = 1.0:f64;
        for t in T carry c: f64 = s0 {
            let a[i in K] = add(c[i], x[t, i]);
            let n[i in K] = mul(a[i], 0.5:f64);
            let y[t] = add(sum[i in K](where(mul(w[i], a[i]), lt(w[i], 0.5:f64))), sum[j in K](where(w[j], lt(w[j], 0.5:f64))));
        } final e = n;
    }",
    );
    assert_eq!(launches(&masked), (1, 0));
    masked.agree_on(&[&[("T", 3)], &[("T", 0)]]);
}

#[test]
fn what_lacks_an_axis_that_blocks_share_out_is_stored_once() {
    let two = forms(
        "fn f<T, const K = 3, const V = 150>(k: f64[T, K], v: f64[T, V]) -> (o, z) {
        let s0[i in K, j in V] = 0.0:f64;
        let z0[i in K] = 1.0:f64;
        for t in T carry s: f64 = s0, m: f64 = z0 {
            let n[i in K, j in V] = add(mul(s[i, j], 0.5:f64), mul(k[t, i], v[t, j]));
            let p[i in K] = add(m[i], abs(k[t, i]));
            let o[t, j in V] = div(sum[i in K](n[i, j]), sum[i in K](p[i]));
        } final e = n, g = p;
        let z[i in K] = g[i];
    }",
    );
    assert_eq!(launches(&two), (1, 0));
    assert!(optimised(&two).kernels[0].grid.len() == 1, "blocks share out the columns");
    two.agree_on(&[&[("T", 4)], &[("T", 0)]]);
}

#[test]
fn loops_in_loops_are_loops_of_the_kernel() {
    let product = forms(
        "fn f<T, N, const K = 4>(k: f64[T, N, K], v: f64[T, N, K]) -> (o) {
        let s0[i in K, j in K] = 0.0:f64;
        for t in T carry s: f64 = s0 {
            for n in N carry r: f64 = s {
                let e[j in K] = sub(v[t, n, j], sum[i in K](mul(r[i, j], k[t, n, i])));
                let x[i in K, j in K] = add(r[i, j], mul(0.3:f64, k[t, n, i], e[j]));
            } final y = x;
            let o[t, i in K, j in K] = y[i, j];
        } final e2 = y;
    }",
    );
    assert_eq!(launches(&product), (1, 0));
    product.agree_on(&[&[("T", 3), ("N", 2)], &[("T", 2), ("N", 0)], &[("T", 0), ("N", 2)]]);
}

#[test]
fn steps_that_look_across_what_no_block_holds_are_kernels() {
    // A carry that moves, one of a size of the run, one that is too large, and matrices that each step has for itself.
    let cases: [(&str, &Sizes<'_>, &str); 4] = [
        (
            "moves",
            &[("T", 3)],
            "fn f<T, const N = 4>(x: f64[T, N]) -> (y) {
            let s0[i in N] = 0.0:f64;
            for t in T carry s: f64 = s0 {
                let n[i in N] = add(s[(i + 1) % N], x[t, i]);
                let y[t, i in N] = n[i];
            } final e = n;
        }",
        ),
        (
            "is of a size of the run",
            &[("T", 3), ("N", 5)],
            "fn f<T, N>(x: f64[T, N], a: f64[N, N]) -> (y) {
            let s0[i in N] = 0.0:f64;
            for t in T carry s: f64 = s0 {
                let n[i in N] = tanh(add(sum[j in N](mul(a[i, j], s[j])), x[t, i]));
                let y[t, i in N] = n[i];
            } final e = n;
        }",
        ),
        (
            "is large",
            &[("T", 2)],
            "fn f<T, const M = 300>(x: f64[T, M]) -> (y) {
            let s0[i in M, j in M] = 0.0:f64;
            for t in T carry s: f64 = s0 {
                let n[i in M, j in M] = add(s[i, j], mul(x[t, i], x[t, j]));
                let y[t] = sum[i in M, j in M](n[i, j]);
            } final e = n;
        }",
        ),
        (
            "has a matrix for each step",
            &[("T", 2), ("N", 3)],
            "fn f<T, N, const D = 40>(x: f64[N, D], w: f64[T, D, D]) -> (y) {
            let s0[n in N, i in D] = x[n, i];
            for t in T carry s: f64 = s0 {
                let m[n in N, i in D] = tanh(sum[j in D](mul(w[t, i, j], s[n, j])));
            } final e = m;
            let y[n in N, i in D] = e[n, i];
        }",
        ),
    ];
    for (what, sizes, text) in cases {
        let known = forms(text);
        assert!(launches(&known).1 > 0, "the loop that {what} is one kernel");
        known.agree_on(&[sizes]);
    }
}
