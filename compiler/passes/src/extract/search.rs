//! The search for a cheap plan.
//!
//! In: classes and sizes. Out: a choice. Starts: the cheapest form of each class bottom-up, once preferring folds and once
//! without them. Then one decision at a time is changed (the form of a class, whether it is stored) while the cost falls. All
//! orders are fixed, ties keep what is there.

use super::cost::{Costs, used};
use super::sizes::{Sizes, weight};
use super::space::{Choice, Form, Space};
use crate::egraph::Head;
use sawmill_ir::elem::{ElemOp, ReduceOp};

/// Rounds over all decisions.
const ROUND_LIMIT: usize = 6;
/// A change must save this share to be taken.
const GAIN: f64 = 1e-9;

/// The cheapest choice found, if every class has a form that depends on nothing cyclic. `lets` were definitions.
pub(super) fn search(space: &Space, sizes: &Sizes, lets: &[usize]) -> Option<Choice> {
    let mut best: Option<(f64, Choice)> = None;
    let mut costs = Costs::new(space, sizes);
    for (folds, stored) in [(true, lets), (true, &[]), (false, lets)] {
        let choice = start(space, sizes, folds, stored);
        let Some((seconds, choice)) = improve(space, sizes, &mut costs, choice) else { continue };
        if best.as_ref().is_none_or(|(least, _)| seconds < least * (1.0 - GAIN)) {
            best = Some((seconds, choice));
        }
    }
    best.map(|(_, choice)| choice).or_else(|| plain(space, sizes, &mut costs))
}

/// A plan without views, if all others are circular.
fn plain(space: &Space, sizes: &Sizes, costs: &mut Costs<'_>) -> Option<Choice> {
    let none = vec![false; space.classes.len()];
    let form = cheapest(space, sizes, false, &none, &none);
    improve(space, sizes, costs, Choice { form, stored: none }).map(|(_, choice)| choice)
}

/// Whether each class may become a tensor: it holds a reduction and grows with the run-time sizes no faster than an output, or
/// than what it contracts (what it reduces, if it contracts nothing).
fn storable(space: &Space, sizes: &Sizes, choice: &Choice) -> Vec<bool> {
    let count = space.classes.len();
    let mut reduces: Vec<Option<bool>> = vec![None; count];
    let mut growth: Vec<Option<Growth>> = vec![None; count];
    (0..count)
        .map(|class| {
            let inner = matches!(
                space.form(choice, class).head,
                Head::Fold { .. } | Head::Component { .. } | Head::Running { .. } | Head::View { .. }
            );
            !inner
                && holds(space, choice, class, reduction, &mut reduces)
                && fits(space, sizes, class, grows(space, sizes, choice, class, &mut growth))
        })
        .collect()
}

fn fits(space: &Space, sizes: &Sizes, class: usize, growth: Growth) -> bool {
    let operands = growth.contracted.or(growth.reduced).unwrap_or(0);
    sizes.degree(space.classes[class].free) <= operands.max(sizes.degree_bound)
}

/// How fast the tensors under a class grow with the run-time sizes.
#[derive(Clone, Copy, Default)]
struct Growth {
    /// Those that are read at all.
    read: u32,
    /// Those that are reduced.
    reduced: Option<u32>,
    /// Those that are factors of sums.
    contracted: Option<u32>,
}

fn grows(space: &Space, sizes: &Sizes, choice: &Choice, class: usize, known: &mut Vec<Option<Growth>>) -> Growth {
    if let Some(found) = known[class] {
        return found;
    }
    known[class] = Some(Growth::default());
    let form = space.form(choice, class);
    let mut found = Growth::default();
    if let Head::Read(read) = &form.head {
        found.read = sizes.tensor_degree(read.tensor);
    }
    for arg in &form.args {
        let below = grows(space, sizes, choice, *arg, known);
        found.read = found.read.max(below.read);
        found.reduced = found.reduced.max(below.reduced);
        found.contracted = found.contracted.max(below.contracted);
    }
    if let Head::Reduce { op, .. } | Head::Component { op, .. } = &form.head {
        found.reduced = found.reduced.max(Some(found.read));
        if *op == ReduceOp::Sum && space.form(choice, form.args[0]).head == Head::Elem(ElemOp::Mul) {
            found.contracted = found.contracted.max(Some(found.read));
        }
    }
    known[class] = Some(found);
    found
}

