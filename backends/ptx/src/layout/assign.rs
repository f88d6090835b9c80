//! Layout assignment: which values of a kernel lie in registers in which layouts, and which also have a home in shared memory.
//!
//! In: a verified kernel, the number of threads. Out: [`Assigned`]. One order of the kernel's axes (`order`) makes tiles that
//! share axes agree on them: rows before columns, what is summed last, so that a row's maximum meets the row's elements where
//! they are. Two walks decide. *Forward*, operations anchor their results: a reduction keeps the layout of its operand, less the
//! axes that vanish, elementwise results stay with their largest operand, a carry with what the body yields. Values that cost
//! nothing to make anywhere (coordinates, loads, what is made of those alone) float. *Backward*, every use says in which layout
//! it reads; floating values are made in each, anchored ones are converted where they are defined. Factors of contractions and
//! operands of slices are read at positions that differ from thread to thread, so they get a home. Products of matrices
//! ([`super::matrix`]) anchor their results in fragments; a row factor stays in registers if it was computed where it is read.

pub(crate) mod order;
mod ranges;
mod stream;

use super::matrix::{Product, Products, ROW, products};
use super::{Bit, LANE_BITS, Layout};
use order::Order;
use ranges::Range;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::entity::Entity as _;
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{AxisId, Inst, Kernel, Op, Region, Subscript, Value};
use std::collections::BTreeMap;

/// Elements that are loaded where they are needed, however far apart lanes then read: bringing them there through shared memory takes
/// longer.
const FEW_ELEMENTS: u64 = 128;
/// Registers, as a power of two, up to which every warp combines a tile by itself.
const EACH_WARP_BITS: usize = 2;

/// What was decided.
#[derive(Debug)]
pub(crate) struct Assigned<'k> {
    kernel: &'k Kernel,
    thread_bits: usize,
    /// Lowest bits of the innermost axis that a thread holds.
    vector_bits: usize,
    /// For each value, the power of a power of two that it is a multiple of.
    powers: Vec<u32>,
    /// For each value, between which numbers it stays, if that is known.
    ranges: Vec<Option<Range>>,
    order: Order,
    /// The layout that a value is computed in, if it is computed in one.
    anchors: Vec<Option<Layout>>,
    /// The layouts that a value is read in.
    wanted: Vec<Vec<Layout>>,
    /// The instruction that defines a value.
    defs: BTreeMap<Value, &'k Inst>,
    /// Values with a home, and the axis whose neighbours lie next to each other there.
    homes: BTreeMap<Value, Option<AxisId>>,
    products: Products,
    /// What a product takes its row factor from, if that is in registers: a value, which it rounds to its format.
    held_rows: BTreeMap<Value, Value>,
}

impl<'k> Assigned<'k> {
    /// Assigns layouts to all values of `kernel` for `2^thread_bits` threads.
    pub(crate) fn of(kernel: &'k Kernel, thread_bits: usize) -> Self {
        let count = kernel.values.len();
        let order = Order::of(kernel);
        let mut pass = Self {
            kernel,
            thread_bits,
            vector_bits: stream::vector_bits(kernel),
            powers: stream::powers(kernel),
            ranges: ranges::ranges(kernel),
            products: products(kernel, &order, thread_bits),
            held_rows: BTreeMap::new(),
            order,
            anchors: vec![None; count],
            wanted: vec![Vec::new(); count],
            defs: BTreeMap::new(),
            homes: BTreeMap::new(),
        };
        pass.anchor_region(&kernel.body);
        pass.want_region(&kernel.body);
        pass
    }

