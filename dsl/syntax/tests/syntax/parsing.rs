//! The parser: the whole grammar, and one error per wrong token.

use crate::shown;
use proc_macro2::TokenStream;
use sawmill_syntax::parse::{parse_closure, parse_file};

/// Programs of the literature, written in the language.
const PROGRAMS: [(&str, &str); 8] = [
    ("helpers", include_str!("programs/helpers.arch")),
    ("linear", include_str!("programs/linear.arch")),
    ("sparse", include_str!("programs/sparse.arch")),
    ("attention", include_str!("programs/attention.arch")),
    ("experts", include_str!("programs/experts.arch")),
    ("hybrid", include_str!("programs/hybrid.arch")),
    ("diffusion", include_str!("programs/diffusion.arch")),
    ("modalities", include_str!("programs/modalities.arch")),
];

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("the test is made of Rust tokens")
}

fn errors_of(text: &str) -> Vec<String> {
    shown(parse_file(tokens(text)).1.list())
}

#[test]
fn every_program_parses() {
    for (name, text) in PROGRAMS {
        let (file, errors) = parse_file(tokens(text));
        assert!(errors.is_empty(), "{name}: {:#?}", shown(errors.list()));
        let declared = text.lines().filter(|line| line.starts_with("pub ") || line.starts_with("fn ")).count();
        assert_eq!(file.items.len(), declared, "{name}");
    }
}

#[test]
fn all_errors_are_found_at_once() {
    let found = errors_of(
        "fn f<N>(x: f32[N]) -> y: f32[N] { let a[i] = x[i] x[i]; let b[i] = x[i] < 1.0 < 2.0; y[i] = x[i] or; }
         fn g<N>(x f32[N]) -> y: f32[N] { y[i] = x[i]; }
         fn h<N>(x: f32[N]) -> f32[N] { y[i] = x[i]; }",
    );
    let wanted = [
        "x: expected an operator or `;`, found `x`",
        "<: comparisons do not chain",
        ";: expected an expression, found `;`",
        "f32: expected `:`, found `f32`",
        "[N]: expected `:`, found `[`",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn each_wrong_token_has_its_error() {
    let cases = [
        ("enum A {}", "enum: expected an item, found `enum`"),
        (
            "#[inline] fn f(x: f32) -> y: f32 { y = x; }",
            "#: only doc comments may stand before an item or parameter of `arch!`",
        ),
        ("use zoo::*;", "*: `use ..::*` cannot be expanded: a macro does not see what a module holds"),
        ("fn f(x: f32) -> y: f32 { y = {x}; }", "{x}: `{..}` captures a Rust value and stands only in `closure!`"),
        ("fn f(x: f32) -> y: f32 { y = |i| i; }", "|: expected an expression, found `|`"),
        ("fn f(x: f32) -> y: f32 { y = 1u8; }", "1u8: expected a number without a suffix, found a suffix"),
        ("fn f(x: f32) -> y: f32 { y = if x > 0.0 { x }; }", ";: expected `else`, found `;`"),
        ("fn f<N>(x: f32[N]) -> y: f32[N] { y[i + 1] = x[i]; }", "+: expected `,` or `]`, found `+`"),
        ("fn f(x: f32) -> y: f32 { y x; }", "x: expected `=`, found `x`"),
        ("fn f<3>(x: f32) -> y: f32 { y = x; }", "3: expected a dim, found `3`"),
        ("fn f<const D = E>(x: f32) -> y: f32 { y = x; }", "E: expected an integer, found `E`"),
        ("fn f<type E: real>(x: f32) -> y: f32 { y = x; }", "real: expected `float` or `int`, found `real`"),
        ("cache Kv<H> { k: f16[H, T] }", ": expected `grow`, found the end"),
        ("fn f(x: f32) -> y: f32 { y = sum[i in 0](x); }", "]: expected `..`, found the end"),
        ("fn f(x: f32) -> y: f32 { y = x + y or 1.0 or; }", ";: expected an expression, found `;`"),
        ("fn f(x: f32) -> y: f32 { y = (x + x) else x; }", "else: expected an operator or `;`, found `else`"),
        ("fn f(x: f32, fn: f32) -> y: f32 { y = x; }", "fn: expected a parameter, found `fn`"),
    ];
    for (text, wanted) in cases {
        assert_eq!(errors_of(text), [wanted], "{text}");
    }
}

#[test]
fn captures_stand_in_host_closures() {
    let (closure, errors) = parse_closure(tokens("|_, _, i, j| j <= i && i - j < {window} && {&doc}[i] == {&doc}[j]"));
    assert!(errors.is_empty(), "{:?}", shown(errors.list()));
    let closure = closure.expect("it parsed");
    assert_eq!(closure.closure.params.iter().map(|p| p.is_some()).collect::<Vec<_>>(), [false, false, true, true]);
    let captures: Vec<String> = closure.captures.iter().map(TokenStream::to_string).collect();
    assert_eq!(captures, ["window", "& doc"], "one that is repeated is captured once");
}

#[test]
fn precedence_is_that_of_the_grammar() {
    use sawmill_syntax::ast::{BinaryOp, ExprKind, ItemKind, Stmt};
    let (file, errors) =
        parse_file(tokens("fn f(x: f32) -> y: f32 { y = -x or 1.0 * x + 2.0 < 3.0 && x == x where x > 0.0; }"));
    assert!(errors.is_empty());
    let ItemKind::Function(f) = &file.items[0].kind else { panic!("a function") };
    let Stmt::Assign { value, .. } = &f.body[0] else { panic!("an equation") };
    let ExprKind::Where { value, .. } = &value.kind else { panic!("`where` binds weakest") };
    let ExprKind::Binary(BinaryOp::And, _, less, _) = &value.kind else { panic!("then `&&`") };
    let ExprKind::Binary(BinaryOp::Lt, _, sum, _) = &less.kind else { panic!("then `<`") };
    let ExprKind::Binary(BinaryOp::Add, _, product, _) = &sum.kind else { panic!("then `+`") };
    let ExprKind::Binary(BinaryOp::Mul, _, negated, _) = &product.kind else { panic!("then `*`") };
    let ExprKind::Unary(_, inner) = &negated.kind else { panic!("then `-`") };
    assert!(matches!(inner.kind, ExprKind::Or(..)), "`or` binds tightest");
}
