//! What the compiler makes of a function, stage by stage, as text: for `sawmill explain` and for snapshots.
//!
//! In: a function, values of its const dims and types, a device with a backend. Out: [`Explanation`].
//! Invariant: everything but [`Stage::time`] is the same for the same input, byte for byte.

use crate::compiled::link_function;
use crate::element::RuntimeElem;
use crate::function::Function;
use crate::{Device, Error};
use sawmill_ir::backend::Backend;
use sawmill_ir::graph::{self, text::print_function};
use sawmill_ir::tile;
use sawmill_passes::{StopReason, link, lower, normalise, optimise_explained};
use std::time::Duration;

/// What a function is compiled for.
#[derive(Clone, Debug, Default)]
pub struct Specialisation {
    /// Values of const dims, by name.
    pub dims: Vec<(String, i64)>,
    /// Element types of type parameters, by name.
    pub types: Vec<(String, RuntimeElem)>,
}

/// What became of a function.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The function without calls, closures, formats and type parameters.
    pub linked: String,
    /// The stages of optimisation.
    pub stages: Vec<Stage>,
    /// The rewrites that led from each stored definition to its plan.
    pub derivations: Vec<String>,
    /// The plan.
    pub plan: String,
    /// The tiles.
    pub tiles: String,
    /// The generated code: title and text, in the order of generation.
    pub code: Vec<(String, String)>,
}

/// One stage of optimisation.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Why it ended.
    pub stop: &'static str,
    /// Nodes at its end.
    pub nodes: usize,
    /// Classes at its end.
    pub classes: usize,
    /// Rounds.
    pub rounds: usize,
    /// How long it took.
    pub time: Duration,
}

impl Function {
    /// The function without calls, closures, formats and type parameters. Closures take their defaults, optional arguments
    /// are given.
    ///
    /// # Errors
    /// If a const dim or a type has no value, or one does not fit.
    pub fn linked(&'static self, given: &Specialisation) -> Result<graph::Function, Error> {
        let bindings = link::Bindings { dims: given.dims.clone(), ..Default::default() };
        link_function(self, &given.types, bindings)
    }

    /// Compiles the function for `device` and tells how. Closures take their defaults, optional arguments are
    /// given; `all` shows the steps that are bookkeeping too.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a device without a backend, else what compiling reports.
    pub fn explain(&'static self, device: &Device, given: &Specialisation, all: bool) -> Result<Explanation, Error> {
        let backend = device.inner.backend.as_deref().ok_or_else(|| Error::Unsupported {
            function: self.name.to_owned(),
            engine: device.engine().name().to_owned(),
            message: "it compiles nothing that could be explained".to_owned(),
        })?;
        explain(self, backend, given, all)
    }
}

/// What `backend` makes of `function`, and how.
pub(crate) fn explain(
    function: &'static Function,
    backend: &dyn Backend,
    given: &Specialisation,
    all: bool,
) -> Result<Explanation, Error> {
    let fail = |error| Error::compile(function.name, backend.name(), error);
    let linked = function.linked(given)?;
    let normal = normalise(&linked).map_err(fail)?;
    let optimised = optimise_explained(&normal, backend.target()).map_err(fail)?;
    let derivations =
        optimised.derivations.iter().filter(|derivation| all || derivation.steps.iter().any(|s| !s.quiet));
    let derivations = derivations.map(|derivation| derivation.show(all)).collect::<Result<_, _>>().map_err(fail)?;
    let tiles = lower(&optimised.function, backend.target()).map_err(fail)?;
    let stages = optimised.stages.iter().map(|stage| Stage {
        name: stage.stage,
        stop: match stage.stop {
            StopReason::Saturated => "saturated",
            StopReason::Nodes => "node limit",
            StopReason::Iterations => "round limit",
        },
        nodes: stage.nodes,
        classes: stage.classes,
        rounds: stage.rounds,
        time: stage.time,
    });
    Ok(Explanation {
        linked: print_function(&linked),
        stages: stages.collect(),
        derivations,
        plan: print_function(&optimised.function),
        code: backend.explain(&tiles).map_err(fail)?,
        tiles: tile::text::print(&tiles),
    })
}
