//! Fragments of matrices, by the formulas of the PTX ISA (section 9.7.14.5), and products of integer patterns.

use super::Kernel;
use crate::inst::{Class, Op, Reg, Word, at};
use crate::interp::matrix::{Fragment, multiply};

const WORDS: [Word; 5] = [Word::Sync, Word::Aligned, Word::M16n8k16, Word::Row, Word::Col];

/// Where `mma` has element `i` of a lane's fragments: A as (row, k), B as (k, column), C as (row, column).
struct Layout {
    shape: Word,
    types: [Word; 4],
    /// Rows, depth.
    extents: (usize, usize),
    a: fn(usize, usize) -> (usize, usize),
    b: fn(usize, usize) -> (usize, usize),
    /// Elements of a fragment of A, B, C.
    counts: (usize, usize, usize),
}

const LAYOUTS: [Layout; 6] = [
    Layout {
        shape: Word::M16n8k16,
        types: [Word::F32, Word::F16, Word::F16, Word::F32],
        extents: (16, 16),
        a: |lane, i| {
            (
                lane / 4 + if matches!(i, 0 | 1 | 4 | 5) { 0 } else { 8 },
                lane % 4 * 2 + (i & 1) + if i >= 4 { 8 } else { 0 },
            )
        },
        b: |lane, i| (lane % 4 * 2 + (i & 1) + if i >= 2 { 8 } else { 0 }, lane / 4),
        counts: (8, 4, 4),
    },
    Layout {
        shape: Word::M16n8k8,
        types: [Word::F32, Word::Bf16, Word::Bf16, Word::F32],
        extents: (16, 8),
        a: |lane, i| (lane / 4 + if i < 2 { 0 } else { 8 }, lane % 4 * 2 + (i & 1)),
        b: |lane, i| (lane % 4 * 2 + i, lane / 4),
        counts: (4, 2, 4),
    },
    Layout {
        shape: Word::M16n8k8,
        types: [Word::F32, Word::Tf32, Word::Tf32, Word::F32],
        extents: (16, 8),
        a: |lane, i| (lane / 4 + 8 * (i & 1), lane % 4 + 4 * (i / 2)),
        b: |lane, i| (lane % 4 + 4 * i, lane / 4),
        counts: (4, 2, 4),
    },
    Layout {
        shape: Word::M16n8k4,
        types: [Word::F32, Word::Tf32, Word::Tf32, Word::F32],
        extents: (16, 4),
        a: |lane, i| (lane / 4 + 8 * i, lane % 4),
        b: |lane, _| (lane % 4, lane / 4),
        counts: (2, 1, 4),
    },
    Layout {
        shape: Word::M16n8k32,
        types: [Word::S32, Word::S8, Word::U8, Word::S32],
        extents: (16, 32),
        a: |lane, i| {
            let low = i < 4 || (8..12).contains(&i);
            (lane / 4 + if low { 0 } else { 8 }, lane % 4 * 4 + (i & 3) + if i >= 8 { 16 } else { 0 })
        },
        b: |lane, i| (lane % 4 * 4 + (i & 3) + if i >= 4 { 16 } else { 0 }, lane / 4),
        counts: (16, 8, 4),
    },
    Layout {
        shape: Word::M8n8k4,
        types: [Word::F64, Word::F64, Word::F64, Word::F64],
        extents: (8, 4),
        a: |lane, _| (lane / 4, lane % 4),
        b: |lane, _| (lane % 4, lane / 4),
        counts: (1, 1, 2),
    },
];

/// The (row, column) of element `i` of C and D.
fn place_of_c(lane: usize, i: usize) -> (usize, usize) {
    (lane / 4 + if i < 2 { 0 } else { 8 }, lane % 4 * 2 + (i & 1))
}

fn encode(value: i64, ty: Word) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "small integers")]
    let float = value as f64;
    match ty {
        Word::F16 => half::f16::from_f64(float).to_bits().into(),
        Word::Bf16 => half::bf16::from_f64(float).to_bits().into(),
        Word::Tf32 | Word::F32 => u64::from((float as f32).to_bits()),
        Word::F64 => float.to_bits(),
        other => value.cast_unsigned() & ((1 << other.bits()) - 1),
    }
}

