//! Runs tile kernels lowered to VIR, in VIR's interpreter and as machine code, against the interpreter of tile IR.
//!
//! In: a kernel, sizes, a seed. Out: a panic that shows the kernel at the first element that
//! differs by more than the tolerance. Arguments are random; each run is repeated with several layouts of memory.

use crate::harness::Random;
use crate::subject::Subject;
use crate::subjects::subjects;
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::{Arena, Entity};
use sawmill_ir::graph::interp::Value;
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::tile::interp::{Array, Data, Precision, run_kernel};
use sawmill_ir::tile::text::print_kernel;
use sawmill_ir::tile::{Access, Kernel, MemId};
use sawmill_launch::JitCode;
use sawmill_simd::abi::ArgWords;
use sawmill_simd::lower::{Lowered, lower};
use sawmill_simd::vir::{self, Memory, Options};

/// How an array lies in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lay {
    /// Row-major without gaps.
    Dense,
    /// Row-major, rows further apart than needed.
    Gaps,
    /// The last dimension outermost.
    Transposed,
}

/// A kernel under test.
pub(crate) struct Case {
    pub(crate) kernel: Kernel,
    pub(crate) sizes: Vec<Vec<i64>>,
    pub(crate) seed: u64,
    pub(crate) tolerance: f64,
    /// Range of random floats and of random integers.
    pub(crate) ints: (i64, i64),
    pub(crate) lays: Vec<Lay>,
}

impl Case {
    pub(crate) fn new<const N: usize>(kernel: &Kernel, sizes: &[[i64; N]]) -> Case {
        Case {
            kernel: kernel.clone(),
            sizes: sizes.iter().map(|dims| dims.to_vec()).collect(),
            seed: 7,
            tolerance: 2e-6,
            ints: (-20, 20),
            lays: vec![Lay::Dense, Lay::Gaps, Lay::Transposed],
        }
    }
    pub(crate) fn tolerance(mut self, tolerance: f64) -> Case {
        self.tolerance = tolerance;
        self
    }
    pub(crate) fn ints(mut self, low: i64, high: i64) -> Case {
        self.ints = (low, high);
        self
    }

    /// Runs it everywhere and compares; gives the lowering for the first subject.
    pub(crate) fn check(&self) -> Lowered {
        let lowered: Vec<Lowered> = subjects().iter().map(|subject| self.check_on(subject)).collect();
        lowered.into_iter().next().expect("there is a subject")
    }

    fn check_on(&self, subject: &Subject) -> Lowered {
        let kernel = &self.kernel;
        let text = print_kernel(kernel);
        let lowered = lower(kernel, &subject.target).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let function = &lowered.function;
        let code = subject.compile(function);
        for dims in &self.sizes {
            let arrays = arrays(kernel, dims, self.seed, self.ints);
            let mut expected = arrays.clone();
            run_kernel(kernel, dims, &mut expected, Precision::F32).unwrap_or_else(|e| panic!("{e}\n{text}"));
            for lay in &self.lays {
                let mut image = Image::of(kernel, &arrays, *lay);
                let got = image.interpret(kernel, function, dims);
                self.compare(kernel, &expected, &got, function, (*lay, "interpreted"));
                let got = image.run(kernel, &code, dims);
                self.compare(kernel, &expected, &got, function, (*lay, &subject.name()));
            }
        }
        lowered
    }

    fn compare(
        &self,
        kernel: &Kernel,
        expected: &Arena<MemId, Array>,
        got: &[Vec<f64>],
        function: &vir::Function,
        how: (Lay, &str),
    ) {
        for (id, memory) in kernel.memory.iter().filter(|(_, m)| m.access != Access::In) {
            let want = expected[id].to_f64();
            for (at, (want, got)) in want.iter().zip(&got[id.index()]).enumerate() {
                let close = want == got
                    || (want.is_nan() && got.is_nan())
                    || (want - got).abs() <= self.tolerance * want.abs().max(1.0);
                assert!(
                    close,
                    "{how:?} `{}` element {at}: expected {want}, got {got}\n{}\n{function}",
                    memory.name,
                    print_kernel(kernel)
                );
            }
        }
    }
}

