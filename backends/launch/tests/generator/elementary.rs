//! The elementary functions against the f64 ones of the system's library, within the bounds that `sawmill_simd::math`
//! states.

use sawmill_ir::elem::ElemOp;
use sawmill_launch::JitCode;
use sawmill_simd::math;
use sawmill_simd::vir::{Address, Builder, Elem, Function, Type, Val};
use std::ops::RangeInclusive;

use crate::harness::{Buffer, Random, run_code};
use crate::subject::Subject;
use crate::subjects::subjects;

unsafe extern "C" {
    safe fn erf(x: f64) -> f64;
    safe fn erfc(x: f64) -> f64;
}

/// One function: its reference and how far it may be off.
struct Case {
    op: ElemOp,
    exact: fn(f64) -> f64,
    /// In units in the last place of the result.
    ulp: f64,
    /// Results below count by their absolute error, which may be as large as this.
    floor: f64,
}

/// The least normal f32.
const NORMAL: f64 = f32::MIN_POSITIVE as f64;

const CASES: [Case; 19] = [
    Case { op: ElemOp::Exp, exact: f64::exp, ulp: 1.1, floor: 2.0 * NORMAL },
    Case { op: ElemOp::Exp2, exact: f64::exp2, ulp: 1.1, floor: 2.0 * NORMAL },
    Case { op: ElemOp::Expm1, exact: f64::exp_m1, ulp: 1.5, floor: NORMAL },
    Case { op: ElemOp::Log, exact: f64::ln, ulp: 1.0, floor: NORMAL },
    Case { op: ElemOp::Log2, exact: f64::log2, ulp: 2.0, floor: NORMAL },
    Case { op: ElemOp::Log1p, exact: f64::ln_1p, ulp: 2.5, floor: NORMAL },
    Case { op: ElemOp::Rsqrt, exact: |x| 1.0 / x.sqrt(), ulp: 1.5, floor: NORMAL },
    Case { op: ElemOp::Recip, exact: |x| 1.0 / x, ulp: 0.5, floor: NORMAL },
    Case { op: ElemOp::Tanh, exact: f64::tanh, ulp: 2.5, floor: NORMAL },
    Case { op: ElemOp::Sigmoid, exact: |x| 1.0 / (1.0 + (-x).exp()), ulp: 2.5, floor: NORMAL },
    Case { op: ElemOp::Silu, exact: |x| x / (1.0 + (-x).exp()), ulp: 2.5, floor: 5e-37 },
    Case { op: ElemOp::Softplus, exact: softplus, ulp: 2.5, floor: 2.0 * NORMAL },
    Case { op: ElemOp::LogSigmoid, exact: |x| -softplus(-x), ulp: 2.5, floor: 2.0 * NORMAL },
    Case { op: ElemOp::Elu, exact: |x| if x > 0.0 { x } else { x.exp_m1() }, ulp: 1.5, floor: NORMAL },
    Case { op: ElemOp::Erf, exact: |x| erf(x), ulp: 1.5, floor: NORMAL },
    Case { op: ElemOp::Sin, exact: f64::sin, ulp: 2.0, floor: NORMAL },
    Case { op: ElemOp::Cos, exact: f64::cos, ulp: 2.0, floor: NORMAL },
    Case { op: ElemOp::Tan, exact: f64::tan, ulp: 3.5, floor: NORMAL },
    Case { op: ElemOp::Sign, exact: |x| if x == 0.0 { x } else { x.signum() }, ulp: 0.0, floor: 0.0 },
];

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// A kernel that maps vectors of `ty`, one for each grid block, from the first buffer (and the second) to the last.
fn kernel(ty: Type, operands: usize, map: impl Fn(&mut Builder, &[Val]) -> Val) -> Function {
    let mut b = Builder::new("map");
    let buffers: Vec<Val> = (0..=operands).map(|word| b.arg(word as u32, Type::I64)).collect();
    let (first, end) = (b.first(), b.end());
    let (iv, _) = b.begin_for(first, end, 1, &[]);
    let place = |buffer: Val| Address::indexed(buffer, iv, ty.bytes());
    let args: Vec<Val> = buffers[..operands].iter().map(|buffer| b.load(ty, place(*buffer))).collect();
    let value = map(&mut b, &args);
    b.store(value, place(buffers[operands]));
    b.end_for(&[]);
    b.finish().unwrap_or_else(|error| panic!("{error}"))
}

struct Mapped {
    code: JitCode,
    lanes: usize,
}

