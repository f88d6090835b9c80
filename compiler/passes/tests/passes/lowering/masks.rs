//! Masks that only data decides: tiles in which nothing is admitted do no work, and what stands there does not matter.

use sawmill_ir::dtype::DType;
use sawmill_ir::graph::Function;
use sawmill_ir::graph::interp::{Inputs, Options, Value, run as run_graph};
use sawmill_ir::graph::text::parse_function;
use sawmill_ir::target::Target;
use sawmill_ir::tile;
use sawmill_ir::tile::interp::{Array, Precision, run as run_tiles};
use std::collections::BTreeMap;
use std::sync::Arc;

const ROWS: usize = 256;
const WIDTH: usize = 4;

/// Softmax sums of rows among rows of the same document, under `mask`.
fn documents(mask: &str) -> Function {
    let text = format!(
        "fn f<S, const D = {WIDTH}>(q: f32[S, D], k: f32[S, D], v: f32[S, D], doc: i32[S]) -> (o) {{
        let z[i in S, j in S] = where(sum[d in D](mul(q[i, d], k[j, d])), {mask});
        let p[i in S, j in S] = softmax[j](z[i, j]);
        let o[i in S, c in D] = sum[j in S](mul(p[i, j], v[j, c]));
    }}"
    );
    parse_function(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Documents of `length` rows each. A row of values is infinite if its document is `poisoned`.
struct Data {
    rows: Vec<(&'static str, Vec<f64>)>,
    documents: Vec<i64>,
}

impl Data {
    fn new(length: usize, poisoned: Option<i64>) -> Self {
        let wave = |seed: f64| (0..ROWS * WIDTH).map(|n| (n as f64 * seed).sin()).collect::<Vec<f64>>();
        let documents: Vec<i64> = (0..ROWS).map(|row| (row / length) as i64).collect();
        let mut values = wave(0.37);
        for (n, value) in values.iter_mut().enumerate() {
            if Some(documents[n / WIDTH]) == poisoned {
                *value = if n % 3 == 0 { f64::NAN } else { f64::INFINITY };
            }
        }
        Self { rows: vec![("q", wave(0.71)), ("k", wave(1.93)), ("v", values)], documents }
    }

    /// The meaning, what the tiles give, and how many products were added up.
    fn run(&self, function: &Function) -> (Vec<f64>, Vec<f64>, u64) {
        let module = sawmill_passes::compile(function, &Default::default(), &Target::cpu128(2, true));
        let module = module.unwrap_or_else(|e| panic!("{e:?}\n{function}"));
        let mut inputs = Inputs::new();
        let mut arrays: BTreeMap<&str, Array> = BTreeMap::new();
        for (name, data) in &self.rows {
            let value = Value::floats(DType::F32, vec![ROWS, WIDTH], data).expect("the shape fits");
            inputs.insert((*name).to_owned(), Arc::new(value));
            arrays.insert(name, Array::floats(DType::F32, vec![ROWS, WIDTH], data).expect("the shape fits"));
        }
        let value = Value::ints(DType::I32, vec![ROWS], &self.documents).expect("the shape fits");
        inputs.insert("doc".to_owned(), Arc::new(value));
        arrays.insert("doc", Array::ints(DType::I32, vec![ROWS], &self.documents).expect("the shape fits"));
        let sizes = BTreeMap::from([("S".to_owned(), ROWS as i64), ("D".to_owned(), WIDTH as i64)]);
        let meaning = run_graph(function, &sizes, &inputs, Options::default()).unwrap_or_else(|e| panic!("{e}"));
        let dims: Vec<i64> = module.dims.values().map(|name| sizes.get(name).copied().unwrap_or(0)).collect();
        let given = |b: &tile::Buffer| arrays.get(b.name.as_str()).cloned().into_iter().collect::<Vec<Array>>();
        let mut buffers: Vec<Vec<Array>> = module.buffers.values().map(given).collect();
        let work = run_tiles(&module, &dims, &mut buffers, Precision::F64)
            .unwrap_or_else(|e| panic!("{e}\n{}", tile::text::print(&module)));
        let at = module.buffers.values().position(|b| b.name == "o").expect("the output has a buffer");
        let wanted = meaning.output("o").expect("the output is there").to_floats();
        (wanted, buffers[at][0].to_f64(), work.multiply_adds)
    }
}

/// Runs both forms and compares them; the number of products.
fn agrees(function: &Function, data: &Data) -> u64 {
    let (wanted, found, products) = data.run(function);
    for (at, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
        let same = (wanted.is_nan() && found.is_nan()) || wanted == found;
        assert!(same || (wanted - found).abs() < 1e-5, "element {at} is {found}, not {wanted}\n{function}");
    }
    products
}

#[test]
fn tiles_without_an_element_are_skipped() {
    for mask in ["eq(doc[i], doc[j])", "and(le(#j, #i), eq(doc[i], doc[j]))"] {
        let function = documents(mask);
        let one = agrees(&function, &Data::new(ROWS, None));
        let four = agrees(&function, &Data::new(ROWS / 4, None));
        assert!(one > 0, "nothing was added up\n{function}");
        assert!(four * 2 < one, "{four} of {one} products although three tiles of four admit nothing\n{function}");
    }
}

#[test]
fn values_that_no_mask_admits_do_not_matter() {
    for length in [ROWS / 4, 24, 1] {
        let data = Data::new(length, Some(1));
        let (wanted, found, _) = data.run(&documents("and(le(#j, #i), eq(doc[i], doc[j]))"));
        for (row, document) in data.documents.iter().enumerate() {
            for at in row * WIDTH..(row + 1) * WIDTH {
                let clean = found[at].is_finite() && (found[at] - wanted[at]).abs() < 1e-5;
                assert!(*document == 1 || clean, "row {row} of document {document}: {} for {}", found[at], wanted[at]);
            }
        }
    }
}