/// Whether the tree of a class holds a head that `kind` finds, above those that it stops at.
fn holds(space: &Space, choice: &Choice, class: usize, kind: fn(&Head) -> Seen, known: &mut Vec<Option<bool>>) -> bool {
    if let Some(found) = known[class] {
        return found;
    }
    known[class] = Some(false);
    let form = space.form(choice, class);
    let found = match kind(&form.head) {
        Seen::Found => true,
        Seen::Stop => false,
        Seen::Below => form.args.iter().any(|a| holds(space, choice, *a, kind, known)),
    };
    known[class] = Some(found);
    found
}

/// What a head says about the tree under it.
enum Seen {
    Found,
    Stop,
    Below,
}

fn reduction(head: &Head) -> Seen {
    match head {
        Head::Reduce { .. } | Head::Proj => Seen::Found,
        Head::Running { .. } | Head::View { .. } => Seen::Stop,
        _ => Seen::Below,
    }
}

/// A running value of a fold, which has no meaning outside of it.
fn running(head: &Head) -> Seen {
    match head {
        Head::Running { .. } => Seen::Found,
        Head::Proj => Seen::Stop,
        _ => Seen::Below,
    }
}

/// The form of each class that is cheapest as a tree, where those of `lets` that may be are stored.
fn start(space: &Space, sizes: &Sizes, folds: bool, lets: &[usize]) -> Choice {
    let none = vec![false; space.classes.len()];
    // The first form of each class is written without views, from which it can be told what may be stored.
    let form = cheapest(space, sizes, folds, &none, &none);
    let may = storable(space, sizes, &Choice { form, stored: none.clone() });
    let mut stored = none;
    lets.iter().filter(|l| may[**l]).for_each(|l| stored[*l] = true);
    Choice { form: cheapest(space, sizes, folds, &stored, &may), stored }
}

/// The form of each class that is cheapest as a tree that ends at what is stored; views only of what may be.
fn cheapest(space: &Space, sizes: &Sizes, folds: bool, stored: &[bool], may: &[bool]) -> Vec<usize> {
    let count = space.classes.len();
    let mut best: Vec<f64> = vec![f64::INFINITY; count];
    let mut form = vec![usize::MAX; count];
    let read = |class: usize, best: &[f64]| {
        if stored[class] {
            best[class].min(sizes.volume(space.classes[class].free) * 4.0 * sizes.byte)
        } else {
            best[class]
        }
    };
    loop {
        let mut changed = false;
        for class in (0..count).rev() {
            for (at, candidate) in space.classes[class].forms.iter().enumerate() {
                if !allowed(space, class, candidate, folds) || !may_view(space, class, at, may) {
                    continue;
                }
                let below: f64 = match candidate.head {
                    Head::View { .. } => 0.0,
                    _ => candidate.args.iter().map(|a| read(*a, &best)).sum(),
                };
                let seconds = local(space, sizes, class, candidate) + below;
                if seconds < best[class] * (1.0 - GAIN) {
                    (best[class], form[class], changed) = (seconds, at, true);
                }
            }
        }
        if !changed {
            break;
        }
    }
    // Forms that only folds reach have no cost without them; they are never used then.
    for at in form.iter_mut().filter(|at| **at == usize::MAX) {
        *at = 0;
    }
    form
}

/// Folds are preferred, or not used.
fn allowed(space: &Space, class: usize, form: &Form, folds: bool) -> bool {
    match form.head {
        Head::Proj => folds,
        Head::Reduce { .. } if folds => !space.classes[class].forms.iter().any(|f| matches!(f.head, Head::Proj)),
        _ => true,
    }
}

/// Seconds of one form, its operands given.
fn local(space: &Space, sizes: &Sizes, class: usize, form: &Form) -> f64 {
    let free = space.classes[class].free;
    let volume = sizes.volume(free);
    let operations = match &form.head {
        Head::Const(..) | Head::Index(_) | Head::Running { .. } => return 1e-15,
        Head::Read(read) => return 1e-15 + sizes.read(read.tensor, free),
        Head::View { .. } => return volume * 4.0 * sizes.byte,
        Head::Elem(op) => weight(*op) * (form.args.len().max(2) - 1) as f64,
        _ => 1.0,
    };
    let over = match &form.head {
        Head::Reduce { axes, .. } | Head::Fold { axes } => sizes.volume(free.union(axes.set())),
        _ => volume,
    };
    1e-15 + operations * over * sizes.op
}

