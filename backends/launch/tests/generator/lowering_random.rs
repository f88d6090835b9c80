//! Random tile programs against the interpreter of tile IR.
//!
//! In: a seed. Out: a kernel over two to three axes of odd extents whose values are made by random operations from loads, and
//! that stores several of them. Operations keep values small, so that one tolerance serves all.

use crate::harness::Random;
use crate::lowering::{ZERO, times};
use crate::tiles::Case;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::index::Index;
use sawmill_ir::tile::builder::{Built, KernelBuilder, Sub};
use sawmill_ir::tile::{Access, AxisId, Kernel, MemId, Phase, Value};

const EXTENTS: [u32; 7] = [1, 3, 4, 5, 7, 8, 17];
/// Sizes of the memories, which tiles may leave.
const SIDE: i64 = 19;

struct Program<'a> {
    k: KernelBuilder,
    random: &'a mut Random,
    axes: Vec<AxisId>,
    block: Value,
    inputs: Vec<MemId>,
    /// Float tiles so far.
    tiles: Vec<Value>,
}

impl Program<'_> {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len())]
    }
    fn tile(&mut self) -> Value {
        let tiles = self.tiles.clone();
        self.pick(&tiles)
    }
    /// A load over one or two axes, shifted so that some elements may lie outside.
    fn load(&mut self, at: Value) -> Built<Value> {
        let inputs = self.inputs.clone();
        let mem = self.pick(&inputs);
        let shift = self.k.int(self.random.below(5) as i64 - 2)?;
        let base = self.k.elem(ElemOp::Add, &[at, shift])?;
        let axes = self.axes.clone();
        let (a, b) = (self.pick(&axes), self.pick(&axes));
        let step = 1 + self.random.below(2) as i64;
        let first = Sub::Affine(base, vec![(a, step)]);
        let second = if a == b { Sub::Affine(shift, Vec::new()) } else { Sub::Affine(shift, vec![(b, 1)]) };
        let subs = if self.random.below(2) == 0 { vec![first, second] } else { vec![second, first] };
        self.k.load(mem, subs, ZERO, None)
    }
    /// One operation on random tiles.
    fn operation(&mut self, at: Value) -> Built<Value> {
        let (a, b) = (self.tile(), self.tile());
        match self.random.below(9) {
            0 => self.load(at),
            1 => self.k.elem(ElemOp::Add, &[a, b]),
            2 => self.k.elem(ElemOp::Mul, &[a, b]),
            3 => self.k.elem(ElemOp::Max, &[a, b]),
            4 => self.k.elem(ElemOp::Tanh, &[a]),
            5 => {
                let axes = self.axes.clone();
                let axis = self.pick(&axes);
                let (coord, limit) = (self.k.coord(axis, at)?, self.k.int(self.random.below(9) as i64)?);
                let mask = self.k.elem(ElemOp::Lt, &[coord, limit])?;
                self.k.elem(ElemOp::Select, &[mask, a, b])
            }
            6 => self.reduction(a),
            7 => self.product(a, b),
            _ => self.k.elem(ElemOp::Sub, &[a, b]),
        }
    }
    fn reduction(&mut self, x: Value) -> Built<Value> {
        let axes = self.k.type_of(x).axes.clone();
        if axes.is_empty() {
            return Ok(x);
        }
        let axis = self.pick(&axes);
        let op = self.pick(&[ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min]);
        let folded = self.k.reduce(op, x, vec![axis])?;
        self.k.elem(ElemOp::Tanh, &[folded])
    }
    fn product(&mut self, a: Value, b: Value) -> Built<Value> {
        let other = self.k.type_of(b).axes.clone();
        let both: Vec<AxisId> = self.k.type_of(a).axes.iter().copied().filter(|x| other.contains(x)).collect();
        if both.is_empty() {
            return self.k.elem(ElemOp::Mul, &[a, b]);
        }
        let axis = self.pick(&both);
        let sum = self.k.mma(a, b, None, vec![axis])?;
        self.k.elem(ElemOp::Tanh, &[sum])
    }
    /// A loop that carries two tiles and may exchange them.
    fn repeat(&mut self) -> Built<()> {
        let (first, second) = (self.tile(), self.tile());
        let (lo, mid, hi) = (self.k.int(0)?, self.k.int(2)?, self.k.int(3)?);
        let phases = vec![Phase { lo, hi: mid, edge: false }, Phase { lo: mid, hi, edge: true }];
        let before = self.tiles.clone();
        let mut inner = Random(self.random.next() | 1);
        let (axes, inputs, block) = (self.axes.clone(), self.inputs.clone(), self.block);
        let results = self.k.for_loop(1, phases, &[first, second], |k, at, _, carry| {
            let mut body = Program {
                k: std::mem::replace(k, KernelBuilder::new("moved")),
                random: &mut inner,
                axes,
                block,
                inputs,
                tiles: before.iter().chain(carry).copied().collect(),
            };
            let mut outcome = Ok(Vec::new());
            for _ in 0..4 {
                match body.operation(at) {
                    Ok(value) => body.tiles.push(value),
                    Err(error) => outcome = Err(error),
                }
            }
            let wanted = body.k.type_of(carry[0]).axes.clone();
            let swaps = carry.len() == 2 && body.k.type_of(carry[1]).axes == wanted && body.random.below(2) == 0;
            let fits = |k: &KernelBuilder, v: &&Value| k.type_of(**v).axes == wanted;
            let next = body.tiles.iter().rev().find(|v| fits(&body.k, v)).copied().unwrap_or(carry[0]);
            *k = body.k;
            outcome.map(|_: Vec<Value>| if swaps { vec![carry[1], next] } else { vec![next, carry[1]] })
        })?;
        self.tiles.extend(results);
        Ok(())
    }
    fn store(&mut self, name: &str, value: Value) -> Built<()> {
        let axes = self.k.type_of(value).axes.clone();
        let mut shape = vec![Index::int(2)];
        shape.extend(axes.iter().map(|a| Index::int(i64::from(self.k.extent(*a)))));
        let out = self.k.memory(name, DType::F32, shape, Access::Out);
        let zero = self.k.int(0)?;
        let block = Sub::Affine(self.block, Vec::new());
        let subs = [block].into_iter().chain(axes.iter().map(|a| Sub::Affine(zero, vec![(*a, 1)]))).collect();
        self.k.store(out, value, subs, None)
    }
}

