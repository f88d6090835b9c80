//! Loads as views, and their staged copies.
//!
//! In: a `load`. Out: a place for its tile. A view is read in place if the whole tile is inside of the memory and memory runs
//! along the last dimension, which is tested once per tile at run time; otherwise the tile is copied with its pad to the
//! arena and the view points there, so consumers have one code path. What cannot be a view (data-dependent coordinates,
//! masks, memory that the kernel writes) is tested and read element by element.

use super::layout::{Buffer, Place, Point, Pos, Stride, View};
use super::nest::{Axis, lanes_within};
use super::plan::{pad_bits, reads_in_place, unit_axis};
use super::scalar::MemoryWords;
use super::{Lower, Refusal, round_up, storage};
use crate::vir::{Elem, Val};
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{Access, AxisId, Inst, MemId, Op, Subscript, Value};

/// Side of the squares in which a load is transposed.
const SIDE: i64 = 4;

/// A tile where it lies in memory.
pub(super) struct TileInMemory {
    /// The address of the element at position 0 of every axis.
    pointer: Val,
    dtype: DType,
    /// Bytes of an element.
    bytes: i64,
    /// The stride of each axis at run time.
    strides: Vec<(AxisId, Val)>,
    /// Axes with constant strides where memory is packed, in elements.
    dense: Vec<(AxisId, i64)>,
    /// Whether all of it is inside of the memory, unless that is known.
    inside: Option<Val>,
    /// Whether memory is packed, if that matters.
    packed: Option<Val>,
}

impl TileInMemory {
    fn nowhere(pointer: Val) -> Self {
        let (strides, dense) = (Vec::new(), Vec::new());
        Self { pointer, dtype: DType::U8, bytes: 1, strides, dense, inside: None, packed: None }
    }
    /// Strides of the axes that are not dense.
    fn dynamic(&self) -> Vec<(AxisId, Val)> {
        let is_dense = |axis: AxisId| self.dense.iter().any(|(d, _)| *d == axis);
        self.strides.iter().filter(|(a, _)| !is_dense(*a)).copied().collect()
    }
    /// The tile at `pointer`, its dense axes packed, the others with the strides `dynamic`.
    fn view(&self, pointer: Val, dynamic: &[(AxisId, Val)]) -> View {
        let constant = self.dense.iter().map(|(axis, step)| (*axis, Stride::Const(step * self.bytes)));
        let strides = constant.chain(dynamic.iter().map(|(axis, s)| (*axis, Stride::Dynamic(*s)))).collect();
        View { pointer, strides, dtype: self.dtype }
    }
    /// Read in place, where memory is packed.
    fn straight(&self) -> View {
        self.view(self.pointer, &self.dynamic())
    }
    /// Read in place, however memory lies.
    fn strided(&self) -> View {
        let strides = self.strides.iter().map(|(a, s)| (*a, Stride::Dynamic(*s))).collect();
        View { pointer: self.pointer, strides, dtype: self.dtype }
    }
}

