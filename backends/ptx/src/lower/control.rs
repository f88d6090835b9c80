//! Loops and branches.
//!
//! Bounds and conditions are scalars, so all threads go one way. A loop's phases are written out one after the other, each with
//! its edge flag known, on one set of registers for the carries.

use super::ring::Ring;
use super::seek::Guarded;
use super::{Fence, Held, Lower, code};
use crate::inst::{Guard, Op, Reg, Word};
use crate::layout::Layout;
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{Inst, Phase, Region, Value};

impl Lower<'_> {
    /// Registers that several places assign.
    fn slots(&mut self, value: Value, layout: &Layout) -> Vec<Reg> {
        let class = code::class(self.dtype(value));
        (0..layout.registers()).map(|_| self.c.b.reg(class)).collect()
    }
    fn own(&mut self, value: Value) -> Layout {
        match self.assigned.anchor(value) {
            Some(layout) => layout.clone(),
            None => {
                self.bug(format!("{value} has no layout of its own"));
                self.assigned.scalar()
            }
        }
    }
    /// A value spread over the registers of a layout that may have more axes.
    pub(super) fn spread(&mut self, value: Value, layout: &Layout) -> Vec<Reg> {
        let (held, regs): Held = self.read(value, layout);
        (0..layout.registers()).map(|r| regs[held.register_like(layout, r) as usize]).collect()
    }
    fn assign(&mut self, dtype: DType, slots: &[Reg], values: &[Reg]) {
        for (slot, value) in slots.iter().zip(values) {
            self.c.set(dtype, *slot, *value);
        }
    }
    /// A part of the program that is reached in one way and left at its end.
    pub(super) fn scope(&mut self, build: impl FnOnce(&mut Self)) {
        self.seen.push(FxHashMap::default());
        let outer = std::mem::take(&mut self.homes_inside);
        build(self);
        for value in std::mem::replace(&mut self.homes_inside, outer) {
            if let Some(home) = self.homes.remove(&value).filter(|home| home.moving.is_none()) {
                self.room.free(home.range);
            }
        }
        self.seen.pop();
    }

    /// A loop.
    pub(super) fn for_loop(&mut self, inst: &Inst, step: i64, phases: &[Phase], params: &[Value], body: &Region) {
        self.homes_before(body);
        let mut carries = Vec::new();
        for (init, param) in inst.args.iter().zip(&params[2..]) {
            let layout = self.own(*param);
            let slots = self.slots(*param, &layout);
            let values = self.spread(*init, &layout);
            self.assign(self.dtype(*param), &slots, &values);
            carries.push((*param, layout, slots));
        }
        let guarded = if phases.len() == 1 { Guarded::of(self.kernel, params, body) } else { None };
        let work = guarded.as_ref().map_or(body, |guarded| guarded.work);
        let ring = self.open_ring(step, phases, params, (body, work));
        if ring.is_none() {
            self.copies_done();
        }
        let mut rest = phases;
        if let (Some(guarded), Some(ring)) = (&guarded, &ring) {
            self.seeking(&phases[0], params, &carries, guarded, ring);
            self.stop_ring(ring, true);
            rest = &[];
        }
        while !rest.is_empty() {
            // Phases that go on where the last one ends share what is under way.
            let joined = 1 + rest.windows(2).take_while(|pair| pair[0].hi == pair[1].lo).count();
            let (together, later) = rest.split_at(joined);
            let ends: Vec<Value> = together.iter().map(|phase| phase.hi).collect();
            if let Some(ring) = &ring {
                self.start_ring(ring, together[0].lo, &ends, &mut |_| {});
            }
            for phase in together {
                self.phase(phase, step, params, &carries, body, ring.as_ref());
            }
            if let Some(ring) = &ring {
                self.stop_ring(ring, later.is_empty());
            }
            rest = later;
        }
        for (result, (_, _, slots)) in inst.results.iter().zip(&carries) {
            self.define(*result, |_, _| slots.clone());
        }
    }

    fn phase(
        &mut self,
        phase: &Phase,
        step: i64,
        params: &[Value],
        carries: &[(Value, Layout, Vec<Reg>)],
        body: &Region,
        ring: Option<&Ring>,
    ) {
        let (lo, hi) = (self.scalar(phase.lo), self.scalar(phase.hi));
        let position = self.c.b.mov(Word::B64, lo);
        let [head, inside, done] = ["loop", "turn", "done"].map(|name| self.c.b.block(name));
        self.c.b.place(head);
        self.fence = Fence::unknown();
        let over = self.c.compare(Word::Ge, DType::I64, position, hi);
        self.c.b.branch(Guard::when(over), done);
        self.c.b.place(inside);
        self.scope(|s| {
            s.known.insert(params[1], phase.edge);
            s.define_scalar(params[0], position);
            let edge = s.c.truth(phase.edge);
            s.define_scalar(params[1], edge);
            for (param, _, slots) in carries {
                s.define(*param, |_, _| slots.clone());
            }
            if let Some(ring) = ring {
                s.turn_ring(ring, &mut |_| {});
            }
            s.region(body);
            let next: Vec<Vec<Reg>> =
                body.yields.iter().zip(carries).map(|(next, (_, layout, _))| s.read(*next, layout).1).collect();
            s.hand_on(carries, next);
            s.c.b.assign(Op::Add, &[Word::S64], position, &[position.into(), step.into()]);
            if let Some(ring) = ring {
                s.next_slot(ring);
            }
            s.c.b.bra(head);
        });
        self.c.b.place(done);
        self.fence = Fence::unknown();
    }

    /// Assigns the next carries; one that another carry's old value goes to is copied first.
    pub(super) fn hand_on(&mut self, carries: &[(Value, Layout, Vec<Reg>)], next: Vec<Vec<Reg>>) {
        let slots: Vec<Reg> = carries.iter().flat_map(|(_, _, slots)| slots.iter().copied()).collect();
        let mut moves = Vec::new();
        for ((param, _, slots_of), values) in carries.iter().zip(next) {
            let dtype = self.dtype(*param);
            for (slot, value) in slots_of.iter().zip(values) {
                if *slot == value {
                    continue;
                }
                let mut value = value;
                if slots.contains(&value) {
                    let copy = self.c.b.reg(code::class(dtype));
                    self.c.set(dtype, copy, value);
                    value = copy;
                }
                moves.push((dtype, *slot, value));
            }
        }
        for (dtype, slot, value) in moves {
            self.c.set(dtype, slot, value);
        }
    }

    /// A branch; where the condition is known, one side alone.
    pub(super) fn choose(&mut self, inst: &Inst, then: &Region, otherwise: &Region) {
        if let Some(known) = self.known.get(&inst.args[0]).copied() {
            let taken = if known { then } else { otherwise };
            self.region(taken);
            for (result, value) in inst.results.iter().zip(&taken.yields) {
                let layout = self.own(*result);
                let regs = self.read(*value, &layout).1;
                self.define(*result, |_, _| regs.clone());
            }
            return;
        }
        self.copies_done();
        let condition = self.scalar(inst.args[0]);
        let results: Vec<(Value, Layout, Vec<Reg>)> = inst
            .results
            .iter()
            .map(|result| {
                let layout = self.own(*result);
                let slots = self.slots(*result, &layout);
                (*result, layout, slots)
            })
            .collect();
        let [yes, no, joined] = ["then", "else", "joined"].map(|name| self.c.b.block(name));
        self.c.b.branch(Guard::unless(condition), no);
        self.c.b.place(yes);
        let before = self.fence.clone();
        self.side(then, &results);
        self.c.b.bra(joined);
        self.c.b.place(no);
        self.fence = before;
        self.side(otherwise, &results);
        self.c.b.place(joined);
        self.fence = Fence::unknown();
        for (result, _, slots) in &results {
            self.define(*result, |_, _| slots.clone());
        }
    }
    fn side(&mut self, region: &Region, results: &[(Value, Layout, Vec<Reg>)]) {
        self.scope(|s| {
            s.region(region);
            for ((result, layout, slots), value) in results.iter().zip(&region.yields) {
                let regs = s.read(*value, layout).1;
                s.assign(s.dtype(*result), slots, &regs);
            }
        });
    }
}
