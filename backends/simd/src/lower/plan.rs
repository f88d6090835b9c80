//! Decisions made before code is emitted: which axis runs in lanes, which values are kept and which are recomputed.
//!
//! In: a kernel. Out: a [`Plan`]. A value that is *fused* is computed wherever it is read; others are written to the scratch
//! arena once. Fusing wins if recomputing costs less than a store and the loads. Axes are ranked: in every nest of loops the
//! axis of lowest rank runs in the lanes, so producer and consumer always agree on the layout. The ranking minimises an
//! estimate of vector operations ([`super::rank`]).

use super::rank;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{Access, AxisId, Inst, Kernel, Op, Pad, Region, Subscript, Value};

/// Axes shorter than this never run in lanes.
const SHORTEST_LANES: u32 = 4;
/// How many times a loop is assumed to turn.
pub(super) const TURNS: f64 = 16.0;
/// What writing an element and reading it back costs, in operations on it.
const KEEP: f64 = 1.5;

/// An instruction with the number of loops around it.
pub(super) struct Placed<'k> {
    pub(super) inst: &'k Inst,
    pub(super) depth: u32,
    /// The first instruction of the region it is in.
    region: usize,
}

/// The decisions for one kernel.
pub(super) struct Plan<'k> {
    /// All instructions, in order; those of a region follow their owner.
    pub(super) insts: Vec<Placed<'k>>,
    /// The instruction that defines each value; loop parameters have none.
    defs: Vec<Option<usize>>,
    /// Rank of each axis.
    rank: Vec<u32>,
    /// Whether each value is recomputed where it is read.
    fused: Vec<bool>,
    /// Whether each value is the operand of a contraction that lanes run along and that is read again and again.
    panel: Vec<bool>,
    /// Whether each value is a load that one contraction alone reads, next to which it stands.
    sole: Vec<bool>,
}

