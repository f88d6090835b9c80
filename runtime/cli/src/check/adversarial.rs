//! `sawmill check NAME`: one function on two engines, on inputs that are made to break it.
//!
//! In: a function of the zoo. Out: whether the engine agrees with the interpreter, which computes in f64, on odd sizes and on
//! random, large, tiny, equal and zero values.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sawmill::{
    Device, Function, RuntimeElem,
    ir::{
        dtype::{DType, Kind},
        entity::Entity,
        graph::{Elem, Function as Graph, Input, Param, Tensor, TensorKind},
    },
};

use sawmill_zoo::rows;

use super::{
    array::{Array, Numbers},
    binding::{Bound, floats},
    compare::compare,
    sizes::{choose, consts, evaluate, specialisation},
    work::work,
    zoo,
};
use crate::{engine::failure, error::Failure};

/// Sizes that divide nothing: 1, odd numbers, and one past a vector.
const SIZES: [i64; 8] = [1, 2, 3, 4, 5, 7, 17, 33];
/// How often sizes are proposed until a function's requirements hold.
const ATTEMPTS: usize = 20_000;
/// How often sizes are proposed from one pool until the work is within its bound.
const PROPOSALS: usize = 3;
/// Evaluations of terms that a call may cost the interpreter: well under a second.
const WORK: f64 = 2e6;
/// Rounds of a check: each has const dims of its own, and every kind of values.
pub const ROUNDS: u64 = 3;
/// Difference allowed, relative to the largest expected value: an f32 sum of a few hundred terms.
const RELATIVE: f64 = 1e-4;
/// The same where arguments or outputs are bf16, and where they are f16.
const BF16: f64 = 1.0 / 64.0;
const F16: f64 = 1.0 / 512.0;

/// Sums that come near the range of f32 leave it in one order and not in another: a recurrence may grow as a power of its length.
const BEYOND: f64 = 1e30;

/// What the float inputs of a round are.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Normal, of deviation 1.
    Normal,
    /// Normal, of deviation 4: scores that make a softmax one-hot, and exponentials that f32 still tells from 0.
    Large,
    /// Normal, of deviation 1e-4.
    Tiny,
    /// All the same.
    Equal,
    /// Zeros.
    Zero,
}

/// The kinds, in the order of the rounds.
pub const KINDS: [Values; 5] = [Values::Normal, Values::Large, Values::Tiny, Values::Equal, Values::Zero];

/// Every function of the zoo, by path.
pub fn functions() -> Vec<&'static Function> {
    let systems = rows::ROWS.iter().map(|row| row.function);
    let mut known: Vec<&'static Function> = systems.chain(rows::PARTS.iter().copied()).collect();
    known.sort_by_key(|function| zoo::full_name(function));
    known.dedup_by_key(|function| zoo::full_name(function));
    known
}

/// The function of the zoo that is called `name`: the name, or the end of the path, such as `attention::causal`.
///
/// # Errors
/// A user error that names every function.
pub fn find(name: &str) -> Result<&'static Function, Failure> {
    let matches = |function: &&'static Function| {
        let full = zoo::full_name(function);
        full == name || full.ends_with(&format!("::{name}"))
    };
    let known = functions();
    known.iter().copied().find(matches).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|function| function.name).collect();
        Failure::user(format!("the zoo has no function `{name}`")).help(format!("it has {}", names.join(", ")))
    })
}

/// Whether the caller chooses the type of some floats.
///
/// # Errors
/// A defect if the program does not hold the function.
pub fn is_generic(function: &'static Function) -> Result<bool, Failure> {
    let graph = function.graph().map_err(failure)?;
    Ok(graph.type_params.iter().any(|param| !param.int))
}

/// Runs `rounds` rounds of every kind of values; hands a line for each to `show`; the number that failed. `floats` is the type of the floats
/// whose type the caller chooses: f32, bf16 or f16.
///
/// # Errors
/// A user error if no sizes satisfy the function's requirements.
pub fn run(
    function: &'static Function,
    device: &Device,
    floats: DType,
    rounds: u64,
    show: &mut dyn FnMut(&str),
) -> Result<usize, Failure> {
    let graph = &typed(function.graph().map_err(failure)?, floats);
    let reference = Device::interpreter().map_err(failure)?;
    let mut failed = 0;
    for round in 0..rounds {
        let mut random = ChaCha8Rng::seed_from_u64(round);
        let first = Round::new(function, graph, floats, &mut random)?;
        for kind in KINDS {
            let sizes = first.sizes(graph, &mut random)?;
            let bound = inputs(graph, &sizes, kind, &mut random);
            let verdict = agree((function, graph), &bound, device, &reference);
            let shown = graph.dims.iter().map(|(id, dim)| format!("{}={}", dim.name, sizes[id.index()]));
            let shown: Vec<String> = shown.collect();
            let reason = verdict.as_ref().err().map(|reason| format!(": {reason}")).unwrap_or_default();
            let word = if verdict.is_ok() { "passed" } else { "FAILED" };
            show(&format!("{word}  {} {kind:?} {}{reason}", function.name, shown.join(" ")));
            failed += usize::from(verdict.is_err());
        }
    }
    Ok(failed)
}

