//! The examples of `docs/ir.md`: each parses, prints back as it stands, verifies, and computes what the page says.

use sawmill_ir::dtype::DType;
use sawmill_ir::graph::interp::{Inputs, Options, Value, run};
use sawmill_ir::graph::text::{parse, print};
use sawmill_ir::graph::verify::verify;
use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE: &str = include_str!("../../../../docs/ir.md");

/// The fenced blocks of the page: language and text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fences: Vec<&str> = PAGE.split("```").collect();
    let fenced = fences.iter().skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|word| word.parse().unwrap_or_else(|_| panic!("{word} is no number"))).collect()
}

/// `f32[2, 2]`: the type and the shape.
fn typed(text: &str) -> (DType, Vec<usize>) {
    let (dtype, shape) = text.trim().trim_end_matches(']').split_once('[').expect("a type with a shape");
    let shape = shape.split(',').filter(|s| !s.trim().is_empty()).map(|s| s.trim().parse().expect("a size"));
    (DType::from_text(dtype).expect("an element type"), shape.collect())
}

fn check(module: &str, example: &str) {
    let module = parse(module).expect("verified before");
    let (mut inputs, mut expected) = (Inputs::new(), Vec::new());
    for line in example.lines() {
        let (left, data) = line.split_once('=').expect("an argument or an output");
        let data = numbers(data);
        let Some((name, declared)) = left.split_once(':') else {
            expected.push((left.trim(), data));
            continue;
        };
        let (dtype, shape) = typed(declared);
        let ints: Vec<i64> = data.iter().map(|x| *x as i64).collect();
        let value = if dtype.is_int() { Value::ints(dtype, shape, &ints) } else { Value::floats(dtype, shape, &data) };
        inputs.insert(name.trim().to_owned(), Arc::new(value.expect("as many elements as the shape says")));
    }
    let outcome = run(&module.functions[0], &BTreeMap::new(), &inputs, Options::default()).expect("runs");
    assert!(!expected.is_empty(), "{example}");
    for (name, data) in expected {
        assert_eq!(outcome.output(name).expect(name).to_floats(), data, "{name}");
    }
}

#[test]
fn the_examples_of_the_page_hold() {
    let (mut modules, mut runs, mut last) = (0, 0, "");
    for (language, text) in blocks() {
        match language {
            "graph" => {
                let module = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
                assert_eq!(print(&module), text);
                verify(&module).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
                (modules, last) = (modules + 1, text);
            }
            "run" => {
                check(last, text);
                runs += 1;
            }
            _ => {}
        }
    }
    assert!(modules >= 6 && runs >= 5, "{modules} modules and {runs} runs were found");
}
