//! Every operation of tile IR as PTX, against the interpreter of tiles.
//!
//! In: modules as text, sizes. Out: a failure where the interpreted PTX differs from the interpreted tiles, races, or touches what
//! it should not. Inputs are small numbers of both signs made from their position.

mod matrix;
mod operations;
mod programs;
mod skips;
mod vectors;

use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::tile::interp::{Array, Precision, run};
use sawmill_ir::tile::{BufferKind, Module, text, verify};
use sawmill_ptx::backend::Ptx;
use sawmill_ptx::inst::Sm;
use sawmill_ptx::launch::{self, Interpreted, View};
use std::collections::BTreeSet;

/// Element `at` of an input.
fn number(at: usize, dtype: DType) -> f64 {
    let mixed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    match dtype.kind() {
        Kind::Float => (mixed % 257) as f64 / 32.0 - 4.0,
        Kind::Unsigned => (mixed % 13) as f64,
        Kind::Bool => (mixed % 2) as f64,
        _ => (mixed % 23) as f64 - 11.0,
    }
}

/// An input; those of different `salt` have other elements.
fn array(dtype: DType, shape: &[usize], salt: usize) -> Array {
    let count = shape.iter().product();
    let numbers: Vec<f64> = (0..count).map(|at| number(at + 7919 * salt, dtype)).collect();
    let array = match dtype.kind() {
        Kind::Float => Array::floats(dtype, shape.to_vec(), &numbers),
        Kind::Bool => Array::bools(shape.to_vec(), &numbers.iter().map(|x| *x != 0.0).collect::<Vec<_>>()),
        _ => Array::ints(dtype, shape.to_vec(), &numbers.iter().map(|x| *x as i64).collect::<Vec<_>>()),
    };
    array.expect("the shape has this many elements")
}

/// The elements as memory holds them.
fn bytes(array: &Array) -> Vec<u8> {
    let bytes = |x: &f64| match array.dtype {
        DType::F64 => x.to_le_bytes().to_vec(),
        DType::F32 => (*x as f32).to_le_bytes().to_vec(),
        DType::F16 => half::f16::from_f64(*x).to_le_bytes().to_vec(),
        DType::BF16 => half::bf16::from_f64(*x).to_le_bytes().to_vec(),
        other => (*x as i64).to_le_bytes()[..other.bits() as usize / 8].to_vec(),
    };
    array.to_f64().iter().flat_map(bytes).collect()
}

/// The elements in memory as numbers.
fn numbers(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    let one = |b: &[u8]| match dtype {
        DType::F64 => f64::from_le_bytes(b.try_into().expect("8 bytes")),
        DType::F32 => f32::from_le_bytes(b.try_into().expect("4 bytes")).into(),
        DType::F16 => half::f16::from_le_bytes(b.try_into().expect("2 bytes")).to_f64(),
        DType::BF16 => half::bf16::from_le_bytes(b.try_into().expect("2 bytes")).to_f64(),
        _ => {
            let negative = dtype.kind() == Kind::Signed && b[b.len() - 1] & 0x80 != 0;
            let mut word = [if negative { 0xff } else { 0 }; 8];
            word[..b.len()].copy_from_slice(b);
            i64::from_le_bytes(word) as f64
        }
    };
    bytes.chunks(dtype.bits() as usize / 8).map(one).collect()
}

fn size(size: &sawmill_ir::index::Index, dims: &[i64]) -> usize {
    let value = size.eval(&mut |atom, _| match atom {
        sawmill_ir::index::Atom::Dim(dim) => dims.get(sawmill_ir::entity::Entity::index(*dim)).copied(),
        _ => None,
    });
    usize::try_from(value.expect("a size")).expect("no negative size")
}

