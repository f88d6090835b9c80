//! Runs a program on both interpreters.
//!
//! The program is run as written; what is lowered is the optimised plan and, apart from it, the normalised program, in which
//! every definition is stored: so lowering is tested on forms that the optimiser never chooses too.

use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::graph::interp::{Data, Inputs, Options, Value, run as run_graph};
use sawmill_ir::graph::text::parse_function;
use sawmill_ir::graph::{Elem, Function, Input, TensorKind};
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::target::Target;
use sawmill_ir::tile;
use sawmill_ir::tile::interp::{Array, Precision, run as run_tiles};
use sawmill_ir::tile::{BufferKind, Module};
use sawmill_passes::{lower, normalise, optimise};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A program in every form that is compared.
pub(crate) struct Forms {
    function: Function,
    /// What it is, and its tiles.
    pub(crate) lowered: Vec<(&'static str, Module)>,
}

/// Sizes by name.
pub(crate) type Sizes<'a> = [(&'a str, i64)];

fn target() -> Target {
    Target::cpu128(2, true)
}

/// The forms of a program.
pub(crate) fn forms(text: &str) -> Forms {
    let function = parse_function(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let normal = normalise(&function).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let plan = optimise(&normal, &target()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let tiles = |f: &Function| lower(f, &target()).unwrap_or_else(|e| panic!("{e:#?}\n{f}"));
    // Without matrix units, for these round what they multiply.
    let gpu = Target { matrix: Vec::new(), ..Target::gpu("gpu", 132, 227 << 10) };
    let of_gpu = optimise(&normal, &gpu).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let of_gpu = lower(&of_gpu, &gpu).unwrap_or_else(|e| panic!("{e:#?}\n{of_gpu}"));
    let lowered = vec![("optimised", tiles(&plan)), ("as written", tiles(&normal)), ("optimised for a GPU", of_gpu)];
    for (_, module) in &lowered {
        let text = tile::text::print(module);
        assert_eq!(tile::text::parse(&text).as_ref(), Ok(module), "{text}");
    }
    Forms { function, lowered }
}

/// Numbers that repeat nowhere soon.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64, Steele, Lea, Flood 2014.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 40) as f64 / f64::from(1 << 23) - 1.0
    }
    fn below(&mut self, bound: i64) -> i64 {
        (self.next() >> 1) as i64 % bound.max(1)
    }
}

/// How floats are chosen, by argument; `None` is between -1 and 1.
pub(crate) type Choose<'a> = &'a dyn Fn(&str, &mut Random) -> Option<f64>;

fn evaluate(size: &Index, dims: &[i64]) -> i64 {
    let lookup = &mut |atom: &Atom, _: &[i64]| match atom {
        Atom::Dim(dim) => dims.get(sawmill_ir::entity::Entity::index(*dim)).copied(),
        _ => None,
    };
    size.eval(lookup).unwrap_or_else(|| panic!("{size:?}"))
}

fn shape(sizes: &[Index], dims: &[i64]) -> Vec<usize> {
    sizes.iter().map(|s| usize::try_from(evaluate(s, dims)).expect("sizes are natural")).collect()
}

