//! Reductions and folds: axes that fit one tile are combined at once, the others in loops over tiles that carry the state.
//!
//! A fold's step takes a whole tile: components are combined in the order in which they read each other's new value, and a
//! state is repaired once per tile, not where nothing was folded yet (what it depends on is still the identity). This is a
//! reading of the fold: its components form a monoid, so any grouping of elements gives the same value up to rounding.

use super::choose::Chosen;
use super::emit::{Emit, Scope, State};
use super::phase::Guard;
use super::{Lowered, Stop};
use crate::schedule::Role;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Component, Const, Op, Repair, TermId};
use sawmill_ir::index::{AxisId, Index};
use sawmill_ir::tile::{self, Type, Value};
use std::collections::BTreeSet;

/// One folded value.
#[derive(Clone, Copy)]
pub(super) struct Folded {
    pub(super) op: ReduceOp,
    /// What is combined where its condition holds.
    pub(super) element: TermId,
    pub(super) condition: Option<TermId>,
    repair: Option<(Repair, TermId)>,
}

/// What the elements of a step are combined over, and what must be excluded.
#[derive(Clone, Default)]
pub(super) struct Step {
    /// Summed tile axes.
    pub(super) over: Vec<tile::AxisId>,
    /// Summed graph axes whose tiles may pass the end, and when.
    pub(super) bounds: Vec<(AxisId, Guard)>,
    /// When conditions apply.
    pub(super) masked: Option<Guard>,
}

/// A loop's body: the step, the carries; gives the next ones.
pub(super) type Body<'b, 'a> = &'b mut dyn FnMut(&mut Emit<'a>, &Step, &[Value]) -> Lowered<Vec<Value>>;

impl<'a> Emit<'a> {
    /// The reduction of `element` over `axes`.
    pub(super) fn reduction(&mut self, op: ReduceOp, axes: &[AxisId], element: TermId) -> Lowered<Value> {
        let folded = self.folded(op, element, None);
        Ok(self.fold_all(axes, &[folded])?[0])
    }

    /// The components of a fold.
    pub(super) fn fold(&mut self, axes: &[AxisId], components: &[Component], args: &[TermId]) -> Lowered<Vec<Value>> {
        let (elements, mut repairs) = args.split_at(components.len().min(args.len()));
        let mut folded = Vec::new();
        for (component, element) in components.iter().zip(elements) {
            let mut repair = None;
            if component.repair != Repair::None {
                let (first, rest) =
                    repairs.split_first().ok_or_else(|| Stop::Bug("a repair without operand".to_owned()))?;
                repair = Some((component.repair, *first));
                repairs = rest;
            }
            folded.push(self.folded(component.op, *element, repair));
        }
        if folded.len() != components.len() {
            return Err(Stop::Bug("a fold lacks operands".to_owned()));
        }
        self.fold_all(axes, &folded)
    }

    fn folded(&self, op: ReduceOp, element: TermId, repair: Option<(Repair, TermId)>) -> Folded {
        let term = &self.program.function.terms[element];
        match term.op {
            Op::Where => Folded { op, element: term.args[0], condition: Some(term.args[1]), repair },
            _ => Folded { op, element, condition: None, repair },
        }
    }