impl<'k> Plan<'k> {
    /// Decides for `kernel`.
    pub(super) fn of(kernel: &'k Kernel) -> Self {
        let mut plan = Self {
            insts: Vec::new(),
            defs: vec![None; kernel.values.len()],
            rank: Vec::new(),
            fused: vec![false; kernel.values.len()],
            panel: vec![false; kernel.values.len()],
            sole: vec![false; kernel.values.len()],
        };
        plan.collect(&kernel.body, 0);
        plan.rank = rank::axes(kernel, &plan.insts);
        plan.decide(kernel);
        plan.mark_sole();
        plan
    }
    fn collect(&mut self, region: &'k Region, depth: u32) {
        let first = self.insts.len();
        for inst in &region.insts {
            for value in &inst.results {
                self.defs[value.index()] = Some(self.insts.len());
            }
            self.insts.push(Placed { inst, depth, region: first });
            match &inst.op {
                Op::For { body, .. } => self.collect(body, depth + 1),
                Op::If { then, otherwise } => {
                    self.collect(then, depth);
                    self.collect(otherwise, depth);
                }
                _ => {}
            }
        }
    }
    /// The instruction that defines a value.
    pub(super) fn def(&self, value: Value) -> Option<&'k Inst> {
        self.defs[value.index()].map(|at| self.insts[at].inst)
    }
    /// The number of loops around the instruction that defines a value.
    pub(super) fn depth(&self, value: Value) -> Option<u32> {
        self.defs[value.index()].map(|at| self.insts[at].depth)
    }
    /// Whether a value is recomputed where it is read.
    pub(super) fn is_fused(&self, value: Value) -> bool {
        self.fused[value.index()]
    }
    /// Whether a tile is read again and again by vectors, so that it must fit the first-level cache.
    pub(super) fn is_panel(&self, value: Value) -> bool {
        self.panel[value.index()]
    }
    /// Whether a value is a load that one contraction alone reads, next to which it stands.
    pub(super) fn is_sole(&self, value: Value) -> bool {
        self.sole[value.index()]
    }
    /// The axis that runs in lanes in a nest over `axes`.
    pub(super) fn lane(&self, kernel: &Kernel, axes: &[AxisId]) -> Option<AxisId> {
        lane(kernel, &self.rank, axes)
    }
    /// `axes`, the one in lanes last.
    pub(super) fn ordered(&self, axes: &[AxisId]) -> Vec<AxisId> {
        let mut axes = axes.to_vec();
        axes.sort_by_key(|a| std::cmp::Reverse(self.rank[a.index()]));
        axes
    }

    /// From the last instruction to the first, so that the readers of a value are decided before it.
    fn decide(&mut self, kernel: &Kernel) {
        let mut demand = vec![Demand::default(); kernel.values.len()];
        for at in (0..self.insts.len()).rev() {
            let Placed { inst, depth, .. } = self.insts[at];
            for value in &inst.results {
                let need = demand[value.index()];
                self.fused[value.index()] = self.fuses(kernel, inst, *value, need, depth);
            }
            self.mark_panels(kernel, inst);
            let evaluations = self.evaluations(kernel, inst, &demand);
            let fused = inst.results.first().is_some_and(|v| self.is_fused(*v));
            let at_depth = if fused { demand[inst.results[0].index()].depth.max(depth) } else { depth };
            for (operand, count) in operands(inst).into_iter().zip(evaluations) {
                let entry = &mut demand[operand.index()];
                entry.evaluations += count;
                entry.depth = entry.depth.max(at_depth);
            }
            self.branch_demand(kernel, inst, &mut demand);
        }
    }
    fn mark_panels(&mut self, kernel: &Kernel, inst: &Inst) {
        const OFTEN: f64 = 16.0;
        let (Op::Mma { over }, Some(result)) = (&inst.op, inst.results.first()) else { return };
        let all = [over.as_slice(), &kernel.values[*result].axes].concat();
        let Some(lane) = self.lane(kernel, &all) else { return };
        for operand in &inst.args[..2] {
            let axes = &kernel.values[*operand].axes;
            let reads = work(kernel, &all) / work(kernel, axes);
            self.panel[operand.index()] |= axes.contains(&lane) && !over.contains(&lane) && reads >= OFTEN;
        }
    }
    fn mark_sole(&mut self) {
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); self.defs.len()];
        for (at, placed) in self.insts.iter().enumerate() {
            operands(placed.inst).into_iter().for_each(|value| readers[value.index()].push(at));
        }
        for at in 0..self.insts.len() {
            let Placed { inst, region, .. } = self.insts[at];
            if let (Op::Load { .. }, [value]) = (&inst.op, inst.results.as_slice()) {
                let reader = self.contraction_of(*value, &readers);
                self.sole[value.index()] = reader.is_some_and(|reader| self.insts[reader].region == region);
            }
        }
    }
    /// The contraction that alone reads a value, directly or through what is computed where it is read.
    fn contraction_of(&self, value: Value, readers: &[Vec<usize>]) -> Option<usize> {
        let [reader] = readers[value.index()].as_slice() else { return None };
        let inst = self.insts[*reader].inst;
        match (&inst.op, inst.results.as_slice()) {
            (Op::Mma { .. }, _) => inst.args[..2].contains(&value).then_some(*reader),
            (op, [result]) if is_elementwise(op) && self.is_fused(*result) => self.contraction_of(*result, readers),
            _ => None,
        }
    }
    /// What a branch yields stands for its result wherever that is read.
    fn branch_demand(&self, kernel: &Kernel, inst: &Inst, demand: &mut [Demand]) {
        let Op::If { then, otherwise } = &inst.op else { return };
        for region in [then, otherwise] {
            for (yielded, result) in region.yields.iter().zip(&inst.results) {
                let need = demand[result.index()];
                let once = work(kernel, &kernel.values[*yielded].axes);
                let entry = &mut demand[yielded.index()];
                entry.evaluations += need.evaluations.max(once);
                entry.depth = entry.depth.max(need.depth);
            }
        }
    }
    fn fuses(&self, kernel: &Kernel, inst: &Inst, value: Value, need: Demand, depth: u32) -> bool {
        let axes = &kernel.values[value].axes;
        if axes.is_empty() {
            return false;
        }
        let size = work(kernel, axes);
        let repeats = (need.evaluations / size) * TURNS.powi(need.depth.saturating_sub(depth) as i32);
        match &inst.op {
            Op::Coord(_) | Op::Rename(_) | Op::Slice(_) => true,
            Op::Load { .. } => {
                let view = reads_in_place(kernel, inst) && self.lane_is_unit(kernel, inst, axes);
                view && cheaper_again(widening_cost(kernel, inst), repeats)
            }
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) => {
                need.depth == depth && cheaper_again(self.cost(kernel, inst), repeats)
            }
            _ => false,
        }
    }
    /// Operations per element to compute a value from what is kept.
    fn cost(&self, kernel: &Kernel, inst: &Inst) -> f64 {
        let own = op_cost(kernel, inst);
        let deeper = inst.args.iter().filter_map(|v| self.def(*v).map(|d| (*v, d)));
        own + deeper
            .filter(|(v, d)| !kernel.values[*v].axes.is_empty() && is_elementwise(&d.op))
            .map(|(_, d)| 0.5 * op_cost(kernel, d))
            .sum::<f64>()
    }
    fn lane_is_unit(&self, kernel: &Kernel, inst: &Inst, axes: &[AxisId]) -> bool {
        let lane = self.lane(kernel, axes);
        lane.is_none() || lane == unit_axis(kernel, inst)
    }
    /// How often each operand's elements are evaluated by one execution of `inst`.
    fn evaluations(&self, kernel: &Kernel, inst: &Inst, demand: &[Demand]) -> Vec<f64> {
        let values = operands(inst);
        let nest = match (&inst.op, inst.results.first()) {
            (Op::Mma { over }, Some(result)) => {
                return self.contraction_evaluations(kernel, inst, over, &kernel.values[*result].axes);
            }
            (Op::If { .. }, _) => return vec![0.0; values.len()],
            (Op::For { .. }, _) => {
                return values.iter().map(|v| work(kernel, &kernel.values[*v].axes)).collect();
            }
            (_, Some(result)) if self.is_fused(*result) => demand[result.index()].evaluations,
            _ => work(kernel, &inst_axes(kernel, inst)),
        };
        // A nest puts what an operand does not depend on inside, so an operand is read again only where lanes force it.
        values.iter().map(|v| if kernel.values[*v].axes.is_empty() { 0.0 } else { nest }).collect()
    }
    fn contraction_evaluations(&self, kernel: &Kernel, inst: &Inst, over: &[AxisId], out: &[AxisId]) -> Vec<f64> {
        // Register blocks share an operand's element among several results, unless lanes are so many that one result fills
        // the registers.
        const SHARED: f64 = 6.0;
        let all_axes = [over, out].concat();
        let horizontal = self.lane(kernel, &all_axes).is_some_and(|lane| over.contains(&lane));
        let alone = horizontal && inst.args[..2].iter().any(|v| self.is_narrow(kernel, *v));
        let shared = if alone { 1.0 } else { SHARED };
        let all = work(kernel, &all_axes);
        let axes = |v: &Value| &kernel.values[*v].axes;
        let reuse = |v: &Value| (all / work(kernel, axes(v)) / shared).max(1.0) * work(kernel, axes(v));
        let mut counts: Vec<f64> = inst.args.iter().take(2).map(reuse).collect();
        counts.extend(inst.args.iter().skip(2).map(|_| work(kernel, out)));
        counts
    }
    /// Whether a value is computed from loaded bytes.
    fn is_narrow(&self, kernel: &Kernel, value: Value) -> bool {
        let Some(inst) = self.def(value) else { return false };
        match &inst.op {
            Op::Load { mem, .. } => kernel.memory[*mem].dtype.bits() <= 8,
            op if is_elementwise(op) => inst.args.iter().any(|v| self.is_narrow(kernel, *v)),
            Op::Rename(_) | Op::Slice(_) => self.is_narrow(kernel, inst.args[0]),
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Demand {
    /// Elements read, over all readers.
    evaluations: f64,
    /// The deepest loop that reads it.
    depth: u32,
}

/// Whether computing again at each read is cheaper than keeping.
fn cheaper_again(cost: f64, repeats: f64) -> bool {
    cost * repeats <= cost + KEEP + 0.5 * repeats
}

/// Every value an instruction reads when it runs, its regions' yields included.
pub(super) fn operands(inst: &Inst) -> Vec<Value> {
    let mut values = inst.args.clone();
    match &inst.op {
        Op::For { body, phases, .. } => {
            values.extend(&body.yields);
            values.extend(phases.iter().flat_map(|p| [p.lo, p.hi]));
        }
        Op::If { then, otherwise } => values.extend(then.yields.iter().chain(&otherwise.yields)),
        _ => {}
    }
    values
}

/// The axes of the loops that an instruction becomes.
pub(super) fn inst_axes(kernel: &Kernel, inst: &Inst) -> Vec<AxisId> {
    let mut axes: Vec<AxisId> = inst.args.iter().flat_map(|v| kernel.values[*v].axes.iter().copied()).collect();
    match &inst.op {
        Op::Load { subs, .. } | Op::Store { subs, .. } => axes.extend(affine_axes(subs)),
        Op::Coord(axis) => axes.push(*axis),
        _ => {}
    }
    axes.sort_unstable();
    axes.dedup();
    axes
}

fn affine_axes(subs: &[Subscript]) -> Vec<AxisId> {
    let terms = subs.iter().filter_map(|s| match s {
        Subscript::Affine(terms) => Some(terms),
        Subscript::Gather => None,
    });
    terms.flatten().map(|(axis, _)| *axis).collect()
}

/// Product of extents.
pub(super) fn work(kernel: &Kernel, axes: &[AxisId]) -> f64 {
    axes.iter().map(|a| f64::from(kernel.axes[*a].extent)).product()
}

/// The lowest-ranked axis that is long enough for lanes.
pub(super) fn lane(kernel: &Kernel, rank: &[u32], axes: &[AxisId]) -> Option<AxisId> {
    axes.iter().copied().filter(|a| kernel.axes[*a].extent >= SHORTEST_LANES).min_by_key(|a| rank[a.index()])
}

/// The axis along which an access steps by one element: coefficient 1 in the last dimension and in no other.
pub(super) fn unit_axis(kernel: &Kernel, inst: &Inst) -> Option<AxisId> {
    let subs = match &inst.op {
        Op::Load { subs, .. } | Op::Store { subs, .. } => subs,
        _ => return None,
    };
    let Some(Subscript::Affine(last)) = subs.last() else { return None };
    let first = usize::from(matches!(inst.op, Op::Store { .. }));
    let lone = |axis: AxisId| {
        let elsewhere = subs[..subs.len() - 1].iter().enumerate().any(|(d, s)| match s {
            Subscript::Affine(terms) => terms.iter().any(|(a, _)| *a == axis),
            Subscript::Gather => kernel.values[inst.args[first + d]].axes.contains(&axis),
        });
        !elsewhere && last.iter().filter(|(a, _)| *a == axis).count() == 1
    };
    last.iter().find(|(axis, coefficient)| *coefficient == 1 && lone(*axis)).map(|(axis, _)| *axis)
}

/// Whether a load can be a view: addresses are affine, nothing writes the memory, and its pad can be staged.
pub(super) fn reads_in_place(kernel: &Kernel, inst: &Inst) -> bool {
    let Op::Load { mem, subs, pad, masked } = &inst.op else { return false };
    let memory = &kernel.memory[*mem];
    let affine = subs.iter().all(|s| matches!(s, Subscript::Affine(_)));
    let whole_bytes = memory.dtype.bits() >= 8;
    affine && whole_bytes && !masked && memory.access == Access::In && pad_bits(*pad, memory.dtype).is_some()
}

/// The bits of a pad in a storage type, if it has it exactly.
pub(super) fn pad_bits(pad: Pad, dtype: DType) -> Option<i64> {
    let value = match pad {
        Pad::Undef => return Some(0),
        Pad::Value(value) => value,
    };
    match (value, dtype) {
        (Const::Float(bits), DType::F64) => Some(bits.cast_signed()),
        (Const::Float(bits), DType::F32) => Some(i64::from((f64::from_bits(bits) as f32).to_bits())),
        (Const::Float(bits), DType::F16 | DType::BF16) => half_bits(f64::from_bits(bits) as f32, dtype),
        (Const::Float(0), DType::F8E4M3 | DType::F8E5M2 | DType::F4E2M1) => Some(0),
        (Const::Int(int), _) if dtype.is_int() => fits(int, dtype).then_some(int),
        (Const::Bool(truth), DType::Bool) => Some(i64::from(truth)),
        _ => None,
    }
}

fn half_bits(value: f32, dtype: DType) -> Option<i64> {
    use crate::vir::{bf16_from_f32, f16_from_f32, f32_from_bf16, f32_from_f16};
    let (bits, back) = match dtype {
        DType::F16 => (f16_from_f32(value), f32_from_f16(f16_from_f32(value))),
        _ => (bf16_from_f32(value), f32_from_bf16(bf16_from_f32(value))),
    };
    (back == value || value.is_nan()).then_some(i64::from(bits))
}

fn fits(value: i64, dtype: DType) -> bool {
    let bits = dtype.bits();
    match dtype.kind() {
        _ if bits == 64 => true,
        sawmill_ir::dtype::Kind::Signed => (-(1 << (bits - 1))..1 << (bits - 1)).contains(&value),
        _ => (0..1 << bits).contains(&value),
    }
}

fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_))
}