impl Lower<'_> {
    /// Emits a load.
    pub(super) fn load(&mut self, inst: &Inst) {
        let value = inst.results[0];
        if self.axes(value).is_empty() {
            let scalar = self.guarded_load(inst, &Point::default(), false);
            return self.keep_scalar(value, scalar);
        }
        self.remark_load(inst);
        if !reads_in_place(self.kernel, inst) {
            return self.keep(value);
        }
        if self.plan.is_fused(value) {
            let view = self.view(inst);
            return self.set_place(value, Place::View(view));
        }
        if self.plan.is_sole(value) {
            return self.set_place(value, Place::Pending);
        }
        self.keep_load(inst);
    }

    /// Keeps the whole tile of a load.
    pub(super) fn keep_load(&mut self, inst: &Inst) {
        let value = inst.results[0];
        let buffer = self.buffer_of(value);
        if let Some((lane, unit)) = self.square_axes(inst, &buffer) {
            let view = self.view(inst);
            self.set_place(value, Place::View(view));
            self.transpose(value, &buffer, lane, unit);
            self.set_place(value, Place::Buffer(buffer));
        } else {
            let tile = self.tile_in_memory(inst);
            self.keep_tile(value, &tile, &buffer, &Point::default());
        }
    }

    /// Copies what a load reads to the arena, from where it lies, at `point` along axes that the buffer lacks.
    pub(super) fn keep_tile(&mut self, value: Value, tile: &TileInMemory, buffer: &Buffer, point: &Point) {
        let copy = |s: &mut Self, view: View| {
            s.set_place(value, Place::View(view));
            s.copy_at(value, buffer, point);
        };
        let inside = |s: &mut Self| match tile.packed {
            Some(packed) => {
                s.branches(Some(packed), |s| copy(s, tile.straight()), |s| copy(s, tile.strided()));
            }
            None => copy(s, tile.straight()),
        };
        self.branches(tile.inside, inside, |s| s.keep_at(value, buffer, point));
        self.set_place(value, Place::Buffer(buffer.clone()));
    }

    /// A place for a scalar that loops will read. A float waits in the arena, from where its reader repeats it in lanes at no cost: a
    /// register that held it through other loops would be missing in register blocks, which need all there are.
    pub(super) fn keep_scalar(&mut self, value: Value, scalar: Val) {
        if !self.b.ty(scalar).elem.is_float() {
            return self.set_place(value, Place::Scalar(scalar));
        }
        let buffer = self.buffer_of(value);
        self.write_buffer(&buffer, &Point::default(), scalar);
        self.set_place(value, Place::Buffer(buffer));
    }

    fn remark_load(&mut self, inst: &Inst) {
        let Op::Load { mem, subs, masked, pad } = &inst.op else { return };
        let memory = &self.kernel.memory[*mem];
        let axes = self.axes(inst.results[0]);
        let lane = self.plan.lane(self.kernel, axes);
        let refusal = if subs.iter().any(|s| matches!(s, Subscript::Gather)) {
            Refusal::Gathered
        } else if *masked {
            Refusal::Masked
        } else if memory.access != Access::In {
            Refusal::Written
        } else if pad_bits(*pad, memory.dtype).is_none() {
            Refusal::Pad
        } else {
            match lane {
                Some(lane) if Some(lane) != unit_axis(self.kernel, inst) => {
                    Refusal::Strided { lane: self.kernel.axes[lane].name.clone() }
                }
                _ => return,
            }
        };
        let place = format!("load of `{}`", memory.name);
        self.remark(place, refusal);
    }

    /// The axis in lanes and the one that memory runs along, if they differ and a load can be packed in squares of four by
    /// four.
    fn square_axes(&self, inst: &Inst, buffer: &Buffer) -> Option<(AxisId, AxisId)> {
        let lane = self.plan.lane(self.kernel, self.axes(inst.results[0]))?;
        let unit = unit_axis(self.kernel, inst)?;
        let squares = self.extent(lane) % SIDE == 0 && self.extent(unit) % SIDE == 0;
        (lane != unit && squares && buffer.elem.bytes() == 4).then_some((lane, unit))
    }
    /// Packs a view for lanes along `lane`, where memory runs along `unit`.
    fn transpose(&mut self, value: Value, buffer: &Buffer, lane: AxisId, unit: AxisId) {
        let axes = self.axes(value).to_vec();
        let others: Vec<Axis> =
            axes.iter().filter(|a| **a != lane && **a != unit).map(|axis| Axis { axis: *axis, lanes: 1 }).collect();
        let (lane_extent, unit_extent) = (self.extent(lane), self.extent(unit));
        self.nest(&others, &Point::default(), &[], &mut |s, point| {
            s.turns(lane_extent, SIDE, point, &[], &mut |s, first_lane| {
                s.turns(unit_extent, SIDE, point, &[], &mut |s, first_unit| {
                    let row = |at: i64| {
                        let along = Pos::at(first_unit).in_lanes(4, 4);
                        point.with(lane, Pos::at(first_lane).plus(at)).with(unit, along)
                    };
                    let rows = [0, 1, 2, 3].map(|at| s.eval(value, &row(at)));
                    let columns = s.b.transpose4(rows);
                    for (at, column) in (0_i64..).zip(columns) {
                        let along = Pos::at(first_lane).in_lanes(4, 4);
                        let to = point.with(unit, Pos::at(first_unit).plus(at)).with(lane, along);
                        s.write_buffer(buffer, &to, column);
                    }
                });
            });
        });
    }

    /// Where the tile that `inst` loads lies, and the tests on it.
    pub(super) fn tile_in_memory(&mut self, inst: &Inst) -> TileInMemory {
        let Op::Load { mem, subs, .. } = &inst.op else {
            self.defect("a view of what is no load".to_owned());
            return TileInMemory::nowhere(self.b.scratch());
        };
        let dtype = self.kernel.memory[*mem].dtype;
        let bytes = i64::from(storage(dtype).map_or(1, Elem::bytes));
        let axes = self.axes(inst.results[0]).to_vec();
        let words = self.memory_words(*mem);
        let bases: Vec<Val> = inst.args.iter().map(|v| self.eval(*v, &Point::default())).collect();
        let inside = self.tile_inside(inst, subs, &bases, &words);
        let dense = dense_axes(subs, &axes);
        let mut pointer = words.pointer;
        for (base, stride) in bases.iter().zip(&words.strides) {
            let offset = self.b.mul(*base, *stride);
            pointer = self.b.add(pointer, offset);
        }
        let strides: Vec<(AxisId, Val)> = axes.iter().map(|a| (*a, self.axis_stride(subs, &words, *a))).collect();
        let packed = words.strides.last().filter(|_| !dense.is_empty()).map(|last| {
            let unit = self.b.i64(bytes);
            self.b.eq(*last, unit)
        });
        TileInMemory { pointer, dtype, bytes, strides, dense, inside, packed }
    }

    /// A view of the tile that `inst` loads; see the module.
    fn view(&mut self, inst: &Inst) -> View {
        let tile = self.tile_in_memory(inst);
        let dynamic = tile.dynamic();
        let apart = self.plan.is_panel(inst.results[0]).then(|| self.rows_apart(&dynamic)).flatten();
        let tests = [tile.inside, tile.packed, apart];
        let direct = tests.into_iter().flatten().reduce(|all, test| self.b.and(all, test));
        let (Some(direct), Op::Load { mem, .. }) = (direct, &inst.op) else { return tile.straight() };
        let place: Vec<Val> = [tile.pointer].into_iter().chain(dynamic.iter().map(|(_, s)| *s)).collect();
        let (buffer, steps) = self.staging(*mem, &tile.dense, &dynamic);
        self.b.begin_if(direct);
        self.b.begin_else(&place);
        self.open_scope();
        // Rows that collide may be packed; what is read in place otherwise is not.
        let copy = |s: &mut Self| match (tile.packed, apart) {
            (Some(packed), Some(_)) => s.branches(
                Some(packed),
                |s| s.copy_inside(&tile.straight(), &buffer),
                |s| s.copy_inside(&tile.strided(), &buffer),
            ),
            _ => s.copy_inside(&tile.strided(), &buffer),
        };
        self.branches(tile.inside, copy, |s| s.stage(inst, &buffer, &tile.dense));
        self.close_scope();
        let staged = self.staged_words(&buffer, &steps);
        let place = self.b.end_if(&staged);
        let moved: Vec<(AxisId, Val)> = dynamic.iter().zip(&place[1..]).map(|((axis, _), s)| (*axis, *s)).collect();
        tile.view(place[0], &moved)
    }
    /// A branch without results; its first side alone if there is no condition.
    fn branches(&mut self, condition: Option<Val>, then: impl FnOnce(&mut Self), otherwise: impl FnOnce(&mut Self)) {
        let Some(condition) = condition else { return then(self) };
        self.b.begin_if(condition);
        self.open_scope();
        then(self);
        self.close_scope();
        self.b.begin_else(&[]);
        self.open_scope();
        otherwise(self);
        self.close_scope();
        self.b.end_if(&[]);
    }
    /// Whether the rows of a tile lie so that all of them fit the first-level cache at once: their distance is no multiple of
    /// a quarter of the page that a way of the cache covers, and several are on a page.
    fn rows_apart(&mut self, dynamic: &[(AxisId, Val)]) -> Option<Val> {
        const COLLISION: i64 = 1024;
        const PAGE: i64 = 4096;
        const FEW: i64 = 8;
        let mut all = None;
        for (_, stride) in dynamic.iter().filter(|(a, _)| self.extent(*a) >= FEW).copied().collect::<Vec<_>>() {
            let (step, page, zero) = (self.b.i64(COLLISION - 1), self.b.i64(PAGE), self.b.i64(0));
            let rest = self.b.and(stride, step);
            let uneven = self.b.ne(rest, zero);
            let near = self.b.ult(stride, page);
            let apart = self.b.and(uneven, near);
            all = Some(all.map_or(apart, |before| self.b.and(before, apart)));
        }
        all
    }

    /// Whether every element of an affine tile is inside of its memory; `None` if that is known.
    pub(super) fn tile_inside(
        &mut self,
        inst: &Inst,
        subs: &[Subscript],
        bases: &[Val],
        words: &MemoryWords,
    ) -> Option<Val> {
        let first = usize::from(matches!(inst.op, Op::Store { .. }));
        let mut inside: Option<Val> = None;
        for (dimension, sub) in subs.iter().enumerate() {
            let Subscript::Affine(terms) = sub else { continue };
            let reach = |sign: i64| -> i64 {
                terms.iter().map(|(a, c)| c * (self.extent(*a) - 1)).filter(|r| r.signum() == sign).sum()
            };
            let (low, high) = (reach(-1), reach(1));
            let known = self.known.get(&inst.args[first + dimension]).copied();
            if let (Some(base), Some(size)) = (known, self.mem_shape(inst, dimension)) {
                let within = |reach: i64| base.checked_add(reach).is_some_and(|at| (0..size).contains(&at));
                if within(low) && within(high) {
                    continue;
                }
            }
            let (low, high) = (self.b.i64(low), self.b.i64(high));
            let lowest = self.b.add(bases[dimension], low);
            let highest = self.b.add(bases[dimension], high);
            let zero = self.b.i64(0);
            let from = self.b.ge(lowest, zero);
            let to = self.b.lt(highest, words.extents[dimension]);
            let both = self.b.and(from, to);
            inside = Some(inside.map_or(both, |i| self.b.and(i, both)));
        }
        inside
    }
    fn mem_shape(&self, inst: &Inst, dimension: usize) -> Option<i64> {
        match &inst.op {
            Op::Load { mem, .. } | Op::Store { mem, .. } => self.kernel.memory[*mem].shape[dimension].as_int(),
            _ => None,
        }
    }

    /// The distance in memory between neighbours along an axis.
    pub(super) fn axis_stride(&mut self, subs: &[Subscript], words: &MemoryWords, axis: AxisId) -> Val {
        let mut sum: Option<Val> = None;
        for (dimension, sub) in subs.iter().enumerate() {
            let Subscript::Affine(terms) = sub else { continue };
            let coefficient: i64 = terms.iter().filter(|(a, _)| *a == axis).map(|(_, c)| *c).sum();
            if coefficient == 0 {
                continue;
            }
            let mut step = words.strides[dimension];
            if coefficient != 1 {
                let factor = self.b.i64(coefficient);
                step = self.b.mul(step, factor);
            }
            sum = Some(sum.map_or(step, |s| self.b.add(s, step)));
        }
        match sum {
            Some(sum) => sum,
            None => self.b.i64(0),
        }
    }

    /// Room in the arena for a copy of a tile, its dense axes as in memory; and the strides of the others.
    fn staging(&mut self, mem: MemId, dense: &[(AxisId, i64)], dynamic: &[(AxisId, Val)]) -> (Buffer, Vec<i64>) {
        let elem = storage(self.kernel.memory[mem].dtype).unwrap_or(Elem::I8);
        let bytes = i64::from(elem.bytes());
        let span: i64 = dense.iter().map(|(a, c)| c * (self.extent(*a) - 1)).sum::<i64>() + 1;
        let mut stride = super::spread(round_up(span, i64::from(self.most_lanes())).saturating_mul(bytes));
        let mut strides = Vec::new();
        for (axis, _) in dynamic.iter().rev() {
            strides.push((*axis, stride));
            stride = stride.saturating_mul(self.extent(*axis));
        }
        strides.reverse();
        let offset = self.scratch;
        self.scratch = offset.saturating_add(u64::try_from(stride).unwrap_or(u64::MAX)).next_multiple_of(64);
        let steps = strides.iter().map(|(_, s)| *s).collect();
        let all = strides.into_iter().chain(dense.iter().map(|(a, c)| (*a, c * bytes))).collect();
        (Buffer { offset, elem, strides: all }, steps)
    }
    /// The address of a copy, and the strides of the axes that are not dense.
    fn staged_words(&mut self, buffer: &Buffer, steps: &[i64]) -> Vec<Val> {
        let start = self.b.scratch();
        let disp = self.b.i64(i64::try_from(buffer.offset).unwrap_or(i64::MAX));
        let address = self.b.add(start, disp);
        let steps: Vec<Val> = steps.iter().map(|s| self.b.i64(*s)).collect();
        [address].into_iter().chain(steps).collect()
    }
    /// Copies a tile with its pad to the arena, every element tested.
    fn stage(&mut self, inst: &Inst, buffer: &Buffer, dense: &[(AxisId, i64)]) {
        let axes = self.staging_loops(buffer, dense.iter().find(|(_, c)| *c == 1).map(|(a, _)| *a), 4);
        self.nest(&axes, &Point::default(), &[], &mut |s, point| {
            let raw = s.guarded_load(inst, point, true);
            s.write_exact(buffer, point, raw);
        });
    }
    /// Copies a tile that is inside of its memory to the arena.
    fn copy_inside(&mut self, from: &View, buffer: &Buffer) {
        let bytes = i64::from(buffer.elem.bytes());
        let unit = buffer.strides.iter().find(|(_, s)| *s == bytes).map(|(a, _)| *a);
        let axes = self.staging_loops(buffer, unit, self.most_lanes());
        self.nest(&axes, &Point::default(), &[], &mut |s, point| {
            let raw = s.read_raw(from, buffer.elem, point);
            s.write_exact(buffer, point, raw);
        });
    }
    fn staging_loops(&self, buffer: &Buffer, unit: Option<AxisId>, lanes: u8) -> Vec<Axis> {
        let others = buffer.strides.iter().map(|(a, _)| *a).filter(|a| Some(*a) != unit);
        let mut axes: Vec<Axis> = others.map(|axis| Axis { axis, lanes: 1 }).collect();
        axes.extend(unit.map(|axis| Axis { axis, lanes: lanes_within(self.extent(axis), lanes) }));
        axes
    }

    /// Writes the valid lanes only.
    fn write_exact(&mut self, buffer: &Buffer, point: &Point, value: Val) {
        let at = self.buffer_address(buffer, point);
        match point.iter().find(|(_, pos)| pos.lanes > 1) {
            Some((_, pos)) if pos.count < pos.lanes => {
                let count = self.b.i64(i64::from(pos.count));
                self.b.store_part(value, at, count);
            }
            _ => self.b.store(value, at),
        }
    }
}

/// Axes that occur in the last dimension only, with positive coefficients: their strides in memory are constants wherever
/// that dimension is packed.
fn dense_axes(subs: &[Subscript], axes: &[AxisId]) -> Vec<(AxisId, i64)> {
    let Some((Subscript::Affine(last), others)) = subs.split_last() else { return Vec::new() };
    let elsewhere = |axis: AxisId| {
        others.iter().any(|s| matches!(s, Subscript::Affine(terms) if terms.iter().any(|(a, _)| *a == axis)))
    };
    let coefficient = |axis: AxisId| last.iter().filter(|(a, _)| *a == axis).map(|(_, c)| *c).sum::<i64>();
    axes.iter().map(|a| (*a, coefficient(*a))).filter(|(a, c)| *c > 0 && !elsewhere(*a)).collect()
}
