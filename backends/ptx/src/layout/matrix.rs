//! Products of matrices: which contractions a matrix unit does, and in which layouts.
//!
//! In: a kernel, the order of its axes, the number of threads. Out: [`Products`]: for every contraction of two tiles of 16-bit
//! values its [`Product`], and which values of f32 are values of a 16-bit type. A product is tiled by `mma.m16n8k16`: a warp
//! holds 16 rows and 8 columns of the result in the fragment that the PTX ISA gives (section "Matrix Fragments for
//! mma.m16n8k16"), in which a result's columns lie as a row factor's summed positions do, so that a result may be the row
//! factor of the next product without moving. Axes with fewer bits than the fragment has places are repeated there.

use super::{Bit, LANE_BITS, Layout, flattened};
use crate::layout::assign::order::{Order, memory_order};
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{AxisId, Inst, Kernel, Op, Pad, Region, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Summed positions of one instruction.
pub(crate) const STEP: u32 = 16;
/// Neighbours that `ldmatrix` reads of one row.
pub(crate) const ROW: u32 = 8;

/// A contraction that a matrix unit does.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    /// What both factors are values of.
    pub(crate) format: DType,
    /// Which factor has the result's rows: 0 or 1.
    pub(crate) rows: usize,
    /// Bits of the rows and of the columns, from the lowest.
    pub(crate) sides: [Vec<Bit>; 2],
    /// The summed axis that steps of [`STEP`] go along.
    pub(crate) along: AxisId,
    /// Where the result lies.
    pub(crate) result: Layout,
    /// Where the row factor lies, if it is taken from registers.
    pub(crate) left: Layout,
    /// The innermost axes of both factors' homes, rows first.
    pub(crate) inner: [AxisId; 2],
}

/// What is known of a kernel's products.
#[derive(Debug, Default)]
pub(crate) struct Products {
    /// By the result.
    pub(crate) of: BTreeMap<Value, Product>,
    /// Values in f32 that are values of a 16-bit type.
    pub(crate) narrow: BTreeMap<Value, DType>,
}

struct Walk<'k> {
    kernel: &'k Kernel,
    order: &'k Order,
    thread_bits: usize,
    found: Products,
    defs: BTreeMap<Value, &'k Inst>,
    /// Innermost axes of homes that products already read.
    homes: BTreeMap<Value, AxisId>,
}

/// Finds the products of `kernel` for `2^thread_bits` threads.
pub(crate) fn products(kernel: &Kernel, order: &Order, thread_bits: usize) -> Products {
    if thread_bits < LANE_BITS {
        return Products::default();
    }
    let (found, defs, homes) = Default::default();
    let mut walk = Walk { kernel, order, thread_bits, found, defs, homes };
    walk.region(&kernel.body);
    walk.found
}

impl<'k> Walk<'k> {
    fn region(&mut self, region: &'k Region) {
        for inst in &region.insts {
            match &inst.op {
                Op::For { body, .. } => self.region(body),
                Op::If { then, otherwise } => {
                    self.region(then);
                    self.region(otherwise);
                    for (result, (a, b)) in inst.results.iter().zip(then.yields.iter().zip(&otherwise.yields)) {
                        if let Some(format) = self.common(*a, *b) {
                            self.found.narrow.insert(*result, format);
                        }
                    }
                }
                _ => self.simple(inst),
            }
            self.defs.extend(inst.results.iter().map(|result| (*result, inst)));
        }
    }

    fn simple(&mut self, inst: &'k Inst) {
        let Some(result) = inst.results.first().copied() else { return };
        if let Some(format) = self.format(inst).filter(|f| f.is_float() && f.bits() == 16) {
            self.found.narrow.insert(result, format);
        }
        if let Op::Mma { over } = &inst.op
            && let Some(product) = self.product(inst, over)
        {
            for (side, factor) in [product.rows, 1 - product.rows].into_iter().enumerate() {
                self.homes.entry(inst.args[factor]).or_insert(product.inner[side]);
            }
            self.found.of.insert(result, product);
        }
    }

