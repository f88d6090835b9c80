//! Every way to run a function, behind one signature.
//!
//! In: a linked function, the value of every dim, arguments. Out: its outputs, or what went wrong in words.
//! An engine is a stage of the pipeline made runnable: the graph interpreter on the function as linked (the meaning of the
//! language), on its normal form and on its plan; the tile interpreter on what the plan lowers to; machine code.

mod bytes;
pub(crate) mod ptx;

use bytes::{code, strides, unwritten};
use sawmill_cranelift::Cranelift;
use sawmill_ir::backend::{Backend, Call, CompileError, RunError, Slot, Workers};
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::graph::interp::{self, Inputs, Options, Value};
use sawmill_ir::graph::verify::verify_linked;
use sawmill_ir::graph::{self, Function};
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::target::Target;
use sawmill_ir::tile::interp::{Array, Data, Precision};
use sawmill_ir::tile::{self, Buffer, BufferKind, Module};
#[cfg(feature = "llvm")]
use sawmill_llvm::{Level, Llvm};
use sawmill_passes::{lower, normalise, optimise};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Workers of the machine-code engine.
const WORKERS: u32 = 2;

/// A dense tensor, as any engine takes and gives it. Integers and truth values are exact in f64 up to 53 bits, so they
/// are kept apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dense {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Elements,
}

/// The elements of a tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Elements {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Dense>;
/// Values of dims by name.
pub(crate) type Dims = BTreeMap<String, i64>;

/// A way to run a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The graph interpreter: the meaning.
    Meaning,
    /// The graph interpreter on the normal form.
    Normal,
    /// The graph interpreter on the optimised plan.
    Plan,
    /// The tile interpreter on the lowered plan, in f64.
    Tiles,
    /// Machine code by Cranelift.
    Cranelift,
    /// Machine code by LLVM, at a level of this processor.
    #[cfg(feature = "llvm")]
    Llvm(Level),
    /// Machine code by LLVM, with all that this processor has beyond its level.
    #[cfg(feature = "llvm")]
    LlvmHost,
    /// PTX, interpreted.
    Ptx,
    /// PTX on the first GPU of this machine.
    #[cfg(feature = "cuda")]
    Cuda,
}

impl Engine {
    /// Runs `function`. An error that begins with `unsupported:` is a refusal with a reason.
    pub(crate) fn run(self, function: &Function, dims: &Dims, inputs: &Tensors) -> Result<Tensors, String> {
        match self {
            Self::Meaning => run_graph(function, dims, inputs),
            Self::Normal => run_graph(&normal(function)?, dims, inputs),
            Self::Plan => run_graph(&plan(function)?, dims, inputs),
            Self::Ptx => self.run_tiles(&tiles_for(function, ptx::backend().target())?, dims, inputs),
            #[cfg(feature = "cuda")]
            Self::Cuda => self.run_tiles(&tiles_for(function, gpu().target())?, dims, inputs),
            _ => self.run_tiles(&tiles(function)?, dims, inputs),
        }
    }

    /// Runs tiles, on an engine that takes them.
    pub(crate) fn run_tiles(self, module: &Module, dims: &Dims, inputs: &Tensors) -> Result<Tensors, String> {
        match self {
            Self::Meaning | Self::Normal | Self::Plan => Err(format!("{self:?} takes no tiles")),
            Self::Tiles => run_tiles(module, dims, inputs),
            Self::Cranelift => {
                let backend = Cranelift::host(WORKERS).map_err(|error| failed("Cranelift", error))?;
                run_machine(&backend, module, dims, inputs)
            }
            #[cfg(feature = "llvm")]
            Self::Llvm(level) => {
                let backend = Llvm::at(level, WORKERS).map_err(|error| failed("LLVM", error))?;
                run_machine(&backend, module, dims, inputs)
            }
            #[cfg(feature = "llvm")]
            Self::LlvmHost => {
                let backend = Llvm::host(WORKERS).map_err(|error| failed("LLVM", error))?;
                run_machine(&backend, module, dims, inputs)
            }
            Self::Ptx => ptx::run(module, dims, inputs),
            #[cfg(feature = "cuda")]
            Self::Cuda => run_machine(gpu(), module, dims, inputs),
        }
    }

