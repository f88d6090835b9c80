//! Lowering of single operations on every computing type and storage type, against the interpreter of tile IR.

use crate::lowering::{Rows, ZERO, filled, rows, times};
use crate::tiles::Case;
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::Const;
use sawmill_ir::index::Index;
use sawmill_ir::tile::builder::{Built, KernelBuilder, Sub};
use sawmill_ir::tile::{Access, Kernel, Pad, Phase, Value};

const COMPUTING: [DType; 6] = [DType::F32, DType::F64, DType::I32, DType::U32, DType::I64, DType::Bool];
const SIZES: [[i64; 2]; 3] = [[1, 1], [5, 9], [6, 16]];

fn pad(dtype: DType) -> Pad {
    Pad::Value(match dtype.kind() {
        Kind::Bool => Const::Bool(false),
        Kind::Float => Const::float(0.5),
        _ => Const::Int(3),
    })
}

fn check(kernel: &Kernel, tolerance: f64) {
    Case::new(kernel, &SIZES).tolerance(tolerance).ints(-9, 9).check();
}

/// Loads one tile of each type, combines them, stores the result.
fn apply(types: &[DType], f: impl Fn(&mut Rows, &[Value]) -> Built<Value>) -> Built<Kernel> {
    let mut r = rows(3, 9)?;
    let mut values = Vec::new();
    for (at, dtype) in types.iter().enumerate() {
        let mem = r.input(&format!("x{at}"), *dtype);
        values.push(r.load(mem, pad(*dtype))?);
    }
    let result = f(&mut r, &values)?;
    let dtype = r.k.type_of(result).dtype;
    let out = r.output("y", dtype);
    r.store(out, result)?;
    Ok(r.k.finish())
}

#[test]
fn elementwise_operations() -> Built<()> {
    for op in ElemOp::ALL.iter().copied() {
        for dtype in COMPUTING {
            let arity = op.arity().unwrap_or(3);
            let mut types = vec![dtype; arity];
            if op == ElemOp::Select {
                types[0] = DType::Bool;
            }
            let special = matches!(
                op,
                ElemOp::Gelu | ElemOp::Erf | ElemOp::Sin | ElemOp::Cos | ElemOp::Tan | ElemOp::Atan2 | ElemOp::Pow
            ) || (op == ElemOp::Rem && dtype == DType::F64);
            if op.result(&types).is_err() || (dtype == DType::F64 && special) {
                continue;
            }
            check(&apply(&types, |r, x| r.k.elem(op, x))?, 3e-6);
        }
    }
    Ok(())
}

#[test]
fn casts_and_rounding() -> Built<()> {
    for from in COMPUTING {
        for to in COMPUTING {
            check(&apply(&[from], |r, x| r.k.cast(x[0], to))?, 1e-7);
        }
    }
    for (from, to) in [
        (DType::F32, DType::F16),
        (DType::F32, DType::BF16),
        (DType::F64, DType::F32),
        (DType::I32, DType::I8),
        (DType::I32, DType::U8),
        (DType::I64, DType::I16),
        (DType::U32, DType::U16),
    ] {
        check(&apply(&[from], |r, x| r.k.round(x[0], to))?, 0.0);
    }
    check(&apply(&[DType::F32; 3], |r, x| r.k.fma(x[0], x[1], x[2]))?, 1e-6);
    Ok(())
}

#[test]
fn storage_types() -> Built<()> {
    use DType::{BF16, Bool, F8E4M3, F8E5M2, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32};
    for dtype in [F64, F32, F16, BF16, F8E4M3, F8E5M2, I64, I32, U32, I16, U16, I8, U8, Bool] {
        for (bm, bn) in [(3, 9), (2, 32)] {
            let mut r = rows(bm, bn)?;
            let (x, y) = (r.input("x", dtype), r.output("y", dtype));
            let value = r.load(x, pad(dtype))?;
            r.store(y, value)?;
            check(&r.k.finish(), 0.0);
        }
    }
    Ok(())
}

#[test]
fn unsupported_storage_is_refused() -> Built<()> {
    use sawmill_ir::target::Target;
    use sawmill_simd::lower::{LowerError, lower};
    let mut k = KernelBuilder::new("refused");
    k.memory("x", DType::C32, vec![Index::int(8)], Access::In);
    let outcome = lower(&k.finish(), &Target::cpu128(1, true));
    assert!(matches!(outcome, Err(LowerError::Unsupported(_))), "{outcome:?}");
    Ok(())
}