fn program(seed: u64) -> Built<Kernel> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut k = KernelBuilder::new("random");
    let shape = vec![Index::int(SIDE), Index::int(SIDE)];
    let inputs =
        ["a", "b"].into_iter().zip([DType::F32, DType::F16]).map(|(n, d)| k.memory(n, d, shape.clone(), Access::In));
    let inputs: Vec<MemId> = inputs.collect();
    let block = k.grid("block", Index::int(2))?;
    let count = 2 + random.below(2);
    let axes = ["i", "j", "l"].into_iter().take(count).map(|name| k.axis(name, EXTENTS[random.below(7)])).collect();
    let start = times(&mut k, block, 3)?;
    let mut p = Program { k, random: &mut random, axes, block, inputs, tiles: Vec::new() };
    for _ in 0..3 {
        let loaded = p.load(start)?;
        p.tiles.push(loaded);
    }
    for _ in 0..5 {
        let value = p.operation(start)?;
        p.tiles.push(value);
    }
    p.repeat()?;
    for _ in 0..3 {
        let value = p.operation(start)?;
        p.tiles.push(value);
    }
    for (name, value) in ["x", "y", "z"].into_iter().zip(p.tiles.clone().into_iter().rev()) {
        p.store(name, value)?;
    }
    Ok(p.k.finish())
}

#[test]
fn random_tile_programs() -> Built<()> {
    for seed in 1..=60 {
        Case::new(&program(seed)?, &[[]]).tolerance(2e-4).check();
    }
    Ok(())
}
