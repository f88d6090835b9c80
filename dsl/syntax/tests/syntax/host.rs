//! Closures from Rust.

use crate::checking::check;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{Module, text};
use sawmill_ir::index::Atom;
use sawmill_syntax::host::{Resolved, resolve};

const CALLEE: &str = "fn f<S, T>(x: f32[S, T], mask: |z, i, j| -> bool) -> y: f32[S] {
    y[i] = sum[j](x[i, j] where mask(x[i, j], i, j));
}";

fn module(source: &str) -> Module {
    let (errors, module) = check(source);
    assert_eq!(errors, Vec::<String>::new());
    module
}

fn resolved(closure: &str, captures: &[(DType, usize)]) -> Result<Resolved, String> {
    resolve(closure, &module(CALLEE), "f", "mask", captures)
}

#[test]
fn ranges_go_through_closures_that_are_passed_on() {
    let source = format!(
        "{CALLEE} fn g<B, S>(x: f32[B, S, S], keep: |b, i| -> bool) -> y: f32[B, S] {{
            y[b, i] = f(x[b, .., ..], mask = |z, i, j| keep(b, j))[i];
        }}"
    );
    let module = module(&source);
    let found = resolve("|b, i| {0}[b, i] > 0", &module, "g", "keep", &[(DType::I32, 2)]).expect("both are in range");
    let callee = module.function("g").expect("it is there");
    let names: Vec<&str> = found
        .sizes
        .iter()
        .map(|size| match size.size.as_atom() {
            Some(Atom::Dim(dim)) => callee.dims[*dim].name.as_str(),
            _ => "?",
        })
        .collect();
    assert_eq!(names, ["B", "S"]);
}

#[test]
fn captures_become_arguments() {
    let captures = [(DType::I32, 0), (DType::I32, 1)];
    let found = resolved("|_, i, j| i - j < {0} && {1}[i] == {1}[j]", &captures).expect("it is right");
    let printed = text::print_function(&found.function);
    let wanted = "fn(f32, i64, i64) -> bool = |_, i, j| and(lt(#(i - j), #capture0[]), eq(capture1[i], capture1[j]))";
    assert!(printed.contains(wanted), "{printed}");
    assert_eq!(found.function.dims.len(), 1, "the length of the captured tensor");
    let sizes: Vec<(usize, usize)> = found.sizes.iter().map(|size| (size.capture, size.axis)).collect();
    assert_eq!(sizes, [(1, 0), (1, 0)], "at least S by `i`, at least T by `j`");
}

/// A closure, what it captures, and what is wrong with it.
type Case = (&'static str, &'static [(DType, usize)], &'static str);

#[test]
fn mistakes_are_found_at_the_call() {
    let cases: [Case; 6] = [
        ("|i, j| true", &[], "`mask` takes a closure of 3 parameters, and gets 2"),
        ("|z, i, j| z", &[], "`f32` is written to `mask: bool`"),
        ("|z, i, j| {0}[i] == 1", &[(DType::I32, 2)], "`capture0` has 2 axes, and 1 are given here"),
        ("|z, i, j| {0} == 1", &[(DType::I32, 1)], "this is a tensor of 1 axes, not a number"),
        ("|z, i, j| {0}[i + 1] == 1", &[(DType::I32, 1)], "this read of `capture0` can leave its range"),
        ("|z, i, j| z == i + {0}", &[(DType::I32, 0)], "`f32` and `i32` do not mix"),
    ];
    for (closure, captures, wanted) in cases {
        let error = resolved(closure, captures).expect_err(closure);
        assert!(error.contains(wanted), "{closure}: {error}");
    }
    assert!(resolved("|z, i, j| ({0}[i + 1] or 0) == 1", &[(DType::I32, 1)]).is_ok(), "a default covers the rest");
    assert!(resolve("|i| true", &module(CALLEE), "f", "score", &[]).is_err(), "no such parameter");
}
