//! Arithmetic of one lane against Rust's own, and against values of the PTX ISA where Rust has none.

use crate::inst::{Op, Word};
use crate::interp::number::{Shape, evaluate};

fn of(op: Op, words: &[Word], x: [u64; 4]) -> Option<u64> {
    assert!(op.form(words).is_some(), "{op} {words:?} is not in the table");
    let mut types = words.iter().copied().filter(|word| word.is_type());
    let t = types.next().expect("a type");
    evaluate(&Shape { op, words, t, s: types.next().unwrap_or(t) }, x)
}

fn two(op: Op, words: &[Word], a: u64, b: u64) -> u64 {
    of(op, words, [a, b, 0, 0]).expect("a value")
}

/// Numbers at the edges of all widths, and some within.
fn samples() -> Vec<u64> {
    let mut list = vec![0, 1, 2, 3, 7, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    list.extend([i64::MAX.cast_unsigned(), 1 << 63, u64::MAX, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
    list
}

#[test]
fn integers_are_as_in_rust() {
    for a in samples() {
        for b in samples() {
            let (a32, b32) = (a as u32, b as u32);
            let (x, y) = (u64::from(a32), u64::from(b32));
            let (s, t) = (a32.cast_signed(), b32.cast_signed());
            assert_eq!(two(Op::Add, &[Word::U32], x, y), a32.wrapping_add(b32).into());
            assert_eq!(two(Op::Sub, &[Word::S64], a, b), a.wrapping_sub(b));
            assert_eq!(two(Op::Mul, &[Word::Lo, Word::U64], a, b), a.wrapping_mul(b));
            assert_eq!(two(Op::Mul, &[Word::Hi, Word::U64], a, b), ((u128::from(a) * u128::from(b)) >> 64) as u64);
            let high = (i128::from(a.cast_signed()) * i128::from(b.cast_signed())) >> 64;
            assert_eq!(two(Op::Mul, &[Word::Hi, Word::S64], a, b), high as u64);
            assert_eq!(two(Op::Mul, &[Word::Wide, Word::S32], x, y), (i64::from(s) * i64::from(t)).cast_unsigned());
            assert_eq!(two(Op::Mul, &[Word::Wide, Word::U32], x, y), x * y);
            assert_eq!(two(Op::Min, &[Word::S32], x, y), u64::from(s.min(t).cast_unsigned()));
            assert_eq!(two(Op::Max, &[Word::U32], x, y), x.max(y));
            let divided = of(Op::Div, &[Word::S32], [x, y, 0, 0]);
            let rest = of(Op::Rem, &[Word::U64], [a, b, 0, 0]);
            if t == 0 {
                assert_eq!(divided, None);
            } else {
                assert_eq!(divided, Some(u64::from(s.wrapping_div(t).cast_unsigned())));
            }
            assert_eq!(rest, a.checked_rem(b));
            assert_eq!(two(Op::Setp, &[Word::Lt, Word::S32], x, y), u64::from(s < t));
            assert_eq!(two(Op::Setp, &[Word::Ge, Word::U64], a, b), u64::from(a >= b));
            let amount = b32.min(64);
            assert_eq!(two(Op::Shl, &[Word::B32], x, y), if amount > 31 { 0 } else { (a32 << amount).into() });
            let arithmetic = s >> amount.min(31);
            assert_eq!(two(Op::Shr, &[Word::S32], x, y), u64::from(arithmetic.cast_unsigned()));
            assert_eq!(two(Op::Shr, &[Word::U64], a, y), if amount > 63 { 0 } else { a >> amount });
            let mad = of(Op::Mad, &[Word::Wide, Word::U32], [x, y, a, 0]);
            assert_eq!(mad, Some((x * y).wrapping_add(a)));
        }
        let x = u64::from(a as u32);
        assert_eq!(two(Op::Popc, &[Word::B64], a, 0), a.count_ones().into());
        assert_eq!(two(Op::Clz, &[Word::B32], x, 0), (a as u32).leading_zeros().into());
        assert_eq!(two(Op::Brev, &[Word::B32], x, 0), (a as u32).reverse_bits().into());
        assert_eq!(two(Op::Not, &[Word::B32], x, 0), u64::from(!(a as u32)));
    }
}

/// The pseudocode of the PTX ISA, worked by hand.
#[test]
fn bit_fields_are_as_documented() {
    let field = |ty, a, start, length| of(Op::Bfe, &[ty], [a, start, length, 0]).expect("a value");
    assert_eq!(field(Word::U32, 0xabcd_1234, 8, 12), 0xd12);
    assert_eq!(field(Word::S32, 0xabcd_1234, 8, 12), 0xffff_fd12);
    assert_eq!(field(Word::U32, 0xabcd_1234, 24, 16), 0xab);
    assert_eq!(field(Word::S32, 0xabcd_1234, 24, 16), 0xffff_ffab);
    assert_eq!(field(Word::S32, 0xabcd_1234, 4, 0), 0);
    assert_eq!(of(Op::Bfi, &[Word::B32], [0xff, 0x1111_1111, 8, 4]), Some(0x1111_1f11));
    assert_eq!(of(Op::Lop3, &[Word::B32], [0xf0, 0xcc, 0xaa, 0x80]), Some(0x80));
    assert_eq!(of(Op::Lop3, &[Word::B32], [0xf0, 0xcc, 0xaa, 0xe8]), Some(0xe8));
    assert_eq!(of(Op::Prmt, &[Word::B32], [0x3322_1180, 0x7766_5544, 0x7410, 0]), Some(0x7744_1180));
    assert_eq!(of(Op::Prmt, &[Word::B32], [0x3322_1180, 0x7766_5544, 0x0008, 0]), Some(0x8080_80ff));
    assert_eq!(of(Op::Shf, &[Word::L, Word::Wrap, Word::B32], [0x8000_0001, 0x1234_5678, 4, 0]), Some(0x2345_6788));
    assert_eq!(of(Op::Shf, &[Word::R, Word::Clamp, Word::B32], [0x8000_0001, 0x1234_5678, 40, 0]), Some(0x1234_5678));
    // 1*5 + 2*6 + 3*7 - 1*8 + 100, the fourth byte of the first operand signed.
    assert_eq!(of(Op::Dp4a, &[Word::S32, Word::U32], [0xff03_0201, 0x0807_0605, 100, 0]), Some(130));
}

#[test]
fn floats_are_as_in_rust() {
    let values = [0.0_f32, -0.0, 1.0, -1.5, 3.25e-39, 1e30, -7.5e-12, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.1];
    for a in values {
        for b in values {
            let (x, y) = (u64::from(a.to_bits()), u64::from(b.to_bits()));
            let same = |op: Op, words: &[Word], expected: f32| {
                let bits = two(op, words, x, y) as u32;
                if expected.is_nan() {
                    assert_eq!(bits, 0x7fff_ffff);
                } else {
                    assert_eq!(bits, expected.to_bits(), "{op} {a:e} {b:e}");
                }
            };
            same(Op::Add, &[Word::Rn, Word::F32], a + b);
            same(Op::Mul, &[Word::Rn, Word::F32], a * b);
            same(Op::Div, &[Word::Rn, Word::F32], a / b);
            let double = two(Op::Sub, &[Word::Rn, Word::F64], f64::from(a).to_bits(), f64::from(b).to_bits());
            let expected = f64::from(a) - f64::from(b);
            assert!(f64::from_bits(double) == expected || expected.is_nan());
            assert_eq!(two(Op::Setp, &[Word::Lt, Word::F32], x, y), u64::from(a < b));
            assert_eq!(two(Op::Setp, &[Word::Neu, Word::F32], x, y), u64::from(a != b));
        }
    }
    let nan = u64::from(f32::NAN.to_bits());
    let one = u64::from(1_f32.to_bits());
    assert_eq!(two(Op::Min, &[Word::F32], nan, one), one);
    assert_eq!(two(Op::Max, &[Word::Nan, Word::F32], nan, one), 0x7fff_ffff);
    assert_eq!(two(Op::Setp, &[Word::Ltu, Word::F32], nan, one), 1);
    assert_eq!(two(Op::Setp, &[Word::Ge, Word::F32], nan, one), 0);
    let tiny = u64::from(1e-40_f32.to_bits());
    assert_eq!(two(Op::Add, &[Word::Rn, Word::Ftz, Word::F32], tiny, tiny), 0);
    let fused = of(Op::Fma, &[Word::Rn, Word::F32], [0.1_f32, 0.1, -0.01, 0.0].map(|x| u64::from(x.to_bits())));
    assert_eq!(fused, Some(u64::from(0.1_f32.mul_add(0.1, -0.01).to_bits())));
}

#[test]
fn small_floats_agree_with_the_crate_half() {
    let bits: Vec<u16> = (0..300).map(|n: u32| (n.wrapping_mul(0x9e37_79b1) >> 13) as u16).collect();
    for pair in bits.windows(2) {
        let (a, b) = (half::f16::from_bits(pair[0]), half::f16::from_bits(pair[1]));
        let sum = half::f16::from_f64(a.to_f64() + b.to_f64());
        let got = two(Op::Add, &[Word::Rn, Word::F16], pair[0].into(), pair[1].into()) as u16;
        assert!(got == sum.to_bits() || (sum.is_nan() && half::f16::from_bits(got).is_nan()), "{a} + {b}");
        let both = u64::from(pair[0]) << 16 | u64::from(pair[1]);
        let product = two(Op::Mul, &[Word::Rn, Word::Bf16x2], both, both);
        let low = half::bf16::from_bits(pair[1]).to_f64();
        let expected = half::bf16::from_f64(low * low);
        assert!((product as u16) == expected.to_bits() || expected.is_nan());
    }
}

#[test]
fn conversions_clamp_round_and_wrap() {
    let convert = |words: &[Word], x: u64| of(Op::Cvt, words, [x, 0, 0, 0]).expect("a value");
    let float = |x: f32| u64::from(x.to_bits());
    assert_eq!(convert(&[Word::Rzi, Word::S32, Word::F32], float(-2.7)), u64::from((-2_i32).cast_unsigned()));
    assert_eq!(convert(&[Word::Rni, Word::S32, Word::F32], float(2.5)), 2);
    assert_eq!(convert(&[Word::Rpi, Word::U32, Word::F32], float(2.1)), 3);
    assert_eq!(convert(&[Word::Rzi, Word::U8, Word::F32], float(300.0)), 255);
    assert_eq!(convert(&[Word::Rzi, Word::S8, Word::F32], float(-300.0)), 0x80);
    assert_eq!(convert(&[Word::Rzi, Word::U32, Word::F32], float(-1.0)), 0);
    assert_eq!(convert(&[Word::Rzi, Word::S32, Word::F32], float(f32::NAN)), 0);
    assert_eq!(convert(&[Word::S8, Word::S32], 0x1ff), 0xff);
    assert_eq!(convert(&[Word::Sat, Word::S8, Word::S32], 0x1ff), 0x7f);
    assert_eq!(convert(&[Word::S64, Word::S32], 0xffff_fffe), u64::MAX - 1);
    assert_eq!(convert(&[Word::Rn, Word::F32, Word::S32], 0xffff_fff0), float(-16.0));
    assert_eq!(convert(&[Word::Rz, Word::F32, Word::U32], u32::MAX.into()), float(4_294_967_040.0));
    assert_eq!(convert(&[Word::Rni, Word::F32, Word::F32], float(-2.5)), float(-2.0));
    assert_eq!(convert(&[Word::F32, Word::Bf16], 0x3fc0), float(1.5));
    assert_eq!(convert(&[Word::Rn, Word::Bf16, Word::F32], float(1.5)), 0x3fc0);
    // Ties go away from zero: 1 + 2^-11 is between two tf32.
    assert_eq!(convert(&[Word::Rna, Word::Tf32, Word::F32], 0x3f80_1000), 0x3f80_2000);
    let packed = of(Op::Cvt, &[Word::Rn, Word::F16x2, Word::F32], [float(1.0), float(-2.0), 0, 0]);
    assert_eq!(packed, Some(0x3c00_c000));
    let eight = of(Op::Cvt, &[Word::Rn, Word::Satfinite, Word::E4m3x2, Word::F32], [float(1e9), float(-1.0), 0, 0]);
    assert_eq!(eight, Some(0x7eb8));
    assert_eq!(convert(&[Word::Rn, Word::F16x2, Word::E4m3x2], 0x7eb8), 0x5f00_bc00);
}