/// Random arguments.
pub(crate) fn arrays(kernel: &Kernel, dims: &[i64], seed: u64, (low, high): (i64, i64)) -> Arena<MemId, Array> {
    let mut random = Random(seed);
    let one = |memory: &sawmill_ir::tile::Memory| {
        let shape: Vec<usize> = memory.shape.iter().map(|n| size(n, dims) as usize).collect();
        let count = shape.iter().product();
        let float = |r: &mut Random| (r.next() >> 40) as f64 / f64::from(1 << 23) - 1.0;
        let array = match memory.dtype {
            DType::Bool => Array::bools(shape, &(0..count).map(|_| random.below(2) == 1).collect::<Vec<_>>()),
            d if d.is_float() => {
                let values: Vec<f64> = (0..count).map(|_| f64::from(float(&mut random) as f32)).collect();
                Array::floats(d, shape, &values)
            }
            d => {
                let span = (high - low) as usize + 1;
                let values: Vec<i64> = (0..count).map(|_| low + random.below(span) as i64).collect();
                Array::ints(d, shape, &values)
            }
        };
        array.expect("as many elements as the shape has")
    };
    kernel.memory.values().map(one).collect()
}

pub(crate) fn size(index: &Index, dims: &[i64]) -> i64 {
    let lookup = &mut |atom: &Atom, _: &[i64]| match atom {
        Atom::Dim(dim) => dims.get(dim.index()).copied(),
        _ => None,
    };
    index.eval(lookup).expect("a size over known dims")
}

/// Arguments as bytes.
pub(crate) struct Image {
    regions: Vec<Vec<u8>>,
    shapes: Vec<Vec<usize>>,
    strides: Vec<Vec<i64>>,
}

impl Image {
    pub(crate) fn of(kernel: &Kernel, arrays: &Arena<MemId, Array>, lay: Lay) -> Image {
        let mut image = Image { regions: Vec::new(), shapes: Vec::new(), strides: Vec::new() };
        for (id, memory) in kernel.memory.iter() {
            let array = &arrays[id];
            let bytes = i64::from(memory.dtype.bytes().expect("whole bytes"));
            let strides = strides(&array.shape, bytes, lay);
            let reach: i64 = array.shape.iter().zip(&strides).map(|(n, s)| (*n as i64 - 1).max(0) * s).sum();
            let mut region = vec![0x5a; (reach + bytes) as usize];
            for (number, at) in offsets(&array.shape, &strides).into_iter().enumerate() {
                let bits = encode(array, number);
                region[at..at + bytes as usize].copy_from_slice(&bits.to_le_bytes()[..bytes as usize]);
            }
            image.regions.push(region);
            image.shapes.push(array.shape.clone());
            image.strides.push(strides);
        }
        image
    }

    /// Argument words but for addresses, and the number of blocks.
    fn sizes(&self, kernel: &Kernel, dims: &[i64]) -> (Vec<u64>, u64) {
        let words = ArgWords::of(kernel);
        let mut args = vec![0_u64; words.count() as usize];
        for (id, _) in kernel.memory.iter() {
            for (d, (extent, stride)) in self.shapes[id.index()].iter().zip(&self.strides[id.index()]).enumerate() {
                args[words.extent(id, d as u32) as usize] = *extent as u64;
                args[words.stride(id, d as u32) as usize] = stride.cast_unsigned();
            }
        }
        for dim in kernel.dims.keys() {
            args[words.dim(dim) as usize] = dims[dim.index()].cast_unsigned();
        }
        let blocks: i64 = kernel.grid.iter().map(|(_, n)| size(n, dims).max(0)).product();
        (args, blocks as u64)
    }
    /// Argument words for machine code, and the number of blocks.
    pub(crate) fn arguments(&mut self, kernel: &Kernel, dims: &[i64]) -> (Vec<u64>, u64) {
        let words = ArgWords::of(kernel);
        let (mut args, blocks) = self.sizes(kernel, dims);
        for (id, region) in kernel.memory.keys().zip(self.regions.iter_mut()) {
            args[words.pointer(id) as usize] = region.as_mut_ptr() as u64;
        }
        (args, blocks)
    }

