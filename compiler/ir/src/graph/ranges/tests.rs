//! Proofs by name, and random expressions against their values.

use super::Facts;
use crate::graph::text::parse_function;
use crate::graph::{Function, Op};
use crate::index::{Atom, Index};

/// The integer expressions of a function over axes, in order, and its facts.
fn expressions(signature: &str, axes: &str, texts: &[&str]) -> (Function, Facts, Vec<Index>) {
    let lets: String = texts.iter().enumerate().map(|(n, t)| format!("let e{n}[{axes}] = #({t}); ")).collect();
    let text = format!("fn f{signature} {{ {lets} }}");
    let function = parse_function(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let facts = Facts::of(&function);
    let values = function.tensors.values().filter_map(|t| match &t.kind {
        crate::graph::TensorKind::Def { value, .. } => match &function.terms[*value].op {
            Op::Index(index) => Some(index.clone()),
            _ => None,
        },
        _ => None,
    });
    let values = values.collect();
    (function, facts, values)
}

fn show(function: &Function, index: &Index) -> String {
    index.print(&|atom| match atom {
        Atom::Axis(axis) => function.axes[*axis].name.clone(),
        Atom::Dim(dim) => function.dims[*dim].name.clone(),
        other => format!("{other:?}"),
    })
}

#[test]
fn bounds_decide_quotients() {
    let cases = [
        ("(32 * b + c) / 32", "b"),
        ("(32 * b + c) % 32", "c"),
        ("(32 * b + c + 32) / 32", "b + 1"),
        ("(16 * b + d) / 32", "b / 2"),
        ("(16 * b + d) % 32", "(b % 2) * 16 + d"),
        ("c / 32", "0"),
        ("(b * 64 + 2 * c) / 64", "b"),
        ("min(c, 40)", "c"),
        ("max(c, b - B)", "c"),
        ("(b * N + n) / N", "b"),
        ("(c + 1) / 32", "(c + 1) / 32"),
        ("(c - 1) / 32", "(c - 1) / 32"),
    ];
    let texts: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
    let (function, facts, values) = expressions("<B, N>() -> ()", "b in B, c in 32, d in 16, n in N", &texts);
    for ((text, expected), value) in cases.iter().zip(&values) {
        let simple = facts.simplify(value);
        let printed = show(&function, &simple).replace("16 * (b % 2)", "(b % 2) * 16");
        let mut sides: Vec<&str> = printed.split(" + ").collect();
        sides.sort_unstable();
        let mut wanted: Vec<&str> = expected.split(" + ").collect();
        wanted.sort_unstable();
        assert_eq!(sides, wanted, "{text}");
    }
}

/// The proofs of the table of ranges in the language's rules, and what must not be proved.
#[test]
fn reads_are_proved_in_range() {
    let signature = "<H, M, G, S, T, N, C, L>(page: i32[N] in 0..L) -> () where H == M * G, T == N * C, G - 1 >= 0, C - 1 >= 0, T - S >= 0";
    let cases = [
        ("h / G", true),
        ("M - 1 - h / G", true),
        ("T - 1 - c * C - s", true),
        ("c * C + s", true),
        ("T - S + i", true),
        ("T - 1 - (T - S + i)", true),
        ("L - 1 - page[c]", true),
        ("page[c]", true),
        ("min(i, T - 1)", true),
        ("i % C", true),
        ("C - 1 - i % C", true),
        ("i - 1", false),
        ("M - 2 - h / G", false),
        ("T - 2 - c * C - s", false),
        ("T - S - 1", false),
        ("L - 2 - page[c]", false),
        ("N - 1 - i", false),
    ];
    let texts: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
    let (_, facts, values) = expressions(signature, "h in H, i in S, c in N, s in C", &texts);
    for ((text, proved), value) in cases.iter().zip(&values) {
        assert_eq!(facts.is_nonnegative(value), *proved, "{text}");
    }
}

#[test]
fn intervals_are_constant_bounds() {
    let texts = ["3 * c - 5", "c / 4", "c % 7", "min(c, 9) + b", "-b"];
    let (_, facts, values) = expressions("<B>() -> ()", "b in B, c in 32", &texts);
    let expected = [(Some(-5), Some(88)), (Some(0), Some(7)), (Some(0), Some(6)), (Some(0), None), (None, Some(0))];
    let found: Vec<_> = values.iter().map(|v| facts.interval(v)).collect();
    assert_eq!(found, expected);
}

/// Whatever is simplified, bounded or proved holds at every position of small axes.
#[test]
fn random_expressions_keep_their_values() {
    let mut seed = 1_u64;
    let mut next = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    fn expression(next: &mut dyn FnMut(u64) -> u64, depth: u32) -> String {
        if depth == 0 {
            return ["b", "c", "d", "B", "1", "3", "8", "b", "c"][next(9) as usize].to_owned();
        }
        let (a, b) = (expression(next, depth - 1), expression(next, depth - 1));
        let by = [2, 3, 4, 8][next(4) as usize];
        match next(8) {
            0 | 1 => format!("({a} + {b})"),
            2 => format!("({a} - {b})"),
            3 => format!("(({a}) * {by})"),
            4 | 5 => format!("(({a}) / {by})"),
            6 => format!("(({a}) % {by})"),
            _ => format!("{}({a}, {b})", if next(2) == 0 { "min" } else { "max" }),
        }
    }
    let texts: Vec<String> = (0..600).map(|_| expression(&mut next, 4)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for chunk in texts.chunks(100) {
        let (function, facts, values) = expressions("<B>() -> ()", "b in B, c in 8, d in 4", chunk);
        for (text, value) in chunk.iter().zip(&values) {
            let (simple, interval, proved) =
                (facts.simplify(value), facts.interval(value), facts.is_nonnegative(value));
            for size in [1_i64, 2, 5] {
                for at in 0..size * 32 {
                    let mut lookup = |atom: &Atom, _: &[i64]| match atom {
                        Atom::Dim(_) => Some(size),
                        Atom::Axis(axis) => match function.axes[*axis].name.as_str() {
                            "b" => Some(at / 32),
                            "c" => Some(at / 4 % 8),
                            _ => Some(at % 4),
                        },
                        _ => None,
                    };
                    let exact = value.eval(&mut lookup).expect("every atom is known");
                    let found = simple.eval(&mut lookup).expect("every atom is known");
                    assert_eq!(found, exact, "{text} became {}", show(&function, &simple));
                    assert!(
                        interval.0.is_none_or(|low| low <= exact) && interval.1.is_none_or(|high| exact <= high),
                        "{text}: {interval:?}"
                    );
                    assert!(!proved || exact >= 0, "{text} is {exact}");
                }
            }
        }
    }
}
