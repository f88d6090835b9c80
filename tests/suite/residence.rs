//! Tensors in a device's own memory: what is copied, where outputs stay, what cannot be mixed.
//!
//! In: functions of this file and the zoo's llama layer on devices with memory of their own: one that passes for such ([`Apart`]), and a GPU where
//! the feature `cuda` is on and a test is asked for. Out: a failure where a result differs from the processor's, or something was copied.

use sawmill::prelude::*;
use sawmill::testing::Apart;
use sawmill::{Record, RuntimeElem};
use sawmill_zoo::attention;

arch! {
    /// Products of a row's elements with weights, added to a running state.
    pub struct Weights<D, L> { first: f32[D], layers: [f32[D]; L], last: f32[D] }

    /// Rows so far.
    pub cache Rows<D> { row: f32[T, D] } grow T;

    /// Appends the rows, then sums all rows so far under the weights.
    pub fn step<S, const D, L>(x: f32[S, D], w: Weights<D, L>, kv: Rows<D>, scale: f32 = 2.0) -> y: f32[D] {
        push kv[s in 0..S] { row[s, d] = scale * x[s, d] }
        let total[d] = sum[t](kv.row[t, d]);
        for l in 0..L carry h = total {
            h[d] = h[d] * w.layers[l][d] + w.first[d] - w.last[d];
        }
        y[d] = h[d];
    }

    /// Elements at given places.
    pub fn pick<N, K>(x: f32[N], at: i32[K] in 0..N) -> y: f32[K] {
        y[k] = x[at[k]];
    }
}

fn numbers(count: usize, phase: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 37 + phase) % 17) as f32 - 8.0).collect()
}

fn vector(phase: usize, size: usize) -> Tensor {
    Typed::from_slice(&numbers(size, phase), [size]).expect("as many values").into_dyn()
}

fn weights(d: usize) -> Weights {
    let shared = vector(3, d);
    Weights { first: shared.clone(), layers: (0..3).map(|at| vector(at, d)).collect(), last: shared }
}

fn values<E: sawmill::Plain, const R: usize>(tensor: &Typed<E, R>) -> Vec<E> {
    tensor.to_vec().expect("the device works")
}

/// Three calls that append, on weights and a cache that are wherever they are.
fn steps(
    device: &Device,
    weights: &Weights,
    rows: &mut Rows,
    x: impl Fn(usize) -> Typed<f32, 2>,
) -> Vec<Typed<f32, 1>> {
    (0..3).map(|turn| step::with(device).call(&x(turn), weights, &mut *rows).expect("it runs")).collect()
}

fn rows_of(turn: usize, d: usize) -> Typed<f32, 2> {
    Typed::from_slice(&numbers((turn + 1) * d, turn), [turn + 1, d]).expect("as many values")
}

/// What is resident stays where it is, and results are the processor's.
fn everything_stays(device: &Device, copied: impl Fn() -> u64) {
    let cpu = Device::cpu_with(2, None).expect("threads start");
    let d = 40;
    let mut rows = Rows::with_capacity(&[d], 20).expect("memory");
    let wanted: Vec<Vec<f32>> =
        steps(&cpu, &weights(d), &mut rows, |turn| rows_of(turn, d)).iter().map(values).collect();

    let there = weights(d).to(device).expect("memory");
    assert!(there.first.is_on_device() && there.layers.iter().all(Tensor::is_on_device));
    let mut rows = Rows::with_capacity(&[d], 20).expect("memory").to(device).expect("memory");
    copied();
    let found = steps(device, &there, &mut rows, |turn| rows_of(turn, d).to(device).expect("memory"));
    assert!(copied() <= 3 * 4, "scalars alone come from the host");
    assert!(found.iter().all(|y| y.as_dyn().is_on_device() && y.as_dyn().device() == Some(device)));
    assert!(found[0].as_slice().is_none(), "not this process's memory");
    assert_eq!(found.iter().map(values).collect::<Vec<_>>(), wanted);
    // The cache holds what was appended, and can be brought back and go on.
    let held = sawmill::CacheType::cache(&rows).field("row").expect("a field").expect("memory");
    assert_eq!((held.shape(), held.is_on_device()), (&[6, d][..], false));
    let back = rows.to(&cpu).expect("memory");
    assert_eq!(sawmill::CacheType::cache(&back).len(), 6);
    let again = sawmill::CacheType::cache(&back).field("row").expect("a field").expect("memory");
    assert_eq!(again.to_vec::<f32>().expect("f32"), held.to_vec::<f32>().expect("f32"));
    // An argument of host memory among resident ones is copied, and the output stays.
    let mixed = step::with(device).call(&rows_of(0, d), &there, &mut rows).expect("it runs");
    assert!(mixed.as_dyn().is_on_device());
    // Arguments of host memory alone give outputs there.
    let mut rows = Rows::with_capacity(&[d], 20).expect("memory");
    let plain = steps(device, &weights(d), &mut rows, |turn| rows_of(turn, d));
    assert!(plain.iter().all(|y| !y.as_dyn().is_on_device()));
    assert_eq!(plain.iter().map(values).collect::<Vec<_>>(), wanted);
}

