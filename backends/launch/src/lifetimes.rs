//! When temporaries of a plan die, so that their memory serves later ones.
//!
//! In: a module. Out: for each step of the plan, and of the bodies inside, the temporaries that nothing reads after it. A
//! temporary of a loop's body dies in the body if every step writes it before it reads it; one that is exchanged lives to
//! the end, because its memory belongs to another by then.

use std::collections::BTreeSet;

use sawmill_ir::tile::{Access, BufferId, BufferKind, Launch, Module, Step};

/// What dies in a list of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// After each step.
    pub(crate) after: Vec<Vec<BufferId>>,
    /// In the bodies of each step: a loop's, or the two sides of a choice.
    pub(crate) inside: Vec<Vec<Ends>>,
}

/// The ends of the temporaries of `module`.
pub(crate) fn ends(module: &Module) -> Ends {
    let mut exchanged = BTreeSet::new();
    swaps(&module.plan, &mut exchanged);
    let temporary = |id: &BufferId| module.buffers.get(*id).is_some_and(|b| b.kind == BufferKind::Temp);
    let mut mortal = BTreeSet::new();
    uses(&module.plan, &mut mortal);
    mortal.retain(|id| temporary(id) && !exchanged.contains(id));
    list(module, &module.plan, &mortal)
}

/// The ends of `mortal` buffers, none of which is used outside of `steps`.
fn list(module: &Module, steps: &[Step], mortal: &BTreeSet<BufferId>) -> Ends {
    let used: Vec<BTreeSet<BufferId>> = steps
        .iter()
        .map(|step| {
            let mut used = BTreeSet::new();
            uses(std::slice::from_ref(step), &mut used);
            used
        })
        .collect();
    let mut ends = Ends { after: vec![Vec::new(); steps.len()], inside: Vec::new() };
    let mut inner: Vec<BTreeSet<BufferId>> = vec![BTreeSet::new(); steps.len()];
    for id in mortal {
        let places: Vec<usize> = (0..steps.len()).filter(|at| used[*at].contains(id)).collect();
        let Some(last) = places.last().copied() else { continue };
        let within = places.len() == 1
            && match &steps[last] {
                Step::Loop { body, .. } => writes_first(module, body, *id),
                Step::If { .. } => true,
                Step::Launch(_) | Step::Swap(..) | Step::Scalar { .. } => false,
            };
        if within {
            inner[last].insert(*id);
        } else {
            ends.after[last].push(*id);
        }
    }
    for (step, mortal) in steps.iter().zip(&inner) {
        ends.inside.push(match step {
            Step::Loop { body, .. } => vec![list(module, body, mortal)],
            Step::If { then, otherwise, .. } => vec![list(module, then, mortal), list(module, otherwise, mortal)],
            Step::Launch(_) | Step::Swap(..) | Step::Scalar { .. } => Vec::new(),
        });
    }
    ends
}

/// Whether the first step that uses a buffer is a launch that writes all of it.
fn writes_first(module: &Module, steps: &[Step], id: BufferId) -> bool {
    let uses_it = |step: &&Step| {
        let mut used = BTreeSet::new();
        uses(std::slice::from_ref(*step), &mut used);
        used.contains(&id)
    };
    match steps.iter().find(uses_it) {
        Some(Step::Launch(launch)) => accesses(module, launch, id).all(|access| access == Some(Access::Out)),
        _ => false,
    }
}

/// What a launch does with a buffer; `None` where the launch does not fit its kernel.
fn accesses<'a>(module: &'a Module, launch: &'a Launch, id: BufferId) -> impl Iterator<Item = Option<Access>> + 'a {
    let kernel = module.kernels.get(launch.kernel);
    let access = move |at: usize| kernel.and_then(|k| k.memory.values().nth(at)).map(|m| m.access);
    launch.args.iter().enumerate().filter(move |(_, (buffer, _))| *buffer == id).map(move |(at, _)| access(at))
}

fn uses(steps: &[Step], into: &mut BTreeSet<BufferId>) {
    for step in steps {
        match step {
            Step::Launch(launch) => into.extend(launch.args.iter().map(|(buffer, _)| *buffer)),
            Step::Loop { body, .. } => uses(body, into),
            Step::If { then, otherwise, .. } => {
                uses(then, into);
                uses(otherwise, into);
            }
            Step::Swap(a, b) => into.extend([*a, *b]),
            Step::Scalar { buffer, .. } => into.extend([*buffer]),
        }
    }
}

fn swaps(steps: &[Step], into: &mut BTreeSet<BufferId>) {
    for step in steps {
        match step {
            Step::Swap(a, b) => into.extend([*a, *b]),
            Step::Loop { body, .. } => swaps(body, into),
            Step::If { then, otherwise, .. } => {
                swaps(then, into);
                swaps(otherwise, into);
            }
            Step::Launch(_) | Step::Scalar { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ends;
    use sawmill_ir::dtype::DType;
    use sawmill_ir::index::Index;
    use sawmill_ir::tile::{Access, Buffer, BufferId, BufferKind, Kernel, Launch, Memory, Module, Step};

    /// A kernel that reads one memory and writes another, and buffers `x t u v w y`, `x` the input, `y` the output.
    fn module() -> (Module, [BufferId; 6]) {
        let mut kernel = Kernel { name: "copy".to_owned(), ..Kernel::default() };
        for (name, access) in [("from", Access::In), ("to", Access::Out)] {
            kernel.memory.push(Memory { name: name.to_owned(), dtype: DType::F32, shape: Vec::new(), access });
        }
        let mut module = Module { kernels: vec![kernel], ..Module::default() };
        let ids = ["x", "t", "u", "v", "w", "y"].map(|name| {
            let kind = match name {
                "x" => BufferKind::Input { list: false },
                "y" => BufferKind::Output,
                _ => BufferKind::Temp,
            };
            module.buffers.push(Buffer { name: name.to_owned(), dtype: DType::F32, shape: Vec::new(), kind })
        });
        (module, ids)
    }
    fn copy(from: BufferId, to: BufferId) -> Step {
        Step::Launch(Launch { kernel: 0, args: vec![(from, None), (to, None)], dims: Vec::new() })
    }

    #[test]
    fn temporaries_die_after_their_last_reader() {
        let (mut module, [x, t, u, v, w, y]) = module();
        let var = module.dims.push("l".to_owned());
        // `v` is new in every turn, `w` is read before it is written and lives from turn to turn.
        let body = vec![copy(u, v), copy(w, t), copy(v, w)];
        module.plan =
            vec![copy(x, t), copy(t, u), copy(x, w), Step::Loop { var, count: Index::int(2), body }, copy(w, y)];
        let ends = ends(&module);
        assert_eq!(ends.after, [vec![], vec![], vec![], vec![t, u], vec![w]]);
        assert_eq!(ends.inside[3][0].after, [vec![], vec![], vec![v]]);
    }

    #[test]
    fn what_is_exchanged_lives_to_the_end() {
        let (mut module, [x, t, u, _, _, y]) = module();
        module.plan = vec![copy(x, t), copy(x, u), Step::Swap(t, u), copy(t, y)];
        assert!(ends(&module).after.iter().all(Vec::is_empty));
    }
}