impl Mapped {
    fn new(subject: &Subject, op: ElemOp, ty: Type, operands: usize) -> Mapped {
        let func = kernel(ty, operands, |b, args| math::call(b, op, args).expect("an expansion"));
        Mapped { code: subject.compile(&func), lanes: usize::from(ty.lanes) }
    }

    /// Applies the function to as many operands as there are lanes in whole vectors.
    fn run(&self, operands: &[&[f32]]) -> Vec<f32> {
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let buffer = |values: &&[f32]| Buffer { elem: Elem::F32, bytes: bytes(values) };
        let mut buffers: Vec<Buffer> = operands.iter().map(buffer).collect();
        let count = operands[0].len();
        buffers.push(Buffer::room(Elem::F32, count));
        run_code(&self.code, &mut buffers, &[], (0, (count / self.lanes) as u64));
        let result = &buffers[operands.len()].bytes;
        result.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
    }
}

/// Distance in units in the last place of the exact result; infinite if they differ in kind.
fn error_in_ulp(got: f32, exact: f64, floor: f64) -> f64 {
    if exact.is_nan() || got.is_nan() {
        return if exact.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let rounded = exact as f32;
    if got == rounded {
        return 0.0;
    }
    // What rounds to infinity may come out as the greatest number, and the other way round.
    let got = if got.is_infinite() { f64::from(got.signum()) * 2f64.powi(128) } else { f64::from(got) };
    let exact = exact.clamp(-2f64.powi(128), 2f64.powi(128));
    if exact.abs() < floor.max(NORMAL) && (got - exact).abs() <= floor {
        return 0.0;
    }
    let exponent = exact.abs().max(NORMAL).log2().floor() as i32;
    (got - exact).abs() / 2f64.powi(exponent.min(127) - 23)
}

/// The greatest error over every `step`-th of all bit patterns, and where. Every processor takes a share of them.
fn greatest_error(mapped: &Mapped, case: &Case, step: usize) -> (f64, f32) {
    let shares = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let start = |share: u64| ((share << 32) / shares) as u32;
        let workers: Vec<_> = (0..shares)
            .map(|share| {
                let last = if share + 1 == shares { u32::MAX } else { start(share + 1) - 1 };
                scope.spawn(move || greatest_error_within(mapped, case, start(share)..=last, step))
            })
            .collect();
        let found = workers.into_iter().map(|worker| worker.join().expect("the comparison does not panic"));
        found.fold((0.0, 0.0), |worst, one| if one.0 > worst.0 { one } else { worst })
    })
}

fn greatest_error_within(mapped: &Mapped, case: &Case, patterns: RangeInclusive<u32>, step: usize) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    let mut patterns = patterns.step_by(step).peekable();
    while patterns.peek().is_some() {
        let mut inputs: Vec<f32> = patterns.by_ref().take(1 << 16).map(f32::from_bits).collect();
        inputs.resize(inputs.len().next_multiple_of(mapped.lanes), 0.0);
        let outputs = mapped.run(&[&inputs]);
        for (x, y) in inputs.iter().zip(&outputs) {
            let error = error_in_ulp(*y, (case.exact)(f64::from(*x)), case.floor);
            if error > worst.0 {
                worst = (error, *x);
            }
        }
    }
    worst
}

fn check(case: &Case, ty: Type, step: usize) -> Result<(), String> {
    subjects().iter().try_for_each(|subject| check_on(subject, case, ty, step))
}

fn check_on(subject: &Subject, case: &Case, ty: Type, step: usize) -> Result<(), String> {
    let mapped = Mapped::new(subject, case.op, ty, 1);
    let (error, x) = greatest_error(&mapped, case, step);
    println!("{}: {error:.3} ulp at {x:e}", case.op);
    if error <= case.ulp {
        return Ok(());
    }
    Err(format!("{} is off by {error} ulp at {x:e} ({:#x})", case.op, x.to_bits()))
}

