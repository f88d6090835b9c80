//! Random programs: every engine against the meaning of the program, and every compilation against itself.
//!
//! In: programs of `sawmill_tests::programs`. Out: a failure that shows the program, its sizes and the seed.
//! `SAWMILL_RANDOM_PROGRAMS=5000` sets how many are tried, `SAWMILL_RANDOM_SEED=9` tries one.

use crate::engines::{Dense, Dims, Elements, Engine, Tensors, tiles, tiles_for};
use crate::semantics::linked;
use sawmill_ir::backend::Backend as _;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::text::parse_function;
use sawmill_ir::graph::{Function, verify};
use sawmill_ir::tile;
use sawmill_ptx::backend::Ptx;
use sawmill_ptx::inst::Sm;
use sawmill_tests::programs::{Program, program};
use sawmill_tests::random::Random;
use sawmill_tests::semantics::{cases, float_difference};

const PROGRAMS: u64 = 120;

/// The seeds to try: one that is given, or as many as asked for.
fn seeds() -> Vec<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    match number("SAWMILL_RANDOM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SAWMILL_RANDOM_PROGRAMS").unwrap_or(PROGRAMS)).collect(),
    }
}

pub(crate) fn parsed(program: &Program) -> Function {
    let function = parse_function(&program.text).unwrap_or_else(|error| panic!("{error}\n{}", program.text));
    if let Err(errors) = verify::verify_linked(&function) {
        panic!("the generator made a function that does not verify: {}\n{}", errors[0], program.text);
    }
    function
}

pub(crate) fn arguments(program: &Program, random: &mut Random) -> Tensors {
    let tensor = |shape: &Vec<usize>, random: &mut Random| {
        let data = (0..shape.iter().product::<usize>()).map(|_| random.unit() * 2.0).collect();
        Dense { dtype: DType::F32, shape: shape.clone(), data: Elements::Floats(data) }
    };
    program.inputs.iter().map(|(name, shape)| (name.clone(), tensor(shape, random))).collect()
}

/// What one engine makes of one program.
enum Outcome {
    Agrees,
    Refused(String),
    Fails(String),
}

fn outcome(engine: Engine, program: &Program, random: &mut Random, tolerance: f64) -> Outcome {
    let function = parsed(program);
    let inputs = arguments(program, random);
    let dims: &Dims = &program.dims;
    let expected = match Engine::Meaning.run(&function, dims, &inputs) {
        Ok(expected) => expected,
        Err(error) => return Outcome::Fails(format!("it has no meaning: {error}")),
    };
    let found = match engine.run(&function, dims, &inputs) {
        Ok(found) => found,
        Err(reason) if reason.starts_with("unsupported:") => return Outcome::Refused(reason),
        Err(error) => return Outcome::Fails(error),
    };
    if !found.keys().eq(expected.keys()) {
        return Outcome::Fails(format!("gives {:?}", found.keys()));
    }
    for (name, wanted) in &expected {
        let (Elements::Floats(wanted), Elements::Floats(got)) = (&wanted.data, &found[name].data) else {
            return Outcome::Fails(format!("`{name}` is no float tensor"));
        };
        if let Some(what) = float_difference(wanted, got, tolerance) {
            return Outcome::Fails(format!("`{name}`: {what}"));
        }
    }
    Outcome::Agrees
}

/// Compares one engine with the meaning, on programs that do not depend on the engine; shows the shortest that fails.
fn compare(engine: Engine, tolerance: f64, at_most: usize) {
    let (mut refused, mut failures, mut seeds) = (Vec::new(), Vec::new(), seeds());
    seeds.truncate(at_most);
    let count = seeds.len();
    for seed in seeds {
        let mut random = Random::new(seed);
        let program = program(&mut random);
        match outcome(engine, &program, &mut random, tolerance) {
            Outcome::Agrees => {}
            Outcome::Refused(reason) => refused.push((seed, reason)),
            Outcome::Fails(what) => failures.push((program, seed, what)),
        }
    }
    let failed: Vec<u64> = failures.iter().map(|failure| failure.1).collect();
    if let Some((program, seed, what)) = failures.iter().min_by_key(|(program, _, _)| program.text.len()) {
        let Program { text, dims, .. } = program;
        panic!(
            "{engine:?} fails on {} of {count} programs, {failed:?}; the shortest, seed {seed}, {dims:?}:\n{text}\n{what}",
            failures.len()
        );
    }
    assert!(refused.is_empty(), "{engine:?} refuses {} of {count} programs: {refused:#?}", refused.len());
}

