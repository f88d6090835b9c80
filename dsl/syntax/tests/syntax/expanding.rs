//! What blocks expand to: wrappers even beside errors, and imports in rounds.

use proc_macro2::{TokenStream, TokenTree};
use sawmill_syntax::expand;

fn expanded(text: &str) -> TokenStream {
    expand::arch(text.parse().expect("the test is made of Rust tokens"))
}

fn items(tokens: TokenStream) -> Vec<syn::Item> {
    syn::parse2::<syn::File>(tokens).expect("the expansion is a list of Rust items").items
}

/// Names of the functions among the items.
fn functions(items: &[syn::Item]) -> Vec<String> {
    let function = |item: &syn::Item| match item {
        syn::Item::Fn(function) => Some(function.sig.ident.to_string()),
        _ => None,
    };
    items.iter().filter_map(function).collect()
}

#[test]
fn a_function_becomes_a_function_a_type_and_a_call() {
    let items = items(expanded(
        "/// Twice.\npub fn f<N, const K = 2>(x: f32[N], s: f32 = 1.0) -> y: f32[N] { y[i] = x[i] * s * K; }",
    ));
    assert_eq!(functions(&items), ["f"]);
    let text: Vec<String> = items.iter().map(|item| quote::quote!(#item).to_string()).collect();
    let call = text.iter().find(|text| text.contains("struct FCall")).expect("the call is a type");
    assert!(call.contains("pub struct FCall < 'a > (:: sawmill :: Call < 'a >)"), "{call}");
    assert!(text.iter().any(|text| text.contains("pub fn K (mut self , value : u64)")), "a method for each dim");
    assert!(text.iter().any(|text| text.contains("macro_rules")), "an export");
    assert!(text.iter().any(|text| text.contains("fn f<N, const K = 2>")), "docs show the signature");
}

#[test]
fn a_dim_that_nothing_determines_leaves_no_plain_call() {
    let tokens = expanded("fn f<N, const K>(x: f32[N]) -> y: f32[K] { y[k] = 1.0 * k; }");
    let text = tokens.to_string();
    assert_eq!(functions(&items(tokens)), ["f"]);
    assert!(text.contains("(first : impl :: sawmill :: Determines < __sawmill_open_f :: K > ,)"), "{text}");
    let tokens = expanded("fn f<const K>() -> y: f32[K] { y[k] = 1.0 * k; }");
    assert_eq!(functions(&items(tokens)), Vec::<String>::new());
}

#[test]
fn wrappers_stay_beside_errors() {
    let items = items(expanded(
        "fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[j]; } fn g(x: f32) -> y: f32 { y = x x; } fn h(x: f32) -> y: f32 { y = x; }",
    ));
    let errors = items.iter().filter(|item| matches!(item, syn::Item::Macro(call) if call.mac.path.segments.last().is_some_and(|s| s.ident == "compile_error")));
    assert_eq!(errors.count(), 2);
    assert_eq!(functions(&items), ["f", "g", "h"]);
}

/// Plays the compiler: expands the hidden macro of an exported item on what a round asks of it.
fn answered(asked: TokenStream, exported: &TokenStream) -> TokenStream {
    let group = asked.into_iter().find_map(|tree| match tree {
        TokenTree::Group(group) => Some(group.stream()),
        _ => None,
    });
    let mut trees = group.expect("a macro call").into_iter();
    trees.next().expect("where to go on");
    let rest: TokenStream = trees.collect();
    quote::quote!(#rest { #exported })
}

/// What the hidden macro of the last exported item carries.
fn carried(tokens: TokenStream) -> TokenStream {
    let items = items(tokens);
    let rules = items.iter().rev().find_map(|item| match item {
        syn::Item::Macro(rules) if rules.ident.is_some() => Some(rules.mac.tokens.clone()),
        _ => None,
    });
    let group = |tokens: TokenStream| {
        tokens.into_iter().filter_map(|tree| match tree {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        })
    };
    let body = group(rules.expect("an export")).nth(1).expect("the right side of the rule");
    let call = group(body).last().expect("the call of the macro that goes on");
    group(call).last().expect("what is carried")
}

#[test]
fn imports_are_checked_like_functions_of_the_block() {
    let zoo = "pub cache Kv<H> { k: f16[H, T] } grow T;
        pub fn grow<H, S>(x: f32[H, S], kv: Kv<H>, mask: |i, j| -> bool = |i, j| j <= i) -> y: f32 where S >= 1 {
            push kv[s in 0..S] { k[h, s] = x[h, s] }
            y = sum[h, j](kv.k[h, j] where mask(h, j));
        }";
    let exported = carried(expanded(zoo));
    let block = |body: &str| {
        format!(
            "use zoo::grow as g; use zoo::Kv; fn f<H, S>(x: f32[H, S], doc: i32[H], kv: Kv<H>) -> y: f32 where S >= 1 {{ {body} }}"
        )
    };
    let finished = |body: &str| {
        let first = expanded(&block(body));
        assert!(first.to_string().starts_with("zoo :: grow ! { [:: sawmill :: arch] @ round {"), "{first}");
        let second = expand::arch(answered(first, &exported));
        assert!(second.to_string().starts_with("zoo :: Kv !"), "{second}");
        let kv = carried(expanded("pub cache Kv<H> { k: f16[H, T] } grow T;"));
        expand::arch(answered(second, &kv)).to_string()
    };
    let right = finished("y = g(x, kv, mask = |i, j| doc[i] == j);");
    assert!(!right.contains("compile_error"), "{right}");
    assert!(right.contains("(\"g\" , zoo :: grow :: DEF)"), "{right}");
    let wrong = finished("y = g(x, kv, mask = |i, j| doc[j] == i);");
    assert!(wrong.contains("this read of `doc` can leave its range"), "closures know their ranges: {wrong}");
    let twice = finished("let a = g(x, kv); y = a + g(x, kv);");
    assert!(twice.contains("`kv` is appended twice"), "callers know what grows: {twice}");
}

#[test]
fn structs_and_formats_become_rust_items() {
    let text = expanded(
        "pub struct Inner<D> { w: f32[D] }
         pub struct Outer<D, L> { b: f32[D], one: Inner<D>, all: [Inner<D>; L] }
         pub format q<K> { d: f16[K / 32], q: i8[K / 32, 32] } where K % 32 == 0 = |k| d[k / 32] * (q[k / 32, k % 32] as f32);",
    )
    .to_string();
    assert!(!text.contains("compile_error"), "{text}");
    for wanted in ["impl :: sawmill :: Record for Outer", "pub all : :: std :: vec :: Vec < Inner >", "format q of 32"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn a_closure_becomes_its_text_and_its_captures() {
    let tokens = expand::closure("|_, _, i, j| j <= i && i - j < {window + 1}".parse().expect("tokens"));
    let wanted = ":: sawmill :: Closure :: new (\"|_, _, i, j| (j <= i) && ((i - j) < {0})\" , 4usize , \
        :: std :: vec ! [:: sawmill :: Capture :: from (window + 1)])";
    assert_eq!(tokens.to_string(), wanted);
    let wrong = expand::closure("|i| i < ".parse().expect("tokens")).to_string();
    assert!(wrong.contains("compile_error"), "{wrong}");
}
