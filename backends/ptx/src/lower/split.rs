//! Tiles that registers cannot hold: reductions and products of them become loops over one of their axes.
//!
//! In: a verified kernel, how many elements a tile may have. Out: a kernel of the same meaning; a tile that is still too large
//! has a use that this cannot cut (a carry, a branch's result). A reduction of a large tile over an axis is the combination of the
//! reductions of its slices, a store of one is the stores of its slices. A slice of a large tile is computed from slices of its
//! operands: positions become scalars, loads read one position, what fits is sliced as it is. So no large tile is ever made.

use crate::layout::elements;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::Const;
use sawmill_ir::tile::{Access, AxisId, Inst, Kernel, Op, Phase, Region, Subscript, Type, Value};
use std::collections::BTreeMap;

/// Cuts at most so many times; each cut removes an axis from a use of a large tile.
const ROUNDS: usize = 16;

/// The kernel without tiles of more than `most` elements, as far as they can be cut.
pub(super) fn split(kernel: &Kernel, most: u64) -> Kernel {
    let mut kernel = kernel.clone();
    for _ in 0..ROUNDS {
        let mut pass = Pass { most, defs: BTreeMap::new(), cut: false, out: Vec::new(), kernel };
        let body = pass.kernel.body.clone();
        pass.kernel.body = pass.region(&body);
        kernel = pass.kernel.compact();
        if !pass.cut {
            break;
        }
    }
    kernel
}

struct Pass {
    kernel: Kernel,
    most: u64,
    /// Instructions of single values that were passed.
    defs: BTreeMap<Value, Inst>,
    cut: bool,
    /// Instructions of the regions that are open.
    out: Vec<Vec<Inst>>,
}

/// A position of an axis that tiles are cut at, and slices already made there.
struct At {
    axis: AxisId,
    position: Value,
    made: BTreeMap<Value, Value>,
}

impl Pass {
    fn is_large(&self, value: Value) -> bool {
        self.size(&self.kernel.values[value].axes) > self.most
    }
    fn size(&self, axes: &[AxisId]) -> u64 {
        elements(&self.kernel, axes)
    }
    fn has(&self, value: Value, axis: AxisId) -> bool {
        self.kernel.values[value].axes.contains(&axis)
    }

    fn region(&mut self, region: &Region) -> Region {
        self.out.push(Vec::new());
        for inst in &region.insts {
            self.inst(inst.clone());
        }
        let insts = self.out.pop().unwrap_or_default();
        Region { insts, yields: region.yields.clone() }
    }
    fn push(&mut self, inst: Inst) {
        if let Some(open) = self.out.last_mut() {
            open.push(inst);
        }
    }
    /// Adds an operation with one result of a type.
    fn add(&mut self, op: Op, args: Vec<Value>, ty: Type) -> Value {
        let result = self.kernel.values.push(ty);
        let inst = Inst { results: vec![result], op, args, attrs: Vec::new() };
        self.defs.insert(result, inst.clone());
        self.push(inst);
        result
    }
    fn int(&mut self, value: i64) -> Value {
        self.add(Op::Const(Const::Int(value)), Vec::new(), Type::scalar(DType::I64))
    }