    fn fold_all(&mut self, axes: &[AxisId], folded: &[Folded]) -> Lowered<Vec<Value>> {
        let order = self.order(folded)?;
        let mut depends: Vec<BTreeSet<AxisId>> = vec![BTreeSet::new(); folded.len()];
        for at in &order {
            let of = folded[*at];
            let mut free = BTreeSet::new();
            for term in [Some(of.element), of.condition, of.repair.map(|r| r.1)].into_iter().flatten() {
                let fact = self.program.facts.get(term);
                free.extend(fact.axes.iter().copied());
                free.extend(fact.state.iter().flat_map(|s| depends.get(*s as usize).cloned().unwrap_or_default()));
            }
            free.retain(|a| !axes.contains(a));
            depends[*at] = free;
        }
        let maxima: Vec<bool> = folded.iter().map(|f| f.op == ReduceOp::Max).collect();
        let mut inits = Vec::new();
        let mut types = Vec::new();
        let mut identities = Vec::new();
        for (of, free) in folded.iter().zip(&depends) {
            let dtype = self.program.function.terms[of.element].dtype;
            let tiles = self.tile_axes(free);
            if of.op.chooses() {
                let none = self.none_chosen(of.op, dtype)?;
                inits.push(none.position);
                types.push(Type::tile(DType::I64, tiles.clone()));
                identities.push(none.value);
            } else {
                identities.push(self.identity(of.op, dtype)?);
            }
            inits.extend(identities.last());
            types.push(Type::tile(dtype, tiles));
        }
        let conditions: Vec<Option<TermId>> = folded.iter().map(|f| f.condition).collect();
        let terms: Vec<TermId> =
            folded.iter().flat_map(|f| [Some(f.element), f.condition, f.repair.map(|r| r.1)]).flatten().collect();
        let states = self.loops(axes, &terms, &conditions, &inits, types, &mut |e, step, carries| {
            let held = grouped(folded, carries);
            let last = |state: &Vec<Value>| state.last().copied();
            let state = State {
                old: if carries.is_empty() { identities.clone() } else { held.iter().filter_map(last).collect() },
                new: vec![None; folded.len()],
                maxima: maxima.clone(),
                depends: depends.clone(),
                generation: e.space.generation(),
            };
            e.folds.push(state);
            let result = e.fold_step(step, axes, folded, &order, &identities, &held);
            e.folds.pop();
            result
        })?;
        let mut results = Vec::new();
        for (of, state) in folded.iter().zip(grouped(folded, &states)) {
            results.push(match state.as_slice() {
                [position, value] => self.chosen(*of, Chosen { position: *position, value: *value })?,
                [value] => *value,
                _ => return Err(Stop::Bug("a component without a state".to_owned())),
            });
        }
        Ok(results)
    }

    fn fold_step(
        &mut self,
        step: &Step,
        axes: &[AxisId],
        folded: &[Folded],
        order: &[usize],
        identities: &[Value],
        held: &[Vec<Value>],
    ) -> Lowered<Vec<Value>> {
        let mut new = vec![Vec::new(); folded.len()];
        for at in order {
            let of = folded[*at];
            // Without carries this is the only step: there is nothing to repair.
            let old = held.get(*at).map_or(&[][..], Vec::as_slice);
            new[*at] = if of.op.chooses() {
                let old = match old {
                    [position, value] => Some(Chosen { position: *position, value: *value }),
                    _ => None,
                };
                let chosen = self.choose_step(step, of, axes, old)?;
                vec![chosen.position, chosen.value]
            } else {
                let acc = match old {
                    [old] => Some(self.repaired(*old, of, identities)?),
                    _ => None,
                };
                vec![self.contract(step, of, acc)?]
            };
            let value = new[*at].last().copied();
            if let Some(state) = self.folds.last_mut() {
                state.new[*at] = value;
            }
        }
        Ok(new.concat())
    }

    /// The state moved to where the components it depends on are now.
    fn repaired(&mut self, old: Value, of: Folded, identities: &[Value]) -> Lowered<Value> {
        let Some((repair, by)) = of.repair else { return Ok(old) };
        let dtype = self.dtype(old);
        let neutral = self.constant(Const::float(if repair == Repair::Scale { 1.0 } else { 0.0 }), dtype)?;
        let mut by_value = self.term(by)?;
        let parts: Vec<u32> = self.program.facts.get(by).state.iter().copied().collect();
        for part in parts {
            let part = part as usize;
            let before = self.folds.last().and_then(|s| s.old.get(part)).copied();
            let (Some(before), Some(identity)) = (before, identities.get(part)) else { continue };
            let nothing = self.elem(ElemOp::Eq, &[before, *identity])?;
            by_value = self.elem(ElemOp::Select, &[nothing, neutral, by_value])?;
        }
        match repair {
            Repair::Scale => self.elem(ElemOp::Mul, &[old, by_value]),
            Repair::Shift => self.elem(ElemOp::Add, &[old, by_value]),
            Repair::None => Ok(old),
        }
    }

    /// Components such that each comes after those whose new value it reads.
    fn order(&self, folded: &[Folded]) -> Lowered<Vec<usize>> {
        let mut order: Vec<usize> = Vec::new();
        while order.len() < folded.len() {
            let ready = (0..folded.len()).find(|at| {
                let reads = [Some(folded[*at].element), folded[*at].condition, folded[*at].repair.map(|r| r.1)];
                let mut parts = reads.into_iter().flatten().flat_map(|t| self.program.facts.get(t).state.iter());
                !order.contains(at) && parts.all(|p| *p as usize == *at || order.contains(&(*p as usize)))
            });
            order
                .push(ready.ok_or_else(|| {
                    Stop::Bug("the components of a fold depend on each other in a circle".to_owned())
                })?);
        }
        Ok(order)
    }

