//! Where the axes of a graph lie in a kernel: symbols, placements, and index expressions over symbols in normal form.
//!
//! A graph axis is placed as an [`Index`] over *symbols*: scalars of the kernel (a block's start, a loop's position) and tile
//! axes. A subscript becomes affine, so that memory is read in slices, when quotients and remainders cancel after
//! substitution: with `k = 32*b + 16*h + c`, `k / 32` is `b` and `k % 16` is `c` because `16*h + c` stays below 32 and `c` below
//! 16. [`Space::simplify`] proves that from the extents of tile axes.

use rustc_hash::FxHashMap;
use sawmill_ir::entity::{Arena, Entity as _};
use sawmill_ir::index::{Atom, AxisId, Index};
use sawmill_ir::tile;
use std::collections::BTreeMap;

/// What an index expression may mention beside dims: an axis id past those of the function stands for one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Symbol {
    /// A scalar value of the kernel, 0 or more.
    Scalar(tile::Value),
    /// The position along a tile axis.
    Tile(tile::AxisId, i64),
    /// A position that is solved for.
    Free,
}

/// A placed axis.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    /// The position, over symbols and dims.
    pub(super) position: Index,
    /// Tells placements of one axis apart.
    pub(super) generation: u32,
    /// Whether it is a whole axis in one tile, which may be shared by every reduction over it.
    pub(super) whole: bool,
}

/// Symbols and placements.
pub(super) struct Space {
    first: usize,
    symbols: Arena<AxisId, Symbol>,
    placed: FxHashMap<AxisId, Placed>,
    /// Indices that matter only below a bound: what lies past it is computed for nothing.
    bounds: Vec<(Index, Index)>,
    generations: u32,
}

/// An index split into a scalar and tile axes with coefficients.
pub(super) struct Affine {
    /// Over scalars and dims.
    pub(super) base: Index,
    /// Tile axes, each once.
    pub(super) terms: Vec<(tile::AxisId, i64)>,
}

impl Space {
    /// A space for a function with `axes` axes.
    pub(super) fn new(axes: usize) -> Self {
        Self { first: axes, symbols: Arena::new(), placed: FxHashMap::default(), bounds: Vec::new(), generations: 0 }
    }
    /// A symbol as an index.
    pub(super) fn symbol(&mut self, symbol: Symbol) -> Index {
        let at = self.symbols.push(symbol);
        Index::axis(AxisId::new(self.first + at.index()))
    }
    /// The symbol that an axis id stands for.
    pub(super) fn symbol_of(&self, axis: AxisId) -> Option<Symbol> {
        let at = axis.index().checked_sub(self.first)?;
        self.symbols.get(AxisId::new(at)).copied()
    }
    /// Places an axis; gives the placement it had.
    pub(super) fn place(&mut self, axis: AxisId, position: Index, whole: bool) -> Option<Placed> {
        self.generations += 1;
        self.placed.insert(axis, Placed { position, generation: self.generations, whole })
    }
    /// Takes `index` (0 or more) to be below `bound` from now on.
    pub(super) fn bound(&mut self, index: Index, bound: Index) {
        self.bounds.push((index, bound));
    }
    /// What is taken to be below what.
    pub(super) fn bounds(&self) -> &[(Index, Index)] {
        &self.bounds
    }
    /// Puts back what [`Space::place`] gave.
    pub(super) fn restore(&mut self, axis: AxisId, before: Option<Placed>) {
        match before {
            Some(placed) => self.placed.insert(axis, placed),
            None => self.placed.remove(&axis),
        };
    }
    /// The placement of an axis.
    pub(super) fn get(&self, axis: AxisId) -> Option<&Placed> {
        self.placed.get(&axis)
    }
    /// A fresh generation, for what is not an axis.
    pub(super) fn generation(&mut self) -> u32 {
        self.generations += 1;
        self.generations
    }

    /// `index` (over graph axes) over symbols, simplified; `None` if an axis is not placed.
    pub(super) fn over_symbols(&self, index: &Index) -> Option<Index> {
        let mut missing = false;
        let put = index.substitute(&mut |atom| match atom {
            Atom::Axis(axis) => {
                let placed = self.get(*axis);
                missing |= placed.is_none();
                placed.map(|p| p.position.clone())
            }
            _ => None,
        });
        (!missing).then(|| self.simplify(&put))
    }

    /// The tile axes an index over symbols depends on.
    pub(super) fn tile_axes(&self, index: &Index) -> Vec<tile::AxisId> {
        let tile = |axis| match self.symbol_of(axis) {
            Some(Symbol::Tile(axis, _)) => Some(axis),
            _ => None,
        };
        index.axes().into_iter().filter_map(tile).collect()
    }

    /// Splits an index over symbols; `None` if it is not affine in tile axes.
    pub(super) fn affine(&self, index: &Index) -> Option<Affine> {
        let mut base = Index::default();
        let mut terms: BTreeMap<tile::AxisId, i64> = BTreeMap::new();
        for (monomial, coefficient) in index.terms() {
            let term = monomial.iter().fold(Index::int(coefficient), |p, a| p.mul(&Index::atom(a.clone())));
            if self.tile_axes(&term).is_empty() {
                base = base.add(&term);
                continue;
            }
            let [Atom::Axis(axis)] = monomial else { return None };
            let Some(Symbol::Tile(axis, _)) = self.symbol_of(*axis) else { return None };
            *terms.entry(axis).or_default() += coefficient;
        }
        Some(Affine { base, terms: terms.into_iter().collect() })
    }

