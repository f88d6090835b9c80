//! Lowering of tile operations, each against the interpreter of tile IR, with extents that fill no vector.

use crate::tiles::{Case, Lay};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::Const;
use sawmill_ir::index::Index;
use sawmill_ir::tile::builder::{Built, KernelBuilder, Sub};
use sawmill_ir::tile::text::parse;
use sawmill_ir::tile::{Access, AxisId, Kernel, MemId, Module, Pad, Phase, Value};

pub(crate) const ZERO: Pad = Pad::Value(Const::Float(0));

/// A kernel under construction with a grid of tiles over two dims.
pub(crate) struct Rows {
    pub(crate) k: KernelBuilder,
    pub(crate) m: AxisId,
    pub(crate) n: AxisId,
    pub(crate) m0: Value,
    pub(crate) n0: Value,
    pub(crate) shape: Vec<Index>,
}

/// `dims M, N`, tiles of `bm` by `bn`, one block per tile.
pub(crate) fn rows(bm: u32, bn: u32) -> Built<Rows> {
    let mut k = KernelBuilder::new("rows");
    let (m_size, n_size) = (Index::dim(k.dim("M")), Index::dim(k.dim("N")));
    let tiles = |size: &Index, by: u32| size.add(&Index::int(i64::from(by) - 1)).div(&Index::int(i64::from(by)));
    let mt = k.grid("mt", tiles(&m_size, bm))?;
    let nt = k.grid("nt", tiles(&n_size, bn))?;
    let (m, n) = (k.axis("m", bm), k.axis("n", bn));
    let m0 = times(&mut k, mt, i64::from(bm))?;
    let n0 = times(&mut k, nt, i64::from(bn))?;
    Ok(Rows { k, m, n, m0, n0, shape: vec![m_size, n_size] })
}

pub(crate) fn times(k: &mut KernelBuilder, value: Value, by: i64) -> Built<Value> {
    let by = k.int(by)?;
    k.elem(ElemOp::Mul, &[value, by])
}

impl Rows {
    pub(crate) fn input(&mut self, name: &str, dtype: DType) -> MemId {
        self.k.memory(name, dtype, self.shape.clone(), Access::In)
    }
    pub(crate) fn output(&mut self, name: &str, dtype: DType) -> MemId {
        self.k.memory(name, dtype, self.shape.clone(), Access::Out)
    }
    pub(crate) fn subs(&self) -> Vec<Sub> {
        vec![Sub::Affine(self.m0, vec![(self.m, 1)]), Sub::Affine(self.n0, vec![(self.n, 1)])]
    }
    pub(crate) fn load(&mut self, mem: MemId, pad: Pad) -> Built<Value> {
        let subs = self.subs();
        self.k.load(mem, subs, pad, None)
    }
    pub(crate) fn store(&mut self, mem: MemId, value: Value) -> Built<()> {
        let subs = self.subs();
        self.k.store(mem, value, subs, None)
    }
}

const SIZES: [[i64; 2]; 6] = [[1, 1], [3, 7], [5, 17], [0, 4], [7, 30], [16, 64]];

fn on_sizes(kernel: &Kernel, change: impl Fn(Case) -> Case) {
    change(Case::new(kernel, &SIZES)).check();
}

#[test]
fn a_tile_is_read_computed_and_stored() -> Built<()> {
    for (bm, bn) in [(1, 1), (3, 7), (4, 8), (2, 17), (8, 32)] {
        let mut r = rows(bm, bn)?;
        let (x, y) = (r.input("x", DType::F32), r.output("y", DType::F32));
        let a = r.load(x, ZERO)?;
        let b = r.k.elem(ElemOp::Add, &[a, a])?;
        let c = r.k.elem(ElemOp::Mul, &[b, a])?;
        r.store(y, c)?;
        on_sizes(&r.k.finish(), |case| case);
    }
    Ok(())
}

