//! What a plan costs.
//!
//! In: a choice. Out: seconds on the target, or nothing if the choice has a cycle. Every stored class is a kernel. Inside of
//! one, a reduction that depends on no axis bound around it is a *pass*: passes over the same axes at the same level (how many
//! passes its operands need first) share their reads and one loop. A reduction that does depend on an axis bound around it is
//! computed inside of that pass. A value is computed once for each position of its own axes and each block of the kernel's
//! other axes.

use super::sizes::{BLOCK, Sizes, weight};
use super::space::{Choice, Form, Space};
use crate::egraph::{AxisSet, Head};
use rustc_hash::{FxHashMap, FxHashSet};
use sawmill_ir::elem::{ElemOp, ReduceOp};
use sawmill_ir::graph::Repair;

/// A loop over memory: which axes, after how many others.
type Pass = (AxisSet, u32);

/// A kernel as it was charged: what it depended on, and what that gave.
struct Charged {
    /// The classes it was computed from: which form, and whether it is a tensor.
    under: Vec<(usize, usize, bool)>,
    seconds: Option<f64>,
    needs: Vec<usize>,
}

/// Costs of plans that differ in few decisions: a kernel is charged again only if a decision under it changed.
pub(super) struct Costs<'a> {
    space: &'a Space,
    sizes: &'a Sizes,
    known: FxHashMap<usize, Vec<Charged>>,
}

/// Charges that are kept for each kernel.
const KEPT: usize = 8;

impl<'a> Costs<'a> {
    pub(super) fn new(space: &'a Space, sizes: &'a Sizes) -> Self {
        Self { space, sizes, known: FxHashMap::default() }
    }
    /// The cost of `choice` in seconds; `None` if a value depends on itself.
    pub(super) fn of(&mut self, choice: &Choice) -> Option<f64> {
        let stored = tensors(self.space, choice);
        let mut kernels: Vec<usize> = Vec::new();
        let mut known = FxHashSet::default();
        for root in &self.space.roots {
            if known.insert(*root) {
                kernels.push(*root);
            }
        }
        let mut total = 0.0;
        let mut reads: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
        let mut at = 0;
        while at < kernels.len() {
            let (seconds, needs) = self.kernel(choice, &stored, kernels[at])?;
            total += seconds;
            for read in &needs {
                if known.insert(*read) {
                    kernels.push(*read);
                }
            }
            reads.insert(kernels[at], needs);
            at += 1;
        }
        is_acyclic(&kernels, &reads).then_some(total)
    }
    fn kernel(&mut self, choice: &Choice, stored: &[bool], root: usize) -> Option<(f64, Vec<usize>)> {
        let same =
            |c: &Charged| c.under.iter().all(|(class, form, is)| choice.form[*class] == *form && stored[*class] == *is);
        if let Some(charged) = self.known.get(&root).and_then(|all| all.iter().find(|c| same(c))) {
            return charged.seconds.map(|s| (s, charged.needs.clone()));
        }
        let mut kernel = Kernel::new(self.space, choice, self.sizes, root, stored);
        let seconds = kernel.seconds();
        let mut under = kernel.visited;
        under.sort_unstable();
        under.dedup();
        let under = under.into_iter().map(|c| (c, choice.form[c], stored[c])).collect();
        let result = seconds.map(|s| (s, kernel.needs.clone()));
        let all = self.known.entry(root).or_default();
        if all.len() == KEPT {
            all.remove(0);
        }
        all.push(Charged { under, seconds, needs: kernel.needs });
        result
    }
}

/// The classes that are tensors: roots, what is chosen to be stored, what views read.
fn tensors(space: &Space, choice: &Choice) -> Vec<bool> {
    let mut stored = choice.stored.clone();
    space.roots.iter().for_each(|r| stored[*r] = true);
    for (class, used) in used(space, choice).into_iter().enumerate() {
        let form = space.form(choice, class);
        if used && matches!(form.head, Head::View { .. }) {
            stored[form.args[0]] = true;
        }
    }
    stored
}

