//! What a user's call may meet: odd memory, absurd sizes, odd numbers, other threads. Each is right or a typed error.
//!
//! In: functions of this file on the interpreter and on the processor. Out: a failure where a result differs from plain Rust,
//! or where an error is of another kind. `kernels` has what is kept between calls and processes.

use sawmill::prelude::*;
use sawmill::{Call, Options, Value};
use std::sync::Arc;

arch! {
    /// A product of two matrices.
    pub fn product<M, N, K>(a: f32[M, K], b: f32[K, N]) -> c: f32[M, N] {
        c[m, n] = sum[k](a[m, k] * b[k, n]);
    }

    /// Every pair.
    pub fn pairs<M, N>(a: f32[M], b: f32[N]) -> c: f32[M, N] {
        c[m, n] = a[m] + b[n];
    }

    /// Each row's largest element, sum and softmax.
    pub fn rows<M, N>(x: f32[M, N]) -> (most: f32[M], total: f32[M], p: f32[M, N]) {
        most[m] = max[n](x[m, n]);
        total[m] = sum[n](x[m, n]);
        p[m, n] = softmax[n](x[m, n]);
    }

    /// Half and double.
    pub fn scaled<N>(x: f32[N]) -> (half: f32[N], double: f32[N]) {
        half[n] = 0.5 * x[n];
        double[n] = 2.0 * x[n];
    }

    /// Elements at given places.
    pub fn pick<N, K>(x: u8[N], at: i64[K] in 0..N) -> y: i32[K] {
        y[k] = x[at[k]] as i32;
    }

    /// Vectors that are added one after the other, and scales.
    pub struct Group<D> { scale: f32[D], shifts: [f32[D]; 2] }

    /// A stack of groups.
    pub struct Stack<D, L, M> { groups: [[Group<D>; M]; L] }

    /// Every group of a stack in turn, then every vector of a list of lists.
    pub fn through<D, L, M>(x: f32[D], stack: Stack<D, L, M>, extra: [[f32[D]; M]; L]) -> y: f32[D] {
        for l in 0..L carry v = x {
            for m in 0..M carry u = v {
                u[d] = u[d] * stack.groups[l][m].scale[d] + stack.groups[l][m].shifts[0][d] - stack.groups[l][m].shifts[1][d]
                    + extra[l][m][d];
            }
            v[d] = u[d];
        }
        y[d] = v[d];
    }

    /// The sum of the last `W` elements of each row, and how many elements a row has above 4.
    pub fn ends<M, N, const W>(x: u8[M, N]) -> (tail: i64[M], above: i64[M]) where N >= W {
        tail[m] = sum[w in 0..W](x[m, N - W + w] as i64);
        above[m] = sum[n](if x[m, n] > 4 { 1 } else { 0 });
    }
}

/// Both engines, with nothing kept on disk.
fn engines() -> [Device; 2] {
    let cpu = Device::cpu_with(2, None).expect("threads start");
    [Device::interpreter().expect("it needs nothing"), cpu]
}

/// Small whole numbers without pattern: products and sums of them are exact in f32.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 37 + 11) % 17) as f32 - 8.0).collect()
}

fn matrix(values: &[f32], shape: [usize; 2]) -> Typed<f32, 2> {
    Typed::from_slice(values, shape).expect("as many values as the shape says")
}

/// The product by loops over elements in any memory.
fn by_loops([m, n, k]: [usize; 3], a: impl Fn(usize, usize) -> f32, b: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let element = |at: usize| (0..k).map(|x| a(at / n, x) * b(x, at % n)).sum();
    (0..m * n).map(element).collect()
}

#[test]
fn arguments_may_be_transposed_strided_broadcast_reversed_and_overlapping() {
    let (m, n, k) = (7, 9, 11);
    let data = numbers(400);
    let b_data = numbers(k * n);
    let b = matrix(&b_data, [k, n]);
    // Shape, strides in elements and first element of `a`, all in the same 400 numbers.
    let cases: [(&str, [isize; 2], usize); 6] = [
        ("transposed", [1, 7], 0),
        ("every other of every third row", [39, 2], 1),
        ("one row for all", [0, 1], 5),
        ("one element for all", [0, 0], 3),
        ("reversed", [-11, -1], 7 * 11),
        ("overlapping windows", [2, 1], 0),
    ];
    for device in engines() {
        for (name, strides, first) in cases {
            let a = TypedView::strided(&data, [m, k], strides, first).expect("it lies inside");
            let at = |i: usize, x: usize| {
                let place = first as isize + i as isize * strides[0] + x as isize * strides[1];
                data[place as usize]
            };
            let found = product::with(&device).call(a, &b).expect("any strides are fine");
            let wanted = by_loops([m, n, k], at, |x, j| b_data[x * n + j]);
            assert_eq!(found.to_vec().expect("host memory"), wanted, "{name} on {device:?}");
        }
        // The same memory as both arguments, one of them transposed.
        let square = matrix(&numbers(64), [8, 8]);
        let turned = square.restride([8, 8], [4, 32], 0).expect("the same bytes");
        let found = product::with(&device).call(&square, &turned).expect("arguments may share memory");
        let values = square.to_vec().expect("host memory");
        assert_eq!(
            found.to_vec().expect("host memory"),
            by_loops([8, 8, 8], |i, x| values[i * 8 + x], |x, j| values[j * 8 + x])
        );
    }
}

