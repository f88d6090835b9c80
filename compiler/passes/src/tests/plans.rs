//! What plans store, and what folds.

use super::programs::PROGRAMS;
use super::semantics::{linked, plan};
use crate::{normalise, optimise};
use sawmill_ir::graph::{Function, Op, Repair, Stmt, TermId};
use sawmill_ir::target::Target;
use std::collections::BTreeSet;

/// The plan of a program with vectors of 64: at those of the programs, other plans are cheaper.
fn plan_of(name: &str) -> Function {
    let program = PROGRAMS.iter().find(|p| p.name.starts_with(name)).unwrap_or_else(|| panic!("no program `{name}`"));
    plan(&linked(&program.text.replace("= 4", "= 64")))
}

/// The terms that are reached from the definitions of the body.
fn reached(function: &Function) -> Vec<TermId> {
    let values = function.tensors.values().filter_map(|t| match &t.kind {
        sawmill_ir::graph::TensorKind::Def { value, .. } => Some(*value),
        _ => None,
    });
    let mut open: Vec<TermId> = values.collect();
    let mut seen = BTreeSet::new();
    while let Some(term) = open.pop() {
        if seen.insert(term) {
            open.extend(&function.terms[term].args);
        }
    }
    seen.into_iter().collect()
}

/// Components that are repaired in some fold.
fn repaired(function: &Function) -> usize {
    let folds = reached(function).into_iter().filter_map(|t| match &function.terms[t].op {
        Op::Fold { components, .. } => Some(components.iter().filter(|c| c.repair != Repair::None).count()),
        _ => None,
    });
    folds.max().unwrap_or(0)
}

/// Definitions at the top of the body.
fn stored(function: &Function) -> usize {
    function.body.iter().filter(|s| matches!(s, Stmt::Define(_))).count()
}

#[test]
fn weighted_sums_of_softmax_are_one_fold() {
    let cases = [
        "rows before",
        "table mask",
        "no mask",
        "additive bias",
        "softcap",
        "linear bias",
        "sink",
        "softmax over",
        "sum of squares",
    ];
    for name in cases {
        let plan = plan_of(name);
        assert_eq!(repaired(&plan), 2, "{name}\n{plan}");
        assert_eq!(stored(&plan), plan.outputs.len(), "{name}\n{plan}");
    }
}

#[test]
fn a_scale_leaves_the_sum_and_shares_its_pass() {
    let plan = plan_of("sum scaled");
    assert_eq!((stored(&plan), repaired(&plan)), (1, 0), "{plan}");
    let folds = reached(&plan).into_iter().filter(|t| matches!(plan.terms[*t].op, Op::Fold { .. })).count();
    assert_eq!(folds, 1, "{plan}");
}

#[test]
fn a_scale_that_two_sums_share_leaves_both() {
    let text = "fn f<S, const D = 576, const F = 1536>(x: f32[S, D], g: f32[F, D], u: f32[F, D]) -> (y) {
        let r[s in S] = rsqrt(add(sum[d in D](mul(x[s, d], x[s, d])), 0.001));
        let n[s in S, d in D] = mul(x[s, d], r[s]);
        let y[s in S, f in F] = mul(silu(sum[d in D](mul(g[f, d], n[s, d]))), sum[d in D](mul(u[f, d], n[s, d])));
    }";
    let normal = normalise(&linked(text)).unwrap_or_else(|e| panic!("{e}"));
    // Of the two sums, one alone outside would cost more than both inside.
    let plan = optimise(&normal, &Target::gpu("gpu", 132, 64 << 10)).unwrap_or_else(|e| panic!("{e:?}"));
    let components = reached(&plan).into_iter().filter_map(|t| match &plan.terms[t].op {
        Op::Fold { components, .. } => Some(components.len()),
        _ => None,
    });
    assert_eq!((stored(&plan), components.collect::<Vec<_>>()), (1, vec![3]), "{plan}");
}

#[test]
fn what_does_not_move_with_its_statistic_is_no_fold() {
    for name in ["bounded by", "stretched by", "layer norm"] {
        let plan = plan_of(name);
        assert_eq!(repaired(&plan), 0, "{name}\n{plan}");
    }
}

#[test]
fn projections_are_stored_once() {
    let plan = plan_of("projections");
    let names: Vec<&str> = plan.tensors.values().map(|t| t.name.as_str()).collect();
    for part in ["q.1", "k.1", "v.1"] {
        assert_eq!(names.iter().filter(|n| **n == part).count(), 1, "{part}\n{plan}");
    }
    assert_eq!(repaired(&plan), 2, "{plan}");
}