/// A fold over a long axis for few rows is computed in chunks on a machine of many cores: the plan has a kernel for these and one
/// that merges them, and both compute what the fold means.
#[test]
fn long_folds_in_chunks_keep_the_meaning() {
    let programs = [
        "fn f<N>(x: f32[N], y: f32[N]) -> (s, m) { let s[] = sum[i in N](mul(x[i], y[i])); let m[] = max[i in N](sub(x[i], y[i])); }",
        "fn f<N, const D = 8>(x: f32[N], y: f32[N, 8]) -> (o) {
            let p[i in N] = softmax[i](where(mul(8.0, x[i]), lt(#i, #(N - 2))));
            let o[d in 8] = sum[i in N](mul(p[i], y[i, d]));
        }",
    ];
    let gpu = Ptx::new(Sm::Sm80);
    for (seed, text) in (0_u64..).zip(programs) {
        let function = parse_function(text).unwrap_or_else(|error| panic!("{error}"));
        let mut inputs = Tensors::new();
        let mut random = Random::new(seed);
        for (name, shape) in [("x", vec![4500]), ("y", if seed == 0 { vec![4500] } else { vec![4500, 8] })] {
            let data = (0..shape.iter().product::<usize>()).map(|_| random.unit() * 2.0 - 1.0).collect();
            inputs.insert(name.to_owned(), Dense { dtype: DType::F32, shape, data: Elements::Floats(data) });
        }
        let dims: Dims = [("N".to_owned(), 4500)].into_iter().collect();
        let tiles = sawmill_passes::compile(&function, &Default::default(), gpu.target());
        let tiles = tiles.unwrap_or_else(|error| panic!("{error}"));
        assert!(tiles.kernels.iter().any(|kernel| kernel.name.contains("of parts")), "{}", tile::text::print(&tiles));
        let expected = Engine::Meaning.run(&function, &dims, &inputs).unwrap_or_else(|error| panic!("{error}"));
        let found = Engine::Ptx.run(&function, &dims, &inputs).unwrap_or_else(|error| panic!("{error}"));
        for (name, wanted) in &expected {
            let (Elements::Floats(wanted), Elements::Floats(got)) = (&wanted.data, &found[name].data) else {
                panic!("`{name}` is no float tensor");
            };
            assert_eq!(float_difference(wanted, got, 1e-4), None, "`{name}` of {text}");
        }
    }
}

#[test]
fn normal_form_keeps_the_meaning() {
    compare(Engine::Normal, 1e-5, usize::MAX);
}

#[test]
fn plan_keeps_the_meaning() {
    compare(Engine::Plan, 1e-5, usize::MAX);
}

#[test]
fn tiles_keep_the_meaning() {
    // The tile interpreter takes seconds for what the others do in milliseconds.
    compare(Engine::Tiles, 1e-5, 40);
}

#[test]
fn cranelift_keeps_the_meaning() {
    compare(Engine::Cranelift, 1e-4, usize::MAX);
}

#[cfg(feature = "llvm")]
#[test]
fn llvm_keeps_the_meaning_at_every_level() {
    for level in crate::engines::levels() {
        compare(Engine::Llvm(level), 1e-4, usize::MAX);
    }
}

/// The text of what a function compiles to; a refusal's text counts as well.
fn compiled(function: &Function) -> String {
    tiles(function).map_or_else(|refusal| refusal, |module| tile::text::print(&module))
}

#[test]
fn two_compilations_give_the_same_text() {
    let mut functions: Vec<Function> = cases().iter().map(|case| linked(case).expect("the case links")).collect();
    functions.extend((0..20).map(|seed| parsed(&program(&mut Random::new(seed)))));
    let first: Vec<String> = functions.iter().map(compiled).collect();
    // Another thread has other hash seeds, if anything hashes with std's.
    let second: Vec<String> = std::thread::scope(|scope| {
        scope.spawn(|| functions.iter().map(compiled).collect()).join().expect("compiling does not panic")
    });
    for (one, other) in first.iter().zip(&second) {
        assert_eq!(one, other);
    }
}

#[test]
fn ptx_keeps_the_meaning() {
    // Each thread of each kernel is interpreted, with the clocks that show races.
    compare(Engine::Ptx, 1e-4, 60);
}

/// Interpreting takes longer than compiling, so that more programs are compiled.
#[test]
fn ptx_refuses_no_program() {
    let mut refused = Vec::new();
    let seeds = seeds();
    for sm in [Sm::Sm80, Sm::Sm90] {
        let gpu = Ptx::new(sm);
        for seed in &seeds {
            let tiles = tiles_for(&parsed(&program(&mut Random::new(*seed))), gpu.target());
            let kernels = tiles.and_then(|tiles| gpu.kernels(&tiles).map_err(|error| error.to_string()));
            refused.extend(kernels.err().map(|reason| (sm, *seed, reason)));
        }
    }
    assert!(refused.is_empty(), "{} refusals for {} programs: {refused:#?}", refused.len(), seeds.len());
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn cuda_keeps_the_meaning() {
    compare(Engine::Cuda, 1e-4, usize::MAX);
}