    /// The layouts that `value` is needed in: the one it is computed in first, if there is one.
    pub(crate) fn layouts(&self, value: Value) -> Vec<Layout> {
        let anchor = self.anchors[value.index()].as_ref();
        let others = self.wanted[value.index()].iter().filter(|l| Some(*l) != anchor);
        let mut layouts: Vec<Layout> = anchor.into_iter().chain(others).cloned().collect();
        if layouts.is_empty() && self.homes.contains_key(&value) {
            layouts.push(self.own_layout(value));
        }
        layouts
    }
    /// The layout that `value` is computed in, if there is one; else it is computed in each layout it is needed in.
    pub(crate) fn anchor(&self, value: Value) -> Option<&Layout> {
        self.anchors[value.index()].as_ref()
    }
    /// Whether the value has a home in shared memory; and the axis whose neighbours lie next to each other there.
    pub(crate) fn home(&self, value: Value) -> Option<Option<AxisId>> {
        self.homes.get(&value).copied()
    }
    /// Whether a value is read from shared memory alone.
    pub(crate) fn is_only_at_home(&self, value: Value) -> bool {
        self.homes.contains_key(&value) && self.anchor(value).is_none() && self.wanted[value.index()].is_empty()
    }
    /// Whether a value is the rounded result of arithmetic, so that it is off by half a unit in its last place as it is.
    pub(crate) fn is_rounded(&self, value: Value) -> bool {
        let op = self.defs.get(&value).map(|inst| &inst.op);
        op.is_some_and(|op| matches!(op, Op::Fma | Op::Elem(ElemOp::Add | ElemOp::Sub | ElemOp::Mul | ElemOp::Div)))
    }
    /// Whether threads hold neighbours of the innermost axis.
    pub(crate) fn has_vectors(&self) -> bool {
        self.vector_bits > 0
    }
    /// Whether a scalar is known to be a multiple of two to the `power`.
    pub(crate) fn is_multiple(&self, value: Value, power: u32) -> bool {
        self.powers[value.index()] >= power
    }
    /// The least and the greatest value that a scalar has, if that is known.
    pub(crate) fn range(&self, value: Value) -> Option<Range> {
        self.ranges[value.index()]
    }
    /// The instruction that defines a value; none for a loop's parameters.
    pub(crate) fn definition(&self, value: Value) -> Option<&'k Inst> {
        self.defs.get(&value).copied()
    }
    /// The product that gives a value, if a matrix unit computes it.
    pub(crate) fn product(&self, result: Value) -> Option<&Product> {
        self.products.of.get(&result)
    }
    /// The 16-bit type that a value in f32 is a value of.
    pub(crate) fn narrow(&self, value: Value) -> Option<DType> {
        self.products.narrow.get(&value).copied()
    }
    /// What a product takes its row factor from, if from registers.
    pub(crate) fn held_rows(&self, result: Value) -> Option<Value> {
        self.held_rows.get(&result).copied()
    }
    /// The tile of which a reduction tells whether all of it is finite, if a product has it in 16 bits at home.
    pub(crate) fn finite_at_home(&self, inst: &Inst) -> Option<Value> {
        let Op::Reduce { op: ReduceOp::All, over } = &inst.op else { return None };
        let def = |value: Value, op: ElemOp| self.definition(value).filter(|d| d.op == Op::Elem(op));
        let below = def(inst.args[0], ElemOp::Lt)?;
        let infinity = self.definition(below.args[1])?;
        let tile = def(below.args[0], ElemOp::Abs)?.args[0];
        let all = *over == self.kernel.values[tile].axes;
        let known = infinity.op == Op::Const(Const::float(f64::INFINITY)) && self.narrow(tile).is_some();
        let inner = self.home(tile).flatten().map(|axis| self.kernel.axes[axis].extent);
        (all && known && inner.is_some_and(|extent| extent.is_multiple_of(ROW))).then_some(tile)
    }
    /// The values whose homes an instruction reads.
    pub(crate) fn reads_homes(&self, inst: &Inst) -> Vec<Value> {
        match &inst.op {
            Op::Reduce { .. } => self.finite_at_home(inst).into_iter().collect(),
            Op::Slice(_) => vec![inst.args[0]],
            Op::Mma { .. } => match self.product(inst.results[0]) {
                Some(product) if self.held_rows.contains_key(&inst.results[0]) => vec![inst.args[1 - product.rows]],
                _ => inst.args[..2].to_vec(),
            },
            _ => Vec::new(),
        }
    }
    /// The layout of scalars: every thread has them.
    pub(crate) fn scalar(&self) -> Layout {
        Layout::spread(&[], self.thread_bits)
    }
    /// The layout that a load works in to give a result in `wanted`: that one, or the memory's order if lanes would read far apart.
    pub(crate) fn load_layout(&self, inst: &Inst, wanted: &Layout) -> Layout {
        let axes = &self.kernel.values[inst.results[0]].axes;
        if self.is_coalesced(inst, wanted) { wanted.clone() } else { self.memory_layout(inst, axes) }
    }
    /// The layout that a store works in.
    pub(crate) fn store_layout(&self, inst: &Inst) -> Layout {
        let axes = access_axes(self.kernel, inst);
        let value = inst.args[0];
        if let Op::Store { mem, .. } = &inst.op
            && self.kernel.memory[*mem].dtype.bits() < 8
        {
            // Two elements share a byte, which one thread writes.
            return Layout::runs(&self.extents(&axes), self.thread_bits, 1);
        }
        match self.anchor(value) {
            Some(layout) if self.kernel.values[value].axes == axes && self.is_coalesced(inst, layout) => layout.clone(),
            _ => self.memory_layout(inst, &axes),
        }
    }
    /// The layout that a reduction works in.
    pub(crate) fn reduce_layout(&self, operand: Value) -> Layout {
        match self.anchor(operand) {
            Some(layout) => layout.clone(),
            None => self.each_warp(self.own_layout(operand)),
        }
    }
    /// A layout in which every warp has all of a small tile, so that warps need not meet to combine it.
    fn each_warp(&self, layout: Layout) -> Layout {
        let (lanes, warps) = layout.thread_bits().split_at(LANE_BITS.min(self.thread_bits));
        let regs: Vec<Bit> = layout.register_bits().iter().copied().chain(warps.iter().flatten().copied()).collect();
        if regs.len() > EACH_WARP_BITS {
            return layout;
        }
        let threads = lanes.iter().copied().chain(warps.iter().map(|_| None)).collect();
        Layout::new(regs, threads).unwrap_or(layout)
    }
    /// The layout of a floating value that no use asks for: the order of the memory it comes from.
    fn own_layout(&self, value: Value) -> Layout {
        let axes = &self.kernel.values[value].axes;
        let Some(inst) = self.defs.get(&value) else { return self.free_layout(axes) };
        match &inst.op {
            Op::Load { .. } => self.memory_layout(inst, axes),
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) => {
                let operand = inst.args.iter().find(|v| self.kernel.values[**v].axes == *axes);
                operand.map_or_else(|| self.free_layout(axes), |v| self.own_layout(*v))
            }
            _ => self.free_layout(axes),
        }
    }

    fn extents(&self, axes: &[AxisId]) -> Vec<(AxisId, u32)> {
        axes.iter().map(|a| (*a, self.kernel.axes[*a].extent)).collect()
    }
    /// The layout of a tile over `axes` that nothing else decides.
    fn free_layout(&self, axes: &[AxisId]) -> Layout {
        Layout::vectors(&self.extents(&self.order.sorted(axes)), self.thread_bits, self.vector_bits)
    }
    /// The layout of an access in which neighbours in memory lie in neighbouring lanes.
    fn memory_layout(&self, inst: &Inst, axes: &[AxisId]) -> Layout {
        let mut ordered: Vec<AxisId> = Vec::new();
        for axis in order::memory_order(self.kernel, inst).into_iter().filter(|a| axes.contains(a)) {
            ordered.push(axis);
        }
        let rest = self.order.sorted(axes).into_iter().filter(|a| !ordered.contains(a));
        let ordered: Vec<AxisId> = rest.collect::<Vec<_>>().into_iter().chain(ordered.iter().copied()).collect();
        Layout::vectors(&self.extents(&ordered), self.thread_bits, self.vector_bits)
    }
    /// Whether lanes of an access in `layout` touch neighbours, or all the same element, or there is nothing to gain.
    fn is_coalesced(&self, inst: &Inst, layout: &Layout) -> bool {
        let last = order::memory_order(self.kernel, inst).last().copied();
        let small =
            layout.axes().iter().map(|a| u64::from(self.kernel.axes[*a].extent)).product::<u64>() <= FEW_ELEMENTS;
        small || layout.is_uniform_in_warps() || last.is_none_or(|last| layout.lane_axis() == Some(last))
    }

    fn anchor_region(&mut self, region: &'k Region) {
        for inst in &region.insts {
            self.anchor_inst(inst);
        }
    }

    fn anchor_inst(&mut self, inst: &'k Inst) {
        self.defs.extend(inst.results.iter().map(|result| (*result, inst)));
        match &inst.op {
            Op::For { params, body, .. } => self.anchor_loop(inst, params, body),
            Op::If { then, otherwise } => {
                self.anchor_region(then);
                self.anchor_region(otherwise);
                for ((result, a), b) in inst.results.iter().zip(&then.yields).zip(&otherwise.yields) {
                    let chosen = self.anchor(*a).or(self.anchor(*b)).cloned();
                    let axes = &self.kernel.values[*result].axes;
                    self.anchors[result.index()] = Some(chosen.unwrap_or_else(|| self.free_layout(axes)));
                }
            }
            _ => {
                if let Some(result) = inst.results.first() {
                    self.anchors[result.index()] = self.anchor_of(inst, *result);
                }
            }
        }
    }

    fn anchor_of(&self, inst: &Inst, result: Value) -> Option<Layout> {
        let axes = &self.kernel.values[result].axes;
        if axes.is_empty() {
            return Some(self.scalar());
        }
        match &inst.op {
            Op::Rename(pairs) => {
                let name = |axis| pairs.iter().find(|(from, _)| *from == axis).map_or(axis, |(_, to)| *to);
                self.anchor(inst.args[0]).map(|layout| layout.renamed(name))
            }
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) | Op::Load { .. } => {
                let same = |v: &Value| self.kernel.values[*v].axes == *axes;
                let tiles: Vec<&Value> =
                    inst.args.iter().filter(|v| !self.kernel.values[**v].axes.is_empty()).collect();
                let anchored: Vec<&Value> = tiles.into_iter().filter(|v| self.anchor(**v).is_some()).collect();
                let largest = anchored.iter().find(|v| same(v)).and_then(|v| self.anchor(**v)).cloned();
                if anchored.is_empty() { None } else { largest.or_else(|| Some(self.free_layout(axes))) }
            }
            Op::Mma { .. } if self.product(result).is_some() => self.product(result).map(|p| p.result.clone()),
            Op::Mma { .. } => {
                let acc = inst.args.get(2).and_then(|v| self.anchor(*v)).cloned();
                Some(acc.unwrap_or_else(|| self.free_layout(axes)))
            }
            Op::Reduce { .. } => Some(self.reduce_layout(inst.args[0]).project(axes)),
            _ => None,
        }
    }

    /// Carries take the layout that the body yields them in, once it is known.
    fn anchor_loop(&mut self, inst: &Inst, params: &[Value], body: &'k Region) {
        for param in &params[..2] {
            self.anchors[param.index()] = Some(self.scalar());
        }
        for param in &params[2..] {
            let axes = &self.kernel.values[*param].axes;
            self.anchors[param.index()] = axes.is_empty().then(|| self.scalar());
        }
        // Each turn settles at least one carry or ends.
        loop {
            self.anchor_region(body);
            let mut settled = false;
            for (param, next) in params[2..].iter().zip(&body.yields) {
                if self.anchor(*param).is_none() && self.anchor(*next).is_some() {
                    self.anchors[param.index()] = self.anchors[next.index()].clone();
                    settled = true;
                }
            }
            if settled {
                continue;
            }
            match inst.args.iter().zip(&params[2..]).find(|(_, p)| self.anchor(**p).is_none()) {
                Some((init, open)) => {
                    let axes = &self.kernel.values[*open].axes;
                    let init = self.anchor(*init).filter(|_| self.kernel.values[*init].axes == *axes);
                    self.anchors[open.index()] = Some(init.cloned().unwrap_or_else(|| self.free_layout(axes)));
                }
                None => break,
            }
        }
        for (result, param) in inst.results.iter().zip(&params[2..]) {
            self.anchors[result.index()] = self.anchors[param.index()].clone();
        }
    }

    fn want(&mut self, value: Value, layout: &Layout) {
        let layout = layout.project(&self.kernel.values[value].axes);
        let wanted = &mut self.wanted[value.index()];
        if !wanted.contains(&layout) {
            wanted.push(layout);
        }
    }

    fn want_region(&mut self, region: &Region) {
        for inst in region.insts.iter().rev() {
            self.want_inst(inst);
        }
    }

    fn want_inst(&mut self, inst: &Inst) {
        match &inst.op {
            Op::Store { .. } => {
                let layout = self.store_layout(inst);
                self.want_all(inst, &layout);
            }
            Op::Mma { .. } => self.want_factors(inst),
            // Finiteness is told from the bits at home.
            Op::Reduce { .. } if self.finite_at_home(inst).is_some() => {}
            Op::Reduce { .. } => {
                let layout = self.reduce_layout(inst.args[0]);
                self.want(inst.args[0], &layout);
            }
            Op::Slice(_) => {
                self.homes.entry(inst.args[0]).or_insert(None);
                let scalar = self.scalar();
                self.want(inst.args[1], &scalar);
            }
            Op::For { phases, params, body, .. } => {
                let scalar = self.scalar();
                phases.iter().for_each(|p| [p.lo, p.hi].iter().for_each(|v| self.want(*v, &scalar)));
                for (at, param) in params[2..].iter().enumerate() {
                    let Some(layout) = self.anchor(*param).cloned() else { continue };
                    self.want(inst.args[at], &layout);
                    self.want(body.yields[at], &layout);
                }
                self.want_region(body);
            }
            Op::If { then, otherwise } => {
                let scalar = self.scalar();
                self.want(inst.args[0], &scalar);
                for (at, result) in inst.results.iter().enumerate() {
                    let Some(layout) = self.anchor(*result).cloned() else { continue };
                    self.want(then.yields[at], &layout);
                    self.want(otherwise.yields[at], &layout);
                }
                self.want_region(then);
                self.want_region(otherwise);
            }
            Op::Rename(pairs) => {
                let old = |axis| pairs.iter().find(|(_, to)| *to == axis).map_or(axis, |(from, _)| *from);
                for layout in self.computed(inst.results[0]) {
                    self.want(inst.args[0], &layout.renamed(old));
                }
            }
            Op::Load { .. } => {
                for layout in self.computed(inst.results[0]) {
                    let layout = self.load_layout(inst, &layout);
                    self.want_all(inst, &layout);
                }
            }
            _ => {
                for layout in inst.results.iter().flat_map(|r| self.computed(*r)).collect::<Vec<_>>() {
                    self.want_all(inst, &layout);
                }
            }
        }
    }

    /// The layouts that an instruction computes a result in.
    pub(crate) fn computed(&self, result: Value) -> Vec<Layout> {
        match self.anchor(result) {
            Some(layout) => vec![layout.clone()],
            None => self.layouts(result),
        }
    }

    fn want_all(&mut self, inst: &Inst, layout: &Layout) {
        inst.args.iter().for_each(|arg| self.want(*arg, layout));
    }

    /// Factors are read from homes: next to each other where lanes of the result are.
    fn want_factors(&mut self, inst: &Inst) {
        let Some(layout) = self.anchor(inst.results[0]).cloned() else { return };
        if let Some(product) = self.product(inst.results[0]).cloned() {
            self.want_product(inst, &product);
            return;
        }
        for factor in &inst.args[..2] {
            let lanes = layout.lane_axis().filter(|a| self.kernel.values[*factor].axes.contains(a));
            let inner = self.homes.entry(*factor).or_insert(None);
            *inner = inner.or(lanes);
        }
        if let Some(acc) = inst.args.get(2) {
            self.want(*acc, &layout);
        }
    }
}