    /// What VIR's interpreter leaves in memory.
    fn interpret(&self, kernel: &Kernel, function: &vir::Function, dims: &[i64]) -> Vec<Vec<f64>> {
        let words = ArgWords::of(kernel);
        let (mut args, blocks) = self.sizes(kernel, dims);
        let mut memory = Memory::default();
        let starts: Vec<u64> = self.regions.iter().map(|r| memory.alloc(r.clone())).collect();
        for (id, start) in kernel.memory.keys().zip(&starts) {
            args[words.pointer(id) as usize] = *start;
        }
        vir::interpret(function, &mut memory, &args, (0, blocks), Options::default())
            .unwrap_or_else(|e| panic!("{e}\n{function}"));
        let regions: Vec<Vec<u8>> = starts.iter().map(|s| memory.contents(*s).to_vec()).collect();
        self.decoded(kernel, &regions)
    }
    /// What machine code leaves in memory; the image is changed.
    fn run(&mut self, kernel: &Kernel, code: &JitCode, dims: &[i64]) -> Vec<Vec<f64>> {
        let (args, blocks) = self.arguments(kernel, dims);
        let mut scratch = vec![0xa5_u8; code.scratch_bytes() as usize + 64];
        let aligned = scratch.as_mut_ptr().align_offset(64);
        // SAFETY: the interpreter ran the same function on the same arguments before and found every access inside; the
        // scratch is as large as asked for.
        unsafe { code.call(&args, 0, blocks, scratch.as_mut_ptr().add(aligned)) };
        self.decoded(kernel, &self.regions)
    }
    fn decoded(&self, kernel: &Kernel, regions: &[Vec<u8>]) -> Vec<Vec<f64>> {
        let one = |(id, memory): (MemId, &sawmill_ir::tile::Memory)| {
            let at = offsets(&self.shapes[id.index()], &self.strides[id.index()]);
            at.into_iter().map(|at| decode(memory.dtype, &regions[id.index()][at..])).collect()
        };
        kernel.memory.iter().map(one).collect()
    }
}

fn strides(shape: &[usize], bytes: i64, lay: Lay) -> Vec<i64> {
    let mut order: Vec<usize> = (0..shape.len()).collect();
    if matches!(lay, Lay::Transposed) {
        order.rotate_right(1.min(shape.len()));
    }
    let mut strides = vec![0; shape.len()];
    let mut step = bytes;
    for (position, dimension) in order.iter().rev().enumerate() {
        strides[*dimension] = step;
        let gap = if matches!(lay, Lay::Gaps) && position == 0 { 3 } else { 0 };
        step *= shape[*dimension] as i64 + gap;
    }
    strides
}

fn offsets(shape: &[usize], strides: &[i64]) -> Vec<usize> {
    let count: usize = shape.iter().product();
    (0..count)
        .map(|number| {
            let mut rest = number;
            let mut at = 0;
            for (extent, stride) in shape.iter().zip(strides).rev() {
                at += (rest % extent) as i64 * stride;
                rest /= extent;
            }
            at as usize
        })
        .collect()
}

fn encode(array: &Array, at: usize) -> u64 {
    match (&array.data, array.dtype) {
        (Data::Float(x), DType::F64) => x[at].to_bits(),
        (Data::Float(x), DType::F32) => u64::from((x[at] as f32).to_bits()),
        (Data::Float(x), DType::F16) => u64::from(vir::f16_from_f32(x[at] as f32)),
        (Data::Float(x), DType::BF16) => u64::from(vir::bf16_from_f32(x[at] as f32)),
        (Data::Float(x), dtype) => {
            let code = (0..=255).find(|code| decode(dtype, &[*code]).to_bits() == x[at].to_bits());
            u64::from(code.expect("an array holds numbers of its type"))
        }
        (Data::Int(x), _) => x[at].cast_unsigned(),
        (Data::Bool(x), _) => u64::from(x[at]),
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> f64 {
    let width = dtype.bytes().expect("whole bytes") as usize;
    let mut word = [0_u8; 8];
    word[..width].copy_from_slice(&bytes[..width]);
    let bits = u64::from_le_bytes(word);
    let signed = (bits << (64 - 8 * width)).cast_signed() >> (64 - 8 * width);
    match dtype {
        DType::F64 => f64::from_bits(bits),
        DType::F32 => f64::from(f32::from_bits(bits as u32)),
        DType::F16 => f64::from(vir::f32_from_f16(bits as u16)),
        DType::BF16 => f64::from(vir::f32_from_bf16(bits as u16)),
        DType::F8E4M3 | DType::F8E5M2 | DType::F8E8M0 => {
            Value::from_bytes(dtype, vec![1], &bytes[..1]).expect("one element").to_floats()[0]
        }
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => signed as f64,
        _ => bits as f64,
    }
}