/// C = A B with B given row by row (`transposed` false) or column by column, blocks of `bm` by `bn` by `bk`.
pub(crate) fn product(bm: u32, bn: u32, bk: u32, transposed: bool) -> Built<Kernel> {
    let mut k = KernelBuilder::new("product");
    let sizes: Vec<Index> = ["M", "N", "K"].into_iter().map(|name| Index::dim(k.dim(name))).collect();
    let [m_size, n_size, k_size] = sizes.as_slice() else { unreachable!("three sizes") };
    let shape = |a: &Index, b: &Index| vec![a.clone(), b.clone()];
    let a = k.memory("a", DType::F32, shape(m_size, k_size), Access::In);
    let b_shape = if transposed { shape(n_size, k_size) } else { shape(k_size, n_size) };
    let b = k.memory("b", DType::F32, b_shape, Access::In);
    let c = k.memory("c", DType::F32, shape(m_size, n_size), Access::Out);
    let tiles = |size: &Index, by: u32| size.add(&Index::int(i64::from(by) - 1)).div(&Index::int(i64::from(by)));
    let mt = k.grid("mt", tiles(m_size, bm))?;
    let nt = k.grid("nt", tiles(n_size, bn))?;
    let (m, n, kk) = (k.axis("m", bm), k.axis("n", bn), k.axis("k", bk));
    let (m0, n0) = (times(&mut k, mt, i64::from(bm))?, times(&mut k, nt, i64::from(bn))?);
    let zero = zeros(&mut k, &[m, n])?;
    let (lo, hi) = (k.int(0)?, k.size(k_size.clone())?);
    let phases = vec![Phase { lo, hi, edge: false }];
    let sums = k.for_loop(i64::from(bk), phases, &[zero], |k, k0, _, carry| {
        let tile_a = k.load(a, vec![Sub::Affine(m0, vec![(m, 1)]), Sub::Affine(k0, vec![(kk, 1)])], ZERO, None)?;
        let (n_sub, k_sub) = (Sub::Affine(n0, vec![(n, 1)]), Sub::Affine(k0, vec![(kk, 1)]));
        let subs = if transposed { vec![n_sub, k_sub] } else { vec![k_sub, n_sub] };
        let tile_b = k.load(b, subs, ZERO, None)?;
        Ok(vec![k.mma(tile_a, tile_b, Some(carry[0]), vec![kk])?])
    })?;
    k.store(c, sums[0], vec![Sub::Affine(m0, vec![(m, 1)]), Sub::Affine(n0, vec![(n, 1)])], None)?;
    Ok(k.finish())
}

/// A tile of zeros over `axes`.
fn zeros(k: &mut KernelBuilder, axes: &[AxisId]) -> Built<Value> {
    filled(k, axes, 0.0)
}
/// A tile of one value over `axes`.
pub(crate) fn filled(k: &mut KernelBuilder, axes: &[AxisId], value: f64) -> Built<Value> {
    let (base, scalar) = (k.int(0)?, k.float(value, DType::F32)?);
    let mut condition = None;
    for axis in axes {
        let coord = k.coord(*axis, base)?;
        let here = k.elem(ElemOp::Ge, &[coord, base])?;
        condition = Some(match condition {
            None => here,
            Some(before) => k.elem(ElemOp::And, &[before, here])?,
        });
    }
    match condition {
        Some(condition) => k.elem(ElemOp::Select, &[condition, scalar, scalar]),
        None => Ok(scalar),
    }
}

#[test]
fn matrix_products() -> Built<()> {
    for transposed in [false, true] {
        for (bm, bn, bk) in [(4, 8, 4), (7, 5, 3), (16, 16, 16), (1, 16, 8), (16, 1, 16), (13, 20, 9)] {
            let kernel = product(bm, bn, bk, transposed)?;
            Case::new(&kernel, &[[1, 1, 1], [5, 9, 7], [16, 16, 32], [20, 33, 17], [0, 3, 4], [3, 3, 0]])
                .tolerance(1e-5)
                .check();
        }
    }
    Ok(())
}

