//! The classes that extraction chooses from, numbered densely.

use crate::egraph::{AxisSet, Graph, Head, nodes_of};
use egg::Id;
use rustc_hash::FxHashMap;

/// A form of a class.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) head: Head,
    /// Classes, by number.
    pub(super) args: Vec<usize>,
}

/// A class.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) free: AxisSet,
    /// Axes and folds that must be around it.
    pub(super) depends: AxisSet,
    pub(super) forms: Vec<Form>,
}

/// All classes that some form of a root reaches.
pub(super) struct Space {
    pub(super) classes: Vec<Class>,
    pub(super) roots: Vec<usize>,
    /// Axes of the loops around.
    pub(super) outer: AxisSet,
    numbers: FxHashMap<Id, usize>,
}

impl Space {
    /// The classes under `roots`.
    pub(super) fn new(graph: &Graph, roots: &[Id]) -> Self {
        let mut numbers: FxHashMap<Id, usize> = FxHashMap::default();
        let mut order: Vec<Id> = Vec::new();
        let mut number = |id: Id, order: &mut Vec<Id>| {
            let id = graph.find(id);
            *numbers.entry(id).or_insert_with(|| {
                order.push(id);
                order.len() - 1
            })
        };
        let roots = roots.iter().map(|r| number(*r, &mut order)).collect();
        let mut classes = Vec::new();
        while classes.len() < order.len() {
            let id = order[classes.len()];
            let forms = nodes_of(graph, id).into_iter().map(|node| {
                let args = node.args.iter().map(|a| number(*a, &mut order)).collect();
                Form { head: node.head, args }
            });
            let forms = forms.collect();
            let fact = &graph[id].data;
            classes.push(Class { free: fact.free, depends: fact.depends(), forms });
        }
        Self { classes, roots, outer: graph.analysis.outer, numbers }
    }
}

impl Space {
    /// The number of a class, if it is reached.
    pub(super) fn number(&self, class: Id) -> Option<usize> {
        self.numbers.get(&class).copied()
    }
}

/// A decision for every class: its form, and whether it is stored.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) form: Vec<usize>,
    pub(super) stored: Vec<bool>,
}

impl Space {
    /// The chosen form of a class.
    pub(super) fn form(&self, choice: &Choice, class: usize) -> &Form {
        &self.classes[class].forms[choice.form[class]]
    }
}