/// The signature with a type for each parameter that stands for floats.
fn typed(graph: &Graph, floats: DType) -> Graph {
    let mut typed = graph.clone();
    for id in graph.tensors.keys() {
        if let Elem::Param(at) = graph.tensors[id].elem
            && !graph.type_params[at as usize].int
        {
            typed.tensors[id].elem = Elem::Type(floats);
        }
    }
    typed
}

/// What stays in a round: const dims, so that the function is compiled once.
struct Round {
    linked: Graph,
    consts: BTreeMap<String, i64>,
}

impl Round {
    fn new(
        function: &'static Function,
        graph: &Graph,
        floats: DType,
        random: &mut ChaCha8Rng,
    ) -> Result<Self, Failure> {
        let chosen = graph.type_params.iter().filter(|param| !param.int);
        let types = chosen.map(|param| (param.name.clone(), RuntimeElem::Type(floats))).collect();
        let link = |sizes: &[i64]| {
            let given = specialisation(graph, sizes, &types);
            function.linked(&given).map_err(failure)
        };
        let sizes =
            affordable(graph, &BTreeMap::new(), random, &|sizes| Ok(work(&link(sizes)?, &by_name(graph, sizes))))?;
        Ok(Self { linked: link(&sizes)?, consts: consts(graph, &sizes) })
    }

    /// Sizes of a call.
    fn sizes(&self, graph: &Graph, random: &mut ChaCha8Rng) -> Result<Vec<i64>, Failure> {
        affordable(graph, &self.consts, random, &|sizes| Ok(work(&self.linked, &by_name(graph, sizes))))
    }
}

fn by_name(graph: &Graph, sizes: &[i64]) -> BTreeMap<String, i64> {
    graph.dims.iter().map(|(id, dim)| (dim.name.clone(), sizes[id.index()])).collect()
}

/// Sizes that satisfy the function's requirements at a cost within the bound, or the cheapest that were proposed. The largest
/// sizes are given up one by one.
fn affordable(
    graph: &Graph,
    given: &BTreeMap<String, i64>,
    random: &mut ChaCha8Rng,
    cost: &dyn Fn(&[i64]) -> Result<f64, Failure>,
) -> Result<Vec<i64>, Failure> {
    let mut least: Option<(f64, Vec<i64>)> = None;
    for most in (2..=SIZES.len()).rev() {
        for _ in 0..PROPOSALS {
            let sizes = choose(graph, given, ATTEMPTS, |_| SIZES[random.random_range(0..most)]);
            let Some(sizes) = sizes else { continue };
            let cost = cost(&sizes)?;
            if cost <= WORK {
                return Ok(sizes);
            }
            if least.as_ref().is_none_or(|(least, _)| cost < *least) {
                least = Some((cost, sizes));
            }
        }
    }
    let none = || Failure::user(format!("no sizes were found that satisfy the requirements of {}", graph.name));
    least.map(|(_, sizes)| sizes).ok_or_else(none)
}

/// Difference allowed, relative to the largest expected value. A cache of 16-bit floats may round the other way what it keeps, and so may
/// all that follows from it; where arguments or outputs are 16-bit floats, a few roundings may differ.
fn relative(graph: &Graph) -> f64 {
    let one = |tensor: &Tensor| {
        let keeps = matches!(&tensor.kind, TensorKind::Input(input) if input.grows.is_some());
        match (zoo::dtype(graph, &tensor.elem), keeps) {
            (DType::F16, true) => f64::from(sawmill::f16::EPSILON),
            (DType::BF16, true) => f64::from(sawmill::bf16::EPSILON),
            (DType::F16, false) => F16,
            (DType::BF16, false) => BF16,
            _ => RELATIVE,
        }
    };
    graph.tensors.values().map(one).fold(RELATIVE, f64::max)
}