/// Strided, transposed, empty and packed tensors, and promises about resident ones.
fn odd_tensors_move(device: &Device) {
    let square = Typed::<f32, 2>::from_slice(&numbers(64, 0), [8, 8]).expect("64 values");
    let corner = square.restride([3, 4], [-32, 8], 5 * 32 + 4).expect("inside");
    let moved = corner.to(device).expect("memory");
    assert_eq!(values(&moved), values(&corner));
    assert_eq!(values(&moved.to_host().expect("memory")), values(&corner));
    let empty = Typed::<f32, 2>::from_slice(&[], [0, 5]).expect("no values").to(device).expect("memory");
    assert_eq!((empty.shape(), values(&empty)), ([0, 5], vec![]));
    let packed = sawmill::PackedType::new(&sawmill_zoo::formats::q4_1).map(RuntimeElem::Packed).expect("a format");
    let bytes: Vec<u8> = (0..60).collect();
    let row = Tensor::from_bytes(&bytes, packed, &[96]).expect("three records");
    let there = row.to(device).expect("memory");
    assert_eq!((there.shape(), there.elem(), there.is_on_device()), (row.shape(), row.elem(), true));

    let x = Typed::<f32, 1>::from_slice(&numbers(10, 0), [10]).expect("ten values").to(device).expect("memory");
    let at = |values: &[i32]| {
        Typed::<i32, 1>::from_slice(values, [values.len()]).and_then(|at| at.to(device)).expect("memory")
    };
    let good = at(&[9, 0, 4]);
    for _ in 0..2 {
        let found = pick::with(device).call(&x, &good).expect("it runs");
        assert_eq!(values(&found), [9, 0, 4].map(|at| numbers(10, 0)[at]));
    }
    let error = pick::with(device).call(&x, &at(&[3, 10])).expect_err("10 is outside");
    assert!(
        matches!(&error, Error::Argument { argument, message, .. } if argument == "at" && message.contains("10")),
        "{error}"
    );
    assert!(pick::with(device).call(&x, &at(&[])).is_ok());
}

/// Tensors of one device's memory on another device are the caller's mistake.
fn devices_do_not_mix(device: &Device, other: &Device) {
    let q = Typed::<f32, 4>::from_slice(&numbers(4 * 64, 1), [1, 4, 1, 64]).expect("as many values");
    let (here, there) = (q.to(device).expect("memory"), q.to(other).expect("memory"));
    let error = attention::causal(&here, &there, &here).expect_err("two devices");
    assert!(matches!(&error, Error::Argument { argument, .. } if argument == "k"), "{error}");
    assert!(error.to_string().contains(".to(&device)"), "{error}");
    let error = attention::causal::with(other).call(&here, &here, &here).expect_err("another device was asked for");
    assert!(matches!(error, Error::Requirement { .. }), "{error}");
    let moved = there.to(device).expect("memory");
    let (o, _) = attention::causal(&here, &moved, &here).expect("it runs where its arguments are");
    assert_eq!(o.device(), Some(device));
    let bias = Typed::<f32, 1>::from_slice(&[0.0; 4], [4]).and_then(|bias| bias.to(other)).expect("memory");
    let call =
        attention::attention::with(device).score(closure!(|z, b, h, i, j| z + { &bias }[j])).call(&here, &here, &here);
    assert!(matches!(call, Err(Error::Argument { .. })), "a captured tensor of another device");
}