    fn inst(&mut self, mut inst: Inst) {
        match &mut inst.op {
            Op::For { body, .. } => *body = self.region(&body.clone()),
            Op::If { then, otherwise } => {
                if inst.results.iter().any(|v| self.is_large(*v)) && is_straight(then) && is_straight(otherwise) {
                    let (then, otherwise) = (then.clone(), otherwise.clone());
                    self.flatten(&inst, &then, &otherwise);
                    return;
                }
                *then = self.region(&then.clone());
                *otherwise = self.region(&otherwise.clone());
            }
            Op::Reduce { op, over } if self.is_large(inst.args[0]) => {
                let (op, over) = (*op, over.clone());
                if self.reduction(&inst, op, &over) {
                    return;
                }
            }
            Op::Mma { over } if inst.args[..2].iter().any(|v| self.is_large(*v)) => {
                let over = over.clone();
                if self.product(&inst, &over) {
                    return;
                }
            }
            Op::Store { .. } if self.is_large(inst.args[0]) => {
                let axis = self.longest(&self.kernel.values[inst.args[0]].axes);
                if let Some(axis) = axis.filter(|axis| inst.args.iter().all(|arg| self.can_slice(*arg, *axis))) {
                    self.walk(axis, None, |s, at, _| s.store(&inst, at));
                    return;
                }
            }
            Op::Slice(axis) if self.is_large(inst.args[0]) && self.can_slice(inst.args[0], *axis) => {
                let mut at = At { axis: *axis, position: inst.args[1], made: BTreeMap::new() };
                if let Some(sliced) = self.slice_of(inst.args[0], &mut at) {
                    self.cut = true;
                    inst = Inst { op: Op::Rename(Vec::new()), args: vec![sliced], ..inst };
                }
            }
            _ => {}
        }
        if let [result] = inst.results.as_slice() {
            self.defs.insert(*result, inst.clone());
        }
        self.push(inst);
    }

    /// A branch with a large result becomes a choice between what both sides compute, which can be sliced.
    fn flatten(&mut self, inst: &Inst, then: &Region, otherwise: &Region) {
        self.cut = true;
        for inst in then.insts.iter().chain(&otherwise.insts) {
            self.inst(inst.clone());
        }
        for ((result, a), b) in inst.results.iter().zip(&then.yields).zip(&otherwise.yields) {
            let (args, op) = (vec![inst.args[0], *a, *b], Op::Elem(ElemOp::Select));
            let choice = Inst { results: vec![*result], op, args, attrs: Vec::new() };
            self.defs.insert(*result, choice.clone());
            self.push(choice);
        }
    }

    fn longest(&self, axes: &[AxisId]) -> Option<AxisId> {
        axes.iter()
            .copied()
            .max_by_key(|a| (self.kernel.axes[*a].extent, *a))
            .filter(|a| self.kernel.axes[*a].extent > 1)
    }

    /// A loop over the positions of an axis, with one carry that starts at a scalar and becomes `result`.
    fn walk(
        &mut self,
        axis: AxisId,
        carry: Option<(Value, Value)>,
        step: impl FnOnce(&mut Self, &mut At, Option<Value>) -> Option<Value>,
    ) {
        self.cut = true;
        let lo = self.int(0);
        let hi = self.int(i64::from(self.kernel.axes[axis].extent));
        let position = self.kernel.values.push(Type::scalar(DType::I64));
        let edge = self.kernel.values.push(Type::scalar(DType::Bool));
        let mut params = vec![position, edge];
        let inside = carry.map(|(_, result)| {
            let ty = self.kernel.values[result].clone();
            self.kernel.values.push(ty)
        });
        params.extend(inside);
        self.out.push(Vec::new());
        let mut at = At { axis, position, made: BTreeMap::new() };
        let next = step(self, &mut at, inside);
        let insts = self.out.pop().unwrap_or_default();
        let body = Region { insts, yields: next.into_iter().collect() };
        self.push(Inst {
            results: carry.into_iter().map(|(_, result)| result).collect(),
            op: Op::For { step: 1, phases: vec![Phase { lo, hi, edge: false }], params, body },
            args: carry.into_iter().map(|(init, _)| init).collect(),
            attrs: Vec::new(),
        });
    }

    fn reduction(&mut self, inst: &Inst, op: ReduceOp, over: &[AxisId]) -> bool {
        let Some((combine, start)) = combination(op, self.kernel.values[inst.args[0]].dtype) else { return false };
        let Some(axis) = self.longest(over) else { return false };
        if !self.can_slice(inst.args[0], axis) {
            return false;
        }
        let result = inst.results[0];
        let ty = self.kernel.values[result].clone();
        let init = self.add(Op::Const(start), Vec::new(), Type::scalar(ty.dtype));
        let rest: Vec<AxisId> = over.iter().copied().filter(|a| *a != axis).collect();
        self.walk(axis, Some((init, result)), |s, at, sum| {
            let part = s.slice_of(inst.args[0], at)?;
            let part = match rest.is_empty() {
                true => part,
                false => s.add(Op::Reduce { op, over: rest }, vec![part], ty.clone()),
            };
            Some(s.add(Op::Elem(combine), vec![sum?, part], ty))
        });
        true
    }