    /// The tile axes of graph axes as they are placed.
    pub(super) fn tile_axes(&self, axes: &BTreeSet<AxisId>) -> Vec<tile::AxisId> {
        axes.iter().filter_map(|a| self.space.get(*a)).flat_map(|p| self.space.tile_axes(&p.position)).collect()
    }

    /// Those of `over` that a value has.
    pub(super) fn own(&self, value: Value, over: &[tile::AxisId]) -> Vec<tile::AxisId> {
        let axes = &self.b.type_of(value).axes;
        over.iter().filter(|a| axes.contains(a)).copied().collect()
    }

    /// Combines over `axes`: places those that fit a tile, opens loops over the others, hands the step to `body`. Without a
    /// loop, `body` gets no carries.
    fn loops(
        &mut self,
        axes: &[AxisId],
        terms: &[TermId],
        conditions: &[Option<TermId>],
        inits: &[Value],
        types: Vec<Type>,
        body: Body<'_, 'a>,
    ) -> Lowered<Vec<Value>> {
        let (whole, looped): (Vec<AxisId>, Vec<AxisId>) = axes.iter().partition(|a| self.is_whole(**a));
        let mut step = Step::default();
        let mut shadowed = Vec::new();
        let mut free: BTreeSet<AxisId> = terms.iter().flat_map(|t| self.program.facts.get(*t).axes.clone()).collect();
        free.retain(|a| !axes.contains(a));
        let mut used: BTreeSet<tile::AxisId> = self.tile_axes(&free).into_iter().collect();
        for axis in &whole {
            let (before, partial) = self.place_whole(*axis, &used)?;
            used.extend(self.tile_axes(&BTreeSet::from([*axis])));
            shadowed.extend(before.map(|b| (*axis, b)));
            step.over.extend(self.tile_axes(&BTreeSet::from([*axis])));
            step.bounds.push((*axis, if partial { Guard::Always } else { Guard::Never }));
        }
        let result = if looped.is_empty() {
            step.masked = Some(Guard::Always);
            body(self, &step, &[])
        } else {
            let mut seen = BTreeSet::new();
            terms.iter().try_for_each(|t| self.hoist(*t, &looped, &mut seen))?;
            self.nest(&looped, (terms, conditions), inits, types, step, body)
        };
        for (axis, before) in shadowed {
            self.space.restore(axis, Some(before));
        }
        result
    }

    fn nest(
        &mut self,
        looped: &[AxisId],
        (terms, conditions): (&[TermId], &[Option<TermId>]),
        inits: &[Value],
        types: Vec<Type>,
        mut step: Step,
        body: Body<'_, 'a>,
    ) -> Lowered<Vec<Value>> {
        let [axis, inner @ ..] = looped else { return Err(Stop::Bug("a loop over nothing".to_owned())) };
        let extent = self.schedule.reduce.get(axis).copied().unwrap_or(1);
        let (tile, tile_axes, unit) = self.cut(*axis, extent)?;
        let count = tile_axes.first().map_or(1, |a| i64::from(self.b.extent(*a)));
        let innermost = inner.is_empty();
        // What is read from a start on is read at the loop's position.
        let ahead = match self.program.starts.get(axis).filter(|_| unit == 1) {
            Some(start) => Some(self.symbolic(start)?).filter(|start| self.space.tile_axes(start).is_empty()),
            None => None,
        };
        let ahead = ahead.unwrap_or_default();
        let phases = self.phases(*axis, (count, unit), &ahead, if innermost { conditions } else { &[] })?;
        let spans = if innermost && phases.by_data { self.spans(*axis, conditions)? } else { None };
        let head = self.b.open_loop(types.clone());
        self.scopes.push(Scope::default());
        let start = self.scalar_symbol(head.position);
        let before = self.space.place(*axis, start.scale(unit).add(&tile).sub(&ahead), false);
        let guard = phases.guard(head.edge);
        step.over.extend(tile_axes);
        step.bounds.push((*axis, if phases.partial { guard } else { Guard::Never }));
        let yields = if innermost {
            step.masked = Some(guard);
            match &spans {
                Some(spans) => self.admitted(&step, spans, terms, &head.carries, body),
                None => body(self, &step, &head.carries),
            }
        } else {
            self.nest(inner, (terms, conditions), &head.carries, types, step, body)
        };
        self.space.restore(*axis, before);
        self.scopes.pop();
        self.b.close_loop(head, count, phases.phases, inits, yields)
    }