#[test]
fn views_that_leave_their_memory_or_count_too_much_are_refused() {
    let data = numbers(20);
    let refused = |shape, strides, first| TypedView::strided(&data, shape, strides, first).is_err();
    assert!(refused([4, 5], [5, 1], 1));
    assert!(refused([4, 5], [-5, 1], 0));
    assert!(refused([2, 2], [isize::MAX, 1], 0));
    assert!(refused([usize::MAX, 2], [0, 0], 0), "more elements than can be counted");
    assert!(refused([1 << 40, 1 << 40], [0, 0], 0), "more elements than can be counted");
    assert!(!refused([1 << 40, 0], [1, 1], 0), "no element at all");
}

#[test]
fn every_size_may_be_zero() {
    for device in engines() {
        for (m, n, k) in [(0, 5, 4), (5, 0, 4), (5, 4, 0), (0, 0, 0), (0, 1, 0)] {
            let (a, b) = (matrix(&numbers(m * k), [m, k]), matrix(&numbers(k * n), [k, n]));
            let found = product::with(&device).call(&a, &b).expect("zero is a size");
            assert_eq!(
                (found.shape(), found.to_vec().expect("host memory")),
                ([m, n], vec![0.0; m * n]),
                "{m} {n} {k} on {device:?}"
            );
        }
        let empty_rows = rows::with(&device).call(&matrix(&[], [3, 0])).expect("rows may be empty");
        assert_eq!(empty_rows.0.to_vec().expect("host memory"), [f32::NEG_INFINITY; 3]);
        assert_eq!(
            (empty_rows.1.to_vec().expect("host memory"), empty_rows.2.to_vec().expect("host memory")),
            (vec![0.0; 3], vec![])
        );
        let no_rows = rows::with(&device).call(&matrix(&[], [0, 3])).expect("there may be no rows");
        assert_eq!((no_rows.0.to_vec().expect("host memory"), no_rows.2.shape()), (vec![], [0, 3]));
        // Attention without keys is a sum of nothing, and its log-sum-exp that of nothing.
        let head = |t| Typed::<f32, 4>::zeros([1, t, 2, 4]).expect("a small tensor");
        let call = sawmill_zoo::attention::bidirectional::with(&device).call(&head(3), &head(0), &head(0));
        let (o, lse) = call.expect("there may be no keys");
        assert_eq!(o.to_vec::<f32>().expect("f32"), [0.0; 24]);
        assert_eq!(lse.to_vec().expect("host memory"), [f32::NEG_INFINITY; 6]);
    }
}

/// A little more than 2^31 elements; zeroed memory is not there before it is touched.
const MANY: usize = (1 << 31) + 77;

#[test]
fn elements_past_two_to_the_31_are_found() {
    let device = Device::cpu_with(2, None).expect("threads start");
    let mut bytes = vec![0_u8; MANY];
    for (place, value) in [(0, 1), (MANY / 2, 2), ((1 << 31) - 1, 3), (1 << 31, 4), (MANY - 1, 5)] {
        bytes[place] = value;
    }
    let elem = <u8 as sawmill::Element>::ELEM;
    let x = Tensor::from_shared(Arc::new(bytes), 0, elem, &[MANY]).expect("the bytes are there");
    let places = [MANY - 1, 0, 1 << 31, MANY / 2, (1 << 31) - 1, 7].map(|at| at as i64);
    let at = Typed::<i64, 1>::from_slice(&places, [6]).expect("six");
    let found = pick::with(&device).call(&x, &at).expect("it runs");
    assert_eq!(found.to_vec().expect("host memory"), [5, 1, 4, 2, 3, 0]);
    // The far end of a row of that length, and a count over all of it through a stride of zero.
    let row = x.restride(&[1, MANY], &[0, 1], 0).expect("one row");
    let near = row.restride(&[1, 9], &[0, 1], MANY - 9).expect("the end");
    assert_eq!(near.to_vec::<u8>().expect("u8"), [0, 0, 0, 0, 0, 0, 0, 0, 5]);
    let last = x.restride(&[2, MANY], &[0, 0], MANY - 1).expect("one element, many times");
    let (tail, above) = ends::with(&device).W(8).call(&last).expect("it runs");
    assert_eq!(
        (tail.to_vec().expect("host memory"), above.to_vec().expect("host memory")),
        (vec![40, 40], vec![MANY as i64; 2])
    );
}

