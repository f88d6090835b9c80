//! The programs: small tiles, so that odd sizes meet every edge.

use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::entity::Arena;
use sawmill_ir::graph::Const;
use sawmill_ir::index::{DimId, Index};
use sawmill_ir::tile::builder::{Built, KernelBuilder, Sub};
use sawmill_ir::tile::{Access, AxisId, Buffer, BufferId, BufferKind, Kernel, Launch, Module, Pad, Phase, Step, Value};

const ZERO: Pad = Pad::Value(Const::Float(0));

/// A module with one launch of `kernel`: its dims are the module's, its memories the buffers.
pub(crate) fn single(kernel: Kernel) -> Module {
    let size = |s: &Index| s.clone();
    let buffers: Arena<BufferId, Buffer> = kernel
        .memory
        .values()
        .map(|m| Buffer {
            name: m.name.clone(),
            dtype: m.dtype,
            shape: m.shape.iter().map(size).collect(),
            kind: match m.access {
                Access::In => BufferKind::Input { list: false },
                Access::Out | Access::Part => BufferKind::Output,
                Access::InOut => BufferKind::InOut { list: false },
            },
        })
        .collect();
    let args = buffers.keys().map(|b| (b, None)).collect();
    let dims = kernel.dims.keys().map(Index::dim).collect();
    Module {
        name: kernel.name.clone(),
        dims: kernel.dims.clone(),
        buffers,
        plan: vec![Step::Launch(Launch { kernel: 0, args, dims })],
        kernels: vec![kernel],
    }
}

fn blocks(dim: DimId, tile: i64) -> Index {
    Index::dim(dim).add(&Index::int(tile - 1)).div(&Index::int(tile))
}

/// `position * tile` of a grid axis.
fn start(b: &mut KernelBuilder, name: &str, dim: DimId, tile: i64) -> Built<Value> {
    let at = b.grid(name, blocks(dim, tile))?;
    let tile = b.int(tile)?;
    b.elem(ElemOp::Mul, &[at, tile])
}

fn slice(base: Value, axis: AxisId) -> Sub {
    Sub::Affine(base, vec![(axis, 1)])
}

/// c[m, n] = sum over k of a[m, k] * b[n, k].
pub(crate) fn gemm() -> Built<Module> {
    let mut b = KernelBuilder::new("gemm");
    let [m_, n_, k_] = ["M", "N", "K"].map(|n| b.dim(n));
    let mat = |x, y| vec![Index::dim(x), Index::dim(y)];
    let a = b.memory("a", DType::F32, mat(m_, k_), Access::In);
    let w = b.memory("b", DType::BF16, mat(n_, k_), Access::In);
    let c = b.memory("c", DType::F32, mat(m_, n_), Access::Out);
    let [m, n, k] = [("m", 8), ("n", 4), ("k", 4)].map(|(name, extent)| b.axis(name, extent));
    let m0 = start(&mut b, "mt", m_, 8)?;
    let n0 = start(&mut b, "nt", n_, 4)?;
    let (lo, hi) = (b.int(0)?, b.size(Index::dim(k_))?);
    let nothing = b.float(0.0, DType::F32)?;
    let zeros = zeros(&mut b, nothing, &[m, n])?;
    let sum = b.for_loop(4, vec![Phase { lo, hi, edge: true }], &[zeros], |b, k0, _, acc| {
        let x = b.load(a, vec![slice(m0, m), slice(k0, k)], ZERO, None)?;
        let y = b.load(w, vec![slice(n0, n), slice(k0, k)], ZERO, None)?;
        Ok(vec![b.mma(x, y, Some(acc[0]), vec![k])?])
    })?;
    b.store(c, sum[0], vec![slice(m0, m), slice(n0, n)], None)?;
    Ok(single(b.finish()))
}

/// `value` over `axes`.
fn zeros(b: &mut KernelBuilder, value: Value, axes: &[AxisId]) -> Built<Value> {
    let base = b.int(0)?;
    let yes = b.constant(Const::Bool(true), DType::Bool)?;
    let mut tile = value;
    for axis in axes {
        let at = b.coord(*axis, base)?;
        let inside = b.elem(ElemOp::Ge, &[at, base])?;
        let both = b.elem(ElemOp::And, &[inside, yes])?;
        tile = b.elem(ElemOp::Select, &[both, tile, value])?;
    }
    Ok(tile)
}