    /// Whether a summed axis is one whole tile.
    fn is_whole(&self, axis: AxisId) -> bool {
        let tile = self.schedule.reduce.get(&axis).copied().unwrap_or(1);
        self.extent(axis).as_int().is_some_and(|extent| extent <= tile)
    }

    /// Places an axis as one tile, unless it is already; gives a placement that is shadowed, and whether the tile passes the
    /// axis' end. The tile is that of a row as long as the axis, if there is one; never one of `used`, which other axes of what is
    /// combined lie in.
    fn place_whole(
        &mut self,
        axis: AxisId,
        used: &BTreeSet<tile::AxisId>,
    ) -> Lowered<(Option<super::space::Placed>, bool)> {
        let extent = self.extent(axis).as_int().unwrap_or(1);
        let apart = |e: &Self, position: &Index| e.space.tile_axes(position).iter().all(|a| !used.contains(a));
        if let Some(home) = self.homes.get(&axis).cloned() {
            if self.space.get(axis).is_some_and(|p| p.whole && apart(self, &p.position)) {
                return Ok((None, false));
            }
            let position = if apart(self, &home) { home } else { self.cut(axis, extent)?.0 };
            return Ok((self.space.place(axis, position, true), false));
        }
        let unit = self.program.chains.get(&axis).and_then(|c| c.iter().find(|u| **u <= extent)).copied().unwrap_or(1);
        let partial = extent % unit != 0 || extent == 0;
        if self.space.get(axis).is_some_and(|p| p.whole && apart(self, &p.position)) {
            return Ok((None, partial));
        }
        let chain = |a: &AxisId| self.program.chains.get(a);
        let rows =
            self.schedule.free.iter().filter(|(row, role)| *role == Role::Row(extent) && chain(row) == chain(&axis));
        let mut rows = rows.filter_map(|(row, _)| self.space.get(*row)).map(|p| p.position.clone());
        let position = match rows.find(|position| apart(self, position)) {
            Some(position) => position,
            None => self.cut(axis, extent)?.0,
        };
        Ok((self.space.place(axis, position, true), partial))
    }

    /// Computes what the loops over `looped` do not change.
    pub(super) fn hoist(&mut self, id: TermId, looped: &[AxisId], seen: &mut BTreeSet<TermId>) -> Lowered<()> {
        if !seen.insert(id) {
            return Ok(());
        }
        let fact = self.program.facts.get(id);
        let moves = |axes: &BTreeSet<AxisId>| looped.iter().any(|a| axes.contains(a));
        let function = self.program.function;
        let term = &function.terms[id];
        if fact.state.is_empty() && !moves(&fact.axes) {
            if !matches!(term.op, Op::Const(_) | Op::Index(_)) && fact.axes.iter().all(|a| self.space.get(*a).is_some())
            {
                self.term(id)?;
            }
            return Ok(());
        }
        if let Op::Reduce { axes, .. } | Op::Fold { axes, .. } = &term.op {
            if !axes.iter().all(|a| self.is_whole(*a) && (self.space.get(*a).is_none_or(|p| p.whole))) {
                return Ok(());
            }
            let mut used: BTreeSet<tile::AxisId> = self.tile_axes(&fact.axes).into_iter().collect();
            for axis in axes {
                self.place_whole(*axis, &used)?;
                used.extend(self.tile_axes(&BTreeSet::from([*axis])));
            }
            if let Op::Reduce { op: ReduceOp::Sum, .. } = term.op {
                self.hoist_product(term.args[0], looped)?;
            }
        }
        term.args.iter().try_for_each(|arg| self.hoist(*arg, looped, seen))
    }
}

/// The states of each component: a value, or a position and a value. None are given where there are no carries.
fn grouped(folded: &[Folded], states: &[Value]) -> Vec<Vec<Value>> {
    let mut rest = states;
    let mut groups = Vec::new();
    for of in folded {
        let Some((own, more)) = rest.split_at_checked(if of.op.chooses() { 2 } else { 1 }) else { break };
        groups.push(own.to_vec());
        rest = more;
    }
    groups
}

/// The elementwise operation that combines two values of a reduction.
pub(super) fn combine(op: ReduceOp) -> Option<ElemOp> {
    Some(match op {
        ReduceOp::Sum => ElemOp::Add,
        ReduceOp::Prod => ElemOp::Mul,
        ReduceOp::Max => ElemOp::Max,
        ReduceOp::Min => ElemOp::Min,
        ReduceOp::Any => ElemOp::Or,
        ReduceOp::All => ElemOp::And,
        _ => return None,
    })
}
