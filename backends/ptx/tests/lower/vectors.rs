//! Vectors: rows that lie as they must, rows that do not, and what the approximations of f32 are worth.
//!
//! In: copies of matrices whose views start anywhere and have any strides. Out: a failure where an element is not where it should
//! be, where the interpreter sees an access that is misaligned, or where no vector was used although all could be.

use crate::programs::rowwise;
use crate::{agree, renumbered};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::text;
use sawmill_ptx::backend::Ptx;
use sawmill_ptx::inst::{Op, Sm, Word};
use sawmill_ptx::launch::{self, Interpreted, View};

/// How a matrix lies: bytes before it, elements between rows, elements between neighbours.
type Lie = (usize, usize, usize);

/// Runs a program of one matrix each in and out; gives the output's elements as bytes, and whether a vector was among the kernel's
/// instructions.
fn run(program: &str, dtype: DType, size: (usize, usize), lies: [Lie; 2], input: &[u8]) -> (Vec<u8>, bool) {
    let module = text::parse(&renumbered(program)).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let kernels = Ptx::new(Sm::Sm80).kernels(&module).unwrap_or_else(|e| panic!("{e}"));
    let is_vector = |inst: &sawmill_ptx::inst::Inst| {
        matches!(inst.op, Op::Ld | Op::St) && inst.words.iter().any(|w| matches!(w, Word::V2 | Word::V4))
    };
    let vectors =
        kernels.iter().any(|k| k.module.entries[0].blocks.values().any(|block| block.insts.iter().any(is_vector)));
    let mut device = Interpreted::new(kernels);
    let bytes = dtype.bits() as usize / 8;
    let (rows, columns) = size;
    let place = |(before, row, next): Lie, at: usize| before + (at / columns * row + at % columns * next) * bytes;
    let mut views = Vec::new();
    for (n, lie) in lies.into_iter().enumerate() {
        let length = place(lie, rows * columns - 1) + bytes;
        let mut memory = vec![0x5a; length];
        if n == 0 {
            for (at, element) in input.chunks(bytes).enumerate() {
                memory[place(lie, at)..][..bytes].copy_from_slice(element);
            }
        }
        let start = if n == 0 { device.memory.alloc_read_only(memory) } else { device.memory.alloc(memory) };
        let stride = |elements: usize| i64::try_from(elements * bytes).expect("short");
        views.push(vec![View {
            address: start + lie.0 as u64,
            shape: vec![rows as i64, columns as i64],
            strides: vec![stride(lie.1), stride(lie.2)],
        }]);
    }
    let start = views[1][0].address - lies[1].0 as u64;
    launch::run(&module, &[rows as i64, columns as i64], &mut views, &mut device).unwrap_or_else(|e| panic!("{e}"));
    let memory = device.memory.bytes(start).expect("a buffer");
    ((0..rows * columns).flat_map(|at| memory[place(lies[1], at)..][..bytes].to_vec()).collect(), vectors)
}

#[test]
fn rows_that_lie_anyhow_are_copied() {
    let (rows, columns) = (5, 264);
    for (name, dtype) in [("f32", DType::F32), ("bf16", DType::BF16), ("i16", DType::I16), ("u8", DType::U8)] {
        let bytes = dtype.bits() as usize / 8;
        let round = |n: usize| n.next_multiple_of(16);
        let input: Vec<u8> = (0..rows * columns * bytes).map(|at| (at * 7 % 60) as u8).collect();
        let text = rowwise((2, 1024), (name, name), "i, j", "    %10: RESULT = rename %3 {}");
        let dense = (0, columns, 1);
        let others = [
            dense,
            (bytes, columns, 1),
            (0, columns + 1, 1),
            (16, round(columns), 1),
            (0, 2 * columns, 2),
            (0, columns, 1),
        ];
        for lie in others {
            for lies in [[dense, lie], [lie, dense]] {
                let (output, vectors) = run(&text, dtype, (rows, columns), lies, &input);
                assert!(vectors, "no vectors of {name}");
                assert!(output == input, "{name} from {:?} to {:?}", lies[0], lies[1]);
            }
        }
    }
}

#[test]
fn rows_of_any_length_are_copied() {
    for columns in [1, 3, 8, 100, 1024, 1030, 2049] {
        let input: Vec<u8> = (0..2 * columns * 2).map(|at| (at * 5 % 60) as u8).collect();
        let text = rowwise((1, 1024), ("bf16", "bf16"), "i, j", "    %10: RESULT = rename %3 {}");
        let (output, _) = run(&text, DType::BF16, (2, columns), [(0, columns, 1), (0, columns, 1)], &input);
        assert!(output == input, "{columns} columns");
    }
}

