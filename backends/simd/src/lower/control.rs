//! Regions: instructions in order, loops in phases, branches.
//!
//! In: a region. Out: VIR. A loop's body is emitted once per phase with the edge flag known. Carried tiles live in one buffer
//! each; the next tile is written straight to it where nothing reads the old one any more, else copied at the end of a step.

use super::Lower;
use super::layout::{Buffer, Place, Point};
use crate::vir::Val;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::tile::{Inst, Op, Phase, Region, Value};

impl Lower<'_> {
    /// Emits the instructions of a region.
    pub(super) fn region(&mut self, region: &Region) {
        for inst in &region.insts {
            self.instruction(inst);
        }
    }

    fn instruction(&mut self, inst: &Inst) {
        let scalar = inst.results.first().is_some_and(|v| self.axes(*v).is_empty());
        match &inst.op {
            Op::Const(_) | Op::Size(_) | Op::Grid(_) => self.leaf(inst),
            Op::Coord(_) => self.leave_fused(inst),
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) | Op::Rename(_) | Op::Slice(_) if scalar => {
                self.fold(inst);
                let value = self.compute(inst.results[0], &Point::default());
                // Inside of loops, a scalar is read soon.
                match self.plan.depth(inst.results[0]) {
                    Some(0) => self.keep_scalar(inst.results[0], value),
                    _ => self.set_place(inst.results[0], Place::Scalar(value)),
                }
            }
            Op::Rename(_) | Op::Slice(_) => self.leave_fused(inst),
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) => {
                if self.plan.is_fused(inst.results[0]) {
                    self.leave_fused(inst);
                } else {
                    self.keep(inst.results[0]);
                }
            }
            Op::Mma { .. } | Op::Reduce { .. } => self.contract(inst),
            Op::Load { .. } => self.load(inst),
            Op::Store { .. } => self.store(inst),
            Op::For { step, phases, params, body } => self.for_phases(inst, *step, phases, params, body),
            Op::If { then, otherwise } => self.branch(inst, then, otherwise),
        }
    }

    fn leaf(&mut self, inst: &Inst) {
        let result = inst.results[0];
        let value = match &inst.op {
            Op::Const(constant) => {
                use sawmill_ir::graph::Const;
                match constant {
                    Const::Int(int) => self.known.insert(result, *int),
                    Const::Bool(truth) => self.known.insert(result, i64::from(*truth)),
                    Const::Float(_) => None,
                };
                let elem = self.elem(self.dtype(result));
                self.constant(*constant, elem)
            }
            Op::Size(index) => {
                if let Some(known) = index.as_int() {
                    self.known.insert(result, known);
                }
                self.index(index)
            }
            Op::Grid(axis) => self.grid[*axis as usize],
            _ => self.b.i64(0),
        };
        self.set_place(result, Place::Scalar(value));
    }
    /// Records the value of logic on known scalars, so that what an edge flag decides is decided here.
    fn fold(&mut self, inst: &Inst) {
        let known: Option<Vec<i64>> = inst.args.iter().map(|v| self.known.get(v).copied()).collect();
        let value = match (&inst.op, known.as_deref()) {
            (Op::Elem(ElemOp::Not), Some([x])) => Some(1 - x),
            (Op::Elem(ElemOp::And), Some(all)) => Some(i64::from(all.iter().all(|x| *x != 0))),
            (Op::Elem(ElemOp::Or), Some(all)) => Some(i64::from(all.iter().any(|x| *x != 0))),
            _ => None,
        };
        match value {
            Some(value) => self.known.insert(inst.results[0], value),
            None => self.known.remove(&inst.results[0]),
        };
    }

    fn for_phases(&mut self, inst: &Inst, step: i64, phases: &[Phase], params: &[Value], body: &Region) {
        let [position, edge, carries @ ..] = params else {
            return self.defect("a loop without position and edge flag".to_owned());
        };
        let mut buffers: Vec<Option<Buffer>> = Vec::new();
        let mut scalars: Vec<Val> = Vec::new();
        for (index, (carry, init)) in carries.iter().zip(&inst.args).enumerate() {
            if self.axes(*carry).is_empty() {
                scalars.push(self.eval(*init, &Point::default()));
                buffers.push(None);
                continue;
            }
            let buffer = self.buffer_of(*carry);
            if !self.is_at(*init, &buffer) {
                self.copy(*init, &buffer);
            }
            if self.updates_in_place(body, *carry, index) {
                self.aim(body, *carry, index, &buffer);
            }
            buffers.push(Some(buffer));
        }
        for phase in phases {
            let lo = self.eval(phase.lo, &Point::default());
            let hi = self.eval(phase.hi, &Point::default());
            let (at, carried) = self.b.begin_for(lo, hi, step, &scalars);
            self.open_scope();
            self.set_place(*position, Place::Scalar(at));
            let flag = self.b.bool(1, phase.edge);
            self.set_place(*edge, Place::Scalar(flag));
            self.known.insert(*edge, i64::from(phase.edge));
            self.place_carries(carries, &buffers, &carried);
            self.region(body);
            let next = self.hand_on(body, carries, &buffers);
            self.close_scope();
            scalars = self.b.end_for(&next);
        }
        self.place_carries(&inst.results, &buffers, &scalars);
    }
    fn place_carries(&mut self, values: &[Value], buffers: &[Option<Buffer>], scalars: &[Val]) {
        let mut scalars = scalars.iter();
        for (value, buffer) in values.iter().zip(buffers) {
            match (buffer, buffer.is_none().then(|| scalars.next()).flatten()) {
                (Some(buffer), _) => self.set_place(*value, Place::Buffer(buffer.clone())),
                (None, Some(scalar)) => self.set_place(*value, Place::Scalar(*scalar)),
                (None, None) => self.defect(format!("{value} has no carried scalar")),
            }
        }
    }
    /// The end of a step: scalars are handed on, tiles end up in the carries' buffers.
    fn hand_on(&mut self, body: &Region, carries: &[Value], buffers: &[Option<Buffer>]) -> Vec<Val> {
        let mut scalars = Vec::new();
        let mut moves: Vec<(Value, Option<Buffer>, Buffer)> = Vec::new();
        for ((yielded, buffer), carry) in body.yields.iter().zip(buffers).zip(carries) {
            match buffer {
                None => scalars.push(self.eval(*yielded, &Point::default())),
                Some(buffer) if self.is_at(*yielded, buffer) => {}
                Some(buffer) => {
                    // What is in a carry's buffer, or is still to be computed, is saved before any carry is overwritten.
                    let safe = self.own_buffer(*yielded).is_some_and(|own| buffers.iter().flatten().all(|b| *b != own));
                    let saved = (!safe).then(|| self.saved(*yielded, *carry));
                    moves.push((*yielded, saved, buffer.clone()));
                }
            }
        }
        for (value, saved, to) in moves {
            match saved {
                None => self.copy(value, &to),
                Some(from) => self.move_buffer(value, &from, &to),
            }
        }
        scalars
    }
    fn saved(&mut self, value: Value, carry: Value) -> Buffer {
        let elem = self.elem(self.dtype(carry));
        let buffer = self.allocate(self.axes(carry), elem);
        self.copy(value, &buffer);
        buffer
    }
    fn move_buffer(&mut self, value: Value, from: &Buffer, to: &Buffer) {
        let before = self.place(value).cloned();
        self.open_scope();
        self.places[sawmill_ir::entity::Entity::index(value)] = Some(Place::Buffer(from.clone()));
        let loops = self.loops(self.axes(value), 2 * self.lanes);
        self.nest(&loops, &Point::default(), &[], &mut |s, point| {
            let axes = s.axes(value);
            let moved = s.read_buffer(from, &point.restrict(axes));
            s.write_buffer(to, point, moved);
        });
        self.close_scope();
        self.places[sawmill_ir::entity::Entity::index(value)] = before;
    }
    /// The buffer a value is read from, through aliases.
    fn own_buffer(&self, value: Value) -> Option<Buffer> {
        match self.place(value)? {
            Place::Buffer(buffer) => Some(buffer.clone()),
            Place::Alias(other) => self.own_buffer(*other),
            _ => None,
        }
    }
    fn is_at(&self, value: Value, buffer: &Buffer) -> bool {
        self.own_buffer(value).as_ref() == Some(buffer)
    }

    fn branch(&mut self, inst: &Inst, then: &Region, otherwise: &Region) {
        if let Some(known) = self.known.get(&inst.args[0]).copied() {
            let region = if known != 0 { then } else { otherwise };
            self.region(region);
            for (result, yielded) in inst.results.iter().zip(&region.yields) {
                self.set_place(*result, Place::Alias(*yielded));
                match self.known.get(yielded).copied() {
                    Some(value) => self.known.insert(*result, value),
                    None => self.known.remove(result),
                };
            }
            return;
        }
        let condition = self.eval(inst.args[0], &Point::default());
        self.b.begin_if(condition);
        let yields = self.branch_side(inst, then);
        self.b.begin_else(&yields);
        let yields = self.branch_side(inst, otherwise);
        let mut scalars = self.b.end_if(&yields).into_iter();
        for result in &inst.results {
            if self.axes(*result).is_empty() {
                if let Some(scalar) = scalars.next() {
                    self.set_place(*result, Place::Scalar(scalar));
                }
            } else {
                let buffer = self.buffer_of(*result);
                self.set_place(*result, Place::Buffer(buffer));
            }
        }
    }
    /// One side: its tiles go to the results' buffers, its scalars are yielded.
    fn branch_side(&mut self, inst: &Inst, region: &Region) -> Vec<Val> {
        self.open_scope();
        self.region(region);
        let mut scalars = Vec::new();
        for (result, yielded) in inst.results.iter().zip(&region.yields) {
            if self.axes(*result).is_empty() {
                scalars.push(self.eval(*yielded, &Point::default()));
            } else {
                let buffer = self.buffer_of(*result);
                if !self.is_at(*yielded, &buffer) {
                    self.copy(*yielded, &buffer);
                }
            }
        }
        self.close_scope();
        scalars
    }

    /// Lets the value that replaces a carry be written to the carry's buffer, on both sides of a branch.
    fn aim(&mut self, body: &Region, carry: Value, index: usize, buffer: &Buffer) {
        let next = body.yields[index];
        if next == carry {
            return;
        }
        self.targets.insert(next, buffer.clone());
        let inst = body.insts.iter().find(|inst| inst.results.contains(&next));
        let Some(Inst { op: Op::If { then, otherwise }, results, .. }) = inst else { return };
        let Some(at) = results.iter().position(|result| *result == next) else { return };
        for side in [then, otherwise] {
            self.aim(side, carry, at, buffer);
        }
    }

    /// Whether the value that replaces a carry can be written over it: only the instruction that computes it reads the old
    /// one, at the position it writes, and nothing reads it later.
    fn updates_in_place(&self, body: &Region, carry: Value, index: usize) -> bool {
        let next = body.yields[index];
        if next == carry {
            return true;
        }
        let Some(at) = body.insts.iter().position(|inst| inst.results.contains(&next)) else { return false };
        let inst = &body.insts[at];
        if body.yields.iter().filter(|y| **y == next).count() != 1 || self.plan.is_fused(next) {
            return false;
        }
        let pointwise = match &inst.op {
            Op::Mma { .. } => inst.args.iter().enumerate().all(|(position, arg)| match position {
                2 => self.reads_pointwise(*arg, carry),
                _ => !self.reads(*arg, carry),
            }),
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) => {
                inst.args.iter().all(|arg| self.reads_pointwise(*arg, carry))
            }
            Op::Reduce { .. } => inst.args.iter().all(|arg| !self.reads(*arg, carry)),
            Op::If { then, otherwise } => {
                let result = inst.results.iter().position(|result| *result == next);
                result.is_some_and(|at| [then, otherwise].iter().all(|side| self.updates_in_place(side, carry, at)))
            }
            _ => false,
        };
        let later = body.insts[at + 1..].iter().any(|inst| self.runs_on(inst, carry));
        let handed = body.yields.iter().enumerate().any(|(other, y)| other != index && self.reads(*y, carry));
        pointwise && !later && !handed
    }
    /// Whether evaluating `value` reads `what`.
    fn reads(&self, value: Value, what: Value) -> bool {
        if value == what {
            return true;
        }
        let Some(inst) = self.plan.def(value) else { return false };
        match &inst.op {
            Op::If { then, otherwise } => {
                let at = inst.results.iter().position(|result| *result == value);
                let yields = [then, otherwise].map(|side| at.and_then(|at| side.yields.get(at)));
                yields.into_iter().flatten().any(|y| self.reads(*y, what))
            }
            _ if self.plan.is_fused(value) => inst.args.iter().any(|arg| self.reads(*arg, what)),
            _ => false,
        }
    }
    /// The same, and if it does, at the very positions at which `value` is evaluated.
    fn reads_pointwise(&self, value: Value, what: Value) -> bool {
        if value == what || !self.reads(value, what) {
            return true;
        }
        let Some(inst) = self.plan.def(value) else { return false };
        match &inst.op {
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) if self.plan.is_fused(value) => {
                inst.args.iter().all(|arg| self.reads_pointwise(*arg, what))
            }
            _ => false,
        }
    }
    /// Whether an instruction, when it runs, reads `what`.
    fn runs_on(&self, inst: &Inst, what: Value) -> bool {
        if inst.results.first().is_some_and(|v| self.plan.is_fused(*v)) {
            return false;
        }
        inst.args.iter().any(|arg| self.reads(*arg, what))
            || inst.regions().into_iter().any(|region| {
                region.yields.iter().any(|y| self.reads(*y, what))
                    || region.insts.iter().any(|inner| self.runs_on(inner, what))
            })
    }
}