/// o[i, e] = sum over j <= i + T - S of softmax(q[i] . k[j]) * v[j, e], in one pass over j.
pub(crate) fn softmax_fold() -> Built<Module> {
    let mut b = KernelBuilder::new("fold");
    let [s_, t_] = ["S", "T"].map(|n| b.dim(n));
    let depth = 4;
    let rows = |d| vec![Index::dim(d), Index::int(depth)];
    let q = b.memory("q", DType::F32, rows(s_), Access::In);
    let k = b.memory("k", DType::F32, rows(t_), Access::In);
    let v = b.memory("v", DType::F32, rows(t_), Access::In);
    let o = b.memory("o", DType::F32, rows(s_), Access::Out);
    let [i, j, d, e] = [("i", 4), ("j", 4), ("d", 4), ("e", 4)].map(|(name, extent)| b.axis(name, extent));
    let i0 = start(&mut b, "it", s_, 4)?;
    let zero = b.int(0)?;
    let last = b.coord(i, i0)?;
    let offset = b.size(Index::dim(t_).sub(&Index::dim(s_)))?;
    let last = b.elem(ElemOp::Add, &[last, offset])?;
    let q = b.load(q, vec![slice(i0, i), slice(zero, d)], Pad::Undef, None)?;
    let (total, three, four) = (b.size(Index::dim(t_))?, b.int(3)?, b.int(4)?);
    // Columns below `mid` are allowed for every row of the tile, those from `hi` on for none.
    let first_end = b.elem(ElemOp::Add, &[i0, offset])?;
    let one = b.int(1)?;
    let first_end = b.elem(ElemOp::Add, &[first_end, one])?;
    let hi = b.elem(ElemOp::Add, &[first_end, three])?;
    let hi = b.elem(ElemOp::Min, &[hi, total])?;
    let mid = b.elem(ElemOp::Max, &[first_end, zero])?;
    let mid = b.elem(ElemOp::Min, &[mid, total])?;
    let mid = b.elem(ElemOp::Div, &[mid, four])?;
    let mid = b.elem(ElemOp::Mul, &[mid, four])?;
    let phases = vec![Phase { lo: zero, hi: mid, edge: false }, Phase { lo: mid, hi, edge: true }];
    let (least, none) = (b.float(f64::NEG_INFINITY, DType::F32)?, b.float(0.0, DType::F32)?);
    let inits = [zeros(&mut b, least, &[i])?, zeros(&mut b, none, &[i])?, zeros(&mut b, none, &[i, e])?];
    let state = b.for_loop(4, phases, &inits, |b, j0, edge, state| {
        let keys = b.load(k, vec![slice(j0, j), slice(zero, d)], ZERO, None)?;
        let values = b.load(v, vec![slice(j0, j), slice(zero, e)], ZERO, None)?;
        let score = b.mma(q, keys, None, vec![d])?;
        let score = b.branch(
            edge,
            |b| {
                let at = b.coord(j, j0)?;
                let below = b.elem(ElemOp::Le, &[at, last])?;
                let inside = b.elem(ElemOp::Lt, &[at, total])?;
                let allowed = b.elem(ElemOp::And, &[below, inside])?;
                Ok(vec![b.elem(ElemOp::Select, &[allowed, score, least])?])
            },
            |_| Ok(vec![score]),
        )?;
        let tile_max = b.reduce(ReduceOp::Max, score[0], vec![j])?;
        let max = b.elem(ElemOp::Max, &[state[0], tile_max])?;
        let empty = b.elem(ElemOp::Eq, &[max, least])?;
        let shift = b.elem(ElemOp::Select, &[empty, none, max])?;
        let p = b.elem(ElemOp::Sub, &[score[0], shift])?;
        let p = b.elem(ElemOp::Exp, &[p])?;
        let repair = b.elem(ElemOp::Sub, &[state[0], shift])?;
        let repair = b.elem(ElemOp::Exp, &[repair])?;
        let tile_sum = b.reduce(ReduceOp::Sum, p, vec![j])?;
        let sum = b.fma(state[1], repair, tile_sum)?;
        let acc = b.elem(ElemOp::Mul, &[state[2], repair])?;
        let acc = b.mma(p, values, Some(acc), vec![j])?;
        Ok(vec![max, sum, acc])
    })?;
    let nothing = b.elem(ElemOp::Eq, &[state[1], none])?;
    let inverse = b.elem(ElemOp::Recip, &[state[1]])?;
    let inverse = b.elem(ElemOp::Select, &[nothing, none, inverse])?;
    let out = b.elem(ElemOp::Mul, &[state[2], inverse])?;
    b.store(o, out, vec![slice(i0, i), slice(zero, e)], None)?;
    Ok(single(b.finish()))
}