/// Softmax of masked scores times values, over blocks of keys: shapes q[S, D], k[T, D], v[T, E], o[S, E].
pub(crate) fn scores(bi: u32, bj: u32, d_size: u32, e_size: u32) -> Built<Kernel> {
    let mut k = KernelBuilder::new("scores");
    let (s, t) = (Index::dim(k.dim("S")), Index::dim(k.dim("T")));
    let fixed = |n: u32| Index::int(i64::from(n));
    let q = k.memory("q", DType::F32, vec![s.clone(), fixed(d_size)], Access::In);
    let key = k.memory("k", DType::F32, vec![t.clone(), fixed(d_size)], Access::In);
    let value = k.memory("v", DType::F32, vec![t.clone(), fixed(e_size)], Access::In);
    let o = k.memory("o", DType::F32, vec![s.clone(), fixed(e_size)], Access::Out);
    let it = k.grid("it", s.add(&Index::int(i64::from(bi) - 1)).div(&fixed(bi)))?;
    let (i, j, d, e) = (k.axis("i", bi), k.axis("j", bj), k.axis("d", d_size), k.axis("e", e_size));
    let (i0, zero) = (times(&mut k, it, i64::from(bi))?, k.int(0)?);
    let whole = |axis: AxisId| Sub::Affine(zero, vec![(axis, 1)]);
    let tile_q = k.load(q, vec![Sub::Affine(i0, vec![(i, 1)]), whole(d)], ZERO, None)?;
    let offset = k.size(t.sub(&s))?;
    let t_value = k.size(t.clone())?;
    let ci = k.coord(i, i0)?;
    let limit = k.elem(ElemOp::Add, &[ci, offset])?;
    // Keys from `full` on may be masked for some query of the block.
    let first = k.elem(ElemOp::Add, &[i0, offset])?;
    let one = k.int(1)?;
    let some = k.elem(ElemOp::Add, &[first, one])?;
    let some = k.elem(ElemOp::Min, &[some, t_value])?;
    let some = k.elem(ElemOp::Max, &[some, zero])?;
    let step = k.int(i64::from(bj))?;
    let blocks = k.elem(ElemOp::Div, &[some, step])?;
    let full = k.elem(ElemOp::Mul, &[blocks, step])?;
    let rows_end = k.int(i64::from(bi))?;
    let end = k.elem(ElemOp::Add, &[first, rows_end])?;
    let end = k.elem(ElemOp::Min, &[end, t_value])?;
    let (m, l, acc) = (filled(&mut k, &[i], f64::NEG_INFINITY)?, zeros(&mut k, &[i])?, zeros(&mut k, &[i, e])?);
    let phases = vec![Phase { lo: zero, hi: full, edge: false }, Phase { lo: full, hi: end, edge: true }];
    let scale = k.float(std::f64::consts::LOG2_E / f64::from(d_size).sqrt(), DType::F32)?;
    let out = k.for_loop(i64::from(bj), phases, &[m, l, acc], |k, j0, edge, carry| {
        let [m, l, acc] = *carry else { unreachable!("three carries") };
        let tile_k = k.load(key, vec![Sub::Affine(j0, vec![(j, 1)]), whole(d)], ZERO, None)?;
        let tile_v = k.load(value, vec![Sub::Affine(j0, vec![(j, 1)]), whole(e)], ZERO, None)?;
        let raw = k.mma(tile_q, tile_k, None, vec![d])?;
        let lowest = k.float(f64::NEG_INFINITY, DType::F32)?;
        let z = k.branch(
            edge,
            |k| {
                let cj = k.coord(j, j0)?;
                let seen = k.elem(ElemOp::Le, &[cj, limit])?;
                let inside = k.elem(ElemOp::Lt, &[cj, t_value])?;
                let keep = k.elem(ElemOp::And, &[seen, inside])?;
                Ok(vec![k.elem(ElemOp::Select, &[keep, raw, lowest])?])
            },
            |_| Ok(vec![raw]),
        )?[0];
        let top = k.reduce(ReduceOp::Max, z, vec![j])?;
        let next = k.elem(ElemOp::Max, &[m, top])?;
        let nothing = k.elem(ElemOp::Eq, &[next, lowest])?;
        let nil = k.float(0.0, DType::F32)?;
        let base = k.elem(ElemOp::Select, &[nothing, nil, next])?;
        let (zs, bs, ms) = (
            k.elem(ElemOp::Mul, &[z, scale])?,
            k.elem(ElemOp::Mul, &[base, scale])?,
            k.elem(ElemOp::Mul, &[m, scale])?,
        );
        let shifted = k.elem(ElemOp::Sub, &[zs, bs])?;
        let p = k.elem(ElemOp::Exp2, &[shifted])?;
        let drop = k.elem(ElemOp::Sub, &[ms, bs])?;
        let a = k.elem(ElemOp::Exp2, &[drop])?;
        let row = k.reduce(ReduceOp::Sum, p, vec![j])?;
        let kept = k.elem(ElemOp::Mul, &[l, a])?;
        let total = k.elem(ElemOp::Add, &[kept, row])?;
        let rescaled = k.elem(ElemOp::Mul, &[acc, a])?;
        let next_acc = k.mma(p, tile_v, Some(rescaled), vec![j])?;
        Ok(vec![next, total, next_acc])
    })?;
    let none = k.float(0.0, DType::F32)?;
    let empty = k.elem(ElemOp::Eq, &[out[1], none])?;
    let inverse = k.elem(ElemOp::Recip, &[out[1]])?;
    let factor = k.elem(ElemOp::Select, &[empty, none, inverse])?;
    let result = k.elem(ElemOp::Mul, &[out[2], factor])?;
    k.store(o, result, vec![Sub::Affine(i0, vec![(i, 1)]), whole(e)], None)?;
    Ok(k.finish())
}