#[test]
fn reductions() -> Built<()> {
    for op in ReduceOp::ALL.iter().copied().filter(|op| op.is_primitive()) {
        for dtype in COMPUTING {
            if matches!(op, ReduceOp::Any | ReduceOp::All) != (dtype == DType::Bool) {
                continue;
            }
            for (bm, bn) in [(3, 9), (8, 16), (5, 1), (1, 7), (17, 4)] {
                for (over_m, over_n) in [(true, false), (false, true), (true, true)] {
                    if over_m && over_n && matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin) {
                        continue;
                    }
                    check(&reduced(op, dtype, (bm, bn), (over_m, over_n))?, 2e-5);
                }
            }
        }
    }
    Ok(())
}

/// One tile reduced and stored at the block's first positions along what is reduced.
fn reduced(op: ReduceOp, dtype: DType, (bm, bn): (u32, u32), (over_m, over_n): (bool, bool)) -> Built<Kernel> {
    let mut r = rows(bm, bn)?;
    let x = r.input("x", dtype);
    let result_type = if matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin) { DType::I64 } else { dtype };
    let y = r.k.memory("y", result_type, r.shape.clone(), Access::InOut);
    let identity = match (op, dtype) {
        (ReduceOp::Any, _) => Pad::Value(Const::Bool(false)),
        (_, DType::Bool) => Pad::Value(Const::Bool(true)),
        (_, d) if d.is_float() => Pad::Value(Const::float(1.0)),
        _ => Pad::Value(Const::Int(1)),
    };
    let tile = r.load(x, identity)?;
    let (m, n) = (r.m, r.n);
    let over = [(m, over_m), (n, over_n)].into_iter().filter(|(_, o)| *o).map(|(a, _)| a).collect();
    let value = r.k.reduce(op, tile, over)?;
    let terms = |axis, over: bool| if over { Vec::new() } else { vec![(axis, 1)] };
    let subs = vec![Sub::Affine(r.m0, terms(m, over_m)), Sub::Affine(r.n0, terms(n, over_n))];
    r.k.store(y, value, subs, None)?;
    Ok(r.k.finish())
}

#[test]
fn integer_and_double_contractions() -> Built<()> {
    for dtype in [DType::F64, DType::I32, DType::I64, DType::U32] {
        for (bm, bn) in [(3, 9), (8, 16), (1, 7)] {
            let mut r = rows(bm, bn)?;
            let (x, w) = (r.input("x", dtype), r.input("w", dtype));
            let y = r.k.memory("y", dtype, r.shape.clone(), Access::InOut);
            let zero = Pad::Value(if dtype.is_float() { Const::float(0.0) } else { Const::Int(0) });
            let (a, b) = (r.load(x, zero)?, r.load(w, zero)?);
            let sums = r.k.mma(a, b, None, vec![r.n])?;
            r.k.store(y, sums, vec![Sub::Affine(r.m0, vec![(r.m, 1)]), Sub::Affine(r.n0, vec![])], None)?;
            check(&r.k.finish(), 1e-9);
        }
    }
    Ok(())
}

#[test]
fn products_of_bf16_numbers_are_summed_in_pairs() -> Built<()> {
    for rounded in [false, true] {
        for (bm, bn) in [(4, 64), (3, 33), (9, 16), (1, 96)] {
            let mut r = rows(bm, bn)?;
            let x = r.input("x", if rounded { DType::F32 } else { DType::BF16 });
            let w = r.input("w", DType::BF16);
            let y = r.k.memory("y", DType::F32, r.shape.clone(), Access::InOut);
            let zero = Pad::Value(Const::float(0.0));
            let (mut a, b) = (r.load(x, zero)?, r.load(w, zero)?);
            if rounded {
                a = r.k.round(a, DType::BF16)?;
            }
            let sums = r.k.mma(a, b, None, vec![r.n])?;
            r.k.store(y, sums, vec![Sub::Affine(r.m0, vec![(r.m, 1)]), Sub::Affine(r.n0, vec![])], None)?;
            let kernel = r.k.finish();
            let lowered = Case::new(&kernel, &[[1, 1], [3, 7], [5, 17], [7, 30], [16, 64], [4, 96]]).check();
            let text = lowered.function.to_string();
            assert!(text.contains("dot_bf16"), "{bm}x{bn}, rounded {rounded}:\n{text}");
        }
    }
    Ok(())
}