#[test]
fn memory_that_is_not_there_is_a_typed_error() {
    let one = [1.0_f32];
    // Products of the sizes of stride-zero views: 2^48 bytes are past any address, 2^62 past any 64-bit count of bytes.
    for (m, n) in [(1_usize << 23, 1_usize << 23), (1 << 30, 1 << 30), (1 << 31, 1 << 31)] {
        for device in engines() {
            let interpreter = device.engine() == sawmill::Engine::Interpreter;
            if interpreter && m > 1 << 23 {
                // It copies its arguments, which here would fit.
                continue;
            }
            let a = TypedView::strided(&one, [m], [0], 0).expect("one element, many times");
            let b = TypedView::strided(&one, [n], [0], 0).expect("one element, many times");
            let error = pairs::with(&device).call(a, b).expect_err("no memory holds the output");
            assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
        }
    }
    let device = Device::interpreter().expect("it needs nothing");
    let far = 1_usize << 45;
    let a = TypedView::strided(&one, [far], [0], 0).expect("one element, many times");
    let b = TypedView::strided(&one, [1], [0], 0).expect("one element");
    let error = pairs::with(&device).call(a, b).expect_err("no memory holds a copy");
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    let error = Tensor::zeros(<f32 as sawmill::Element>::ELEM, &[1 << 30, 1 << 30]).expect_err("too large");
    assert!(matches!(error, Error::OutOfMemory { bytes, .. } if bytes == 1 << 62), "{error}");
}

#[test]
fn numbers_that_are_not_finite_go_through() {
    let (inf, nan, tiny, huge) = (f32::INFINITY, f32::NAN, 1e-44_f32, 3e38_f32);
    // NaN equals NaN here: what is asked for is a NaN, whatever its bits.
    let same = |found: &[f32], wanted: &[f32]| {
        let equal = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
        assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(equal), "{found:?}, not {wanted:?}");
    };
    for device in engines() {
        let x = matrix(&[1.0, inf, -inf, nan, 2.0, 1.0, -inf, -inf, 0.0, huge, huge, tiny], [4, 3]);
        let (most, total, p) = rows::with(&device).call(&x).expect("any number is a number");
        same(&most.to_vec().expect("host memory"), &[inf, nan, 0.0, huge]);
        same(&total.to_vec().expect("host memory"), &[nan, nan, -inf, inf]);
        same(&p.to_vec().expect("host memory"), &[nan, nan, nan, nan, nan, nan, 0.0, 0.0, 1.0, 0.5, 0.5, 0.0]);
        let x = Typed::<f32, 1>::from_slice(&[tiny, huge, inf, nan, -0.0], [5]).expect("five");
        let (half, double) = scaled::with(&device).call(&x).expect("any number is a number");
        // Denormal numbers are kept, not flushed.
        same(&half.to_vec().expect("host memory"), &[tiny / 2.0, huge / 2.0, inf, nan, -0.0]);
        same(&double.to_vec().expect("host memory"), &[tiny * 2.0, inf, inf, nan, -0.0]);
        let zero_times = product::with(&device).call(&matrix(&[0.0, 1.0], [1, 2]), &matrix(&[inf, 1.0], [2, 1]));
        same(&zero_times.expect("it runs").to_vec().expect("host memory"), &[nan]);
    }
}

#[test]
fn indices_outside_of_a_promised_range_are_refused() {
    for device in engines() {
        let x = Typed::<u8, 1>::from_slice(&[1, 2, 3], [3]).expect("three");
        for wrong in [-1, 3, i64::MAX, i64::MIN] {
            let at = Typed::<i64, 1>::from_slice(&[0, wrong], [2]).expect("two");
            match pick::with(&device).call(&x, &at) {
                Err(Error::Argument { argument, message, .. }) => {
                    assert!(argument == "at" && message.contains(&wrong.to_string()), "{message}");
                }
                other => panic!("{wrong} was taken: {other:?}"),
            }
        }
    }
}

#[test]
fn arguments_live_on_one_device() {
    let [first, second] = engines();
    let here = || matrix(&numbers(4), [2, 2]).on(&first);
    let there = || matrix(&numbers(4), [2, 2]).on(&second);
    let error = product(&here(), &there()).expect_err("two devices");
    assert!(matches!(&error, Error::Argument { argument, .. } if argument == "b"), "{error}");
    let error = product::with(&second).call(&here(), &here()).expect_err("a third device");
    assert!(matches!(error, Error::Requirement { .. }), "{error}");
    let found = product(&here(), &matrix(&numbers(4), [2, 2])).expect("host memory goes anywhere");
    assert_eq!(found.as_dyn().device(), Some(&first));
}