    /// The engines of this machine that take tiles.
    pub(crate) fn of_tiles() -> Vec<Self> {
        #[cfg_attr(not(feature = "llvm"), expect(unused_mut, reason = "more engines by a feature"))]
        let mut engines = vec![Self::Tiles, Self::Cranelift, Self::Ptx];
        #[cfg(feature = "llvm")]
        engines.extend(levels().into_iter().map(Self::Llvm));
        engines
    }
}

/// The tiles that a GPU would run, by their interpreter, which counts what is stored.
pub(crate) fn run_tiles_of_gpu(function: &Function, dims: &Dims, inputs: &Tensors) -> Result<Tensors, String> {
    run_tiles(&tiles_for(function, ptx::backend().target())?, dims, inputs)
}

/// The levels that LLVM generates code for and this processor has.
#[cfg(feature = "llvm")]
pub(crate) fn levels() -> Vec<Level> {
    let detected = Level::detected().expect("a processor with AVX2");
    Level::ALL.into_iter().filter(|level| *level <= detected).collect()
}

/// The first GPU.
#[cfg(feature = "cuda")]
fn gpu() -> &'static sawmill::cuda::Cuda {
    static GPU: std::sync::OnceLock<sawmill::cuda::Cuda> = std::sync::OnceLock::new();
    GPU.get_or_init(|| sawmill::cuda::Cuda::open(0).unwrap_or_else(|missing| panic!("{missing}")))
}

fn target() -> Target {
    Target::cpu128(WORKERS, true)
}

fn failed(stage: &str, error: CompileError) -> String {
    match error {
        CompileError::Bug { message, text } => format!("{stage}: {message}\n{text}"),
        CompileError::Unsupported(what) => format!("unsupported: {stage}: {what}"),
    }
}

fn checked(stage: &str, function: Function) -> Result<Function, String> {
    match verify_linked(&function) {
        Ok(()) => Ok(function),
        Err(errors) => {
            Err(format!("{stage} does not verify: {}\n{}", errors[0], graph::text::print_function(&function)))
        }
    }
}

/// The normal form, verified.
pub(crate) fn normal(function: &Function) -> Result<Function, String> {
    checked("the normal form", normalise(function).map_err(|error| failed("normalise", error))?)
}

/// The optimised plan, verified.
pub(crate) fn plan(function: &Function) -> Result<Function, String> {
    checked("the plan", optimise(&normal(function)?, &target()).map_err(|error| failed("optimise", error))?)
}

/// The tiles that the plan lowers to, verified.
pub(crate) fn tiles(function: &Function) -> Result<Module, String> {
    tiles_for(function, &target())
}

/// The same with the numbers of another machine.
pub(crate) fn tiles_for(function: &Function, target: &Target) -> Result<Module, String> {
    let plan = optimise(&normal(function)?, target).map_err(|error| failed("optimise", error))?;
    let module = lower(&checked("the plan", plan)?, target).map_err(|error| failed("lower", error))?;
    match tile::verify::verify(&module) {
        Ok(()) => Ok(module),
        Err(errors) => Err(format!("the tiles do not verify: {errors:?}\n{}", tile::text::print(&module))),
    }
}

fn run_graph(function: &Function, dims: &Dims, inputs: &Tensors) -> Result<Tensors, String> {
    let arguments: Result<Inputs, String> =
        inputs.iter().map(|(name, tensor)| Ok((name.clone(), Arc::new(tensor.value()?)))).collect();
    let outcome = interp::run(function, dims, &arguments?, Options::default());
    let outcome = outcome.map_err(|error| format!("{error}\n{}", graph::text::print_function(function)))?;
    let mut outputs: Tensors = outcome.outputs.iter().map(|(name, value)| (name.clone(), Dense::of(value))).collect();
    let mut lists: BTreeMap<String, Vec<Dense>> = BTreeMap::new();
    for after in &outcome.appended {
        match after.at.as_slice() {
            [] => drop(outputs.insert(after.input.clone(), Dense::of(&after.value))),
            _ => lists.entry(after.input.clone()).or_default().push(Dense::of(&after.value)),
        }
    }
    outputs.extend(lists.into_iter().map(|(name, entries)| (name, Dense::list_of(entries))));
    Ok(outputs)
}