    /// The least and the greatest value over tile axes, as indices over scalars; `None` if it is no sum of tile axes and of
    /// quotients of such sums.
    pub(super) fn extremes(&self, index: &Index) -> Option<(Index, Index)> {
        let (mut least, mut greatest) = (Index::default(), Index::default());
        for (monomial, coefficient) in index.terms() {
            let term = monomial.iter().fold(Index::int(1), |p, a| p.mul(&Index::atom(a.clone())));
            let (low, high) = match monomial {
                _ if self.tile_axes(&term).is_empty() => (term.clone(), term),
                [Atom::Axis(axis)] => (Index::int(0), Index::int(self.reach(*axis)?)),
                [Atom::Div(a, b)] if b.as_int().is_some_and(|b| b > 0) => {
                    let (low, high) = self.extremes(a)?;
                    (low.div(b), high.div(b))
                }
                _ => return None,
            };
            let (low, high) = if coefficient < 0 { (high, low) } else { (low, high) };
            least = least.add(&low.scale(coefficient));
            greatest = greatest.add(&high.scale(coefficient));
        }
        Some((least, greatest))
    }
    /// The last position along the tile axis that a symbol stands for.
    fn reach(&self, axis: AxisId) -> Option<i64> {
        match self.symbol_of(axis)? {
            Symbol::Tile(_, extent) => Some(extent - 1),
            Symbol::Scalar(_) | Symbol::Free => None,
        }
    }

    /// Removes quotients and remainders that the extents of tile axes decide.
    pub(super) fn simplify(&self, index: &Index) -> Index {
        let mut sum = Index::default();
        for (monomial, coefficient) in index.terms() {
            let product = monomial.iter().fold(Index::int(coefficient), |p, a| p.mul(&self.simplify_atom(a)));
            sum = sum.add(&product);
        }
        sum
    }
    fn simplify_atom(&self, atom: &Atom) -> Index {
        match atom {
            Atom::Dim(_) | Atom::Axis(_) | Atom::Param(_) => Index::atom(atom.clone()),
            Atom::Div(a, b) => self.divide(&self.simplify(a), &self.simplify(b)).0,
            Atom::Rem(a, b) => self.divide(&self.simplify(a), &self.simplify(b)).1,
            Atom::Min(a, b) => self.simplify(a).smaller(&self.simplify(b)),
            Atom::Max(a, b) => self.simplify(a).larger(&self.simplify(b)),
            Atom::BitLength(a) => self.simplify(a).bit_length(),
            Atom::Read(tensor, subs) => {
                Index::atom(Atom::Read(*tensor, subs.iter().map(|s| self.simplify(s)).collect()))
            }
        }
    }
    /// Quotient and remainder.
    fn divide(&self, a: &Index, b: &Index) -> (Index, Index) {
        for (rest, _) in self.bounds.iter().filter(|(_, bound)| bound == b) {
            let whole = a.sub(rest);
            if whole.rem(b).as_int() == Some(0) {
                return (whole.div(b), rest.clone());
            }
        }
        let Some(by) = b.as_int().filter(|b| *b > 0) else { return (a.div(b), a.rem(b)) };
        let (mut quotient, mut rest) = (Index::default(), Index::default());
        for (monomial, coefficient) in a.terms() {
            let unit = monomial.iter().fold(Index::int(1), |p, a| p.mul(&Index::atom(a.clone())));
            // The constant takes part in the rest only, so that the rest's range is not moved below 0.
            let (whole, left) = (coefficient.div_euclid(by), coefficient.rem_euclid(by));
            if left == 0 || monomial.is_empty() {
                quotient = quotient.add(&unit.scale(whole));
                rest = rest.add(&unit.scale(left));
            } else {
                rest = rest.add(&unit.scale(coefficient));
            }
        }
        match self.range(&rest) {
            Some((low, high)) if low >= 0 && high < by => (quotient, rest),
            _ => (quotient.add(&rest.div(b)), rest.rem(b)),
        }
    }
    /// The range of an index, if only tile axes with constant coefficients and constants occur.
    pub(super) fn range(&self, index: &Index) -> Option<(i64, i64)> {
        let (mut low, mut high) = (0_i64, 0_i64);
        for (monomial, coefficient) in index.terms() {
            let (l, h) = match monomial {
                [] => (coefficient, coefficient),
                [Atom::Axis(axis)] => match self.symbol_of(*axis)? {
                    Symbol::Tile(_, extent) => {
                        let reach = coefficient.checked_mul(extent - 1)?;
                        (reach.min(0), reach.max(0))
                    }
                    Symbol::Scalar(_) | Symbol::Free => return None,
                },
                _ => return None,
            };
            (low, high) = (low.checked_add(l)?, high.checked_add(h)?);
        }
        Some((low, high))
    }
}
