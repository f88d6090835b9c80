//! Text: goldens, round trips, located errors, inputs that must not hang or panic.

use super::programs::{gemm, packed, softmax_fold};
use sawmill_ir::tile::Module;
use sawmill_ir::tile::text::{parse, print};

/// Compares with a golden file; with `SAWMILL_BLESS` set, writes it.
fn golden(name: &str, module: &Module) {
    let path = format!("{}/tests/ir/tile/{name}.tile", env!("CARGO_MANIFEST_DIR"));
    let text = print(module);
    if std::env::var_os("SAWMILL_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the golden file can be written");
    }
    assert_eq!(text, std::fs::read_to_string(&path).expect("the golden file is there"), "{path}");
    let parsed = parse(&text).unwrap_or_else(|e| panic!("{path}:{e}"));
    assert_eq!(parsed, *module, "{path} parses to another module");
    sawmill_ir::tile::verify::verify(&parsed).unwrap_or_else(|e| panic!("{path}: {e}"));
}

#[test]
fn programs_match_their_goldens_and_round_trip() {
    golden("gemm", &gemm().expect("builds"));
    golden("softmax_fold", &softmax_fold().expect("builds"));
    golden("packed", &packed().expect("builds"));
}

const PLAN: &str = r#"tile "odd name" {
  dims L, n, "two words", steps
  buffer w: f32[4] input list
  buffer t: f32[4] temp
  buffer u: f32[4] temp
  buffer out: f32[4] output
  buffer "how many": i32[] input
  kernel step {
    dims at
    memory a: f32[4] in
    memory b: f32[4] out
    axes i = 4
    %0: i64 = const -9223372036854775808
    %1: f32 = const -inf
    %2: f32 = const nan(9221120237041090560)
    %3: f32 = const -0.0
    %4: f64 = const 1e300
    %5: i64 = const 0
    %6: f32<i> = load a[%5 + i] pad undef #prefetch("2")
    store b[%5 + i] = %6
  }
  plan {
    launch step(w[0], t) dims (0)
    scalar steps = "how many"
    loop L < steps {
      launch step(w[max(L, div(-1 + n, 2))], u) dims (3 + 2*L*n - rem(n, 7))
      swap t, u
    }
    if -4 + n {
      launch step(t, out) dims (min(n, "two words"))
    } else {
      launch step(t, out) dims (bit_length(n))
    }
  }
}
"#;

#[test]
fn plans_and_odd_names_round_trip() {
    let module = parse(PLAN).unwrap_or_else(|e| panic!("{e}"));
    let text = print(&module);
    assert_eq!(parse(&text).expect("parses again"), module);
    assert_eq!(print(&parse(&text).expect("parses again")), text);
    sawmill_ir::tile::verify::verify(&module).expect("verifies");
}

#[test]
fn mistakes_are_located() {
    let cases = [
        ("tile x {\n  dims A\n  buffer b: f33[A] input\n}", 3, "expected an element type, found `f33`"),
        ("tile x {\n  dims A\n  buffer b: f32[B] input\n}", 3, "no dim is called `B`"),
        ("tile x { kernel k { axes i = 0 } plan { } }", 1, "an axis has an extent of 1"),
        ("tile x {\n kernel k {\n %1: i64 = const 0\n }\n plan { } }", 4, "numbered from %0 without gaps"),
        ("tile x {\n kernel k {\n %0: i64 = const 0\n %0: i64 = const 0 } plan { } }", 4, "defined a second time"),
        ("tile x {\n kernel k {\n %0: i64 = frobnicate %0 } plan { } }", 3, "expected an operation"),
        ("tile x {\n kernel k {\n %0: i64 = const 99999999999999999999 } plan { } }", 3, "out of range"),
        ("tile x { plan { launch nothing() dims () } }", 1, "no kernel is called `nothing`"),
        ("tile x { plan { } } tail", 1, "expected the end of the text"),
        ("tile \"x { plan { } }", 1, "no closing quote"),
        ("tile x { plan { \u{1} } }", 1, "starts nothing here"),
    ];
    for (text, line, message) in cases {
        let error = parse(text).expect_err(text);
        assert!(error.message.contains(message), "{text}: {error}");
        assert_eq!(error.line, line, "{text}: {error}");
    }
}

#[test]
fn nesting_is_bounded() {
    let plan = format!("tile x {{ dims n plan {{ {} }} }}", "loop n < n { ".repeat(100_000));
    assert!(parse(&plan).expect_err("too deep").message.contains("deep"));
    let size = format!("tile x {{ dims n buffer b: f32[{}n] input plan {{ }} }}", "div(".repeat(100_000));
    assert!(parse(&size).expect_err("too deep").message.contains("deep"));
}

/// Every prefix and every one-character change of a text parses or gives an error; some of what parses must still print.
#[test]
fn damaged_texts_never_panic() {
    let texts = [PLAN.to_owned(), print(&gemm().expect("builds"))];
    for text in &texts {
        for cut in text.char_indices().map(|(at, _)| at).step_by(3) {
            let _ = parse(&text[..cut]);
        }
        for (n, (at, _)) in text.char_indices().enumerate() {
            let other = ["}", "%9", "(", "-", "\"", "z", "0", ".."][n % 8];
            let damaged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            if let Ok(module) = parse(&damaged) {
                assert_eq!(parse(&print(&module)).as_ref(), Ok(&module), "{damaged}");
                let _ = sawmill_ir::tile::verify::verify(&module);
            }
        }
    }
}

/// The examples of `docs/ir.md` stand as they print, and verify; the first one computes row sums.
#[test]
fn the_examples_of_the_page_hold() {
    use sawmill_ir::dtype::DType;
    use sawmill_ir::tile::interp::{Array, Precision, run};
    let page = include_str!("../../../../../docs/ir.md");
    let fenced = page.split("```").skip(1).step_by(2);
    let examples: Vec<&str> = fenced.filter_map(|block| block.strip_prefix("tile\n")).collect();
    assert!(!examples.is_empty());
    for text in &examples {
        let module = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(print(&module), *text);
        sawmill_ir::tile::verify::verify(&module).unwrap_or_else(|e| panic!("{e}\n{text}"));
    }
    let rows: Vec<f64> = (0..45).map(f64::from).collect();
    let x = Array::floats(DType::F32, vec![5, 9], &rows).expect("fits");
    let bias = Array::floats(DType::F32, vec![5], &[0.5; 5]).expect("fits");
    let mut buffers = vec![vec![x], vec![bias], Vec::new()];
    run(&parse(examples[0]).expect("parsed before"), &[5, 9], &mut buffers, Precision::F64).expect("runs");
    assert_eq!(buffers[2][0].to_f64(), [36.5, 117.5, 198.5, 279.5, 360.5]);
}