#[test]
fn lists_in_lists_are_bound_entry_by_entry() {
    let vector = |start: usize| -> (Vec<f32>, Tensor) {
        let values = numbers(start + 3)[start..].to_vec();
        let tensor = Typed::<f32, 1>::from_slice(&values, [3]).expect("three values");
        (values, tensor.into_dyn())
    };
    let group = |at: usize| Group { scale: vector(at).1, shifts: vec![vector(at + 5).1, vector(at + 7).1] };
    let (layers, members) = (3, 2);
    let number = |l: usize, m: usize| 11 * (l * members + m);
    let stack = || Stack { groups: (0..layers).map(|l| (0..members).map(|m| group(number(l, m))).collect()).collect() };
    let extra = |l: usize| -> Vec<Tensor> { (0..members).map(|m| vector(number(l, m) + 2).1).collect() };
    let extras: Vec<Vec<Tensor>> = (0..layers).map(extra).collect();
    let mut expected = numbers(3);
    for at in (0..layers).flat_map(|l| (0..members).map(move |m| number(l, m))) {
        let [scale, first, second, more] = [at, at + 5, at + 7, at + 2].map(|start| vector(start).0);
        expected = (0..3).map(|d| expected[d] * scale[d] + first[d] - second[d] + more[d]).collect();
    }
    let x = Typed::<f32, 1>::from_slice(&numbers(3), [3]).expect("three values");
    for device in engines() {
        let found = through::with(&device).call(&x, &stack(), &extras).expect("a stack");
        assert_eq!(found.to_vec().expect("host memory"), expected, "{device:?}");
        let mut ragged = stack();
        ragged.groups[1].pop();
        let error = through::with(&device).call(&x, &ragged, &extras).expect_err("a group is missing");
        assert!(matches!(error, Error::Argument { .. } | Error::Requirement { .. }), "{error}");
        let error = through::with(&device).call(&x, &stack(), &extras[..2]).expect_err("a list is missing");
        assert!(matches!(error, Error::Argument { .. } | Error::Requirement { .. }), "{error}");
    }
}

#[test]
fn a_panic_in_a_worker_is_an_error_and_the_device_works_on() {
    let device = Device::cpu_with(2, None).expect("threads start");
    let (a, b) = (matrix(&numbers(64 * 64), [64, 64]), matrix(&numbers(64 * 64), [64, 64]));
    let before = product::with(&device).call(&a, &b).expect("it runs").to_vec().expect("host memory");
    let failed = device.workers().run(64, &|_, item| assert!(item != 40, "item 40"));
    assert!(failed.is_err_and(|error| error.to_string().contains("item 40")));
    assert_eq!(
        product::with(&device).call(&a, &b).expect("the device works on").to_vec().expect("host memory"),
        before
    );
}

fn compiled(device: &Device, options: Options) -> Arc<sawmill::Compiled> {
    let (a, b) = (matrix(&numbers(4), [2, 2]), matrix(&numbers(4), [2, 2]));
    let mut call = Call::on(product::DEF, device);
    call.value("a", Value::Tensor(a.as_dyn().view()));
    call.value("b", Value::Tensor(b.as_dyn().view()));
    call.options(options);
    call.compile().expect("it compiles")
}

#[test]
fn many_threads_compile_once_and_all_are_right() {
    for device in engines() {
        let data = numbers(30 * 30);
        let wanted = by_loops([30, 30, 30], |i, x| data[i * 30 + x], |x, j| data[x * 30 + j]);
        let forms: Vec<Arc<sawmill::Compiled>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let form = compiled(&device, Options::default());
                        let (a, b) = (matrix(&data, [30, 30]), matrix(&data, [30, 30]));
                        for _ in 0..20 {
                            assert_eq!(
                                product::with(&device).call(&a, &b).expect("it runs").to_vec().expect("host memory"),
                                wanted
                            );
                        }
                        form
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        assert!(forms.iter().all(|form| Arc::ptr_eq(form, &forms[0])), "compiled more than once on {device:?}");
    }
}

#[test]
fn without_caches_every_call_compiles_and_keeps_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kept = folder.path().join("kernels");
    let device = Device::cpu_with(1, Some(kept.clone())).expect("threads start");
    let anew = Options { no_cache: true };
    let (first, second) = (compiled(&device, anew), compiled(&device, anew));
    assert!(!Arc::ptr_eq(&first, &second) && !kept.exists());
    let remembered = compiled(&device, Options::default());
    assert!(kept.exists() && Arc::ptr_eq(&remembered, &compiled(&device, Options::default())));
    assert!(!Arc::ptr_eq(&remembered, &compiled(&device, anew)));
}
