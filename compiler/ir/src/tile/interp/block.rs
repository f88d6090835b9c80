//! One block: instructions in order, values in an environment.

use super::access::{self, Tracks};
use super::array::{Array, Data, Scalar};
use super::scalar::{cast, constant, elem, round_float, wrap};
use super::tile::{Tile, count, extent, places};
use super::{Precision, contract, size};
use crate::dtype::DType;
use crate::elem::{ElemOp, Typing};
use crate::entity::{Arena, Entity as _};
use crate::tile::{AxisId, Inst, Kernel, MemId, Op, Phase, Region, Type, Value};

/// A running block.
pub(super) struct Block<'a> {
    kernel: &'a Kernel,
    dims: &'a [i64],
    grid: &'a [i64],
    memory: &'a mut Arena<MemId, Array>,
    tracks: &'a mut Tracks,
    precision: Precision,
    values: Vec<Option<Tile>>,
    /// Products of an `mma` that were added up so far.
    pub(super) multiply_adds: u64,
}

impl<'a> Block<'a> {
    /// A block at `grid`.
    pub(super) fn new(
        kernel: &'a Kernel,
        dims: &'a [i64],
        grid: &'a [i64],
        memory: &'a mut Arena<MemId, Array>,
        tracks: &'a mut Tracks,
        precision: Precision,
    ) -> Self {
        Self {
            kernel,
            dims,
            grid,
            memory,
            tracks,
            precision,
            values: vec![None; kernel.values.len()],
            multiply_adds: 0,
        }
    }

    /// Runs a region; its yields can be read afterwards.
    pub(super) fn region(&mut self, region: &Region) -> Result<(), String> {
        region.insts.iter().try_for_each(|inst| self.inst(inst))
    }

    fn value(&self, value: Value) -> Result<&Tile, String> {
        self.values[value.index()].as_ref().ok_or_else(|| format!("{value} is read before it is defined"))
    }

    fn yields(&self, region: &Region) -> Result<Vec<Tile>, String> {
        region.yields.iter().map(|v| self.value(*v).cloned()).collect()
    }

    fn define(&mut self, results: &[Value], tiles: Vec<Tile>) {
        for (value, tile) in results.iter().zip(tiles) {
            self.values[value.index()] = Some(tile);
        }
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), String> {
        let tiles = match &inst.op {
            Op::For { step, phases, params, body } => self.for_loop(*step, phases, params, body, &inst.args)?,
            Op::If { then, otherwise } => {
                let taken = self.value(inst.args[0])?.as_scalar()? == Scalar::Bool(true);
                let region = if taken { then } else { otherwise };
                self.region(region)?;
                self.yields(region)?
            }
            Op::Store { mem, subs, .. } => {
                self.store(*mem, subs, &inst.args)?;
                Vec::new()
            }
            op => {
                let ty = self.kernel.values[inst.results[0]].clone();
                let place = |rule: String| format!("{}: {rule}", inst.results[0]);
                vec![self.simple(op, &inst.args, &ty).map_err(place)?]
            }
        };
        self.define(&inst.results, tiles);
        Ok(())
    }

    fn for_loop(
        &mut self,
        step: i64,
        phases: &[Phase],
        params: &[Value],
        body: &Region,
        inits: &[Value],
    ) -> Result<Vec<Tile>, String> {
        let mut carries = Vec::new();
        for (init, carry) in inits.iter().zip(&params[2..]) {
            carries.push(self.value(*init)?.over(&self.kernel.values[*carry].axes, self.kernel));
        }
        for phase in phases {
            let (mut at, hi) = (self.value(phase.lo)?.as_int()?, self.value(phase.hi)?.as_int()?);
            while at < hi {
                let position = Tile::scalar(Data::Int(vec![at]));
                let edge = Tile::scalar(Data::Bool(vec![phase.edge]));
                let tiles = [position, edge].into_iter().chain(carries).collect();
                self.define(params, tiles);
                self.region(body)?;
                carries = self.yields(body)?;
                at += step;
            }
        }
        Ok(carries)
    }

    fn store(&mut self, mem: MemId, subs: &[crate::tile::Subscript], args: &[Value]) -> Result<(), String> {
        let tiles: Vec<Tile> = args.iter().map(|v| self.value(*v).cloned()).collect::<Result<_, _>>()?;
        let tiles: Vec<&Tile> = tiles.iter().collect();
        let memory = &mut self.memory[mem];
        access::store(self.kernel, (mem, memory, self.tracks), subs, &tiles, self.precision)
    }