#[test]
fn softmax_over_blocks_of_keys() -> Built<()> {
    for (bi, bj, d, e) in [(8, 8, 8, 8), (16, 8, 16, 12), (5, 7, 9, 3), (1, 16, 8, 8), (4, 4, 5, 6)] {
        let kernel = scores(bi, bj, d, e)?;
        Case::new(&kernel, &[[1, 1], [1, 17], [9, 9], [17, 30], [8, 24], [20, 5]]).tolerance(1e-5).check();
    }
    Ok(())
}

/// y[n] = sum of w[n, k] x[k] where w[n, k] = d[n, k / 32] * q[n, k] + m[n, k / 32], q packed two to a byte, low halves first:
/// tiles of `bn` rows by `bb` blocks of 32.
pub(crate) fn packed_rows(bn: u32, bb: u32) -> Built<Kernel> {
    let mut k = KernelBuilder::new("packed");
    let (n_size, b_size) = (Index::dim(k.dim("N")), Index::dim(k.dim("KB")));
    let fixed = |n: u32| Index::int(i64::from(n));
    let x = k.memory("x", DType::F32, vec![b_size.scale(32)], Access::In);
    let d = k.memory("d", DType::F16, vec![n_size.clone(), b_size.clone()], Access::In);
    let m = k.memory("m", DType::F16, vec![n_size.clone(), b_size.clone()], Access::In);
    let q = k.memory("q", DType::U8, vec![n_size.clone(), b_size.clone(), fixed(16)], Access::In);
    let y = k.memory("y", DType::F32, vec![n_size.clone()], Access::Out);
    let nt = k.grid("nt", n_size.add(&Index::int(i64::from(bn) - 1)).div(&fixed(bn)))?;
    let (n, b, h, c) = (k.axis("n", bn), k.axis("b", bb), k.axis("h", 2), k.axis("c", 16));
    let (n0, zero) = (times(&mut k, nt, i64::from(bn))?, k.int(0)?);
    let start = zeros(&mut k, &[n])?;
    let hi = k.size(b_size)?;
    let phases = vec![Phase { lo: zero, hi, edge: false }];
    let sums = k.for_loop(i64::from(bb), phases, &[start], |k, b0, _, carry| {
        let x0 = times(k, b0, 32)?;
        let tile_x = k.load(x, vec![Sub::Affine(x0, vec![(b, 32), (h, 16), (c, 1)])], ZERO, None)?;
        let rows = |k: &mut KernelBuilder, mem| {
            k.load(mem, vec![Sub::Affine(n0, vec![(n, 1)]), Sub::Affine(b0, vec![(b, 1)])], ZERO, None)
        };
        let (tile_d, tile_m) = (rows(k, d)?, rows(k, m)?);
        let subs = vec![Sub::Affine(n0, vec![(n, 1)]), Sub::Affine(b0, vec![(b, 1)]), Sub::Affine(zero, vec![(c, 1)])];
        let bytes = k.load(q, subs, Pad::Value(Const::Int(0)), None)?;
        let half = k.coord(h, zero)?;
        let count = times(k, half, 4)?;
        let count = k.cast(count, DType::I32)?;
        let low = k.constant(Const::Int(15), DType::I32)?;
        let shifted = k.elem(ElemOp::Shr, &[bytes, count])?;
        let number = k.elem(ElemOp::BitAnd, &[shifted, low])?;
        let number = k.cast(number, DType::F32)?;
        let scaled = k.elem(ElemOp::Mul, &[tile_d, number])?;
        let w = k.elem(ElemOp::Add, &[scaled, tile_m])?;
        Ok(vec![k.mma(w, tile_x, Some(carry[0]), vec![b, h, c])?])
    })?;
    k.store(y, sums[0], vec![Sub::Affine(n0, vec![(n, 1)])], None)?;
    Ok(k.finish())
}

