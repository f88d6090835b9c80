//! Scalars of a block: sizes from argument words, positions in the grid, known constants.
//!
//! In: index expressions over the kernel's dims. Out: VIR scalars (i64). Quotients are Euclidean as in the rest of the
//! compiler, which is what VIR's `div` and `rem` compute.

use super::Lower;
use crate::vir::{Elem, Type, Val};
use sawmill_ir::graph::Const;
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::tile::{Kernel, MemId};

/// Where the run-time facts of a memory parameter are.
#[derive(Clone, Debug)]
pub(super) struct MemoryWords {
    pub(super) pointer: Val,
    pub(super) extents: Vec<Val>,
    pub(super) strides: Vec<Val>,
}

impl Lower<'_> {
    /// The words of a memory parameter, read again where they are needed so that no register holds them for long.
    pub(super) fn memory_words(&mut self, mem: MemId) -> MemoryWords {
        let kernel: &Kernel = self.kernel;
        let rank = u32::try_from(kernel.memory[mem].shape.len()).expect("invariant: a rank fits 32 bits");
        let pointer = self.b.arg(self.words.pointer(mem), Type::I64);
        let mut extents = Vec::new();
        for d in 0..rank {
            let known = kernel.memory[mem].shape[d as usize].as_int();
            extents.push(match known {
                Some(size) => self.b.i64(size),
                None => self.b.arg(self.words.extent(mem, d), Type::I64),
            });
        }
        let strides = (0..rank).map(|d| self.b.arg(self.words.stride(mem, d), Type::I64)).collect();
        MemoryWords { pointer, extents, strides }
    }

    /// The value of an index expression over the kernel's dims.
    pub(super) fn index(&mut self, index: &Index) -> Val {
        let mut sum: Option<Val> = None;
        for (monomial, coefficient) in index.terms() {
            let mut product: Option<Val> = None;
            for atom in monomial {
                let factor = self.atom(atom);
                product = Some(product.map_or(factor, |p| self.b.mul(p, factor)));
            }
            let term = match (product, coefficient) {
                (Some(p), 1) => p,
                (Some(p), c) => {
                    let c = self.b.i64(c);
                    self.b.mul(p, c)
                }
                (None, c) => self.b.i64(c),
            };
            sum = Some(sum.map_or(term, |s| self.b.add(s, term)));
        }
        match sum {
            Some(sum) => sum,
            None => self.b.i64(0),
        }
    }

    fn atom(&mut self, atom: &Atom) -> Val {
        let pair = |s: &mut Self, a: &Index, b: &Index| (s.index(a), s.index(b));
        match atom {
            Atom::Dim(dim) => self.b.arg(self.words.dim(*dim), Type::I64),
            Atom::Div(a, b) => {
                let (a, b) = pair(self, a, b);
                self.b.div(a, b)
            }
            Atom::Rem(a, b) => {
                let (a, b) = pair(self, a, b);
                self.b.rem(a, b)
            }
            Atom::Min(a, b) => {
                let (a, b) = pair(self, a, b);
                self.b.min(a, b)
            }
            Atom::Max(a, b) => {
                let (a, b) = pair(self, a, b);
                self.b.max(a, b)
            }
            Atom::BitLength(a) => {
                let a = self.index(a);
                let zero = self.b.i64(0);
                let positive = self.b.max(a, zero);
                let zeros = self.b.clz(positive);
                let bits = self.b.i64(64);
                self.b.sub(bits, zeros)
            }
            Atom::Axis(_) | Atom::Param(_) | Atom::Read(..) => {
                self.defect(format!("a kernel's size has the atom {atom:?}"));
                self.b.i64(0)
            }
        }
    }

    /// A scalar constant of element `elem`.
    pub(super) fn constant(&mut self, value: Const, elem: Elem) -> Val {
        let ty = Type::scalar(elem);
        match value {
            Const::Float(bits) => self.b.float(ty, f64::from_bits(bits)),
            Const::Int(int) => self.b.int(ty, int),
            Const::Bool(truth) => self.b.int(ty, i64::from(truth)),
        }
    }
}