/// Vector operations to widen an element of storage.
fn widening_cost(kernel: &Kernel, inst: &Inst) -> f64 {
    match &inst.op {
        Op::Load { mem, .. } => match kernel.memory[*mem].dtype {
            DType::F16 | DType::F8E8M0 => 4.0,
            DType::F8E5M2 => 5.0,
            DType::F8E4M3 => 10.0,
            dtype if dtype.bits() < 8 => 16.0,
            dtype if dtype.is_compute() => 0.0,
            _ => 1.0,
        },
        _ => 0.0,
    }
}

/// Vector operations per vector of an elementwise instruction.
pub(super) fn op_cost(kernel: &Kernel, inst: &Inst) -> f64 {
    let wide = inst.results.first().is_some_and(|v| kernel.values[*v].dtype.bits() == 64);
    let cost = match &inst.op {
        Op::Elem(op) => elem_cost(*op),
        Op::Round(_) => 4.0,
        Op::Load { .. } => widening_cost(kernel, inst),
        _ => 1.0,
    };
    if wide { 2.0 * cost } else { cost }
}

fn elem_cost(op: ElemOp) -> f64 {
    match op {
        ElemOp::Div | ElemOp::Sqrt | ElemOp::Recip => 4.0,
        ElemOp::Rsqrt | ElemOp::Rem | ElemOp::Popcount | ElemOp::BitLength => 8.0,
        ElemOp::Exp | ElemOp::Exp2 => 12.0,
        ElemOp::Expm1 | ElemOp::Log | ElemOp::Log2 | ElemOp::Log1p | ElemOp::Tanh | ElemOp::Sigmoid => 16.0,
        ElemOp::Silu | ElemOp::Softplus | ElemOp::LogSigmoid | ElemOp::Elu | ElemOp::Gelu | ElemOp::Erf => 20.0,
        ElemOp::Pow | ElemOp::Sin | ElemOp::Cos | ElemOp::Tan | ElemOp::Atan2 => 30.0,
        _ => 1.0,
    }
}