    fn simple(&mut self, op: &Op, args: &[Value], ty: &Type) -> Result<Tile, String> {
        let kernel = self.kernel;
        let tiles: Vec<Tile> = args.iter().map(|v| self.value(*v).cloned()).collect::<Result<_, _>>()?;
        let tiles: Vec<&Tile> = tiles.iter().collect();
        match op {
            Op::Const(value) => {
                let value = self.rounded(constant(*value), ty.dtype);
                let mut data = Data::zeros(ty.dtype, 1);
                data.set(0, value);
                Ok(Tile::scalar(data))
            }
            Op::Size(expr) => {
                let value = size(expr, self.dims).ok_or("this size cannot be evaluated")?;
                Ok(Tile::scalar(Data::Int(vec![value])))
            }
            Op::Grid(axis) => Ok(Tile::scalar(Data::Int(vec![self.grid[*axis as usize]]))),
            Op::Coord(axis) => {
                let base = tiles[0].as_int()?;
                let values = (0..i64::from(kernel.axes[*axis].extent)).map(|i| base + i).collect();
                Ok(Tile { axes: vec![*axis], data: Data::Int(values), undefined: Vec::new() })
            }
            Op::Elem(op) => self.elementwise(*op, &tiles, ty, kernel.values[args[0]].dtype),
            Op::Fma => self.map(&tiles, ty, |x| match x {
                [Scalar::Float(a), Scalar::Float(b), Scalar::Float(c)] => Ok(Scalar::Float(a.mul_add(*b, *c))),
                _ => Err("takes floats".to_owned()),
            }),
            Op::Cast(to) => self.map(&tiles, ty, |x| Ok(cast(x[0], *to))),
            Op::Round(to) => self.map(&tiles, ty, |x| Ok(rounded_to(x[0], *to))),
            Op::Rename(pairs) => Ok(rename(tiles[0], pairs, kernel)),
            Op::Slice(axis) => self.slice(tiles[0], *axis, tiles[1].as_int()?, ty),
            Op::Mma { over } => {
                self.multiply_adds += (count(&ty.axes, kernel) * count(over, kernel)) as u64;
                contract::mma(tiles[0], tiles[1], tiles.get(2).copied(), over, ty, kernel, self.precision)
            }
            Op::Reduce { op, over } => {
                let from = kernel.values[args[0]].dtype;
                contract::reduce(*op, tiles[0], from, over, ty, kernel, self.precision)
            }
            Op::Load { mem, subs, pad, .. } => {
                access::load(kernel, (*mem, &self.memory[*mem], self.tracks), (subs, *pad), &tiles, ty)
            }
            Op::Store { .. } | Op::For { .. } | Op::If { .. } => Err(format!("`{}` has no single result", op.text())),
        }
    }

    /// A result as its type holds it in this precision.
    fn rounded(&self, value: Scalar, dtype: DType) -> Scalar {
        match value {
            Scalar::Float(v) if self.precision == Precision::F32 => Scalar::Float(round_float(v, dtype)),
            other => other,
        }
    }

    fn map(
        &self,
        tiles: &[&Tile],
        ty: &Type,
        each: impl Fn(&[Scalar]) -> Result<Scalar, String>,
    ) -> Result<Tile, String> {
        let tiles: Vec<Tile> = tiles.iter().map(|t| t.over(&ty.axes, self.kernel)).collect();
        let total = count(&ty.axes, self.kernel);
        let mut data = Data::zeros(ty.dtype, total);
        let mut operands = Vec::with_capacity(tiles.len());
        for at in 0..total {
            operands.clear();
            operands.extend(tiles.iter().map(|t| t.data.get(at)));
            data.set(at, self.rounded(each(&operands)?, ty.dtype));
        }
        let poisoned = tiles.iter().any(|t| !t.undefined.is_empty());
        let undefined =
            if poisoned { (0..total).map(|i| tiles.iter().any(|t| t.is_undefined(i))).collect() } else { Vec::new() };
        Ok(Tile { axes: ty.axes.clone(), data, undefined })
    }

    fn elementwise(&self, op: ElemOp, tiles: &[&Tile], ty: &Type, from: DType) -> Result<Tile, String> {
        // The result type does not say how wide the operands of comparisons and of bit counts are.
        let dtype = if ty.dtype == DType::Bool || op.typing() == Typing::Bits { from } else { ty.dtype };
        let mut result = self.map(tiles, ty, |x| elem(op, x, dtype))?;
        if op == ElemOp::Select && !result.undefined.is_empty() {
            // Only the operand that is chosen counts.
            let [condition, a, b] = [0, 1, 2].map(|i| tiles[i].over(&ty.axes, self.kernel));
            let undefined = |i: usize| {
                let chosen = if condition.data.get(i) == Scalar::Bool(true) { &a } else { &b };
                condition.is_undefined(i) || chosen.is_undefined(i)
            };
            result.undefined = (0..result.data.len()).map(undefined).collect();
            if !result.undefined.contains(&true) {
                result.undefined.clear();
            }
        }
        Ok(result)
    }

    fn slice(&self, x: &Tile, axis: AxisId, at: i64, ty: &Type) -> Result<Tile, String> {
        let at = usize::try_from(at).ok().filter(|at| *at < extent(axis, self.kernel));
        let at = at.ok_or("slices outside of the axis")?;
        let base = places(&[axis], &x.axes, self.kernel)[at];
        let chosen: Vec<usize> = places(&ty.axes, &x.axes, self.kernel).into_iter().map(|p| p + base).collect();
        let undefined =
            if x.undefined.is_empty() { Vec::new() } else { chosen.iter().map(|p| x.undefined[*p]).collect() };
        Ok(Tile { axes: ty.axes.clone(), data: x.data.pick(&chosen), undefined })
    }
}

fn rounded_to(value: Scalar, to: DType) -> Scalar {
    match value {
        Scalar::Float(v) => Scalar::Float(round_float(v, to)),
        Scalar::Int(v) => Scalar::Int(wrap(v, to)),
        other => other,
    }
}

/// The same elements in the order of the renamed, sorted axes.
fn rename(x: &Tile, pairs: &[(AxisId, AxisId)], kernel: &Kernel) -> Tile {
    let renamed: Vec<AxisId> =
        x.axes.iter().map(|a| pairs.iter().find(|(from, _)| from == a).map_or(*a, |(_, to)| *to)).collect();
    let mut axes = renamed.clone();
    axes.sort_unstable();
    let order = places(&axes, &renamed, kernel);
    let undefined = if x.undefined.is_empty() { Vec::new() } else { order.iter().map(|p| x.undefined[*p]).collect() };
    Tile { axes, data: x.data.pick(&order), undefined }
}