/// Changes decisions one at a time while that helps.
fn improve(space: &Space, sizes: &Sizes, costs: &mut Costs<'_>, mut choice: Choice) -> Option<(f64, Choice)> {
    let mut seconds = costs.of(&choice)?;
    for _ in 0..ROUND_LIMIT {
        let before = seconds;
        for class in 0..space.classes.len() {
            if !used(space, &choice)[class] {
                continue;
            }
            try_stored(space, sizes, costs, class, &mut choice, &mut seconds);
            try_forms(space, sizes, costs, class, &mut choice, &mut seconds);
        }
        if seconds >= before * (1.0 - GAIN) {
            break;
        }
    }
    Some((seconds, choice))
}

fn try_stored(
    space: &Space,
    sizes: &Sizes,
    costs: &mut Costs<'_>,
    class: usize,
    choice: &mut Choice,
    seconds: &mut f64,
) {
    let may = choice.stored[class] || storable(space, sizes, choice)[class];
    let count = space.classes.len();
    if !may || space.roots.contains(&class) || holds(space, choice, class, running, &mut vec![None; count]) {
        return;
    }
    choice.stored[class] = !choice.stored[class];
    if !falls(costs, choice, seconds) {
        choice.stored[class] = !choice.stored[class];
    }
}

fn try_forms(
    space: &Space,
    sizes: &Sizes,
    costs: &mut Costs<'_>,
    class: usize,
    choice: &mut Choice,
    seconds: &mut f64,
) {
    let may = storable(space, sizes, choice);
    for form in 0..space.classes[class].forms.len() {
        let before = choice.form[class];
        if form == before || !may_view(space, class, form, &may) {
            continue;
        }
        let others = alike(space, choice, class, form);
        choice.form[class] = form;
        if falls(costs, choice, seconds) {
            continue;
        }
        let kept: Vec<(usize, usize)> = others.iter().map(|(other, _)| (*other, choice.form[*other])).collect();
        others.iter().for_each(|(other, form)| choice.form[*other] = *form);
        if others.is_empty() || !falls(costs, choice, seconds) {
            kept.iter().for_each(|(other, form)| choice.form[*other] = *form);
            choice.form[class] = before;
        }
    }
}

/// Whether a choice costs less than `seconds`, which it then replaces.
fn falls(costs: &mut Costs<'_>, choice: &Choice, seconds: &mut f64) -> bool {
    match costs.of(choice) {
        Some(less) if less < *seconds * (1.0 - GAIN) => {
            *seconds = less;
            true
        }
        _ => false,
    }
}

/// Other classes over the same axes with a form like form `form` of `class`, which shares an operand with it that none of their
/// forms has now: what is computed for one serves all, so that changing one alone may cost more than changing all.
fn alike(space: &Space, choice: &Choice, class: usize, form: usize) -> Vec<(usize, usize)> {
    let new = &space.classes[class].forms[form];
    let Head::Elem(_) = new.head else { return Vec::new() };
    let now = space.form(choice, class);
    let fresh: Vec<usize> = new.args.iter().copied().filter(|a| !now.args.contains(a)).collect();
    let like = |other: &Form| {
        other.head == new.head && other.args.len() == new.args.len() && other.args.iter().any(|a| fresh.contains(a))
    };
    let used = used(space, choice);
    let others = (0..space.classes.len()).filter(|other| *other != class && used[*other]);
    let others = others.filter(|other| space.classes[*other].free == space.classes[class].free);
    let with_form = others.filter_map(|other| {
        let at = space.classes[other].forms.iter().position(like)?;
        (at != choice.form[other]).then_some((other, at))
    });
    with_form.collect()
}

/// A view needs a class under it that may be stored.
fn may_view(space: &Space, class: usize, form: usize, may: &[bool]) -> bool {
    let form = &space.classes[class].forms[form];
    !matches!(form.head, Head::View { .. }) || may[form.args[0]]
}