fn value(
    name: &str,
    dtype: DType,
    shape: Vec<usize>,
    input: &Input,
    dims: &[i64],
    random: &mut Random,
    choose: Choose<'_>,
) -> Value {
    let count = shape.iter().product::<usize>();
    let data = match dtype.kind() {
        Kind::Bool => Data::Bool((0..count).map(|_| random.below(3) > 0).collect()),
        Kind::Signed | Kind::Unsigned => {
            let (lo, hi) = input.promise.as_ref().map_or((0, 16), |(lo, hi)| (evaluate(lo, dims), evaluate(hi, dims)));
            let ints: Vec<i64> = (0..count).map(|_| lo + random.below(hi - lo)).collect();
            match dtype {
                DType::U8 => Data::U8((0..count).map(|_| random.below(256) as u8).collect()),
                DType::I8 => Data::I8((0..count).map(|_| (random.below(256) - 128) as i8).collect()),
                DType::I32 => Data::I32(ints.iter().map(|v| *v as i32).collect()),
                _ => Data::I64(ints),
            }
        }
        _ => {
            let mut one = || choose(name, random).unwrap_or_else(|| random.unit());
            let floats: Vec<f64> = (0..count).map(|_| one()).collect();
            match dtype {
                DType::F16 => Data::F16(floats.iter().map(|v| half::f16::from_f64(*v).to_bits()).collect()),
                DType::BF16 => Data::BF16(floats.iter().map(|v| half::bf16::from_f64(*v).to_bits()).collect()),
                DType::F32 => Data::F32(floats.iter().map(|v| *v as f32).collect()),
                _ => Data::F64(floats),
            }
        }
    };
    Value::new(dtype, shape, data).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn array(dtype: DType, shape: Vec<usize>, value: &Value, range: std::ops::Range<usize>) -> Array {
    let made = match dtype.kind() {
        Kind::Bool => Array::bools(shape, &range.map(|i| value.data.int(i) != 0).collect::<Vec<_>>()),
        Kind::Signed | Kind::Unsigned => {
            Array::ints(dtype, shape, &range.map(|i| value.data.int(i)).collect::<Vec<_>>())
        }
        _ => Array::floats(dtype, shape, &range.map(|i| value.data.float(i)).collect::<Vec<_>>()),
    };
    made.expect("as many elements as the shape says")
}

/// A cache as long as after the call: what was there before, then values that must not be read.
fn grown(dtype: DType, before: &[usize], after: &[usize], old: &[f64]) -> Array {
    let mut data = vec![f64::NAN; after.iter().product()];
    for (n, value) in old.iter().enumerate() {
        let (mut rest, mut at, mut stride) = (n, 0, 1);
        for (small, large) in before.iter().zip(after).rev() {
            at += rest % small * stride;
            rest /= small;
            stride *= large;
        }
        data[at] = *value;
    }
    Array::floats(dtype, after.to_vec(), &data).expect("as many elements as the shape says")
}

fn buffers(module: &Module, dims: &[i64], function: &Function, inputs: &Inputs) -> Vec<Vec<Array>> {
    let one = |buffer: &tile::Buffer| {
        let (list, grows) = match buffer.kind {
            BufferKind::Input { list } => (list, false),
            BufferKind::InOut { list } => (list, true),
            BufferKind::Output | BufferKind::Temp => return Vec::new(),
        };
        let value = &inputs[&buffer.name];
        let after = shape(&buffer.shape, dims);
        let before = value.shape[usize::from(list)..].to_vec();
        let each: usize = before.iter().product();
        let elements = if list { value.shape[0] } else { 1 };
        let at = |n: usize| {
            let range = n * each..(n + 1) * each;
            let old: Vec<f64> = range.clone().map(|i| value.data.float(i)).collect();
            if grows {
                grown(buffer.dtype, &before, &after, &old)
            } else {
                array(buffer.dtype, after.clone(), value, range)
            }
        };
        (0..elements).map(at).collect()
    };
    let dims_of = module.buffers.values().map(one).collect();
    assert!(function.dims.len() <= module.dims.len());
    dims_of
}

fn compare(found: &[f64], wanted: &Value, tolerance: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (at, found) in found.iter().enumerate() {
        let wanted = wanted.data.float(at);
        let same = found == &wanted || (found.is_nan() && wanted.is_nan());
        assert!(
            same || (found - wanted).abs() <= tolerance * (1.0 + wanted.abs()),
            "{what}: element {at} is {found}, not {wanted}"
        );
    }
}

impl Forms {
    /// Runs every form with these sizes; the text of a form that differs is in the panic.
    pub(crate) fn agree(&self, sizes: &Sizes<'_>, choose: Choose<'_>) {
        self.agree_within(1e-9, sizes, choose);
    }
    /// The same, where caches and carries round: a value next to the middle of two is rounded up here and down there.
    pub(crate) fn agree_within(&self, tolerance: f64, sizes: &Sizes<'_>, choose: Choose<'_>) {
        let function = &self.function;
        let by_name: BTreeMap<String, i64> = sizes.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        let default = |dim: &sawmill_ir::graph::Dim| match dim.kind {
            sawmill_ir::graph::DimKind::Const(Some(value)) => value,
            _ => panic!("the size {} is not given", dim.name),
        };
        let dims: Vec<i64> =
            function.dims.values().map(|d| by_name.get(&d.name).copied().unwrap_or_else(|| default(d))).collect();
        let mut random = Random(sizes.iter().fold(7, |s, (_, v)| s * 31 + *v as u64));
        let mut inputs = Inputs::new();
        for tensor in function.tensors.values() {
            let (TensorKind::Input(input), Elem::Type(dtype)) = (&tensor.kind, &tensor.elem) else { continue };
            let made = value(&tensor.name, *dtype, shape(&tensor.shape, &dims), input, &dims, &mut random, choose);
            inputs.insert(tensor.name.clone(), Arc::new(made));
        }
        let options = Options { exact_outputs: true };
        let wanted = run_graph(function, &by_name, &inputs, options).unwrap_or_else(|e| panic!("{e}\n{function}"));
        for (form, module) in &self.lowered {
            let context = || format!("{form} {sizes:?}\n{}", tile::text::print(module));
            let mut all = dims.clone();
            all.resize(module.dims.len(), 0);
            let mut data = buffers(module, &all, function, &inputs);
            run_tiles(module, &all, &mut data, Precision::F64).unwrap_or_else(|e| panic!("{e}\n{}", context()));
            for (name, value) in &wanted.outputs {
                let at = module.buffers.values().position(|b| b.name == *name);
                let at = at.unwrap_or_else(|| panic!("no output {name}\n{}", context()));
                compare(&data[at][0].to_f64(), value, tolerance, &format!("{name} of {}", context()));
            }
            for appended in &wanted.appended {
                let at = module.buffers.values().position(|b| b.name == appended.input).expect("a cache is a buffer");
                let element = appended.at.first().map_or(0, |n| usize::try_from(*n).expect("a place in a list"));
                compare(
                    &data[at][element].to_f64(),
                    &appended.value,
                    tolerance,
                    &format!("{} of {}", appended.input, context()),
                );
            }
        }
    }
    /// Runs every form with ordinary values.
    pub(crate) fn agree_on(&self, cases: &[&Sizes<'_>]) {
        for sizes in cases {
            self.agree(sizes, &|_, _| None);
        }
    }
}

impl Random {
    /// Whether something happens that happens one time in `n`.
    pub(crate) fn once_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }
}