/// The classes that the plan reaches.
pub(super) fn used(space: &Space, choice: &Choice) -> Vec<bool> {
    let mut used = vec![false; space.classes.len()];
    let mut open = space.roots.clone();
    while let Some(class) = open.pop() {
        if !std::mem::replace(&mut used[class], true) {
            open.extend(&space.form(choice, class).args);
        }
    }
    used
}

fn is_acyclic(kernels: &[usize], reads: &FxHashMap<usize, Vec<usize>>) -> bool {
    let mut left: FxHashMap<usize, usize> = kernels.iter().map(|k| (*k, reads[k].len())).collect();
    let mut ready: Vec<usize> = kernels.iter().filter(|k| left[k] == 0).copied().collect();
    let mut readers: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
    for kernel in kernels {
        reads[kernel].iter().for_each(|r| readers.entry(*r).or_default().push(*kernel));
    }
    let mut done = 0;
    while let Some(kernel) = ready.pop() {
        done += 1;
        for reader in readers.get(&kernel).into_iter().flatten() {
            if let Some(count) = left.get_mut(reader) {
                *count -= 1;
                if *count == 0 {
                    ready.push(*reader);
                }
            }
        }
    }
    done == kernels.len()
}

struct Kernel<'a> {
    space: &'a Space,
    choice: &'a Choice,
    sizes: &'a Sizes,
    stored: &'a [bool],
    root: usize,
    grid: AxisSet,
    /// Axes of the grid that blocks share.
    spread: AxisSet,
    seconds: f64,
    seen: FxHashSet<(usize, Option<Pass>)>,
    levels: FxHashMap<(usize, AxisSet), Option<u32>>,
    passes: FxHashSet<Pass>,
    needs: Vec<usize>,
    visited: Vec<usize>,
}

