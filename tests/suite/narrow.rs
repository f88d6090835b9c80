//! Programs on 16-bit floats: machine code against the meaning of the same program on the same rounded inputs.
//!
//! In: the cases of the semantics suite and random programs, with arguments, caches and outputs of f32 stored as bf16 or f16 instead.
//! Out: a failure for each output that is further off than a few roundings: 2^-6 of its largest element for bf16, 2^-9 for f16. Which of
//! the two a program runs with alternates, so that the suite takes half the time.

use crate::differential::{arguments, parsed};
use crate::engines::{Dense, Dims, Elements, Engine, Tensors, run_tiles_of_gpu};
use crate::semantics::{dense, linked};
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::text::parse_function;
use sawmill_ir::graph::{Elem, Function, TensorKind, text, verify};
use sawmill_tests::programs::program;
use sawmill_tests::random::Random;
use sawmill_tests::semantics::cases;

/// The types, with the difference allowed, relative to the largest element of an output.
const TYPES: [(DType, f64); 2] = [(DType::BF16, 1.0 / 64.0), (DType::F16, 1.0 / 512.0)];

/// The function with every stored f32 stored as `dtype`; `None` if it stores none.
fn narrowed(function: &Function, dtype: DType) -> Option<Function> {
    let mut narrow = function.clone();
    let mut changed = false;
    for id in function.tensors.keys() {
        let tensor = &mut narrow.tensors[id];
        let is_stored = match &tensor.kind {
            TensorKind::Def { rounded, .. } => *rounded || function.outputs.contains(&id),
            TensorKind::Input(_) | TensorKind::Append { .. } => true,
            // What a carry is stored as is that of the equations that give it its values.
            TensorKind::Carry | TensorKind::Final => false,
        };
        if is_stored && tensor.elem == Elem::Type(DType::F32) {
            tensor.elem = Elem::Type(dtype);
            changed = true;
        }
    }
    let shown = || text::print_function(&narrow);
    verify::verify_linked(&narrow).unwrap_or_else(|errors| panic!("{}\n{}", errors[0], shown()));
    changed.then_some(narrow)
}

/// The value nearest to one that `dtype` holds.
fn rounded(dtype: DType, value: f64) -> f64 {
    match dtype {
        DType::BF16 => half::bf16::from_f64(value).to_f64(),
        _ => half::f16::from_f64(value).to_f64(),
    }
}

/// An argument as `dtype`, if it is f32.
fn narrow_argument(tensor: Dense, dtype: DType) -> Dense {
    match tensor {
        Dense { dtype: DType::F32, shape, data: Elements::Floats(data) } => {
            let data = data.into_iter().map(|value| rounded(dtype, value)).collect();
            Dense { dtype, shape, data: Elements::Floats(data) }
        }
        other => other,
    }
}

/// Where `found` is further from `wanted` than `tolerance` times the largest finite element. Infinities and NaN agree with
/// their own kind.
fn difference(wanted: &[f64], found: &[f64], tolerance: f64) -> Option<String> {
    let largest = wanted.iter().filter(|value| value.is_finite()).fold(0.0, |most: f64, value| most.max(value.abs()));
    let agrees = |(wanted, found): (&f64, &f64)| {
        wanted == found || (wanted.is_nan() && found.is_nan()) || (wanted - found).abs() <= tolerance * largest
    };
    let at = wanted.iter().zip(found).position(|pair| !agrees(pair))?;
    Some(format!("element {at} is {:?} instead of {:?}, the largest {largest:?}", found[at], wanted[at]))
}

/// What is wrong with an engine's outputs.
fn wrong(engine: Engine, function: &Function, dims: &Dims, inputs: &Tensors, tolerance: f64) -> Option<String> {
    let wanted = match Engine::Meaning.run(function, dims, inputs) {
        Ok(wanted) => wanted,
        Err(error) => return Some(format!("it has no meaning: {error}")),
    };
    let found = match engine.run(function, dims, inputs) {
        Ok(found) => found,
        // How often an engine may refuse is the business of the other suites.
        Err(reason) if reason.starts_with("unsupported:") => return None,
        Err(error) => return Some(error),
    };
    wanted.iter().find_map(|(name, wanted)| {
        let Some(found) = found.get(name) else { return Some(format!("there is no output `{name}`")) };
        if (wanted.dtype, &wanted.shape) != (found.dtype, &found.shape) {
            return Some(format!("`{name}` is {}{:?}", found.dtype, found.shape));
        }
        let what = match (&wanted.data, &found.data) {
            (Elements::Floats(wanted), Elements::Floats(found)) => difference(wanted, found, tolerance),
            (wanted, found) => (wanted != found).then(|| "integers differ".to_owned()),
        };
        what.map(|what| format!("`{name}`: {what}"))
    })
}