fn agree(
    (function, graph): (&'static Function, &Graph),
    bound: &Bound,
    device: &Device,
    reference: &Device,
) -> Result<(), String> {
    let relative = relative(graph);
    let run = |device| zoo::run(function, graph, bound, device).map_err(|error| error.to_string());
    let (found, wanted) = (run(device)?, run(reference)?);
    let largest =
        |array: &Array| floats(&array.numbers).into_iter().filter(|v| v.is_finite()).map(f64::abs).fold(0.0, f64::max);
    if wanted.values().any(|array| largest(array) > BEYOND) {
        return Ok(());
    }
    for (name, wanted) in &wanted {
        let found = found.get(name).ok_or_else(|| format!("the engine gives no output `{name}`"))?;
        let tolerance = relative * largest(wanted).max(1e-3);
        let (found, wanted) = without_shared_nans(found, wanted);
        compare(&found, &wanted, tolerance).map_err(|error| format!("output `{name}`: {error}"))?;
    }
    Ok(())
}

/// Both arrays with 0 where both are NaN: inputs that make a function 0 / 0 must do so on every engine.
fn without_shared_nans(found: &Array, wanted: &Array) -> (Array, Array) {
    let (mut one, mut other) = (floats(&found.numbers), floats(&wanted.numbers));
    for (one, other) in one.iter_mut().zip(&mut other).filter(|(one, other)| one.is_nan() && other.is_nan()) {
        (*one, *other) = (0.0, 0.0);
    }
    let array = |of: &Array, numbers| Array { shape: of.shape.clone(), numbers: Numbers::Float(numbers) };
    (array(found, one), array(wanted, other))
}

/// An argument for every parameter that needs one, and for half of those that do not.
fn inputs(graph: &Graph, sizes: &[i64], kind: Values, random: &mut ChaCha8Rng) -> Bound {
    let mut bound = Bound::default();
    for param in &graph.params {
        let Param::Tensor(id) = param else { continue };
        let tensor = &graph.tensors[*id];
        let TensorKind::Input(input) = &tensor.kind else { continue };
        // Scalars with a default are constants of the method (a scale, an epsilon): random ones would test nothing.
        if input.default.is_some() && tensor.shape.is_empty() {
            continue;
        }
        bound.arguments.insert(tensor.name.clone(), argument(graph, tensor, input, sizes, kind, random));
    }
    bound.dims.extend(consts(graph, sizes).into_iter().map(|(name, size)| (name, size.unsigned_abs())));
    bound
}

fn argument(
    graph: &Graph,
    tensor: &Tensor,
    input: &Input,
    sizes: &[i64],
    kind: Values,
    random: &mut ChaCha8Rng,
) -> Array {
    let shape = tensor.shape.iter().map(|size| evaluate(size, sizes).and_then(|size| usize::try_from(size).ok()));
    let shape: Vec<usize> = shape.map(Option::unwrap_or_default).collect();
    let count = shape.iter().product();
    let dtype = zoo::dtype(graph, &tensor.elem);
    let numbers = match dtype.kind() {
        Kind::Float | Kind::Complex => Numbers::Float((0..count).map(|_| float(kind, dtype, random)).collect()),
        Kind::Bool => Numbers::Integer((0..count).map(|_| random.random_range(0..2)).collect()),
        Kind::Signed | Kind::Unsigned => {
            let promised =
                input.promise.as_ref().and_then(|(least, end)| Some((evaluate(least, sizes)?, evaluate(end, sizes)?)));
            // Without a promise: positions, counts and blocks, within and just beyond the sizes.
            let (least, end) = promised.unwrap_or((1, 1 + sizes.iter().copied().max().unwrap_or(1)));
            Numbers::Integer((0..count).map(|_| random.random_range(least..end.max(least + 1))).collect())
        }
    };
    Array { shape, numbers }
}

/// One value, rounded to what the type holds so that both engines see the same.
fn float(kind: Values, dtype: DType, random: &mut ChaCha8Rng) -> f64 {
    // The sum of twelve uniform numbers: normal enough, and bounded.
    let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
    let value = match kind {
        Values::Normal => normal(),
        Values::Large => 4.0 * normal(),
        Values::Tiny => 1e-4 * normal(),
        Values::Equal => 0.75,
        Values::Zero => 0.0,
    };
    match dtype {
        DType::F64 => value,
        DType::F16 => sawmill::f16::from_f64(value).to_f64(),
        DType::BF16 => sawmill::bf16::from_f64(value).to_f64(),
        _ => f64::from(value as f32),
    }
}