impl Assigned<'_> {
    /// A product reads columns from their home; rows from registers, if they were computed in the lanes that need them.
    fn want_product(&mut self, inst: &Inst, product: &Product) {
        let [rows, columns] = [product.rows, 1 - product.rows].map(|at| inst.args[at]);
        self.homes.insert(columns, Some(product.inner[1]));
        // The product rounds, so what was rounded for it is taken before.
        let source = match self.defs.get(&rows) {
            Some(def) if matches!(def.op, Op::Round(format) if format == product.format) => def.args[0],
            _ => rows,
        };
        let there = self.anchor(source).is_some_and(|l| l.thread_bits() == product.left.thread_bits());
        if there {
            self.held_rows.insert(inst.results[0], source);
            self.want(source, &product.left);
        } else {
            self.homes.insert(rows, Some(product.inner[0]));
        }
        if let Some(acc) = inst.args.get(2) {
            self.want(*acc, &product.result);
        }
    }
}

/// The axes of a store's subscripts, or of a load's result, sorted.
pub(crate) fn access_axes(kernel: &Kernel, inst: &Inst) -> Vec<AxisId> {
    let Op::Store { subs, .. } = &inst.op else { return kernel.values[inst.results[0]].axes.clone() };
    let mut axes = Vec::new();
    for (sub, arg) in subs.iter().zip(&inst.args[1..]) {
        match sub {
            Subscript::Affine(terms) => axes.extend(terms.iter().map(|t| t.0)),
            Subscript::Gather => axes.extend(&kernel.values[*arg].axes),
        }
    }
    axes.sort_unstable();
    axes.dedup();
    axes
}