/// The function in f64, on f32 from the whole range where results are neither subnormal nor infinite, and the largest relative error.
fn worst(op: &str, exact: impl Fn(f64) -> f64, numbers: &[f32]) -> f64 {
    worst_of(&format!("    %10: RESULT = {op} %3"), exact, numbers)
}

/// The same of a body.
fn worst_of(body: &str, exact: impl Fn(f64) -> f64, numbers: &[f32]) -> f64 {
    let text = rowwise((1, 1024), ("f32", "f32"), "i, j", body);
    let input: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let lie = (0, numbers.len(), 1);
    let (output, _) = run(&text, DType::F32, (1, numbers.len()), [lie, lie], &input);
    let mut worst: f64 = 0.0;
    for (x, y) in numbers.iter().zip(output.chunks(4)) {
        let found = f64::from(f32::from_le_bytes(y.try_into().expect("4 bytes")));
        let wanted = exact(f64::from(*x));
        let same = found == wanted || found.is_nan() && wanted.is_nan();
        let small = wanted.abs() < f64::from(f32::MIN_POSITIVE) && found == 0.0;
        if !same && !small {
            worst = worst.max(((found - wanted) / wanted).abs());
        }
    }
    worst
}

/// What is needed only behind a reduction is not loaded before what is reduced.
#[test]
fn weights_of_rows_wait_for_the_sum() {
    let program = "tile t {
  dims M
  buffer x: f32[M, 1024] input
  buffer w: f32[1024] input
  buffer y: f32[M, 1024] output
  kernel k {
    dims M
    memory x: f32[M, 1024] in
    memory w: f32[1024] in
    memory y: f32[M, 1024] out
    axes j = 1024
    grid m = M
    %0: i64 = grid m
    %1: i64 = const 0
    %2: f32<j> = load w[%1 + j] pad 0.0
    %3: f32<j> = load x[%0, %1 + j] pad 0.0
    %4: f32<j> = mul %3, %3
    %5: f32 = reduce sum %4 over j
    %6: f32<j> = mul %2, %5, %3
    store y[%0, %1 + j] = %6
  }
  plan {
    launch k(x, w, y) dims (M)
  }
}
";
    agree(program, &[3], 1e-5);
    let module = text::parse(program).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let kernels = Ptx::new(Sm::Sm90).kernels(&module).unwrap_or_else(|e| panic!("{e}"));
    let insts: Vec<_> = kernels[0].module.entries[0].blocks.values().flat_map(|block| &block.insts).collect();
    let barrier = insts.iter().position(|inst| inst.op == Op::Bar).expect("the sum goes over warps");
    let vectors = |of: &[&sawmill_ptx::inst::Inst]| {
        of.iter().filter(|inst| inst.op == Op::Ld && inst.words.contains(&Word::V4)).count()
    };
    assert_eq!((vectors(&insts[..barrier]), vectors(&insts[barrier..])), (2, 2));
}

#[test]
fn approximations_keep_their_bounds() {
    let mut numbers: Vec<f32> = (-2000..2000).map(|n| n as f32 * 0.044_357).collect();
    numbers.extend((-60..60).map(|n| 1.1_f32.powi(n * 3)).flat_map(|x| [x, -x]).filter(|x| x.abs() < 88.0));
    let ends = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN, 0.0, -0.0, 88.72, -87.3, -104.0, -1e30, 3e38];
    numbers.extend(ends);
    let bound = |power: i32| 2_f64.powi(power);
    let big = |x: f64| if x > f64::from(f32::MAX) { f64::INFINITY } else { x };
    assert!(worst("exp", |x| big(x.exp()), &numbers) < bound(-21));
    // Doubled exactly, then rounded again: within 2^-22 + 2^-23 |x|.
    let doubled = "    %4: RESULT = add %3, %3\n    %10: RESULT = exp %4";
    for most in [1.0, 8.0, 40.0] {
        let near: Vec<f32> = numbers.iter().copied().filter(|x| x.abs() <= most / 2.0).collect();
        assert!(worst_of(doubled, |x| (2.0 * x).exp(), &near) < bound(-22) + bound(-23) * f64::from(most));
    }
    assert!(worst_of(doubled, |x| big((2.0 * x).exp()), &ends) < bound(-16));
    let finite: Vec<f32> = numbers.iter().copied().filter(|x| x.abs() < 120.0).collect();
    assert!(worst("exp2", |x| big(x.exp2()), &finite) < bound(-22));
    assert!(worst("sigmoid", |x| 1.0 / (1.0 + (-x).exp()), &numbers) < bound(-21));
    assert!(worst("tanh", f64::tanh, &numbers) < bound(-20));
    let positive: Vec<f32> = numbers.iter().copied().filter(|x| *x > 0.0).collect();
    assert!(worst("rsqrt", |x| 1.0 / x.sqrt(), &positive) < bound(-22));
}
