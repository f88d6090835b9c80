//! One step of a reduction: elements of a tile combined over tile axes, what does not take part left out.
//!
//! A sum of products whose factors fall into two groups is an `mma` of the groups' products; anything else is mapped and
//! reduced. What must be left out (past the end of an axis, or where a condition fails) is replaced by what combining
//! nothing gives, by a select. In an `mma` one group is replaced by 0; past the end of an axis both are, unless loads give 0
//! there already, for 0 * inf is no 0; for conditions see `masked`.

use super::emit::Emit;
use super::fold::{Folded, Step, combine};
use super::phase::Guard;
use super::{Lowered, Stop};
use crate::schedule::factors;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::{Const, Elem, Function, Op, TermId};
use sawmill_ir::index::{Atom, AxisId, Index};
use sawmill_ir::tile::{self, Value};
use std::collections::BTreeSet;

/// The two groups of factors of a product.
type Groups = (Vec<TermId>, Vec<TermId>);

/// What leaves an element out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excluded {
    /// It lies past the end of an axis.
    Past(AxisId),
    /// A condition fails.
    Unless(TermId),
}

impl Emit<'_> {
    /// Elements of a step combined, with `acc` if given.
    pub(super) fn contract(&mut self, step: &Step, of: Folded, acc: Option<Value>) -> Lowered<Value> {
        if let Some(groups) = self.groups(of, step) {
            return self.product_sum(step, of, groups, acc);
        }
        let x = self.term(of.element)?;
        let masked = self.excluded(step, x, of.condition, of.op)?;
        let masked = self.repeated(masked, of.op, &step.over)?;
        let over = self.own(masked, &step.over);
        let combined = if over.is_empty() { masked } else { self.b.reduce(of.op, masked, over)? };
        self.with(of.op, acc, combined)
    }

    fn with(&mut self, op: ReduceOp, acc: Option<Value>, value: Value) -> Lowered<Value> {
        let Some(acc) = acc else { return Ok(value) };
        let combine = combine(op).ok_or_else(|| Stop::Bug(format!("`{op}` has no accumulator")))?;
        self.elem(combine, &[acc, value])
    }

    /// A summed value repeated over the summed axes that it does not depend on; what several equal elements do not change is
    /// left alone.
    fn repeated(&mut self, x: Value, op: ReduceOp, over: &[tile::AxisId]) -> Lowered<Value> {
        if matches!(op, ReduceOp::Sum | ReduceOp::Prod) { self.spread(x, over) } else { Ok(x) }
    }

    /// A value repeated over the axes that it lacks.
    pub(super) fn spread(&mut self, x: Value, axes: &[tile::AxisId]) -> Lowered<Value> {
        let mut x = x;
        for axis in axes {
            if !self.b.type_of(x).axes.contains(axis) {
                let zero = self.int(0)?;
                let at = self.b.coord(*axis, zero)?;
                let there = self.elem(ElemOp::Ge, &[at, zero])?;
                x = self.elem(ElemOp::Select, &[there, x, x])?;
            }
        }
        Ok(x)
    }

    /// `x` where its elements take part, else what combining nothing with `op` gives.
    pub(super) fn excluded(
        &mut self,
        step: &Step,
        x: Value,
        condition: Option<TermId>,
        op: ReduceOp,
    ) -> Lowered<Value> {
        let mut out: Vec<(Excluded, Guard)> = step.bounds.iter().map(|(a, g)| (Excluded::Past(*a), *g)).collect();
        out.extend(condition.map(|c| (Excluded::Unless(c), step.masked.unwrap_or(Guard::Always))));
        let dtype = self.dtype(x);
        let identity = self.identity(op, dtype)?;
        self.leave_out(x, &out, identity)
    }

    fn leave_out(&mut self, x: Value, out: &[(Excluded, Guard)], identity: Value) -> Lowered<Value> {
        let what: Vec<Excluded> = out.iter().filter(|(_, g)| *g != Guard::Never).map(|(e, _)| *e).collect();
        let mut flags = Vec::new();
        for (_, guard) in out {
            if let Guard::Edge(flag) = guard {
                flags.push(*flag);
            }
        }
        flags.dedup();
        if what.is_empty() {
            return Ok(x);
        }
        if out.iter().any(|(_, g)| *g == Guard::Always) {
            return self.select_in(x, &what, identity);
        }
        let flag = match flags.as_slice() {
            [flag] => *flag,
            flags => self.elem(ElemOp::Or, flags)?,
        };
        // A condition may have axes that the element lacks; both branches have those of the result.
        let then = self.region(|e| Ok(vec![e.select_in(x, &what, identity)?]))?;
        let axes = then.yields.first().map_or(Vec::new(), |v| self.b.type_of(*v).axes.clone());
        let otherwise = self.region(|e| Ok(vec![e.spread(x, &axes)?]))?;
        Ok(self.b.choose(flag, then, otherwise)?[0])
    }

    fn select_in(&mut self, x: Value, out: &[Excluded], identity: Value) -> Lowered<Value> {
        let mut inside = Vec::new();
        for what in out {
            inside.push(match what {
                Excluded::Past(axis) => self.before_end(*axis)?,
                Excluded::Unless(condition) => self.term(*condition)?,
            });
        }
        let inside = if inside.len() == 1 { inside[0] } else { self.elem(ElemOp::And, &inside)? };
        self.elem(ElemOp::Select, &[inside, x, identity])
    }

    /// Whether positions lie before the end of an axis.
    pub(super) fn before_end(&mut self, axis: AxisId) -> Lowered<Value> {
        let at = self.index(&Index::axis(axis))?;
        let end = self.index(&self.extent(axis))?;
        self.elem(ElemOp::Lt, &[at, end])
    }

    /// The groups of a sum of products over the tile axes of a step; `None` if it is none.
    fn groups(&self, of: Folded, step: &Step) -> Option<Groups> {
        let function = self.program.function;
        if of.op != ReduceOp::Sum || !function.terms[of.element].dtype.is_float() {
            return None;
        }
        self.split_factors(&factors(function, of.element), &step.over)
    }

    /// Factors in two groups, by which axes that are not summed they have. Factors that are not summed over go with a group
    /// that has all their axes.
    fn split_factors(&self, factors: &[TermId], over: &[tile::AxisId]) -> Option<Groups> {
        let mut groups: Vec<(BTreeSet<tile::AxisId>, Vec<TermId>)> = Vec::new();
        let mut apart: Vec<(BTreeSet<tile::AxisId>, TermId)> = Vec::new();
        for factor in factors {
            let axes = self.factor_axes(*factor);
            let free: BTreeSet<tile::AxisId> = axes.iter().filter(|a| !over.contains(a)).copied().collect();
            if free.len() == axes.len() {
                apart.push((free, *factor));
                continue;
            }
            match groups.iter_mut().find(|(f, _)| *f == free) {
                Some((_, group)) => group.push(*factor),
                None => groups.push((free, vec![*factor])),
            }
        }
        while groups.len() > 2 {
            let (a, b) = self.closest(&groups);
            let (free, members) = groups.remove(b);
            groups[a].0.extend(free);
            groups[a].1.extend(members);
        }
        let [(free_a, a), (free_b, b)] = groups.as_mut_slice() else { return None };
        if free_a.is_empty() && free_b.is_empty() {
            return None;
        }
        let size =
            |axes: &BTreeSet<tile::AxisId>| -> u64 { axes.iter().map(|x| u64::from(self.b.extent(*x))).product() };
        for (free, factor) in apart {
            let grown = |group: &BTreeSet<tile::AxisId>| size(&group.union(&free).copied().collect());
            if grown(free_a) <= grown(free_b) {
                free_a.extend(free);
                a.push(factor);
            } else {
                b.push(factor);
            }
        }
        Some((std::mem::take(a), std::mem::take(b)))
    }

    /// The two groups whose union is smallest.
    fn closest(&self, groups: &[(BTreeSet<tile::AxisId>, Vec<TermId>)]) -> (usize, usize) {
        let size = |a: usize, b: usize| -> u64 {
            groups[a].0.union(&groups[b].0).map(|x| u64::from(self.b.extent(*x))).product()
        };
        let pairs = (0..groups.len()).flat_map(|a| (a + 1..groups.len()).map(move |b| (a, b)));
        pairs.min_by_key(|(a, b)| size(*a, *b)).unwrap_or((0, 1))
    }

    fn factor_axes(&self, factor: TermId) -> BTreeSet<tile::AxisId> {
        let fact = self.program.facts.get(factor);
        let mut axes = fact.axes.clone();
        if let Some(state) = self.folds.last() {
            axes.extend(fact.state.iter().flat_map(|s| state.depends.get(*s as usize).cloned().unwrap_or_default()));
        }
        self.tile_axes(&axes).into_iter().collect()
    }

    /// Computes the product of those factors of `element` that loops over `looped` do not change.
    pub(super) fn hoist_product(&mut self, element: TermId, looped: &[AxisId]) -> Lowered<()> {
        let all = factors(self.program.function, element);
        let still = |t: &TermId| {
            let fact = self.program.facts.get(*t);
            fact.state.is_empty() && fact.axes.iter().all(|a| !looped.contains(a) && self.space.get(*a).is_some())
        };
        let fixed: Vec<TermId> = all.iter().filter(|f| still(f)).copied().collect();
        if fixed.len() > 1 && fixed.len() < all.len() {
            self.product(&fixed)?;
        }
        Ok(())
    }

    fn product_sum(&mut self, step: &Step, of: Folded, (a, b): Groups, acc: Option<Value>) -> Lowered<Value> {
        let (x, y) = (self.product(&a)?, self.product(&b)?);
        let format = self.matrix_format(step, (x, &a), (y, &b));
        // The condition goes to the group that has more of its axes, then to the smaller one.
        let (mut main, mut other) = ((x, a), (y, b));
        if let Some(condition) = of.condition {
            let wanted = self.factor_axes(condition);
            let rank = |e: &Self, v: Value| {
                let axes = &e.b.type_of(v).axes;
                let size: u64 = axes.iter().map(|t| u64::from(e.b.extent(*t))).product();
                (axes.iter().filter(|t| wanted.contains(t)).count(), std::cmp::Reverse(size))
            };
            if rank(self, other.0) > rank(self, main.0) {
                std::mem::swap(&mut main, &mut other);
            }
        }
        let mut main_out = Vec::new();
        let mut other_out = Vec::new();
        for (axis, guard) in &step.bounds {
            let past = (Excluded::Past(*axis), *guard);
            // 0 past the end needs a factor that is 0 there, and no other one that is infinite.
            let zero =
                |e: &Self, group: &[TermId]| group.iter().any(|f| e.vanishes(*f, *axis)) && e.all_tame(group, *axis);
            if !(zero(self, &other.1) && self.all_tame(&main.1, *axis)) {
                main_out.push(past);
            }
            if !self.all_tame(&other.1, *axis) {
                other_out.push(past);
            }
        }
        main_out.extend(of.condition.map(|c| (Excluded::Unless(c), step.masked.unwrap_or(Guard::Always))));
        let zero = self.constant(Const::float(0.0), self.dtype(main.0))?;
        let x = self.leave_out(main.0, &main_out, zero)?;
        let y = self.leave_out(other.0, &other_out, zero)?;
        let x = self.for_matrix_unit(x, &main.1, format)?;
        let y = self.for_matrix_unit(y, &other.1, format)?;
        match of.condition {
            Some(condition) => self.masked_sum(step, (x, y), condition, acc),
            None => self.mma(x, y, step, acc),
        }
    }

    /// The type in which a matrix unit may multiply two groups of factors: that of the one which is stored in it. Each group must
    /// have an axis of its own, so that the product is one of matrices.
    fn matrix_format(&self, step: &Step, (x, a): (Value, &[TermId]), (y, b): (Value, &[TermId])) -> Option<DType> {
        let function = self.program.function;
        let unit = self.program.matrix;
        let stored = |group: &[TermId]| stored_format(function, group).filter(|f| unit.contains(f));
        let format = match (stored(a), stored(b)) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.or(b)?,
        };
        let [x, y] = [x, y].map(|v| self.b.type_of(v));
        let free = |own: &tile::Type, other: &tile::Type| {
            own.axes.iter().any(|a| !step.over.contains(a) && !other.axes.contains(a))
        };
        (x.dtype == DType::F32 && y.dtype == DType::F32 && free(x, y) && free(y, x)).then_some(format)
    }

    /// A factor in the matrix unit's type: as it is stored, or rounded.
    fn for_matrix_unit(&mut self, x: Value, group: &[TermId], format: Option<DType>) -> Lowered<Value> {
        match format {
            Some(format) if stored_format(self.program.function, group) != Some(format) => {
                Ok(self.b.round(x, format)?)
            }
            _ => Ok(x),
        }
    }

    /// The sum over the step's axes of x * y. What only one of them has is summed before.
    pub(super) fn mma(&mut self, x: Value, y: Value, step: &Step, acc: Option<Value>) -> Lowered<Value> {
        let (has_x, has_y) = (self.own(x, &step.over), self.own(y, &step.over));
        let missing = step.over.iter().any(|a| !has_x.contains(a) && !has_y.contains(a));
        let both: Vec<tile::AxisId> = has_x.iter().filter(|a| has_y.contains(a)).copied().collect();
        if both.is_empty() || missing {
            let product = self.elem(ElemOp::Mul, &[x, y])?;
            let product = self.repeated(product, ReduceOp::Sum, &step.over)?;
            let sum = self.b.reduce(ReduceOp::Sum, product, step.over.clone())?;
            return self.with(ReduceOp::Sum, acc, sum);
        }
        let x = self.sum_rest(x, &has_x, &both)?;
        let y = self.sum_rest(y, &has_y, &both)?;
        let free = |e: &Self, v: Value| {
            e.b.type_of(v).axes.iter().filter(|a| !both.contains(a)).copied().collect::<BTreeSet<_>>()
        };
        let result: BTreeSet<tile::AxisId> = free(self, x).union(&free(self, y)).copied().collect();
        let fits = acc.is_some_and(|acc| result.iter().eq(self.b.type_of(acc).axes.iter()));
        if fits {
            return Ok(self.b.mma(x, y, acc, both)?);
        }
        let sum = self.b.mma(x, y, None, both)?;
        self.with(ReduceOp::Sum, acc, sum)
    }

    fn sum_rest(&mut self, x: Value, has: &[tile::AxisId], both: &[tile::AxisId]) -> Lowered<Value> {
        let rest: Vec<tile::AxisId> = has.iter().filter(|a| !both.contains(a)).copied().collect();
        if rest.is_empty() { Ok(x) } else { Ok(self.b.reduce(ReduceOp::Sum, x, rest)?) }
    }

    /// Whether a factor is 0 past the end of `axis`, because that is outside of the memory it is loaded from.
    fn vanishes(&self, id: TermId, axis: AxisId) -> bool {
        let term = &self.program.function.terms[id];
        match &term.op {
            Op::Read { tensor, subs, .. } => {
                let shape = &self.program.function.tensors[*tensor].shape;
                subs.iter().zip(shape).any(|(sub, size)| ends_with(sub, size, axis, &self.extent(axis)))
            }
            Op::Cast(_) | Op::Round(_) | Op::Elem(ElemOp::Neg | ElemOp::BitAnd | ElemOp::Shr) => {
                self.vanishes(term.args[0], axis)
            }
            Op::Elem(ElemOp::Mul) => {
                term.args.iter().any(|a| self.vanishes(*a, axis)) && term.args.iter().all(|a| self.is_tame(*a, axis))
            }
            Op::Elem(ElemOp::Add | ElemOp::Sub) => term.args.iter().all(|a| self.vanishes(*a, axis)),
            _ => false,
        }
    }
    /// Whether a factor is finite past the end of `axis`.
    fn is_tame(&self, id: TermId, axis: AxisId) -> bool {
        let term = &self.program.function.terms[id];
        match &term.op {
            Op::Const(Const::Float(bits)) => f64::from_bits(*bits).is_finite(),
            Op::Const(_) | Op::Index(_) => true,
            Op::Cast(_) if self.program.function.terms[term.args[0]].dtype.is_int() => true,
            _ => self.vanishes(id, axis),
        }
    }
    fn all_tame(&self, factors: &[TermId], axis: AxisId) -> bool {
        factors.iter().all(|f| self.is_tame(*f, axis))
    }
}

/// The type of 16 bits that a group of factors is stored in, if it is one element of a tensor.
pub(crate) fn stored_format(function: &Function, group: &[TermId]) -> Option<DType> {
    let [factor] = group else { return None };
    let term = &function.terms[*factor];
    let format = match &term.op {
        Op::Read { tensor, .. } => match function.tensors[*tensor].elem {
            Elem::Type(format) => format,
            _ => return None,
        },
        Op::Round(format) => *format,
        _ => return None,
    };
    (format.is_float() && format.bits() == 16).then_some(format)
}

/// Whether `sub` reaches `size` exactly when `axis` reaches its extent.
fn ends_with(sub: &Index, size: &Index, axis: AxisId, extent: &Index) -> bool {
    if sub.as_axis() == Some(axis) {
        return size == extent;
    }
    match sub.as_atom() {
        Some(Atom::Div(a, b)) => {
            a.as_axis() == Some(axis) && *size == extent.div(b) && extent.rem(b).as_int() == Some(0)
        }
        _ => false,
    }
}