fn fragment(count: usize, ty: Word, value: impl Fn(usize, usize) -> i64) -> Fragment {
    let per = if ty.bits() == 64 { 1 } else { (32 / ty.bits()) as usize };
    let register = |n: usize, lane: usize| {
        (0..per).fold(0, |bits, e| bits | encode(value(lane, n * per + e), ty) << (e * ty.bits() as usize % 64))
    };
    (0..count / per).map(|n| std::array::from_fn(|lane| (register(n, lane), true))).collect()
}

#[test]
fn products_of_integer_patterns_are_exact() {
    for layout in &LAYOUTS {
        // Different in each element, small enough to be exact in each type.
        let a = |row: usize, k: usize| (row * 5 + k * 3) as i64 % 17 - if layout.types[1] == Word::U8 { 0 } else { 8 };
        let b = |k: usize, column: usize| (k * 7 + column * 2) as i64 % 13;
        let c = |row: usize, column: usize| (row * 8 + column) as i64 - 60;
        let [of_c, of_a, of_b, _] = layout.types;
        let a_fragment = fragment(layout.counts.0, of_a, |lane, i| {
            let (row, k) = (layout.a)(lane, i);
            a(row, k)
        });
        let b_fragment = fragment(layout.counts.1, of_b, |lane, i| {
            let (k, column) = (layout.b)(lane, i);
            b(k, column)
        });
        let at_c = |lane, i| {
            let (row, column) = place_of_c(lane, i);
            c(row, column)
        };
        let c_fragment = fragment(layout.counts.2, of_c, at_c);
        let words: Vec<Word> =
            [Word::Sync, Word::Aligned, layout.shape, Word::Row, Word::Col].into_iter().chain(layout.types).collect();
        let d = multiply(&words, &a_fragment, &b_fragment, &c_fragment);
        let expected = fragment(layout.counts.2, of_c, |lane, i| {
            let (row, column) = place_of_c(lane, i);
            c(row, column) + (0..layout.extents.1).map(|k| a(row, k) * b(k, column)).sum::<i64>()
        });
        assert!(layout.extents.0 == 8 || layout.counts.2 == 4);
        assert_eq!(d, expected, "{words:?}");
    }
}

/// Sixteen rows of 16 bf16 in shared memory, row `r` and column `c` holding `16 r + c`, and one `ldmatrix`.
fn loaded(trans: bool) -> Vec<Vec<u32>> {
    (0..4)
        .map(|register| {
            let mut k = Kernel::new(32);
            let shared = k.b.shared("tile", 16, Some(512));
            let base = k.b.address(shared);
            let mine = k.shared_element(base, 16);
            for pair in 0..4 {
                let low = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[k.thread.into(), 8_u32.into(), (2 * pair).into()]);
                let both =
                    k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[low.into(), 0x10001_u32.into(), 0x10000_u32.into()]);
                k.b.run(Op::St, &[Word::Shared, Word::U32], &[at(mine, 4 * pair), both.into()]);
            }
            k.b.sync();
            // Lane l: row l mod 16, column 8 (l / 16).
            let row = k.b.op(Op::And, &[Word::B32], &[k.thread.into(), 15_u32.into()]);
            let half = k.b.op(Op::Shr, &[Word::U32], &[k.thread.into(), 4_u32.into()]);
            let start = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[row.into(), 32_u32.into(), base.into()]);
            let start = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[half.into(), 16_u32.into(), start.into()]);
            let mut words = vec![Word::Sync, Word::Aligned, Word::M8n8, Word::X4];
            words.extend(trans.then_some(Word::Trans));
            words.extend([Word::Shared, Word::B16]);
            let registers = k.b.ops(Op::Ldmatrix, &words, &[at(start, 0)]);
            k.values(registers[register])
        })
        .collect()
}