    /// The 16-bit type that a result is a value of.
    fn format(&self, inst: &Inst) -> Option<DType> {
        let narrow = |v: &Value| self.found.narrow.get(v).copied();
        match &inst.op {
            Op::Load { mem, pad, .. } => {
                let format = self.kernel.memory[*mem].dtype;
                let padded = match pad {
                    Pad::Undef => true,
                    Pad::Value(value) => is_in_all(*value),
                };
                padded.then_some(format)
            }
            Op::Round(format) => Some(*format),
            Op::Rename(_) | Op::Slice(_) => narrow(&inst.args[0]),
            Op::Elem(ElemOp::Select) => self.common(inst.args[1], inst.args[2]),
            _ => None,
        }
    }
    /// The type that both are values of.
    fn common(&self, a: Value, b: Value) -> Option<DType> {
        let narrow = |v: Value| self.found.narrow.get(&v).copied();
        let fits = |v: Value, format: DType| {
            narrow(v) == Some(format)
                || matches!(self.defs.get(&v).map(|i| &i.op), Some(Op::Const(value)) if is_in_all(*value))
        };
        [a, b].into_iter().filter_map(narrow).find(|format| fits(a, *format) && fits(b, *format))
    }

    fn product(&self, inst: &Inst, over: &[AxisId]) -> Option<Product> {
        let axes = |v: Value| &self.kernel.values[v].axes;
        let (a, b, result) = (inst.args[0], inst.args[1], inst.results[0]);
        let narrow = |v: &Value| self.found.narrow.get(v).copied();
        let format = narrow(&a).filter(|f| narrow(&b) == Some(*f))?;
        if self.kernel.values[result].dtype != DType::F32
            || over.iter().any(|x| !axes(a).contains(x) || !axes(b).contains(x))
        {
            return None;
        }
        let free = |v: Value| -> Vec<AxisId> { axes(v).iter().filter(|x| !over.contains(x)).copied().collect() };
        let [of_a, of_b] = [free(a), free(b)];
        if of_a.iter().any(|x| of_b.contains(x)) || of_b.is_empty() || of_a.is_empty() {
            return None;
        }
        // Columns are the side of the innermost axis, so that neighbours in registers and lanes are neighbours in memory.
        let last = self.order.sorted(axes(result)).last().copied()?;
        let rows = usize::from(of_a.contains(&last));
        let [rows_of, columns_of] = if rows == 0 { [of_a, of_b] } else { [of_b, of_a] };
        let along = self.along(inst, over)?;
        let factors = [inst.args[rows], inst.args[1 - rows]];
        let chained = columns_of.iter().any(|x| self.order.vanishes(*x)) || !self.is_loaded(factors[0]);
        let sides = [self.bits(&rows_of), self.bits(&columns_of)];
        let result = spread_result(&sides, self.thread_bits, chained);
        let left = spread_left(&sides[0], &self.bits_along(along, over), &result);
        let inner = [self.inner(factors[0], along, &rows_of)?, self.inner(factors[1], along, &columns_of)?];
        Some(Product { format, rows, sides, along, result, left, inner })
    }

    /// Bits of several axes as one number's.
    fn bits(&self, axes: &[AxisId]) -> Vec<Bit> {
        let sorted = self.order.sorted(axes);
        flattened(&sorted.iter().map(|a| (*a, self.kernel.axes[*a].extent)).collect::<Vec<_>>())
    }
    /// Bits of the summed axes, those of `along` lowest.
    fn bits_along(&self, along: AxisId, over: &[AxisId]) -> Vec<Bit> {
        let others = over.iter().copied().filter(|a| *a != along).collect::<Vec<_>>();
        let mut bits = self.bits(&[along]);
        bits.extend(self.bits(&others));
        bits
    }

