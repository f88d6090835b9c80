//! Matrices spread over the lanes of a warp.
//!
//! Lane `4 g + q` holds, of `mma`'s operands: A, register `r`, the elements in row `g + 8 (r mod R)` for `R` = rows / 8, and `k` from
//! `4 p (r / R) + p q` on, `p` elements in a register; B the column `g` and `k` from `4 p r + p q` on; C and D the row `g + 8 (r / 2)`
//! and column `2 q + r mod 2`. Source: the PTX ISA, section 9.7.14.5, matrix fragments.

use super::WARP;
use super::float::{BF16, F16};
use super::number::{integer, low};
use crate::inst::Word;

/// Registers of all lanes, by register and lane, and whether they are defined.
pub(crate) type Fragment = Vec<[(u64, bool); WARP]>;

/// Shape and types of an `mma`.
#[derive(Clone, Copy, Debug)]
struct Kind {
    rows: usize,
    depth: usize,
    /// Elements in a register of A and B.
    per: usize,
    a: Word,
    b: Word,
}

const COLUMNS: usize = 8;

fn kind(words: &[Word]) -> Kind {
    let (rows, depth) = match words.iter().find(|word| !word.is_type() && word.text().starts_with('m')) {
        Some(Word::M8n8k4) => (8, 4),
        Some(Word::M16n8k4) => (16, 4),
        Some(Word::M16n8k8) => (16, 8),
        Some(Word::M16n8k16) => (16, 16),
        _ => (16, 32),
    };
    let types: Vec<Word> = words.iter().copied().filter(|word| word.is_type()).collect();
    let (a, b) = (types[1], types[2]);
    Kind { rows, depth, per: if a == Word::F64 { 1 } else { (32 / a.bits()) as usize }, a, b }
}

/// The register, the lane and the element in it of `(row, k)` of A.
fn place_of_a(kind: Kind, row: usize, k: usize) -> (usize, usize, usize) {
    let (quad, rest) = (k / (4 * kind.per), k % (4 * kind.per));
    (quad * (kind.rows / 8) + row / 8, 4 * (row % 8) + rest / kind.per, rest % kind.per)
}

fn place_of_b(kind: Kind, k: usize, column: usize) -> (usize, usize, usize) {
    let (quad, rest) = (k / (4 * kind.per), k % (4 * kind.per));
    (quad, 4 * column + rest / kind.per, rest % kind.per)
}

/// The register and the lane of `(row, column)` of C and D.
fn place_of_c(row: usize, column: usize) -> (usize, usize) {
    (2 * (row / 8) + column % 2, 4 * (row % 8) + column / 2)
}

fn element(fragment: &Fragment, place: (usize, usize, usize), ty: Word) -> (u64, bool) {
    let (register, lane, element) = place;
    let (bits, defined) = fragment[register][lane];
    let shift = if ty.bits() == 64 { 0 } else { u32::try_from(element).expect("few") * ty.bits() };
    (low(bits >> shift, ty.bits()), defined)
}

fn number(bits: u64, ty: Word) -> f64 {
    match ty {
        Word::F16 => F16.decode(bits),
        Word::Bf16 => BF16.decode(bits),
        // The low 13 bits of a tf32 operand are not looked at.
        Word::Tf32 => f32::from_bits(low(bits, 32) as u32 & !0x1fff).into(),
        _ => f64::from_bits(bits),
    }
}

/// `D = A B + C`. Products of floats are summed in f64 and rounded once; hardware rounds in an order it does not tell.
pub(crate) fn multiply(words: &[Word], a: &Fragment, b: &Fragment, c: &Fragment) -> Fragment {
    let kind = kind(words);
    let mut d = c.clone();
    for row in 0..kind.rows {
        for column in 0..COLUMNS {
            let (register, lane) = place_of_c(row, column);
            let pairs = (0..kind.depth).map(|k| {
                let (x, x_defined) = element(a, place_of_a(kind, row, k), kind.a);
                let (y, y_defined) = element(b, place_of_b(kind, k, column), kind.b);
                (x, y, x_defined && y_defined)
            });
            let (bits, mut defined) = c[register][lane];
            let pairs: Vec<(u64, u64, bool)> = pairs.collect();
            defined &= pairs.iter().all(|pair| pair.2);
            d[register][lane] = (sum(kind, bits, &pairs), defined);
        }
    }
    d
}

fn sum(kind: Kind, start: u64, pairs: &[(u64, u64, bool)]) -> u64 {
    if kind.a.is_integral() {
        let products = pairs.iter().map(|(x, y, _)| integer(*x, kind.a) * integer(*y, kind.b));
        return low(super::number::bits_of(products.sum::<i128>() + integer(start, Word::S32)), 32);
    }
    if kind.a == Word::F64 {
        let total = pairs
            .iter()
            .fold(f64::from_bits(start), |total, (x, y, _)| f64::from_bits(*x).mul_add(f64::from_bits(*y), total));
        return total.to_bits();
    }
    let products: f64 = pairs.iter().map(|(x, y, _)| number(*x, kind.a) * number(*y, kind.b)).sum();
    #[expect(clippy::cast_possible_truncation, reason = "it rounds to nearest")]
    let total = (products + f64::from(f32::from_bits(low(start, 32) as u32))) as f32;
    if total.is_nan() { 0x7fff_ffff } else { total.to_bits().into() }
}

/// Which element of an 8 by 8 matrix a lane holds in the low and the high half: `ldmatrix`, `stmatrix`, `movmatrix`.
pub(crate) fn pair_of(lane: usize, transposed: bool) -> [(usize, usize); 2] {
    let (major, minor) = (lane / 4, 2 * (lane % 4));
    if transposed { [(minor, major), (minor + 1, major)] } else { [(major, minor), (major, minor + 1)] }
}