#[test]
fn ldmatrix_gives_the_fragment_of_a() {
    for (register, values) in loaded(false).into_iter().enumerate() {
        for (lane, value) in values.into_iter().enumerate() {
            for half in 0..2 {
                let (row, k) = (LAYOUTS[0].a)(lane, 2 * register + half);
                assert_eq!(value >> (16 * half) & 0xffff, (16 * row + k) as u32, "register {register}, lane {lane}");
            }
        }
    }
}

#[test]
fn ldmatrix_transposes() {
    for (register, values) in loaded(true).into_iter().enumerate() {
        let (top, left) = (8 * (register % 2), 8 * (register / 2));
        for (lane, value) in values.into_iter().enumerate() {
            for half in 0..2 {
                let (row, column) = (top + lane % 4 * 2 + half, left + lane / 4);
                assert_eq!(
                    value >> (16 * half) & 0xffff,
                    (16 * row + column) as u32,
                    "register {register}, lane {lane}"
                );
            }
        }
    }
}

/// What `stmatrix` writes `ldmatrix` reads; `movmatrix` is a store and a load of the transpose.
#[test]
fn stores_and_moves_are_mirrors_of_loads() {
    let matrix = |trans: [bool; 2]| {
        let mut k = Kernel::new(32);
        let shared = k.b.shared("tile", 16, Some(128));
        let base = k.b.address(shared);
        let row = k.b.op(Op::And, &[Word::B32], &[k.thread.into(), 7_u32.into()]);
        let start = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[row.into(), 16_u32.into(), base.into()]);
        let words = |trans: bool| {
            let mut words = vec![Word::Sync, Word::Aligned, Word::M8n8, Word::X1];
            words.extend(trans.then_some(Word::Trans));
            words.extend([Word::Shared, Word::B16]);
            words
        };
        let value = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[k.thread.into(), 0x20002_u32.into(), 0x10000_u32.into()]);
        k.b.run(Op::Stmatrix, &words(trans[0]), &[at(start, 0), vec![value].into()]);
        k.b.sync();
        let back = k.b.ops(Op::Ldmatrix, &words(trans[1]), &[at(start, 0)]);
        k.values(back[0])
    };
    let plain: Vec<u32> = (0..32).map(|lane| lane * 0x20002 + 0x10000).collect();
    assert_eq!(matrix([false, false]), plain);
    assert_eq!(matrix([true, true]), plain);
    let mut k = Kernel::new(32);
    let value = k.b.op(Op::Mad, &[Word::Lo, Word::U32], &[k.thread.into(), 0x20002_u32.into(), 0x10000_u32.into()]);
    let words = [Word::Sync, Word::Aligned, Word::M8n8, Word::Trans, Word::B16];
    let moved = k.b.op(Op::Movmatrix, &words, &[value.into()]);
    let moved = k.values(moved);
    assert_eq!(matrix([true, false]), moved);
    // Element (row, column) counts 8 row + column; its transpose lies in the lane of the column.
    assert_eq!(moved[1], 24 << 16 | 16);
}

#[test]
fn mma_needs_the_whole_warp() {
    let mut k = Kernel::new(32);
    let zeros = |k: &mut Kernel, class: Class, count: usize| -> Vec<Reg> {
        (0..count).map(|_| k.b.mov(class.word(), 0_u32)).collect()
    };
    let (a, b, c) = (zeros(&mut k, Class::B32, 4), zeros(&mut k, Class::B32, 2), zeros(&mut k, Class::F32, 4));
    let words: Vec<Word> = WORDS.into_iter().chain([Word::F32, Word::F16, Word::F16, Word::F32]).collect();
    let first = k.b.op(Op::Setp, &[Word::Lt, Word::U32], &[k.thread.into(), 31_u32.into()]);
    k.b.under(crate::inst::Guard::when(first), |builder| builder.ops(Op::Mma, &words, &[a.into(), b.into(), c.into()]));
    super::fault(k, crate::interp::FaultKind::Divergence, "0x80000000");
}