impl Dense {
    fn value(&self) -> Result<Value, String> {
        match &self.data {
            Elements::Floats(data) => Value::floats(self.dtype, self.shape.clone(), data),
            Elements::Ints(data) if self.dtype == DType::Bool => {
                let bools = data.iter().map(|element| *element != 0).collect();
                Value::new(self.dtype, self.shape.clone(), interp::Data::Bool(bools))
            }
            Elements::Ints(data) => Value::ints(self.dtype, self.shape.clone(), data),
        }
    }

    fn of(value: &Value) -> Self {
        let data = if value.dtype.kind() == Kind::Float {
            Elements::Floats(value.to_floats())
        } else {
            Elements::Ints(value.to_ints())
        };
        Self { dtype: value.dtype, shape: value.shape.clone(), data }
    }

    fn array(&self) -> Option<Array> {
        match &self.data {
            Elements::Floats(data) => Array::floats(self.dtype, self.shape.clone(), data),
            Elements::Ints(data) if self.dtype == DType::Bool => {
                Array::bools(self.shape.clone(), &data.iter().map(|element| *element != 0).collect::<Vec<_>>())
            }
            Elements::Ints(data) => Array::ints(self.dtype, self.shape.clone(), data),
        }
    }

    fn of_array(array: &Array) -> Self {
        let data = match &array.data {
            Data::Float(data) => Elements::Floats(data.clone()),
            Data::Int(data) => Elements::Ints(data.clone()),
            Data::Bool(data) => Elements::Ints(data.iter().map(|element| i64::from(*element)).collect()),
        };
        Self { dtype: array.dtype, shape: array.shape.clone(), data }
    }

    /// The entries of a list, of which the first dimension is the number.
    fn entries(&self, rank: usize) -> Vec<Self> {
        let (lengths, shape) = self.shape.split_at(self.shape.len() - rank);
        let size: usize = shape.iter().product();
        let range = |entry: usize| entry * size..(entry + 1) * size;
        let data = |entry: usize| match &self.data {
            Elements::Floats(data) => Elements::Floats(data[range(entry)].to_vec()),
            Elements::Ints(data) => Elements::Ints(data[range(entry)].to_vec()),
        };
        let entry = |at: usize| Self { dtype: self.dtype, shape: shape.to_vec(), data: data(at) };
        (0..lengths.iter().product()).map(entry).collect()
    }

    /// The list of `entries`, of which there is at least one.
    fn list_of(entries: Vec<Self>) -> Self {
        let mut list = Self { shape: vec![entries.len()], ..entries[0].clone() };
        list.shape.extend(&entries[0].shape);
        for entry in &entries[1..] {
            match (&mut list.data, &entry.data) {
                (Elements::Floats(all), Elements::Floats(more)) => all.extend(more),
                (Elements::Ints(all), Elements::Ints(more)) => all.extend(more),
                _ => unreachable!("the entries of a list have one type"),
            }
        }
        list
    }

    /// The same in the corner of a larger tensor: a cache with room for what is appended, filled with what nobody should read.
    fn with_room(&self, shape: &[usize]) -> Self {
        let place = |at: usize| {
            let mut rest = at;
            let mut inside = Vec::new();
            for size in shape.iter().rev() {
                inside.push(rest % size);
                rest /= size;
            }
            inside.reverse();
            let old = inside.iter().zip(&self.shape);
            old.clone().all(|(at, size)| at < size).then(|| old.fold(0, |sum, (at, size)| sum * size + at))
        };
        let count = shape.iter().product();
        let data = match &self.data {
            Elements::Floats(data) => {
                Elements::Floats((0..count).map(|at| place(at).map_or(-77.0, |p| data[p])).collect())
            }
            Elements::Ints(data) => Elements::Ints((0..count).map(|at| place(at).map_or(77, |p| data[p])).collect()),
        };
        Self { dtype: self.dtype, shape: shape.to_vec(), data }
    }

    /// What a buffer is given: one tensor or the entries of a list, with the room that the buffer has.
    fn for_buffer(&self, kind: &BufferKind, shape: &[usize]) -> Vec<Self> {
        match kind {
            BufferKind::Input { list: true } => self.entries(shape.len()),
            BufferKind::InOut { list: true } => {
                self.entries(shape.len()).iter().map(|entry| entry.with_room(shape)).collect()
            }
            BufferKind::InOut { list: false } => vec![self.with_room(shape)],
            _ => vec![self.clone()],
        }
    }

