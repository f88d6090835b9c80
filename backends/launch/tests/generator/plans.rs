//! Plans through the backend: arguments, temporaries, loops, swaps, refusals.

use crate::lowering::product;
use crate::subjects::backends;
use sawmill_ir::backend::{Call, RunError, Slot, Workers};
use sawmill_ir::dtype::DType;
use sawmill_ir::index::Index;
use sawmill_ir::tile::builder::Built;
use sawmill_ir::tile::{Buffer, BufferKind, Launch, Module, Step};

/// Threads that take items in turn.
struct Threads(usize);

impl Workers for Threads {
    fn count(&self) -> usize {
        self.0
    }
    fn run(&self, items: usize, work: &(dyn Fn(usize, usize) + Sync)) -> Result<(), RunError> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for worker in 0..self.0 {
                let next = &next;
                scope.spawn(move || {
                    loop {
                        let item = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if item >= items {
                            break;
                        }
                        work(worker, item);
                    }
                });
            }
        });
        Ok(())
    }
}

fn slot(data: &mut [f32], shape: &[i64]) -> Vec<Slot> {
    let mut strides = vec![4_i64; shape.len()];
    for d in (0..shape.len().saturating_sub(1)).rev() {
        strides[d] = strides[d + 1] * shape[d + 1];
    }
    vec![Slot {
        address: data.as_mut_ptr().cast(),
        dtype: DType::F32,
        shape: shape.into(),
        strides: strides.into(),
        remote: false,
    }]
}

/// x to the power 2^(L + 1) by squaring in a loop that exchanges a temporary with the output.
fn powers() -> Built<Module> {
    let mut module = Module { name: "powers".to_owned(), ..Module::default() };
    let n = module.dims.push("N".to_owned());
    let l = module.dims.push("L".to_owned());
    let step = module.dims.push("l".to_owned());
    let square = vec![Index::dim(n), Index::dim(n)];
    let mut buffer = |name: &str, kind: BufferKind| {
        module.buffers.push(Buffer { name: name.to_owned(), dtype: DType::F32, shape: square.clone(), kind })
    };
    let x = buffer("x", BufferKind::Input { list: false });
    let y = buffer("y", BufferKind::Output);
    let t = buffer("t", BufferKind::Temp);
    module.kernels = vec![product(8, 8, 8, false)?];
    let dims = vec![Index::dim(n); 3];
    let launch =
        |a, b| Step::Launch(Launch { kernel: 0, args: vec![(a, None), (a, None), (b, None)], dims: dims.clone() });
    let body = vec![launch(y, t), Step::Swap(y, t)];
    module.plan = vec![launch(x, y), Step::Loop { var: step, count: Index::dim(l), body }];
    Ok(module)
}

#[test]
fn a_loop_hands_on_its_result_by_exchange() -> Built<()> {
    let module = powers()?;
    for backend in backends(2) {
        let artifact = backend.compile(&module).expect("compiles");
        let program = backend.load(&module, &artifact).expect("loads");
        for (n, loops) in [(1, 0), (3, 1), (9, 2), (17, 3)] {
            let size = n as usize * n as usize;
            let mut x: Vec<f32> = (0..size).map(|i| ((i * 7 % 11) as f32 - 5.0) / (4.0 * n as f32)).collect();
            let mut y = vec![0.0_f32; size];
            let mut want: Vec<f32> = x.clone();
            for _ in 0..=loops {
                let before = want.clone();
                let n = n as usize;
                for (at, out) in want.iter_mut().enumerate() {
                    *out = (0..n).map(|k| before[at / n * n + k] * before[k * n + at % n]).sum();
                }
            }
            let buffers = [slot(&mut x, &[n, n]), slot(&mut y, &[n, n]), Vec::new()];
            let threads = Threads(2);
            program.run(&mut Call { dims: &[n, loops, 0], buffers: &buffers, workers: &threads }).expect("runs");
            for (got, want) in y.iter().zip(&want) {
                assert!((got - want).abs() <= 1e-5 * want.abs().max(1e-3), "{got} {want}");
            }
        }
    }
    Ok(())
}

#[test]
fn arguments_that_do_not_fit_are_refused() -> Built<()> {
    let module = powers()?;
    for backend in backends(1) {
        let artifact = backend.compile(&module).expect("compiles");
        let program = backend.load(&module, &artifact).expect("loads");
        let mut data = vec![0.0_f32; 9];
        let mut out = vec![0.0_f32; 9];
        let good = [slot(&mut data, &[3, 3]), slot(&mut out, &[3, 3]), Vec::new()];
        let run = |buffers: &[Vec<Slot>], dims: &[i64]| program.run(&mut Call { dims, buffers, workers: &Threads(1) });
        assert_eq!(run(&good, &[3, 1, 0]), Ok(()));
        let wrong_shape = [slot(&mut data, &[3, 2]), good[1].clone(), Vec::new()];
        let mut wrong_type = good.clone();
        wrong_type[0][0].dtype = DType::F16;
        let mut no_memory = good.clone();
        no_memory[1][0].address = std::ptr::null_mut();
        let missing = [good[0].clone(), Vec::new(), Vec::new()];
        for bad in [wrong_shape, wrong_type, no_memory, missing] {
            assert!(matches!(run(&bad, &[3, 1, 0]), Err(RunError::Bug(_))));
        }
        assert!(matches!(run(&good, &[3, 1]), Err(RunError::Bug(_))));
        assert!(run(&good, &[i64::MAX, 1, 0]).is_err());
    }
    Ok(())
}

#[test]
fn a_foreign_artifact_is_refused() -> Built<()> {
    let module = powers()?;
    for backend in backends(1) {
        let artifact = backend.compile(&module).expect("compiles");
        assert_eq!(artifact, backend.compile(&module).expect("compiles"), "two compilations differ");
        let mut other = module.clone();
        other.kernels = vec![product(8, 8, 4, false)?];
        assert!(backend.load(&other, &artifact).is_err());
        let mut cut = artifact.clone();
        cut.kernels[0].truncate(12);
        assert!(backend.load(&module, &cut).is_err());
        cut.kernels.clear();
        assert!(backend.load(&module, &cut).is_err());
    }
    Ok(())
}
