//! Optimisation of a normalised function to plan form.
//!
//! In: a normalised function, a target. Out: a linked function with the same outputs in which every definition is stored: a
//! definition is a kernel, its term holds the passes and folds computed in it. Each block (the function's body, each loop's
//! body) is an e-graph of its own: algebra first, of which the cheapest form is kept, then folds, then extraction.
//!
//! Definitions whose folds are alike but for the components they read (a result and its logarithm of the sum) follow each
//! other and may run as one kernel.

use crate::egraph::{self, Block, StageReport};
use crate::explain::{Context, Derivation};
use crate::extract::{self, BlockPlan, Dag, Emitter, PlannedRoot, Sizes};
use crate::rules;
use egg::Id;
use sawmill_ir::backend::CompileError;
use sawmill_ir::graph::{Carry, Function, Op, Stmt, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};
use sawmill_ir::target::Target;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names and orders of axes for terms that were definitions.
type Names = BTreeMap<usize, (String, Vec<AxisId>)>;

/// What optimisation did, and how.
pub struct Optimised {
    /// The plan.
    pub function: Function,
    /// One entry per stage and block.
    pub stages: Vec<StageReport>,
    /// The steps from each stored definition to its plan.
    pub derivations: Vec<Derivation>,
}

/// The plan of `function` (normalised) on `target`.
///
/// # Errors
/// A form that is not compiled yet, or a broken rule of the compiler.
pub fn optimise(function: &Function, target: &Target) -> Result<Function, CompileError> {
    Ok(Pass::new(function, target, false).run()?.function)
}

/// The same plan, with the steps that led to it.
///
/// # Errors
/// As [`optimise`].
pub fn optimise_explained(function: &Function, target: &Target) -> Result<Optimised, CompileError> {
    Pass::new(function, target, true).run()
}

struct Pass<'a> {
    function: &'a Function,
    target: &'a Target,
    explained: bool,
    stored: BTreeSet<TensorId>,
    stages: Vec<StageReport>,
    derivations: Vec<Derivation>,
}

impl<'a> Pass<'a> {
    fn new(function: &'a Function, target: &'a Target, explained: bool) -> Self {
        let stored = must_be_stored(function);
        Self { function, target, explained, stored, stages: Vec::new(), derivations: Vec::new() }
    }
    fn run(mut self) -> Result<Optimised, CompileError> {
        let mut emitter = Emitter::new(self.function)?;
        let body = self.block(&self.function.body, &[], &mut emitter)?;
        let function = emitter.finish(body)?;
        Ok(Optimised { function, stages: self.stages, derivations: self.derivations })
    }
    fn block(&mut self, body: &[Stmt], outer: &[AxisId], emitter: &mut Emitter<'_>) -> Result<Vec<Stmt>, CompileError> {
        let mut block = egraph::build(self.function, body, outer, &self.stored)?;
        let (dag, named) = self.plan(&mut block)?;
        let roots = block.roots.iter().zip(&dag.roots);
        let roots = roots.map(|(root, node)| PlannedRoot { tensor: root.tensor, node: *node, axes: root.axes.clone() });
        let plan = BlockPlan {
            dag: &dag,
            axes: &block.axes,
            roots: roots.collect(),
            outer: block.outer.clone(),
            named,
            merged: true,
        };
        let mut statements = emitter.block(plan);
        for stmt in &self.ordered(body) {
            match stmt {
                Stmt::Define(tensor) => statements.define(*tensor)?,
                Stmt::Loop(steps) => {
                    let new = statements.emitter().open(steps)?;
                    let mut around = outer.to_vec();
                    around.push(steps.index);
                    let inner = self.block(&steps.body, &around, statements.emitter())?;
                    let done = statements.emitter().close(steps, new, inner)?;
                    statements.push(done);
                }
            }
        }
        Ok(statements.finish())
    }
    /// The statements, of neighbouring definitions those over more axes first: a fold over more axes may serve one over fewer.
    fn ordered(&self, body: &[Stmt]) -> Vec<Stmt> {
        let rank = |stmt: &Stmt| match stmt {
            Stmt::Define(tensor) => match &self.function.tensors[*tensor].kind {
                TensorKind::Def { axes, .. } => Some(axes.len()),
                _ => None,
            },
            Stmt::Loop(_) => None,
        };
        let mut ordered = body.to_vec();
        for run in ordered.chunk_by_mut(|a, b| rank(a).is_some() && rank(b).is_some()) {
            run.sort_by_key(|stmt| std::cmp::Reverse(rank(stmt)));
        }
        ordered
    }
    /// Both stages. The chosen terms, and names for those that were definitions.
    fn plan(&mut self, block: &mut Block) -> Result<(Dag, Names), CompileError> {
        let sizes = Sizes::new(self.function, &block.axes, self.target);
        let roots: Vec<Id> = block.roots.iter().map(|r| r.term).collect();
        let hints: Vec<Id> = block.named.iter().map(|(term, _, _)| *term).collect();
        let (algebra, hints) = self.stage(block, "algebra", rules::ALGEBRA, &roots, &hints, &sizes)?;
        let (terms, known) = reload(block, &algebra, &hints);
        let kept: Vec<Id> = known.iter().flatten().copied().collect();
        let (folds, hints) = self.stage(block, "folds", rules::FOLDS, &terms, &kept, &sizes)?;
        let names = block.named.iter().zip(known).filter(|(_, known)| known.is_some()).map(|(named, _)| named);
        let named = names.zip(hints);
        let named = named.filter_map(|((_, name, axes), at)| at.map(|at| (at, (name.clone(), axes.clone()))));
        Ok((folds, named.collect()))
    }
    /// Saturates with `rules` and extracts; `hints` are followed to the terms that were chosen for them.
    fn stage(
        &mut self,
        block: &mut Block,
        name: &'static str,
        rules: &[rules::Rule],
        roots: &[Id],
        hints: &[Id],
        sizes: &Sizes,
    ) -> Result<(Dag, Vec<Option<usize>>), CompileError> {
        self.stages.push(egraph::saturate(&mut block.graph, name, rules));
        if block.graph.analysis.disagreements > 0 {
            return Err(self.bug(format!("two terms with different free axes were made equal in the stage `{name}`")));
        }
        let (dag, found) = extract::extract(&block.graph, roots, hints, sizes)
            .ok_or_else(|| self.bug(format!("no plan was found in the stage `{name}`")))?;
        if self.explained {
            let context = Arc::new(Context { function: self.function.clone(), axes: block.axes.clone() });
            for (at, (root, node)) in roots.iter().zip(&dag.roots).enumerate() {
                let place = (self.function.tensors[block.roots[at].tensor].name.as_str(), name);
                let to = dag.expr(*node);
                self.derivations.push(Derivation::new(&mut block.graph, context.clone(), place, *root, &to));
            }
        }
        Ok((dag, found))
    }
    fn bug(&self, message: String) -> CompileError {
        CompileError::Bug { message, text: sawmill_ir::graph::text::print_function(self.function) }
    }
}