    fn product(&mut self, inst: &Inst, over: &[AxisId]) -> bool {
        let Some(axis) = self.longest(over) else { return false };
        if !inst.args[..2].iter().all(|v| self.can_slice(*v, axis)) {
            return false;
        }
        let result = inst.results[0];
        let ty = self.kernel.values[result].clone();
        let init = match inst.args.get(2) {
            Some(acc) => *acc,
            None => {
                let zero = if ty.dtype.is_float() { Const::float(0.0) } else { Const::Int(0) };
                self.add(Op::Const(zero), Vec::new(), Type::scalar(ty.dtype))
            }
        };
        let rest: Vec<AxisId> = over.iter().copied().filter(|a| *a != axis).collect();
        self.walk(axis, Some((init, result)), |s, at, sum| {
            let (a, b) = (s.slice_of(inst.args[0], at)?, s.slice_of(inst.args[1], at)?);
            Some(match (rest.is_empty(), ty.dtype.is_float()) {
                (false, _) => s.add(Op::Mma { over: rest }, vec![a, b, sum?], ty),
                (true, true) => s.add(Op::Fma, vec![a, b, sum?], ty),
                (true, false) => {
                    let product = s.add(Op::Elem(ElemOp::Mul), vec![a, b], ty.clone());
                    s.add(Op::Elem(ElemOp::Add), vec![product, sum?], ty)
                }
            })
        });
        true
    }

    fn store(&mut self, inst: &Inst, at: &mut At) -> Option<Value> {
        let mut args = Vec::new();
        let Op::Store { mem, subs, masked } = &inst.op else { return None };
        let (moved, places) = self.moved(subs, &inst.args[1..], at)?;
        args.push(self.slice_of(inst.args[0], at)?);
        args.extend(places);
        if *masked {
            args.push(self.slice_of(*inst.args.last()?, at)?);
        }
        let op = Op::Store { mem: *mem, subs: moved, masked: *masked };
        self.push(Inst { results: Vec::new(), op, args, attrs: Vec::new() });
        None
    }

    /// Whether slices of a value can be made.
    fn can_slice(&self, value: Value, axis: AxisId) -> bool {
        if !self.has(value, axis) || !self.is_large(value) {
            return true;
        }
        let Some(inst) = self.defs.get(&value) else { return false };
        match &inst.op {
            // What is read from memory that this kernel writes may be another value later.
            Op::Load { mem, .. } if self.kernel.memory[*mem].access != Access::In => false,
            Op::Elem(_)
            | Op::Fma
            | Op::Cast(_)
            | Op::Round(_)
            | Op::Load { .. }
            | Op::Mma { .. }
            | Op::Reduce { .. } => inst.args.iter().all(|arg| self.can_slice(*arg, axis)),
            Op::Rename(pairs) => {
                let old = pairs.iter().find(|(_, to)| *to == axis).map_or(axis, |(from, _)| *from);
                self.can_slice(inst.args[0], old)
            }
            Op::Coord(_) | Op::Slice(_) => true,
            _ => false,
        }
    }

    /// The tile at a position; the tile itself if it lacks the axis.
    fn slice_of(&mut self, value: Value, at: &mut At) -> Option<Value> {
        if !self.has(value, at.axis) {
            return Some(value);
        }
        if let Some(made) = at.made.get(&value) {
            return Some(*made);
        }
        let ty = self.kernel.values[value].clone();
        let axes = ty.axes.iter().copied().filter(|a| *a != at.axis);
        let sliced = Type::tile(ty.dtype, axes);
        let inst =
            self.defs.get(&value).cloned().filter(|inst| self.is_large(value) || matches!(inst.op, Op::Coord(_)));
        let made = match inst {
            Some(inst) => self.sliced(&inst, at, sliced)?,
            None => self.add(Op::Slice(at.axis), vec![value, at.position], sliced),
        };
        at.made.insert(value, made);
        Some(made)
    }