/// The outputs by both interpreters: name, expected, found.
fn both(module: &Module, dims: &[i64]) -> Vec<(String, Vec<f64>, Vec<f64>)> {
    let shape = |b: &sawmill_ir::tile::Buffer| b.shape.iter().map(|s| size(s, dims)).collect::<Vec<_>>();
    let mut expected: Vec<Vec<Array>> = module
        .buffers
        .values()
        .enumerate()
        .map(|(salt, b)| match b.kind {
            BufferKind::Output | BufferKind::Temp => Vec::new(),
            _ => vec![array(b.dtype, &shape(b), salt)],
        })
        .collect();
    let given = expected.clone();
    run(module, dims, &mut expected, Precision::F64).unwrap_or_else(|e| panic!("the tiles: {e}"));
    let kernels = Ptx::new(Sm::Sm80).kernels(module).unwrap_or_else(|e| panic!("{}: {e}", module.name));
    let mut device = Interpreted::new(kernels);
    let mut views = Vec::new();
    for (buffer, arrays) in module.buffers.values().zip(&given) {
        let shape = shape(buffer);
        let count: usize = shape.iter().product::<usize>() * buffer.dtype.bits() as usize / 8;
        let sizes: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
        let address = match arrays.first() {
            Some(array) if matches!(buffer.kind, BufferKind::Input { .. }) => {
                device.memory.alloc_read_only(bytes(array))
            }
            Some(array) => device.memory.alloc(bytes(array)),
            None => device.memory.alloc(vec![0x5a; count]),
        };
        let strides = launch::dense(buffer.dtype, &sizes);
        views.push(match buffer.kind {
            BufferKind::Temp => Vec::new(),
            _ => vec![View { address, shape: sizes, strides }],
        });
    }
    launch::run(module, dims, &mut views, &mut device).unwrap_or_else(|e| panic!("{e}\n{}", text::print(module)));
    let mut outputs = Vec::new();
    for ((buffer, arrays), views) in module.buffers.values().zip(&expected).zip(&views) {
        let ([array], [view]) = (arrays.as_slice(), views.as_slice()) else { continue };
        let found = device.memory.bytes(view.address).expect("a buffer");
        let wanted = array.to_f64();
        let found = numbers(buffer.dtype, &found[..wanted.len() * buffer.dtype.bits() as usize / 8]);
        outputs.push((buffer.name.clone(), wanted, found));
    }
    outputs
}

/// The same text with values numbered without gaps, so that programs can be put together from parts.
fn renumbered(program: &str) -> String {
    let numbers = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let used: BTreeSet<usize> = program.split('%').skip(1).filter_map(|rest| numbers(rest).parse().ok()).collect();
    let place = |number: usize| used.iter().position(|n| *n == number).unwrap_or(number);
    let mut parts = program.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        let digits = numbers(rest);
        let number = digits.parse().map(place).unwrap_or_default();
        text.push_str(&format!("%{number}{}", &rest[digits.len()..]));
    }
    text
}

/// The PTX of a program's kernels.
fn ptx(program: &str) -> String {
    let module = text::parse(&renumbered(program)).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let kernels = Ptx::new(Sm::Sm80).kernels(&module).unwrap_or_else(|e| panic!("{e}\n{program}"));
    kernels.iter().map(|kernel| kernel.module.to_string()).collect()
}

/// Runs a program on both interpreters and compares.
fn agree(program: &str, dims: &[i64], tolerance: f64) {
    let program = &renumbered(program);
    let module = text::parse(program).unwrap_or_else(|e| panic!("{e}\n{program}"));
    verify::verify(&module).unwrap_or_else(|e| panic!("{e}\n{program}"));
    for (name, wanted, found) in both(&module, dims) {
        assert_eq!(wanted.len(), found.len(), "{name}");
        for (at, (w, f)) in wanted.iter().zip(&found).enumerate() {
            let near = (w - f).abs() <= tolerance * w.abs().max(1.0) || w == f || w.is_nan() && f.is_nan();
            assert!(near, "`{}` {dims:?}: element {at} of `{name}` is {f} instead of {w}\n{program}", module.name);
        }
    }
}