#[test]
fn slices_renamed_axes_and_shifted_windows() -> Built<()> {
    for (bm, bn) in [(8, 8), (5, 5), (16, 16)] {
        let mut r = rows(bm, bn)?;
        let (x, y, z) = (r.input("x", DType::F32), r.output("y", DType::F32), r.output("z", DType::F32));
        let tile = r.load(x, ZERO)?;
        let doubled = r.k.elem(ElemOp::Add, &[tile, tile])?;
        let turned = r.k.rename(doubled, vec![(r.m, r.n), (r.n, r.m)])?;
        r.store(y, turned)?;
        let one = r.k.int(i64::from(bn / 2))?;
        let column = r.k.slice(doubled, r.n, one)?;
        let row = r.k.slice(doubled, r.m, one)?;
        let outer = r.k.elem(ElemOp::Mul, &[column, row])?;
        let minus = r.k.int(-2)?;
        let (m0, n0) = (r.k.elem(ElemOp::Add, &[r.m0, minus])?, r.k.elem(ElemOp::Add, &[r.n0, minus])?);
        let window = vec![Sub::Affine(m0, vec![(r.m, 1)]), Sub::Affine(n0, vec![(r.n, 2)])];
        let shifted = r.k.load(x, window, Pad::Value(Const::float(7.0)), None)?;
        let sum = r.k.elem(ElemOp::Sub, &[outer, shifted])?;
        r.store(z, sum)?;
        let kernel = r.k.finish();
        Case::new(&kernel, &[[1, 1], [5, 9], [16, 33]]).check();
    }
    Ok(())
}

#[test]
fn coordinates_compare_and_convert() -> Built<()> {
    for op in [ElemOp::Lt, ElemOp::Le, ElemOp::Gt, ElemOp::Ge, ElemOp::Eq, ElemOp::Ne] {
        let mut r = rows(4, 9)?;
        let y = r.output("y", DType::F32);
        let (cm, cn) = (r.k.coord(r.m, r.m0)?, r.k.coord(r.n, r.n0)?);
        let three = r.k.int(3)?;
        let shifted = r.k.elem(ElemOp::Add, &[cm, three])?;
        let scaled = times(&mut r.k, cn, 2)?;
        let mask = r.k.elem(op, &[scaled, shifted])?;
        let int = r.k.cast(scaled, DType::I32)?;
        let (float, wide) = (r.k.cast(int, DType::F32)?, r.k.cast(shifted, DType::F32)?);
        let chosen = r.k.elem(ElemOp::Select, &[mask, float, wide])?;
        r.store(y, chosen)?;
        check(&r.k.finish(), 0.0);
    }
    Ok(())
}

#[test]
fn gathered_rows_and_masked_elements() -> Built<()> {
    for (bm, bn) in [(3, 9), (4, 16), (8, 8)] {
        for masked in [false, true] {
            let mut r = rows(bm, bn)?;
            let table = r.k.memory("table", DType::F16, vec![Index::int(12), r.shape[1].clone()], Access::In);
            let at = r.k.memory("at", DType::I32, vec![r.shape[0].clone()], Access::In);
            let pick = r.k.memory("pick", DType::I64, r.shape.clone(), Access::In);
            let line = r.k.memory("line", DType::F32, vec![Index::int(7)], Access::In);
            let keep = r.input("keep", DType::Bool);
            let y = r.output("y", DType::F32);
            let outside = Pad::Value(Const::Int(40));
            let rows_at = r.k.load(at, vec![Sub::Affine(r.m0, vec![(r.m, 1)])], outside, None)?;
            let mask = r.load(keep, Pad::Value(Const::Bool(true)))?;
            let mask = masked.then_some(mask);
            let columns = Sub::Affine(r.n0, vec![(r.n, 1)]);
            let a = r.k.load(table, vec![Sub::Gather(rows_at), columns], Pad::Value(Const::float(-3.0)), mask)?;
            let places = r.load(pick, outside)?;
            let b = r.k.load(line, vec![Sub::Gather(places)], Pad::Value(Const::float(0.25)), None)?;
            let sum = r.k.elem(ElemOp::Add, &[a, b])?;
            r.store(y, sum)?;
            let kernel = r.k.finish();
            Case::new(&kernel, &SIZES).ints(-3, 14).check();
        }
    }
    Ok(())
}