/// The semantics cases and the first random programs on one engine.
fn suite(engine: Engine, programs: u64) {
    let (mut ran, mut failures) = (0, Vec::new());
    let mut check = |name: String, at: usize, function: &Function, dims: &Dims, inputs: Tensors| {
        let (dtype, tolerance) = TYPES[at % TYPES.len()];
        let Some(narrow) = narrowed(function, dtype) else { return };
        let inputs = inputs.into_iter().map(|(name, tensor)| (name, narrow_argument(tensor, dtype))).collect();
        ran += 1;
        if let Some(what) = wrong(engine, &narrow, dims, &inputs, tolerance) {
            failures.push(format!("{name} in {dtype}: {what}\n    {dims:?}\n{}", text::print_function(&narrow)));
        }
    };
    for (at, case) in cases().iter().enumerate() {
        let function = linked(case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let inputs = case.inputs.iter().map(|(name, tensor)| (name.clone(), dense(tensor))).collect();
        check(case.name.clone(), at, &function, &case.dims, inputs);
    }
    for (at, seed) in (0..programs).enumerate() {
        let mut random = Random::new(seed);
        let program = program(&mut random);
        let inputs = arguments(&program, &mut random);
        check(format!("random program {seed}"), at, &parsed(&program), &program.dims, inputs);
    }
    assert!(ran > 130, "only {ran} programs store floats");
    assert!(failures.is_empty(), "{engine:?} fails on {} of {ran}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn cranelift() {
    suite(Engine::Cranelift, 60);
}

#[cfg(feature = "llvm")]
#[test]
fn llvm_at_every_level() {
    // Of the highest level all that the processor has: bf16 products are summed by an instruction of its own where there is one.
    let mut levels = crate::engines::levels();
    levels.pop();
    levels.into_iter().for_each(|level| suite(Engine::Llvm(level), 40));
    suite(Engine::LlvmHost, 40);
}

#[test]
fn ptx() {
    suite(Engine::Ptx, 20);
}

/// As [`ptx`], and what only products of matrices use: rings, copies past the registers, turns that are skipped. Small enough for
/// tools that watch every access.
#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn cuda() {
    suite(Engine::Cuda, 200);
    documents(Engine::Cuda);
}

#[test]
fn documents_skip_turns_of_a_ring() {
    documents(Engine::Ptx);
}

/// Rows among rows of the same document: a ring of two tensors whose turns only data decides.
fn documents(engine: Engine) {
    let text = "fn f<S, const D = 64>(q: f32[S, D], k: f32[S, D], v: f32[S, D], doc: i32[S]) -> (o, lse) {
        let z[i in S, j in S] = where(mul(0.125, sum[d in D](mul(q[i, d], k[j, d]))), and(le(#j, #i), eq(doc[i], doc[j])));
        let p[i in S, j in S] = softmax[j](z[i, j]);
        let o[i in S, c in D] = sum[j in S](mul(p[i, j], v[j, c]));
        let lse[i in S] = logsumexp[j in S](z[i, j]);
    }";
    let function = parse_function(text).unwrap_or_else(|error| panic!("{error}"));
    let lengths: [(i64, usize); 4] = [(3, 130), (4, 20), (5, 70), (9, 77)];
    let documents: Vec<i64> = lengths.iter().flat_map(|(name, length)| std::iter::repeat_n(*name, *length)).collect();
    let rows = documents.len();
    let dims = Dims::from_iter([("S".to_owned(), rows as i64)]);
    for (dtype, tolerance) in TYPES {
        let narrow = narrowed(&function, dtype).expect("it stores floats");
        let mut random = Random::new(7);
        let mut tensor = || {
            let data = (0..rows * 64).map(|_| random.unit() * 2.0 - 1.0).collect();
            narrow_argument(Dense { dtype: DType::F32, shape: vec![rows, 64], data: Elements::Floats(data) }, dtype)
        };
        let mut inputs: Tensors = ["q", "k", "v"].into_iter().map(|name| (name.to_owned(), tensor())).collect();
        let names = Elements::Ints(documents.clone());
        inputs.insert("doc".to_owned(), Dense { dtype: DType::I32, shape: vec![rows], data: names });
        assert_eq!(wrong(engine, &narrow, &dims, &inputs, tolerance), None, "{dtype}");
    }
}

/// One query for each of the heads that share a key head, with two outputs: what a tile computes past the end of its group is stored
/// by nobody, in one kernel and in chunks.
#[test]
fn heads_that_share_a_key_head() {
    let text = "fn f<T, S, A, H, G, const D = 16>(q: f32[T, A, D], k: f32[S, H, D], v: f32[S, H, D]) -> (o, lse)
        where A - H * G == 0
    {
        let z[i in T, h in A, j in S] = sum[d in D](mul(q[i, h, d], k[j, h / G, d]));
        let p[i in T, h in A, j in S] = softmax[j](z[i, h, j]);
        let o[i in T, h in A, c in D] = sum[j in S](mul(p[i, h, j], v[j, h / G, c]));
        let lse[i in T, h in A] = logsumexp[j in S](z[i, h, j]);
    }";
    let function = parse_function(text).unwrap_or_else(|error| panic!("{error}"));
    for (dtype, tolerance) in TYPES {
        let narrow = narrowed(&function, dtype).expect("it stores floats");
        for keys in [20, 4200] {
            let sizes = [("T", 1), ("S", keys), ("A", 6), ("H", 2), ("G", 3)];
            let dims: Dims = sizes.into_iter().map(|(name, size)| (name.to_owned(), size)).collect();
            let mut random = Random::new(keys.unsigned_abs());
            let mut tensor = |shape: [usize; 3]| {
                let data = (0..shape.iter().product::<usize>()).map(|_| random.unit() * 2.0 - 1.0).collect();
                narrow_argument(Dense { dtype: DType::F32, shape: shape.to_vec(), data: Elements::Floats(data) }, dtype)
            };
            let keys = usize::try_from(keys).expect("a size");
            let inputs = [("q", [1, 6, 16]), ("k", [keys, 2, 16]), ("v", [keys, 2, 16])];
            let inputs = inputs.map(|(name, shape)| (name.to_owned(), tensor(shape))).into_iter().collect();
            run_tiles_of_gpu(&narrow, &dims, &inputs).unwrap_or_else(|error| panic!("{dtype}, {keys} keys: {error}"));
            let what = wrong(Engine::Ptx, &narrow, &dims, &inputs, tolerance);
            assert_eq!(what, None, "{dtype}, {keys} keys");
        }
        // Both outputs have the same chunks, and one kernel merges them.
        let gpu = sawmill_ptx::backend::Ptx::new(sawmill_ptx::inst::Sm::Sm80);
        let tiles = sawmill_passes::compile(&narrow, &Default::default(), sawmill_ir::backend::Backend::target(&gpu));
        let tiles = tiles.unwrap_or_else(|error| panic!("{error}"));
        let of_parts = tiles.kernels.iter().map(|kernel| kernel.name.as_str()).filter(|name| name.contains("part"));
        let expected = ["o part 2+o part 0+o part 1", "o of parts+lse of parts"];
        assert_eq!(of_parts.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_difference_is_relative_to_the_largest_element() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    assert_eq!(difference(&[64.0, 0.0, inf, nan], &[63.0, 1.0, inf, nan], 1.0 / 64.0), None);
    assert!(difference(&[64.0, 0.0], &[64.0, 1.5], 1.0 / 64.0).is_some());
    assert!(difference(&[inf, 1.0], &[1e30, 1.0], 1.0 / 64.0).is_some());
    assert!(difference(&[1.0], &[nan], 1.0 / 64.0).is_some());
    assert!(difference(&[0.0], &[1e-30], 1.0 / 64.0).is_some());
}