/// y[n] = rsqrt(sum of x^2 / K) * sum over k of w[n, k] * x[k], w packed by 32: d, m and nibbles, low ones first.
pub(crate) fn packed() -> Built<Module> {
    let mut b = KernelBuilder::new("packed");
    let [n_, blocks_] = ["N", "KB"].map(|n| b.dim(n));
    let groups = |tail: &[i64]| -> Vec<Index> {
        [Index::dim(n_), Index::dim(blocks_)].into_iter().chain(tail.iter().map(|t| Index::int(*t))).collect()
    };
    let x = b.memory("x", DType::F32, vec![Index::dim(blocks_).scale(32)], Access::In);
    let d = b.memory("w.d", DType::F16, groups(&[]), Access::In);
    let m = b.memory("w.m", DType::F16, groups(&[]), Access::In);
    let q = b.memory("w.q", DType::U8, groups(&[16]), Access::In);
    let y = b.memory("y", DType::F32, vec![Index::dim(n_)], Access::Out);
    let [n, g, h, c] = [("n", 4), ("g", 2), ("h", 2), ("c", 16)].map(|(name, extent)| b.axis(name, extent));
    let n0 = start(&mut b, "nt", n_, 4)?;
    let (zero, all) = (b.int(0)?, b.size(Index::dim(blocks_))?);
    let none = b.float(0.0, DType::F32)?;
    let inits = [zeros(&mut b, none, &[n])?, none];
    let phases = vec![Phase { lo: zero, hi: all, edge: true }];
    let state = b.for_loop(2, phases, &inits, |b, g0, _, state| {
        let width = b.int(32)?;
        let first = b.elem(ElemOp::Mul, &[g0, width])?;
        let xs = b.load(x, vec![Sub::Affine(first, vec![(g, 32), (h, 16), (c, 1)])], ZERO, None)?;
        let bytes = b.load(q, vec![slice(n0, n), slice(g0, g), slice(zero, c)], Pad::Value(Const::Int(0)), None)?;
        let half = b.coord(h, zero)?;
        let four = b.int(4)?;
        let shift = b.elem(ElemOp::Mul, &[half, four])?;
        let shift = b.cast(shift, DType::I32)?;
        let mask = b.constant(Const::Int(15), DType::I32)?;
        let nibble = b.elem(ElemOp::Shr, &[bytes, shift])?;
        let nibble = b.elem(ElemOp::BitAnd, &[nibble, mask])?;
        let nibble = b.cast(nibble, DType::F32)?;
        let dot = b.mma(nibble, xs, None, vec![h, c])?;
        let sum_x = b.reduce(ReduceOp::Sum, xs, vec![h, c])?;
        let scale = b.load(d, vec![slice(n0, n), slice(g0, g)], ZERO, None)?;
        let least = b.load(m, vec![slice(n0, n), slice(g0, g)], ZERO, None)?;
        let low = b.elem(ElemOp::Mul, &[least, sum_x])?;
        let part = b.fma(scale, dot, low)?;
        let part = b.reduce(ReduceOp::Sum, part, vec![g])?;
        let square = b.elem(ElemOp::Mul, &[xs, xs])?;
        let square = b.reduce(ReduceOp::Sum, square, vec![g, h, c])?;
        Ok(vec![b.elem(ElemOp::Add, &[state[0], part])?, b.elem(ElemOp::Add, &[state[1], square])?])
    })?;
    let width = b.size(Index::dim(blocks_).scale(32))?;
    let width = b.cast(width, DType::F32)?;
    let mean = b.elem(ElemOp::Div, &[state[1], width])?;
    let scale = b.elem(ElemOp::Rsqrt, &[mean])?;
    let out = b.elem(ElemOp::Mul, &[state[0], scale])?;
    b.store(y, out, vec![slice(n0, n)], None)?;
    Ok(single(b.finish()))
}