#[test]
fn functions_of_f32_stay_within_their_bounds_on_a_sample() {
    let failures: Vec<String> = CASES
        .iter()
        .flat_map(|case| [check(case, Type::vector(Elem::F32, 8), 8_191), check(case, Type::F32, 524_287)])
        .filter_map(Result::err)
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
#[ignore = "all f32 inputs take minutes"]
fn functions_of_f32_stay_within_their_bounds_on_all_inputs() {
    let chosen = [ElemOp::Exp, ElemOp::Tanh, ElemOp::Silu];
    let cases = CASES.iter().filter(|case| chosen.contains(&case.op));
    let failures: Vec<String> = cases.filter_map(|case| check(case, Type::vector(Elem::F32, 16), 1).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn gelu_is_exact_to_the_last_places_of_its_operand() {
    subjects().iter().for_each(check_gelu);
}

fn check_gelu(subject: &Subject) {
    let mapped = Mapped::new(subject, ElemOp::Gelu, Type::vector(Elem::F32, 4), 1);
    let inputs: Vec<f32> = (0..1 << 16).map(|i| (i - (1 << 15)) as f32 / 2048.0).collect();
    for (x, y) in inputs.iter().zip(mapped.run(&[&inputs])) {
        let wide = f64::from(*x);
        let exact = wide * erfc(-wide * std::f64::consts::FRAC_1_SQRT_2) / 2.0;
        let error = (f64::from(y) - exact).abs() / (wide.abs().max(f64::from(f32::MIN_POSITIVE)) * 2f64.powi(-24));
        assert!(error <= 2.0, "gelu({x}) is {y}, not {exact}: off by {error}");
    }
}

/// Functions of two operands, on edges and at random.
fn check_pairs(op: ElemOp, exact: fn(f64, f64) -> f64, bound: f64) {
    subjects().iter().for_each(|subject| check_pairs_on(subject, op, exact, bound));
}

fn check_pairs_on(subject: &Subject, op: ElemOp, exact: fn(f64, f64) -> f64, bound: f64) {
    let mapped = Mapped::new(subject, op, Type::vector(Elem::F32, 4), 2);
    let mut random = Random(7);
    let mut draw = || (0..1 << 17).map(|_| f32::from_bits(random.bits(Elem::F32) as u32)).collect::<Vec<f32>>();
    let (left, right) = (draw(), draw());
    for ((a, b), y) in left.iter().zip(&right).zip(mapped.run(&[&left, &right])) {
        let want = exact(f64::from(*a), f64::from(*b));
        let error = error_in_ulp(y, want, NORMAL);
        assert!(error <= bound, "{op}({a:e}, {b:e}) is {y:e}, not {want:e}: off by {error} ulp");
        let same_sign = y.is_sign_negative() == want.is_sign_negative() || want.is_nan();
        assert!(same_sign, "{op}({a:e}, {b:e}) is {y:e}, not {want:e}");
    }
}

#[test]
fn powers_angles_and_remainders_agree_with_the_library() {
    check_pairs(ElemOp::Pow, f64::powf, 0.51);
    check_pairs(ElemOp::Atan2, f64::atan2, 3.0);
    check_pairs(ElemOp::Rem, |a, b| a % b, 0.0);
}

/// The error of an f64 result relative to the exact one, in units of 2^-52; results that vanish or overflow must do so alike.
fn error_in_f64(got: f64, exact: f64) -> f64 {
    let alike = got == exact || (got.is_nan() && exact.is_nan());
    let vanishes = exact.abs() < 4.0 * f64::MIN_POSITIVE && got.abs() < 4.0 * f64::MIN_POSITIVE;
    if alike || vanishes { 0.0 } else { ((got - exact) / exact).abs() / f64::EPSILON }
}

#[test]
fn functions_of_f64_are_nearly_exact() {
    subjects().iter().for_each(check_f64);
}

/// Numbers of all exponents, and as many of the usual ones: for two in three of these, exponentials and powers are far from 0 and 1.
fn doubles(random: &mut Random, count: usize) -> Vec<u64> {
    let one = 1.0_f64.to_bits();
    let mut usual = |scale: f64| ((f64::from_bits(one | random.next() >> 12) - 1.5) * scale).to_bits();
    let mut numbers: Vec<u64> = (0..count).map(|at| usual(if at % 3 == 0 { 2000.0 } else { 8.0 })).collect();
    numbers.iter_mut().step_by(2).for_each(|number| *number = random.bits(Elem::F64));
    numbers
}

fn of_f64(mapped: &Mapped, operands: &[&[u64]]) -> Vec<f64> {
    let count = operands[0].len();
    let mut buffers: Vec<Buffer> = operands.iter().map(|bits| Buffer::of(Elem::F64, bits)).collect();
    buffers.push(Buffer::room(Elem::F64, count));
    run_code(&mapped.code, &mut buffers, &[], (0, (count / mapped.lanes) as u64));
    let results = buffers[operands.len()].bytes.chunks_exact(8);
    results.map(|bytes| bytes.try_into().map_or(0.0, f64::from_le_bytes)).collect()
}

fn check_f64(subject: &Subject) {
    let (ty, count) = (Type::vector(Elem::F64, 4), 1 << 14);
    let mut inputs = doubles(&mut Random(3), count);
    inputs.extend([0.0_f64, -0.0].map(f64::to_bits));
    inputs.extend([0; 2]);
    let except = [ElemOp::Recip, ElemOp::Silu, ElemOp::LogSigmoid, ElemOp::Elu];
    let gelu = |x: f64| x * (erfc(-x * std::f64::consts::FRAC_1_SQRT_2) / 2.0);
    let gelu = Case { op: ElemOp::Gelu, exact: gelu, ulp: 2.0, floor: 0.0 };
    for case in CASES.iter().filter(|case| !except.contains(&case.op)).chain([&gelu]) {
        let mapped = Mapped::new(subject, case.op, ty, 1);
        let mut worst = 0.0_f64;
        for (bits, y) in inputs.iter().zip(of_f64(&mapped, &[&inputs])) {
            let x = f64::from_bits(*bits);
            let exact = (case.exact)(x);
            // A negative tail that cancels counts relative to its operand.
            let error = match case.op {
                ElemOp::Gelu if x < 0.0 && exact.is_finite() => ((y - exact) / x).abs() / f64::EPSILON,
                _ => error_in_f64(y, exact),
            };
            assert!(error <= 6.0, "{}({x:e}) is {y:e}, not {exact:e}: off by {error}", case.op);
            worst = worst.max(error);
        }
        println!("{} of f64: {worst:.3}", case.op);
    }
    check_pairs_of_f64(subject, ElemOp::Pow, f64::powf, 2.0);
    check_pairs_of_f64(subject, ElemOp::Atan2, f64::atan2, 3.0);
    check_pairs_of_f64(subject, ElemOp::Rem, |a, b| a % b, 0.0);
}

/// 2 to the 797.
const TWO_797: f64 = f64::from_bits((797 + 1023) << 52);

/// Angles that need all bits of pi, with sine and cosine to 60 digits by mpmath: the double that is nearest to a multiple of pi/2, which
/// libraries miss, and the greatest ones.
const HARD: [(f64, f64, f64); 5] = [
    (6_381_956_970_095_103.0 * TWO_797, 1.0, -4.687165924254628e-19),
    (1e22, -0.8522008497671888, 0.523214785395139),
    (f64::MAX, 0.004961954789184062, -0.9999876894265599),
    (-1_048_576.0, -0.3304931400217347, 0.943808393901312),
    (1_048_575.999_999_9, 0.33049304564017495, 0.943808426950873),
];

#[test]
fn angles_need_all_bits_of_pi() {
    let angles: Vec<u64> = HARD.iter().chain(&[HARD[0]; 3]).map(|row| row.0.to_bits()).collect();
    for subject in subjects() {
        let [sin, cos] = [ElemOp::Sin, ElemOp::Cos].map(|op| {
            let mapped = Mapped::new(&subject, op, Type::vector(Elem::F64, 4), 1);
            of_f64(&mapped, &[&angles])
        });
        for ((x, sine, cosine), (s, c)) in HARD.iter().zip(sin.iter().zip(&cos)) {
            let off = [error_in_f64(*s, *sine), error_in_f64(*c, *cosine)];
            assert!(off.iter().all(|error| *error <= 1.0), "of {x:e}: {s:e} and {c:e}, not {sine:e} and {cosine:e}");
        }
    }
}

fn check_pairs_of_f64(subject: &Subject, op: ElemOp, exact: fn(f64, f64) -> f64, bound: f64) {
    let mapped = Mapped::new(subject, op, Type::vector(Elem::F64, 4), 2);
    let mut random = Random(11);
    let (left, right) = (doubles(&mut random, 1 << 13), doubles(&mut random, 1 << 13));
    let found = of_f64(&mapped, &[&left, &right]);
    let mut worst = 0.0_f64;
    for ((a, b), y) in left.iter().zip(&right).zip(found) {
        let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
        let want = exact(a, b);
        let error = if op == ElemOp::Rem && y == want { 0.0 } else { error_in_f64(y, want) };
        assert!(error <= bound, "{op}({a:e}, {b:e}) is {y:e}, not {want:e}: off by {error}");
        let same_sign = y.is_sign_negative() == want.is_sign_negative() || want.is_nan();
        assert!(same_sign, "{op}({a:e}, {b:e}) is {y:e}, not {want:e}");
        worst = worst.max(error);
    }
    println!("{op} of f64: {worst:.3}");
}
