//! Elements of four bits, of which two share a byte: rows of any even extent, on every engine that takes tiles.
//!
//! In: a kernel as text, the extent of its row, sizes. Out: a failure where an engine stores other codes than the interpreter of tiles,
//! or where a store that would split a byte passes the verifier or the interpreter.

use crate::engines::{Dense, Dims, Elements, Engine, Tensors};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{Module, text, verify};

/// Copies rows of `x`, `extent` elements a block from multiples of `step` on.
fn rows(extent: u32, step: i64, subscript: &str) -> Result<Module, String> {
    let source = format!(
        "tile rows {{
  dims M, N
  buffer x: i32[M, N] input
  buffer y: u4[M, N] output
  kernel k {{
    dims M, N
    memory x: i32[M, N] in
    memory y: u4[M, N] out
    axes j = {extent}
    grid m = M, n = div({step} - 1 + N, {step})
    %0: i64 = grid m
    %1: i64 = grid n
    %2: i64 = const {step}
    %3: i64 = mul %1, %2
    %4: i32<j> = load x[%0, %3 + j] pad 0
    store y[{subscript}] = %4
  }}
  plan {{
    launch k(x, y) dims (M, N)
  }}
}}
"
    );
    let module = text::parse(&source).map_err(|error| error.to_string())?;
    verify::verify(&module).map_err(|error| error.to_string())?;
    Ok(module)
}

fn arguments(shape: [usize; 2]) -> (Dims, Tensors) {
    let data = (0..shape[0] * shape[1]).map(|at| (11 * at as i64 + 5) % 16).collect();
    let x = Dense { dtype: DType::I32, shape: shape.to_vec(), data: Elements::Ints(data) };
    let dims = ["M", "N"].into_iter().map(str::to_owned).zip(shape.map(|size| size as i64)).collect();
    (dims, [("x".to_owned(), x)].into_iter().collect())
}

#[test]
fn rows_of_any_even_extent_are_stored() {
    for extent in [2, 4, 6, 10, 40] {
        let module = rows(extent, extent.into(), "%0, %3 + j").unwrap_or_else(|error| panic!("{error}"));
        for shape in [[3, 5], [1, 1], [2, 44]] {
            let (dims, inputs) = arguments(shape);
            let Elements::Ints(wanted) = &inputs["x"].data else { panic!("x is of integers") };
            for engine in Engine::of_tiles() {
                let found = engine.run_tiles(&module, &dims, &inputs).unwrap_or_else(|error| panic!("{error}"));
                let Elements::Ints(found) = &found["y"].data else { panic!("y is of integers") };
                assert_eq!(found, wanted, "{engine:?}, rows of {extent}, {shape:?}");
            }
        }
    }
}

#[test]
fn what_would_split_a_byte_is_refused() {
    for (extent, subscript) in [(3, "%0, %3 + j"), (4, "%0, %3 + 2*j"), (4, "%0 + j, %3")] {
        let refused = rows(extent, extent.into(), subscript).map(|_| ()).expect_err("the store splits bytes");
        assert!(refused.contains("row of pairs"), "{refused}");
    }
    let odd = rows(4, 3, "%0, %3 + j").expect("where rows start is seen when they run");
    let (dims, inputs) = arguments([1, 7]);
    let refused = Engine::Tiles.run_tiles(&odd, &dims, &inputs).map(|_| ()).expect_err("a row starts at 3");
    assert!(refused.contains("odd position 3"), "{refused}");
}