/// Starts the block's e-graph anew from chosen terms: the terms of the roots, and of the hints that were chosen.
fn reload(block: &mut Block, dag: &Dag, hints: &[Option<usize>]) -> (Vec<Id>, Vec<Option<Id>>) {
    let facts = egraph::Facts { outer: block.graph.analysis.outer, disagreements: 0 };
    block.graph = egraph::Graph::new(facts).with_explanations_enabled();
    let mut terms: Vec<Id> = Vec::with_capacity(dag.len());
    for at in 0..dag.len() {
        let args = dag.args(at).map(|a| terms[a]).collect();
        terms.push(egraph::add(&mut block.graph, dag.head(at).clone(), args));
    }
    block.graph.rebuild();
    (dag.roots.iter().map(|r| terms[*r]).collect(), hints.iter().map(|h| h.map(|at| terms[at])).collect())
}

/// Definitions that are tensors in every plan: outputs, what loops carry, appended values, and what another block or an index
/// expression reads.
fn must_be_stored(function: &Function) -> BTreeSet<TensorId> {
    let mut found = Stored {
        function,
        home: BTreeMap::new(),
        stored: function.outputs.iter().copied().collect(),
        loops: BTreeSet::new(),
    };
    found.homes(&function.body, &mut 0);
    found.block(&function.body, &mut 0);
    found.stored
}

struct Stored<'a> {
    function: &'a Function,
    /// The block that each definition is in.
    home: BTreeMap<TensorId, usize>,
    stored: BTreeSet<TensorId>,
    /// Axes of loops: a definition over one is collected over the steps.
    loops: BTreeSet<AxisId>,
}

impl Stored<'_> {
    fn homes(&mut self, body: &[Stmt], count: &mut usize) {
        let own = *count;
        for stmt in body {
            match stmt {
                Stmt::Define(tensor) => {
                    self.home.insert(*tensor, own);
                }
                Stmt::Loop(steps) => {
                    *count += 1;
                    self.homes(&steps.body, count);
                }
            }
        }
    }
    fn block(&mut self, body: &[Stmt], count: &mut usize) {
        let own = *count;
        for stmt in body {
            match stmt {
                Stmt::Define(tensor) => self.define(*tensor, own),
                Stmt::Loop(steps) => {
                    for Carry { init, next, .. } in &steps.carries {
                        self.stored.extend([*init, *next]);
                    }
                    *count += 1;
                    self.loops.insert(steps.index);
                    self.block(&steps.body, count);
                }
            }
        }
    }
    fn define(&mut self, tensor: TensorId, own: usize) {
        let value = match &self.function.tensors[tensor].kind {
            TensorKind::Append { value, base, at, .. } => {
                self.stored.extend([tensor, *base]);
                at.iter().for_each(|s| self.index(s));
                *value
            }
            TensorKind::Def { value, axes, .. } => {
                if axes.iter().any(|axis| self.loops.contains(axis)) {
                    self.stored.insert(tensor);
                }
                *value
            }
            _ => return,
        };
        let mut open: Vec<TermId> = vec![value];
        let mut seen: BTreeSet<TermId> = BTreeSet::new();
        while let Some(term) = open.pop() {
            if !seen.insert(term) {
                continue;
            }
            let term = &self.function.terms[term];
            open.extend(&term.args);
            match &term.op {
                Op::Index(index) => self.index(index),
                Op::Read { tensor, subs, .. } => {
                    subs.iter().for_each(|s| self.index(s));
                    if self.home.get(tensor).is_some_and(|home| *home != own) {
                        self.stored.insert(*tensor);
                    }
                }
                _ => {}
            }
        }
    }
    /// Tensors that an index expression reads.
    fn index(&mut self, index: &Index) {
        index.for_each_atom(&mut |atom| {
            if let Atom::Read(tensor, _) = atom {
                self.stored.insert(*tensor);
            }
        });
    }
}