impl<'a> Kernel<'a> {
    fn new(space: &'a Space, choice: &'a Choice, sizes: &'a Sizes, root: usize, stored: &'a [bool]) -> Self {
        let grid = space.classes[root].free;
        Self {
            space,
            choice,
            sizes,
            stored,
            root,
            grid,
            spread: grid,
            seconds: 0.0,
            seen: FxHashSet::default(),
            levels: FxHashMap::default(),
            passes: FxHashSet::default(),
            needs: Vec::new(),
            visited: Vec::new(),
        }
    }
    fn seconds(&mut self) -> Option<f64> {
        self.level(self.root, AxisSet::EMPTY)?;
        if self.sizes.rows {
            self.spread = self.grid.intersect(self.reduced());
        }
        self.value(self.root, None, AxisSet::EMPTY)?;
        let write = self.sizes.volume(self.grid) * 4.0 * self.sizes.byte;
        Some(self.seconds + write + self.sizes.launch)
    }
    /// Axes that some reduction of this kernel has. The others are walked in a block, or are one row of it.
    fn reduced(&mut self) -> AxisSet {
        let (mut axes, mut open, mut seen) = (AxisSet::EMPTY, vec![self.root], FxHashSet::default());
        while let Some(class) = open.pop() {
            if !seen.insert(class) || self.is_read(class) {
                continue;
            }
            self.visited.push(class);
            let form = self.form(class);
            if matches!(form.head, Head::Reduce { .. } | Head::Proj) {
                axes = axes.union(self.free(class));
            }
            if !matches!(form.head, Head::View { .. }) {
                open.extend(&form.args);
            }
        }
        axes
    }
    fn is_read(&self, class: usize) -> bool {
        class != self.root && self.stored[class]
    }
    fn free(&self, class: usize) -> AxisSet {
        self.space.classes[class].free
    }
    fn form(&self, class: usize) -> &'a Form {
        self.space.form(self.choice, class)
    }

    /// How many passes must end before a value is known where `bound` are bound.
    fn level(&mut self, class: usize, bound: AxisSet) -> Option<u32> {
        self.visited.push(class);
        if self.is_read(class) {
            return Some(0);
        }
        let inside = self.space.classes[class].depends.intersect(bound);
        if let Some(known) = self.levels.get(&(class, inside)) {
            return *known;
        }
        self.levels.insert((class, inside), None);
        let level = self.level_of(class, inside);
        self.levels.insert((class, inside), level);
        level
    }
    fn level_of(&mut self, class: usize, inside: AxisSet) -> Option<u32> {
        let form = self.form(class);
        let (over, operands) = match &form.head {
            Head::View { .. } | Head::Running { .. } => return Some(0),
            Head::Reduce { axes, .. } => (axes.set(), form.args.clone()),
            Head::Proj => self.fold(form)?,
            _ => {
                let mut level = 0;
                for arg in &form.args {
                    level = level.max(self.level(*arg, inside)?);
                }
                return Some(level);
            }
        };
        let mut level = 0;
        for operand in operands {
            level = level.max(self.level(operand, inside.union(over))?);
        }
        Some(if inside.is_empty() { level + 1 } else { level })
    }
    /// The axes of the fold of a projection, and the operands of all its components.
    fn fold(&mut self, form: &Form) -> Option<(AxisSet, Vec<usize>)> {
        self.visited.push(form.args[0]);
        let fold = self.form(form.args[0]);
        let Head::Fold { axes } = &fold.head else { return None };
        self.visited.extend(&fold.args);
        let operands = fold.args.iter().flat_map(|c| self.form(*c).args.iter().copied()).collect();
        Some((axes.set(), operands))
    }

    /// Charges a value that is computed in `pass` where `bound` are bound.
    fn value(&mut self, class: usize, pass: Option<Pass>, bound: AxisSet) -> Option<()> {
        let inside = self.space.classes[class].depends.intersect(bound);
        let pass = if inside.is_empty() { None } else { pass };
        if !self.seen.insert((class, pass)) {
            return Some(());
        }
        if self.is_read(class) {
            self.read_stored(class, self.free(class));
            return Some(());
        }
        let form = self.form(class);
        match &form.head {
            Head::Const(..) | Head::Index(_) | Head::Running { .. } => Some(()),
            Head::Read(read) => {
                self.seconds += self.sizes.read(read.tensor, self.free(class));
                Some(())
            }
            Head::View { .. } => {
                self.read_stored(form.args[0], self.free(class));
                Some(())
            }
            Head::Reduce { op, axes, .. } => {
                let (pass, inner) = self.enter(class, axes.set(), pass, inside)?;
                self.reduction(class, *op, axes.set(), form.args[0], pass, inner)?;
                form.args[1..].iter().try_for_each(|c| self.value(*c, pass, inner))
            }
            Head::Proj => self.projection(class, form, pass, inside),
            Head::Elem(op) => {
                self.elementwise(class, *op, form, inside);
                form.args.iter().try_for_each(|a| self.value(*a, pass, inside))
            }
            Head::Cast(_) | Head::Round(_) | Head::Component { .. } | Head::Fold { .. } => {
                self.operations(self.free(class), inside, 1.0);
                form.args.iter().try_for_each(|a| self.value(*a, pass, inside))
            }
        }
    }
    /// The pass that a reduction runs in, and what is bound in it.
    fn enter(
        &mut self,
        class: usize,
        over: AxisSet,
        pass: Option<Pass>,
        inside: AxisSet,
    ) -> Option<(Option<Pass>, AxisSet)> {
        if !inside.is_empty() {
            return Some((pass, inside.union(over)));
        }
        let own = (over, self.level(class, AxisSet::EMPTY)?);
        if self.passes.insert(own) {
            self.seconds += self.sizes.launch / 8.0;
        }
        Some((Some(own), over))
    }
    fn read_stored(&mut self, class: usize, axes: AxisSet) {
        let elements = self.sizes.volume(axes).min(self.sizes.volume(self.free(class)));
        self.seconds += elements * 4.0 * self.sizes.byte;
        if !self.needs.contains(&class) {
            self.needs.push(class);
        }
    }
    /// Times that something over `axes` is computed where `bound` are bound: an axis of the grid that is bound again is not
    /// the grid's.
    fn times(&self, axes: AxisSet, bound: AxisSet) -> f64 {
        self.sizes.volume(axes) * self.sizes.blocks(self.spread.minus(axes.minus(bound)))
    }
    fn operations(&mut self, axes: AxisSet, bound: AxisSet, each: f64) {
        self.seconds += self.times(axes, bound) * each * self.sizes.op;
    }
    fn elementwise(&mut self, class: usize, op: ElemOp, form: &Form, bound: AxisSet) {
        if op == ElemOp::Mul || op == ElemOp::Add {
            let last = self.partial_products(form, bound);
            self.operations(last, bound, 1.0);
        } else {
            self.operations(self.free(class), bound, weight(op));
        }
    }
    /// Charges a product but for its last operation, small operands first; the axes of that one.
    fn partial_products(&mut self, form: &Form, bound: AxisSet) -> AxisSet {
        let mut axes: Vec<AxisSet> = form.args.iter().map(|a| self.free(*a)).collect();
        axes.sort_by(|a, b| self.sizes.volume(*a).total_cmp(&self.sizes.volume(*b)).then(a.cmp(b)));
        let mut so_far = axes[0];
        for (at, next) in axes.iter().enumerate().skip(1) {
            so_far = so_far.union(*next);
            if at + 1 < axes.len() {
                self.operations(so_far, bound, 1.0);
            }
        }
        so_far
    }
    fn reduction(
        &mut self,
        class: usize,
        op: ReduceOp,
        over: AxisSet,
        element: usize,
        pass: Option<Pass>,
        inner: AxisSet,
    ) -> Option<()> {
        let form = self.form(element);
        let product = op == ReduceOp::Sum && form.head == Head::Elem(ElemOp::Mul) && !self.is_read(element);
        if !product {
            self.operations(self.free(class).union(over), inner, 1.0);
            return self.value(element, pass, inner);
        }
        if self.seen.insert((element, pass)) {
            self.partial_products(form, inner);
            form.args.iter().try_for_each(|a| self.value(*a, pass, inner))?;
        }
        self.seconds += self.times(self.free(class).union(over), inner) * self.sizes.fma;
        Some(())
    }
    fn projection(&mut self, class: usize, form: &Form, pass: Option<Pass>, inside: AxisSet) -> Option<()> {
        let fold = self.form(form.args[0]);
        let Head::Fold { axes } = &fold.head else { return None };
        let (pass, inner) = self.enter(class, axes.set(), pass, inside)?;
        for component in &fold.args {
            if self.seen.insert((*component, pass)) {
                self.component(*component, axes.set(), pass, inner)?;
            }
        }
        Some(())
    }
    fn component(&mut self, component: usize, over: AxisSet, pass: Option<Pass>, inner: AxisSet) -> Option<()> {
        let form = self.form(component);
        let Head::Component { op, masked, repair } = &form.head else { return None };
        let state = self.free(form.args[0]).minus(over);
        let mut operands = form.args.iter();
        let element = *operands.next()?;
        if *masked {
            self.value(*operands.next()?, pass, inner)?;
        }
        if *repair != Repair::None {
            let phi = *operands.next()?;
            let steps = (self.sizes.volume(over) / BLOCK).ceil().max(1.0);
            self.seconds += self.times(state, inner) * steps * 2.0 * self.sizes.op;
            self.seconds += self.times(self.free(phi), inner) * steps * weight(ElemOp::Exp) * self.sizes.op;
        }
        let class = self.space.classes[element].free.minus(over);
        let product = *op == ReduceOp::Sum && self.form(element).head == Head::Elem(ElemOp::Mul);
        if product && self.seen.insert((element, pass)) {
            let form = self.form(element);
            self.partial_products(form, inner);
            form.args.iter().try_for_each(|a| self.value(*a, pass, inner))?;
        } else if !product {
            self.operations(class.union(over), inner, 1.0);
            self.value(element, pass, inner)?;
        }
        if product {
            self.seconds += self.times(class.union(over), inner) * self.sizes.fma;
        }
        Some(())
    }
}