    fn sliced(&mut self, inst: &Inst, at: &mut At, ty: Type) -> Option<Value> {
        match &inst.op {
            Op::Coord(_) => {
                let args = vec![inst.args[0], at.position];
                Some(self.add(Op::Elem(ElemOp::Add), args, ty))
            }
            Op::Rename(pairs) => {
                let old = pairs.iter().find(|(_, to)| *to == at.axis).map_or(at.axis, |(from, _)| *from);
                let pairs = pairs.iter().copied().filter(|(_, to)| *to != at.axis).collect();
                let mut there = At { axis: old, position: at.position, made: BTreeMap::new() };
                let part = self.slice_of(inst.args[0], &mut there)?;
                Some(self.add(Op::Rename(pairs), vec![part], ty))
            }
            Op::Load { mem, subs, pad, masked } => {
                let (subs, mut args) = self.moved(subs, &inst.args, at)?;
                if *masked {
                    args.push(self.slice_of(*inst.args.last()?, at)?);
                }
                Some(self.add(Op::Load { mem: *mem, subs, pad: *pad, masked: *masked }, args, ty))
            }
            op => {
                let args: Option<Vec<Value>> = inst.args.iter().map(|arg| self.slice_of(*arg, at)).collect();
                Some(self.add(op.clone(), args?, ty))
            }
        }
    }

    /// Subscripts at the position: an axis that is fixed moves the base.
    fn moved(&mut self, subs: &[Subscript], args: &[Value], at: &mut At) -> Option<(Vec<Subscript>, Vec<Value>)> {
        let (mut moved, mut places) = (Vec::new(), Vec::new());
        for (sub, arg) in subs.iter().zip(args) {
            let Subscript::Affine(terms) = sub else {
                moved.push(sub.clone());
                places.push(self.slice_of(*arg, at)?);
                continue;
            };
            let mut base = *arg;
            for (_, coefficient) in terms.iter().filter(|(axis, _)| *axis == at.axis) {
                let by = self.int(*coefficient);
                let step = self.add(Op::Elem(ElemOp::Mul), vec![at.position, by], Type::scalar(DType::I64));
                base = self.add(Op::Elem(ElemOp::Add), vec![base, step], Type::scalar(DType::I64));
            }
            moved.push(Subscript::Affine(terms.iter().copied().filter(|(axis, _)| *axis != at.axis).collect()));
            places.push(base);
        }
        Some((moved, places))
    }
}

/// Whether a region has no effects and no control flow.
fn is_straight(region: &Region) -> bool {
    region.insts.iter().all(|inst| !matches!(inst.op, Op::For { .. } | Op::If { .. } | Op::Store { .. }))
}

/// How parts of a reduction combine, and what combining nothing gives; `None` for reductions to a position.
pub(super) fn combination(op: ReduceOp, dtype: DType) -> Option<(ElemOp, Const)> {
    let (least, most) = dtype.int_bounds().unwrap_or((0, 0));
    let number = |float: f64, int: i64| if dtype.is_float() { Const::float(float) } else { Const::Int(int) };
    Some(match op {
        ReduceOp::Sum => (ElemOp::Add, number(0.0, 0)),
        ReduceOp::Prod => (ElemOp::Mul, number(1.0, 1)),
        ReduceOp::Max => (ElemOp::Max, number(f64::NEG_INFINITY, least)),
        ReduceOp::Min => (ElemOp::Min, number(f64::INFINITY, most)),
        ReduceOp::Any => (ElemOp::Or, Const::Bool(false)),
        ReduceOp::All => (ElemOp::And, Const::Bool(true)),
        _ => return None,
    })
}