#[test]
fn packed_weights_times_a_vector() -> Built<()> {
    for (bn, bb) in [(1, 2), (8, 4), (3, 5), (16, 18)] {
        let kernel = packed_rows(bn, bb)?;
        Case::new(&kernel, &[[1, 1], [16, 8], [9, 18]]).ints(0, 255).tolerance(1e-4).check();
    }
    Ok(())
}

/// y[n] = sum of d[n, b] * q[n, b, c] * x[32 b + c], tiles of `bn` rows by `bb` blocks of 32.
fn scaled_rows(bn: u32, bb: u32) -> Kernel {
    let text = format!(
        "tile scaled {{
  dims N, B
  buffer x: f32[32*B] input
  buffer d: f16[N, B] input
  buffer q: i8[N, B, 32] input
  buffer y: f32[N] output
  kernel rows {{
    dims N, B
    memory x: f32[32*B] in
    memory d: f16[N, B] in
    memory q: i8[N, B, 32] in
    memory y: f32[N] out
    axes n = {bn}, b = {bb}, c = 32
    grid n = div({last} + N, {bn})
    %0: i64 = grid n
    %1: i64 = const {bn}
    %2: i64 = mul %0, %1
    %3: i64 = const 0
    %4: f32 = const 0.0
    %5: i64 = size B
    %16: f32<n> = for %6 edge %7 step {bb} [%3..%5 full] carry (%8: f32<n> = %4) {{
      %9: i64 = const 32
      %10: i64 = mul %6, %9
      %11: f32<b, c> = load x[%10 + 32*b + c] pad 0.0
      %12: i32<n, b, c> = load q[%2 + n, %6 + b, %3 + c] pad 0
      %13: f32<n, b, c> = cast %12
      %14: f32<n, b> = load d[%2 + n, %6 + b] pad 0.0
      %15: f32<n, b, c> = mul %13, %14
      %17: f32<n> = mma %11, %15, %8 over b, c
      yield %17
    }}
    store y[%2 + n] = %16
  }}
  plan {{
    launch rows(x, d, q, y) dims (N, B)
  }}
}}
",
        last = bn - 1
    );
    parse(&text).unwrap_or_else(|e| panic!("{e}")).kernels.remove(0)
}

#[test]
fn scales_leave_the_sums_over_their_blocks() {
    for (bn, bb) in [(1, 1), (1, 4), (8, 3), (5, 18)] {
        let case = Case::new(&scaled_rows(bn, bb), &[[1, 1], [16, 8], [9, 18]]).ints(-128, 127).tolerance(1e-4);
        let lowered = case.check();
        // Elements are multiplied with `x` alone; a block's sum is scaled in one register.
        let text = lowered.function.to_string();
        assert!(!text.contains("f32x16 = mul"), "{text}");
    }
}

/// A module that the optimiser made from softmax attention with a causal mask, grouped heads and the logarithm of the sums.
pub(crate) fn softmax_sum() -> Module {
    let text = include_str!("../../../../compiler/passes/tests/passes/lowering/softmax_sum.tile");
    parse(text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn lowered_softmax_sums() {
    for kernel in &softmax_sum().kernels {
        let sizes = [[1, 4, 1, 1, 5, 64], [1, 4, 1, 3, 70, 64], [1, 4, 1, 66, 66, 64]];
        let case = Case::new(kernel, &sizes).tolerance(2e-5);
        Case { lays: vec![Lay::Gaps], ..case }.check();
    }
}