fn apart() -> (Device, Apart) {
    Apart::device(2).expect("threads start")
}

#[test]
fn resident_tensors_are_not_copied_and_outputs_stay() {
    let (device, apart) = apart();
    everything_stays(&device, || apart.host_bytes());
    assert_eq!(apart.blocks(), 0, "all memory is given back");
}

#[test]
fn tensors_of_any_layout_move_and_promises_are_kept() {
    odd_tensors_move(&apart().0);
}

#[test]
fn tensors_of_two_devices_are_an_error_that_names_one() {
    devices_do_not_mix(&apart().0, &apart().0);
}

#[test]
fn what_fields_share_is_moved_once() {
    let (device, apart) = apart();
    let moved = weights(8).to(&device).expect("memory");
    assert_eq!(apart.blocks(), 4, "three layers, and one for the first and the last");
    assert_eq!(moved.last.to_vec::<f32>().expect("f32"), vector(3, 8).to_vec::<f32>().expect("f32"));
}

#[test]
fn a_device_without_memory_of_its_own_is_only_bound() {
    let cpu = Device::cpu_with(1, None).expect("threads start");
    let tensor = vector(0, 5).to(&cpu).expect("nothing is copied");
    assert!(!tensor.is_on_device() && tensor.device() == Some(&cpu));
    assert_eq!(tensor.to_host().expect("nothing is copied").device(), None);
}

#[cfg(feature = "cuda")]
mod cuda {
    //! The same on the first GPU, and what only a GPU does: order without waiting, repeated calls, threads, no memory left.

    use super::{
        Rows, devices_do_not_mix, everything_stays, numbers, odd_tensors_move, rows_of, step, values, weights,
    };
    use sawmill::Record;
    use sawmill::prelude::*;

