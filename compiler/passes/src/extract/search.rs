//! The search for a cheap plan.
//!
//! In: classes and sizes. Out: a choice. Starts: the cheapest form of each class bottom-up, once preferring folds and once
//! without them. Then one decision at a time is changed (the form of a class, whether it is stored) while the cost falls. All
//! orders are fixed, ties keep what is there.

use super::cost::{Costs, used};
use super::sizes::{Sizes, weight};
use super::space::{Choice, Form, Space};
use crate::egraph::Head;

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
    best.map(|(_, choice)| choice)
}

/// Whether a class may become a tensor: it holds a reduction and grows no faster than arguments and outputs.
fn storable(space: &Space, sizes: &Sizes, choice: &Choice) -> Vec<bool> {
    let mut reduces: Vec<Option<bool>> = vec![None; space.classes.len()];
    (0..space.classes.len())
        .map(|class| {
            let inner = matches!(
                space.form(choice, class).head,
                Head::Fold { .. } | Head::Component { .. } | Head::Running { .. } | Head::View { .. }
            );
            let fits = sizes.degree(space.classes[class].free) <= sizes.degree_bound;
            !inner && fits && has_reduction(space, choice, class, &mut reduces)
        })
        .collect()
}

fn has_reduction(space: &Space, choice: &Choice, class: usize, known: &mut Vec<Option<bool>>) -> bool {
    if let Some(found) = known[class] {
        return found;
    }
    known[class] = Some(false);
    let form = space.form(choice, class);
    let found = match form.head {
        Head::Reduce { .. } | Head::Proj => true,
        Head::Running { .. } | Head::View { .. } => false,
        _ => form.args.iter().any(|a| has_reduction(space, choice, *a, known)),
    };
    known[class] = Some(found);
    found
}

/// Whether a class holds a running value of a fold, which has no meaning outside of it.
fn runs(space: &Space, choice: &Choice, class: usize, known: &mut Vec<Option<bool>>) -> bool {
    if let Some(found) = known[class] {
        return found;
    }
    known[class] = Some(false);
    let form = space.form(choice, class);
    let found = match form.head {
        Head::Running { .. } => true,
        Head::Proj => false,
        _ => form.args.iter().any(|a| runs(space, choice, *a, known)),
    };
    known[class] = Some(found);
    found
}

/// The form of each class that is cheapest as a tree, where those of `lets` that may be are stored.
fn start(space: &Space, sizes: &Sizes, folds: bool, lets: &[usize]) -> Choice {
    let mut choice = cheapest(space, sizes, folds, &vec![false; space.classes.len()]);
    let may = storable(space, sizes, &choice);
    let mut stored = vec![false; space.classes.len()];
    lets.iter().filter(|l| may[**l]).for_each(|l| stored[*l] = true);
    if !lets.is_empty() {
        choice = cheapest(space, sizes, folds, &stored);
    }
    Choice { stored, ..choice }
}

/// The form of each class that is cheapest as a tree that ends at what is stored.
fn cheapest(space: &Space, sizes: &Sizes, folds: bool, stored: &[bool]) -> Choice {
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
                if !allowed(space, class, candidate, folds) || !may_view(space, sizes, class, at) {
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
    Choice { form, stored: stored.to_vec() }
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
    if !may || space.roots.contains(&class) || runs(space, choice, class, &mut vec![None; count]) {
        return;
    }
    choice.stored[class] = !choice.stored[class];
    match costs.of(choice) {
        Some(less) if less < *seconds * (1.0 - GAIN) => *seconds = less,
        _ => choice.stored[class] = !choice.stored[class],
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
    for form in 0..space.classes[class].forms.len() {
        let before = choice.form[class];
        if form == before || !may_view(space, sizes, class, form) {
            continue;
        }
        choice.form[class] = form;
        match costs.of(choice) {
            Some(less) if less < *seconds * (1.0 - GAIN) => *seconds = less,
            _ => choice.form[class] = before,
        }
    }
}

/// A view needs a stored class under it.
fn may_view(space: &Space, sizes: &Sizes, class: usize, form: usize) -> bool {
    let form = &space.classes[class].forms[form];
    match form.head {
        Head::View { .. } => sizes.degree(space.classes[form.args[0]].free) <= sizes.degree_bound,
        _ => true,
    }
}