    /// The elements as they lie in memory.
    fn bytes(&self) -> Result<Vec<u8>, String> {
        let bytes: Vec<Vec<u8>> = match (&self.data, self.dtype) {
            (Elements::Floats(data), DType::F64) => data.iter().map(|x| x.to_le_bytes().to_vec()).collect(),
            (Elements::Floats(data), DType::F32) => data.iter().map(|x| (*x as f32).to_le_bytes().to_vec()).collect(),
            (Elements::Floats(data), DType::F16) => {
                data.iter().map(|x| half::f16::from_f64(*x).to_le_bytes().to_vec()).collect()
            }
            (Elements::Floats(data), DType::BF16) => {
                data.iter().map(|x| half::bf16::from_f64(*x).to_le_bytes().to_vec()).collect()
            }
            (Elements::Ints(data), dtype) if dtype.bits() >= 8 => {
                let width = dtype.bits() as usize / 8;
                data.iter().map(|x| x.to_le_bytes()[..width].to_vec()).collect()
            }
            (Elements::Floats(data), DType::F8E4M3 | DType::F8E5M2 | DType::F8E8M0) => {
                data.iter().map(|x| code(self.dtype, *x).map(|code| vec![code])).collect::<Result<_, _>>()?
            }
            (Elements::Floats(data), DType::F4E2M1) => {
                self.pairs(&data.iter().map(|x| code(self.dtype, *x)).collect::<Result<Vec<_>, _>>()?)
            }
            (Elements::Ints(data), DType::U4 | DType::I4) => {
                self.pairs(&data.iter().map(|x| x.to_le_bytes()[0] & 15).collect::<Vec<_>>())
            }
            (_, dtype) => return Err(format!("unsupported: {dtype} has no bytes of its own")),
        };
        Ok(bytes.concat())
    }

    /// Two elements to a byte, the even one low; a row is whole bytes.
    fn pairs(&self, codes: &[u8]) -> Vec<Vec<u8>> {
        let row = self.shape.last().copied().unwrap_or(1).max(1);
        let pair = |pair: &[u8]| pair[0] | pair.get(1).map_or(0, |high| high << 4);
        codes.chunks(row).map(|row| row.chunks(2).map(pair).collect()).collect()
    }

    /// Reads what machine code wrote. Rows of elements that share bytes are whole bytes.
    fn of_bytes(dtype: DType, shape: Vec<usize>, bytes: &[u8]) -> Result<Self, String> {
        let mut padded = shape.clone();
        if let (true, Some(last)) = (dtype.bits() < 8, padded.last_mut()) {
            *last = last.next_multiple_of(2);
        }
        let mut dense = Self::of(&Value::from_bytes(dtype, padded.clone(), bytes)?);
        if let (Some(row), Some(of)) = (shape.last().copied(), padded.last().copied().filter(|of| *of > 0)) {
            match &mut dense.data {
                Elements::Floats(data) => *data = data.chunks(of).flat_map(|all| &all[..row]).copied().collect(),
                Elements::Ints(data) => *data = data.chunks(of).flat_map(|all| &all[..row]).copied().collect(),
            }
        }
        Ok(Self { shape, ..dense })
    }
}

/// The value of every dim of a module; variables of plan loops are 0.
fn module_dims(module: &Module, dims: &Dims, inputs: &Tensors) -> Vec<i64> {
    let scalar = |name: &str| match inputs.get(name).map(|tensor| &tensor.data) {
        Some(Elements::Ints(data)) => data.first().copied(),
        _ => None,
    };
    module.dims.values().map(|name| dims.get(name).copied().or_else(|| scalar(name)).unwrap_or(0)).collect()
}

fn shape_of(shape: &[Index], dims: &[i64]) -> Result<Vec<usize>, String> {
    let value = |atom: &Atom, _: &[i64]| match atom {
        Atom::Dim(dim) => dims.get(sawmill_ir::entity::Entity::index(*dim)).copied(),
        _ => None,
    };
    let size =
        |size: &Index| size.eval(&mut |atom, args| value(atom, args)).and_then(|size| usize::try_from(size).ok());
    shape.iter().map(|index| size(index).ok_or_else(|| format!("the size {index:?} has no value"))).collect()
}