    fn gpu() -> Device {
        Device::cuda_with(0, 2, None).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    #[ignore = "needs an NVIDIA GPU"]
    fn resident_tensors_stay() {
        everything_stays(&gpu(), || 0);
    }

    #[test]
    #[ignore = "needs an NVIDIA GPU"]
    fn tensors_of_any_layout_move() {
        odd_tensors_move(&gpu());
    }

    #[test]
    #[ignore = "needs an NVIDIA GPU"]
    fn two_streams_of_one_gpu_do_not_mix() {
        devices_do_not_mix(&gpu(), &gpu());
    }

    /// Enough calls for graphs to be made, changed (the cache grows, `x` has another size now and then) and launched.
    #[test]
    #[ignore = "needs an NVIDIA GPU"]
    fn repeated_calls_are_right_however_sizes_change() {
        let (d, device, cpu) = (40, gpu(), Device::cpu_with(2, None).expect("threads start"));
        let (here, there) = (weights(d), weights(d).to(&device).expect("memory"));
        let mut rows = Rows::with_capacity(&[d], 200).expect("memory");
        let mut moved = rows.to(&device).expect("memory");
        let mut found = Vec::new();
        for turn in 0..60 {
            let x = rows_of(if turn % 7 == 3 { 4 } else { 0 }, d);
            let wanted = step::with(&cpu).scale((turn % 3) as f32).call(&x, &here, &mut rows).expect("it runs");
            let resident = if turn % 5 == 0 { x.to(&device).expect("memory") } else { x };
            let y = step::with(&device).scale((turn % 3) as f32).call(&resident, &there, &mut moved).expect("it runs");
            // Some outputs are kept, so that others lie elsewhere.
            found.push((values(&wanted), y));
            if turn % 3 == 0 {
                let (wanted, y) = found.swap_remove(found.len() / 2);
                assert_eq!(values(&y), wanted, "turn {turn}");
            }
        }
        for (wanted, y) in &found {
            assert_eq!(&values(y), wanted);
        }
    }

    #[test]
    #[ignore = "needs an NVIDIA GPU"]
    fn threads_share_a_device() {
        let (d, device) = (24, gpu());
        let there = weights(d).to(&device).expect("memory");
        let cpu = Device::cpu_with(1, None).expect("threads start");
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (device, there, cpu) = (&device, &there, &cpu);
                scope.spawn(move || {
                    let mut rows = Rows::with_capacity(&[d], 64).expect("memory");
                    let mut moved = rows.to(device).expect("memory");
                    for turn in 0..24 {
                        let x = rows_of((thread + turn) % 2, d);
                        let wanted = step::with(cpu).call(&x, &weights(d), &mut rows).expect("it runs");
                        let x = x.to(device).expect("memory");
                        let y = step::with(device).call(&x, there, &mut moved).expect("it runs");
                        if turn % 4 == thread % 4 {
                            assert_eq!(values(&y), values(&wanted), "thread {thread} turn {turn}");
                        }
                    }
                });
            }
        });
    }

    /// With one GPU, asking for a second is an error of the environment; with two, both compute at once.
    #[test]
    #[ignore = "needs NVIDIA GPUs"]
    fn gpus_of_one_process_work_at_once() {
        let second = match Device::cuda_with(1, 2, None) {
            Ok(second) => second,
            Err(error) => {
                assert!(matches!(&error, Error::Environment(_)), "{error}");
                println!("one GPU: nothing ran on a second");
                return;
            }
        };
        let devices = [gpu(), second];
        devices_do_not_mix(&devices[0], &devices[1]);
        devices_do_not_mix(&devices[1], &devices[0]);
        let (d, cpu) = (24, Device::cpu_with(2, None).expect("threads start"));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (device, cpu) = (&devices[thread % 2], &cpu);
                scope.spawn(move || {
                    let there = weights(d).to(device).expect("memory");
                    let mut rows = Rows::with_capacity(&[d], 64).expect("memory");
                    let mut moved = rows.to(device).expect("memory");
                    for turn in 0..24 {
                        let x = rows_of(turn % 2, d);
                        let wanted = step::with(cpu).call(&x, &weights(d), &mut rows).expect("it runs");
                        let y = step::with(device).call(&x, &there, &mut moved).expect("it runs");
                        assert_eq!(values(&y), values(&wanted), "thread {thread} turn {turn}");
                    }
                });
            }
        });
    }

    /// It takes all memory, so it must run alone.
    #[test]
    #[ignore = "needs an NVIDIA GPU"]
    fn no_memory_left_is_an_error_and_the_device_works_on() {
        let device = gpu();
        let x = Typed::<f32, 1>::from_slice(&numbers(1000, 0), [1000]).expect("as many values");
        let mut held = Vec::new();
        // Nothing is in it, so that nothing of its 4 GiB is copied.
        let part = Rows::with_capacity(&[1 << 20], 1 << 10).expect("zeros that nobody touches");
        let error = loop {
            match part.to(&device) {
                Ok(rows) => held.push(rows),
                Err(error) => break error,
            }
            assert!(held.len() < 1000, "no GPU has so much");
        };
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
        held.pop();
        let moved = x.to(&device).expect("there is room again");
        assert_eq!(values(&moved), numbers(1000, 0));
        // Another device of the same GPU gets what this one no longer holds.
        held.clear();
        let other = gpu();
        let again: Vec<_> = (0..4).map(|_| part.to(&other)).collect::<Result<_, _>>().expect("memory came back");
        assert_eq!(again.len(), 4);
        let y = super::pick::with(&device)
            .call(&moved, &Typed::<i32, 1>::from_slice(&[7], [1]).expect("one"))
            .expect("it runs");
        assert_eq!(values(&y), numbers(1000, 0)[7..8]);
    }
}