    /// The summed axis that steps go along: whole steps long, and innermost in a factor's memory if one is.
    fn along(&self, inst: &Inst, over: &[AxisId]) -> Option<AxisId> {
        let whole = |a: &AxisId| self.kernel.axes[*a].extent.is_multiple_of(STEP);
        let near: BTreeSet<AxisId> = inst.args[..2].iter().filter_map(|v| self.memory_inner(*v)).collect();
        let sorted = self.order.sorted(over);
        let candidates = || sorted.iter().copied().filter(whole);
        candidates().rfind(|a| near.contains(a)).or_else(|| candidates().next_back())
    }
    fn is_loaded(&self, value: Value) -> bool {
        match self.defs.get(&value) {
            Some(inst) => match &inst.op {
                Op::Load { .. } => true,
                Op::Rename(_) | Op::Slice(_) => self.is_loaded(inst.args[0]),
                _ => false,
            },
            None => false,
        }
    }
    /// The axis whose neighbours are neighbours in the memory that a value is loaded from.
    fn memory_inner(&self, value: Value) -> Option<AxisId> {
        let inst = self.defs.get(&value)?;
        matches!(inst.op, Op::Load { .. }).then(|| memory_order(self.kernel, inst).last().copied()).flatten()
    }
    /// The innermost axis of a factor's home: as in memory, if whole rows of a matrix are there.
    fn inner(&self, factor: Value, along: AxisId, free: &[AxisId]) -> Option<AxisId> {
        let rows = |a: &AxisId| *a == along || free.contains(a) && self.kernel.axes[*a].extent >= ROW;
        // The lowest bits of a side are those of its innermost axis alone.
        let lowest = self.order.sorted(free).last().copied();
        let fits = |a: &AxisId| rows(a) && (*a == along || lowest == Some(*a));
        match self.homes.get(&factor) {
            Some(inner) => Some(*inner).filter(fits),
            None => Some(self.memory_inner(factor).filter(fits).unwrap_or(along)),
        }
    }
}

/// Whether every float type of 16 bits surely has a constant.
fn is_in_all(value: Const) -> bool {
    let Const::Float(bits) = value else { return false };
    let value = f64::from_bits(bits);
    value.is_infinite() || value == 0.0 || value.abs() == 1.0
}

/// Where a result lies: rows and columns as the fragment has them, what is left of them over warps, then in registers. A
/// result whose rows meet again (in a reduction, in the next product) has them in one warp.
fn spread_result([rows, columns]: &[Vec<Bit>; 2], thread_bits: usize, chained: bool) -> Layout {
    let of = |bits: &[Bit], at: usize| bits.get(at).copied();
    let mut threads = vec![of(columns, 1), of(columns, 2), of(rows, 0), of(rows, 1), of(rows, 2)];
    let mut regs: Vec<Bit> = [of(columns, 0), of(rows, 3)].into_iter().flatten().collect();
    let mut rows = rows.get(4..).unwrap_or_default().to_vec();
    let mut columns = columns.get(3..).unwrap_or_default().to_vec();
    while threads.len() < thread_bits {
        let by_rows = !rows.is_empty() && (chained || rows.len() >= columns.len());
        threads.push(if by_rows { rows.pop() } else { columns.pop() });
    }
    regs.extend(columns);
    regs.extend(rows);
    Layout { regs, threads }
}

/// Where a row factor lies for a product with this result: positions along the summed axes where the fragment has them.
fn spread_left(rows: &[Bit], summed: &[Bit], result: &Layout) -> Layout {
    let of = |bits: &[Bit], at: usize| bits.get(at).copied();
    let mut threads = vec![of(summed, 1), of(summed, 2), of(rows, 0), of(rows, 1), of(rows, 2)];
    threads.extend(result.threads[LANE_BITS..].iter().map(|b| b.filter(|b| rows.contains(b))));
    let mut regs: Vec<Bit> = [of(summed, 0), of(rows, 3)].into_iter().flatten().collect();
    regs.extend(summed.get(3..).unwrap_or_default());
    regs.extend(rows.iter().skip(4).filter(|b| result.regs.contains(b)));
    Layout { regs, threads }
}