fn run_tiles(module: &Module, dims: &Dims, inputs: &Tensors) -> Result<Tensors, String> {
    let values = module_dims(module, dims, inputs);
    let mut buffers = Vec::new();
    for buffer in module.buffers.values() {
        buffers.push(match buffer.kind {
            BufferKind::Input { .. } | BufferKind::InOut { .. } => {
                let given = inputs.get(&buffer.name);
                let given = given.ok_or_else(|| format!("the tiles take `{}`, which is no argument", buffer.name))?;
                let shape = shape_of(&buffer.shape, &values)?;
                given.for_buffer(&buffer.kind, &shape).iter().filter_map(Dense::array).collect()
            }
            _ => Vec::new(),
        });
    }
    tile::interp::run(module, &values, &mut buffers, Precision::F64)
        .map_err(|error| format!("{error}\n{}", tile::text::print(module)))?;
    let mut outputs = Tensors::new();
    for (buffer, arrays) in module.buffers.values().zip(&buffers) {
        let entries: Vec<Dense> = arrays.iter().map(Dense::of_array).collect();
        outputs.extend(given_back(buffer, entries)?);
    }
    Ok(outputs)
}

/// What a buffer holds at the end, if it is the caller's to see.
fn given_back(buffer: &Buffer, entries: Vec<Dense>) -> Result<Option<(String, Dense)>, String> {
    let lost = || format!("`{}` was not given back", buffer.name);
    Ok(match buffer.kind {
        BufferKind::Input { .. } | BufferKind::Temp => None,
        _ if entries.is_empty() => return Err(lost()),
        BufferKind::InOut { list: true } => Some((buffer.name.clone(), Dense::list_of(entries))),
        _ => entries.into_iter().next().map(|one| (buffer.name.clone(), one)),
    })
}

/// Threads that share the items of a run in strides.
struct Threads;

impl Workers for Threads {
    fn count(&self) -> usize {
        WORKERS as usize
    }

    fn run(&self, items: usize, work: &(dyn Fn(usize, usize) + Sync)) -> Result<(), RunError> {
        std::thread::scope(|scope| {
            for worker in 0..self.count() {
                scope.spawn(move || (worker..items).step_by(WORKERS as usize).for_each(|item| work(worker, item)));
            }
        });
        Ok(())
    }
}

fn run_machine(backend: &dyn Backend, module: &Module, dims: &Dims, inputs: &Tensors) -> Result<Tensors, String> {
    let artifact = backend.compile(module).map_err(|error| failed(backend.name(), error))?;
    let program = backend.load(module, &artifact).map_err(|error| failed(backend.name(), error))?;
    let values = module_dims(module, dims, inputs);
    let mut memory = Vec::new();
    for buffer in module.buffers.values() {
        if buffer.kind == BufferKind::Temp {
            memory.push((Vec::new(), Vec::new()));
            continue;
        }
        let shape = shape_of(&buffer.shape, &values)?;
        let bytes: Vec<Vec<u8>> = match inputs.get(&buffer.name) {
            Some(tensor) => {
                tensor.for_buffer(&buffer.kind, &shape).iter().map(Dense::bytes).collect::<Result<_, _>>()?
            }
            None => vec![unwritten(buffer.dtype, &shape)],
        };
        memory.push((shape, bytes));
    }
    let slots: Vec<Vec<Slot>> = module
        .buffers
        .values()
        .zip(&mut memory)
        .map(|(buffer, (shape, bytes))| {
            let strides = strides(buffer.dtype, shape);
            let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
            let slot = |bytes: &mut Vec<u8>| Slot {
                address: bytes.as_mut_ptr(),
                dtype: buffer.dtype,
                shape: shape.as_slice().into(),
                strides: strides.as_slice().into(),
                remote: false,
            };
            bytes.iter_mut().map(slot).collect()
        })
        .collect();
    program
        .run(&mut Call { dims: &values, buffers: &slots, workers: &Threads })
        .map_err(|error| format!("the run failed: {error}"))?;
    let mut outputs = Tensors::new();
    for (buffer, (shape, bytes)) in module.buffers.values().zip(memory) {
        let entries = bytes.iter().map(|bytes| Dense::of_bytes(buffer.dtype, shape.clone(), bytes));
        outputs.extend(given_back(buffer, entries.collect::<Result<_, _>>()?)?);
    }
    Ok(outputs)
}