#[test]
fn masked_and_scattered_stores() -> Built<()> {
    for (bm, bn) in [(3, 9), (4, 16)] {
        let mut r = rows(bm, bn)?;
        let (x, keep) = (r.input("x", DType::F32), r.input("keep", DType::Bool));
        let y = r.k.memory("y", DType::BF16, r.shape.clone(), Access::InOut);
        let z = r.k.memory("z", DType::F32, r.shape.clone(), Access::InOut);
        let tile = r.load(x, ZERO)?;
        let mask = r.load(keep, Pad::Value(Const::Bool(false)))?;
        let subs = r.subs();
        r.k.store(y, tile, subs, Some(mask))?;
        // Rows in reverse order: a permutation given by data.
        let last = r.k.size(r.shape[0].sub(&Index::int(1)))?;
        let cm = r.k.coord(r.m, r.m0)?;
        let reversed = r.k.elem(ElemOp::Sub, &[last, cm])?;
        r.k.store(z, tile, vec![Sub::Gather(reversed), Sub::Affine(r.n0, vec![(r.n, 1)])], None)?;
        check(&r.k.finish(), 0.0);
    }
    Ok(())
}

#[test]
fn loops_and_branches() -> Built<()> {
    let mut r = rows(4, 9)?;
    let (x, y) = (r.input("x", DType::F32), r.output("y", DType::F32));
    let tile = r.load(x, ZERO)?;
    let zero = filled(&mut r.k, &[r.m, r.n], 0.0)?;
    let (lo, mid, hi) = (r.k.int(0)?, r.k.int(3)?, r.k.size(r.shape[1].clone())?);
    let (count, m, n) = (r.k.int(0)?, r.m, r.n);
    let phases = vec![Phase { lo, hi: mid, edge: true }, Phase { lo: mid, hi, edge: false }];
    let results = r.k.for_loop(2, phases, &[tile, zero, count], |k, at, edge, carry| {
        let [a, b, steps] = *carry else { unreachable!("three carries") };
        let one = k.int(1)?;
        let next = k.elem(ElemOp::Add, &[steps, one])?;
        let two = k.int(2)?;
        let odd = k.elem(ElemOp::Rem, &[next, two])?;
        let odd = k.elem(ElemOp::Eq, &[odd, one])?;
        let inner_lo = k.int(0)?;
        let inner = vec![Phase { lo: inner_lo, hi: next, edge: false }];
        let grown = k.for_loop(1, inner, &[b], |k, _, _, inner| {
            let half = k.float(0.5, DType::F32)?;
            let less = k.elem(ElemOp::Mul, &[inner[0], half])?;
            Ok(vec![k.elem(ElemOp::Add, &[less, a])?])
        })?[0];
        let chosen = k.branch(
            odd,
            |k| {
                let position = k.cast(at, DType::F32)?;
                Ok(vec![k.elem(ElemOp::Add, &[grown, position])?, next])
            },
            |k| Ok(vec![k.elem(ElemOp::Neg, &[grown])?, steps]),
        )?;
        let sums = k.reduce(ReduceOp::Sum, chosen[0], vec![n])?;
        let scale = k.float(0.125, DType::F32)?;
        let sums = k.elem(ElemOp::Mul, &[sums, scale])?;
        let mixed = k.branch(edge, |k| Ok(vec![k.elem(ElemOp::Sub, &[a, sums])?]), |_| Ok(vec![a]))?[0];
        let _ = m;
        // The carries change places.
        Ok(vec![chosen[0], mixed, next])
    })?;
    let count = r.k.cast(results[2], DType::F32)?;
    let sum = r.k.elem(ElemOp::Add, &[results[0], results[1]])?;
    let sum = r.k.elem(ElemOp::Add, &[sum, count])?;
    r.store(y, sum)?;
    let kernel = r.k.finish();
    Case::new(&kernel, &[[1, 1], [4, 9], [5, 12]]).tolerance(1e-4).check();
    Ok(())
}
